//! `compare.html`: everything a document says, for people, in one file that needs nothing else. Pure.
//!
//! It computes no statistics and no verdict: those are in the document. Whatever comes from measured programs passes through the
//! templates' escaping.

mod chart;
mod rows;
pub mod summary;

use askama::Template;

use crate::document::{
    Comparison, Criterion, Curve, DifferenceClass, Document, Effort, Finding, InjectedError, Kind, Outcome, Series, Severity,
    Side,
};
use crate::measures::spoken;
use crate::statistics::verdict::duration;
use crate::table::quantity;
use chart::{Chart, draw};
use rows::{Overview, Row, overview, rows};

/// Rows of the table beside a chart.
const NUMBERS_MAX: usize = 13;

/// The report of a document.
pub fn render(document: &Document) -> Result<String, String> {
    Report::new(document).render().map_err(|error| format!("the report cannot be written: {error}"))
}

#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    document: &'a Document,
    title: String,
    names: [String; 2],
    took: String,
    overview: Overview,
    chapters: Vec<Chapter<'a>>,
    equalities: Vec<Equalities<'a>>,
    /// Titles of the chapters of which this run has nothing.
    unmeasured: Vec<&'static str>,
    code: Vec<CodeRow>,
    errors: Vec<ErrorRow<'a>>,
    sides: Vec<SideRow<'a>>,
    memory: String,
}

/// A criterion with what was measured of it.
struct Chapter<'a> {
    id: &'static str,
    title: &'static str,
    lead: &'static str,
    /// Ends of the scale on which all ratios of the chapter are drawn.
    widest: String,
    groups: Vec<Group<'a>>,
}

impl Chapter<'_> {
    fn has_rows(&self) -> bool {
        self.groups.iter().any(|group| !group.rows.is_empty())
    }
}

/// One comparison's part of a chapter.
struct Group<'a> {
    comparison: &'a Comparison,
    rows: Vec<Row<'a>>,
    figures: Vec<Figure<'a>>,
}

struct Figure<'a> {
    curve: &'a Curve,
    chart: Chart,
    legend: Vec<Legend>,
    numbers: Numbers,
    description: String,
}

struct Legend {
    side: usize,
    label: String,
}

/// What a chart shows, as a table.
struct Numbers {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

struct Equalities<'a> {
    comparison: &'a Comparison,
    sentence: String,
    rows: Vec<DifferenceRow<'a>>,
}

struct DifferenceRow<'a> {
    path: &'a str,
    class: &'static str,
    counts: String,
    p_value: String,
    examples: Vec<Example<'a>>,
}

struct Example<'a> {
    case: &'a str,
    path: &'a str,
    left: String,
    right: String,
}

struct CodeRow {
    comparison: String,
    side: usize,
    name: String,
    files: usize,
    cells: [String; 6],
}

struct ErrorRow<'a> {
    comparison: &'a str,
    error: &'a InjectedError,
    side: usize,
    name: String,
    neighbours: String,
    recovery: String,
}

struct SideRow<'a> {
    comparison: &'a str,
    index: usize,
    name: String,
    side: &'a Side,
}

impl<'a> Report<'a> {
    fn new(document: &'a Document) -> Report<'a> {
        let comparisons = &document.comparisons;
        let chapters: Vec<Chapter> = CHAPTERS.iter().filter_map(|chapter| chapter_of(chapter, comparisons)).collect();
        let code: Vec<CodeRow> = comparisons.iter().flat_map(code_rows).collect();
        let is_missing = |id: &str| chapters.iter().all(|chapter| chapter.id != id);
        let mut unmeasured: Vec<&str> =
            CHAPTERS.iter().filter(|chapter| is_missing(chapter.1)).map(|chapter| chapter.2).collect();
        unmeasured.extend(code.is_empty().then_some(LEARNING));
        let names = comparisons.first().map_or_else(|| ["left", "right"].map(str::to_owned), names_of);
        let subject = match (document.kind, &comparisons[..]) {
            (Kind::Suite, _) => "on the suite's workloads".to_owned(),
            (_, [one]) => one.title.clone(),
            (_, several) => format!("{} comparisons", several.len()),
        };
        Report {
            document,
            title: format!("{} and {}: {subject}", names[0], names[1]),
            took: duration(document.took_seconds),
            overview: overview(comparisons),
            chapters,
            equalities: comparisons.iter().map(equality_of).collect(),
            unmeasured,
            code,
            errors: comparisons.iter().flat_map(error_rows).collect(),
            sides: comparisons.iter().flat_map(side_rows).collect(),
            memory: quantity(document.machine.memory_bytes as f64, crate::document::Unit::Bytes),
            names,
        }
    }

    fn effort(&self) -> &'static str {
        match self.document.settings.effort {
            Effort::Quick => "quick",
            Effort::Default => "default",
            Effort::Thorough => "thorough",
        }
    }

