//! `bireme compare web ml --route '/api/quote/*' --requests requests.http`

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use compare::Cancel;
use compare::document::{Finding, Kind, Side};
use compare::equality::Likeness;
use compare::load::connection::Request;
use compare::redact::Secrets;
use compare::requests::{self, Plain, Read};
use compare::routes::{self, Injections, Recording, Routes, ServiceLevel};
use compare::server::ServerLauncher;
use compare::subject::Subject;
use config::{App, Service};
use supervise::{Surroundings, find_python};
use tempfile::NamedTempFile;
use toml::{Table, Value};

use super::arguments::{CompareArguments, MeasureArguments};
use super::fairness;
use super::functions::measure_code;
use super::progress;
use super::session::Session;
use crate::arguments::ServeArguments;
use crate::{Stop, load};

/// Open connections of the load generator.
const CONNECTIONS_MAX: usize = 256;

/// Compares two services of a configuration.
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Stop> {
    let [left, right] = &arguments.sides[..] else {
        return Err(Stop::Usage("name two services of bireme.toml, such as web ml".to_owned()));
    };
    let Asked { plain, requests, recording, mut left_out } = Asked::read(arguments)?;
    // Errors are made by one request again and again; of a recording that is one that only reads.
    let failing = plain.iter().find(|request| recording.is_none() || request.method == "GET");
    let injections = match failing {
        Some(request) => Injections::at_the_boundary(request, &secret_word()).map_err(Stop::Usage)?,
        None => {
            left_out
                .push("errors are not tried: that takes a GET, as other requests may change what they are sent to".to_owned());
            Injections::default()
        }
    };
    let mut pair = Pair::of(arguments.config.as_deref(), [left, right], arguments.route.as_deref(), &arguments.measure)?;
    for (side, program) in pair.sides.iter_mut().zip(&pair.programs) {
        measure_code(side, &program.entry, &program.folder, &program.interpreter);
    }
    let kind = if recording.is_some() { Kind::Replay } else { Kind::Routes };
    let mut session = Session::begin(kind, &arguments.measure, pair.findings.clone())?;
    let service_level = ServiceLevel { p99_seconds: arguments.measure.service_level / 1e3 };
    session.secrets = Secrets::of(&plain);
    session.document.settings.service_level = Some(service_level.to_string());
    let routes = Routes {
        subject: Subject {
            name: arguments.route.clone().unwrap_or_else(|| "all requests".to_owned()),
            title: format!(
                "{left} and {right}{}",
                arguments.route.as_ref().map(|route| format!(", {route}")).unwrap_or_default()
            ),
            criterion: None,
            note: None,
            sides: pair.sides,
            launchers: pair.launchers.clone(),
        },
        services: pair.services.clone(),
        requests,
        status_alone: Vec::new(),
        likeness: Likeness { tolerance: arguments.measure.tolerance, ignored: arguments.measure.ignore.clone() },
        service_level,
        injections,
        timeout: Duration::from_secs_f64(arguments.measure.timeout),
        connections_max: CONNECTIONS_MAX,
    };
    // Recorded requests may change what they are sent to; those that only read may be sent once more.
    let asked: Vec<_> =
        routes.requests.iter().filter(|request| recording.is_none() || request.name.starts_with("GET ")).cloned().collect();
    session.add_findings(seen_of(
        &routes.subject.sides,
        &pair.services,
        &pair.launchers,
        &asked,
        routes.timeout,
        &session.cancel,
    ));
    let settings = session.document.settings.clone();
    let mut watch = progress::printer("");
    let mut outcome = match &recording {
        Some(recording) => routes::replay(&routes, recording, &settings, &session.cancel, &mut watch),
        None => routes::compare(&routes, &settings, &session.cancel, &mut watch),
    };
    outcome.comparison.remarks.extend(left_out);
    session.add(outcome)?;
    session.finish()
}

/// What the services are asked.
struct Asked {
    plain: Vec<Plain>,
    requests: Vec<Request>,
    /// With `--replay`.
    recording: Option<Recording>,
    /// What of the file is not asked, for people.
    left_out: Vec<String>,
}

