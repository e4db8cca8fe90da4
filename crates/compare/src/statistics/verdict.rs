//! One sentence for each measure, and only what the data carry.

use super::significance::t_quantile;
use super::{deviation, mean};
use crate::document::{Better, Measure, Ratio, Unit, Verdict, VerdictKind};

/// An interval whose ends are farther apart than this factor does not say how much.
const WIDTH_MAX: f64 = 2.0;
/// Blocks below which nothing is concluded: of five, even the most extreme flip of signs has a p of 2 in 2⁵, above 5%.
pub const BLOCKS_MIN: u32 = 6;
/// More blocks than this are not worth naming.
const BLOCKS_MORE_MAX: u32 = 500;

/// What verdicts depend on besides the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Names of left and right, as sentences say them.
    pub names: [String; 2],
    /// Confidence of intervals; 1 − this is the level of tests.
    pub confidence: f64,
    /// Margin of "equal".
    pub equal_within: f64,
    /// Seconds that a block takes, for "about 6 more blocks (9 min)".
    pub block_seconds: f64,
}

/// Judges all measures of a comparison together, since Holm's adjustment is over all of them.
pub fn judge(measures: &mut [Measure], rules: &Rules) {
    let p_values: Vec<f64> = measures.iter().filter_map(|m| m.ratio.as_ref().map(|ratio| ratio.p_value)).collect();
    let mut adjusted = super::significance::holm(&p_values).into_iter();
    for measure in measures {
        let mut rivals = 1;
        if let Some(ratio) = &mut measure.ratio {
            ratio.p_adjusted = adjusted.next().unwrap_or(1.0);
            rivals = p_values.iter().filter(|p| **p >= ratio.p_value).count();
        }
        if !matches!(measure.verdict.kind, VerdictKind::Void | VerdictKind::AnswersDiffer) {
            measure.verdict = verdict(measure, rules, rivals);
        }
    }
}

/// A verdict without a winner.
pub fn without_winner(kind: VerdictKind, sentence: impl Into<String>) -> Verdict {
    Verdict { kind, winner: None, factor: None, sentence: sentence.into(), blocks_more: None }
}

/// `rivals` are the tests, this one among them, by whose number Holm multiplies its p.
fn verdict(measure: &Measure, rules: &Rules, rivals: usize) -> Verdict {
    // Values that are only known from below: a side may win by such a one, and nothing else follows from it.
    let limited = [measure.left.at_least, measure.right.at_least];
    let void = |of: &str| without_winner(VerdictKind::Void, format!("no verdict: the load generator was the limit of {of}"));
    if limited == [true, true] {
        return void("both");
    }
    let Some(ratio) = &measure.ratio else {
        return without_winner(
            VerdictKind::Inconclusive,
            match (measure.left.launches, measure.right.launches) {
                (1, 1) => "no verdict: one launch of each side",
                _ => "inconclusive: too few blocks in which each launch has a value",
            },
        );
    };
    let verdict = of_ratio(measure, ratio, rules, rivals);
    match limited.iter().position(|is| *is).map(|at| &rules.names[at]) {
        Some(name) if verdict.winner.as_ref() != Some(name) => void(name),
        _ => verdict,
    }
}

fn of_ratio(measure: &Measure, ratio: &Ratio, rules: &Rules, rivals: usize) -> Verdict {
    if ratio.blocks.len() < BLOCKS_MIN as usize {
        return inconclusive(ratio, rules, rivals);
    }
    let level = 1.0 - rules.confidence;
    let excludes_one = |low: f64, high: f64| low > 1.0 || high < 1.0;
    let significant = ratio.p_adjusted < level
        && ratio.p_sign_flip < level
        && excludes_one(ratio.low, ratio.high)
        && excludes_one(ratio.bootstrap_low, ratio.bootstrap_high);
    let margin = 1.0 + rules.equal_within;
    if ratio.low >= 1.0 / margin && ratio.high <= margin {
        let percent = rules.equal_within * 100.0;
        return without_winner(VerdictKind::Equal, format!("equal within ±{percent:.0}%{}", condition(measure)));
    }
    if significant {
        return winner(measure, ratio, rules);
    }
    inconclusive(ratio, rules, rivals)
}

