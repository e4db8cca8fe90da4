//! From arguments, environment and file to settings; nothing below reads any of the three.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use config::{File, Flag, Flags, Mistake, Resolved, Settings, Sources};
use supervise::{Plan, Purpose};

use crate::Stop;
use crate::arguments::{ProjectArguments, ServeArguments};

/// The file that is read when no other is named.
pub const FILE_NAME: &str = "bireme.toml";
/// A configuration is written by hand; what is larger is another file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads everything anew, as at the start and at each reload.
pub fn settings(arguments: &ServeArguments) -> Result<Resolved, Stop> {
    resolve(arguments, Use::Serve)
}

/// The same for development: one thread and one worker a service unless told otherwise, and pages that show errors.
pub fn settings_for_dev(arguments: &ServeArguments) -> Result<Resolved, Stop> {
    let mut resolved = resolve(arguments, Use::Develop)?;
    resolved.settings.dev = true;
    Ok(resolved)
}

/// The same for commands that serve nothing: a folder without `bireme.toml` will do.
pub fn project(arguments: &ProjectArguments) -> Result<Resolved, Stop> {
    let ProjectArguments { config, set } = arguments.clone();
    resolve(&ServeArguments { config, set, ..ServeArguments::default() }, Use::Call)
}

/// What settings are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Serve,
    Develop,
    Call,
}

fn resolve(arguments: &ServeArguments, purpose: Use) -> Result<Resolved, Stop> {
    let current = current_folder()?;
    let sources = Sources {
        file: file(arguments, &current)?,
        environment: environment()?,
        flags: flags(arguments)?,
        cores: if purpose == Use::Develop { 1 } else { available_parallelism().map_or(1, usize::from) },
        current,
        calls_only: purpose == Use::Call,
    };
    let passed_over = sources.file.is_none() && sources.current.join(FILE_NAME).is_file();
    let mut resolved = config::resolve(&sources).map_err(|errors| Stop::Usage(errors.to_string()))?;
    if passed_over {
        let what = format!("{FILE_NAME} is not read, since applications are named; add --config {FILE_NAME} to use it as well");
        resolved.warnings.push(Mistake { place: None, what });
    }
    Ok(resolved)
}

/// What is started for the settings; code of no service runs in the configuration's folder, or in the current one.
pub fn plan(settings: &Settings, purpose: Purpose, runtime: &Path) -> Result<Plan, Stop> {
    Plan::for_settings(settings, purpose, runtime, &home(settings)?).map_err(|error| Stop::Failed(error.to_string()))
}

/// The project's folder: the configuration file's, or the current one.
pub fn home(settings: &Settings) -> Result<PathBuf, Stop> {
    match settings.file.as_deref().and_then(Path::parent) {
        Some(folder) => Ok(folder.to_path_buf()),
        None => current_folder(),
    }
}

fn current_folder() -> Result<PathBuf, Stop> {
    env::current_dir().map_err(|error| Stop::Failed(format!("the current folder cannot be read: {error}")))
}

/// The settings' routes as crate `route` takes them.
pub fn rules(settings: &Settings) -> Vec<route::Rule> {
    let rule = |route: &config::Route| route::Rule {
        hosts: route.hosts.clone(),
        methods: route.methods.clone(),
        path: route.path.clone(),
    };
    settings.routes.iter().map(rule).collect()
}

/// Reads the routes' patterns; a mistake is said with its place.
pub fn table(settings: &Settings) -> Result<route::Table, Stop> {
    route::Table::new(rules(settings)).map_err(|error| {
        let place = settings.routes.get(error.rule).map(|route| format!("{}: ", route.place));
        Stop::Usage(format!("{}{error}", place.unwrap_or_default()))
    })
}

fn file(arguments: &ServeArguments, current: &Path) -> Result<Option<File>, Stop> {
    let variable = || env::var_os("BIREME_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    let (path, required) = match arguments.config.clone().or_else(variable) {
        Some(path) => (path, true),
        None if arguments.targets.is_empty() => (PathBuf::from(FILE_NAME), false),
        None => return Ok(None),
    };
    let name = path.display().to_string();
    let absolute: PathBuf = current.join(&path).components().collect();
    match read(&absolute) {
        Ok(text) => Ok(Some(File { path: absolute, name, text })),
        Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Stop::Usage(format!("{name}: the configuration cannot be read: {error}"))),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn environment() -> Result<Vec<(String, String)>, Stop> {
    let mut found = Vec::new();
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("BIREME_")) else { continue };
        match value.into_string() {
            Ok(value) => found.push((name.to_owned(), value)),
            Err(_) => return Err(Stop::Usage(format!("environment variable {name}: its value is not UTF-8"))),
        }
    }
    found.sort();
    Ok(found)
}

fn flags(arguments: &ServeArguments) -> Result<Flags, Stop> {
    let flag = |name: &str, key: &str, values: Vec<String>| Flag { name: name.to_owned(), key: key.to_owned(), values };
    let single = [
        ("--workers", "workers", &arguments.workers),
        ("--threads", "threads", &arguments.threads),
        ("--tls-cert", "tls.certificate", &arguments.tls_cert),
        ("--tls-key", "tls.key", &arguments.tls_key),
        ("--log-format", "log_format", &arguments.log_format),
        ("--log-level", "log_level", &arguments.log_level),
        ("--access-log", "access_log.format", &arguments.access_log),
        ("--access-log-path", "access_log.path", &arguments.access_log_path),
        ("--runtime-dir", "runtime_dir", &arguments.runtime_dir),
    ];
    let mut values = Vec::new();
    if !arguments.listen.is_empty() {
        values.push(flag("--listen", "listen", arguments.listen.clone()));
    }
    for (name, key, value) in single {
        values.extend(value.iter().map(|value| flag(name, key, vec![value.clone()])));
    }
    for text in &arguments.set {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Stop::Usage(format!("--set {text}: write KEY=VALUE, such as --set timeouts.response=5m")));
        };
        values.push(flag(&format!("--set {key}"), key, vec![value.to_owned()]));
    }
    Ok(Flags { values, targets: arguments.targets.clone(), args: arguments.args.clone(), routes: arguments.route.clone() })
}
