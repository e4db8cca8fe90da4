//! `bireme`: serves Node and Python applications behind one front.
//!
//! The binary knows the command line, the environment and the log. What it serves and how is up to `config`, `front` and
//! `supervise`.

mod arguments;
mod broker;
mod caller;
mod commands;
mod control;
mod load;
mod log;
mod metrics;
mod shadow;
mod systemd;
mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => commands::serve::run(arguments),
        Command::Dev(arguments) => commands::serve::develop(arguments),
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Call(arguments) => commands::call::run(&arguments),
        Command::Types(arguments) => commands::types::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Reload(arguments) => commands::reload::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::Compare(arguments) => commands::compare::run(&arguments),
        Command::Config(arguments) => commands::config::run(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Broker(arguments) => commands::broker::run(&arguments),
    };
    result.unwrap_or_else(|stop| {
        eprintln!("{}", stop.text());
        stop.status()
    })
}

/// Prints a line to stdout. A reader that has enough and leaves, as `head` does, is no failure.
fn say(line: impl Display) -> Result<(), Stop> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::Failed(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Why a command ends without having done its work.
#[derive(Debug)]
enum Stop {
    /// The configuration or the arguments are wrong: exit status 2, as for a flag that does not exist.
    Usage(String),
    /// Something else failed: exit status 1.
    Failed(String),
}

impl Stop {
    fn text(&self) -> &str {
        let (Stop::Usage(text) | Stop::Failed(text)) = self;
        text
    }

    fn status(&self) -> ExitCode {
        match self {
            Stop::Usage(_) => ExitCode::from(2),
            Stop::Failed(_) => ExitCode::from(1),
        }
    }
}
