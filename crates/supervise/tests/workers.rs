//! The supervisor with real processes and front threads that only note what they are told.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::{Closed, Command, Event, ServiceState, Worker, WorkerId};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use supervise::{
    Backoff, Handle, Interpreter, Language, Policy, ReloadError, RunDirectory, ServiceSpec, Supervisor, Threads, WorkerSpec,
};
use tokio::sync::mpsc;

/// Long enough for a loaded machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const THREADS: usize = 2;

/// Front threads that close a link when it is retired, and note every order to thread 0.
struct FakeThreads {
    links: Mutex<HashMap<(usize, WorkerId), UnixStream>>,
    orders: mpsc::UnboundedSender<Order>,
    events: mpsc::UnboundedSender<Event>,
    keep_retired: bool,
}

#[derive(Clone, Debug)]
enum Order {
    Attach(Arc<Worker>),
    Activate(WorkerId),
    Retire(WorkerId),
    Detach(WorkerId),
    Service(ServiceState),
    Swapped,
}

impl Threads for FakeThreads {
    fn count(&self) -> usize {
        THREADS
    }

    fn send(&self, thread: usize, command: Command) {
        let mut links = self.links.lock().unwrap();
        let order = match command {
            Command::Attach { worker, socket } => {
                links.insert((thread, worker.id), socket);
                Order::Attach(worker)
            }
            Command::Activate(worker) => Order::Activate(worker),
            Command::Retire(worker) => {
                if !self.keep_retired && links.remove(&(thread, worker)).is_some() {
                    let _ = self.events.send(Event::LinkClosed { worker, thread, why: Closed::Idle });
                }
                Order::Retire(worker)
            }
            Command::Detach(worker) => {
                links.remove(&(thread, worker));
                Order::Detach(worker)
            }
            Command::Service(_, state) => Order::Service(state),
        };
        if thread == 0 {
            let _ = self.orders.send(order);
        }
    }
}

struct Fixture {
    handle: Handle,
    threads: Arc<FakeThreads>,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::UnboundedSender<Event>,
    folder: PathBuf,
    name: String,
    directory: Arc<RunDirectory>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn folder_of(process: u32, name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bireme-supervise-{process}-{name}"))
}

fn scratch() -> (PathBuf, String) {
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = folder_of(std::process::id(), &name);
    std::fs::create_dir_all(&folder).unwrap();
    (folder, name)
}

fn python() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|p| p.join("python3")).find(|p| p.exists()).expect("python3 is needed in PATH")
}

fn spec(name: &str, folder: &Path, behaviour: &str, workers: usize) -> ServiceSpec {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker.py");
    ServiceSpec {
        name: name.into(),
        worker: WorkerSpec {
            interpreter: Interpreter { language: Language::Python, path: python(), why: "test".to_owned() },
            args: vec!["-S".into(), script.into(), behaviour.into()],
            env: vec![("PYTHONDONTWRITEBYTECODE".into(), "1".into())],
            cwd: folder.to_path_buf(),
            options: "{}".to_owned(),
        },
        policy: Policy {
            workers,
            links: THREADS,
            start_timeout: PATIENCE,
            drain_timeout: PATIENCE,
            stop_timeout: PATIENCE,
            exit_grace: PATIENCE,
            stable_after: Duration::from_secs(1),
            backoff: Backoff { min: Duration::from_millis(10), max: Duration::from_millis(50) },
            recycle_requests: None,
            recycle_memory_bytes: None,
            hang_timeout: None,
        },
        call_timeout: None,
        when_called: false,
        implicit: false,
        folders: vec![folder.to_path_buf()],
    }
}

fn start(behaviour: &str, change: impl FnOnce(&mut ServiceSpec)) -> Fixture {
    start_with(behaviour, false, change)
}

fn start_with(behaviour: &str, keep_retired: bool, change: impl FnOnce(&mut ServiceSpec)) -> Fixture {
    logged::install();
    let (folder, name) = scratch();
    let mut service = spec(&name, &folder, behaviour, 2);
    change(&mut service);
    let (orders, order_inbox) = mpsc::unbounded_channel();
    let (events, event_inbox) = mpsc::unbounded_channel();
    let links = Mutex::default();
    let threads = Arc::new(FakeThreads { links, orders, events: events.clone(), keep_retired });
    let directory = Arc::new(RunDirectory::create(Some(&folder.join("run"))).unwrap());
    let handle = Supervisor::start(directory.clone(), vec![service], threads.clone(), event_inbox).unwrap();
    Fixture { handle, threads, orders: order_inbox, events, folder, name, directory }
}

