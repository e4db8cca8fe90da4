//! A limit on a service's memory that the kernel enforces: a control group, made for one launch and removed after it.
//!
//! Version 2 (`memory.max`) where this user may make groups, else version 1 (`memory.limit_in_bytes`). Neither needs a privilege of
//! its own: a folder below or beside our own group that may be written is enough, as `systemd-run --user --scope -p Delegate=yes`
//! gives. Limits on address space (RLIMIT_AS, RLIMIT_DATA) are no substitute: they count what is reserved, and V8 reserves gigabytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::server::ServerLauncher;

/// How long a group's processes may take to be gone after they were killed.
const REMOVAL_MAX: Duration = Duration::from_secs(5);
/// Where the kernel shows groups.
const ROOT: &str = "/sys/fs/cgroup";
/// What the names of our groups begin with; the process and a number follow.
const PREFIX: &str = "bireme-compare-";
/// Enters the group and becomes the program, so that all of its memory is counted.
const ENTER: &str = "echo 0 > \"$1\" && shift && exec \"$@\"";

/// The files of a version of control groups.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Version {
    limit: &'static str,
    /// Limit of swap, without which a limit of memory would be none.
    swap: &'static str,
    /// Whether that one counts memory as well.
    swap_with_memory: bool,
}

const VERSION_2: Version = Version { limit: "memory.max", swap: "memory.swap.max", swap_with_memory: false };
const VERSION_1: Version =
    Version { limit: "memory.limit_in_bytes", swap: "memory.memsw.limit_in_bytes", swap_with_memory: true };

/// A group with a limit; its processes are killed, and it is removed, when dropped.
#[derive(Debug)]
pub struct Limited {
    folder: PathBuf,
}

impl Limited {
    /// Makes a group for at most so many bytes.
    ///
    /// # Errors
    /// Why none can be made here, and what to do.
    pub fn new(bytes: u64) -> Result<Limited, String> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut why = "the kernel shows no memory controller".to_owned();
        for (base, version) in places(&own, Path::new(ROOT)) {
            match make(&base, version, bytes) {
                Ok(group) => return Ok(group),
                Err(error) => why = format!("{}: {error}", base.display()),
            }
        }
        Err(format!(
            "no control group with a memory limit can be made here ({why}); run as root, or under systemd-run --user --scope -p Delegate=yes"
        ))
    }

    /// How to launch a service inside.
    pub fn launcher(&self, launcher: &ServerLauncher) -> ServerLauncher {
        let mut inside = launcher.clone();
        inside.program = "/bin/sh".into();
        inside.arguments = vec![
            "-c".into(),
            ENTER.into(),
            "sh".into(),
            self.folder.join("cgroup.procs").into(),
            launcher.program.clone().into(),
        ];
        inside.arguments.extend(launcher.arguments.iter().cloned());
        inside
    }

    fn processes(&self) -> Vec<rustix::process::Pid> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)).collect()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let until = Instant::now() + REMOVAL_MAX;
        while fs::remove_dir(&self.folder).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) && Instant::now() < until {
            for process in self.processes() {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Groups in which one may be made, the likeliest first: our own, and those above it. In version 2 a group that has processes gives its
/// children no limits, so the one above is the one that does.
fn places(own: &str, root: &Path) -> Vec<(PathBuf, Version)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (mount, version) = match controllers {
            "" => (root.to_owned(), VERSION_2),
            some if some.split(',').any(|controller| controller == "memory") => (root.join("memory"), VERSION_1),
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        found.extend(path.ancestors().map(|above| (mount.join(above), version)));
    }
    found
}

fn make(base: &Path, version: Version, bytes: u64) -> io::Result<Limited> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    remove_left_over(base);
    let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = base.join(name);
    if !base.join("cgroup.procs").exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is no control group"));
    }
    fs::create_dir(&folder)?;
    let group = Limited { folder };
    // An opened file of a group is one that the kernel made: a controller that is off has none.
    write(&group.folder.join(version.limit), bytes)?;
    // Kernels without swap accounting have no such file, and most such machines no swap.
    match write(&group.folder.join(version.swap), if version.swap_with_memory { bytes } else { 0 }) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(group),
    }
}

/// Removes the groups of runs that were killed and so could not do it: of processes that are gone, and empty. The kernel removes no other.
fn remove_left_over(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn write(file: &Path, value: u64) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(file)?, value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;
    use crate::server::Server;

    fn check_places(own: &str, expected: &[(&str, Version)]) {
        let expected: Vec<_> = expected.iter().map(|(path, version)| (PathBuf::from(path), *version)).collect();
        assert_eq!(places(own, Path::new("/g")), expected, "{own:?}");
    }

    #[test]
    fn groups_are_made_in_our_own_or_above() {
        check_places(
            "0::/user.slice/a.scope\n",
            &[("/g/user.slice/a.scope", VERSION_2), ("/g/user.slice", VERSION_2), ("/g/", VERSION_2)],
        );
        check_places("5:cpu:/x\n4:memory:/y\n", &[("/g/memory/y", VERSION_1), ("/g/memory/", VERSION_1)]);
        check_places("2:cpu,memory:/\n", &[("/g/memory/", VERSION_1)]);
        check_places("nonsense\n", &[]);
    }

    /// A service that fills so many MiB before it says that it is ready.
    fn filling(mebibytes: u32) -> ServerLauncher {
        let script = format!(
            "x=$(head -c {} /dev/zero | tr '\\0' x); echo ready on http://127.0.0.1:1 >&2; exec sleep 60",
            mebibytes << 20
        );
        ServerLauncher {
            name: "filling".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            folder: "/".into(),
            patience: Duration::from_secs(30),
        }
    }

    #[test]
    fn what_passes_the_limit_is_killed_and_nothing_is_left() {
        let group = match Limited::new(64 << 20) {
            Ok(group) => group,
            Err(why) => {
                // Not every machine lets its users make groups; what is said then is all that there is to see.
                assert!(why.contains("systemd-run"), "{why}");
                return;
            }
        };
        let folder = group.folder.clone();
        let small = Server::start(&group.launcher(&filling(1)), &Cancel::default());
        assert!(
            small.is_ok_and(|server| group
                .processes()
                .iter()
                .any(|process| process.as_raw_nonzero().get() as u32 == server.pid()))
        );
        assert!(Server::start(&group.launcher(&filling(200)), &Cancel::default()).is_err());
        drop(group);
        assert!(!folder.exists());
    }

    #[test]
    fn groups_of_runs_that_were_killed_are_removed_if_they_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        // No process has a number that great.
        let gone = format!("{PREFIX}{}", u32::MAX);
        let own = format!("{PREFIX}{}-0", std::process::id());
        let used = format!("{gone}-1");
        for name in [&format!("{gone}-0"), &format!("{used}/inner"), &own, "bireme-compare-other", "other"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        remove_left_over(folder.path());
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        let mut expected = vec!["bireme-compare-other".to_owned(), used, own, "other".to_owned()];
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
    }
}
