//! The broker with real processes: who is told of which worker, and when.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use supervise::{
    Backoff, CallsSpec, Handle, Interpreter, Language, Plan, Policy, RunDirectory, ServiceSpec, Supervisor, Threads, WorkerSpec,
};
use tokio::sync::mpsc;
use wire::Kind;

const PATIENCE: Duration = Duration::from_secs(30);

struct NoThreads;

impl Threads for NoThreads {
    fn count(&self) -> usize {
        0
    }

    fn send(&self, _: usize, _: link::Command) {}
}

struct Fixture {
    handle: Handle,
    folder: PathBuf,
    _directory: Arc<RunDirectory>,
    _events: mpsc::UnboundedSender<link::Event>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn spec(folder: &Path, behaviour: &str) -> ServiceSpec {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker.py");
    let path = std::env::var_os("PATH").unwrap();
    let python = std::env::split_paths(&path).map(|p| p.join("python3")).find(|p| p.exists()).unwrap();
    ServiceSpec {
        name: "python".into(),
        worker: WorkerSpec {
            interpreter: Interpreter { language: Language::Python, path: python, why: "test".to_owned() },
            args: vec!["-S".into(), script.into(), behaviour.into()],
            env: vec![("PYTHONDONTWRITEBYTECODE".into(), "1".into())],
            cwd: folder.to_path_buf(),
            options: "{}".to_owned(),
        },
        policy: Policy {
            workers: 2,
            links: 0,
            start_timeout: PATIENCE,
            drain_timeout: PATIENCE,
            stop_timeout: PATIENCE,
            exit_grace: PATIENCE,
            stable_after: Duration::ZERO,
            backoff: Backoff { min: Duration::from_millis(10), max: Duration::from_millis(50) },
            recycle_requests: None,
            recycle_memory_bytes: None,
            hang_timeout: None,
        },
        call_timeout: None,
        when_called: true,
        implicit: true,
        folders: Vec::new(),
    }
}

fn start(behaviour: &str, start_timeout: Duration) -> Fixture {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("bireme-broker-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let directory = Arc::new(RunDirectory::create(Some(&folder.join("run"))).unwrap());
    let (events, event_inbox) = mpsc::unbounded_channel();
    let plan = Plan { services: vec![spec(&folder, behaviour)], calls: CallsSpec { start_timeout, ..CallsSpec::default() } };
    let handle = Supervisor::start(directory.clone(), plan, NoThreads, event_inbox).unwrap();
    Fixture { handle, folder, _directory: directory, _events: events }
}

impl Fixture {
    fn link(&self) -> Link {
        self.link_with(&self.handle.access().token)
    }

    fn link_with(&self, token: &str) -> Link {
        let stream = UnixStream::connect(&self.handle.access().path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut link = Link(stream);
        link.send(Kind::Hello, &json!({ "token": token, "link": "broker", "from": "test", "pid": 1 }));
        link
    }

    async fn end(self) {
        tokio::time::timeout(PATIENCE, self.handle.kill()).await.unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

struct Link(UnixStream);

impl Link {
    fn send(&mut self, kind: Kind, payload: &Value) {
        let mut frame = Vec::new();
        let version = if kind == Kind::Hello { wire::PROTOCOL_VERSION } else { 0 };
        wire::put_frame(&mut frame, kind, 0, version, 0, payload.to_string().as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    fn resolve(&mut self, id: u32, file: &str) {
        self.send(Kind::Resolve, &json!({ "id": id, "language": "python", "file": file }));
    }

    fn receive(&mut self) -> (Kind, Value) {
        let mut bytes = vec![0; wire::HEADER_LEN];
        self.0.read_exact(&mut bytes).unwrap();
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        bytes.resize(wire::HEADER_LEN + length, 0);
        self.0.read_exact(&mut bytes[wire::HEADER_LEN..]).unwrap();
        let frame = wire::decode_frame(&bytes).unwrap().unwrap();
        (frame.kind, serde_json::from_slice(frame.payload).unwrap())
    }

    /// Reads news until `workers` are ready; gives their names.
    fn until_peers(&mut self, workers: usize) -> Vec<String> {
        loop {
            let (kind, news) = self.receive();
            assert_eq!(kind, Kind::Peers);
            let found = names(&news);
            if found.len() == workers {
                return found;
            }
        }
    }

    fn is_over(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

fn names(payload: &Value) -> Vec<String> {
    let workers = payload["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["worker"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_first_question_starts_the_service() {
    let fixture = start("ok", PATIENCE);
    assert!(fixture.handle.status().await.is_empty(), "nothing runs before it is called");
    let mut link = fixture.link();
    link.resolve(7, "/somewhere/model.py");
    let (kind, answer) = link.receive();
    assert_eq!((kind, &answer["id"], &answer["service"]), (Kind::Resolved, &json!(7), &json!("python")));
    assert_eq!(
        answer["options"],
        json!({
            "timeout_ms": 30000, "in_flight_max": 1024, "message_bytes_max": 67_108_864, "shared_bytes_min": 65536,
            "shared_bytes_max": 1_u64 << 30,
        })
    );
    let path = answer["workers"][0]["path"].as_str().unwrap();
    assert!(path.starts_with(fixture.folder.to_str().unwrap()) && path.ends_with(".sock"), "{path}");
    if names(&answer).len() < 2 {
        assert_eq!(link.until_peers(2), ["python#1", "python#2"]);
    }
    fixture.end().await;
}

#[tokio::test]
async fn callers_hear_of_deaths_and_replacements() {
    let fixture = start("ok", PATIENCE);
    let mut link = fixture.link();
    link.resolve(1, "/somewhere/model.py");
    let (_, answer) = link.receive();
    if names(&answer).len() < 2 {
        link.until_peers(2);
    }
    let status = fixture.handle.status().await;
    let pid = rustix::process::Pid::from_raw(status[0].workers[0].pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(link.until_peers(1).len(), 1);
    assert_eq!(link.until_peers(2).len(), 2);
    // And when all are told to leave, they are named no more.
    let stop = tokio::spawn({
        let handle = fixture.handle.clone();
        async move { handle.stop().await }
    });
    // The request is made when the task is first polled.
    tokio::task::yield_now().await;
    assert_eq!(link.until_peers(0).len(), 0);
    tokio::time::timeout(PATIENCE, stop).await.unwrap().unwrap();
    link.resolve(2, "/somewhere/model.py");
    let (_, answer) = link.receive();
    assert_eq!(answer["error"]["code"], "BIREME_UNAVAILABLE");
    fixture.end().await;
}

#[tokio::test]
async fn a_failed_start_is_told_and_tried_again() {
    let fixture = start("fail", PATIENCE);
    let mut link = fixture.link();
    link.resolve(1, "/somewhere/model.py");
    let (_, answer) = link.receive();
    assert_eq!(answer["error"]["code"], "BIREME_UNAVAILABLE");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("service python did not start: No module named 'app'"), "{message}");
    std::fs::write(fixture.folder.join("behaviour"), "ok").unwrap();
    link.resolve(2, "/somewhere/model.py");
    let (_, answer) = link.receive();
    assert_eq!((&answer["id"], &answer["service"]), (&json!(2), &json!("python")));
    fixture.end().await;
}

#[tokio::test]
async fn the_wait_for_a_worker_is_bounded() {
    let fixture = start("never-ready", Duration::from_millis(50));
    let mut link = fixture.link();
    link.resolve(1, "/somewhere/model.py");
    let (_, answer) = link.receive();
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("was ready within 0.05 s"), "{message}");
    fixture.end().await;
}

#[tokio::test]
async fn strangers_and_nonsense_are_turned_away() {
    let fixture = start("ok", PATIENCE);
    assert!(fixture.link_with(&"0".repeat(64)).is_over());
    let mut link = fixture.link();
    link.send(Kind::Resolve, &json!({ "id": "one" }));
    assert!(link.is_over());
    let mut link = fixture.link();
    link.send(Kind::Call, &json!({}));
    assert!(link.is_over());
    fixture.end().await;
}

#[tokio::test]
async fn a_reload_leaves_alone_what_nobody_has_called() {
    let fixture = start("ok", PATIENCE);
    let services = vec![spec(&fixture.folder, "ok")];
    fixture.handle.reload(services, || {}).await.unwrap();
    assert!(fixture.handle.status().await.is_empty());
    let mut link = fixture.link();
    link.resolve(1, "/somewhere/model.py");
    assert_eq!(link.receive().1["service"], "python");
    fixture.handle.reload(vec![spec(&fixture.folder, "ok")], || {}).await.unwrap();
    assert_eq!(fixture.handle.status().await[0].generation, 2);
    fixture.end().await;
}
