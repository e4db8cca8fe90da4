//! From launches to measures: one summary for each side, the ratio over blocks, the verdict. Pure.

use crate::document::{
    Better, Comparison, Criterion, Effort, Launch, Measure, Outcome, Settings, Summary, Unit, VerdictKind, WarmUp, WarmUpClass,
};
use crate::statistics::effect::Blocks;
use crate::statistics::order::Which;
use crate::statistics::verdict::{BLOCKS_MIN, Rules, judge, without_winner};
use crate::statistics::{median, quantile};
use crate::table::quantity;

/// What a value in [`Launch::values`] means.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Key in `values`, without `@condition`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// The chapter.
    pub criterion: Criterion,
    /// Of the value.
    pub unit: Unit,
    /// Which is better.
    pub better: Better,
}

/// Everything that launches may have measured, in the order of the table.
#[rustfmt::skip]
pub const KINDS: [Kind; 17] = {
    use Better::{Less, More};
    use Criterion::{Errors, Memory, Performance, Scalability, Start};
    use Unit::{Bytes, PerSecond, Seconds};
    const fn kind(id: &'static str, title: &'static str, criterion: Criterion, unit: Unit, better: Better) -> Kind {
        Kind { id, title, criterion, unit, better }
    }
    [
        kind("latency_p50", "p50 latency", Performance, Seconds, Less),
        kind("latency_p99", "p99 latency", Performance, Seconds, Less),
        kind("throughput", "throughput", Performance, PerSecond, More),
        kind("cpu", "processor time", Performance, Seconds, Less),
        kind("capacity", "capacity", Performance, PerSecond, More),
        kind("throughput_concurrent", "throughput, 16 in flight", Scalability, PerSecond, More),
        kind("connection_memory", "memory a connection", Scalability, Bytes, Less),
        kind("memory_idle", "memory idle", Memory, Bytes, Less),
        kind("memory_steady", "memory under load", Memory, Bytes, Less),
        kind("memory_peak", "memory at peak", Memory, Bytes, Less),
        kind("memory_after", "memory after load", Memory, Bytes, Less),
        kind("memory_least", "least memory limit", Memory, Bytes, Less),
        kind("start_warm", "start, warm", Start, Seconds, Less),
        kind("start_cold", "start, cold", Start, Seconds, Less),
        kind("error_cost", "throw and catch, 10 calls deep", Errors, Seconds, Less),
        kind("call", "a call across languages", Criterion::Versatility, Seconds, Less),
        kind("http", "the same over HTTP", Criterion::Versatility, Seconds, Less),
    ]
};

/// Key of a value measured under a condition, such as `latency_p99@800 requests/s`.
pub fn key(id: &str, condition: &str) -> String {
    if condition.is_empty() { id.to_owned() } else { format!("{id}@{condition}") }
}

/// Key of memory after a rest.
pub fn key_after(rest_seconds: f64) -> String {
    key("memory_after", &format!("{rest_seconds} s of rest"))
}

/// How often what is too slow for every block is measured, each time in a launch of either side. Two such rounds make a block, which has
/// two launches of each side; only a thorough run has enough of them for a verdict.
pub fn rounds(effort: Effort) -> u32 {
    if effort == Effort::Thorough { 2 * BLOCKS_MIN } else { 1 }
}

/// Computes a comparison's measures from its launches, judged by its answers.
pub fn derive(comparison: &mut Comparison, settings: &Settings, block_seconds: f64) {
    let [left, right] = &comparison.sides[..] else { return };
    let names = [left.name.clone(), right.name.clone()];
    let mut conditions: Vec<&str> = Vec::new();
    let keys = comparison.launches.iter().flat_map(|launch| launch.values.keys());
    for condition in keys.map(|key| key.split_once('@').map_or("", |(_, condition)| condition)) {
        if !conditions.contains(&condition) {
            conditions.push(condition);
        }
    }
    // By rising rate; those that name none, such as a part of each side's own capacity, come after.
    let rate =
        |condition: &str| condition.split_once(" requests/s").and_then(|(rate, _)| rate.parse().ok()).unwrap_or(f64::INFINITY);
    conditions.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let mut measures = Vec::new();
    for kind in &KINDS {
        for condition in &conditions {
            measures.extend(measure(kind, condition, &comparison.launches, &names, settings));
        }
    }
    if comparison.equality.outcome == Outcome::Different {
        for measure in &mut measures {
            measure.verdict = without_winner(VerdictKind::AnswersDiffer, "no verdict: the answers differ");
        }
    }
    let rules = Rules {
        names: names.map(|name| spoken(&name)),
        confidence: settings.confidence,
        equal_within: settings.equal_within,
        block_seconds,
    };
    judge(&mut measures, &rules);
    comparison.measures = measures;
}

