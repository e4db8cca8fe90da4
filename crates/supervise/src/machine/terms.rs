//! What goes into the machine and what comes out of it.

use std::fmt;
use std::time::Duration;

use link::{Closed, ServiceState, WorkerId};

use crate::backoff::Backoff;

/// How the workers of one service are to live.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Processes wanted; at least 1.
    pub workers: usize,
    /// Data links each worker opens: one for each front thread; 0 for workers that take calls alone.
    pub links: usize,
    /// From the spawn until a worker must be ready.
    pub start_timeout: Duration,
    /// From the order to retire until the streams still open are cut.
    pub drain_timeout: Duration,
    /// From DRAIN until SIGKILL; SIGTERM comes after three quarters of it.
    pub stop_timeout: Duration,
    /// From the end of a link, or from FAILED, until a process that has not exited is killed.
    pub exit_grace: Duration,
    /// A worker that lived this long after it was ready did not fail by starting: its death is followed by an
    /// immediate restart and forgets earlier failures.
    pub stable_after: Duration,
    /// Pauses between failing starts.
    pub backoff: Backoff,
    /// Streams after which a worker is replaced; never more than [`link::WORKER_STREAMS_MAX`].
    pub recycle_requests: Option<u64>,
    /// Resident bytes past which a worker is replaced.
    pub recycle_memory_bytes: Option<u64>,
    /// Silence on the control link after which a ready worker is killed.
    pub hang_timeout: Option<Duration>,
}

/// Why a worker did not come to be, in words for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// One line.
    pub error: String,
    /// The worker's own stack or last output; may be empty.
    pub stack: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        for line in self.stack.lines() {
            write!(f, "\n  {line}")?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Start the service for the first time.
    Start,
    /// The worker's data link `link` has been handed to its front thread.
    LinkOpened(WorkerId, usize),
    /// The worker said READY.
    Ready(WorkerId),
    /// The worker said FAILED, or what it said makes it unusable (a version that is not supported).
    Failed(WorkerId, Failure),
    /// The worker broke the protocol outside of a data link.
    Violation(WorkerId, String),
    /// The control link is over.
    ControlClosed(WorkerId),
    /// A front thread says that a data link is over.
    LinkClosed(WorkerId, usize, Closed),
    /// No front thread is left: all links are over.
    ThreadsGone,
    /// The process is gone, or never came to be; the failure says how it ended.
    Exited(WorkerId, Failure),
    /// The answer to a PING.
    Pong(WorkerId),
    /// What the worker has used so far.
    Usage {
        /// Whose.
        worker: WorkerId,
        /// Streams ended.
        served: u64,
        /// Resident bytes, when they are being watched.
        memory: Option<u64>,
    },
    /// Start a new generation beside the serving one, by this policy.
    Prepare(Policy),
    /// The prepared generation takes over.
    Commit,
    /// Give the prepared generation up.
    Abort,
    /// Retire every worker; start none.
    Stop,
    /// Kill every worker; start none.
    Kill,
    /// The time that [`Machine::deadline`] named has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a process.
    Spawn {
        /// Its id.
        worker: WorkerId,
        /// Its place in the service, from 1: the number in its name.
        number: usize,
        /// The generation whose command and environment it gets.
        generation: u32,
    },
    /// Tell all front threads to choose it.
    Activate(WorkerId),
    /// Tell all front threads to open no new stream on it.
    Retire(WorkerId),
    /// Tell all front threads to end its links now.
    Detach(WorkerId),
    /// Send DRAIN.
    Drain(WorkerId),
    /// Send SIGTERM.
    Terminate(WorkerId),
    /// Send SIGKILL to it and all its children.
    Kill(WorkerId),
    /// Send PING.
    Ping(WorkerId),
    /// Tell all front threads.
    Service(ServiceState),
    /// For the log and for who waits.
    Note(Note),
}

/// What happened, for the log and for who waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The worker serves.
    Ready(WorkerId),
    /// The first worker of the service serves.
    FirstReady,
    /// The worker ended after it was told to.
    Left {
        /// Which.
        worker: WorkerId,
        /// How it ended.
        how: Failure,
        /// It had to be killed.
        killed: bool,
    },
    /// The worker ended by itself after it was ready, or was killed for a reason.
    Lost {
        /// Which.
        worker: WorkerId,
        /// How it ended, or why it was killed.
        why: Failure,
        /// Pause before its replacement starts; `None` when there is none to start.
        restart_in: Option<Duration>,
    },
    /// The worker was never ready.
    StartFailed {
        /// Which.
        worker: WorkerId,
        /// Why.
        why: Failure,
        /// Pause before the next attempt; `None` when it is not (yet) repeated.
        restart_in: Option<Duration>,
    },
    /// Every worker failed its first start; none is started again.
    GaveUp(Failure),
    /// The worker is being replaced: it has reached a limit.
    Recycling(WorkerId, String),
    /// Every worker of the prepared generation is ready.
    Prepared,
    /// The prepared generation will not be: one of its workers failed.
    PrepareFailed(Failure),
    /// No worker is left after `Stop` or `Kill`.
    Stopped,
}

/// Time, chance and ids for one event.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Time since any fixed point; never goes back.
    pub now: Duration,
    /// Uniform in 0.0 to 1.0.
    pub jitter: f64,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Loading the application.
    Starting,
    /// Ready, but not serving before its whole generation is.
    Held,
    /// Serving.
    Ready,
    /// Ending its last streams.
    Draining,
    /// Told to exit.
    Stopping,
    /// Failed or condemned; about to exit or to be killed.
    Dying,
}

impl Phase {
    /// The word that `bireme status` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Held => "held",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
            Phase::Dying => "dying",
        }
    }
}

/// One worker's row for `bireme status`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerView {
    /// Its id.
    pub worker: WorkerId,
    /// Its place in the service, from 1.
    pub number: usize,
    /// What it is doing.
    pub phase: Phase,
    /// When it was started.
    pub started: Duration,
    /// Starts in its place since this generation began serving, the first one excluded.
    pub restarts: u64,
    /// Its generation; counts reloads.
    pub generation: u32,
}
