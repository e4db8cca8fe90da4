//! What is drawn as lines. These launches are one for each point: they show a shape, and no verdict rests on them.

use std::time::{Duration, Instant};

use super::{Routes, launch};
use crate::document::{Axis, Comparison, Criterion, Curve, Launch, Series, Settings, Unit};
use crate::functions::QUANTILES;
use crate::load::{self, Trial};
use crate::server::Server;
use crate::statistics::order::Which;
use crate::statistics::{median, scalability};
use crate::{Cancel, machine, measures, processes};

/// Points kept of a line over time.
const POINTS_MAX: usize = 200;
/// Connections at which throughput is measured; six or more, for the scalability law.
const CONCURRENCIES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Cores below which scaling with them is not judged: the generator and the front need some of their own.
const CORES_FOR_SCALING: u32 = 4;
/// Connections that load the workers.
const WORKERS_LOAD: usize = 32;

/// Adds a launch's lines to `warm_up` and `memory_over_time`.
pub fn trace(comparison: &mut Comparison, side: &str, trace: &launch::Trace) {
    let seconds = |title: &str| axis(title, Unit::Seconds, false);
    let since = "since the first request";
    let thinned = |points: &[(f64, f64)]| {
        let step = points.len().div_ceil(POINTS_MAX).max(1);
        let typical = |chunk: &[(f64, f64)]| (chunk[0].0, median(&chunk.iter().map(|point| point.1).collect::<Vec<_>>()));
        points.chunks(step).map(typical).collect::<Vec<_>>()
    };
    // A replay has no warm-up of its own: its requests are not alike.
    let curves = [
        ("warm_up", "Warm-up", Criterion::Performance, seconds("latency"), &trace.latency),
        ("memory_over_time", "Memory over time", Criterion::Memory, axis("memory", Unit::Bytes, false), &trace.memory),
    ];
    for (id, title, criterion, y, points) in curves.into_iter().filter(|curve| !curve.4.is_empty()) {
        let curve = curve(comparison, id, title, criterion, seconds(since), y);
        let number = curve.series.iter().filter(|series| series.side == side).count();
        curve.series.push(Series { side: side.to_owned(), label: format!("launch {}", number + 1), points: thinned(points) });
    }
}

/// Latency by quantile; `when` says of which requests.
pub fn distribution(comparison: &mut Comparison, when: &str) {
    let launches = comparison.launches.clone();
    let names: Vec<String> = comparison.sides.iter().map(|side| side.name.clone()).collect();
    for name in &names {
        let all: Vec<_> =
            launches.iter().filter(|launch| launch.side == *name).filter_map(|launch| launch.latency.as_ref()).collect();
        if !all.is_empty() {
            let at = |index: usize| median(&all.iter().map(|one| one.quantiles[index].1).collect::<Vec<_>>());
            let points = QUANTILES.iter().enumerate().map(|(index, quantile)| (*quantile, at(index))).collect();
            let (x, y) = (axis("quantile", Unit::Ratio, false), axis("latency", Unit::Seconds, true));
            let title = format!("Latency by quantile, {when}");
            let curve = curve(comparison, "latency_distribution", &title, Criterion::Performance, x, y);
            curve.series.push(Series { side: name.clone(), label: String::new(), points });
        }
    }
}

/// Latency against the rate.
pub fn by_rate(comparison: &mut Comparison) {
    let launches = comparison.launches.clone();
    let names: Vec<String> = comparison.sides.iter().map(|side| side.name.clone()).collect();
    for name in &names {
        let of_side = launches.iter().filter(|launch| launch.side == *name);
        let mut by_rate = std::collections::BTreeMap::<u64, Vec<f64>>::new();
        for (key, value) in of_side.flat_map(|launch| &launch.values) {
            let rate =
                key.strip_prefix("latency_p50@").and_then(|condition| condition.split(" requests/s").next()?.parse::<u64>().ok());
            if let Some(rate) = rate {
                by_rate.entry(rate).or_default().push(*value);
            }
        }
        let points: Vec<(f64, f64)> = by_rate.into_iter().map(|(rate, values)| (rate as f64, median(&values))).collect();
        // One point, as in a quick run, is no line.
        if points.len() < 2 {
            continue;
        }
        let (x, y) = (axis("rate", Unit::PerSecond, false), axis("latency", Unit::Seconds, true));
        let curve = curve(comparison, "latency_by_rate", "p50 latency against the rate", Criterion::Performance, x, y);
        curve.series.push(Series { side: name.clone(), label: "p50".to_owned(), points });
    }
}

/// Closed loops of 1 to 64 connections.
pub fn concurrency(
    routes: &Routes,
    which: Which,
    settings: &Settings,
    comparison: &mut Comparison,
    cancel: &Cancel,
) -> Result<(), String> {
    let (server, _) = launch::start(routes, &routes.subject.launchers[which.index()], cancel)?;
    let (mut throughput, mut latency) = (Vec::new(), Vec::new());
    for connections in CONCURRENCIES {
        let measured = load::run(server.address, &routes.requests, &closed(routes, settings, connections), cancel)?;
        throughput.push((connections as f64, measured.throughput()));
        latency.push((connections as f64, measured.at(0.5)));
    }
    let side = &routes.subject.sides[which.index()].name;
    let law = format!("{side}: {}", scalability::sentence(&throughput, "connections"));
    let x = || axis("connections", Unit::Count, true);
    let lines = [
        ("throughput_by_concurrency", "Throughput against concurrency", axis("throughput", Unit::PerSecond, false), throughput),
        ("latency_by_concurrency", "p50 latency against concurrency", axis("latency", Unit::Seconds, true), latency),
    ];
    for (id, title, y, points) in lines {
        let curve = curve(comparison, id, title, Criterion::Scalability, x(), y);
        curve.series.push(Series { side: side.clone(), label: "closed loop".to_owned(), points });
        if id.starts_with("throughput") {
            let remarks = curve.remark.take().into_iter().chain([law.clone()]);
            curve.remark = Some(remarks.collect::<Vec<_>>().join(". "));
        }
    }
    Ok(())
}