/// "Node", "Python"; a service keeps its name.
pub fn spoken(name: &str) -> String {
    match name {
        "node" => "Node".to_owned(),
        "python" => "Python".to_owned(),
        other => other.to_owned(),
    }
}

/// Says of each side how its launches warmed up, where they were not the same from the start. `unsteady` is what was done with those
/// that came to no steady state.
pub fn remark_warm_up(comparison: &mut Comparison, unsteady: &str) {
    let mut remarks = Vec::new();
    for side in &comparison.sides {
        let all: Vec<&WarmUp> = comparison
            .launches
            .iter()
            .filter(|launch| launch.side == side.name)
            .filter_map(|launch| launch.warm_up.as_ref())
            .collect();
        let steady: Vec<f64> =
            all.iter().filter(|one| one.class == WarmUpClass::WarmUp).filter_map(|one| one.steady_after_seconds).collect();
        for (class, what) in [
            (
                WarmUpClass::WarmUp,
                format!("became faster until {} after their first answer (median)", quantity(median(&steady), Unit::Seconds)),
            ),
            (WarmUpClass::SlowDown, "ended slower than they began".to_owned()),
            (WarmUpClass::NoSteadyState, format!("came to no steady state; {unsteady}")),
        ] {
            let count = all.iter().filter(|one| one.class == class).count();
            if count > 0 {
                remarks.push(format!("{}: {count} of {} launches {what}", side.name, all.len()));
            }
        }
    }
    comparison.remarks.extend(remarks);
}

fn measure(kind: &Kind, condition: &str, launches: &[Launch], names: &[String; 2], settings: &Settings) -> Option<Measure> {
    let key = key(kind.id, condition);
    let side = |launch: &Launch| if launch.side == names[0] { Which::Left } else { Which::Right };
    let valid = || launches.iter().filter(|launch| launch.void.is_none());
    let values: Vec<(u32, Which, f64)> =
        valid().filter_map(|launch| Some((launch.block, side(launch), *launch.values.get(&key)?))).collect();
    let of = |which| values.iter().filter(|value| value.1 == which).map(|value| value.2).collect::<Vec<f64>>();
    let [left, right] = [Which::Left, Which::Right].map(of);
    if left.is_empty() || right.is_empty() {
        return None;
    }
    let limited = key_at_least(&key);
    let at_least = |which| valid().any(|launch| side(launch) == which && launch.values.contains_key(&limited));
    Some(Measure {
        id: kind.id.to_owned(),
        title: kind.title.to_owned(),
        criterion: kind.criterion,
        unit: kind.unit,
        better: kind.better,
        condition: condition.to_owned(),
        left: summary(&left, at_least(Which::Left)),
        right: summary(&right, at_least(Which::Right)),
        ratio: Blocks::gather(values).ratio(settings.confidence, settings.seed),
        verdict: without_winner(VerdictKind::Inconclusive, ""),
    })
}

/// Key whose presence says that the generator was the limit of the value beside it.
pub fn key_at_least(key: &str) -> String {
    format!("at_least:{key}")
}

fn summary(values: &[f64], at_least: bool) -> Summary {
    Summary {
        launches: u32::try_from(values.len()).unwrap_or(u32::MAX),
        median: median(values),
        least: quantile(values, 0.0),
        greatest: quantile(values, 1.0),
        at_least,
    }
}