impl Fixture {
    /// The next order to thread 0 that `wanted` takes; others are passed over.
    async fn until<T>(&mut self, wanted: impl Fn(&Order) -> Option<T>) -> T {
        let wait = async {
            loop {
                let order = self.orders.recv().await.expect("the supervisor ended");
                if let Some(found) = wanted(&order) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the order did not come")
    }

    async fn until_active(&mut self) -> WorkerId {
        self.until(|order| if let Order::Activate(id) = order { Some(*id) } else { None }).await
    }

    async fn until_detached(&mut self) -> WorkerId {
        self.until(|order| if let Order::Detach(id) = order { Some(*id) } else { None }).await
    }

    async fn pids(&self) -> Vec<u32> {
        let status = self.handle.status().await;
        status.iter().flat_map(|s| &s.workers).map(|w| w.pid).filter(|pid| *pid != 0).collect()
    }

    /// Waits until the log has a line of this service's with `text` in it.
    async fn until_logged(&self, text: &str) -> String {
        logged::until(&self.name, text).await
    }

    async fn end(self) {
        tokio::time::timeout(PATIENCE, self.handle.kill()).await.expect("the workers did not end");
        assert!(self.pids().await.is_empty());
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// What the supervisor logs, as lines, for all tests of this process.
mod logged {
    use super::PATIENCE;
    use std::fmt::Write as _;
    use std::sync::{Mutex, Once};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static NEWS: tokio::sync::Notify = tokio::sync::Notify::const_new();
    static ONCE: Once = Once::new();

    struct Collector;

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, "{}={value:?} ", field.name()).unwrap();
        }
    }

    impl Subscriber for Collector {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            if !matches!(event.metadata().target(), "worker" | "supervise")
                && !event.metadata().target().starts_with("supervise::")
            {
                return;
            }
            let mut line = Line(format!("{} ", event.metadata().target()));
            event.record(&mut line);
            LINES.lock().unwrap().push(line.0);
            NEWS.notify_waiters();
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    pub fn install() {
        ONCE.call_once(|| tracing::subscriber::set_global_default(Collector).unwrap());
    }

    pub async fn until(service: &str, text: &str) -> String {
        let name = format!("{service}#");
        let wait = async {
            loop {
                let news = NEWS.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                let found = LINES.lock().unwrap().iter().find(|l| l.contains(&name) && l.contains(text)).cloned();
                if let Some(line) = found {
                    return line;
                }
                news.await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(line) => line,
            Err(_) => {
                let lines = LINES.lock().unwrap();
                let ours: Vec<&String> = lines.iter().filter(|l| l.contains(&name)).collect();
                panic!("no line with {text:?} in {ours:#?}");
            }
        }
    }
}

/// Waits until a process that need not be a child is gone.
async fn until_gone(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let wait = tokio::task::spawn_blocking(move || {
        let timeout = rustix::event::Timespec::try_from(PATIENCE).unwrap();
        rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], Some(&timeout))
    });
    assert_eq!(wait.await.unwrap().unwrap(), 1, "process {pid:?} lives on");
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn workers_start_serve_and_stop() {
    let mut fixture = start("ok", |_| {});
    let services = fixture.handle.wait_ready().await.unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(services[0].kind.as_deref(), Some("asgi"));
    assert_eq!(services[0].version.as_deref(), Some("3.11.2"));
    let worker = fixture.until(|order| if let Order::Attach(worker) = order { Some(worker.clone()) } else { None }).await;
    assert!(worker.name.starts_with(&format!("{}#", fixture.name)));
    fixture.until_active().await;
    fixture.until_active().await;
    assert_eq!(fixture.threads.links.lock().unwrap().len(), 2 * THREADS);
    let status = fixture.handle.status().await;
    assert_eq!(status[0].ready, 2);
    assert!(status[0].workers.iter().all(|w| w.memory_bytes.is_some_and(|bytes| bytes > 1_000_000)), "{status:?}");
    fixture.until_logged("a note").await;

    let pids = fixture.pids().await;
    tokio::time::timeout(PATIENCE, fixture.handle.stop()).await.unwrap();
    for pid in pids {
        until_gone(pid).await;
    }
    fixture.until_logged("drained").await;
    fixture.end().await;
}

#[tokio::test]
async fn a_killed_worker_is_detached_and_replaced() {
    let mut fixture = start("ok", |_| {});
    fixture.handle.wait_ready().await.unwrap();
    let (first, second) = (fixture.until_active().await, fixture.until_active().await);
    let pid = fixture.pids().await[0];
    kill(pid, Signal::KILL);
    assert_eq!(fixture.until_detached().await, first.min(second));
    let third = fixture.until_active().await;
    assert!(third > first.max(second), "ids are never used again");
    let line = fixture.until_logged("SIGKILL").await;
    assert!(line.contains("was killed by signal 9 (SIGKILL)") && line.contains("starting it again"), "{line}");
    assert_eq!(fixture.handle.status().await[0].workers.iter().map(|w| w.restarts).sum::<u64>(), 1);
    fixture.end().await;
}

/// A service whose workers all fail: what `serve` says.
async fn check_start_error(behaviour: &str, change: impl FnOnce(&mut ServiceSpec), expected: &[&str]) {
    let fixture = start(behaviour, change);
    let error = tokio::time::timeout(PATIENCE, fixture.handle.wait_ready()).await.unwrap().unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("service {} did not start", fixture.name)), "{text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn failing_starts_are_explained() {
    check_start_error("fail", |_| {}, &["No module named 'app'", "Traceback:\n", "hint: look for app.py"]).await;
    check_start_error("raise", |_| {}, &["exited with status 1 before it was ready", "the database is on holiday"]).await;
    check_start_error("exit-3", |_| {}, &["exited with status 3 before it was ready"]).await;
    check_start_error("exit-connected", |_| {}, &["status 4 before it was ready", "said on its way out"]).await;
    check_start_error("old", |s| s.policy.exit_grace = Duration::from_millis(10), &["python 3.9.1 is too old"]).await;
    check_start_error("impostor", |s| s.policy.start_timeout = Duration::from_millis(10), &["start_timeout"]).await;
    let short = |s: &mut ServiceSpec| s.policy.start_timeout = Duration::from_millis(300);
    check_start_error("never-ready", short, &["was not ready within start_timeout", "raise start_timeout"]).await;
    let missing = |s: &mut ServiceSpec| s.worker.interpreter.path = "/nowhere/python".into();
    check_start_error("ok", missing, &["cannot run /nowhere/python", "No such file"]).await;
    let folder = |s: &mut ServiceSpec| s.worker.cwd = "/nowhere".into();
    check_start_error("ok", folder, &["the working folder does not exist"]).await;
}

#[tokio::test]
async fn one_failing_worker_of_two_does_not_stop_the_service() {
    let mut fixture = start("fail-second", |_| {});
    fixture.handle.wait_ready().await.unwrap();
    fixture.until_active().await;
    fixture.until_logged("for the same reason; starting it again in").await;
    fixture.end().await;
}

#[tokio::test]
async fn a_service_that_fails_later_says_so_and_recovers() {
    let mut fixture = start("ok", |s| s.policy.workers = 1);
    fixture.handle.wait_ready().await.unwrap();
    fixture.until_active().await;
    std::fs::write(fixture.folder.join("behaviour"), "fail").unwrap();
    kill(fixture.pids().await[0], Signal::TERM);
    let why = fixture
        .until(|order| if let Order::Service(ServiceState::Failing(why)) = order { Some(why.clone()) } else { None })
        .await;
    assert_eq!(why, "No module named 'app'");
    std::fs::remove_file(fixture.folder.join("behaviour")).unwrap();
    fixture.until_active().await;
    fixture.until(|order| matches!(order, Order::Service(ServiceState::Up)).then_some(())).await;
    fixture.end().await;
}

/// A ready worker misbehaves: it is lost, for the reason expected, and replaced.
async fn check_replaced(behaviour: &str, change: impl FnOnce(&mut ServiceSpec), expected: &str) {
    let mut fixture = start(behaviour, |s| {
        s.policy.workers = 1;
        change(s);
    });
    let first = fixture.until_active().await;
    assert_eq!(fixture.until_detached().await, first);
    fixture.until_logged(expected).await;
    assert!(fixture.until_active().await > first);
    fixture.end().await;
}

#[tokio::test]
async fn misbehaving_workers_are_replaced() {
    let pinged = |s: &mut ServiceSpec| s.policy.hang_timeout = Some(Duration::from_secs(1));
    check_replaced("exit", pinged, "exited with status 7").await;
    check_replaced("segfault", pinged, "signal 11 (SIGSEGV").await;
    check_replaced("speak-out-of-turn", pinged, "broke the link protocol: Drain on the control link").await;
    check_replaced("hang", pinged, "did not answer for").await;
}

#[tokio::test]
async fn what_the_threads_say_about_links_is_believed() {
    let mut fixture = start("ok", |s| {
        s.policy.workers = 1;
        s.policy.exit_grace = Duration::from_millis(10);
    });
    let first = fixture.until_active().await;
    let why = Closed::Protocol("RESPONSE on a stream never opened".to_owned());
    fixture.events.send(Event::LinkClosed { worker: first, thread: 1, why }).unwrap();
    assert_eq!(fixture.until_detached().await, first);
    fixture.until_logged("RESPONSE on a stream never opened").await;
    let second = fixture.until_active().await;
    // A link that ends although the process lives: it gets a moment to exit, then it is killed.
    fixture.events.send(Event::LinkClosed { worker: second, thread: 0, why: Closed::Eof }).unwrap();
    fixture.until_logged("closed a link but did not exit").await;
    fixture.until_active().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_data_link_opened_twice_is_a_violation() {
    let fixture = start("two-links-alike", |s| s.policy.workers = 1);
    fixture.until_logged("data link 0 is open already").await;
    fixture.end().await;
}

#[tokio::test]
async fn strangers_are_turned_away() {
    use std::io::{Read, Write};
    let fixture = start("ok", |s| s.policy.workers = 1);
    fixture.handle.wait_ready().await.unwrap();
    let socket = fixture.directory.path().join("link.sock");
    let mut hello = Vec::new();
    let payload = br#"{"token":"guess","link":"control","pid":1,"language":"node","version":"24.0.0"}"#;
    wire::put_frame(&mut hello, wire::Kind::Hello, 0, 1, 0, payload);
    let mut wrong_version = hello.clone();
    wrong_version[10] = 9;
    let mut not_json = Vec::new();
    wire::put_frame(&mut not_json, wire::Kind::Hello, 0, 1, 0, b"[");
    let mut too_long = Vec::new();
    wire::put_header(&mut too_long, wire::Kind::Hello, 0, 1, 0, 100_000);
    for bytes in [hello, wrong_version, not_json, too_long, b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let socket = socket.clone();
        let turned_away = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&bytes).unwrap();
            // End of file, or a reset when bytes were left unread.
            !matches!(stream.read(&mut [0; 16]), Ok(1..))
        });
        assert!(turned_away.await.unwrap());
    }
    assert_eq!(fixture.handle.status().await[0].ready, 1);
    fixture.end().await;
}

