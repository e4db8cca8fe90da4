//! `bireme call`: one function, called from the command line.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use contract::{RemoteError, Target, Value, from_json, to_json};
use supervise::{Language, Purpose};
use tokio::signal::unix::{SignalKind, signal};

use super::run::language_of;
use super::serve::runtime_folder;
use crate::arguments::{CallArguments, CalledLanguage};
use crate::broker::{Broker, event_loop};
use crate::caller::{self, Call, Given};
use crate::{Stop, load, log};

/// Prints the result as JSON on stdout, a stream's items as lines; errors with the stacks of both languages on stderr.
/// The exit status is that of the outcome (`docs/commands.md`).
pub fn run(arguments: &CallArguments) -> Result<ExitCode, Stop> {
    let call = parse(arguments)?;
    let mut project = arguments.project.clone();
    project.set.extend(arguments.timeout.iter().map(|timeout| format!("calls.timeout={timeout}")));
    let resolved = load::project(&project)?;
    let mut plan = load::plan(&resolved.settings, Purpose::Call, &runtime_folder()?)?;
    if arguments.timeout.is_some() {
        plan.services.iter_mut().for_each(|service| service.call_timeout = None);
    }
    let log =
        log::start_quiet(&resolved.settings.log).map_err(|error| Stop::Failed(format!("the log cannot be started: {error}")))?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let mut printed = Ok(());
    let outcome = event_loop()?.block_on(async {
        let failed = |error: io::Error| Stop::Failed(format!("signals cannot be received: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let broker = Broker::start(&resolved.settings, plan)?;
        let take = |given| {
            printed = print(given);
            printed.is_ok()
        };
        // Giving the call up closes its link, which cancels what runs.
        let outcome = tokio::select! {
            outcome = caller::call(broker.access(), call, take) => Some(outcome),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => Err(caller::failure("BIREME_CALL_CANCELLED", "interrupted".to_owned())),
        };
        broker
            .stop(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            })
            .await;
        Ok::<_, Stop>(outcome)
    })?;
    // What the workers printed comes before the error.
    drop(log);
    match (outcome, printed) {
        (Err(error), _) => {
            eprintln!("{error}");
            Ok(ExitCode::from(status(&error)))
        }
        // Whoever reads has enough.
        (Ok(()), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        (Ok(()), Err(error)) => Err(Stop::Failed(format!("stdout cannot be written: {error}"))),
        (Ok(()), Ok(())) => Ok(ExitCode::SUCCESS),
    }
}

fn print(given: Given) -> io::Result<()> {
    let values = match given {
        Given::Result(value) => vec![value],
        Given::Items(values) => values,
    };
    let mut stdout = io::stdout().lock();
    values.iter().try_for_each(|value| writeln!(stdout, "{}", to_json(value)))?;
    stdout.flush()
}

fn status(error: &RemoteError) -> u8 {
    match error.code.as_deref().unwrap_or_default() {
        "BIREME_NOT_FOUND" => 3,
        "BIREME_VALUE" | "BIREME_TOO_LARGE" => 4,
        "BIREME_UNAVAILABLE" | "BIREME_SERVICE_BUSY" | "BIREME_WORKER_LOST" | "BIREME_NO_BROKER" => 5,
        // As timeout(1) and shells say them.
        "BIREME_CALL_TIMEOUT" => 124,
        "BIREME_CALL_CANCELLED" => 130,
        _ => 1,
    }
}

fn parse(arguments: &CallArguments) -> Result<Call, Stop> {
    let (language, target, name) = function(&arguments.function, arguments.language)?;
    let read = |what: &str, text: &str| {
        from_json(text).map_err(|error| {
            let quoted = Value::from(text);
            Stop::Usage(format!(
                "{what} is no JSON: {error}\n  it is: {text}\n  a string is written with its quotes: '{}'",
                to_json(&quoted)
            ))
        })
    };
    let stdin = stdin_of(arguments)?;
    let given = |text| if text == "-" { stdin.as_str() } else { text };
    let args = arguments.args.iter().enumerate();
    let args = args.map(|(at, text)| read(&format!("argument {}", at + 1), given(text))).collect::<Result<_, _>>()?;
    let kwargs = match arguments.kwargs.as_deref().map(|text| read("--kwargs", given(text))).transpose()? {
        None => None,
        Some(Value::Object(kwargs)) => Some(kwargs),
        Some(_) => return Err(Stop::Usage("--kwargs is no JSON object; write --kwargs '{\"top\": 3}'".to_owned())),
    };
    Ok(Call { language, target, name, service: arguments.service.clone(), args, kwargs })
}

/// Stdin, where `-` stands for an argument or the keywords.
fn stdin_of(arguments: &CallArguments) -> Result<String, Stop> {
    let asked = arguments.args.iter().chain(&arguments.kwargs).filter(|text| *text == "-").count();
    match asked {
        0 => Ok(String::new()),
        1 => io::read_to_string(io::stdin().lock()).map_err(|error| Stop::Usage(format!("stdin cannot be read: {error}"))),
        _ => Err(Stop::Usage("stdin can be one argument only; write - once".to_owned())),
    }
}

/// `./model.py:predict`, `numpy:linalg.norm`, `./render.js` (its default export).
fn function(text: &str, language: Option<CalledLanguage>) -> Result<(Language, Target, String), Stop> {
    let language = language.map(|language| match language {
        CalledLanguage::Node => Language::Node,
        CalledLanguage::Python => Language::Python,
    });
    let (place, name) = match text.rsplit_once(':') {
        Some((place, name)) if !name.contains('/') => (place, Some(name)),
        _ => (text, None),
    };
    let by_name = language_of(Path::new(place));
    let (language, target) = if by_name.is_some() || place.contains('/') && !place.starts_with('@') {
        let language = language.or(by_name).ok_or_else(|| {
            Stop::Usage(format!("{place}: is this Python or JavaScript? Say so by --language python or --language node"))
        })?;
        let file = Path::new(place).canonicalize().ok().filter(|file| file.is_file());
        let file = file.ok_or_else(|| Stop::Usage(format!("{text}: the file {place} does not exist")))?;
        let file = file.into_os_string().into_string();
        (language, Target::File(file.map_err(|_| Stop::Usage(format!("{place}: its path is not UTF-8")))?))
    } else {
        (language.unwrap_or(Language::Python), Target::Module(place.to_owned()))
    };
    let name = match (name, language) {
        (Some(name), _) if !name.is_empty() => name.to_owned(),
        (None, Language::Node) => "default".to_owned(),
        _ => return Err(Stop::Usage(format!("{text} names no function; write {place}:FUNCTION"))),
    };
    Ok((language, target, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, language: Option<CalledLanguage>, expected: Result<(Language, &str, &str), &str>) {
        match (function(text, language), expected) {
            (Ok((language, target, name)), Ok(expected)) => {
                let (Target::File(place) | Target::Module(place)) = &target;
                assert_eq!((language, place.rsplit('/').next().unwrap(), &*name), expected);
                assert_eq!(matches!(target, Target::File(_)), place.starts_with('/'));
            }
            (Err(Stop::Usage(got)), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, _) => panic!("{got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn functions_are_named_by_file_or_module() {
        // Tests run in the crate's folder.
        check("src/main.rs:main", Some(CalledLanguage::Node), Ok((Language::Node, "main.rs", "main")));
        check("src/main.rs", Some(CalledLanguage::Node), Ok((Language::Node, "main.rs", "default")));
        check("src/main.rs:main", None, Err("--language python"));
        check("model.py:predict", None, Err("the file model.py does not exist"));
        check("./render.mjs", None, Err("the file ./render.mjs does not exist"));
        check("numpy:linalg.norm", None, Ok((Language::Python, "numpy", "linalg.norm")));
        check("node:os:cpus", Some(CalledLanguage::Node), Ok((Language::Node, "node:os", "cpus")));
        check("numpy", None, Err("write numpy:FUNCTION"));
        check("numpy:", None, Err("names no function"));
    }
}
