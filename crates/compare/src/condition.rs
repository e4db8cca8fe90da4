//! `--fail-if 'python.p99 > 1.2 * node.p99'`: a condition that is judged by intervals. Pure.

use crate::document::{Comparison, Measure};
use crate::statistics::effect::t_interval;
use crate::measures;

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
    Times(f64, Quantity),
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
        let wrong = |why: String| format!("{text:?}: {why}; write SIDE.MEASURE > [NUMBER *] SIDE.MEASURE, or a number such as 50ms");
        let at = text.find(['<', '>']).ok_or_else(|| wrong("neither < nor > is in it".to_owned()))?;
        let (left, rest) = text.split_at(at);
        let greater = rest.starts_with('>');
        let right = rest[1..].trim_start_matches('=').trim();
        let left = Quantity::parse(left.trim()).map_err(wrong)?;
        let right = match right.split_once('*') {
            Some((factor, quantity)) => {
                let factor: f64 = factor.trim().parse().map_err(|_| wrong(format!("{:?} is no number", factor.trim())))?;
                Bound::Times(factor, Quantity::parse(quantity.trim()).map_err(wrong)?)
            }
            None if right.starts_with(|c: char| c.is_ascii_digit()) => Bound::Fixed(number(right).map_err(wrong)?),
            None => Bound::Times(1.0, Quantity::parse(right).map_err(wrong)?),
        };
        if let Bound::Times(factor, quantity) = &right
            && (quantity.side == left.side || quantity.measure != left.measure || *factor <= 0.0)
        {
            return Err(wrong("a bound is about the other side, the same measure, and a positive factor".to_owned()));
        }
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
        let unmeasured = |why: &str| Judgement::Unmeasured(format!("{}: {why}", comparison.name));
        if matches!(measure.verdict.kind, AnswersDiffer | Void) {
            return unmeasured(&measure.verdict.sentence);
        }
        let Some(at) = comparison.sides.iter().position(|side| side.name == self.left.side) else {
            return unmeasured(&format!("it has no side {}", self.left.side));
        };
        let (low, high) = match &self.right {
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

    fn names(&self, measure: &Measure) -> bool {
        measure.id == self.measure
    }
}

/// `50ms`, `1.5s`, `200MiB`, `800/s`, `3`.
fn number(text: &str) -> Result<f64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let scale = match text[end..].trim() {
        "" | "s" | "B" | "/s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "KiB" => 1024.0,
        "MiB" => 1048576.0,
        "GiB" => 1073741824.0,
        unit => return Err(format!("{unit:?} is no unit; there are us, ms, s, KiB, MiB, GiB and /s")),
    };
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
    }

    #[test]
    fn mistakes_are_said() {
        for (text, expected) in [
            ("python.p99", "neither < nor >"),
            ("python.p98 > 1ms", "\"p98\" is no measure"),
            ("python.p99 > 3 parsecs", "\"parsecs\" is no unit"),
            ("python.p99 > python.p99", "the other side"),
            ("python.p99 > x * node.p99", "\"x\" is no number"),
        ] {
            let error = Condition::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
