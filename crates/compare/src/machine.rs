//! The machine: what it is, and whether it is fit to measure on now.

use std::fs;
use std::time::{Duration, Instant};

use crate::document::{Finding, Machine, Severity};

/// Busy part of all cores, before anything was started, above which neighbours disturb.
const BUSY_MAX: f64 = 0.15;
/// How long the machine is watched for neighbours.
const WATCH: Duration = Duration::from_millis(500);

/// What it is.
pub fn describe() -> Machine {
    let first_line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned()))
    };
    let uname = rustix::system::uname();
    let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    let kibibytes = field("/proc/meminfo", "MemTotal").and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok());
    Machine {
        system: [uname.sysname(), uname.release(), uname.machine()].map(text).join(" "),
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: cores(),
        memory_bytes: kibibytes.unwrap_or(0) * 1024,
        governor: first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        load: first_line("/proc/loadavg").and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0.0),
    }
}

/// Cores that this process may use.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// What makes it unfit; watches it for half a second.
pub fn fitness(machine: &Machine) -> Vec<Finding> {
    judge(machine, busy_part(WATCH))
}

/// `busy`: part of all cores that other programs use.
fn judge(machine: &Machine, busy: Option<f64>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |severity, what: String, advice: &str| {
        found.push(Finding { severity, side: None, what, advice: advice.to_owned() });
    };
    if let Some(governor) = machine.governor.as_deref().filter(|governor| *governor != "performance") {
        let advice = "set it to performance for the run (cpupower frequency-set -g performance)";
        say(Severity::Warning, format!("the frequency governor is {governor}, so that speed depends on recent load"), advice);
    }
    if let Some(busy) = busy.filter(|busy| *busy > BUSY_MAX) {
        let advice = "stop what else runs, or read the intervals with care; the noise band tells what this did to the run";
        say(Severity::Warning, format!("other processes used {:.0}% of the machine before the start", busy * 100.0), advice);
    }
    if machine.cores <= 2 {
        let what = format!(
            "{} {}: what is compared shares them with the measuring process",
            machine.cores,
            if machine.cores == 1 { "core" } else { "cores" }
        );
        say(Severity::Note, what, "use a machine of four cores or more for verdicts on scaling; none is given here");
    }
    found
}

/// Part of all cores that was not idle.
fn busy_part(watch: Duration) -> Option<f64> {
    let before = idle_and_total()?;
    let until = Instant::now() + watch;
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    let after = idle_and_total()?;
    let total = after.1.checked_sub(before.1).filter(|total| *total > 0)?;
    Some(1.0 - after.0.saturating_sub(before.0) as f64 / total as f64)
}

/// Ticks since the start, from /proc/stat: idle and waiting for disks, and all.
fn idle_and_total() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> = text.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    Some((ticks.get(3)? + ticks.get(4)?, ticks.iter().take(8).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one line about such a machine, or none.
    fn check(machine: Machine, busy: Option<f64>, expected: Option<(Severity, &str, &str)>) {
        let found = judge(&machine, busy);
        let said = found.first().map(|one| (one.severity, one.what.as_str(), one.advice.as_str()));
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        if let (Some((severity, what, advice)), Some((expected_severity, expected_what, expected_advice))) = (said, expected) {
            assert!(
                severity == expected_severity && what.contains(expected_what) && advice.contains(expected_advice),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_makes_a_machine_unfit_is_said_with_what_to_do() {
        let quiet = || Machine { cores: 8, governor: Some("performance".to_owned()), ..Machine::default() };
        check(quiet(), Some(0.01), None);
        check(Machine { governor: None, ..quiet() }, None, None);
        let powersave = Machine { governor: Some("powersave".to_owned()), ..quiet() };
        check(
            powersave,
            None,
            Some((Severity::Warning, "the frequency governor is powersave", "cpupower frequency-set -g performance")),
        );
        check(quiet(), Some(0.4), Some((Severity::Warning, "other processes used 40% of the machine", "stop what else runs")));
        check(Machine { cores: 2, ..quiet() }, None, Some((Severity::Note, "2 cores", "four cores or more")));
    }
}
