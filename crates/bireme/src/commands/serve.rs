//! `bireme serve`: load, bind, start, serve, drain.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::{Listen, LogFormat, Settings, Severity};
use front::{Bound, Commands, Front, Inherited};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use supervise::{Handle, Plan, Purpose, ReloadError, RunDirectory, ServiceStatus, StartError, Supervisor, Threads, find_runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::dev::Project;
use crate::arguments::ServeArguments;
use crate::control::{self, Asked, Request, Status, url};
use crate::shadow::Shadows;
use crate::{Stop, load, log, metrics, systemd};

/// Serves until it is told to stop. Exit status 0 after a drain in time, 1 if a service did not start or the supervisor
/// failed, 130 when the drain was cut short.
pub fn run(arguments: ServeArguments) -> Result<ExitCode, Stop> {
    serve(arguments, false)
}

/// The same for development: changed files give their services new workers, and a start that fails waits for the change
/// that repairs it.
pub fn develop(arguments: ServeArguments) -> Result<ExitCode, Stop> {
    serve(arguments, true)
}

fn serve(arguments: ServeArguments, dev: bool) -> Result<ExitCode, Stop> {
    let started = Instant::now();
    let inherited = systemd::sockets()?;
    let resolved = if dev { load::settings_for_dev(&arguments)? } else { load::settings(&arguments)? };
    verify(&resolved.settings)?;
    let settings = Arc::new(resolved.settings);
    let log = log::start(&settings.log).map_err(|error| Stop::Failed(format!("the log cannot be started: {error}")))?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Failed(format!("the runtime cannot be made: {error}")))?;
    let json = settings.log.format == LogFormat::Json;
    let status = runtime.block_on(async { Server::start(arguments, settings, started, inherited)?.serve().await });
    // A drain that a second signal has overtaken is still waiting in a thread; nobody waits for it.
    runtime.shutdown_background();
    let status = match status {
        // Whoever reads JSON reads nothing else.
        Err(stop) if json => {
            tracing::error!("{}", stop.text());
            Ok(stop.status())
        }
        status => status,
    };
    drop(log);
    status
}

/// The folder with the workers' runtimes.
pub fn runtime_folder() -> Result<PathBuf, Stop> {
    let setting = std::env::var_os("BIREME_RUNTIME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let executable =
        std::env::current_exe().map_err(|error| Stop::Failed(format!("where this program lies is unknown: {error}")))?;
    find_runtime(setting.as_deref(), &executable).map_err(|error| Stop::Failed(error.to_string()))
}

/// What `bireme check` calls errors stops a start as well as a reload.
fn verify(settings: &Settings) -> Result<(), Stop> {
    load::table(settings)?;
    let errors: Vec<String> = config::check(settings)
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.to_string())
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Stop::Usage(errors.join("\n"))) }
}

fn plan(settings: &Settings, runtime: &Path) -> Result<Plan, Stop> {
    load::plan(settings, Purpose::Serve, runtime)
}

/// Each connection is an open file, and the soft limit is often far below what the system allows.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on open files stays");
    }
}

/// A server that runs.
struct Server {
    arguments: ServeArguments,
    settings: Arc<Settings>,
    started: Instant,
    runtime: PathBuf,
    listen: Vec<Listen>,
    unix_paths: Vec<PathBuf>,
    /// Where Bireme's own sockets are.
    folder: PathBuf,
    /// `None` once it drains.
    front: Arc<Mutex<Option<Front>>>,
    supervisor: Handle,
    shadows: Shadows,
    control: mpsc::Receiver<Asked>,
    signals: Signals,
    /// In development.
    project: Option<Project>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

struct FrontThreads(Commands);

impl Threads for FrontThreads {
    fn count(&self) -> usize {
        self.0.threads()
    }

