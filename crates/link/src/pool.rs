//! What the supervisor and the front's threads tell each other about workers.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Names one worker process for the life of the front; never used again.
pub type WorkerId = u32;

/// One worker process, as the supervisor and every front thread see it.
#[derive(Debug)]
pub struct Worker {
    /// Unique in this front.
    pub id: WorkerId,
    /// Name of its service.
    pub service: Arc<str>,
    /// `ml#2`, for logs and the `x-bireme-worker` field of traces.
    pub name: String,
    /// Open streams over all front threads; what least-loaded choice compares.
    pub in_flight: AtomicU32,
    /// Streams that have ended, over all front threads; what recycling counts.
    pub served: AtomicU64,
}

impl Worker {
    /// A worker that has served nothing yet.
    pub fn new(id: WorkerId, service: Arc<str>, name: String) -> Arc<Worker> {
        Arc::new(Worker { id, service, name, in_flight: AtomicU32::new(0), served: AtomicU64::new(0) })
    }
}

/// What the supervisor tells one front thread. Commands to a thread are carried out in order.
#[derive(Debug)]
pub enum Command {
    /// A worker has opened this thread's data link (its HELLO has been read and checked). No stream may be
    /// opened before [`Command::Activate`].
    Attach {
        /// Whose link it is.
        worker: Arc<Worker>,
        /// The connected socket, non-blocking.
        socket: UnixStream,
    },
    /// The worker is ready: choose it for new streams.
    Activate(WorkerId),
    /// Open no new stream on this worker; close the link when its last stream has ended, and say
    /// [`Closed::Idle`].
    Retire(WorkerId),
    /// The process is dead or condemned: end the link and its streams now. No event answers this.
    Detach(WorkerId),
    /// What requests to a service without an active worker should expect.
    Service(Arc<str>, ServiceState),
}

/// Whether it is worth waiting for a worker of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// At least one worker is active, or expected within the time that requests may queue.
    Up,
    /// Its workers fail at start; requests get 503 at once. The text says why, for the log.
    Failing(String),
}

/// What a front thread tells the supervisor.
#[derive(Debug)]
pub enum Event {
    /// A data link is over.
    LinkClosed {
        /// Whose link it was.
        worker: WorkerId,
        /// Which front thread held it.
        thread: usize,
        /// How it ended.
        why: Closed,
    },
}

/// How a data link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It was retired, and its last stream has ended.
    Idle,
    /// The worker closed it or died.
    Eof,
    /// The worker broke the protocol: it must be killed and replaced.
    Protocol(String),
}
