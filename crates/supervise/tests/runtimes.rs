//! The supervisor with the repository's own Node runtime: what is started is what users start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use link::Command;
use supervise::{RunDirectory, ServiceSpec, Supervisor, Threads};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

/// One front thread that keeps every order, and so every link.
struct OneThread(mpsc::UnboundedSender<Command>);

impl Threads for OneThread {
    fn count(&self) -> usize {
        1
    }

    fn send(&self, _: usize, command: Command) {
        let _ = self.0.send(command);
    }
}

fn service(folder: &Path, app: config::App) -> config::Service {
    config::Service {
        name: "app".into(),
        place: config::Place::Default,
        app,
        workers: 1,
        cwd: folder.to_path_buf(),
        args: vec!["an argument".to_owned()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        interpreter: None,
        interpreter_args: vec!["--no-warnings".to_owned()],
        root: folder.to_path_buf(),
        interface: config::Interface::Auto,
        survive: false,
        sticky: None,
        factory: false,
        lifespan: config::Lifespan::Auto,
        event_loop: config::EventLoop::Auto,
        threads_max: None,
        port: None,
        start_timeout: PATIENCE,
        stop_timeout: PATIENCE,
        queue_requests_max: 1,
        queue_timeout: PATIENCE,
        in_flight_max: 1,
        recycle_requests: None,
        recycle_memory_bytes: None,
        restart_delay_min: Duration::from_millis(10),
        restart_delay_max: Duration::from_millis(100),
        hang_timeout: None,
        call_timeout: None,
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bireme-runtimes-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Starts a program under Node and gives what `wait_ready` says, after a stop that went well.
async fn start_node(name: &str, program: &str) -> Result<supervise::ServiceStatus, supervise::StartError> {
    let folder = folder(name);
    let entry = folder.join("server.js");
    std::fs::write(&entry, program).unwrap();
    // The repository's root has the shape of a runtime folder for Node.
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let service = service(&folder, config::App::Node { entry });
    let spec = ServiceSpec::for_service(&service, &runtime, 1, Duration::from_millis(10)).unwrap();
    let (orders, _inbox) = mpsc::unbounded_channel();
    let (_events, event_inbox) = mpsc::unbounded_channel();
    let directory = Arc::new(RunDirectory::create(Some(&folder.join("run"))).unwrap());
    let handle = Supervisor::start(directory, vec![spec], OneThread(orders), event_inbox).unwrap();
    let ready = tokio::time::timeout(PATIENCE, handle.wait_ready()).await.unwrap();
    tokio::time::timeout(PATIENCE, handle.stop()).await.unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    ready.map(|mut services| services.remove(0))
}

#[tokio::test]
async fn an_unmodified_node_program_is_ready() {
    let program = "
        const { equal, deepEqual } = require('node:assert');
        equal(process.env.GREETING, 'hello');
        equal(process.env.BIREME_SERVICE, 'app');
        equal(process.env.BIREME_TOKEN, undefined);
        deepEqual(process.argv.slice(2), ['an argument']);
        require('node:http').createServer((req, res) => res.end()).listen(3000);
    ";
    let service = start_node("good", program).await.unwrap();
    assert_eq!((service.kind.as_deref(), service.ready), (Some("http"), 1));
    assert_eq!(service.why, "from PATH");
    assert!(service.version.is_some_and(|version| version.contains('.')));
}

#[tokio::test]
async fn a_broken_node_program_shows_its_own_error() {
    let error = start_node("broken", "const x = require('./missing.js');").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("service app did not start") && text.contains("Cannot find module './missing.js'"), "{text}");
    let error = start_node("syntax", "const = 3;").await.unwrap_err();
    assert!(error.to_string().contains("SyntaxError"), "{error}");
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let folder = folder("mistakes");
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let check = |service: &config::Service, runtime: &Path, text: &str| {
        let error = ServiceSpec::for_service(service, runtime, 1, PATIENCE).unwrap_err().to_string();
        assert!(error.starts_with("service app: ") && error.contains(text), "{error}");
    };
    let missing = service(&folder, config::App::Node { entry: folder.join("none.js") });
    check(&missing, &runtime, "none.js does not exist");
    let mut nowhere = missing.clone();
    nowhere.cwd = folder.join("nowhere");
    check(&nowhere, &runtime, "nowhere is not a folder");
    let python = service(&folder, config::App::Python { target: "main:app".to_owned() });
    check(&python, &folder, "launch.py does not exist; build it with");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn options_are_what_the_protocol_lists() {
    let folder = folder("options");
    std::fs::create_dir_all(folder.join("python")).unwrap();
    std::fs::write(folder.join("python/launch.py"), "").unwrap();
    let mut service = service(&folder, config::App::Python { target: "main:app".to_owned() });
    service.event_loop = config::EventLoop::Uvloop;
    service.factory = true;
    service.threads_max = Some(7);
    let spec = ServiceSpec::for_service(&service, &folder, 2, PATIENCE).unwrap();
    let options: serde_json::Value = serde_json::from_str(&spec.worker.options).unwrap();
    let expected = serde_json::json!({
        "interface": "auto", "lifespan": "auto", "loop": "uvloop", "factory": true, "threads_max": 7
    });
    assert_eq!(options, expected);
    let launch = folder.join("python/launch.py");
    let expected = ["--no-warnings", launch.to_str().unwrap(), "main:app", "an argument"];
    assert_eq!(spec.worker.args, expected);
    std::fs::remove_dir_all(folder).unwrap();
}
