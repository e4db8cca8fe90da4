//! The least memory limit under which a service still holds its level: the kernel's limit, on all of its processes.

use std::time::Duration;

use super::{Routes, launch};
use crate::document::Settings;
use crate::limited::Limited;
use crate::load::{self, Trial};
use crate::statistics::order::Which;
use crate::{Cancel, processes};

/// Trials, each a launch: beyond the first ones each halves the interval.
const TRIALS_MAX: usize = 9;
/// An interval this narrow is not halved again: two runs of one program differ by as much.
const PART_MIN: f64 = 0.04;
/// Connections of the requests that come before the trial, unhurried: they find an interpreter that has run nothing.
const WARM_CONNECTIONS: usize = 4;
/// A start under a limit is given up after so many times the usual; a process short of memory reads its own code again and again.
const START_FACTOR: f64 = 10.0;
const START_MIN: Duration = Duration::from_secs(5);

/// Bytes, to the narrowest interval that was searched.
///
/// # Errors
/// Why it could not be found: no limit can be set here, or the level does not hold without one either.
pub fn find(routes: &Routes, which: Which, rate: f64, settings: &Settings, cancel: &Cancel) -> Result<f64, String> {
    let launcher = &routes.subject.launchers[which.index()];
    let trial = Trial {
        rate: Some(rate),
        seconds: trial_seconds(settings),
        connections_max: routes.connections_max,
        timeout: routes.timeout,
        seed: settings.seed,
    };
    let holds = |server: &crate::server::Server| -> Result<bool, String> {
        let warm = Trial { rate: None, seconds: trial.seconds / 2.0, connections_max: WARM_CONNECTIONS, ..trial.clone() };
        load::run(server.address, &routes.requests, &warm, cancel)?;
        Ok(launch::carried(routes, server, &trial, cancel)?.0)
    };
    let (server, started) = launch::start(routes, launcher, cancel)?;
    let (without, sizes) = processes::watching(server.pid(), || holds(&server));
    drop(server);
    if !without? {
        return Err(format!("{rate:.0} requests/s do not hold {} in a trial without a limit either", routes.service_level));
    }
    let peak = sizes.iter().map(|size| size.1).fold(0.0, f64::max);
    if peak <= 0.0 {
        return Err("the memory of its processes cannot be read".to_owned());
    }
    let patience = Duration::from_secs_f64(started * START_FACTOR).clamp(START_MIN, launcher.patience.max(START_MIN));
    bisect(peak, |limit| {
        if cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        let group = Limited::new(limit as u64)?;
        let mut inside = group.launcher(launcher);
        inside.patience = patience;
        let quick = Routes { timeout: routes.timeout.min(patience), ..routes.clone() };
        // What does not start, or dies, does not hold; that is no error of the search.
        let held = launch::start(&quick, &inside, cancel).and_then(|(server, _)| holds(&server));
        Ok(held.unwrap_or(false))
    })
}

fn trial_seconds(settings: &Settings) -> f64 {
    (settings.launch_seconds / 6.0).clamp(0.5, 3.0)
}

/// About what a search takes: each trial has a start and a warm-up.
pub fn seconds(settings: &Settings) -> f64 {
    TRIALS_MAX as f64 * (1.5 * trial_seconds(settings) + 1.0)
}

/// From what was used without a limit: doubled until it holds, then halved. The least that held.
fn bisect(peak: f64, mut holds: impl FnMut(f64) -> Result<bool, String>) -> Result<f64, String> {
    let (mut low, mut high) = (0.0, peak);
    let mut trials = 1;
    while !holds(high)? {
        if trials == 4 {
            return Err(format!("the level does not hold even with {high:.0} bytes, eight times what it uses without a limit"));
        }
        (low, high) = (high, high * 2.0);
        trials += 1;
    }
    while trials < TRIALS_MAX && high - low > PART_MIN * high {
        let middle = (low + high) / 2.0;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle;
        }
        trials += 1;
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a service that needs `needed` and used `peak`; the answer lies within `part` above.
    fn check(peak: f64, needed: f64, part: f64) {
        let mut trials = 0;
        let found = bisect(peak, |limit| {
            trials += 1;
            Ok(limit >= needed)
        });
        let found = found.unwrap();
        assert!(found >= needed && found <= needed * (1.0 + part), "{found} for {needed}");
        assert!(trials <= TRIALS_MAX, "{trials} trials");
    }

    #[test]
    fn the_least_limit_is_found_in_few_trials() {
        check(100e6, 60e6, 0.05);
        check(100e6, 99e6, 0.05);
        check(100e6, 130e6, 0.05);
        check(100e6, 30e6, 0.05);
        check(100e6, 700e6, 0.05);
    }

    #[test]
    fn what_holds_under_no_limit_is_said() {
        let error = bisect(1e6, |_| Ok(false)).unwrap_err();
        assert!(error.contains("8000000 bytes"), "{error}");
        assert_eq!(bisect(1e6, |_| Err("no group".to_owned())), Err("no group".to_owned()));
    }
}
