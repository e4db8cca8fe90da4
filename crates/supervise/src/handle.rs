//! What the rest of the front sees of the supervisor.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::machine::Failure;
use crate::spec::Plan;

/// The front's threads, as the supervisor sees them.
pub trait Threads: Send + 'static {
    /// How many there are; each holds one data link to every worker.
    fn count(&self) -> usize;
    /// Gives a thread an order. Orders to one thread are carried out in order. Must not block; an order to a thread
    /// that has ended is dropped.
    fn send(&self, thread: usize, command: link::Command);
}

impl<T: Threads + Sync> Threads for Arc<T> {
    fn count(&self) -> usize {
        T::count(self)
    }

    fn send(&self, thread: usize, command: link::Command) {
        T::send(self, thread, command);
    }
}

/// Asks the supervisor for things. When every clone has been dropped, all workers are killed.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) access: Access,
}

/// What a process needs to call functions of services: the broker's socket and secret.
#[derive(Clone)]
pub struct Access {
    /// `BIREME_BROKER`
    pub path: PathBuf,
    /// `BIREME_BROKER_TOKEN`
    pub token: String,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is put between the activation of a new generation and the retirement of the old one.
pub(crate) type Swap = Box<dyn FnOnce() + Send>;

pub(crate) enum Request {
    WaitReady(oneshot::Sender<Result<Vec<ServiceStatus>, StartError>>),
    Reload {
        plan: Plan,
        /// Services that get new workers; all if `None`. Others serve on with those that they have.
        only: Option<BTreeSet<Arc<str>>>,
        swap: Swap,
        reply: oneshot::Sender<Result<Vec<ServiceStatus>, ReloadError>>,
    },
    Status(oneshot::Sender<Vec<ServiceStatus>>),
    Stop(oneshot::Sender<()>),
    Kill(oneshot::Sender<()>),
}

impl Handle {
    /// How to call functions of the services.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Waits until every service that is not started by a call has a ready worker.
    ///
    /// # Errors
    /// As soon as every worker of a service has failed its first start, or the supervisor is stopped.
    pub async fn wait_ready(&self) -> Result<Vec<ServiceStatus>, StartError> {
        self.ask(Request::WaitReady).await.unwrap_or_else(|| Err(StartError::stopped()))
    }

    /// Starts a new generation of every service, by new settings, beside the serving one. When all its workers are
    /// ready they are activated, `swap` runs (on the supervisor's thread: it must not block), and then the old
    /// generation is retired. Services that are not in the list any more are retired with it.
    ///
    /// # Errors
    /// When a new worker fails, when another reload is under way, or when the supervisor is stopped: the old
    /// generation serves on as if nothing had been asked, and `swap` has not run.
    pub async fn reload(
        &self,
        plan: impl Into<Plan>,
        swap: impl FnOnce() + Send + 'static,
    ) -> Result<Vec<ServiceStatus>, ReloadError> {
        self.ask_reload(plan.into(), None, Box::new(swap)).await
    }

    /// The same for some services, while all others serve on with the workers that they have.
    ///
    /// # Errors
    /// As [`Handle::reload`].
    pub async fn reload_services(
        &self,
        plan: impl Into<Plan>,
        only: BTreeSet<Arc<str>>,
        swap: impl FnOnce() + Send + 'static,
    ) -> Result<Vec<ServiceStatus>, ReloadError> {
        self.ask_reload(plan.into(), Some(only), Box::new(swap)).await
    }

    async fn ask_reload(
        &self,
        plan: Plan,
        only: Option<BTreeSet<Arc<str>>>,
        swap: Swap,
    ) -> Result<Vec<ServiceStatus>, ReloadError> {
        let answer = self.ask(|reply| Request::Reload { plan, only, swap, reply }).await;
        answer.unwrap_or(Err(ReloadError::Stopping))
    }

    /// What every worker is doing. Empty when the supervisor has ended.
    pub async fn status(&self) -> Vec<ServiceStatus> {
        self.ask(Request::Status).await.unwrap_or_default()
    }

    /// Lets every worker finish its streams and shut down, within the services' timeouts; returns when the last
    /// process is gone.
    pub async fn stop(&self) {
        let _ = self.ask(Request::Stop).await;
    }

    /// Kills every worker; returns when the last process is gone.
    pub async fn kill(&self) {
        let _ = self.ask(Request::Kill).await;
    }

    /// Returns when the supervisor's thread has ended, which it does not while this handle lives, unless it panicked.
    /// No worker is left then: the kernel has killed them.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// `None` when the supervisor has ended.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// A service that did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Its name; empty when the supervisor was stopped instead.
    pub service: String,
    /// Why, with the worker's own error and stack.
    pub failure: Failure,
}

impl StartError {
    pub(crate) fn stopped() -> StartError {
        let error = "stopped before the workers were ready".to_owned();
        StartError { service: String::new(), failure: Failure { error, ..Failure::default() } }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.service.is_empty() {
            write!(f, "service {} did not start: ", self.service)?;
        }
        self.failure.fmt(f)
    }
}

impl std::error::Error for StartError {}

/// A reload that did not happen; the old workers serve on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// A worker of the new generation failed.
    Failed(StartError),
    /// Another reload is under way.
    Busy,
    /// The supervisor is stopping.
    Stopping,
    /// The services to start are not a valid set.
    Invalid(String),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Failed(error) => write!(f, "nothing was changed: {error}"),
            ReloadError::Busy => f.write_str("nothing was changed: another reload is under way; try again when it is over"),
            ReloadError::Stopping => f.write_str("nothing was changed: Bireme is stopping"),
            ReloadError::Invalid(why) => write!(f, "nothing was changed: {why}"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// One service in `bireme status`, and in what is printed at start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `node` or `python`.
    pub language: &'static str,
    /// The interpreter.
    pub interpreter: PathBuf,
    /// Why that one was chosen.
    pub why: String,
    /// Its version, once a worker has said it.
    pub version: Option<String>,
    /// `fetch`, `handler`, `http`, `asgi` or `wsgi`, once a worker has said it.
    pub kind: Option<String>,
    /// Counts reloads, from 1.
    pub generation: u32,
    /// Workers wanted.
    pub wanted: usize,
    /// Workers that serve.
    pub ready: usize,
    /// Why its workers fail at start, while none serves.
    pub failing: Option<String>,
    /// Every process, those that are leaving included.
    pub workers: Vec<WorkerStatus>,
}

/// One worker in `bireme status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// `ml#2`.
    pub name: String,
    /// Process id; 0 when the process could not be started.
    pub pid: u32,
    /// `starting`, `held` (for a reload), `ready`, `draining`, `stopping` or `dying`.
    pub state: &'static str,
    /// Time since its process was started.
    pub uptime_ms: u64,
    /// Starts in its place that followed a death.
    pub restarts: u64,
    /// Streams open.
    pub in_flight: u32,
    /// Streams ended.
    pub served: u64,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// Its generation; differs from the service's while a reload is under way.
    pub generation: u32,
}
