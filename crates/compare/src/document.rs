//! `compare.json`: everything a comparison found, and what it found it from.
//!
//! The report, `--reproduce`, `diff` and `--fail-if` read nothing else. `docs/compare.schema.json` is derived from these
//! types. Times are seconds and sizes bytes, as numbers, unless a name or a `unit` says otherwise; what was not measured is
//! absent, never zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the schema: rises when a reader of the older one would misunderstand.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run of `bireme compare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Version of this schema.
    pub schema_version: u32,
    /// Version of Bireme.
    pub bireme: String,
    /// What was compared.
    pub kind: Kind,
    /// When it began (RFC 3339).
    pub started: String,
    /// How long it took.
    pub took_seconds: f64,
    /// Why it ended before its plan, if it did: what is here is then usable but less.
    pub interrupted: Option<String>,
    /// Arguments after `bireme compare`, so that it can be repeated.
    pub arguments: Vec<String>,
    /// The folder in which they hold.
    pub folder: String,
    /// Where it ran.
    pub machine: Machine,
    /// How it was measured.
    pub settings: Settings,
    /// What made it unfair or unfit, found before it started.
    pub fairness: Vec<Finding>,
    /// One for each function, route or workload compared.
    pub comparisons: Vec<Comparison>,
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Functions,
    Routes,
    Replay,
    Shadow,
    Suite,
    Mix,
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Such as `Linux 6.1.0 x86_64`.
    pub system: String,
    /// The processor's name.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// The frequency governor, where the kernel says.
    pub governor: Option<String>,
    /// Load average over a minute when it began: runnable processes.
    pub load: f64,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Length of the run that was asked for.
    pub effort: Effort,
    /// All orders, bootstraps and arrivals follow from it.
    pub seed: u64,
    /// Blocks planned; a block is four launches, each side twice, as ABBA or BAAB.
    pub blocks: u32,
    /// Time each launch is measured.
    pub launch_seconds: f64,
    /// Confidence of every interval, such as 0.95.
    pub confidence: f64,
    /// Ratios within `1 / (1 + x)` and `1 + x` count as equal.
    pub equal_within: f64,
    /// Relative difference between numbers of two answers that counts as none.
    pub tolerance: f64,
    /// JSON paths that are not compared.
    pub ignored: Vec<String>,
    /// The service level under which a rate counts as carried, such as `p99 < 50ms`.
    pub service_level: Option<String>,
    /// Time between load and the look at memory after it; absent where that is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_seconds: Option<f64>,
}

/// Length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// About a minute.
    Quick,
    /// About ten minutes.
    Default,
    /// Half an hour and more.
    Thorough,
}

/// Something about the conditions that a reader has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The side it is about; absent for both or the machine.
    pub side: Option<String>,
    /// What is the case.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Tilts the comparison.
    Warning,
    /// No verdict should be drawn.
    Unfit,
}

/// Two sides, measured against each other on one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Unique in the document: the function, route or workload.
    pub name: String,
    /// For people.
    pub title: String,
    /// The article's criterion a workload of the suite stands for.
    pub criterion: Option<Criterion>,
    /// What makes this comparison unfair and how that was avoided, as Markdown; the suite has one for each workload.
    pub note: Option<String>,
    /// The two sides: `sides[0]` is "left" below, `sides[1]` "right".
    pub sides: Vec<Side>,
    /// Whether they answer the same.
    pub equality: Equality,
    /// One row of the table each.
    pub measures: Vec<Measure>,
    /// What the measures were computed from.
    pub launches: Vec<Launch>,
    /// Anything drawn as lines: against load, concurrency, workers, time.
    pub curves: Vec<Curve>,
    /// What happened when errors were injected.
    pub errors: Vec<InjectedError>,
    /// Sentences a team can use, such as "Python is enough below 420 requests/s at p99 < 50 ms".
    pub rules: Vec<String>,
    /// What was not measured and why, or must be read with care.
    pub remarks: Vec<String>,
}

/// The chapters of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Criterion {
    Performance,
    Scalability,
    Memory,
    Start,
    Errors,
    Versatility,
    Code,
}

/// One of the two things compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Unique in the comparison: `node`, `python`, or the service's name.
    pub name: String,
    /// `node`, `python`, or what a shadow or a foreign server is.
    pub language: String,
    /// The interpreter's version.
    pub version: Option<String>,
    /// The interpreter.
    pub interpreter: Option<String>,
    /// What runs: `./score.js:score`, or a service's application.
    pub target: String,
    /// Worker processes.
    pub workers: Option<u32>,
    /// Facts that change speed: `loop: uvloop`, `asynchronous`, `NODE_ENV=production`.
    pub facts: Vec<String>,
    /// Size and complexity of the code compared.
    pub code: Option<Code>,
}

/// Code metrics; a proxy for what it takes to learn and maintain, and no more than that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Code {
    /// The files counted.
    pub files: Vec<String>,
    /// Logical lines.
    pub logical_lines: u64,
    /// Sum over all functions.
    pub cyclomatic: u64,
    /// Sum over all functions.
    pub cognitive: u64,
    /// Functions and methods.
    pub functions: u64,
    /// Packages that the code depends on, with their own dependencies.
    pub dependencies: Option<u64>,
    /// Their size on disk.
    pub dependencies_bytes: Option<u64>,
}

