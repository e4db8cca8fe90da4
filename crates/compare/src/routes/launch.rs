//! One launch of a service under load.

use std::collections::BTreeMap;

use super::{Routes, ServiceLevel, answers, connections, steady_and_peak};
use crate::document::{Distribution, Effort, Launch, Settings};
use crate::lines::{QUANTILES, Trace};
use crate::load::{self, Measured, Trial, null::Ceiling};
use crate::measures::{key, key_at_least};
use crate::server::Server;
use crate::statistics::change_points::warm_up;
use crate::statistics::median;
use crate::statistics::order::Which;
use crate::{Cancel, processes};

/// Answers of one launch at one rate below which its p99 rests on too few.
const PERCENTILE_ANSWERS: u64 = 10_000;
/// Least part of the requests that must have a good answer.
const FAILED_PART_MAX: f64 = 0.001;
/// Where the search for the capacity begins, requests a second.
const RATE_FIRST: f64 = 25.0;
/// Steps that halve the interval in which the capacity lies.
const BISECTIONS: usize = 4;
/// Shortest trial of a capacity: below, chance decides.
const TRIAL_SECONDS_MIN: f64 = 0.15;
/// By how much of a trial answers may come later at its end than at its beginning. A rate that is a tenth too high makes them that late,
/// long before p99 of a short trial leaves the service level.
const BEHIND_PART_MAX: f64 = 0.08;
/// Trials of warming up, as long as no steady state is reached.
const WARM_UPS_MAX: u64 = 3;
/// Part of the generator's ceiling up to which a capacity is the server's.
const CEILING_PART: f64 = 0.8;

/// Rates of a launch, requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The smaller of the two sides' capacities in the pilot.
    pub smaller: f64,
    /// This side's.
    pub own: f64,
    /// The generator's.
    pub ceiling: f64,
}

/// What a launch gave.
pub struct MeasuredLaunch {
    pub launch: Launch,
    /// Warm-up and memory, to draw.
    pub trace: Trace,
    /// Why trials count for nothing.
    pub void: Vec<String>,
}

/// A found capacity.
pub struct Capacity {
    pub rate: f64,
    /// The generator was the limit.
    pub at_least: bool,
}