    fn send(&self, thread: usize, command: link::Command) {
        self.0.send(thread, command);
    }
}

/// What made the server do something.
enum Cause {
    Stop(&'static str),
    Reload,
    Changed(BTreeSet<PathBuf>),
    Asked(Asked),
    /// The supervisor's thread is over, and every worker with it.
    Abandoned,
}

/// How a start ended.
enum Started {
    Ready(Vec<ServiceStatus>),
    Failed(StartError),
    Stopped(&'static str),
}

impl Server {
    /// Opens the sockets before any worker is started: an address in use should cost nothing. Clients are accepted
    /// from the start; their requests wait for the first worker.
    fn start(
        arguments: ServeArguments,
        settings: Arc<Settings>,
        started: Instant,
        inherited: Vec<Inherited>,
    ) -> Result<Server, Stop> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| Stop::Failed(format!("{what}: {error}"))
        };
        let signals = Signals::new().map_err(failed("signals cannot be received"))?;
        let runtime = runtime_folder()?;
        let plan = plan(&settings, &runtime)?;
        let project = settings.dev.then(|| Project::new(&settings, plan.clone())).transpose()?;
        let folder = RunDirectory::create(settings.runtime_dir.as_deref()).map_err(failed("no folder for sockets"))?;
        let (path, folder) = (folder.path().to_owned(), Arc::new(folder));
        let bound = if inherited.is_empty() {
            Bound::open(&settings.listen, settings.threads).map_err(|error| Stop::Failed(error.to_string()))?
        } else {
            tracing::info!("the service manager has opened the sockets; `listen` is not used");
            Bound::adopt(inherited, settings.threads).map_err(failed("an inherited socket can't be used"))?
        };
        let (listen, mut unix_paths) = (bound.addresses().to_vec(), bound.unix_paths().to_vec());
        let metrics = settings.metrics_listen.as_ref().map(Bound::open_apart).transpose();
        let metrics = metrics.map_err(|error| Stop::Failed(format!("metrics_listen: {error}")))?;
        let control = control::listen(&path).map_err(failed("the control socket cannot be opened"))?;
        let (mut front, events) = Front::start(settings.clone(), bound).map_err(|error| Stop::Failed(error.to_string()))?;
        let supervisor = Supervisor::start(folder, plan, FrontThreads(front.commands()), events)
            .map_err(failed("the supervisor cannot be started"))?;
        let shadows = Shadows::default();
        if let Some(samples) = front.take_samples() {
            shadows.gather(samples).map_err(failed("a thread cannot be started"))?;
        }
        let front = Arc::new(Mutex::new(Some(front)));
        if let Some((socket, address)) = metrics {
            let listener = metrics::Listener::new(socket).map_err(failed("the socket for metrics can't be used"))?;
            let sources = metrics::Sources { front: front.clone(), supervisor: supervisor.clone() };
            tokio::spawn(metrics::serve(listener, sources));
            tracing::info!("metrics at {}/metrics", url(&address, false));
            if let Listen::Unix(path) = address {
                unix_paths.push(path);
            }
        }
        Ok(Server {
            arguments,
            settings,
            started,
            runtime,
            listen,
            unix_paths,
            folder: path,
            front,
            supervisor,
            shadows,
            control,
            signals,
            project,
        })
    }

