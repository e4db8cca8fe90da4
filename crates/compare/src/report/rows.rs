//! Rows of the report's tables: measures with their intervals, and the overview. Pure.

use crate::document::{Better, Comparison, Measure, Outcome, Ratio, Summary, VerdictKind};
use crate::measures::spoken;
use crate::table::quantity;

/// Ratios beyond are drawn at the scale's end.
const FACTOR_MAX: f64 = 1000.0;

/// One measure.
pub struct Row<'a> {
    pub measure: &'a Measure,
    pub left: String,
    pub right: String,
    pub left_range: String,
    pub right_range: String,
    pub interval: Option<Interval>,
    pub details: Option<Details>,
    /// `left`, `right`, `equal`, `open`.
    pub class: &'static str,
}

/// How many times better a side is, as places on a scale of 0 to 100 whose middle is "equal"; the left side's half comes first.
pub struct Interval {
    pub low: String,
    pub middle: String,
    pub width: String,
    /// In words, for those who do not see it.
    pub spoken: String,
}

/// How sure a ratio is.
pub struct Details {
    pub interval: String,
    pub bootstrap: String,
    pub p: String,
    pub p_adjusted: String,
    pub p_sign_flip: String,
    pub cliffs_delta: String,
    pub noise: String,
    pub launches: String,
}

/// Rows of measures, drawn on a scale that ends at `widest`.
pub fn rows<'a>(measures: &[&'a Measure], widest: f64, names: &[String; 2]) -> Vec<Row<'a>> {
    let row = |measure: &&'a Measure| Row {
        left: value(measure, &measure.left),
        right: value(measure, &measure.right),
        left_range: range(measure, &measure.left),
        right_range: range(measure, &measure.right),
        interval: measure.ratio.as_ref().and_then(|ratio| interval(measure, ratio, widest, names)),
        details: measure.ratio.as_ref().map(|ratio| details(measure, ratio)),
        class: class(measure, names),
        measure,
    };
    measures.iter().map(row).collect()
}

/// End of a scale that holds all intervals.
pub fn widest(measures: &[&Measure]) -> f64 {
    let ends = measures.iter().filter_map(|measure| measure.ratio.as_ref()).flat_map(|ratio| [ratio.low, ratio.high]);
    let furthest = ends.filter(|end| *end > 0.0 && end.is_finite()).map(|end| end.max(1.0 / end)).fold(1.0, f64::max);
    let steps = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0];
    steps.into_iter().find(|step| *step >= furthest).unwrap_or(FACTOR_MAX)
}

/// `3.1×`.
pub fn factor(value: f64) -> String {
    match value {
        v if v < 1.995 => format!("{}×", format!("{v:.2}").trim_end_matches('0').trim_end_matches('.')),
        v if v < 9.95 => format!("{}×", format!("{v:.1}").trim_end_matches('0').trim_end_matches('.')),
        v => format!("{v:.0}×"),
    }
}

/// `0.03`, `< 0.001` in one piece.
pub fn probability(p: f64) -> String {
    if p < 0.001 { "<\u{a0}0.001".to_owned() } else { format!("{p:.3}") }
}

fn value(measure: &Measure, summary: &Summary) -> String {
    let sign = if summary.at_least { "≥ " } else { "" };
    format!("{sign}{}", quantity(summary.median, measure.unit))
}

fn range(measure: &Measure, summary: &Summary) -> String {
    match summary.launches {
        0 | 1 => String::new(),
        _ => format!("{} to {}", quantity(summary.least, measure.unit), quantity(summary.greatest, measure.unit)),
    }
}

fn interval(measure: &Measure, ratio: &Ratio, widest: f64, names: &[String; 2]) -> Option<Interval> {
    // Right's value in units of left's: when less is better, a ratio above 1 speaks for left, whose half is the first.
    let advantage = |value: f64| match measure.better {
        Better::Less => -value.ln(),
        Better::More => value.ln(),
    };
    let ends = [ratio.low, ratio.estimate, ratio.high];
    if ends.iter().any(|end| !(end.is_finite() && *end > 0.0)) {
        return None;
    }
    let place = |value: f64| (50.0 + 50.0 * advantage(value) / widest.max(1.01).ln()).clamp(0.0, 100.0);
    let [a, middle, b] = ends.map(place);
    let (low, high) = (a.min(b), a.max(b));
    let better = if advantage(ratio.estimate) < 0.0 { &names[0] } else { &names[1] };
    let times = ratio.estimate.max(1.0 / ratio.estimate);
    Some(Interval {
        low: format!("{low:.1}"),
        middle: format!("{middle:.1}"),
        // A line of no length would not be seen.
        width: format!("{:.1}", (high - low).max(0.6)),
        spoken: format!("{better} {} better", factor(times)),
    })
}

