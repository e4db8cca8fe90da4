//! What a service's workers are: a command, an environment and a policy, made from settings.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::backoff::Backoff;
use crate::broker;
use crate::interpreter::{self, Interpreter, Language, NotFound, Surroundings};
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
    /// Longest time of a call that does not say its own: `Some(None)` is without limit; `None` as [`CallsSpec`] says.
    pub call_timeout: Option<Option<Duration>>,
    /// Its workers start with the first call instead of at once.
    pub when_called: bool,
    /// It runs what belongs to no other service of its language.
    pub implicit: bool,
    /// Folders whose files are its own; canonical.
    pub folders: Vec<PathBuf>,
}

/// Everything that a supervisor runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The services.
    pub services: Vec<ServiceSpec>,
    /// How they are called.
    pub calls: CallsSpec,
}

/// What callers are told, and how long they wait for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallsSpec {
    /// Longest time of a call that does not say its own; `None` has no limit.
    pub timeout: Option<Duration>,
    /// Calls under way from one process to one worker.
    pub in_flight_max: usize,
    /// Bytes of a call's arguments, or of its result.
    pub message_bytes_max: u64,
    /// Calls that wait in one worker for a thread.
    pub queue_max: usize,
    /// What processes are told of shared memory.
    pub shared: SharedSpec,
    /// Longest wait for a worker of the called service to be ready.
    pub start_timeout: Duration,
    /// Languages in which nothing can be called that belongs to no service, and why.
    pub missing: Vec<(Language, String)>,
}

/// Shared memory of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSpec {
    /// Least bytes of an array that cross in it; `None`: only what the program asked for does.
    pub bytes_min: Option<u64>,
    /// Bytes that one process may hold.
    pub bytes_max: u64,
}

impl CallsSpec {
    /// The timeout of a service's calls as processes are told it: in ms as a CALL can say them, 0 for none.
    pub(crate) fn timeout_ms(&self, service: &ServiceSpec) -> u32 {
        service.call_timeout.unwrap_or(self.timeout).map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))
    }
}

impl Default for CallsSpec {
    fn default() -> CallsSpec {
        CallsSpec {
            timeout: Some(Duration::from_secs(30)),
            in_flight_max: 1024,
            message_bytes_max: 64 << 20,
            queue_max: 1024,
            shared: SharedSpec { bytes_min: Some(64 << 10), bytes_max: 1 << 30 },
            start_timeout: START_TIMEOUT,
            missing: Vec::new(),
        }
    }
}

impl From<Vec<ServiceSpec>> for Plan {
    fn from(services: Vec<ServiceSpec>) -> Plan {
        Plan { services, calls: CallsSpec::default() }
    }
}

/// What a supervisor's services are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests and calls: each runs its application.
    Serve,
    /// Calls alone: a service has its interpreter, environment and folder, but its application is not loaded, and nothing
    /// starts before it is called.
    Call,
}

impl Plan {
    /// From settings. `runtime` is the folder that [`find_runtime`] found, `home` the folder to which code belongs that
    /// belongs to no service.
    ///
    /// # Errors
    /// When a service cannot be started; see [`ServiceSpec::for_service`].
    pub fn for_settings(settings: &config::Settings, purpose: Purpose, runtime: &Path, home: &Path) -> Result<Plan, SpecError> {
        let drain = settings.timeouts.drain;
        let spec = |service| match purpose {
            Purpose::Serve => ServiceSpec::for_service(service, runtime, settings.threads, drain),
            Purpose::Call => ServiceSpec::for_calls(service, runtime, drain),
        };
        let mut services = settings.services.iter().map(spec).collect::<Result<Vec<_>, _>>()?;
        let mut missing = Vec::new();
        for language in [Language::Node, Language::Python] {
            match ServiceSpec::implicit(language, settings, runtime, home) {
                Ok(spec) => services.push(spec),
                Err(SpecError(why)) => missing.push((language, why)),
            }
        }
        let calls = &settings.calls;
        let calls = CallsSpec {
            timeout: calls.timeout,
            in_flight_max: calls.in_flight_max,
            message_bytes_max: calls.message_bytes_max,
            queue_max: calls.queue_max,
            shared: SharedSpec { bytes_min: calls.shared_bytes_min, bytes_max: calls.shared_bytes_max },
            start_timeout: calls.start_timeout,
            missing,
        };
        Ok(Plan { services, calls })
    }

    /// The services whose workers a change of this file concerns.
    pub fn holders(&self, file: &Path) -> Vec<Arc<str>> {
        broker::holders(file, self.services.iter())
    }