/// Throughput and latency of 1 worker and more, up to the cores there are.
pub fn workers(routes: &Routes, settings: &Settings, comparison: &mut Comparison, cancel: &Cancel) -> Result<(), String> {
    let cores = machine::cores();
    for which in [Which::Left, Which::Right] {
        let (mut throughput, mut latency) = (Vec::new(), Vec::new());
        for workers in 1..=cores {
            let mut launcher = routes.subject.launchers[which.index()].clone();
            launcher
                .arguments
                .extend(["--set".into(), format!("service.{}.workers={workers}", routes.services[which.index()]).into()]);
            let (server, _) = launch::start(routes, &launcher, cancel)?;
            let trial = closed(routes, settings, WORKERS_LOAD);
            // Once for the workers to have seen every request.
            load::run(server.address, &routes.requests, &trial, cancel)?;
            let measured = load::run(server.address, &routes.requests, &trial, cancel)?;
            throughput.push((f64::from(workers), measured.throughput()));
            latency.push((f64::from(workers), measured.at(0.5)));
        }
        let side = &routes.subject.sides[which.index()].name;
        let remark = workers_remark(cores, side, &throughput);
        let lines = [
            ("throughput_by_workers", "Throughput against workers", axis("throughput", Unit::PerSecond, false), throughput),
            ("latency_by_workers", "p50 latency against workers, 32 connections", axis("latency", Unit::Seconds, true), latency),
        ];
        for (id, title, y, points) in lines {
            let curve = curve(comparison, id, title, Criterion::Scalability, axis("workers", Unit::Count, false), y);
            curve.series.push(Series { side: side.clone(), label: String::new(), points });
            if id.starts_with("throughput") {
                // What holds for both is said once.
                let known = curve.remark.take().filter(|known| Some(known) != remark.as_ref());
                curve.remark = known.into_iter().chain(remark.clone()).reduce(|all, one| format!("{all}. {one}"));
            }
        }
    }
    Ok(())
}

/// What scaling with workers may be said to be, by the cores there are.
fn workers_remark(cores: u32, side: &str, points: &[(f64, f64)]) -> Option<String> {
    match cores {
        ..CORES_FOR_SCALING => Some(format!(
            "{cores} cores, shared with the load generator and the front, are too few for a verdict on scaling with cores; none is given"
        )),
        // One to five points draw a line and carry no law.
        _ if points.len() < scalability::POINTS_MIN => None,
        _ => Some(format!("{side}: {}", scalability::sentence(points, "workers"))),
    }
}

/// Memory some time after load, of a launch of each side side by side.
pub fn rest(
    routes: &Routes,
    settings: &Settings,
    rest_seconds: f64,
    comparison: &mut Comparison,
    cancel: &Cancel,
) -> Result<(), String> {
    let mut servers = Vec::new();
    for which in [Which::Left, Which::Right] {
        let (server, _) = launch::start(routes, &routes.subject.launchers[which.index()], cancel)?;
        load::run(server.address, &routes.requests, &closed(routes, settings, 8), cancel)?;
        servers.push((which, server));
    }
    let until = Instant::now() + Duration::from_secs_f64(rest_seconds);
    while Instant::now() < until {
        if cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for (which, server) in &servers {
        let bytes = processes::memory(Server::pid(server));
        comparison.launches.push(Launch {
            side: routes.subject.sides[which.index()].name.clone(),
            block: settings.blocks,
            position: which.index() as u32,
            began_seconds: 0.0,
            values: bytes.map(|bytes| (measures::key_after(rest_seconds), bytes as f64)).into_iter().collect(),
            warm_up: None,
            latency: None,
            void: None,
        });
    }
    Ok(())
}

/// Length of a closed loop.
pub fn closed_seconds(settings: &Settings) -> f64 {
    (settings.launch_seconds / 10.0).clamp(0.1, 2.0)
}

fn closed(routes: &Routes, settings: &Settings, connections: usize) -> Trial {
    Trial {
        rate: None,
        seconds: closed_seconds(settings),
        connections_max: connections,
        timeout: routes.timeout,
        seed: settings.seed,
    }
}

fn axis(title: &str, unit: Unit, logarithmic: bool) -> Axis {
    Axis { title: title.to_owned(), unit, logarithmic }
}

/// The curve of this name; made if it is not there.
fn curve<'a>(comparison: &'a mut Comparison, id: &str, title: &str, criterion: Criterion, x: Axis, y: Axis) -> &'a mut Curve {
    let at = comparison.curves.iter().position(|curve| curve.id == id).unwrap_or_else(|| {
        let (id, title) = (id.to_owned(), title.to_owned());
        comparison.curves.push(Curve { id, title, criterion, x, y, series: Vec::new(), remark: None });
        comparison.curves.len() - 1
    });
    &mut comparison.curves[at]
}
