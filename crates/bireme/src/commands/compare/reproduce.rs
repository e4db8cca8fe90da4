//! `bireme compare --reproduce compare.json`: the same run again.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use super::arguments::{CompareCommand, MeasureArguments};
use crate::Stop;
use crate::arguments::{Arguments, Command};

/// Runs with the arguments, the folder and the seed of the run that wrote `file`. Results go to a new folder, in the folder
/// of then, unless `--out` names one. Conditions of `--fail-if` that are given now take the place of those of then.
pub fn run(file: &Path, measure: &MeasureArguments) -> Result<ExitCode, Stop> {
    let document = super::diff::read(file)?;
    let words = ["bireme", "compare"].map(str::to_owned).into_iter().chain(document.arguments.iter().cloned());
    let parsed = Arguments::try_parse_from(words)
        .map_err(|error| Stop::Usage(format!("{}: this version does not take the arguments of then: {error}", file.display())))?;
    let Command::Compare(mut arguments) = parsed.command else {
        return Err(Stop::Usage(format!("{}: it holds the arguments of another command", file.display())));
    };
    if arguments.reproduce.is_some() {
        return Err(Stop::Usage(format!("{}: it repeats a run itself; name the first one", file.display())));
    }
    let out = measure.out.as_ref().map(std::path::absolute).transpose();
    let out = out.map_err(|error| Stop::Failed(format!("the current folder cannot be read: {error}")))?;
    std::env::set_current_dir(&document.folder)
        .map_err(|error| Stop::Usage(format!("{}: the folder of then, {}: {error}", file.display(), document.folder)))?;
    let settings = match &mut arguments.what {
        Some(CompareCommand::Suite(suite)) => &mut suite.measure,
        _ => &mut arguments.measure,
    };
    settings.seed = Some(document.settings.seed);
    settings.out = out;
    if !measure.fail_if.is_empty() {
        settings.fail_if.clone_from(&measure.fail_if);
    }
    eprintln!("repeating: bireme compare {}, in {}", document.arguments.join(" "), document.folder);
    super::run(&arguments)
}
