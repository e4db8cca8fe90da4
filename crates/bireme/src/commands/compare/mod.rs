//! `bireme compare`: what is compared, where the results go, and how the run ends. How it is measured is up to `compare`.

pub mod arguments;
mod diff;
mod fairness;
mod functions;
mod progress;
mod report;
mod reproduce;
mod routes;
mod session;
mod shadow;
mod suite;

use std::process::ExitCode;

use crate::Stop;
use arguments::{CompareArguments, CompareCommand};

/// Exit status 0 when the run went as planned; 1 when it failed or a condition of `--fail-if` holds or could not be judged; 130
/// when it was interrupted. Results are kept in all cases.
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Stop> {
    match &arguments.what {
        Some(CompareCommand::Report(arguments)) => return report::run(arguments),
        Some(CompareCommand::Suite(arguments)) => return suite::run(arguments),
        Some(CompareCommand::Diff(arguments)) => return diff::run(arguments),
        None => {}
    }
    if arguments.shadow_report {
        return shadow::run(arguments);
    }
    if let Some(file) = &arguments.reproduce {
        return reproduce::run(file, &arguments.measure);
    }
    let named_like_a_function = |side: &String| side.contains(':') || side.contains('/');
    if arguments.input.is_some() || arguments.sides.iter().any(named_like_a_function) {
        functions::run(arguments)
    } else {
        routes::run(arguments)
    }
}