impl Asked {
    fn read(arguments: &CompareArguments) -> Result<Asked, Stop> {
        let Some(file) = arguments.requests.as_ref().or(arguments.replay.as_ref()) else {
            return Err(Stop::Usage(
                "--requests is missing: a .http file, a HAR or an access log; or --replay with a HAR".to_owned(),
            ));
        };
        let wrong = |error: String| Stop::Usage(format!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
        let table = pattern(arguments.route.as_deref())?;
        let wanted = |request: &Plain| {
            let path = request.target.split('?').next().unwrap_or_default();
            !matches!(table.find(request.method.as_bytes(), b"", path.as_bytes()), route::Match::NotFound)
        };
        let (plain, entries, left_out) = if arguments.replay.is_some() {
            let Read { requests, left_out } = requests::entries(&text, &wanted).map_err(wrong)?;
            (requests.iter().map(|entry| entry.request.clone()).collect(), Some(requests), left_out)
        } else {
            let Read { requests, left_out } = requests::read(file, &text, &wanted).map_err(wrong)?;
            (requests, None, left_out)
        };
        let requests = plain.iter().map(Plain::to_request).collect::<Result<Vec<_>, String>>().map_err(wrong)?;
        let recording = entries.map(|entries| Recording { entries, speed: arguments.speed });
        let left_out = left_out.into_iter().map(|what| format!("{}: {what}", file.display())).collect();
        Ok(Asked { plain, requests, recording, left_out })
    }
}

/// What both services show of themselves before anything is timed; nothing if one does not start, which the run itself will say.
pub fn seen_of(
    sides: &[Side; 2],
    services: &[String; 2],
    launchers: &[ServerLauncher; 2],
    requests: &[Request],
    timeout: Duration,
    cancel: &Cancel,
) -> Vec<Finding> {
    let look = |at: usize| compare::fairness::look(&sides[at], &services[at], &launchers[at], requests, timeout, cancel);
    match (look(0), look(1)) {
        (Ok(left), Ok(right)) => compare::fairness::judge([&left, &right]),
        _ => Vec::new(),
    }
}

/// Known to this run's launches that are to fail, and to the requests that make them.
fn secret_word() -> String {
    // The hashers' keys are the system's randomness; 64 bits of it outlast a launch of seconds on loopback.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// What the services answer, to tell requests apart that are for others.
fn pattern(route: Option<&str>) -> Result<route::Table, Stop> {
    let rule = route::Rule { path: route.unwrap_or("/*").to_owned(), ..route::Rule::default() };
    route::Table::new(vec![rule]).map_err(|error| Stop::Usage(format!("--route {:?}: {}", error.text, error.why)))
}

/// Two services of one configuration, each served alone.
pub struct Pair {
    pub sides: [Side; 2],
    pub launchers: [ServerLauncher; 2],
    pub services: [String; 2],
    pub findings: Vec<Finding>,
    pub programs: [Program; 2],
    /// Kept while the services are launched; the files go with it.
    _configurations: Vec<NamedTempFile>,
}

impl Pair {
    /// Reads the configuration as `bireme serve` does, and writes one for each service beside it, for paths in it are relative.
    pub fn of(file: Option<&Path>, names: [&str; 2], route: Option<&str>, measure: &MeasureArguments) -> Result<Pair, Stop> {
        let mut serve = ServeArguments { config: file.map(Path::to_owned), ..ServeArguments::default() };
        let services = load::settings(&serve)?.settings.services;
        let interpreters = names.map(|name| {
            let service = services.iter().find(|service| &*service.name == name);
            service.and_then(|service| interpreter_setting(service, measure))
        });
        serve.set = interpreters.iter().flatten().cloned().collect();
        let settings = load::settings(&serve)?.settings;
        let path = settings.file.clone().ok_or_else(|| {
            Stop::Usage(
                "there is no bireme.toml here; name functions as FILE:FUNCTION, or a configuration with --config".to_owned(),
            )
        })?;
        let found = names.map(|name| settings.services.iter().find(|service| &*service.name == name));
        let [Some(left), Some(right)] = found else {
            let known: Vec<&str> = settings.services.iter().map(|service| &*service.name).collect();
            let missing = names.iter().find(|name| !known.contains(name)).copied().unwrap_or_default();
            return Err(Stop::Usage(format!("{}: no service {missing:?}; there are {}", path.display(), known.join(", "))));
        };
        if names[0] == names[1] {
            return Err(Stop::Usage(format!("{} cannot be compared with itself; name two services", names[0])));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| Stop::Usage(format!("{}: {error}", path.display())))?;
        let whole: Table = text.parse().map_err(|error| Stop::Usage(format!("{}: {error}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut configurations = Vec::new();
        let mut launchers = Vec::new();
        let rules = names.map(|name| rule(&whole, name, route));
        for ((name, rule), interpreter) in names.into_iter().zip(&rules).zip(interpreters) {
            let configuration = write(&folder, &alone(&whole, name, rule.clone()))?;
            let mut launcher = launcher(name, configuration.path(), &folder, measure.timeout)?;
            launcher.arguments.extend(interpreter.into_iter().flat_map(|setting| ["--set".into(), setting.into()]));
            launchers.push(launcher);
            configurations.push(configuration);
        }
        let (second, first) = (launchers.remove(1), launchers.remove(0));
        Ok(Pair {
            sides: [side(left), side(right)],
            launchers: [first, second],
            services: names.map(str::to_owned),
            programs: [Program::of(left), Program::of(right)],
            findings: fairness::of_services([left, right], &whole, [&rules[0], &rules[1]], fairness::variable),
            _configurations: configurations,
        })
    }
}

/// The setting by which `--node` or `--python` takes the place of a service's interpreter.
fn interpreter_setting(service: &Service, measure: &MeasureArguments) -> Option<String> {
    let path = match &service.app {
        App::Node { .. } => measure.node.as_ref()?,
        App::Python { .. } => measure.python.as_ref()?,
    };
    // A name that is no file here is looked up on the path.
    let path = if path.exists() { std::path::absolute(path).unwrap_or_else(|_| path.clone()) } else { path.clone() };
    Some(format!("service.{}.interpreter={}", service.name, path.display()))
}

/// Where a service's code begins.
pub struct Program {
    entry: PathBuf,
    folder: PathBuf,
    /// Empty if there is none; its packages are then not counted.
    interpreter: PathBuf,
}

impl Program {
    fn of(service: &Service) -> Program {
        let surroundings = Surroundings::from_env(&service.env);
        let folder = service.cwd.clone();
        match &service.app {
            App::Node { entry } => Program { entry: folder.join(entry), folder, interpreter: PathBuf::new() },
            App::Python { target } => {
                let module = target.split(':').next().unwrap_or_default().replace('.', "/");
                let file = folder.join(format!("{module}.py"));
                let entry = if file.is_file() { file } else { folder.join(module).join("__init__.py") };
                let found = find_python(service.interpreter.as_deref(), &folder, &service.root, &surroundings);
                Program { entry, folder, interpreter: found.map(|found| found.path).unwrap_or_default() }
            }
        }
    }
}

/// The configuration with this service alone: what the front does besides would be measured with it.
fn alone(whole: &Table, name: &str, rule: Table) -> Table {
    let mut one = whole.clone();
    for key in ["listen", "tls", "access_log", "runtime_dir", "log_format"] {
        one.remove(key);
    }
    if let Some(Value::Table(services)) = one.get_mut("service") {
        services.retain(|service, _| service == name);
    }
    one.insert("route".to_owned(), Value::Array(vec![Value::Table(rule)]));
    one
}

/// The rule by which a service is served: the configuration's own, if it has one for this pattern.
fn rule(whole: &Table, name: &str, route: Option<&str>) -> Table {
    let wanted = route.unwrap_or("/*");
    let same = |rule: &&Value| {
        rule.get("to").and_then(Value::as_str) == Some(name) && rule.get("match").and_then(Value::as_str) == Some(wanted)
    };
    let rules = whole.get("route").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut rule = rules.iter().find(same).and_then(Value::as_table).cloned().unwrap_or_default();
    rule.insert("match".to_owned(), wanted.into());
    rule.insert("to".to_owned(), name.into());
    for key in ["shadow", "sample"] {
        rule.remove(key);
    }
    rule
}

fn write(folder: &Path, configuration: &Table) -> Result<NamedTempFile, Stop> {
    let failed = |error: std::io::Error| {
        Stop::Failed(format!("{}: no file can be written beside the configuration: {error}", folder.display()))
    };
    let mut file = tempfile::Builder::new().prefix(".bireme-compare-").suffix(".toml").tempfile_in(folder).map_err(failed)?;
    file.write_all(configuration.to_string().as_bytes()).map_err(failed)?;
    Ok(file)
}

/// `bireme serve` of this very binary.
pub fn launcher(name: &str, configuration: &Path, folder: &Path, timeout: f64) -> Result<ServerLauncher, Stop> {
    let program =
        std::env::current_exe().map_err(|error| Stop::Failed(format!("where this program lies is unknown: {error}")))?;
    let mut arguments = vec!["serve".into(), "--config".into(), configuration.into()];
    arguments.extend(["--listen", "127.0.0.1:0"].map(Into::into));
    Ok(ServerLauncher {
        name: name.to_owned(),
        program,
        arguments,
        environment: Vec::new(),
        folder: folder.to_owned(),
        patience: Duration::from_secs_f64(timeout),
    })
}

fn side(service: &Service) -> Side {
    let (language, target) = match &service.app {
        App::Node { entry } => ("node", entry.display().to_string()),
        App::Python { target, .. } => ("python", target.clone()),
    };
    Side {
        name: service.name.to_string(),
        language: language.to_owned(),
        target,
        workers: u32::try_from(service.workers).ok(),
        ..Side::default()
    }
}
