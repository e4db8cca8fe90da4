//! Who cleans up when the front is killed: a small process that outlives it for a moment.
//!
//! The kernel kills workers with the front (`before_exec.rs`), but not what workers have started. The guardian knows
//! the process groups of all workers; when its standard input ends, which happens however the front dies, it kills
//! those groups and exits. It is the system's shell, so that it costs one megabyte and no second program of ours.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Signals that reach a whole session or service are not for it: it ends when the front has ended.
const SCRIPT: &str = r#"
trap '' HUP INT TERM QUIT
groups=' '
while read -r order group; do
    case $order in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do
    kill -KILL "-$group"
done
"#;

/// The guardian's end that the front holds.
#[derive(Debug)]
pub(crate) struct Guardian(Option<(Child, ChildStdin)>);

impl Guardian {
    /// Starts it. A system without a shell has to do without: there the children of workers may outlive a killed front.
    pub fn start() -> Guardian {
        match start() {
            Ok(parts) => Guardian(Some(parts)),
            Err(error) => {
                tracing::warn!("no guardian for the workers' own children, should Bireme be killed: /bin/sh: {error}");
                Guardian(None)
            }
        }
    }

    /// Remembers a worker's process group.
    pub fn watch(&mut self, group: u32) {
        self.tell('+', group);
    }

    /// Forgets a process group that has been killed.
    pub fn release(&mut self, group: u32) {
        self.tell('-', group);
    }

    fn tell(&mut self, order: char, group: u32) {
        let Some((_, stdin)) = &mut self.0 else { return };
        // A short line goes into the pipe as a whole or not at all (pipe(7)); a guardian that lets thousands wait is
        // stopped or gone.
        if let Err(error) = stdin.write_all(format!("{order} {group}\n").as_bytes()) {
            tracing::warn!("the guardian of the workers' own children does not listen: {error}");
            self.0 = None;
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if let Some((mut child, stdin)) = self.0.take() {
            drop(stdin);
            // Not waited for: it may have been stopped. A front that ends leaves it to init.
            let _ = child.try_wait();
        }
    }
}

fn start() -> io::Result<(Child, ChildStdin)> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "bireme-guardian"])
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    fcntl_setfl(&stdin, fcntl_getfl(&stdin)? | OFlags::NONBLOCK)?;
    Ok((child, stdin))
}
