//! The front: listeners, TLS, HTTP, static files and limits, on threads that share nothing but counters.
//!
//! `front` never starts a process and never reads a configuration file: it is given settings and bound
//! sockets, is told about workers by [`link::Command`]s, and tells what happened by [`link::Event`]s. Each
//! thread has its own runtime and its own link to every worker; a connection lives and dies on one thread.

pub mod accept;
pub mod access_log;
mod active;
mod busy_poll;
pub mod compress;
pub mod date;
mod deadline;
mod dispatch;
pub mod fault;
mod file_response;
pub mod forwarded;
mod head;
mod http1;
mod http2;
mod listen;
pub mod media_type;
mod metrics;
mod pool;
pub mod problem;
pub mod request_id;
mod response;
mod serve;
pub mod shadow;
pub mod static_files;
mod sticky;
mod thread;
mod tls;
pub mod topics;
mod upstream;
mod wait;
mod websocket;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use config::Settings;
use link::{Command, Event};
use tokio::sync::mpsc;

pub use active::Unusable;
pub use listen::{BindError, Bound, Inherited};
pub use metrics::{BUCKETS_US, STATUS_CLASSES, Totals};
use shadow::Sample;
pub use tls::Error as TlsError;

use crate::access_log::AccessLog;
use crate::active::Active;
use crate::thread::{Order, Shared, Thread};
use crate::topics::{Threads, TopicBus};

/// The running front threads.
#[derive(Debug)]
pub struct Front {
    threads: Vec<Handle>,
    shared: Arc<Shared>,
    access_log: Option<AccessLog>,
    tls: Option<tls::Acceptor>,
    samples: Option<Receiver<Sample>>,
}

#[derive(Debug)]
struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    join: std::thread::JoinHandle<()>,
}

