//! A broker without a front: starts the workers of what is called, for programs that serve nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Settings;
use supervise::{Access, Handle, Plan, RunDirectory, Supervisor, Threads};
use tokio::sync::mpsc;

use crate::Stop;

/// Workers that are called, and whom to ask for them.
#[derive(Debug)]
pub struct Broker {
    supervisor: Handle,
    folder: PathBuf,
    /// Held so that the supervisor does not take the threads of a front for gone.
    _events: mpsc::UnboundedSender<link::Event>,
}

/// No front, no threads.
struct NoThreads;

impl Threads for NoThreads {
    fn count(&self) -> usize {
        0
    }

    fn send(&self, _: usize, _: link::Command) {}
}

impl Broker {
    /// Listens; no worker is started before it is asked for.
    pub fn start(settings: &Settings, plan: Plan) -> Result<Broker, Stop> {
        let folder = RunDirectory::create(settings.runtime_dir.as_deref())
            .map_err(|error| Stop::Failed(format!("no folder for sockets: {error}")))?;
        let path = folder.path().to_owned();
        let (events, inbox) = mpsc::unbounded_channel();
        let supervisor = Supervisor::start(Arc::new(folder), plan, NoThreads, inbox)
            .map_err(|error| Stop::Failed(format!("the broker cannot be started: {error}")))?;
        Ok(Broker { supervisor, folder: path, _events: events })
    }

    /// How to call.
    pub fn access(&self) -> &Access {
        self.supervisor.access()
    }

    /// Stops the workers, those of them by force that are still there when `hurry` says so or after [`LEAVE_TIMEOUT`],
    /// and removes what is left.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let no_longer = async {
            tokio::select! { () = hurry => {}, () = tokio::time::sleep(LEAVE_TIMEOUT) => {} }
        };
        tokio::select! {
            () = self.supervisor.stop() => {}
            () = no_longer => {
                // Bounded: dead processes are reaped at once, and nothing else is waited for.
                let _ = tokio::time::timeout(KILL_TIMEOUT, self.supervisor.kill()).await;
            }
        }
        // The supervisor's thread removes it too, but nobody waits for that thread, and exiting would cut it short.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Who called has ended, so nobody waits for what a worker still does; this is for what it wants to put away.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// The runtime that a command waits in.
pub fn event_loop() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error: io::Error| Stop::Failed(format!("the runtime cannot be made: {error}")))
}
