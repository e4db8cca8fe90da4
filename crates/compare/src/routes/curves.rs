//! What is drawn as lines. These launches are one for each point: they show a shape, and no verdict rests on them.

use super::{Routes, launch};
use crate::document::{Axis, Comparison, Criterion, Curve, Series, Settings, Unit};
use crate::load::{self, Trial};
use crate::server::Server;
use crate::statistics::order::Which;
use crate::statistics::{median, scalability};
use crate::{Cancel, machine};

/// Connections at which throughput is measured; six or more, for the scalability law.
const CONCURRENCIES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Cores below which scaling with them is not judged: the generator and the front need some of their own.
const CORES_FOR_SCALING: u32 = 4;
/// Connections that load the workers.
const WORKERS_LOAD: usize = 32;

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
        let (x, y) = (Axis::even("rate", Unit::PerSecond), Axis::logarithmic("latency", Unit::Seconds));
        let curve = Curve::new("latency_by_rate", "p50 latency against the rate", Criterion::Performance, x, y, Vec::new());
        comparison.curve(curve).series.push(Series { side: name.clone(), label: "p50".to_owned(), points });
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
    let x = || Axis::logarithmic("connections", Unit::Count);
    let lines = [
        ("throughput_by_concurrency", "Throughput against concurrency", Axis::even("throughput", Unit::PerSecond), throughput),
        ("latency_by_concurrency", "p50 latency against concurrency", Axis::logarithmic("latency", Unit::Seconds), latency),
    ];
    for (id, title, y, points) in lines {
        let curve = comparison.curve(Curve::new(id, title, Criterion::Scalability, x(), y, Vec::new()));
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
            ("throughput_by_workers", "Throughput against workers", Axis::even("throughput", Unit::PerSecond), throughput),
            (
                "latency_by_workers",
                "p50 latency against workers, 32 connections",
                Axis::logarithmic("latency", Unit::Seconds),
                latency,
            ),
        ];
        for (id, title, y, points) in lines {
            let x = Axis::even("workers", Unit::Count);
            let curve = comparison.curve(Curve::new(id, title, Criterion::Scalability, x, y, Vec::new()));
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

/// A launch that has been under load, for memory after a rest.
pub fn loaded(routes: &Routes, which: Which, settings: &Settings, cancel: &Cancel) -> Result<Server, String> {
    let (server, _) = launch::start(routes, &routes.subject.launchers[which.index()], cancel)?;
    load::run(server.address, &routes.requests, &closed(routes, settings, 8), cancel)?;
    Ok(server)
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
