//! `bireme doctor`: what Bireme finds on this machine, and what stands in its way.

use std::process::{Command, ExitCode};

use config::App;
use rustix::process::{Resource, getrlimit};
use supervise::{Interpreter, Language, NotFound, RunDirectory, Surroundings, find_node, find_python};

use super::serve::runtime_folder;
use crate::arguments::ServeArguments;
use crate::{Stop, load, say};

/// Exit status 1 if something that serving needs is missing.
pub fn run(arguments: &ServeArguments) -> Result<ExitCode, Stop> {
    let mut report = Report { broken: 0 };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    report.good("bireme", &format!("{} on {} cores", env!("CARGO_PKG_VERSION"), cores))?;
    report.say(
        "runtime",
        runtime_folder().map(|folder| folder.display().to_string()).map_err(|stop| match stop {
            Stop::Usage(text) | Stop::Failed(text) => text,
        }),
    )?;
    // A machine without any application is worth a look too.
    let settings = match load::settings(arguments) {
        Ok(resolved) => Some(resolved.settings),
        Err(Stop::Usage(text) | Stop::Failed(text)) => {
            let text = text.replace('\n', "\n               ");
            say(format_args!("{:<14} none is used: {text}", "configuration"))?;
            None
        }
    };
    if let Some(file) = settings.as_ref().and_then(|settings| settings.file.as_ref()) {
        report.good("configuration", &file.display().to_string())?;
    }
    let base = settings.as_ref().and_then(|settings| settings.runtime_dir.clone());
    let folder =
        RunDirectory::create(base.as_deref()).map(|folder| folder.path().parent().unwrap_or(folder.path()).display().to_string());
    report.say("sockets", folder.map_err(|error| error.to_string()))?;
    report.open_files(settings.as_ref().map(|settings| settings.limits.connections_max))?;

    match settings {
        Some(settings) => {
            for service in &settings.services {
                let surroundings = Surroundings::from_env(&service.env);
                let setting = service.interpreter.as_deref();
                let found = match service.app {
                    App::Node { .. } => find_node(setting, &surroundings),
                    App::Python { .. } => find_python(setting, &service.cwd, &service.root, &surroundings),
                };
                report.interpreter(&service.name, found)?;
            }
        }
        None => {
            let surroundings = Surroundings::from_env(&[]);
            let current = std::env::current_dir().unwrap_or_else(|_| "/".into());
            report.interpreter("node", find_node(None, &surroundings))?;
            report.interpreter("python", find_python(None, &current, &current, &surroundings))?;
        }
    }
    Ok(if report.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    broken: usize,
}

impl Report {
    fn good(&self, what: &str, text: &str) -> Result<(), Stop> {
        say(format_args!("{what:<14} {text}"))
    }

    fn say(&mut self, what: &str, found: Result<String, String>) -> Result<(), Stop> {
        match found {
            Ok(text) => self.good(what, &text),
            Err(text) => {
                self.broken += 1;
                say(format_args!("{what:<14} PROBLEM: {text}"))
            }
        }
    }

    fn interpreter(&mut self, name: &str, found: Result<Interpreter, NotFound>) -> Result<(), Stop> {
        let said = found.map_err(|error| error.to_string()).and_then(|interpreter| {
            let version = version(&interpreter)?;
            let described =
                format!("{} {version} at {} ({})", interpreter.language.as_str(), interpreter.path.display(), interpreter.why);
            match interpreter.language.check_version(&version) {
                Ok(()) => Ok(described),
                Err((error, hint)) => Err(format!("{described}: {error}; {hint}")),
            }
        });
        self.say(name, said)
    }

    /// A connection takes one open file; workers' links and files being served take some more.
    fn open_files(&mut self, connections_max: Option<usize>) -> Result<(), Stop> {
        let limit = getrlimit(Resource::Nofile).maximum;
        let text = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let wanted = connections_max.unwrap_or(0) as u64;
        match limit.filter(|limit| *limit < wanted + 256) {
            None => self.good("open files", &text),
            Some(limit) => self.say(
                "open files",
                Err(format!(
                    "at most {limit}, too few for limits.connections_max = {wanted}; raise the hard limit (ulimit -Hn, LimitNOFILE=) \
                     or lower the setting"
                )),
            ),
        }
    }
}

fn version(interpreter: &Interpreter) -> Result<String, String> {
    let program = &interpreter.path;
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().trim_start_matches("Python ").trim_start_matches('v').to_owned();
    if output.status.success() && !version.is_empty() {
        return Ok(version);
    }
    let language = if interpreter.language == Language::Node { "Node.js" } else { "Python" };
    Err(format!(
        "{} --version says nothing about {language}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}