    /// The service that runs a file when it is called.
    pub fn service_of(&self, language: Language, file: &Path) -> Option<&ServiceSpec> {
        let name = broker::choose(&broker::Resolve::file(language, file), self.services.iter()).ok()?;
        self.services.iter().find(|spec| spec.name == name)
    }
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

/// Longest name of a caller that is kept for the log, in bytes.
pub(crate) const BROKER_NAME_MAX: usize = 128;

/// Waits that settings do not name.
const EXIT_GRACE: Duration = Duration::from_secs(1);
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// As a service's own section would say by default.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(30) };

impl ServiceSpec {
    /// How closely its folders hold a file: how deep the closest of them is; `None` if none holds it.
    pub(crate) fn closeness(&self, file: &Path) -> Option<usize> {
        let holding = self.folders.iter().filter(|folder| file.starts_with(folder));
        holding.map(|folder| folder.components().count()).max()
    }

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
            call_timeout: service.call_timeout,
            when_called: false,
            implicit: false,
            folders: folders_of(service),
        })
    }

    /// The same, for workers that take calls alone.
    ///
    /// # Errors
    /// When no interpreter is found, or the working folder does not exist.
    pub fn for_calls(service: &config::Service, runtime: &Path, drain: Duration) -> Result<ServiceSpec, SpecError> {
        let mut spec = ServiceSpec::for_service(service, runtime, 0, drain)?;
        let arguments = calls_arguments(spec.worker.interpreter.language, runtime).map_err(SpecError)?;
        spec.worker.args = service.interpreter_args.iter().map(OsString::from).chain(arguments).collect();
        spec.policy.links = 0;
        spec.when_called = true;
        Ok(spec)
    }

    /// The service for what belongs to no other: `node` or `python`, started by the first call.
    ///
    /// # Errors
    /// When no interpreter is found, or the runtime is incomplete.
    fn implicit(language: Language, settings: &config::Settings, runtime: &Path, home: &Path) -> Result<ServiceSpec, SpecError> {
        let surroundings = Surroundings::from_env(&[]);
        let found: Result<Interpreter, NotFound> = match language {
            Language::Node => interpreter::find_node(None, &surroundings),
            Language::Python => {
                // `bireme serve web/server.js` may call what stands beside the server, with an environment there.
                let folders = settings.services.iter().flat_map(folders_of).chain([home.to_path_buf()]);
                let folder = folders.rev().find(|folder| interpreter::has_environment(folder));
                let folder = folder.unwrap_or_else(|| home.to_path_buf());
                interpreter::find_python(None, &folder, &folder, &surroundings)
            }
        };
        let interpreter = found.map_err(|error| SpecError(error.to_string()))?;
        let name = language.as_str();
        let taken = settings.services.iter().any(|service| &*service.name == name);
        Ok(ServiceSpec {
            name: if taken { format!("{name}-calls").into() } else { name.into() },
            worker: WorkerSpec {
                interpreter,
                args: calls_arguments(language, runtime).map_err(SpecError)?,
                env: Vec::new(),
                cwd: home.to_path_buf(),
                options: "{}".to_owned(),
            },
            policy: Policy {
                workers: settings.calls.workers,
                links: 0,
                // Who raises the callers' patience means that code needs as long to load.
                start_timeout: START_TIMEOUT.max(settings.calls.start_timeout),
                drain_timeout: settings.timeouts.drain,
                stop_timeout: STOP_TIMEOUT,
                exit_grace: EXIT_GRACE,
                stable_after: STABLE_AFTER,
                backoff: BACKOFF,
                recycle_requests: None,
                recycle_memory_bytes: None,
                hang_timeout: None,
            },
            call_timeout: None,
            when_called: true,
            implicit: true,
            folders: Vec::new(),
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

/// Folders whose files are a service's own: where it works, and where its application lies.
fn folders_of(service: &config::Service) -> Vec<PathBuf> {
    let app = match &service.app {
        config::App::Node { entry } => entry.parent().map(Path::to_path_buf),
        config::App::Python { target } => {
            let module = target.split(':').next().unwrap_or_default();
            module.rsplit_once('.').map(|(package, _)| service.cwd.join(package.replace('.', "/")))
        }
    };
    let folders = std::iter::once(service.cwd.clone()).chain(app);
    folders.map(|folder| folder.canonicalize().unwrap_or(folder)).collect()
}

/// What follows the interpreter in a worker that takes calls alone.
fn calls_arguments(language: Language, runtime: &Path) -> Result<Vec<OsString>, String> {
    Ok(match language {
        Language::Node => vec![
            "--require".into(),
            runtime_file(runtime, "node/src/boot.cjs")?.into(),
            runtime.join("node/src/calls-main.cjs").into(),
        ],
        Language::Python => vec![runtime_file(runtime, "python/launch.py")?.into(), "--calls".into()],
    })
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A service for tests that start nothing.
    pub(crate) fn spec(name: &str, language: Language, folders: &[&str], implicit: bool) -> ServiceSpec {
        let interpreter = Interpreter { language, path: "/bin/false".into(), why: String::new() };
        ServiceSpec {
            name: name.into(),
            worker: WorkerSpec { interpreter, args: Vec::new(), env: Vec::new(), cwd: "/".into(), options: "{}".to_owned() },
            policy: Policy {
                workers: 1,
                links: 0,
                start_timeout: START_TIMEOUT,
                drain_timeout: STOP_TIMEOUT,
                stop_timeout: STOP_TIMEOUT,
                exit_grace: EXIT_GRACE,
                stable_after: STABLE_AFTER,
                backoff: BACKOFF,
                recycle_requests: None,
                recycle_memory_bytes: None,
                hang_timeout: None,
            },
            call_timeout: None,
            when_called: implicit,
            implicit,
            folders: folders.iter().map(PathBuf::from).collect(),
        }
    }
}