/// Measures one launch; `number` gives its arrivals a seed of their own.
pub fn measure(
    routes: &Routes,
    which: Which,
    rates: &Rates,
    settings: &Settings,
    number: usize,
    cancel: &Cancel,
) -> Result<MeasuredLaunch, String> {
    let launcher = &routes.subject.launchers[which.index()];
    let seed = settings.seed.wrapping_add(number as u64);
    let mut values = BTreeMap::new();
    if settings.effort != Effort::Quick {
        let empty = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let mut cold = launcher.clone();
        cold.environment.push(("PYTHONPYCACHEPREFIX".into(), empty.path().into()));
        values.insert("start_cold".to_owned(), start(routes, &cold, cancel)?.1);
    }
    let (server, started) = start(routes, launcher, cancel)?;
    values.insert("start_warm".to_owned(), started);
    values.extend(processes::memory(server.pid()).map(|bytes| ("memory_idle".to_owned(), bytes as f64)));
    let mut void = Vec::new();
    match connections::held(routes, &server) {
        Ok(bytes) => {
            values.insert(key("connection_memory", connections::CONDITION), bytes);
        }
        Err(why) => void.push(format!("memory of held connections: {why}")),
    }
    let mut launch = Launch {
        side: launcher.name.clone(),
        block: 0,
        position: 0,
        began_seconds: 0.0,
        values: BTreeMap::new(),
        warm_up: None,
        latency: None,
        void: None,
    };
    let mut trace = Trace::default();
    let (loaded, sizes) = processes::watching(server.pid(), || -> Result<(), String> {
        let trial = |rate: f64, part: f64| Trial {
            rate: Some(rate),
            seconds: settings.launch_seconds * part,
            connections_max: routes.connections_max,
            timeout: routes.timeout,
            seed,
        };
        let began = std::time::Instant::now();
        for round in 0..WARM_UPS_MAX {
            let since = began.elapsed().as_secs_f64();
            let warming = Trial { seed: seed.wrapping_add(round << 32), ..trial(rates.smaller * 0.5, 0.15) };
            let warm = load::run(server.address, &routes.requests, &warming, cancel)?;
            trace.latency.extend(warm.trace.into_iter().map(|(at, took)| (since + at, took)));
            // Answers come in another order than requests are sent.
            trace.latency.sort_by(|a, b| a.0.total_cmp(&b.0));
            launch.warm_up = warm_up(&trace.latency);
            if launch.warm_up.as_ref().is_none_or(|warm_up| warm_up.steady_after_seconds.is_some()) {
                break;
            }
        }
        let (mut answered, busy) = (0, processes::processor_time(server.pid()));
        for (condition, rate, part) in conditions(rates, settings.effort, &workers(routes)) {
            let measured = load::run(server.address, &routes.requests, &trial(rate, part), cancel)?;
            answered += measured.good;
            match judge(&measured).or_else(|| near_ceiling(rate, rates.ceiling)) {
                Some(why) => void.push(format!("{condition}: {why}")),
                None => {
                    values.insert(key("latency_p50", &condition), measured.at(0.5));
                    if measured.good >= PERCENTILE_ANSWERS {
                        values.insert(key("latency_p99", &condition), measured.at(0.99));
                    }
                    if condition.starts_with("70%") {
                        launch.latency = Some(distribution(&measured));
                    }
                }
            }
        }
        let busy = processes::processor_time(server.pid()).saturating_sub(busy).as_secs_f64();
        if answered > 0 && busy > 0.0 {
            values.insert("cpu".to_owned(), busy / answered as f64);
        }
        let found = bisect((rates.own * 0.5, rates.own * 1.5), rates.ceiling, |rate| {
            let trial = trial(rate, 0.07);
            let seconds = trial.seconds.max(TRIAL_SECONDS_MIN);
            carried(routes, &server, &Trial { seconds, ..trial }, cancel)
        })?;
        values.insert("capacity".to_owned(), found.rate);
        if found.at_least {
            values.insert(key_at_least("capacity"), 1.0);
        }
        Ok(())
    });
    loaded?;
    if let Some((steady, peak)) = steady_and_peak(&sizes) {
        values.insert("memory_steady".to_owned(), steady);
        values.insert("memory_peak".to_owned(), peak);
    }
    trace.memory = sizes;
    values.retain(|_, value| value.is_finite() && *value > 0.0);
    launch.values = values;
    Ok(MeasuredLaunch { launch, trace, void })
}

/// What latency is measured at: name, requests a second, part of the launch.
fn conditions(rates: &Rates, effort: Effort, workers: &str) -> Vec<(String, f64, f64)> {
    let shared = |percent: f64, part: f64| {
        let rate = rates.smaller * percent / 100.0;
        (format!("{} requests/s, {percent:.0}% of the smaller capacity{workers}", rounded(rate)), rate, part)
    };
    let own = (format!("70% of its own capacity{workers}"), rates.own * 0.7, 0.17);
    match effort {
        // Few requests come in the little time of a quick run; two rates get them all.
        Effort::Quick => vec![shared(50.0, 0.25), own],
        _ => vec![shared(10.0, 0.08), shared(50.0, 0.08), shared(70.0, 0.17), shared(90.0, 0.08), own],
    }
}

/// `, 1 worker`, where both have as many.
fn workers(routes: &Routes) -> String {
    let [left, right] = &routes.subject.sides;
    match left.workers.filter(|_| left.workers == right.workers) {
        Some(1) => ", 1 worker".to_owned(),
        Some(count) => format!(", {count} workers"),
        None => String::new(),
    }
}

/// Two digits: the pilot knows it no better.
pub fn rounded(rate: f64) -> String {
    let step = 10_f64.powf(rate.max(1.0).log10().floor() - 1.0);
    format!("{:.0}", (rate / step).round() * step)
}

