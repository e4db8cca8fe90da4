//! The arguments of `bireme compare`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub const EXAMPLES: &str = "\
Examples:
  bireme compare ./score.js:score ./score.py:score --input cases.jsonl
  bireme compare report bireme-compare/2026-11-24T10-00-00/compare.json

Answers are compared before anything is timed; while they differ, there is no verdict on speed.
Every launch is a fresh process; verdicts rest on launches, not on calls. Results go to --out:
compare.json with everything that was measured, by the schema docs/compare.schema.json, and
compare.html, the report for people.";

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct CompareArguments {
    #[command(subcommand)]
    pub what: Option<CompareCommand>,

    /// Two functions, FILE:FUNCTION each
    #[arg(value_name = "SIDE", num_args = 2)]
    pub sides: Vec<String>,

    /// The functions' input: one JSON value a line
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    #[command(flatten)]
    pub measure: MeasureArguments,
}

#[derive(Clone, Debug, Subcommand)]
pub enum CompareCommand {
    /// Write the report of a compare.json anew
    Report(ReportArguments),
}

#[derive(Clone, Debug, Args)]
pub struct ReportArguments {
    /// What a run left
    #[arg(value_name = "COMPARE.JSON")]
    pub file: PathBuf,

    /// File to write [default: beside the first, ending in .html]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How anything is measured.
#[derive(Clone, Debug, Default, Args)]
pub struct MeasureArguments {
    /// Folder for the results [default: one named by date below ./bireme-compare]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,

    /// About a minute: fewer and shorter launches
    #[arg(long, conflicts_with = "thorough")]
    pub quick: bool,

    /// Half an hour and more: more and longer launches
    #[arg(long)]
    pub thorough: bool,

    /// Blocks of four launches each, at least 6 [default: 10; quick: 6; thorough: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(6..=1000))]
    pub blocks: Option<u32>,

    /// Seconds that each launch is measured [default: 12; quick: 1.2; thorough: 20]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub launch: Option<f64>,

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

fn part(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    match number.parse::<f64>().map(|value| value * scale) {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("write a part between 0 and 1, such as 0.05 or 5%".to_owned()),
    }
}
