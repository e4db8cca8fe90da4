//! The verdicts as a Markdown table, for a pull request, a job's summary or an article. Pure.

use super::rows::{HEADLINES, headline};
use crate::document::{Comparison, Document, Effort, Measure, Outcome, VerdictKind};
use crate::measures::spoken;
use crate::statistics::verdict::{duration, short};

/// A line on how it was measured, and a row for each comparison with a column for each measure of the report's overview.
pub fn render(document: &Document) -> String {
    let measured = |id: &str| document.comparisons.iter().any(|one| one.measures.iter().any(|measure| measure.id == id));
    let columns: Vec<(&str, &str)> = HEADLINES.into_iter().filter(|(id, _)| measured(id)).collect();
    let mut out = format!("{}\n\n", how(document));
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heads = ["Compared", "Answers"].into_iter().chain(columns.iter().map(|column| column.1));
    out.push_str(&row(heads.map(str::to_owned).collect()));
    out.push_str(&format!("|{}\n", "---|".repeat(columns.len() + 2)));
    for comparison in &document.comparisons {
        let answers = match comparison.equality.outcome {
            Outcome::Unchecked => "not compared",
            Outcome::Equal => "equal",
            Outcome::Different => "different",
        };
        let mut cells = vec![escaped(&comparison.title), answers.to_owned()];
        cells.extend(columns.iter().map(|(id, _)| cell(comparison, id)));
        out.push_str(&row(cells));
    }
    out
}

/// The interval of a verdict with a winner, seen from the winner: `[2.9, 3.3]`.
pub fn interval(measure: &Measure) -> Option<String> {
    let ratio = measure.ratio.as_ref()?;
    let (low, high) = if ratio.estimate > 1.0 { (ratio.low, ratio.high) } else { (1.0 / ratio.high, 1.0 / ratio.low) };
    Some(format!("[{}, {}]", short(low), short(high)))
}

fn how(document: &Document) -> String {
    let (settings, machine) = (&document.settings, &document.machine);
    let effort = match settings.effort {
        Effort::Quick => "quick",
        Effort::Default => "default",
        Effort::Thorough => "thorough",
    };
    let versions: std::collections::BTreeSet<String> = document
        .comparisons
        .iter()
        .flat_map(|comparison| &comparison.sides)
        .filter_map(|side| Some(format!("{} {}", spoken(&side.language), side.version.as_ref()?)))
        .collect();
    let early = document.interrupted.as_ref().map(|why| format!(" It ended early: {}.", escaped(why))).unwrap_or_default();
    format!(
        "Measured {} by Bireme {} in a {effort} run of {}: {} blocks of four launches, {} s each; {}. {} cores, load {:.1} when it began ({}, {}). \
         Intervals are {:.0}%.{early}",
        document.started.split('T').next().unwrap_or_default(),
        document.bireme,
        duration(document.took_seconds),
        settings.blocks,
        settings.launch_seconds,
        versions.into_iter().collect::<Vec<_>>().join(", "),
        machine.cores,
        machine.load,
        escaped(&machine.cpu),
        escaped(&machine.system),
        settings.confidence * 100.0,
    )
}

fn cell(comparison: &Comparison, id: &str) -> String {
    let Some(measure) = headline(comparison, id) else { return "–".to_owned() };
    let verdict = &measure.verdict;
    let winner = || verdict.winner.as_deref().map(spoken).unwrap_or_default();
    let interval = interval(measure).unwrap_or_default();
    let text = match verdict.kind {
        VerdictKind::Better => format!("{} {}× {interval}", winner(), verdict.factor.map(short).unwrap_or_default()),
        VerdictKind::BetterSizeUncertain => format!("{}, size uncertain {interval}", winner()),
        VerdictKind::Equal => format!("equal {interval}"),
        VerdictKind::Inconclusive => "inconclusive".to_owned(),
        VerdictKind::Void => "void".to_owned(),
        VerdictKind::AnswersDiffer => "no verdict".to_owned(),
    };
    escaped(&text)
}

/// Measured programs have a say in titles and facts: no Markdown of theirs, and no end of a cell.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if "|\\`*_<>".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_a_row_for_each_comparison() {
        let mut document: Document = serde_json::from_str(include_str!("../../tests/example.json")).unwrap();
        document.comparisons[0].title = "a | b".to_owned();
        let text = render(&document);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("in a quick run of") && lines[0].contains("Node ") && lines[0].contains("Python "), "{text}");
        assert!(lines[2].starts_with("| Compared | Answers | p50 latency |"), "{text}");
        assert!(lines[4].starts_with("| a \\| b | "), "{text}");
        assert!(
            lines[4].contains(" | Node 15.2× [14.1, 16.5] | ") && lines[4].contains(" | Node, size uncertain [14.2, 39.7] | "),
            "{text}"
        );
        assert_eq!(lines.len(), 5, "{text}");
    }
}
