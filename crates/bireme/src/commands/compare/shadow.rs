//! `bireme compare --shadow-report`: what a running server's shadows say.

use std::process::ExitCode;

use compare::Outcome;
use compare::document::{Comparison, Kind};

use super::arguments::CompareArguments;
use super::session::Session;
use crate::Stop;
use crate::arguments::ServerArguments;
use crate::control::Server;

/// Asks the server that was started with `--config`, or the only one there is.
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Stop> {
    let which = ServerArguments { config: arguments.config.clone(), pid: arguments.pid, ..ServerArguments::default() };
    let status = Server::find(&which)?.status;
    let comparisons: Vec<Comparison> = serde_json::from_value(status["shadows"].clone())
        .map_err(|error| Stop::Failed(format!("the server is of another version and says nothing of shadows: {error}")))?;
    if comparisons.is_empty() {
        return Err(Stop::Failed(
            "no request has been copied yet; a route of the server needs shadow = \"SERVICE\", and requests".to_owned(),
        ));
    }
    let mut session = Session::begin(Kind::Shadow, &arguments.measure, Vec::new())?;
    for comparison in comparisons {
        session.add(Outcome { comparison, stopped: None })?;
    }
    session.finish()
}