fn winner(measure: &Measure, ratio: &Ratio, rules: &Rules) -> Verdict {
    // Right over left, so a ratio above 1 is left's win where less is better.
    let left_wins = (ratio.estimate > 1.0) == (measure.better == Better::Less);
    let (factor, low, high) = match ratio.estimate > 1.0 {
        true => (ratio.estimate, ratio.low, ratio.high),
        false => (1.0 / ratio.estimate, 1.0 / ratio.high, 1.0 / ratio.low),
    };
    let name = &rules.names[usize::from(!left_wins)];
    let how = comparative(measure);
    let at_least = [&measure.left, &measure.right][usize::from(!left_wins)].at_least;
    let certain = low > ratio.noise && high / low <= WIDTH_MAX;
    let (kind, sentence) = if certain {
        let sign = if at_least { "≥ " } else { "" };
        let range = format!("[{}, {}]", short(low), short(high));
        (VerdictKind::Better, format!("{name} {sign}{}× {range} {how}{}", short(factor), condition(measure)))
    } else {
        (VerdictKind::BetterSizeUncertain, format!("{name} {how}, size uncertain{}", condition(measure)))
    };
    Verdict { kind, winner: Some(name.clone()), factor: Some(factor), sentence, blocks_more: None }
}

/// "faster at p99", "less memory at peak".
fn comparative(measure: &Measure) -> String {
    match (measure.unit, measure.better) {
        (Unit::Seconds, Better::Less) if measure.id == "cpu" => format!("less {}", measure.title),
        (Unit::Seconds, Better::Less) => format!("faster at {}", measure.title.trim_end_matches(" latency")),
        (_, Better::More) => format!("more {}", measure.title),
        (_, Better::Less) => format!("less {}", measure.title),
    }
}

fn condition(measure: &Measure) -> String {
    if measure.condition.is_empty() { String::new() } else { format!(", {}", measure.condition) }
}

fn inconclusive(ratio: &Ratio, rules: &Rules, rivals: usize) -> Verdict {
    let more = blocks_more(ratio, rules, rivals);
    let sentence = match more {
        Some(more) => {
            let plural = if more == 1 { "block" } else { "blocks" };
            format!("inconclusive: about {more} more {plural} ({})", duration(f64::from(more) * rules.block_seconds))
        }
        None => "inconclusive: the sides are too close, or the machine too noisy, for any practical number of blocks".to_owned(),
    };
    Verdict { blocks_more: more, ..without_winner(VerdictKind::Inconclusive, sentence) }
}

/// Blocks after which, if the deviation stays, the interval would either leave 1, at the level that Holm leaves this test among its
/// `rivals`, or fit into the margin.
fn blocks_more(ratio: &Ratio, rules: &Rules, rivals: usize) -> Option<u32> {
    let logs: Vec<f64> = ratio.blocks.iter().map(|block| block.ln()).collect();
    let (effect, deviation) = (mean(&logs).abs(), deviation(&logs));
    let margin = rules.equal_within.ln_1p();
    let adjusted = 1.0 - (1.0 - rules.confidence) / rivals.max(1) as f64;
    let now = u32::try_from(logs.len()).ok()?;
    let needed = (BLOCKS_MIN.max(now + 1)..=now + BLOCKS_MORE_MAX).find(|&count| {
        let half = |confidence| t_quantile(confidence, f64::from(count - 1)) * deviation / f64::from(count).sqrt();
        half(adjusted) < effect || half(rules.confidence) < margin - effect
    })?;
    Some(needed - now)
}

/// A factor: `3.1`, `12.4`, `250`, and more decimals the nearer it is to 1, where they tell what it differs by: `1.52`, `1.085`.
pub fn short(value: f64) -> String {
    match value {
        v if v < 1.095 => format!("{v:.3}"),
        v if v < 1.95 => format!("{v:.2}"),
        v if v < 99.5 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// `40 s`, `9 min`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..90 => format!("{s} s"),
        s @ 90..5400 => format!("{} min", (s + 30) / 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}
