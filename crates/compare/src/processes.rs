//! What a tree of processes uses, from Linux's /proc. Elsewhere nothing is measured, and that is said.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Processes looked at in one tree; more is taken for a runaway.
const PROCESSES_MAX: usize = 512;
/// How often memory is read while something runs; reading takes the process's own locks for a moment.
const MEMORY_EVERY: Duration = Duration::from_millis(100);

/// A process and its descendants, in no order; empty when it is gone.
pub fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() && found.len() < PROCESSES_MAX {
        let tasks = fs::read_dir(format!("/proc/{}/task", found[at])).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    found
}

/// Proportional set size of a tree in bytes: memory shared by n processes counts 1/n in each. `None` when none could be read.
pub fn memory(root: u32) -> Option<u64> {
    let sizes: Vec<u64> = tree(root).into_iter().filter_map(proportional_set_size).collect();
    (!sizes.is_empty()).then(|| sizes.iter().sum())
}

/// Runs `work` and reads the tree's memory meanwhile: seconds since the start, and bytes.
pub fn watching<T>(root: u32, work: impl FnOnce() -> T) -> (T, Vec<(f64, f64)>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let began = Instant::now();
            let mut sizes = Vec::new();
            while !over.load(Ordering::Relaxed) {
                std::thread::park_timeout(MEMORY_EVERY);
                sizes.extend(memory(root).map(|bytes| (began.elapsed().as_secs_f64(), bytes as f64)));
            }
            sizes
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        (result, watcher.join().unwrap_or_default())
    })
}

fn proportional_set_size(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// Processor time of a tree, with that of children that have ended and were waited for; in steps of the kernel's tick, 10 ms.
pub fn processor_time(root: u32) -> Duration {
    let ticks: u64 = tree(root).into_iter().filter_map(ticks).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn ticks(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold anything; fields are counted from behind it. 14 to 17 are utime, stime, cutime, cstime.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_holds_the_children_and_their_memory() {
        let mut child = Command::new("sh").args(["-c", "sleep 60 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let found = tree(child.id());
        assert!(found.len() >= 2 && found[0] == child.id(), "{found:?}");
        let (one, all) = (proportional_set_size(child.id()).unwrap(), memory(child.id()).unwrap());
        assert!(one > 0 && all > one, "{one} {all}");
        for pid in found.iter().rev() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        child.wait().unwrap();
        assert_eq!(memory(child.id()), None, "nothing is left of it");
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = processor_time(std::process::id());
        let until = before + Duration::from_millis(50);
        while processor_time(std::process::id()) < until {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
    }
}
