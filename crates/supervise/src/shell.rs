//! The supervisor's thread: carries out what the machines decide, and tells them what happens.
//!
//! Everything here runs on one thread, which starts every process: the kernel kills a worker when the thread
//! that started it ends, so however this thread ends, no worker is left.

mod broker;
mod reload;
mod report;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use broker::Broker;
use link::{Command, WorkerId};
use reload::Round;
use subtle::ConstantTimeEq;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::broker::{LinkId, Said, calls_socket};
use crate::control::{Control, Heard};
use crate::guardian::Guardian;
use crate::handle::{Access, Handle, ReloadError, Request, ServiceStatus, StartError, Threads};
use crate::hello::{self, Arrival, LinkName, NamedLink};
use crate::machine::{Action, Event, Failure, Machine, Phase, Turn};
use crate::memory::resident_bytes;
use crate::output::{Source, Tail, log_lines};
use crate::process::{Ends, Identity, Process};
use crate::run_directory::RunDirectory;
use crate::spec::{Plan, ServiceSpec};
use crate::version::probe_version;

/// How often what workers have served and use is compared with the limits of recycling.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last output and messages of a process that has exited are waited for.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a pipe is read on when a child that left the worker's group holds it open.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
/// Messages of workers that wait for the supervisor; a full queue makes the talkative ones wait.
const HEARD_MAX: usize = 256;
/// Requests of the front that wait for the supervisor.
const REQUESTS_MAX: usize = 64;

/// Starts services and keeps them alive.
#[derive(Debug)]
pub struct Supervisor;

impl Supervisor {
    /// Starts a thread that starts every service, those that are not called first, and keeps its workers alive. `events` is what the front's threads
    /// say about links.
    ///
    /// # Errors
    /// When the socket for links cannot be made, two services have one name, or the thread cannot be started.
    pub fn start(
        directory: Arc<RunDirectory>,
        plan: impl Into<Plan>,
        threads: impl Threads,
        events: mpsc::UnboundedReceiver<link::Event>,
    ) -> io::Result<Handle> {
        let plan = plan.into();
        check_names(&plan.services).map_err(io::Error::other)?;
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (started, start) = std::sync::mpsc::channel();
        let access = Access { path: directory.path().join("link.sock"), token: random_token() };
        let ours = access.clone();
        let main = move || {
            // Made here: sockets and timers belong to the thread whose runtime drives them.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let prepared = runtime.and_then(|runtime| {
                let _inside = runtime.enter();
                let listener = hello::listen(&ours.path)?;
                drop(_inside);
                Ok((runtime, listener))
            });
            match prepared {
                Ok((runtime, listener)) => {
                    let _ = started.send(Ok(()));
                    let (heard, heard_inbox) = mpsc::channel(HEARD_MAX);
                    let (said, said_inbox) = mpsc::channel(HEARD_MAX);
                    let inputs = Inputs { listener, events, inbox, heard: heard_inbox, said: said_inbox };
                    let broker = Broker::new(ours.path, ours.token, plan.calls, said);
                    let shell = Shell::new(broker, Box::new(threads), heard);
                    LocalSet::new().block_on(&runtime, shell.run(plan.services, inputs));
                    drop(directory);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        };
        std::thread::Builder::new().name("supervisor".to_owned()).spawn(main)?;
        match start.recv() {
            Ok(Ok(())) => Ok(Handle { requests, access }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the supervisor's thread ended at once")),
        }
    }
}

struct Inputs {
    listener: UnixListener,
    events: mpsc::UnboundedReceiver<link::Event>,
    inbox: mpsc::Receiver<Request>,
    heard: mpsc::Receiver<(WorkerId, Heard)>,
    said: mpsc::Receiver<(LinkId, Said)>,
}

/// One service: its machine, and what each generation is made of.
struct Run {
    machine: Machine,
    specs: BTreeMap<u32, Rc<ServiceSpec>>,
    version: Option<String>,
    kind: Option<String>,
    first_ready: bool,
    /// Started by the first call, not by the start.
    when_called: bool,
    gave_up: Option<Failure>,
    failing: Option<String>,
    stopped: bool,
    /// What was logged last, so that N workers that fail alike are not N stack traces.
    last_failure: Option<Failure>,
    last_notes: Vec<String>,
}

impl Run {
    /// Whether it waits for its first call.
    fn is_idle(&self) -> bool {
        self.when_called && self.machine.next_generation() == 1
    }
}

/// One worker's process and links.
struct WorkerRun {
    service: Arc<str>,
    shared: Arc<link::Worker>,
    name: Rc<str>,
    spec: Rc<ServiceSpec>,
    token: String,
    process: Option<Process>,
    control: Option<Control>,
    tail: Tail,
    outputs: Vec<JoinHandle<()>>,
    spawned: Instant,
    was_ready: bool,
    /// Set by the task that looks why a worker died before HELLO.
    explained: Rc<Cell<Option<Failure>>>,
    notes: Vec<String>,
    kind: String,
}

struct Shell {
    broker: Broker,
    threads: Box<dyn Threads>,
    epoch: Instant,
    next_id: WorkerId,
    services: BTreeMap<Arc<str>, Run>,
    /// Started after the first workers, which it must not delay.
    guardian: Option<Guardian>,
    workers: HashMap<WorkerId, WorkerRun>,
    round: Option<Round>,
    pending: VecDeque<(Arc<str>, Event)>,
    ready_waiters: Vec<oneshot::Sender<Result<Vec<ServiceStatus>, StartError>>>,
    stop_waiters: Vec<oneshot::Sender<()>>,
    stopping: bool,
    heard: mpsc::Sender<(WorkerId, Heard)>,
}

impl Shell {
    fn new(broker: Broker, threads: Box<dyn Threads>, heard: mpsc::Sender<(WorkerId, Heard)>) -> Shell {
        Shell {
            broker,
            threads,
            epoch: Instant::now(),
            next_id: 1,
            services: BTreeMap::new(),
            guardian: None,
            workers: HashMap::new(),
            round: None,
            pending: VecDeque::new(),
            ready_waiters: Vec::new(),
            stop_waiters: Vec::new(),
            stopping: false,
            heard,
        }
    }