/// Starts a service; seconds from the order to its first answer.
pub fn start(routes: &Routes, launcher: &crate::server::ServerLauncher, cancel: &Cancel) -> Result<(Server, f64), String> {
    let server = Server::start(launcher, cancel)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let mut fresh = None;
    let ask = answers::ask(server.address, &mut fresh, &routes.requests[0]);
    let answered = runtime.block_on(async { tokio::time::timeout(routes.timeout, ask).await });
    match answered {
        Ok(Ok(_)) => {}
        Ok(Err(why)) => return Err(format!("{}: {}: {why}", launcher.name, routes.requests[0].name)),
        Err(_) => return Err(format!("{}: {}: no answer within {:?}", launcher.name, routes.requests[0].name, routes.timeout)),
    }
    let seconds = server.began.elapsed().as_secs_f64();
    Ok((server, seconds))
}

/// Why a trial's latencies are not the server's, or none.
fn judge(measured: &Measured) -> Option<String> {
    if measured.good == 0 {
        let why = measured.failures.keys().next().cloned();
        return Some(why.unwrap_or_else(|| "no request had a good answer".to_owned()));
    }
    measured.late()
}

/// Beyond this part of its ceiling the generator shares what is left of the machine with the service.
fn near_ceiling(rate: f64, ceiling: f64) -> Option<String> {
    (rate > ceiling * CEILING_PART).then(|| format!("{rate:.0} requests/s are near the load generator's ceiling of {ceiling:.0}"))
}

fn distribution(measured: &Measured) -> Distribution {
    Distribution { count: measured.latency.len(), quantiles: QUANTILES.map(|q| (q, measured.at(q))).to_vec() }
}

/// Whether a rate is carried within the service level; the second value tells that the generator could not keep up.
pub fn carried(routes: &Routes, server: &Server, trial: &Trial, cancel: &Cancel) -> Result<(bool, bool), String> {
    let measured = load::run(server.address, &routes.requests, trial, cancel)?;
    let ServiceLevel { p99_seconds } = routes.service_level;
    let in_time = behind(&measured.trace) < BEHIND_PART_MAX * trial.seconds;
    let good =
        measured.overrun.is_none() && measured.failed_part() <= FAILED_PART_MAX && in_time && measured.at(0.99) < p99_seconds;
    Ok((good, !good && measured.late().is_some()))
}

/// How much later answers came in the trial's last fifth than in its first: a queue that grows shows here, whatever its length yet.
fn behind(trace: &[(f64, f64)]) -> f64 {
    let mut by_send = trace.to_vec();
    by_send.sort_by(|a, b| a.0.total_cmp(&b.0));
    let fifth = by_send.len() / 5;
    if fifth == 0 {
        return 0.0;
    }
    let typical = |part: &[(f64, f64)]| median(&part.iter().map(|answer| answer.1).collect::<Vec<_>>());
    typical(&by_send[by_send.len() - fifth..]) - typical(&by_send[..fifth])
}

/// The pilot's capacity: doubled until it is too much, then bisected.
pub fn capacity_by_doubling(
    routes: &Routes,
    name: &str,
    server: &Server,
    seconds: f64,
    ceiling: &Ceiling,
    seed: u64,
    cancel: &Cancel,
) -> Result<Capacity, String> {
    let trial = |rate: f64| Trial {
        rate: Some(rate),
        // Enough requests for a p99 of sorts, at any rate.
        seconds: seconds.max((50.0 / rate).min(2.0)),
        connections_max: routes.connections_max,
        timeout: routes.timeout,
        seed,
    };
    let mut rate = RATE_FIRST;
    // The first requests find an interpreter that has run nothing yet.
    load::run(server.address, &routes.requests, &Trial { rate: None, connections_max: 4, ..trial(RATE_FIRST) }, cancel)?;
    while rate < ceiling.rate && carried(routes, server, &trial(rate), cancel)?.0 {
        rate *= 2.0;
    }
    if rate <= RATE_FIRST {
        let measured = load::run(server.address, &routes.requests, &trial(rate), cancel)?;
        return Err(format!(
            "{name} does not carry even {RATE_FIRST} requests/s at {}: {}",
            routes.service_level,
            refusal(&measured)
        ));
    }
    bisect((rate / 2.0, rate), ceiling.rate, |rate| carried(routes, server, &trial(rate), cancel))
}

