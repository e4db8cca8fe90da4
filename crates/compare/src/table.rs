//! What the terminal shows: a table with verdicts. Pure.

use crate::document::{Comparison, DifferenceClass, Document, InjectedError, Measure, Outcome, Summary, Unit};
use crate::measures::spoken;

/// Everything a person should read, without the report.
pub fn render(document: &Document) -> String {
    let mut out = String::new();
    for comparison in &document.comparisons {
        out.push_str(&one(comparison));
    }
    if let Some(why) = &document.interrupted {
        out.push_str(&format!("\nThe run ended early: {why}\n"));
    }
    out
}

fn one(comparison: &Comparison) -> String {
    let mut out = format!("\n{}\n", comparison.title);
    for side in &comparison.sides {
        let facts: Vec<String> = side.version.iter().cloned().chain(side.facts.iter().cloned()).collect();
        out.push_str(&format!("  {}: {} ({} {})\n", side.name, side.target, side.language, facts.join(", ")));
    }
    out.push_str(&answers(comparison));
    if !comparison.measures.is_empty() {
        let head = ["", &name(comparison, 0), &name(comparison, 1), "verdict"].map(str::to_owned);
        let rows = comparison.measures.iter().map(|measure| {
            let title = match measure.condition.as_str() {
                "" => measure.title.clone(),
                condition => format!("{} ({condition})", measure.title),
            };
            [title, cell(measure, &measure.left), cell(measure, &measure.right), measure.verdict.sentence.clone()]
        });
        out.push_str(&columns(std::iter::once(head).chain(rows).collect()));
    }
    for error in comparison.errors.iter().filter(|error| error.injected) {
        out.push_str(&format!("  {}\n", error_line(error)));
    }
    for line in comparison.rules.iter().chain(&comparison.remarks) {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

/// One line of the error matrix.
fn error_line(error: &InjectedError) -> String {
    let mut line = format!("{} {}: {}", error.side, error.error, error.answer.as_deref().unwrap_or("nothing"));
    if let Some(right) = error.answer_right {
        line.push_str(if right { " (right)" } else { " (wrong)" });
    }
    if let Some((failed, all)) = error.neighbours_failed {
        line.push_str(&format!(", {failed} of {all} neighbours failed"));
    }
    if let Some(tied) = error.stack_tied {
        line.push_str(if tied { ", its stack names the request" } else { ", no stack that names the request" });
    }
    if let Some(seconds) = error.recovery_seconds {
        line.push_str(&format!(", answers again after {}", quantity(seconds, Unit::Seconds)));
    }
    if let Some(remark) = &error.remark {
        line.push_str(&format!("; {remark}"));
    }
    line
}

fn name(comparison: &Comparison, at: usize) -> String {
    comparison.sides.get(at).map(|side| spoken(&side.name)).unwrap_or_default()
}

fn answers(comparison: &Comparison) -> String {
    let equality = &comparison.equality;
    let noise = equality.differences.iter().filter(|difference| difference.class == DifferenceClass::Noise).count();
    let mut out = match equality.outcome {
        Outcome::Unchecked => return "  answers were not compared\n".to_owned(),
        Outcome::Equal if noise == 0 => {
            format!("  answers are equal: {} cases, {} rounds\n", equality.cases, equality.rounds)
        }
        Outcome::Equal => format!(
            "  answers are equal but for noise at {noise} path(s), where each side differs from itself as often: {} cases, {} rounds\n",
            equality.cases, equality.rounds
        ),
        Outcome::Different => "  answers differ, so there is no verdict on speed:\n".to_owned(),
    };
    if equality.outcome == Outcome::Different {
        for difference in &equality.differences {
            let what = match difference.class {
                DifferenceClass::Real => "differs",
                DifferenceClass::Unstable => "one side differs from itself",
                DifferenceClass::Noise => "noise",
            };
            out.push_str(&format!(
                "    {}: {what} in {} of {} answers (against their own twins: {} and {})\n",
                difference.path, difference.across, difference.compared, difference.left_twin, difference.right_twin
            ));
            if let Some(example) = difference.examples.first() {
                let said = |value: &Option<serde_json::Value>| value.as_ref().map_or("nothing".to_owned(), ToString::to_string);
                out.push_str(&format!("      {}: {} and {}\n", example.case, said(&example.left), said(&example.right)));
            }
        }
    }
    out
}

fn cell(measure: &Measure, summary: &Summary) -> String {
    let sign = if summary.at_least { "≥ " } else { "" };
    format!("{sign}{}", quantity(summary.median, measure.unit))
}

/// A number with its unit: `1.24 ms`, `52 MiB`, `8,120/s`.
pub fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value == 0.0 => "0 s".to_owned(),
        Unit::Seconds => {
            let (scaled, name) = match value {
                v if v >= 1.0 => (v, "s"),
                v if v >= 1e-3 => (v * 1e3, "ms"),
                v if v >= 1e-6 => (v * 1e6, "µs"),
                v => (v * 1e9, "ns"),
            };
            format!("{} {name}", digits(scaled))
        }
        Unit::Bytes => {
            let (scaled, name) = match value {
                v if v >= 1073741824.0 => (v / 1073741824.0, "GiB"),
                v if v >= 1048576.0 => (v / 1048576.0, "MiB"),
                v => (v / 1024.0, "KiB"),
            };
            format!("{} {name}", digits(scaled))
        }
        Unit::PerSecond => format!("{}/s", digits(value)),
        Unit::Count if value.fract() == 0.0 && value.abs() < 100.0 => format!("{value:.0}"),
        Unit::Count | Unit::Ratio => digits(value),
    }
}

/// Three significant digits.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => {
            let whole = format!("{value:.0}");
            let mut out = String::new();
            for (at, digit) in whole.chars().enumerate() {
                if at > 0 && (whole.len() - at) % 3 == 0 && digit.is_ascii_digit() && !out.ends_with('-') {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn columns(rows: Vec<[String; 4]>) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let line = |[title, left, right, verdict]: &[String; 4]| {
        let line = format!("  {title:<a$}  {left:>b$}  {right:>c$}  {verdict}", a = widths[0], b = widths[1], c = widths[2]);
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_one_line() {
        let error = InjectedError {
            side: "web".to_owned(),
            error: "crash".to_owned(),
            injected: true,
            answer: Some("status 502".to_owned()),
            answer_right: Some(true),
            neighbours_failed: Some((1, 38)),
            stack_tied: Some(false),
            recovery_seconds: Some(0.25),
            remark: None,
        };
        let expected = "web crash: status 502 (right), 1 of 38 neighbours failed, no stack that names the request, answers again after 250 ms";
        assert_eq!(error_line(&error), expected);
    }

    #[test]
    fn quantities_have_three_digits_and_a_fitting_unit() {
        for (value, unit, expected) in [
            (0.001_234, Unit::Seconds, "1.23 ms"),
            (2.5e-7, Unit::Seconds, "250 ns"),
            (12.34, Unit::Seconds, "12.3 s"),
            (0.0, Unit::Seconds, "0 s"),
            (2.0, Unit::Count, "2"),
            (1_234.0, Unit::Count, "1,234"),
            (2.5, Unit::Count, "2.50"),
            (54_525_952.0, Unit::Bytes, "52.0 MiB"),
            (8_123.4, Unit::PerSecond, "8,123/s"),
            (1_234_567.0, Unit::PerSecond, "1,234,567/s"),
        ] {
            assert_eq!(quantity(value, unit), expected);
        }
    }
}
