//! The arguments of `bireme compare`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use compare::condition::Condition;

pub const EXAMPLES: &str = "\
Examples:
  bireme compare ./score.js:score ./score.py:score --input cases.jsonl
  bireme compare web ml --route '/api/quote/*' --requests requests.http
  bireme compare suite json numeric --quick
  bireme compare diff old/compare.json new/compare.json
  bireme compare report old/compare.json
  bireme compare --reproduce old/compare.json

Answers are compared before anything is timed; while they differ, there is no verdict on speed.
Every launch is a fresh process; verdicts rest on launches, not on calls. Results go to --out:
compare.json holds all that was measured, by the schema docs/compare.schema.json, and compare.html
is the report for people.";

/// What a run that is repeated has from the first one.
const REPEATED: [&str; 22] = [
    "sides",
    "input",
    "mix",
    "requests",
    "replay",
    "speed",
    "route",
    "config",
    "shadow_report",
    "quick",
    "thorough",
    "blocks",
    "launch",
    "rest",
    "seed",
    "tolerance",
    "ignore",
    "equal_within",
    "service_level",
    "timeout",
    "node",
    "python",
];

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct CompareArguments {
    #[command(subcommand)]
    pub what: Option<CompareCommand>,

    /// Two functions, FILE:FUNCTION each, or two services of bireme.toml
    #[arg(value_name = "SIDE", num_args = 2)]
    pub sides: Vec<String>,

    /// The functions' input: one JSON value a line
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Also call each function from the other language, across a call and over HTTP
    #[arg(long, requires = "input")]
    pub mix: bool,

    /// What the services are asked: a .http file, a HAR, or an access log for its GETs
    #[arg(long, value_name = "FILE")]
    pub requests: Option<PathBuf>,

    /// Recorded traffic: a HAR, whose sessions are replayed in order, with cookies and CSRF tokens of now
    #[arg(long, value_name = "FILE", conflicts_with = "requests")]
    pub replay: Option<PathBuf>,

    /// Pace of a replay: 1 keeps the recorded pauses, 2 halves them, 0 leaves none
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = pace, requires = "replay")]
    pub speed: f64,

    /// The path that both services answer, as in bireme.toml [default: /*]
    #[arg(long, value_name = "PATTERN")]
    pub route: Option<String>,

    /// The services' configuration [default: bireme.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Report what copies of live requests say, of a running server whose routes have a shadow
    #[arg(long, conflicts_with = "sides")]
    pub shadow_report: bool,

    /// With --shadow-report: the server with this process id
    #[arg(long, value_name = "PID", requires = "shadow_report")]
    pub pid: Option<u32>,

    /// Repeat the run that wrote this compare.json, with its arguments, folder and order of launches; only --out and --fail-if may be
    /// given beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = REPEATED)]
    pub reproduce: Option<PathBuf>,

    #[command(flatten)]
    pub measure: MeasureArguments,
}

#[derive(Clone, Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in a run")]
pub enum CompareCommand {
    /// Measure the suite's workloads in both languages
    Suite(SuiteArguments),
    /// Show what changed between two runs
    Diff(DiffArguments),
    /// Write the report of a compare.json anew, or its verdicts as Markdown
    Report(ReportArguments),
}

#[derive(Clone, Debug, Args)]
pub struct ReportArguments {
    /// What a run left
    #[arg(value_name = "COMPARE.JSON")]
    pub file: PathBuf,

    /// File to write; one that ends in .md gets the verdicts as a table [default: beside the first, ending in .html]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct SuiteArguments {
    /// Workloads, such as json numeric [default: all]
    #[arg(value_name = "WORKLOAD")]
    pub workloads: Vec<String>,

    /// The folder with the workloads
    #[arg(long, value_name = "FOLDER", default_value = "suite")]
    pub folder: PathBuf,

    #[command(flatten)]
    pub measure: MeasureArguments,
}

#[derive(Clone, Debug, Args)]
pub struct DiffArguments {
    /// compare.json of the earlier run
    #[arg(value_name = "OLD")]
    pub old: PathBuf,

    /// compare.json of the later run
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
}

/// How anything is measured.
#[derive(Clone, Debug, Default, Args)]
pub struct MeasureArguments {
    /// Folder for the results [default: one named by date below ./bireme-compare]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,

    /// About a minute, of a suite for each workload: fewer and shorter launches
    #[arg(long, conflicts_with = "thorough")]
    pub quick: bool,

    /// Half an hour and more, of a suite for each workload: more and longer launches
    #[arg(long)]
    pub thorough: bool,

    /// Blocks of four launches each, at least 6 [default: 10; quick: 6; thorough: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(6..=1000))]
    pub blocks: Option<u32>,

    /// Seconds that each launch is measured [default: 12; quick: 1.2; thorough: 20]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub launch: Option<f64>,

    /// Seconds of rest before memory is looked at once more after load [default: 30; quick: none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub rest: Option<f64>,

    /// Repeats the order of launches of another run
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Relative difference between numbers of two answers that counts as none
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part)]
    pub tolerance: f64,

    /// Part of an answer that is not compared, such as '$.items[*].id'; may be repeated
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,

    /// Sides within this part of each other count as equally good
    #[arg(long, value_name = "PART", default_value_t = 0.05, value_parser = part)]
    pub equal_within: f64,

    /// Exit with status 1 if this holds, with confidence, such as 'python.p99 > 1.2 * node.p99'; may be repeated
    #[arg(long, value_name = "CONDITION", value_parser = Condition::parse)]
    pub fail_if: Vec<Condition>,

    /// p99 in milliseconds below which a rate counts as carried
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50.0, value_parser = milliseconds)]
    pub service_level: f64,

    /// Seconds after which a start or an answer is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    pub timeout: f64,

    /// Node: a program [default: node from PATH]
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,

    /// Python: a program or a virtual environment [default: as for `bireme serve`]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.05..=3600.0).contains(&value) => Ok(value),
        _ => Err("write seconds between 0.05 and 3600, such as 2.5".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=60_000.0).contains(&value) => Ok(value),
        _ => Err("write milliseconds between 0.1 and 60000, such as 50".to_owned()),
    }
}

fn part(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    match number.parse::<f64>().map(|value| value * scale) {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("write a part between 0 and 1, such as 0.05 or 5%".to_owned()),
    }
}

fn pace(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value == 0.0 || (0.01..=1000.0).contains(&value) => Ok(value),
        _ => Err("write a factor between 0.01 and 1000, or 0 for no pauses".to_owned()),
    }
}