    /// To the second: `2026-11-24T10:00:00`, in UTC.
    fn started(&self) -> String {
        let text = self.document.started.split(['.', 'Z']).next().unwrap_or_default();
        format!("{} UTC", text.replacen('T', " ", 1))
    }

    fn percent(&self, part: &f64) -> String {
        format!("{}%", (part * 1000.0).round() / 10.0)
    }

    /// Whether rows must say which comparison they belong to.
    fn is_several(&self) -> bool {
        self.document.comparisons.len() > 1
    }

    fn severity(&self, finding: &Finding) -> &'static str {
        match finding.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Unfit => "unfit",
        }
    }

    /// A note's Markdown is text with words set as code.
    fn pieces<'n>(&self, note: &'n str) -> Vec<(bool, &'n str)> {
        note.split('`').enumerate().map(|(index, piece)| (index % 2 == 1, piece)).collect()
    }
}

/// Title of the chapter that follows those.
const LEARNING: &str = "Learning curve, code and ecosystem";

/// Title and introduction of each chapter of measures, in the order of the articles.
const CHAPTERS: [(Criterion, &str, &str, &str); 6] = [
    (
        Criterion::Performance,
        "performance",
        "Performance",
        "How long a call or request takes, how many there can be in a second, and what processor time each costs.",
    ),
    (
        Criterion::Scalability,
        "scalability",
        "Scalability",
        "What becomes of throughput and latency when more come at once, or more workers and cores serve them.",
    ),
    (
        Criterion::Memory,
        "memory",
        "Memory",
        "Proportional set size of the whole process tree: pages that several processes share count in equal parts.",
    ),
    (Criterion::Start, "start", "Start", "From starting the process to its first answer."),
    (Criterion::Errors, "errors", "Error handling", "What an error costs, and what one that is injected does to others."),
    (
        Criterion::Versatility,
        "versatility",
        "Versatility",
        "What it costs to use both languages: a function called in its own, across a call, and over HTTP.",
    ),
];

fn chapter_of<'a>(
    (criterion, id, title, lead): &(Criterion, &'static str, &'static str, &'static str),
    comparisons: &'a [Comparison],
) -> Option<Chapter<'a>> {
    let of_chapter = |comparison: &'a Comparison| -> Vec<_> {
        comparison.measures.iter().filter(|measure| measure.criterion == *criterion).collect()
    };
    let all: Vec<_> = comparisons.iter().flat_map(of_chapter).collect();
    let widest = rows::widest(&all);
    let groups = comparisons.iter().filter_map(|comparison| {
        let figures = comparison.curves.iter().filter(|curve| curve.criterion == *criterion);
        let figures: Vec<Figure> = figures.filter_map(|curve| figure(curve, comparison)).collect();
        let rows = rows(&of_chapter(comparison), widest, &names_of(comparison));
        (!rows.is_empty() || !figures.is_empty()).then_some(Group { comparison, rows, figures })
    });
    let groups: Vec<Group> = groups.collect();
    let shown = !groups.is_empty() || (*criterion == Criterion::Errors && comparisons.iter().any(|it| !it.errors.is_empty()));
    shown.then_some(Chapter { id, title, lead, widest: rows::factor(widest), groups })
}

/// As people say them.
fn names_of(comparison: &Comparison) -> [String; 2] {
    let name = |at: usize, other: &str| comparison.sides.get(at).map_or_else(|| other.to_owned(), |side| spoken(&side.name));
    [name(0, "left"), name(1, "right")]
}

/// Which side a name is, 0 or 1; a name that is neither counts as the second.
fn side_of(comparison: &Comparison, name: &str) -> usize {
    usize::from(comparison.sides.first().is_none_or(|first| first.name != name))
}

fn figure<'a>(curve: &'a Curve, comparison: &Comparison) -> Option<Figure<'a>> {
    let chart = draw(curve, |name| side_of(comparison, name))?;
    // Lines over time were added in the order of launches.
    let mut lines: Vec<&Series> = curve.series.iter().filter(|series| !series.points.is_empty()).collect();
    lines.sort_by_key(|series| side_of(comparison, &series.side));
    let mut legend: Vec<Legend> = Vec::new();
    for series in &lines {
        let side = side_of(comparison, &series.side);
        let of_side = curve.series.iter().filter(|other| other.side == series.side).count();
        let label = match (of_side, series.label.as_str()) {
            (1, "") => spoken(&series.side),
            (1, label) => format!("{}, {label}", spoken(&series.side)),
            (count, _) => format!("{}, {count} lines", spoken(&series.side)),
        };
        if !legend.iter().any(|known| known.side == side && known.label == label) {
            legend.push(Legend { side, label });
        }
    }
    let sides: Vec<&str> = legend.iter().map(|entry| entry.label.as_str()).collect();
    let description = format!("{}: {} against {}, for {}", curve.title, curve.y.title, curve.x.title, sides.join(" and "));
    Some(Figure { chart, legend, numbers: numbers(curve, &lines), description, curve })
}

