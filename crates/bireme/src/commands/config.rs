//! `bireme config`: the configuration, and what one may write.

use std::process::ExitCode;

use crate::arguments::{ConfigArguments, ConfigCommand};
use crate::{Stop, load, say};

/// Prints to stdout, so that it can be redirected to a file.
pub fn run(arguments: &ConfigArguments) -> Result<ExitCode, Stop> {
    match &arguments.what {
        ConfigCommand::Schema => say(format_args!("{:#}", config::schema()))?,
        ConfigCommand::Show(arguments) => {
            let resolved = load::settings(arguments)?;
            for warning in &resolved.warnings {
                eprintln!("warning: {warning}");
            }
            let mut text = String::new();
            config::show(&resolved.shown, &mut text).map_err(|error| Stop::Failed(error.to_string()))?;
            say(text.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