    async fn serve(mut self) -> Result<ExitCode, Stop> {
        match self.wait_ready().await {
            Started::Ready(services) => self.announce(&services),
            Started::Failed(error) if self.project.is_some() => {
                tracing::error!("service {} did not start: {}", error.service, error.failure);
                tracing::info!("on {}; waiting for the change that repairs it", self.addresses().join(" and "));
            }
            Started::Failed(error) => return self.give_up(&error).await,
            Started::Stopped(name) => {
                tracing::info!("{name}: stopping before the start was complete");
                return self.stop().await;
            }
        }
        loop {
            let Server { signals: Signals { terminate, interrupt, hangup }, control, project, supervisor, .. } = &mut self;
            let cause = tokio::select! {
                Some(changed) = Project::changed(project) => Cause::Changed(changed),
                _ = terminate.recv() => Cause::Stop("SIGTERM"),
                _ = interrupt.recv() => Cause::Stop("SIGINT"),
                _ = hangup.recv() => Cause::Reload,
                Some(asked) = control.recv() => Cause::Asked(asked),
                () = supervisor.ended() => Cause::Abandoned,
            };
            match cause {
                Cause::Stop(name) => {
                    tracing::info!("{name}: draining for at most {:?}", self.settings.timeouts.drain);
                    return self.stop().await;
                }
                Cause::Changed(paths) => self.take_up(&paths).await,
                Cause::Reload => {
                    let _ = self.reload("SIGHUP", None).await;
                }
                Cause::Asked((Request::Reload, reply)) => {
                    let result = self.reload("bireme reload", None).await;
                    let _ = reply.send(result);
                }
                Cause::Asked((Request::Status, reply)) => self.say_status(reply).await,
                Cause::Abandoned => {
                    tracing::error!("the supervisor has failed, and no worker is left: stopping; start Bireme again");
                    self.stop().await?;
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
    }

    /// Until every service has a ready worker. A reload by SIGHUP waits for that too.
    async fn wait_ready(&mut self) -> Started {
        let supervisor = self.supervisor.clone();
        let ready = supervisor.wait_ready();
        tokio::pin!(ready);
        loop {
            let Server { signals: Signals { terminate, interrupt, .. }, control, .. } = &mut *self;
            let (request, reply) = tokio::select! {
                ready = &mut ready => return ready.map_or_else(Started::Failed, Started::Ready),
                _ = terminate.recv() => return Started::Stopped("SIGTERM"),
                _ = interrupt.recv() => return Started::Stopped("SIGINT"),
                Some(asked) = control.recv() => asked,
            };
            match request {
                Request::Status => self.say_status(reply).await,
                Request::Reload => {
                    let _ = reply
                        .send(Err("nothing was changed: the server is still starting; try again when it is ready".to_owned()));
                }
            }
        }
    }

    /// Says what serves and where. The last line is the one that scripts wait for.
    fn announce(&self, services: &[ServiceStatus]) {
        for service in services {
            tracing::info!(
                "{}: {} {} at {} ({}), {}, {} {}",
                service.name,
                service.language,
                service.version.as_deref().unwrap_or("of unknown version"),
                service.interpreter.display(),
                service.why,
                service.kind.as_deref().unwrap_or("of unknown kind"),
                service.wanted,
                if service.wanted == 1 { "worker" } else { "workers" },
            );
        }
        let addresses = self.addresses();
        let took = self.started.elapsed().as_millis();
        if self.project.is_some() {
            tracing::info!("Ctrl-C stops; changed files are taken up by themselves");
        } else if self.settings.file.is_some() || services.len() > 1 {
            tracing::info!("Ctrl-C stops; `bireme reload` takes up changes, `bireme status` shows the workers");
        } else {
            tracing::info!("Ctrl-C stops; `bireme reload` takes up new code, `bireme status` shows the workers");
        }
        tracing::info!("ready on {} after {took} ms", addresses.join(" and "));
        systemd::ready(&format!("serving on {}", addresses.join(" and ")));
    }

    fn addresses(&self) -> Vec<String> {
        self.listen.iter().map(|address| url(address, self.settings.tls.is_some())).collect()
    }

    async fn status(&self) -> Status {
        let connections = lock(&self.front).as_ref().map_or(0, Front::connections);
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            config: self.settings.file.clone(),
            listen: self.addresses(),
            connections,
            services: self.supervisor.status().await,
            shadows: self.shadows.report(),
        }
    }

    async fn say_status(&self, reply: oneshot::Sender<Result<Value, String>>) {
        let status = serde_json::to_value(self.status().await);
        // Whoever asked may have gone.
        let _ = reply.send(status.map_err(|error| error.to_string()));
    }

    /// Reads everything anew and brings it into force, or says why the old stays. A stop that is asked for meanwhile
    /// is heard when the reload is over; start timeouts bound that.
    async fn reload(&mut self, why: &str, only: Option<BTreeSet<Arc<str>>>) -> Result<Value, String> {
        let began = Instant::now();
        tracing::info!("{why}: starting new workers beside the old");
        systemd::reloading();
        let result = self.try_reload(only).await;
        systemd::ready(if result.is_ok() { "reloaded" } else { "the reload failed; serving as before" });
        match &result {
            Ok(warnings) => {
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("reloaded in {took_ms} ms");
                Ok(json!({ "took_ms": took_ms, "warnings": warnings }))
            }
            Err(error) => {
                tracing::error!("the reload failed: {error}");
                Err(error.clone())
            }
        }
    }

    /// Gives new workers to the services that changed files are about.
    async fn take_up(&mut self, paths: &BTreeSet<PathBuf>) {
        let Some(project) = &self.project else { return };
        project.write_types(&self.settings);
        let Some(only) = project.concerned(&self.settings, paths) else { return };
        let name = paths.first().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
        let others = if paths.len() > 1 { format!(" and {} more", paths.len() - 1) } else { String::new() };
        // It has said why, if it failed: the old workers serve on.
        let _ = self.reload(&format!("{name}{others} changed"), only).await;
    }

    /// `only`: services that get new workers; all if `None`.
    async fn try_reload(&mut self, only: Option<BTreeSet<Arc<str>>>) -> Result<Vec<String>, String> {
        let text = |stop| match stop {
            Stop::Usage(text) | Stop::Failed(text) => format!("nothing was changed: {text}"),
        };
        let dev = self.settings.dev;
        let resolved = if dev { load::settings_for_dev(&self.arguments) } else { load::settings(&self.arguments) };
        let resolved = resolved.map_err(text)?;
        verify(&resolved.settings).map_err(text)?;
        let mut warnings: Vec<String> = resolved.warnings.iter().map(ToString::to_string).collect();
        let mut settings = resolved.settings;
        warnings.extend(self.keep_fixed(&mut settings));
        let settings = Arc::new(settings);
        let plan = plan(&settings, &self.runtime).map_err(text)?;
        let watched = plan.clone();
        let refused = Arc::new(Mutex::new(None));
        let (front, new, refusal) = (self.front.clone(), settings.clone(), refused.clone());
        let swap = move || {
            let configured = lock(&front).as_ref().map(|front| front.configure(&new));
            *lock(&refusal) = configured.and_then(Result::err);
        };
        let supervisor = self.supervisor.clone();
        let reloading = async move {
            match only {
                None => supervisor.reload(plan, swap).await,
                Some(only) => supervisor.reload_services(plan, only, swap).await,
            }
        };
        self.answering_meanwhile(reloading).await.map_err(|error| error.to_string())?;
        if let Some(project) = &mut self.project {
            project.plan = watched;
        }
        // Verified above, so only what has changed since can be refused.
        if let Some(error) = lock(&refused).take() {
            return Err(format!("workers were replaced, but the old routes and limits stay: {error}"));
        }
        self.settings = settings;
        Ok(warnings)
    }

    /// Waits for a reload's end. `status` and `reload` find a server by asking how it is, and new workers may take longer
    /// to load than they wait for the answer.
    async fn answering_meanwhile<T>(&mut self, reloading: impl Future<Output = T>) -> T {
        tokio::pin!(reloading);
        loop {
            let (request, reply) = tokio::select! {
                reloaded = &mut reloading => return reloaded,
                Some(asked) = self.control.recv() => asked,
            };
            match request {
                Request::Status => self.say_status(reply).await,
                Request::Reload => {
                    let _ = reply.send(Err(ReloadError::Busy.to_string()));
                }
            }
        }
    }

    /// Sockets, threads and the log are made once; changes to them wait for the next start, and are said.
    fn keep_fixed(&self, new: &mut Settings) -> Vec<String> {
        let old = &self.settings;
        let mut changed = Vec::new();
        let mut keep = |same: bool, name: &str| {
            if !same {
                changed.push(format!("a change of {name} takes a restart; the old value stays"));
            }
        };
        keep(new.listen == old.listen, "listen");
        keep(new.tls == old.tls, "tls");
        keep(new.threads == old.threads, "threads");
        keep(new.runtime_dir == old.runtime_dir, "runtime_dir");
        keep(new.log == old.log, "log_format or log_level");
        keep(new.access_log == old.access_log, "access_log");
        keep(new.metrics_listen == old.metrics_listen, "metrics_listen");
        // Only development has a use for them, and what is written of types may change at once.
        let watched = |watch: &config::Watch| config::Watch { types: true, ..watch.clone() };
        keep(!new.dev || watched(&new.watch) == watched(&old.watch), "what dev watches");
        new.listen.clone_from(&old.listen);
        new.tls.clone_from(&old.tls);
        new.threads = old.threads;
        new.runtime_dir.clone_from(&old.runtime_dir);
        new.log = old.log.clone();
        new.access_log = old.access_log.clone();
        new.metrics_listen.clone_from(&old.metrics_listen);
        changed
    }

    /// Workers that fail at the start mean that no request would ever be answered.
    async fn give_up(mut self, error: &StartError) -> Result<ExitCode, Stop> {
        // The supervisor leaves it to this last line to show the stack and the hint.
        let why = &error.failure;
        tracing::error!(
            "nothing is served, because service {} did not start: {why}\n  correct this and start again",
            error.service
        );
        self.stop().await?;
        Ok(ExitCode::FAILURE)
    }

    /// Lets requests end, then workers; a second signal ends both at once.
    async fn stop(&mut self) -> Result<ExitCode, Stop> {
        systemd::stopping();
        let front = lock(&self.front).take();
        let (deadline, supervisor) = (self.settings.timeouts.drain, self.supervisor.clone());
        let drain = async move {
            let front = match front {
                Some(front) => drain_front(front, deadline).await,
                None => None,
            };
            supervisor.stop().await;
            if let Some(front) = front {
                blocking(move || front.stop()).await;
            }
        };
        tokio::pin!(drain);
        let drained = loop {
            let Server { signals: Signals { terminate, interrupt, .. }, control, .. } = &mut *self;
            let cause = tokio::select! {
                () = &mut drain => break true,
                _ = terminate.recv() => Cause::Stop("SIGTERM"),
                _ = interrupt.recv() => Cause::Stop("SIGINT"),
                Some(asked) = control.recv() => Cause::Asked(asked),
            };
            match cause {
                Cause::Stop(name) => {
                    tracing::warn!("{name} again: stopping at once");
                    // Bounded: dead processes are reaped at once, and nothing else is waited for.
                    let _ = tokio::time::timeout(KILL_TIMEOUT, self.supervisor.kill()).await;
                    break false;
                }
                Cause::Asked((Request::Reload, reply)) => {
                    let _ = reply.send(Err("nothing was changed: the server is stopping".to_owned()));
                }
                Cause::Asked((Request::Status, reply)) => self.say_status(reply).await,
                Cause::Reload | Cause::Changed(_) | Cause::Abandoned => {}
            }
        };
        for path in &self.unix_paths {
            let _ = std::fs::remove_file(path);
        }
        // The supervisor's thread removes it too, but nobody waits for that thread, and exiting would cut it short.
        let _ = std::fs::remove_dir_all(&self.folder);
        tracing::info!("stopped");
        Ok(if drained { ExitCode::SUCCESS } else { ExitCode::from(130) })
    }
}

/// Lets requests end. Links stay open, so that workers can be retired in peace, unless the deadline has passed.
async fn drain_front(front: Front, deadline: Duration) -> Option<Front> {
    let drained = blocking(move || {
        let left = front.drain(deadline);
        (front, left)
    });
    let (front, left) = drained.await?;
    if left == 0 {
        return Some(front);
    }
    tracing::warn!("{left} connections were still busy after {deadline:?} and are cut");
    blocking(move || front.stop()).await;
    None
}

/// `None` if the work panicked, which has been printed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A panic elsewhere must not keep the server from stopping.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
