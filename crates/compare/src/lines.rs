//! Lines that every kind of comparison draws: latency by quantile, warm-up, and memory over time. Pure.

use crate::document::{Axis, Comparison, Criterion, Curve, Distribution, Series, Unit};
use crate::statistics::median;

/// Quantiles kept of each launch.
pub const QUANTILES: [f64; 13] = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];
/// Points kept of a line over time.
const POINTS_MAX: usize = 200;
/// Launches of each side that are drawn over time: two show how alike they are, and more hide each other.
const LAUNCHES_MAX: usize = 2;

/// What a launch looked like over time, in seconds since its first call, request or message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Time and latency, in seconds.
    pub latency: Vec<(f64, f64)>,
    /// Seconds, and bytes of all its processes.
    pub memory: Vec<(f64, f64)>,
}

/// Adds a launch to `warm_up` and `memory_over_time`, if fewer than two of its side are there. `since` is the title of the time axis:
/// "since the first call".
pub fn trace(comparison: &mut Comparison, side: &str, since: &str, trace: &Trace) {
    let time = || Axis::even(since, Unit::Seconds);
    let warm_up =
        Curve::new("warm_up", "Warm-up", Criterion::Performance, time(), Axis::logarithmic("latency", Unit::Seconds), Vec::new());
    let memory = Curve::new(
        "memory_over_time",
        "Memory over time",
        Criterion::Memory,
        time(),
        Axis::even("memory", Unit::Bytes),
        Vec::new(),
    );
    // A replay has no warm-up of its own: its requests are not alike.
    for (curve, points) in [(warm_up, &trace.latency), (memory, &trace.memory)].into_iter().filter(|line| !line.1.is_empty()) {
        let series = &mut comparison.curve(curve).series;
        let number = series.iter().filter(|series| series.side == side).count() + 1;
        if number <= LAUNCHES_MAX {
            series.push(Series { side: side.to_owned(), label: format!("launch {number}"), points: thinned(points) });
        }
    }
}

/// Medians of stretches of a line.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretches = points.chunks(points.len().div_ceil(POINTS_MAX).max(1));
    stretches.map(|chunk| (chunk[0].0, median(&chunk.iter().map(|point| point.1).collect::<Vec<_>>()))).collect()
}

/// Puts `latency_distribution` before the other curves: each quantile's median over a side's launches.
pub fn distribution(comparison: &mut Comparison, title: &str) {
    let mut lines = Vec::new();
    for side in &comparison.sides {
        let of_side = comparison.launches.iter().filter(|launch| launch.side == side.name);
        let all: Vec<&Distribution> = of_side.filter_map(|launch| launch.latency.as_ref()).collect();
        if !all.is_empty() {
            let at = |index: usize| median(&all.iter().map(|one| one.quantiles[index].1).collect::<Vec<_>>());
            let points = QUANTILES.iter().enumerate().map(|(index, quantile)| (*quantile, at(index))).collect();
            lines.push(Series { side: side.name.clone(), label: String::new(), points });
        }
    }
    if !lines.is_empty() {
        let (x, y) = (Axis::even("quantile", Unit::Ratio), Axis::logarithmic("latency", Unit::Seconds));
        comparison.curves.insert(0, Curve::new("latency_distribution", title, Criterion::Performance, x, y, lines));
    }
}