#[tokio::test]
async fn output_is_logged_under_the_workers_name() {
    let fixture = start("talk", |s| s.policy.workers = 1);
    let line = fixture.until_logged("to stdout").await;
    assert!(line.contains(&format!("worker=\"{}#1\"", fixture.name)) && line.contains("stream=\"stdout\""), "{line}");
    let line = fixture.until_logged("to stderr").await;
    assert!(line.contains("stream=\"stderr\""), "{line}");
    fixture.end().await;
}

#[tokio::test]
async fn a_flood_of_output_disturbs_nothing() {
    let fixture = start("flood", |s| s.policy.workers = 1);
    fixture.handle.wait_ready().await.unwrap();
    fixture.until_logged("flood is over").await;
    fixture.end().await;
}

#[tokio::test]
async fn a_stubborn_worker_is_terminated_and_then_killed() {
    let fixture = start("stubborn", |s| {
        s.policy.workers = 1;
        s.policy.stop_timeout = Duration::from_millis(100);
    });
    fixture.handle.wait_ready().await.unwrap();
    let pids = fixture.pids().await;
    tokio::time::timeout(PATIENCE, fixture.handle.stop()).await.unwrap();
    for pid in pids {
        until_gone(pid).await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn streams_that_do_not_end_are_cut_at_the_drain_timeout() {
    let mut fixture = start_with("ok", true, |s| {
        s.policy.workers = 1;
        s.policy.drain_timeout = Duration::from_millis(50);
    });
    fixture.handle.wait_ready().await.unwrap();
    let worker = fixture.until_active().await;
    let handle = fixture.handle.clone();
    let stop = tokio::spawn(async move { handle.stop().await });
    fixture.until(|order| if let Order::Retire(id) = order { Some(*id) } else { None }).await;
    assert_eq!(fixture.until_detached().await, worker);
    tokio::time::timeout(PATIENCE, stop).await.unwrap().unwrap();
    fixture.end().await;
}

#[tokio::test]
async fn a_reload_activates_the_new_before_it_retires_the_old() {
    let mut fixture = start("ok", |_| {});
    fixture.handle.wait_ready().await.unwrap();
    let old = [fixture.until_active().await, fixture.until_active().await];
    let orders = fixture.threads.orders.clone();
    let mut services = vec![spec(&fixture.name, &fixture.folder, "ok", 1), spec("added", &fixture.folder, "ok", 1)];
    services[0].policy.workers = 3;
    let swap = move || drop(orders.send(Order::Swapped));
    let status = fixture.handle.reload(services, swap).await.unwrap();
    assert_eq!(status.iter().map(|s| (s.name.as_str(), s.ready)).collect::<Vec<_>>(), [("added", 1), (fixture.name.as_str(), 3)]);
    let mut steps = Vec::new();
    while steps.iter().filter(|step| **step == "retire").count() < 2 {
        let step = fixture
            .until(|order| match order {
                Order::Activate(_) => Some("activate"),
                Order::Swapped => Some("swap"),
                Order::Retire(id) if old.contains(id) => Some("retire"),
                _ => None,
            })
            .await;
        steps.push(step);
    }
    assert_eq!(steps, ["activate", "activate", "activate", "activate", "swap", "retire", "retire"]);
    // And away with the service that is not listed any more.
    let only = vec![spec(&fixture.name, &fixture.folder, "ok", 1)];
    fixture.handle.reload(only, || {}).await.unwrap();
    fixture.end().await;
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let mut fixture = start("ok", |_| {});
    fixture.handle.wait_ready().await.unwrap();
    let mut old = [fixture.until_active().await, fixture.until_active().await];
    old.sort();
    let services = vec![spec(&fixture.name, &fixture.folder, "ok", 1), spec("broken", &fixture.folder, "fail", 1)];
    let error = fixture.handle.reload(services, || panic!("must not be swapped")).await.unwrap_err();
    let ReloadError::Failed(start) = &error else { panic!("{error}") };
    assert_eq!(start.service, "broken");
    assert!(error.to_string().contains("nothing was changed: service broken did not start: No module"), "{error}");
    let status = fixture.handle.status().await;
    let ours = status.iter().find(|s| s.name == fixture.name).unwrap();
    assert_eq!((ours.generation, ours.ready), (1, 2));
    // The next one, put right, works, and the old workers are the ones that leave.
    let services = vec![spec(&fixture.name, &fixture.folder, "ok", 1)];
    fixture.handle.reload(services, || {}).await.unwrap();
    for worker in old {
        fixture.until(|order| matches!(order, Order::Retire(id) if *id == worker).then_some(())).await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_service_that_never_started_can_be_repaired_after_another_was_renewed() {
    let fixture = start("fail", |_| {});
    fixture.handle.wait_ready().await.unwrap_err();
    let other = format!("{}-other", fixture.name);
    let services = |ours: &str| vec![spec(&fixture.name, &fixture.folder, ours, 1), spec(&other, &fixture.folder, "ok", 1)];
    let only = |name: &str| BTreeSet::from([Arc::<str>::from(name)]);
    fixture.handle.reload_services(services("fail"), only(&other), || {}).await.unwrap();
    let status = fixture.handle.reload_services(services("ok"), only(&fixture.name), || {}).await.unwrap();
    assert_eq!(status.iter().map(|service| service.ready).collect::<Vec<_>>(), [1, 1]);
    fixture.end().await;
}

#[tokio::test]
async fn two_reloads_at_once_are_one_too_many() {
    let fixture = start("ok", |_| {});
    fixture.handle.wait_ready().await.unwrap();
    let slow = vec![spec(&fixture.name, &fixture.folder, "never-ready", 1)];
    let handle = fixture.handle.clone();
    let first = tokio::spawn(async move { handle.reload(slow, || {}).await });
    // The first has begun when its worker is there.
    tokio::time::timeout(PATIENCE, async {
        while fixture.handle.status().await[0].workers.len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let again = vec![spec(&fixture.name, &fixture.folder, "ok", 1)];
    assert_eq!(fixture.handle.reload(again, || {}).await, Err(ReloadError::Busy));
    fixture.handle.kill().await;
    assert_eq!(first.await.unwrap(), Err(ReloadError::Stopping));
    fixture.end().await;
}

#[tokio::test]
async fn workers_are_recycled_by_requests_one_after_the_other() {
    let mut fixture = start("ok", |s| s.policy.recycle_requests = Some(10));
    let mut workers = HashMap::new();
    let mut active = 0;
    while active < 2 {
        let order = fixture.until(|order| Some(order.clone())).await;
        match order {
            Order::Attach(worker) => drop(workers.insert(worker.id, worker)),
            Order::Activate(_) => active += 1,
            _ => {}
        }
    }
    for worker in workers.values() {
        worker.served.store(10, Ordering::Relaxed);
    }
    for _ in 0..2 {
        let new = fixture.until_active().await;
        let old = fixture.until(|order| if let Order::Retire(id) = order { Some(*id) } else { None }).await;
        assert!(workers.contains_key(&old) && !workers.contains_key(&new));
        assert!(fixture.pids().await.len() <= 3, "one at a time");
    }
    fixture.until_logged("it has served 10 requests (limit 10)").await;
    fixture.end().await;
}

#[tokio::test]
async fn workers_are_recycled_by_memory() {
    let mut fixture = start("ok", |s| {
        s.policy.workers = 1;
        s.policy.recycle_memory_bytes = Some(1_000_000);
    });
    let first = fixture.until_active().await;
    assert!(fixture.until_active().await > first);
    fixture.until_logged("MiB of memory").await;
    fixture.end().await;
}

/// The process id in a line that a worker of the kind "family" has printed.
fn child_in(line: &str) -> u32 {
    let (_, number) = line.split_once("child ").unwrap();
    number.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_killed_workers_children_die_with_it() {
    let mut fixture = start("family", |s| s.policy.workers = 1);
    fixture.until_active().await;
    let line = fixture.until_logged("child ").await;
    let child = child_in(&line);
    kill(fixture.pids().await[0], Signal::KILL);
    until_gone(child).await;
    fixture.end().await;
}

#[tokio::test]
async fn dropping_the_handle_kills_the_workers() {
    let fixture = start("outlive", |_| {});
    fixture.handle.wait_ready().await.unwrap();
    let pids = fixture.pids().await;
    assert_eq!(pids.len(), 2);
    drop(fixture.handle);
    for pid in pids {
        until_gone(pid).await;
    }
    std::fs::remove_dir_all(&fixture.folder).unwrap();
}

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
#[ignore = "started by no_worker_survives_a_killed_front"]
async fn front_to_be_killed() {
    let behaviour = std::env::var("BEHAVIOUR").unwrap();
    let fixture = start(&behaviour, |_| {});
    fixture.handle.wait_ready().await.unwrap();
    while fixture.handle.status().await[0].ready < 2 {
        tokio::task::yield_now().await;
    }
    let mut pids = fixture.pids().await;
    if behaviour == "family" {
        pids.push(child_in(&fixture.until_logged("child ").await));
    }
    println!("workers {pids:?}");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn no_worker_survives_a_killed_front() {
    // The second kind does not even notice that its control link has ended; the third has a child each.
    for (behaviour, processes) in [("ok", 2), ("outlive", 2), ("family", 3)] {
        let mut front = Program::new(std::env::current_exe().unwrap())
            .args(["--exact", "front_to_be_killed", "--ignored", "--nocapture"])
            .env("BEHAVIOUR", behaviour)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(front.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.unwrap().split_once("workers [").map(|(_, pids)| pids.to_owned())).unwrap();
        let pids: Vec<u32> = line.trim_end_matches(']').split(", ").map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), processes);
        front.kill().unwrap();
        front.wait().unwrap();
        for pid in pids {
            until_gone(pid).await;
        }
        std::fs::remove_dir_all(folder_of(front.id(), "t0")).unwrap();
    }
}
