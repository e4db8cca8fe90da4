//! The one place with unsafe code: what runs in a new process between fork and exec.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Ties a process to this thread as [`die_with_this_thread`] does, and puts it into a process group of its own, so that
/// Ctrl-C reaches the process that spawns it alone and its children can be killed with it.
pub fn tie_to_this_thread(command: &mut Command) {
    command.process_group(0);
    die_with_this_thread(command);
}

/// Lets the kernel send SIGKILL to the process when the *thread* that spawns it ends, however that ends.
///
/// Call and spawn on a thread that lives as long as the process shall.
pub fn die_with_this_thread(command: &mut Command) {
    let front = getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The front may have died before the line above: then no signal will ever come.
        if getppid() != Some(front) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, and no allocation. The closure makes
    // two plain system calls (prctl, getppid) by rustix, which neither allocates nor locks; both errors it can return
    // are built without allocation (`io::Error` from a code or a kind).
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(bind);
    }
}