fn details(measure: &Measure, ratio: &Ratio) -> Details {
    let ends = |low: f64, high: f64| format!("{low:.3} to {high:.3}");
    Details {
        interval: format!("{:.3} [{}]", ratio.estimate, ends(ratio.low, ratio.high)),
        bootstrap: ends(ratio.bootstrap_low, ratio.bootstrap_high),
        p: probability(ratio.p_value),
        p_adjusted: probability(ratio.p_adjusted),
        p_sign_flip: probability(ratio.p_sign_flip),
        cliffs_delta: format!("{:.2}", ratio.cliffs_delta),
        noise: format!("{:.3}", ratio.noise),
        launches: format!("{} and {}, {} blocks", measure.left.launches, measure.right.launches, ratio.blocks.len()),
    }
}

fn class(measure: &Measure, names: &[String; 2]) -> &'static str {
    let verdict = &measure.verdict;
    match verdict.kind {
        VerdictKind::Better | VerdictKind::BetterSizeUncertain => {
            // Winners are named as people say them, or as the document does.
            let left = verdict.winner.as_ref().is_some_and(|winner| spoken(winner) == names[0]);
            if left { "left" } else { "right" }
        }
        VerdictKind::Equal => "equal",
        VerdictKind::Inconclusive | VerdictKind::Void | VerdictKind::AnswersDiffer => "open",
    }
}

/// One row a comparison, one column for each of a few measures.
pub struct Overview {
    pub heads: Vec<&'static str>,
    pub rows: Vec<OverviewRow>,
}

/// What a comparison came to.
pub struct OverviewRow {
    pub title: String,
    pub anchor: String,
    pub answers: &'static str,
    pub cells: Vec<Cell>,
}

/// A verdict in two words.
pub struct Cell {
    pub text: String,
    pub class: &'static str,
    /// The whole sentence.
    pub sentence: String,
}

/// Measures of the overview.
pub const HEADLINES: [(&str, &str); 9] = [
    ("latency_p50", "p50 latency"),
    ("latency_p99", "p99 latency"),
    ("capacity", "Capacity"),
    ("throughput", "Throughput"),
    ("cpu", "Processor time"),
    ("memory_steady", "Memory under load"),
    ("start_warm", "Start, warm"),
    ("start_cold", "Start, cold"),
    ("error_cost", "An error"),
];

/// The verdicts of all comparisons, without a sum: there is no winner of everything.
pub fn overview(comparisons: &[Comparison]) -> Overview {
    let measured = |id: &str| comparisons.iter().any(|it| it.measures.iter().any(|measure| measure.id == id));
    let columns: Vec<(&str, &str)> = HEADLINES.into_iter().filter(|(id, _)| measured(id)).collect();
    let row = |(index, comparison): (usize, &Comparison)| {
        let names = super::names_of(comparison);
        OverviewRow {
            title: comparison.title.clone(),
            anchor: format!("comparison-{index}"),
            answers: match comparison.equality.outcome {
                Outcome::Unchecked => "not compared",
                Outcome::Equal => "equal",
                Outcome::Different => "different",
            },
            cells: columns.iter().map(|(id, _)| cell(comparison, id, &names)).collect(),
        }
    };
    Overview {
        rows: comparisons.iter().enumerate().map(row).collect(),
        heads: columns.into_iter().map(|(_, head)| head).collect(),
    }
}

/// The measure that stands for all of its kind, which differ in their conditions: the one of most blocks, the first of several.
pub fn headline<'a>(comparison: &'a Comparison, id: &str) -> Option<&'a Measure> {
    let blocks = |measure: &&Measure| measure.ratio.as_ref().map_or(0, |ratio| ratio.blocks.len());
    comparison.measures.iter().filter(|measure| measure.id == id).rev().max_by_key(blocks)
}

fn cell(comparison: &Comparison, id: &str, names: &[String; 2]) -> Cell {
    let Some(measure) = headline(comparison, id) else {
        return Cell { text: "–".to_owned(), class: "open", sentence: String::new() };
    };
    let verdict = &measure.verdict;
    let winner = || verdict.winner.as_deref().map(spoken).unwrap_or_default();
    let text = match verdict.kind {
        VerdictKind::Better => format!("{} {}", winner(), verdict.factor.map(factor).unwrap_or_default()),
        VerdictKind::BetterSizeUncertain => format!("{}, size uncertain", winner()),
        VerdictKind::Equal => "equal".to_owned(),
        VerdictKind::Inconclusive => "inconclusive".to_owned(),
        VerdictKind::Void => "void".to_owned(),
        VerdictKind::AnswersDiffer => "no verdict".to_owned(),
    };
    Cell { text, class: class(measure, names), sentence: verdict.sentence.clone() }
}
