//! `--fail-if 'python.p99 > 1.2 * node.p99'`: a condition that is judged by intervals. Pure.

use crate::document::{Comparison, Measure, Unit};
use crate::measures;
use crate::statistics::effect::t_interval;

/// A condition under which a run fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    left: Quantity,
    greater: bool,
    right: Bound,
}

/// `python.p99`.
#[derive(Clone, Debug, PartialEq)]
struct Quantity {
    side: String,
    measure: String,
}

/// `1.2 * node.p99`, or `50ms`.
#[derive(Clone, Debug, PartialEq)]
enum Bound {
    /// A factor, and the other side.
    Times(f64, String),
    Fixed(f64),
}

/// What intervals say of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It holds, with confidence: the run fails.
    Holds,
    /// It does not, with confidence.
    Fails,
    /// The interval lies on both sides of the bound.
    Undecided,
    /// What it is about was not measured, or may not be judged: why.
    Unmeasured(String),
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, and how one is written.
    pub fn parse(text: &str) -> Result<Condition, String> {
        let wrong =
            |why: String| format!("{text:?}: {why}; write SIDE.MEASURE > [NUMBER *] SIDE.MEASURE, or a number such as 50ms");
        let at = text.find(['<', '>']).ok_or_else(|| wrong("neither < nor > is in it".to_owned()))?;
        let (left, rest) = text.split_at(at);
        let greater = rest.starts_with('>');
        let right = rest[1..].trim_start_matches('=').trim();
        let left = Quantity::parse(left.trim()).map_err(wrong)?;
        if right.starts_with(|c: char| c.is_ascii_digit()) && !right.contains('*') {
            let right = Bound::Fixed(number(right, left.unit()).map_err(wrong)?);
            return Ok(Condition { text: text.to_owned(), left, greater, right });
        }
        let (factor, other) = match right.split_once('*') {
            Some((factor, other)) => {
                (factor.trim().parse::<f64>().map_err(|_| wrong(format!("{:?} is no number", factor.trim())))?, other.trim())
            }
            None => (1.0, right),
        };
        let other = Quantity::parse(other).map_err(wrong)?;
        if other.side == left.side || other.measure != left.measure || !(factor > 0.0 && factor.is_finite()) {
            return Err(wrong("a bound is about the other side, the same measure, and a positive factor".to_owned()));
        }
        let right = Bound::Times(factor, other.side);
        Ok(Condition { text: text.to_owned(), left, greater, right })
    }

    /// Judges it over all measures of that name in all comparisons; one that holds is enough.
    pub fn judge(&self, comparisons: &[Comparison], confidence: f64) -> Judgement {
        let mut judgements = Vec::new();
        for comparison in comparisons {
            let of_name = comparison.measures.iter().filter(|measure| self.left.names(measure));
            judgements.extend(of_name.map(|measure| self.one(comparison, measure, confidence)));
        }
        let is = |wanted: fn(&Judgement) -> bool| judgements.iter().find(|judgement| wanted(judgement)).cloned();
        is(|j| *j == Judgement::Holds)
            .or_else(|| is(|j| matches!(j, Judgement::Unmeasured(_))))
            .or_else(|| is(|j| *j == Judgement::Undecided))
            .or_else(|| judgements.first().cloned())
            .unwrap_or_else(|| Judgement::Unmeasured(format!("{} was not measured", self.left.measure)))
    }

    fn one(&self, comparison: &Comparison, measure: &Measure, confidence: f64) -> Judgement {
        use crate::document::VerdictKind::{AnswersDiffer, Void};
        let is_relative = matches!(self.right, Bound::Times(..));
        let unmeasured = |why: &str| Judgement::Unmeasured(format!("{}: {why}", comparison.name));
        // What makes a ratio void may leave one side's own value as it is.
        if measure.verdict.kind == AnswersDiffer || (measure.verdict.kind == Void && is_relative) {
            return unmeasured(&measure.verdict.sentence);
        }
        let Some(at) = comparison.sides.iter().position(|side| side.name == self.left.side) else {
            return unmeasured(&format!("it has no side {}", self.left.side));
        };
        let (low, high) = match &self.right {
            Bound::Times(_, other) if !comparison.sides.iter().any(|side| side.name == *other) => {
                return unmeasured(&format!("it has no side {other}"));
            }
            Bound::Times(factor, _) => {
                let Some(ratio) = &measure.ratio else { return unmeasured("too few launches") };
                // The ratio is right over left.
                let (low, high) = if at == 1 { (ratio.low, ratio.high) } else { (1.0 / ratio.high, 1.0 / ratio.low) };
                (low / factor, high / factor)
            }
            Bound::Fixed(bound) => {
                let key = measures::key(&measure.id, &measure.condition);
                let of_side = comparison.launches.iter().filter(|launch| launch.side == self.left.side && launch.void.is_none());
                let logs: Vec<f64> = of_side.filter_map(|launch| launch.values.get(&key)).map(|value| value.ln()).collect();
                if logs.len() < 3 {
                    return unmeasured("too few launches");
                }
                let (low, high) = t_interval(&logs, confidence);
                (low.exp() / bound, high.exp() / bound)
            }
        };
        // A value that is only known from below may be any greater one.
        let open = [&measure.left, &measure.right].map(|summary| summary.at_least);
        let (own_open, other_open) = (open[at.min(1)], open[1 - at.min(1)] && is_relative);
        if other_open || (own_open && low <= 1.0) {
            return unmeasured("the load generator was the limit, so the value is only known from below");
        }
        match (self.greater, low > 1.0, high < 1.0) {
            (true, true, _) | (false, _, true) => Judgement::Holds,
            (true, _, true) | (false, true, _) => Judgement::Fails,
            _ => Judgement::Undecided,
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Quantity {
    fn parse(text: &str) -> Result<Quantity, String> {
        let (side, measure) = text.rsplit_once('.').ok_or_else(|| format!("{text:?} is no SIDE.MEASURE"))?;
        let known = |name: &str| measures::KINDS.iter().any(|kind| kind.id == name);
        let id = if known(measure) { measure.to_owned() } else { format!("latency_{measure}") };
        if side.is_empty() || !known(&id) {
            let all: Vec<&str> = measures::KINDS.iter().map(|kind| kind.id.trim_start_matches("latency_")).collect();
            return Err(format!("{measure:?} is no measure; there are {}", all.join(", ")));
        }
        Ok(Quantity { side: side.to_owned(), measure: id })
    }

    fn unit(&self) -> Option<Unit> {
        measures::KINDS.iter().find(|kind| kind.id == self.measure).map(|kind| kind.unit)
    }

    fn names(&self, measure: &Measure) -> bool {
        measure.id == self.measure
    }
}

/// `50ms`, `1.5s`, `200MiB`, `800/s`, `3`; of the measure's own unit.
fn number(text: &str, measured: Option<Unit>) -> Result<f64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (scale, unit) = match text[end..].trim() {
        "" => (1.0, None),
        "s" => (1.0, Some(Unit::Seconds)),
        "ms" => (1e-3, Some(Unit::Seconds)),
        "us" | "µs" => (1e-6, Some(Unit::Seconds)),
        "B" => (1.0, Some(Unit::Bytes)),
        "KiB" => (1024.0, Some(Unit::Bytes)),
        "MiB" => (1048576.0, Some(Unit::Bytes)),
        "GiB" => (1073741824.0, Some(Unit::Bytes)),
        "/s" => (1.0, Some(Unit::PerSecond)),
        unit => return Err(format!("{unit:?} is no unit; there are us, ms, s, B, KiB, MiB, GiB and /s")),
    };
    if unit.is_some() && measured.is_some() && unit != measured {
        return Err(format!("{text:?} is of another unit than what is measured"));
    }
    text[..end].parse::<f64>().map(|value| value * scale).map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    /// The example's Python is about 19 times slower at p50, with an interval of about 15 to 25.
    fn check(condition: &str, expected: Judgement) {
        let document: Document = serde_json::from_str(include_str!("../tests/example.json")).unwrap();
        assert_eq!(Condition::parse(condition).unwrap().judge(&document.comparisons, 0.95), expected, "{condition}");
    }

    #[test]
    fn conditions_are_judged_by_intervals() {
        check("python.p50 > 1.2 * node.p50", Judgement::Holds);
        check("python.p50 > 100 * node.p50", Judgement::Fails);
        check("python.p50 > 19 * node.p50", Judgement::Undecided);
        check("node.p50 > python.p50", Judgement::Fails);
        check("node.throughput < python.throughput", Judgement::Fails);
        check("python.p50 > 1us", Judgement::Holds);
        check("python.memory_peak > 1GiB", Judgement::Fails);
        check("python.p99 > node.p99", Judgement::Unmeasured("latency_p99 was not measured".to_owned()));
        check("ruby.p50 > 1ms", Judgement::Unmeasured("score: it has no side ruby".to_owned()));
        check("python.p50 > 1.2 * nodejs.p50", Judgement::Unmeasured("score: it has no side nodejs".to_owned()));
    }

    #[test]
    fn a_value_that_is_only_known_from_below_is_judged_from_below_alone() {
        let mut document: Document = serde_json::from_str(include_str!("../tests/example.json")).unwrap();
        let throughput = document.comparisons[0].measures.iter_mut().find(|measure| measure.id == "throughput").unwrap();
        throughput.left.at_least = true;
        let judge = |text: &str| Condition::parse(text).unwrap().judge(&document.comparisons, 0.95);
        assert_eq!(judge("node.throughput > 1/s"), Judgement::Holds);
        assert_eq!(judge("node.throughput < 1/s"), Judgement::Fails);
        for unknown in
            ["node.throughput < 1000000000/s", "node.throughput > 1000000000/s", "python.throughput < 0.9 * node.throughput"]
        {
            assert!(matches!(judge(unknown), Judgement::Unmeasured(_)), "{unknown}");
        }
    }

    #[test]
    fn mistakes_are_said() {
        for (text, expected) in [
            ("python.p99", "neither < nor >"),
            ("python.p98 > 1ms", "\"p98\" is no measure"),
            ("python.p99 > 3 parsecs", "\"parsecs\" is no unit"),
            ("python.p99 > python.p99", "the other side"),
            ("python.p99 > x * node.p99", "\"x\" is no number"),
            ("python.p99 > 0 * node.p99", "a positive factor"),
            ("python.p99 > 1.2 * node.p50", "the same measure"),
            ("python.p99 > 50MiB", "another unit"),
            ("python.memory_peak > 50ms", "another unit"),
        ] {
            let error = Condition::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
