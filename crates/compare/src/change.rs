//! `bireme compare diff old.json new.json`: what changed between two runs, side by side. Pure.

use crate::document::{Better, Comparison, Document, Measure};
use crate::measures::key;
use crate::statistics::effect::welch_interval;
use crate::statistics::median;
use crate::statistics::verdict::short;
use crate::table::quantity;

/// Launches on each side of a change from which an interval is given.
const LAUNCHES_MIN: usize = 3;
/// Rates within this factor of each other are compared.
const RATE_FACTOR_MAX: f64 = 1.1;

/// Lines for people: every measure that both runs have.
pub fn render(old: &Document, new: &Document, confidence: f64) -> String {
    let mut out = String::new();
    if old.machine.cpu != new.machine.cpu || old.machine.cores != new.machine.cores {
        out.push_str(
            "these runs are from different machines: only what changed alike on both sides says something of the code\n",
        );
    }
    for comparison in &new.comparisons {
        let Some(before) = old.comparisons.iter().find(|other| other.name == comparison.name) else {
            out.push_str(&format!("\n{}: only in the new run\n", comparison.name));
            continue;
        };
        out.push_str(&format!("\n{}\n", comparison.title));
        let mut alone = Vec::new();
        for side in &comparison.sides {
            for measure in &comparison.measures {
                match counterpart(before, measure) {
                    Some(old) => out.extend(line([before, comparison], [old, measure], &side.name, confidence)),
                    None => alone.push(key(&measure.id, &measure.condition)),
                }
            }
        }
        alone.sort();
        alone.dedup();
        if !alone.is_empty() {
            out.push_str(&format!("  not measured alike before: {}\n", alone.join("; ")));
        }
    }
    for gone in old.comparisons.iter().filter(|old| new.comparisons.iter().all(|new| new.name != old.name)) {
        out.push_str(&format!("\n{}: only in the old run\n", gone.name));
    }
    out
}

/// The old run's measure of the same thing. A rate follows from each run's own pilot, so near ones count as the same.
fn counterpart<'a>(old: &'a Comparison, measure: &Measure) -> Option<&'a Measure> {
    let of_id = || old.measures.iter().filter(|other| other.id == measure.id);
    let near = |other: &&Measure| {
        let (Some((before, what)), Some((now, same))) = (rate(&other.condition), rate(&measure.condition)) else { return false };
        what == same && (before / now).max(now / before) <= RATE_FACTOR_MAX
    };
    of_id().find(|other| other.condition == measure.condition).or_else(|| of_id().find(near))
}

/// `800 requests/s, 50% of the smaller capacity`: the number, and the rest.
fn rate(condition: &str) -> Option<(f64, &str)> {
    let (number, rest) = condition.split_once(" requests/s")?;
    Some((number.parse().ok()?, rest))
}

fn line([old, new]: [&Comparison; 2], [was, measure]: [&Measure; 2], side: &str, confidence: f64) -> Option<String> {
    let values = |comparison: &Comparison, measure: &Measure| {
        let key = key(&measure.id, &measure.condition);
        let of_side = comparison.launches.iter().filter(|launch| launch.side == side && launch.void.is_none());
        // Of what is nothing there is no ratio.
        of_side.filter_map(|launch| launch.values.get(&key).copied()).filter(|value| *value > 0.0).collect::<Vec<f64>>()
    };
    let (before, after) = (values(old, was), values(new, measure));
    let mut key = key(&measure.id, &measure.condition);
    if was.condition != measure.condition {
        key.push_str(&format!(" (before: {})", was.condition));
    }
    if before.len() < LAUNCHES_MIN || after.len() < LAUNCHES_MIN {
        return None;
    }
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
    let (low, high) = welch_interval(&logs(&before), &logs(&after), confidence);
    let (low, high) = (low.exp(), high.exp());
    let what = match (low > 1.0, high < 1.0, measure.better) {
        (true, _, Better::Less) | (_, true, Better::More) => "worse",
        (true, _, Better::More) | (_, true, Better::Less) => "better",
        _ => "no change shown",
    };
    let (old, new) = (quantity(median(&before), measure.unit), quantity(median(&after), measure.unit));
    Some(format!("  {side} {key}: {old} → {new}, {} to {} times: {what}\n", short(low), short(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Document {
        serde_json::from_str(include_str!("../tests/example.json")).unwrap()
    }

    #[test]
    fn a_run_does_not_differ_from_itself_and_ten_times_as_slow_is_worse() {
        let same = render(&example(), &example(), 0.95);
        assert!(same.contains("python latency_p50: ") && !same.contains("worse") && !same.contains("better"), "{same}");
        let mut slower = example();
        for launch in &mut slower.comparisons[0].launches {
            if launch.side == "python" {
                launch.values.values_mut().for_each(|value| *value *= 10.0);
            }
        }
        let changed = render(&example(), &slower, 0.95);
        let says = |start: &str, end: &str| changed.lines().any(|line| line.trim().starts_with(start) && line.ends_with(end));
        assert!(says("python latency_p50", ": worse") && says("python throughput", ": better"), "{changed}");
        assert!(says("node latency_p50", ": no change shown"), "{changed}");
    }

    #[test]
    fn latencies_are_compared_at_near_rates_alone() {
        let at = |rate: u32| {
            let mut document = example();
            let condition = format!("{rate} requests/s, 50% of the smaller capacity");
            let comparison = &mut document.comparisons[0];
            let measure = comparison.measures.iter_mut().find(|measure| measure.id == "latency_p50").unwrap();
            measure.condition.clone_from(&condition);
            for launch in &mut comparison.launches {
                let value = launch.values.remove("latency_p50").unwrap();
                launch.values.insert(key("latency_p50", &condition), value);
            }
            document
        };
        let near = render(&at(800), &at(780), 0.95);
        let expected = "python latency_p50@780 requests/s, 50% of the smaller capacity (before: 800 requests/s, 50% of the smaller capacity): ";
        assert!(near.contains(expected) && !near.contains("not measured alike"), "{near}");
        let far = render(&at(800), &at(1_600), 0.95);
        assert!(
            far.contains("not measured alike before: latency_p50@1600 requests/s") && !far.contains("python latency_p50@"),
            "{far}"
        );
    }
}
