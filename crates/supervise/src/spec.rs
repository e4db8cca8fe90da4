//! What a service's workers are: a command, an environment and a policy, made from settings.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::backoff::Backoff;
use crate::interpreter::{self, Interpreter, Surroundings};
use crate::machine::Policy;

/// How to start one worker process. Nothing here differs between the workers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSpec {
    /// The program, and why that one.
    pub interpreter: Interpreter,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables on top of the front's own environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working folder.
    pub cwd: PathBuf,
    /// `BIREME_OPTIONS`: a JSON object.
    pub options: String,
}

/// A service, as the supervisor sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name; unique.
    pub name: Arc<str>,
    /// How to start a worker.
    pub worker: WorkerSpec,
    /// How its workers live.
    pub policy: Policy,
}

/// A service that cannot be started; displays what, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(String);

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

/// Waits that settings do not name.
const EXIT_GRACE: Duration = Duration::from_secs(1);
const STABLE_AFTER: Duration = Duration::from_secs(1);

impl ServiceSpec {
    /// From settings. `runtime` is the folder that [`find_runtime`] found, `links` the number of front threads and
    /// `drain` how long streams may go on after a worker has been retired.
    ///
    /// # Errors
    /// When no interpreter is found, or the working folder or the entry does not exist.
    pub fn for_service(
        service: &config::Service,
        runtime: &Path,
        links: usize,
        drain: Duration,
    ) -> Result<ServiceSpec, SpecError> {
        Ok(ServiceSpec {
            name: service.name.clone(),
            worker: WorkerSpec::for_service(service, runtime)?,
            policy: Policy {
                workers: service.workers.max(1),
                links: links.max(1),
                start_timeout: service.start_timeout,
                drain_timeout: drain,
                stop_timeout: service.stop_timeout,
                exit_grace: EXIT_GRACE,
                stable_after: STABLE_AFTER,
                backoff: Backoff { min: service.restart_delay_min, max: service.restart_delay_max },
                recycle_requests: service.recycle_requests,
                recycle_memory_bytes: service.recycle_memory_bytes,
                hang_timeout: service.hang_timeout,
            },
        })
    }
}

impl WorkerSpec {
    /// From settings and the runtime's folder: looks at files, runs nothing.
    ///
    /// # Errors
    /// When no interpreter is found, or the working folder or the entry does not exist.
    pub fn for_service(service: &config::Service, runtime: &Path) -> Result<WorkerSpec, SpecError> {
        let name = &service.name;
        let fault = |text: String| SpecError(format!("service {name}: {text}"));
        if !service.cwd.is_dir() {
            return Err(fault(format!("its working folder {} is not a folder", service.cwd.display())));
        }
        let surroundings = Surroundings::from_env(&service.env);
        let setting = service.interpreter.as_deref();
        let mut args: Vec<OsString> = service.interpreter_args.iter().map(OsString::from).collect();
        let interpreter = match &service.app {
            config::App::Node { entry } => {
                if !entry.exists() {
                    return Err(fault(format!("its program {} does not exist", entry.display())));
                }
                args.push("--require".into());
                args.push(runtime_file(runtime, "node/src/boot.cjs").map_err(fault)?.into());
                args.push(entry.into());
                interpreter::find_node(setting, &surroundings)
            }
            config::App::Python { target } => {
                args.push(runtime_file(runtime, "python/launch.py").map_err(fault)?.into());
                args.push(target.into());
                interpreter::find_python(setting, &service.cwd, &service.root, &surroundings)
            }
        };
        let interpreter = interpreter.map_err(|error| fault(error.to_string()))?;
        args.extend(service.args.iter().map(OsString::from));
        Ok(WorkerSpec {
            interpreter,
            args,
            env: service.env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            cwd: service.cwd.clone(),
            options: options(service),
        })
    }
}

/// `BIREME_OPTIONS` as `protocol/README.md` lists them.
fn options(service: &config::Service) -> String {
    let mut options = Map::new();
    match service.app {
        config::App::Node { .. } => {
            if let Some(port) = service.port {
                options.insert("port".to_owned(), port.into());
            }
        }
        config::App::Python { .. } => {
            let interface = match service.interface {
                config::Interface::Auto => "auto",
                config::Interface::Asgi => "asgi",
                config::Interface::Wsgi => "wsgi",
            };
            let lifespan = match service.lifespan {
                config::Lifespan::Auto => "auto",
                config::Lifespan::On => "on",
                config::Lifespan::Off => "off",
            };
            let event_loop = match service.event_loop {
                config::EventLoop::Auto => "auto",
                config::EventLoop::Asyncio => "asyncio",
                config::EventLoop::Uvloop => "uvloop",
            };
            options.insert("interface".to_owned(), interface.into());
            options.insert("lifespan".to_owned(), lifespan.into());
            options.insert("loop".to_owned(), event_loop.into());
            options.insert("factory".to_owned(), service.factory.into());
            if let Some(threads) = service.threads_max {
                options.insert("threads_max".to_owned(), threads.into());
            }
        }
    }
    Value::Object(options).to_string()
}

fn runtime_file(runtime: &Path, name: &str) -> Result<PathBuf, String> {
    let file = runtime.join(name);
    if file.is_file() {
        return Ok(file);
    }
    Err(format!(
        "the workers' runtime is incomplete: {} does not exist; build it with `cargo xtask build`, reinstall Bireme, or set BIREME_RUNTIME",
        file.display()
    ))
}

/// Finds the folder with the workers' runtimes: `setting` (what `BIREME_RUNTIME` says), or beside the executable
/// `executable`: `runtime`, or `../lib/bireme`.
///
/// # Errors
/// When none of them is a folder.
pub fn find_runtime(setting: Option<&Path>, executable: &Path) -> Result<PathBuf, SpecError> {
    if let Some(setting) = setting {
        return match std::path::absolute(setting) {
            Ok(path) if path.is_dir() => Ok(path),
            _ => Err(SpecError(format!("BIREME_RUNTIME is {}, which is not a folder", setting.display()))),
        };
    }
    // A link in a bin folder leads to where the package is.
    let executable = executable.canonicalize().unwrap_or_else(|_| executable.to_path_buf());
    let folder = executable.parent().unwrap_or(Path::new("/"));
    let places = [folder.join("runtime"), folder.join("../lib/bireme")];
    places.iter().find(|place| place.is_dir()).cloned().ok_or_else(|| {
        SpecError(format!(
            "the workers' runtime is neither in {} nor in {}: reinstall Bireme, or set BIREME_RUNTIME",
            places[0].display(),
            places[1].display()
        ))
    })
}
