//! Warm-up: where the latencies of one launch change, and whether they come to rest.
//!
//! Optimal partitioning (Jackson and others, 2005) of the logarithms of binned latencies into stretches of one mean, with the
//! penalty that Barrett and others (2017) use for such series. Bins bound the work; medians keep single pauses of a
//! collector from looking like a change.

use super::{deviation, mean, median};
use crate::document::{Segment, WarmUp, WarmUpClass};

/// Bins of a launch; the search is quadratic in them.
const BINS: usize = 120;
/// Bins below which nothing can be said.
const BINS_MIN: usize = 12;
/// Penalty of a change point, in units of the noise's variance times ln(bins).
const PENALTY: f64 = 15.0;
/// Shortest stretch, in bins.
const SEGMENT_BINS_MIN: usize = 4;
/// Neighbouring stretches within this of each other are one: no user would notice.
const SAME: f64 = 0.03;
/// A steady state must have lasted for this part of a launch.
const STEADY_PART_MIN: f64 = 0.25;

/// Classifies latencies `(seconds since the first call, latency)`, in order; `None` for too few.
pub fn warm_up(samples: &[(f64, f64)]) -> Option<WarmUp> {
    let per_bin = samples.len().div_ceil(BINS).max(1);
    let bins: Vec<(f64, f64)> = samples
        .chunks(per_bin)
        .map(|chunk| (chunk[0].0, median(&chunk.iter().map(|sample| sample.1).collect::<Vec<_>>())))
        .filter(|bin| bin.1 > 0.0)
        .collect();
    if bins.len() < BINS_MIN {
        return None;
    }
    let logs: Vec<f64> = bins.iter().map(|bin| bin.1.ln()).collect();
    let starts = merge_alike(&logs, change_points(&logs));
    let end = samples.last().map_or(0.0, |sample| sample.0);
    let segments = (0..starts.len()).map(|at| {
        let to = starts.get(at + 1).copied().unwrap_or(bins.len());
        Segment {
            from_seconds: bins[starts[at]].0,
            to_seconds: bins.get(to).map_or(end, |bin| bin.0),
            latency_seconds: mean(&logs[starts[at]..to]).exp(),
        }
    });
    let segments: Vec<Segment> = segments.collect();
    Some(classify(segments, end))
}

fn classify(segments: Vec<Segment>, end: f64) -> WarmUp {
    let last = &segments[segments.len() - 1];
    let steady = segments.len() == 1 || end - last.from_seconds >= STEADY_PART_MIN * end;
    let fastest = segments.iter().map(|segment| segment.latency_seconds).fold(f64::INFINITY, f64::min);
    let class = match () {
        () if !steady => WarmUpClass::NoSteadyState,
        () if segments.len() == 1 => WarmUpClass::Flat,
        () if last.latency_seconds <= fastest * (1.0 + SAME) => WarmUpClass::WarmUp,
        () => WarmUpClass::SlowDown,
    };
    let steady_after_seconds = steady.then_some(if segments.len() == 1 { 0.0 } else { last.from_seconds });
    WarmUp { class, steady_after_seconds, segments }
}

/// Starts of the stretches; the first is 0.
pub fn change_points(values: &[f64]) -> Vec<usize> {
    let count = values.len();
    let penalty = PENALTY * noise_variance(values) * (count as f64).ln();
    let mut sums = vec![(0.0, 0.0)];
    for value in values {
        let (sum, squares) = sums[sums.len() - 1];
        sums.push((sum + value, squares + value * value));
    }
    let cost = |from: usize, to: usize| {
        let (sum, squares) = (sums[to].0 - sums[from].0, sums[to].1 - sums[from].1);
        squares - sum * sum / (to - from) as f64
    };
    // best[to] is the least cost of the first `to` values, and where its last stretch begins.
    let mut best = vec![(-penalty, 0); 1];
    for to in 1..=count {
        let last = to.saturating_sub(SEGMENT_BINS_MIN);
        let candidates = (0..=last).filter(|&from| from == 0 || from >= SEGMENT_BINS_MIN);
        let least = candidates.map(|from| (best[from].0 + cost(from, to) + penalty, from));
        best.push(least.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0)));
    }
    let mut starts = Vec::new();
    let mut to = count;
    while to > 0 {
        to = best[to].1;
        starts.push(to);
    }
    starts.reverse();
    starts
}

/// Of the series without its changes: from differences of neighbours, few of which span a change.
fn noise_variance(values: &[f64]) -> f64 {
    let differences: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    // The median of |difference| of two normal values is 0.6745·√2·σ. The deviation of a tenth keeps ties from giving 0.
    let robust = median(&differences) / (0.6745 * std::f64::consts::SQRT_2);
    robust.max(deviation(values) * 0.05).max(1e-4).powi(2)
}

fn merge_alike(logs: &[f64], mut starts: Vec<usize>) -> Vec<usize> {
    loop {
        let level = |at: usize| mean(&logs[starts[at]..starts.get(at + 1).copied().unwrap_or(logs.len())]);
        match (1..starts.len()).find(|&at| (level(at) - level(at - 1)).abs() < SAME) {
            Some(at) => starts.remove(at),
            None => return starts,
        };
    }
}