/// The front can't start.
#[derive(Debug)]
pub enum StartError {
    /// A route or a folder of static files can't be used.
    Settings(Unusable),
    /// The access log can't be written.
    AccessLog(io::Error),
    /// A certificate can't be used.
    Tls(tls::Error),
    /// A thread or its runtime can't be made.
    Thread(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Settings(error) => error.fmt(f),
            StartError::AccessLog(error) => error.fmt(f),
            StartError::Tls(error) => error.fmt(f),
            StartError::Thread(error) => write!(f, "can't start a front thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Front {
    /// Starts one thread for each of `bound`'s shares. Events of all threads arrive at the receiver.
    pub fn start(settings: Arc<Settings>, bound: Bound) -> Result<(Front, mpsc::UnboundedReceiver<Event>), StartError> {
        // Fail here, on the caller's thread, rather than on each of ours.
        Active::validate(&settings).map_err(StartError::Settings)?;
        let access_log = AccessLog::start(&settings.access_log).map_err(StartError::AccessLog)?;
        let tls = settings.tls.as_ref().map(tls::Acceptor::new).transpose().map_err(StartError::Tls)?;
        let (events, receiver) = mpsc::unbounded_channel();
        let metrics = settings.metrics_listen.is_some().then(metrics::Metrics::default);
        let (samples, taken) = std::sync::mpsc::sync_channel(shadow::SAMPLES_MAX);
        let shared = Arc::new(Shared { metrics, samples: Some(samples), ..Shared::default() });
        let mut threads = Vec::new();
        let (senders, inboxes): (Vec<_>, Vec<_>) = bound.per_thread.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let bus: Arc<dyn TopicBus> = Arc::new(Threads(senders.clone()));
        let queues = senders.into_iter().zip(inboxes);
        for (index, (listeners, (orders, inbox))) in bound.per_thread.into_iter().zip(queues).enumerate() {
            let bus = bus.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .build()
                .map_err(StartError::Thread)?;
            let (settings, shared, events, tls) = (settings.clone(), shared.clone(), events.clone(), tls.clone());
            let access_log = access_log.as_ref().map(AccessLog::thread);
            let start = move || {
                let access_log = access_log.map(access_log::ThreadLogSeed::plant);
                let thread = match Thread::new(index, settings, shared, events, access_log.clone(), bus) {
                    Ok(thread) => thread,
                    Err(error) => {
                        tracing::error!(%error, "a front thread can't start");
                        return;
                    }
                };
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async {
                    if let Some(access_log) = access_log.clone() {
                        tokio::task::spawn_local(access_log.keep_flushing());
                    }
                    tokio::task::spawn_local(busy_poll::run(thread.clone()));
                    for listener in listeners {
                        tokio::task::spawn_local(serve::accept(thread.clone(), listener, tls.clone()));
                    }
                    thread.run(inbox).await;
                });
                if let Some(access_log) = access_log {
                    access_log.flush();
                }
            };
            let join = std::thread::Builder::new().name(format!("front-{index}")).spawn(start).map_err(StartError::Thread)?;
            threads.push(Handle { orders, join });
        }
        Ok((Front { threads, shared, access_log, tls, samples: Some(taken) }, receiver))
    }

    /// Answers to copied requests of routes with a `shadow`; given once. What nobody takes is dropped.
    pub fn take_samples(&mut self) -> Option<Receiver<Sample>> {
        self.samples.take()
    }

    /// Number of front threads; each wants one data link from every worker.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// A way to tell threads about workers that can be handed to the supervisor.
    pub fn commands(&self) -> Commands {
        Commands(self.threads.iter().map(|thread| thread.orders.clone()).collect())
    }

    /// Serves by other settings from now on. Listeners, access log, paths of TLS files and the number of threads
    /// stay as they are; the certificate is read again, and the access log's file is opened again.
    ///
    /// # Errors
    /// When the settings can't be used: the old ones stay in force.
    pub fn configure(&self, settings: &Arc<Settings>) -> Result<(), Unusable> {
        Active::validate(settings)?;
        if let Some(Err(error)) = self.tls.as_ref().map(tls::Acceptor::reload) {
            tracing::error!(%error, "the certificate can't be read again; the old one stays");
        }
        if let Some(access_log) = &self.access_log {
            access_log.reopen();
        }
        for thread in &self.threads {
            let _ = thread.orders.send(Order::Configure(settings.clone()));
        }
        Ok(())
    }

    /// Client connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Counts of requests by service, if the settings asked for them at the start.
    pub fn metrics(&self) -> Vec<Totals> {
        self.shared.metrics.as_ref().map(metrics::Metrics::totals).unwrap_or_default()
    }

    /// Accepts no more and lets requests end for at most `deadline`. Blocks; says how many connections are still
    /// open then. The links stay, so that workers can be told to stop afterwards; [`Front::stop`] comes last.
    pub fn drain(&self, deadline: Duration) -> usize {
        for thread in &self.threads {
            let _ = thread.orders.send(Order::Drain);
        }
        let end = Instant::now() + deadline;
        while self.connections() > 0 && Instant::now() < end {
            std::thread::sleep(DRAIN_POLL);
        }
        self.connections()
    }

    /// Ends the threads and cuts what is left.
    pub fn stop(self) {
        for thread in &self.threads {
            let _ = thread.orders.send(Order::Stop);
        }
        for thread in self.threads {
            // A thread that panicked has said so; the others end all the same.
            let _ = thread.join.join();
        }
        if let Some(access_log) = self.access_log
            && !access_log.close(ACCESS_LOG_CLOSE)
        {
            tracing::warn!("the access log could not be written to its end in time");
        }
    }
}

/// Blocking threads of each front thread, for file operations that miss the page cache.
const BLOCKING_THREADS: usize = 4;
const ACCESS_LOG_CLOSE: Duration = Duration::from_secs(5);
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// Sends commands about workers to front threads.
#[derive(Clone, Debug)]
pub struct Commands(Vec<mpsc::UnboundedSender<Order>>);

impl Commands {
    /// Number of front threads.
    pub fn threads(&self) -> usize {
        self.0.len()
    }

    /// Tells one thread. A thread that has ended hears nothing.
    pub fn send(&self, thread: usize, command: Command) {
        if let Some(orders) = self.0.get(thread) {
            let _ = orders.send(Order::Worker(command));
        }
    }
}