    async fn run(mut self, services: Vec<ServiceSpec>, inputs: Inputs) {
        let Inputs { listener, mut events, mut inbox, mut heard, mut said } = inputs;
        let (greeted, mut arrivals) = mpsc::channel(HEARD_MAX);
        let door = spawn_local(hello::greet(listener, greeted));
        for spec in services {
            let (name, when_called) = (spec.name.clone(), spec.when_called);
            self.add(spec);
            if !when_called {
                self.feed(&name, Event::Start);
            }
        }
        let mut guardian = Guardian::start();
        self.workers.values().filter_map(|run| run.process.as_ref()).for_each(|process| guardian.watch(process.pid()));
        self.guardian = Some(guardian);
        let mut usage_at = self.epoch + USAGE_INTERVAL;
        let mut events_open = true;
        loop {
            let deadline = self.next_deadline(usage_at);
            tokio::select! {
                Some(arrival) = arrivals.recv() => self.arrived(arrival),
                Some((worker, what)) = heard.recv() => self.heard(worker, what),
                Some((link, what)) = said.recv() => self.said(link, what),
                event = events.recv(), if events_open => match event {
                    Some(link::Event::LinkClosed { worker, thread, why }) => {
                        self.feed_worker(worker, Event::LinkClosed(worker, thread, why));
                    }
                    None => {
                        events_open = false;
                        self.threads_gone();
                    }
                },
                request = inbox.recv() => match request {
                    Some(request) => self.requested(request),
                    None => break,
                },
                () = tokio::time::sleep_until(deadline.into()) => {
                    // What has been said must be heard before silence is judged.
                    for _ in 0..HEARD_MAX {
                        let Ok((worker, what)) = heard.try_recv() else { break };
                        self.heard(worker, what);
                    }
                    if usage_at <= Instant::now() {
                        usage_at = Instant::now() + USAGE_INTERVAL;
                        self.measure();
                    }
                    self.tick();
                    self.expire_questions();
                }
            }
            self.settle();
        }
        // Nobody can ask for anything any more: the front is over. Dropping a process kills it.
        door.abort();
        self.workers.clear();
    }

