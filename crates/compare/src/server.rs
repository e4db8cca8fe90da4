//! One launch of a service: a program that serves HTTP on loopback and says where.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Cancel, redact};

/// What precedes the address in the line that says that requests are answered.
const READY: &str = "ready on http://";
/// Lines kept of what it prints.
const LINES_MAX: usize = 200;
/// How often a wait looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How to launch a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerLauncher {
    /// Name of the side.
    pub name: String,
    /// The program; it prints `ready on http://ADDRESS` to stderr.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables on top of this process's own.
    pub environment: Vec<(OsString, OsString)>,
    /// Working folder.
    pub folder: PathBuf,
    /// Longest wait until it is ready.
    pub patience: Duration,
}

/// A running service; killed with all its processes when dropped.
pub struct Server {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Where it answers.
    pub address: SocketAddr,
    /// When the order to start it was given.
    pub began: Instant,
}

impl Server {
    /// Starts it and waits until it is ready. It does not outlive the thread that calls this.
    ///
    /// # Errors
    /// When it cannot be run, ends, or takes too long: with what it printed last.
    pub fn start(launcher: &ServerLauncher, cancel: &Cancel) -> Result<Server, String> {
        let began = Instant::now();
        let mut command = Command::new(&launcher.program);
        command
            .args(&launcher.arguments)
            .envs(launcher.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launcher.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C is for us, not for what is measured; a run that is killed leaves nothing behind.
        supervise::tie_to_this_thread(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| format!("{}: {} cannot be run: {error}", launcher.name, launcher.program.display()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (ready, address) = channel();
        if let Some(pipe) = child.stdout.take() {
            let lines = lines.clone();
            std::thread::spawn(move || read(pipe, &lines, |_| {}));
        }
        if let Some(pipe) = child.stderr.take() {
            let lines = lines.clone();
            std::thread::spawn(move || {
                read(pipe, &lines, |line| {
                    if let Some((_, rest)) = line.split_once(READY) {
                        let _ = ready.send(rest.split_whitespace().next().and_then(|address| address.parse().ok()));
                    }
                });
            });
        }
        // Dropped, and so ended, on every way out.
        let mut server = Server { child, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)), began };
        server.address = server.wait(launcher, &address, cancel)?;
        Ok(server)
    }

    fn wait(
        &self,
        launcher: &ServerLauncher,
        address: &Receiver<Option<SocketAddr>>,
        cancel: &Cancel,
    ) -> Result<SocketAddr, String> {
        let deadline = self.began + launcher.patience;
        loop {
            let why = match address.recv_timeout(CANCEL_POLL) {
                Ok(Some(address)) => return Ok(address),
                Ok(None) => "its address cannot be read",
                Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => return Err("interrupted".to_owned()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => continue,
                Err(RecvTimeoutError::Timeout) => "it was not ready in time",
                Err(RecvTimeoutError::Disconnected) => "it ended before it was ready",
            };
            return Err(format!("{}: {why}; it printed:\n{}", launcher.name, redact::text(&self.printed())));
        }
    }

    /// The first of its processes.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed since this was last asked.
    pub fn take_printed(&self) -> String {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner)).join("\n")
    }

    /// What it printed last.
    pub fn printed(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers may have groups of their own; all of the tree goes.
        for pid in crate::processes::tree(self.child.id()).into_iter().rev() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

fn read(pipe: impl Read, lines: &Mutex<Vec<String>>, mut hear: impl FnMut(&str)) {
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        hear(&line);
        let mut kept = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= LINES_MAX {
            kept.remove(0);
        }
        kept.push(line);
    }
}