/// Why a rate was not carried, and what to do.
fn refusal(measured: &Measured) -> String {
    let bad = measured
        .statuses
        .iter()
        .filter(|(status, _)| **status >= 500)
        .map(|(status, count)| format!("{count} had status {status}"));
    let failed: Vec<String> = bad.chain(measured.failures.iter().map(|(why, count)| format!("{count}: {why}"))).collect();
    match measured.failed_part() > FAILED_PART_MAX {
        true => format!("of {} requests {}; leave out those that fail", measured.sent, failed.join(", ")),
        false => format!("p99 was {:.0} ms; name a lower level with --service-level", measured.at(0.99) * 1e3),
    }
}

/// Between a rate that is probably carried and one that is probably not.
fn bisect(
    (mut low, mut high): (f64, f64),
    ceiling: f64,
    mut carried: impl FnMut(f64) -> Result<(bool, bool), String>,
) -> Result<Capacity, String> {
    let limit = ceiling * CEILING_PART;
    let mut generator = false;
    // Beyond its ceiling the generator cannot tell.
    high = high.min(ceiling);
    low = low.min(high);
    for _ in 0..BISECTIONS {
        let rate = (low + high) / 2.0;
        match carried(rate)? {
            (true, _) => low = rate,
            (false, late) => {
                high = rate;
                generator |= late;
            }
        }
    }
    Ok(Capacity { rate: low, at_least: generator || low > limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_grows_is_seen_while_it_is_short() {
        let answers =
            |late: fn(f64) -> f64| (0..1000).map(|n| f64::from(n) / 5000.0).map(|at| (at, late(at))).collect::<Vec<_>>();
        // 0.2 s at a rate a fifth too high: every answer is later than the one before, by 40 ms in the end.
        assert!(behind(&answers(|at| 0.002 + 0.2 * at)) > BEHIND_PART_MAX * 0.2);
        // A tail that is there all the time is none.
        assert!(behind(&answers(|at| if ((at * 5000.0) as u32).is_multiple_of(50) { 0.045 } else { 0.002 })) < 1e-9);
        assert_eq!(behind(&[]), 0.0);
    }

    #[test]
    fn latencies_near_the_generators_ceiling_are_void() {
        assert_eq!(near_ceiling(800.0, 64_000.0), None);
        assert_eq!(near_ceiling(60_000.0, 64_000.0).unwrap(), "60000 requests/s are near the load generator's ceiling of 64000");
    }

    /// A back end that carries `truth`, found between `low` and `high` by a generator with this ceiling.
    fn check_bisect(truth: f64, (low, high): (f64, f64), ceiling: f64, expected: (f64, f64), at_least: bool) {
        let found = bisect((low, high), ceiling, |rate| Ok((rate <= truth, false))).unwrap();
        assert!(found.rate >= expected.0 && found.rate <= expected.1 && found.at_least == at_least, "{} for {truth}", found.rate);
    }

    #[test]
    fn a_capacity_is_bisected_and_never_beyond_the_generator() {
        check_bisect(800.0, (500.0, 1500.0), 64_000.0, (700.0, 800.0), false);
        check_bisect(200_000.0, (60_000.0, 180_000.0), 64_000.0, (60_000.0, 64_000.0), true);
        check_bisect(200_000.0, (90_000.0, 180_000.0), 64_000.0, (64_000.0, 64_000.0), true);
    }

    #[test]
    fn a_generator_that_was_late_makes_it_at_least() {
        let found = bisect((500.0, 1500.0), 64_000.0, |rate| Ok((rate <= 800.0, rate > 1_000.0))).unwrap();
        assert!(!found.at_least || found.rate < 1_000.0);
        let found = bisect((500.0, 1500.0), 64_000.0, |rate| Ok((rate < 1_000.0, rate >= 1_000.0))).unwrap();
        assert!(found.at_least && found.rate < 1_000.0);
    }
}
