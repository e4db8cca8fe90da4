//! One worker process: started, signalled, and gone for good.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use crate::before_exec::tie_to_this_thread;
use crate::spec::{CallsSpec, WorkerSpec};

/// What one worker is told through its environment; see `protocol/README.md`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub link: &'a Path,
    pub links: usize,
    pub token: &'a str,
    pub service: &'a str,
    pub worker: &'a str,
    pub broker_token: &'a str,
    pub calls: &'a Path,
    pub limits: &'a CallsSpec,
    pub timeout_ms: u32,
}

/// A started process. Dropping it kills it and its children.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

/// What the caller has to drive.
#[derive(Debug)]
pub(crate) struct Ends {
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
    /// Readable when the process has exited.
    pub exit: AsyncFd<OwnedFd>,
}

/// Variables of the front's own that a child would misunderstand as meant for it (sd_listen_fds(3), sd_notify(3)).
const NOT_INHERITED: [&str; 6] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

impl Process {
    /// Starts a worker. The calling thread must outlive it: its end is the worker's end.
    ///
    /// # Errors
    /// In words for people: what could not be run, and why.
    pub fn spawn(spec: &WorkerSpec, identity: Identity<'_>) -> Result<(Process, Ends), String> {
        let program = &spec.interpreter.path;
        let mut command = Command::new(program);
        command.args(&spec.args).current_dir(&spec.cwd).envs(spec.env.iter().map(|(key, value)| (key, value)));
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
            .env("BIREME_LINK", identity.link)
            .env("BIREME_LINKS", identity.links.to_string())
            .env("BIREME_TOKEN", identity.token)
            .env("BIREME_OPTIONS", &spec.options)
            .env("BIREME_SERVICE", identity.service)
            .env("BIREME_WORKER", identity.worker)
            .env("BIREME_BROKER", identity.link)
            .env("BIREME_BROKER_TOKEN", identity.broker_token)
            .env("BIREME_CALLS", identity.calls)
            .env("BIREME_SELF", self_description(spec, &identity))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        tie_to_this_thread(&mut command);
        let child = command.spawn().map_err(|error| {
            let folder = if spec.cwd.is_dir() { "" } else { ": the working folder does not exist" };
            format!("cannot run {} in {}: {error}{folder}", program.display(), spec.cwd.display())
        })?;
        Process::watch(child).map_err(|error| format!("cannot watch {}: {error}", program.display()))
    }

    fn watch(mut child: Child) -> io::Result<(Process, Ends)> {
        let pid = Pid::from_child(&child);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let opened = pidfd_open(pid, PidfdFlags::NONBLOCK);
        let Ok(pidfd) = opened else {
            // Nothing can follow a process that cannot be watched.
            let _ = child.kill();
            let _ = child.wait();
            return Err(opened.err().map_or_else(|| io::ErrorKind::Unsupported.into(), io::Error::from));
        };
        let process = Process { child, pid, pidfd, reaped: false };
        let ends = Ends {
            stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
            stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
            exit: watch_exit(process.pidfd.try_clone()?)?,
        };
        Ok((process, ends))
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Asks the worker to end. It may be gone already.
    pub fn terminate(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
    }

    /// Kills the worker and what it has started.
    pub fn kill(&self) {
        // The group's number cannot have passed to another process: the worker, even dead, keeps it until `reap`.
        if !self.reaped {
            let _ = kill_process_group(self.pid, Signal::KILL);
            // It may have moved itself to another group.
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
    }

    /// Takes leave of a process that has exited: what it left running in its group is killed.
    pub fn reap(mut self) -> Exit {
        self.kill();
        let status = self.child.wait();
        self.reaped = true;
        Exit(status.ok())
    }
}

/// BIREME_SELF: what a process is told of itself, of the calls on the links that it accepts and of the memory it may share
/// (protocol/calls.md).
fn self_description(spec: &WorkerSpec, identity: &Identity<'_>) -> String {
    let limits = identity.limits;
    let description = serde_json::json!({
        "service": identity.service,
        "root": spec.cwd,
        "timeout_ms": identity.timeout_ms,
        "message_bytes_max": limits.message_bytes_max,
        "queue_max": limits.queue_max,
        "shared_bytes_min": limits.shared.bytes_min.unwrap_or(0),
        "shared_bytes_max": limits.shared.bytes_max,
    });
    description.to_string()
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

#[expect(deprecated, reason = "its unsafe successor guards against types whose descriptor changes; an OwnedFd's does not")]
fn watch_exit(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, tokio::io::Interest::READABLE)
}

/// How a process ended; displays as "exited with status 1" or "was killed by signal 9 (SIGKILL)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(Option<ExitStatus>);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = self.0 else { return f.write_str("exited") };
        if let Some(code) = status.code() {
            return write!(f, "exited with status {code}");
        }
        let Some(signal) = status.signal() else { return write!(f, "ended: {status}") };
        write!(f, "was killed by signal {signal}")?;
        if let Some(name) = signal_name(signal) {
            write!(f, " ({name})")?;
        }
        if status.core_dumped() {
            f.write_str(", core dumped")?;
        }
        Ok(())
    }
}

/// The signals that end processes (signal(7)).
fn signal_name(signal: i32) -> Option<&'static str> {
    let name = match Signal::from_named_raw(signal)? {
        Signal::HUP => "SIGHUP",
        Signal::INT => "SIGINT",
        Signal::QUIT => "SIGQUIT",
        Signal::ILL => "SIGILL",
        Signal::TRAP => "SIGTRAP",
        Signal::ABORT => "SIGABRT",
        Signal::BUS => "SIGBUS",
        Signal::FPE => "SIGFPE",
        Signal::KILL => "SIGKILL",
        Signal::USR1 => "SIGUSR1",
        Signal::SEGV => "SIGSEGV",
        Signal::USR2 => "SIGUSR2",
        Signal::PIPE => "SIGPIPE",
        Signal::ALARM => "SIGALRM",
        Signal::TERM => "SIGTERM",
        Signal::XCPU => "SIGXCPU",
        Signal::XFSZ => "SIGXFSZ",
        Signal::SYS => "SIGSYS",
        _ => return None,
    };
    Some(name)
}