/// Whether two sides answer the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Equality {
    /// Cases or requests compared.
    pub cases: u64,
    /// How often each was answered by each side, and by its twin.
    pub rounds: u32,
    /// What came out.
    pub outcome: Outcome,
    /// Every path at which anything differed, the worst first.
    pub differences: Vec<Difference>,
}

/// What comparing answers gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not compared.
    #[default]
    Unchecked,
    /// No difference, or none but noise.
    Equal,
    /// At least one difference that is none of noise: no speed verdict is given.
    Different,
}

/// A place in the answers at which something differed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// JSON path with `[*]` for any index, or `status`, `header content-type`, `body`, `error`.
    pub path: String,
    /// What it is taken for.
    pub class: DifferenceClass,
    /// Answers in which left and right differ here.
    pub across: u64,
    /// Answers in which left differs from its own twin.
    pub left_twin: u64,
    /// Answers in which right differs from its own twin.
    pub right_twin: u64,
    /// Answers compared.
    pub compared: u64,
    /// Fisher's exact test that left and right differ more often than twins do, Holm-adjusted over paths.
    pub p_value: f64,
    /// A few, to look at.
    pub examples: Vec<DifferenceExample>,
}

/// What a difference is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceClass {
    /// The sides differ and the twins do not, or significantly less often.
    Real,
    /// One side differs from its own twin now and then, where the other never does.
    Unstable,
    /// Both sides differ from their own twins as often: dates, ids, order.
    Noise,
}

/// One answer that differed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DifferenceExample {
    /// Which case or request.
    pub case: String,
    /// The exact path.
    pub path: String,
    /// What left said there; shortened; absent if there is nothing.
    pub left: Option<Value>,
    /// What right said there.
    pub right: Option<Value>,
}

/// One thing measured on both sides, and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// Stable: `latency_p50`, `latency_p99`, `throughput`, `cpu`, `memory_idle`, `memory_steady`, `memory_peak`, `memory_after`,
    /// `memory_least`, `start_cold`, `start_warm`, `error_cost`, `capacity`, …; unique together with `condition`.
    pub id: String,
    /// For people: "p99 latency".
    pub title: String,
    /// The chapter.
    pub criterion: Criterion,
    /// Of all values here.
    pub unit: Unit,
    /// Which is better.
    pub better: Better,
    /// "800 requests/s, 1 core"; empty when there is nothing to say.
    pub condition: String,
    /// Left's launches.
    pub left: Summary,
    /// Right's launches.
    pub right: Summary,
    /// How many times left's value right's is, over blocks; `None` when there are too few launches or the run is void.
    pub ratio: Option<Ratio>,
    /// The sentence.
    pub verdict: Verdict,
}

/// A unit; the report scales it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Unit {
    Seconds,
    Bytes,
    PerSecond,
    Count,
    Ratio,
}

/// Which values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Better {
    Less,
    More,
}

/// Values of one side, one for each launch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Launches.
    pub launches: u32,
    /// Median over launches, in the measure's unit, as the two below.
    pub median: f64,
    /// Least of the launches.
    pub least: f64,
    /// Greatest of the launches.
    pub greatest: f64,
    /// The true values are at least these: the generator was the limit of one launch or more.
    pub at_least: bool,
}

/// Right's value in units of left's, and how sure that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Geometric mean over blocks.
    pub estimate: f64,
    /// Of the interval by Student's t over the blocks' log ratios.
    pub low: f64,
    /// Of the interval by Student's t.
    pub high: f64,
    /// Of the percentile bootstrap over blocks.
    pub bootstrap_low: f64,
    /// Of the percentile bootstrap over blocks.
    pub bootstrap_high: f64,
    /// Student's t, two-sided.
    pub p_value: f64,
    /// Adjusted by Holm over the measures of this comparison.
    pub p_adjusted: f64,
    /// Sign-flip test over blocks, two-sided.
    pub p_sign_flip: f64,
    /// Cliff's delta over launches: 1 when every launch of right has a greater value than every one of left.
    pub cliffs_delta: f64,
    /// What two launches of the same side differed by in this run, as a factor ≥ 1: smaller effects are noise.
    pub noise: f64,
    /// Each block's ratio, in order.
    pub blocks: Vec<f64>,
}

/// What may be said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What kind of verdict.
    pub kind: VerdictKind,
    /// The better side's name, if there is one.
    pub winner: Option<String>,
    /// How many times better, ≥ 1, if there is a winner.
    pub factor: Option<f64>,
    /// One sentence.
    pub sentence: String,
    /// Blocks, beyond those there are, that would probably decide it, when it is inconclusive.
    pub blocks_more: Option<u32>,
}

/// Kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// A winner and how much.
    Better,
    /// A winner, but not how much.
    BetterSizeUncertain,
    /// Equal within the margin.
    Equal,
    /// Not enough data to say.
    Inconclusive,
    /// The load generator was the limit, so that the values do not say who is better.
    Void,
    /// The answers differ, so speed was not judged.
    AnswersDiffer,
}

/// One process launch: the unit of replication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Launch {
    /// Name of the side.
    pub side: String,
    /// Which block, from 0.
    pub block: u32,
    /// Place within the block, 0 to 3.
    pub position: u32,
    /// When it began, after the run did.
    pub began_seconds: f64,
    /// Values by the id of their measure (and `@condition`), in its unit. A key with `at_least:` before it says that the generator was
    /// the limit of the value of that key; `failed_concurrent` is the part of calls in flight that failed, where it was too much.
    pub values: std::collections::BTreeMap<String, f64>,
    /// How warm-up went.
    pub warm_up: Option<WarmUp>,
    /// Latencies after warm-up.
    pub latency: Option<Distribution>,
    /// Why it counts for nothing, if so.
    pub void: Option<String>,
}

/// What change points in a launch's latencies say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WarmUp {
    /// Kind of curve.
    pub class: WarmUpClass,
    /// When the steady state began; absent if there is none.
    pub steady_after_seconds: Option<f64>,
    /// Segments between change points.
    pub segments: Vec<Segment>,
}

/// Kinds of warm-up (after Barrett and others, "Virtual Machine Warmup Blows Hot and Cold", 2017).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarmUpClass {
    /// The same from the start.
    Flat,
    /// Faster at the end.
    WarmUp,
    /// Slower at the end.
    SlowDown,
    /// It changed until the end.
    NoSteadyState,
}

/// A stretch of a launch over which latency stayed the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// After the launch's first call.
    pub from_seconds: f64,
    /// After the launch's first call.
    pub to_seconds: f64,
    /// Typical latency.
    pub latency_seconds: f64,
}

/// Latencies of one launch, or of all launches of a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Calls or requests.
    pub count: u64,
    /// Pairs of a quantile (0 to 1) and seconds, ascending.
    pub quantiles: Vec<(f64, f64)>,
}

/// Lines to draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// Stable: `latency_distribution`, `latency_by_rate`, `throughput_by_concurrency`, `warm_up`, `memory_over_time`, …
    pub id: String,
    /// For people.
    pub title: String,
    /// The chapter.
    pub criterion: Criterion,
    /// The x axis.
    pub x: Axis,
    /// The y axis.
    pub y: Axis,
    /// One line each.
    pub series: Vec<Series>,
    /// What a fit to it says, such as the universal scalability law, or why there is none.
    pub remark: Option<String>,
}

impl Curve {
    /// A curve without a remark.
    pub fn new(id: &str, title: &str, criterion: Criterion, x: Axis, y: Axis, series: Vec<Series>) -> Curve {
        Curve { id: id.to_owned(), title: title.to_owned(), criterion, x, y, series, remark: None }
    }
}

impl Comparison {
    /// The curve with the id of `otherwise`, which is added if there is none.
    pub fn curve(&mut self, otherwise: Curve) -> &mut Curve {
        let at = self.curves.iter().position(|curve| curve.id == otherwise.id).unwrap_or_else(|| {
            self.curves.push(otherwise);
            self.curves.len() - 1
        });
        &mut self.curves[at]
    }
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Axis {
    /// "rate", "connections".
    pub title: String,
    /// Of the numbers.
    pub unit: Unit,
    /// Whether it reads better with logarithmic steps.
    pub logarithmic: bool,
}

impl Axis {
    /// One of even steps.
    pub fn even(title: &str, unit: Unit) -> Axis {
        Axis { title: title.to_owned(), unit, logarithmic: false }
    }

    /// One that reads better with logarithmic steps.
    pub fn logarithmic(title: &str, unit: Unit) -> Axis {
        Axis { logarithmic: true, ..Axis::even(title, unit) }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Name of the side.
    pub side: String,
    /// What sets it apart from the side's other lines; empty if there is one.
    pub label: String,
    /// x and y, ascending in x, in the units of the axes.
    pub points: Vec<(f64, f64)>,
}

/// What a side did with one kind of error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InjectedError {
    /// Name of the side.
    pub side: String,
    /// `throw`, `rejection`, `timeout`, `aborted_stream`, `allocation`, `crash`.
    pub error: String,
    /// Whether it could be injected; if not, `remark` says why.
    pub injected: bool,
    /// What the client saw: a status, or how the connection ended.
    pub answer: Option<String>,
    /// Whether that is the right answer.
    pub answer_right: Option<bool>,
    /// Neighbouring requests that failed while it happened, and how many there were.
    pub neighbours_failed: Option<(u64, u64)>,
    /// Whether the log has a stack that names the request.
    pub stack_tied: Option<bool>,
    /// Until the side answered again.
    pub recovery_seconds: Option<f64>,
    /// Anything else.
    pub remark: Option<String>,
}

/// The published schema.
pub fn schema() -> Value {
    schemars::schema_for!(Document).into()
}