    /// The front has ended before the supervisor: nobody will say any more that a link is over.
    fn threads_gone(&mut self) {
        let names: Vec<Arc<str>> = self.services.keys().cloned().collect();
        for name in names {
            self.feed(&name, Event::ThreadsGone);
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn next_deadline(&self, usage_at: Instant) -> Instant {
        // Each worker that serves has a limit, see [`link::WORKER_STREAMS_MAX`].
        let watches_usage =
            |run: &Run| run.specs.values().any(|spec| spec.policy.links > 0 || spec.policy.recycle_memory_bytes.is_some());
        let usage = self.services.values().any(watches_usage).then_some(usage_at);
        let machines = self.services.values().filter_map(|run| run.machine.deadline()).map(|at| self.epoch + at);
        // An hour stands for "nothing to wait for".
        machines.chain(usage).chain(self.broker.deadline()).min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    fn add(&mut self, spec: ServiceSpec) {
        let machine = Machine::new(spec.policy.clone());
        let (name, when_called) = (spec.name.clone(), spec.when_called);
        let specs = BTreeMap::from([(machine.next_generation(), Rc::new(spec))]);
        let run = Run {
            machine,
            specs,
            version: None,
            kind: None,
            first_ready: false,
            when_called,
            gave_up: None,
            failing: None,
            stopped: false,
            last_failure: None,
            last_notes: Vec::new(),
        };
        self.services.insert(name, run);
    }

    fn feed_worker(&mut self, worker: WorkerId, event: Event) {
        if let Some(run) = self.workers.get(&worker) {
            let service = run.service.clone();
            self.feed(&service, event);
        }
    }

    /// Tells a service's machine what happened and carries out what it says.
    fn feed(&mut self, service: &Arc<str>, event: Event) {
        self.pending.push_back((service.clone(), event));
        while let Some((service, event)) = self.pending.pop_front() {
            let gone = match &event {
                Event::Exited(worker, _) => Some(*worker),
                _ => None,
            };
            let actions = self.decide(&service, event);
            self.tell_peers(&service);
            for action in actions {
                self.perform(&service, action);
            }
            if let Some(worker) = gone {
                self.workers.remove(&worker);
            }
        }
    }

    fn decide(&mut self, service: &Arc<str>, event: Event) -> Vec<Action> {
        let turn = Turn { now: self.now(), jitter: random_fraction() };
        match self.services.get_mut(service) {
            Some(run) => run.machine.next(turn, &mut self.next_id, event),
            None => Vec::new(),
        }
    }

    fn perform(&mut self, service: &Arc<str>, action: Action) {
        match action {
            Action::Spawn { worker, number, generation } => self.spawn(service, worker, number, generation),
            Action::Activate(worker) => self.tell_all(|| Command::Activate(worker)),
            Action::Retire(worker) => self.tell_all(|| Command::Retire(worker)),
            Action::Detach(worker) => self.tell_all(|| Command::Detach(worker)),
            Action::Drain(worker) => {
                let run = self.workers.get(&worker);
                if !run.and_then(|run| run.control.as_ref()).is_some_and(Control::drain)
                    && let Some(process) = run.and_then(|run| run.process.as_ref())
                {
                    process.terminate();
                }
            }
            Action::Terminate(worker) => {
                if let Some(process) = self.workers.get(&worker).and_then(|run| run.process.as_ref()) {
                    process.terminate();
                }
            }
            Action::Kill(worker) => {
                if let Some(process) = self.workers.get(&worker).and_then(|run| run.process.as_ref()) {
                    process.kill();
                }
            }
            Action::Ping(worker) => {
                if let Some(control) = self.workers.get_mut(&worker).and_then(|run| run.control.as_mut()) {
                    control.ping();
                }
            }
            Action::Service(state) => self.service_state(service, state),
            Action::Note(note) => self.note(service, note),
        }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for thread in 0..self.threads.count() {
            self.threads.send(thread, command());
        }
    }

    fn spawn(&mut self, service: &Arc<str>, worker: WorkerId, number: usize, generation: u32) {
        let Some(spec) = self.services.get(service).and_then(|run| run.specs.get(&generation)).cloned() else {
            return;
        };
        let name = format!("{service}#{number}");
        let token = random_token();
        let identity = Identity {
            link: &self.broker.socket,
            links: spec.policy.links,
            token: &token,
            service,
            worker: &name,
            broker_token: &self.broker.token,
            calls: &calls_socket(&self.broker.socket, worker),
            limits: &self.broker.calls,
            timeout_ms: self.broker.calls.timeout_ms(&spec),
        };
        let started = Process::spawn(&spec.worker, identity);
        let tail = Tail::default();
        let mut run = WorkerRun {
            service: service.clone(),
            shared: link::Worker::new(worker, service.clone(), name.clone()),
            name: Rc::from(name),
            spec,
            token,
            process: None,
            control: None,
            tail: tail.clone(),
            outputs: Vec::new(),
            spawned: Instant::now(),
            was_ready: false,
            explained: Rc::default(),
            notes: Vec::new(),
            kind: String::new(),
        };
        match started {
            Ok((process, Ends { stdout, stderr, exit })) => {
                tracing::debug!(
                    worker = &*run.name,
                    pid = process.pid(),
                    "started {}",
                    run.spec.worker.interpreter.path.display()
                );
                if let Some(guardian) = &mut self.guardian {
                    guardian.watch(process.pid());
                }
                run.process = Some(process);
                run.outputs = vec![
                    spawn_local(log_lines(stdout, Source::Stdout, run.name.clone(), tail.clone())),
                    spawn_local(log_lines(stderr, Source::Stderr, run.name.clone(), tail)),
                ];
                let heard = self.heard.clone();
                spawn_local(async move {
                    // An error would mean that the descriptor is unusable: the process is then killed and waited for.
                    let _ = exit.readable().await.map(|mut guard| guard.retain_ready());
                    let _ = heard.send((worker, Heard::Exited)).await;
                });
            }
            Err(error) => {
                let failure = Failure { error, ..Failure::default() };
                self.pending.push_back((service.clone(), Event::Exited(worker, failure)));
            }
        }
        self.workers.insert(worker, run);
    }

    /// A link has greeted: finds out whose it is.
    fn arrived(&mut self, Arrival { hello, stream }: Arrival) {
        let given = hello.token.as_bytes();
        if hello.link == LinkName::Named(NamedLink::Broker) {
            match bool::from(self.broker.token.as_bytes().ct_eq(given)) {
                true => self.broker_link(hello.from, stream),
                false => tracing::warn!("turned a broker link away: its token is wrong"),
            }
            return;
        }
        // Every token is compared, in constant time each: how long it takes says nothing about any of them.
        let mut owner = None;
        for (worker, run) in &self.workers {
            if bool::from(run.token.as_bytes().ct_eq(given)) {
                owner = Some(*worker);
            }
        }
        let Some(worker) = owner else {
            tracing::warn!("turned a link away: its token belongs to no worker");
            return;
        };
        match hello.link {
            LinkName::Named(_) => self.control_link(worker, hello.version, stream),
            LinkName::Data(link) => self.data_link(worker, link, stream),
        }
    }

    fn control_link(&mut self, worker: WorkerId, version: String, stream: tokio::net::UnixStream) {
        let Some(run) = self.workers.get_mut(&worker) else { return };
        if run.control.is_some() {
            let text = "a second control link".to_owned();
            self.feed_worker(worker, Event::Violation(worker, text));
            return;
        }
        run.control = Some(Control::open(stream, worker, self.heard.clone()));
        let interpreter = &run.spec.worker.interpreter;
        if let Err((error, hint)) = interpreter.language.check_version(&version) {
            let error = format!("{} ({}): {error}", interpreter.path.display(), interpreter.why);
            let failure = Failure { error, hint, ..Failure::default() };
            self.feed_worker(worker, Event::Failed(worker, failure));
        } else if let Some(service) = self.services.get_mut(&run.service) {
            service.version = Some(version);
        }
    }

    fn data_link(&mut self, worker: WorkerId, link: usize, stream: tokio::net::UnixStream) {
        let Some(run) = self.workers.get(&worker) else { return };
        let awaited = self.services.get(&run.service).is_some_and(|s| s.machine.awaits_link(worker, link));
        if !awaited || link >= self.threads.count() {
            // A worker that is being stopped may still be opening links: those are dropped without a word.
            let starting = self.services.get(&run.service).and_then(|s| s.machine.phase(worker));
            if matches!(starting, Some(Phase::Starting | Phase::Ready)) {
                let text = format!("data link {link} is open already or does not exist");
                self.feed_worker(worker, Event::Violation(worker, text));
            }
            return;
        }
        match stream.into_std() {
            Ok(socket) => {
                self.threads.send(link, Command::Attach { worker: run.shared.clone(), socket });
                self.feed_worker(worker, Event::LinkOpened(worker, link));
            }
            Err(error) => tracing::error!(worker = &*run.name, "cannot hand data link {link} over: {error}"),
        }
    }

    fn heard(&mut self, worker: WorkerId, what: Heard) {
        let event = match what {
            Heard::Exited => return self.exited(worker),
            Heard::Settled => return self.settled(worker),
            Heard::Ready(ready) => {
                if let Some(run) = self.workers.get_mut(&worker) {
                    run.kind = ready.kind;
                    run.notes = ready.notes;
                }
                Event::Ready(worker)
            }
            Heard::Failed(failure) => Event::Failed(worker, failure),
            Heard::Pong => Event::Pong(worker),
            Heard::Violation(text) => Event::Violation(worker, text),
            Heard::Closed => Event::ControlClosed(worker),
        };
        self.feed_worker(worker, event);
    }

    /// A process has exited.
    fn exited(&mut self, worker: WorkerId) {
        let Some(run) = self.workers.get_mut(&worker) else { return };
        if run.was_ready {
            return self.settled(worker);
        }
        // It served nothing, so nobody waits for its links; its last words are the best explanation there is.
        let last_words =
            std::mem::take(&mut run.outputs).into_iter().chain(run.control.as_mut().and_then(Control::take_listener));
        let last_words: Vec<JoinHandle<()>> = last_words.collect();
        let interpreter = run.control.is_none().then(|| run.spec.worker.interpreter.clone());
        let (heard, explained) = (self.heard.clone(), run.explained.clone());
        spawn_local(async move {
            finish_reading(last_words, LAST_WORDS_TIMEOUT).await;
            if let Some(interpreter) = interpreter {
                explained.set(probe_version(&interpreter).await);
            }
            let _ = heard.send((worker, Heard::Settled)).await;
        });
    }

    /// A process has exited and its last words are known: it is buried, and its children with it.
    fn settled(&mut self, worker: WorkerId) {
        let Some(run) = self.workers.get_mut(&worker) else { return };
        let Some(process) = run.process.take() else { return };
        if let Some(guardian) = &mut self.guardian {
            process.kill();
            guardian.release(process.pid());
        }
        let exit = process.reap().to_string();
        // A process that was killed leaves its socket behind; one that never made it leaves none.
        let _ = std::fs::remove_file(calls_socket(&self.broker.socket, worker));
        let mut failure = Failure { error: exit, ..Failure::default() };
        if failure.error.contains("SIGKILL") {
            failure.hint = "if nobody killed it, look for the kernel's out-of-memory killer (dmesg)".to_owned();
        }
        if !run.was_ready {
            failure.error.push_str(" before it was ready");
            failure = run.explained.take().unwrap_or(failure);
            if failure.stack.is_empty() {
                failure.stack = run.tail.text();
            }
        }
        spawn_local(finish_reading(std::mem::take(&mut run.outputs), OUTPUT_GRACE));
        let service = run.service.clone();
        self.feed(&service, Event::Exited(worker, failure));
    }

    fn requested(&mut self, request: Request) {
        match request {
            Request::WaitReady(reply) => self.ready_waiters.push(reply),
            Request::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Request::Reload { plan, only, swap, reply } => self.reload(plan, only.as_ref(), swap, reply),
            Request::Stop(reply) => {
                self.stop_waiters.push(reply);
                self.end(Event::Stop);
            }
            Request::Kill(reply) => {
                self.stop_waiters.push(reply);
                self.end(Event::Kill);
            }
        }
    }

    fn end(&mut self, how: Event) {
        self.stopping = true;
        self.refuse_questions();
        if let Some(round) = self.round.take() {
            let _ = round.reply.send(Err(ReloadError::Stopping));
        }
        let names: Vec<Arc<str>> = self.services.keys().cloned().collect();
        for name in names {
            self.feed(&name, how.clone());
        }
    }

    /// After every event: answers who waits for what has come true, and forgets what is over.
    fn settle(&mut self) {
        if let Some(round) = self.round.take_if(|round| round.waiting.is_empty()) {
            self.commit_reload(round);
        }
        self.services.retain(|name, run| {
            let lives: BTreeSet<u32> = run.machine.workers().map(|w| w.generation).collect();
            let (current, next) = (run.machine.generation(), run.machine.next_generation());
            run.specs.retain(|generation, _| *generation == current || *generation + 1 >= next || lives.contains(generation));
            let over = run.stopped && !self.stopping;
            if over {
                tracing::info!("service {name} has ended");
            }
            !over
        });
        if !self.ready_waiters.is_empty() {
            let gave_up = self.services.iter().find_map(|(name, run)| {
                let failure = run.gave_up.clone()?;
                Some(StartError { service: name.to_string(), failure })
            });
            let answer = match gave_up {
                Some(error) => Some(Err(error)),
                None if self.stopping => Some(Err(StartError::stopped())),
                None => self.services.values().all(|run| run.first_ready || run.when_called).then(|| Ok(self.status())),
            };
            if let Some(answer) = answer {
                for waiter in self.ready_waiters.drain(..) {
                    let _ = waiter.send(answer.clone());
                }
            }
        }
        if self.stopping && self.services.values().all(|run| run.stopped) {
            for waiter in self.stop_waiters.drain(..) {
                let _ = waiter.send(());
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        let due: Vec<Arc<str>> = self
            .services
            .iter()
            .filter(|(_, run)| run.machine.deadline().is_some_and(|at| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.feed(&name, Event::Tick);
        }
    }

    /// Tells the machines what workers have used, where a limit waits for it.
    fn measure(&mut self) {
        let measured: Vec<(Arc<str>, Event)> = self
            .workers
            .iter()
            .filter_map(|(worker, run)| {
                let policy = &run.spec.policy;
                let memory = match (policy.recycle_memory_bytes, &run.process) {
                    (Some(_), Some(process)) => resident_bytes(process.pid()),
                    _ => None,
                };
                let served = run.shared.served.load(Ordering::Relaxed);
                let counts = policy.recycle_requests.is_some() || served >= link::WORKER_STREAMS_MAX;
                let event = Event::Usage { worker: *worker, served, memory };
                (memory.is_some() || counts).then(|| (run.service.clone(), event))
            })
            .collect();
        for (service, event) in measured {
            self.feed(&service, event);
        }
    }
}

/// Waits for tasks that read what a process has left, and ends those whose source a surviving child holds open.
async fn finish_reading(readers: Vec<JoinHandle<()>>, patience: Duration) {
    let deadline = tokio::time::Instant::now() + patience;
    for mut reader in readers {
        if tokio::time::timeout_at(deadline, &mut reader).await.is_err() {
            reader.abort();
        }
    }
}

/// 256 bits from the kernel, in hexadecimal.
fn random_token() -> String {
    let mut bytes = [0; 32];
    fill_random(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    fill_random(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

fn fill_random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Linux has had the call since 3.17, and it does not fail otherwise (getrandom(2)).
            Err(error) => unreachable!("the kernel gives no random bytes: {error}"),
        }
    }
}

fn check_names(services: &[ServiceSpec]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match services.iter().find(|spec| !seen.insert(&spec.name)) {
        Some(spec) => Err(format!("two services are named {}", spec.name)),
        None => Ok(()),
    }
}
