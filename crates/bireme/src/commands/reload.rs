//! `bireme reload`

use std::process::ExitCode;

use crate::arguments::ReloadArguments;
use crate::control::{Request, Server};
use crate::{Stop, say};

/// Returns when the new workers serve, or says why the old ones still do.
pub fn run(arguments: &ReloadArguments) -> Result<ExitCode, Stop> {
    let server = Server::find(&arguments.server)?;
    let answer = server.ask(Request::Reload)?;
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        eprintln!("warning: {}", warning.as_str().unwrap_or_default());
    }
    say(format_args!("reloaded in {} ms", answer["took_ms"]))?;
    Ok(ExitCode::SUCCESS)
}