/// Some of a curve's points: all of them if there are few, else at even places of the first line, and the nearest of the others.
fn numbers(curve: &Curve, lines: &[&Series]) -> Numbers {
    let head = |series: &&Series| match series.label.as_str() {
        "" => spoken(&series.side),
        label => format!("{}, {label}", spoken(&series.side)),
    };
    let heads = std::iter::once(curve.x.title.clone()).chain(lines.iter().map(head)).collect();
    let Some(first) = lines.first() else { return Numbers { heads, rows: Vec::new() } };
    let last = first.points.len() - 1;
    let count = first.points.len().min(NUMBERS_MAX);
    let places = (0..count).map(|index| if count == 1 { 0 } else { index * last / (count - 1) });
    let row = |place: usize| {
        let x = first.points[place].0;
        let nearest = |series: &&Series| {
            let near = series.points.iter().min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs()));
            near.map_or_else(String::new, |point| quantity(point.1, curve.y.unit))
        };
        let shown =
            if curve.id == "latency_distribution" { format!("{}%", (x * 1e5).round() / 1e3) } else { quantity(x, curve.x.unit) };
        std::iter::once(shown).chain(lines.iter().map(nearest)).collect()
    };
    Numbers { heads, rows: places.map(row).collect() }
}

fn equality_of(comparison: &Comparison) -> Equalities<'_> {
    let equality = &comparison.equality;
    let basis = format!("{} cases, each answered {} times by each side and by its twin", equality.cases, equality.rounds);
    let sentence = match equality.outcome {
        Outcome::Unchecked => "Answers were not compared.".to_owned(),
        Outcome::Equal if equality.differences.is_empty() => format!("Equal: {basis}."),
        Outcome::Equal => format!("Equal but for noise, which each side shows against itself as often: {basis}."),
        Outcome::Different => format!("Different, so that there is no verdict on speed: {basis}."),
    };
    let said = |value: &Option<serde_json::Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let rows = equality.differences.iter().map(|difference| DifferenceRow {
        path: &difference.path,
        class: match difference.class {
            DifferenceClass::Real => "real",
            DifferenceClass::Unstable => "one side differs from itself",
            DifferenceClass::Noise => "noise",
        },
        counts: format!(
            "{} of {}; against their own twins {} and {}",
            difference.across, difference.compared, difference.left_twin, difference.right_twin
        ),
        p_value: rows::probability(difference.p_value),
        examples: difference
            .examples
            .iter()
            .map(|example| Example {
                case: &example.case,
                path: &example.path,
                left: said(&example.left),
                right: said(&example.right),
            })
            .collect(),
    });
    Equalities { comparison, sentence, rows: rows.collect() }
}

fn code_rows(comparison: &Comparison) -> Vec<CodeRow> {
    let row = |(index, side): (usize, &Side)| {
        let code = side.code.as_ref()?;
        let count = |value: u64| quantity(value as f64, crate::document::Unit::Count);
        Some(CodeRow {
            comparison: comparison.title.clone(),
            side: index.min(1),
            name: spoken(&side.name),
            files: code.files.len(),
            cells: [
                count(code.logical_lines),
                count(code.functions),
                count(code.cyclomatic),
                count(code.cognitive),
                code.dependencies.map_or_else(|| "–".to_owned(), count),
                code.dependencies_bytes.map_or_else(|| "–".to_owned(), size),
            ],
        })
    };
    comparison.sides.iter().enumerate().filter_map(row).collect()
}

fn size(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { quantity(bytes as f64, crate::document::Unit::Bytes) }
}

fn error_rows<'a>(comparison: &'a Comparison) -> Vec<ErrorRow<'a>> {
    let row = |error: &'a InjectedError| {
        let InjectedError { side, neighbours_failed, recovery_seconds, .. } = error;
        ErrorRow {
            comparison: &comparison.title,
            side: side_of(comparison, side),
            name: spoken(side),
            neighbours: neighbours_failed.map_or_else(|| "–".to_owned(), |(failed, all)| format!("{failed} of {all} failed")),
            recovery: recovery_seconds
                .map_or_else(|| "–".to_owned(), |seconds| quantity(seconds, crate::document::Unit::Seconds)),
            error,
        }
    };
    comparison.errors.iter().map(row).collect()
}

fn side_rows<'a>(comparison: &'a Comparison) -> Vec<SideRow<'a>> {
    let row = |(index, side): (usize, &'a Side)| SideRow {
        comparison: &comparison.title,
        index: index.min(1),
        name: spoken(&side.name),
        side,
    };
    comparison.sides.iter().enumerate().map(row).collect()
}
