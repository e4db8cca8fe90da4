//! `bireme compare`: what is compared, where the results go, and how the run ends. How it is measured is up to `compare`.

pub mod arguments;
mod functions;
mod progress;
mod report;
mod session;

use std::process::ExitCode;

use crate::Stop;
use arguments::{CompareArguments, CompareCommand};

/// Exit status 0 when the run went as planned, 1 when it failed, 130 when it was interrupted; results are kept in all cases.
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Stop> {
    match &arguments.what {
        Some(CompareCommand::Report(arguments)) => report::run(arguments),
        None => functions::run(arguments),
    }
}
