//! `bireme broker` and `bireme run`, with real programs; the worker is one that speaks the link protocol and nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use wire::Kind;

/// Longest wait for anything; a machine under load is slow, and a test that hangs says nothing.
const PATIENCE: Duration = Duration::from_secs(60);

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// A folder with files, the Node runtime and a Python worker that takes no calls.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let runtime = folder.path().join("runtime");
    fs::create_dir_all(runtime.join("python")).unwrap();
    symlink(repository().join("node"), runtime.join("node")).unwrap();
    symlink(repository().join("crates/supervise/tests/worker.py"), runtime.join("python/launch.py")).unwrap();
    for (path, content) in files {
        fs::write(folder.path().join(path), content).unwrap();
    }
    folder
}

fn bireme(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bireme"));
    command.args(args).current_dir(folder).stdout(Stdio::piped());
    command.env("BIREME_RUNTIME", folder.join("runtime")).env("BIREME_RUNTIME_DIR", folder.join("run"));
    command
}

struct Broker {
    child: Child,
    stdout: BufReader<ChildStdout>,
    path: PathBuf,
    token: String,
}

impl Broker {
    fn start(folder: &Path) -> Broker {
        let mut child = bireme(folder, &["broker", "--stdio"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect(&line);
        let text = |key: &str| said[key].as_str().expect(&line).to_owned();
        Broker { child, stdout, path: text("broker").into(), token: text("token") }
    }

    /// Asks where a file of Python runs; the answer.
    fn resolve(&self, link: &mut UnixStream, file: &Path) -> Value {
        send(link, Kind::Hello, 1, &json!({ "token": self.token, "link": "broker", "from": "test", "pid": 1 }));
        send(link, Kind::Resolve, 0, &json!({ "id": 1, "language": "python", "file": file }));
        let mut header = [0; wire::HEADER_LEN];
        link.read_exact(&mut header).unwrap();
        let mut payload = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize];
        link.read_exact(&mut payload).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }

    fn connect(&self) -> UnixStream {
        let link = UnixStream::connect(&self.path).unwrap();
        link.set_read_timeout(Some(PATIENCE)).unwrap();
        link
    }

    /// What else it prints, and its exit status.
    fn end(mut self) -> (String, Option<i32>) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

fn send(link: &mut UnixStream, kind: Kind, aux: u16, payload: &Value) {
    let mut frame = Vec::new();
    wire::put_frame(&mut frame, kind, 0, aux, 0, payload.to_string().as_bytes());
    link.write_all(&frame).unwrap();
}

#[test]
fn a_broker_lives_until_its_stdin_ends_and_leaves_nothing_behind() {
    let folder = project(&[("bireme.toml", "[service.ml]\npython = \"app:app\"\nworkers = 1\n")]);
    let broker = Broker::start(folder.path());
    let mut link = broker.connect();
    let answer = broker.resolve(&mut link, &folder.path().join("model.py"));
    assert_eq!(answer["service"], "ml", "the file lies in the service's folder: {answer}");
    assert_eq!(answer["workers"][0]["worker"], "ml#1");
    assert_eq!(broker.end(), (String::new(), Some(0)));
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 0);
}

#[test]
fn without_a_file_code_belongs_to_the_language() {
    let folder = project(&[]);
    let broker = Broker::start(folder.path());
    let answer = broker.resolve(&mut broker.connect(), &folder.path().join("model.py"));
    assert_eq!(answer["service"], "python");
    // What whoever started it is told when it sends SIGTERM instead.
    kill_process(Pid::from_child(&broker.child), Signal::INT).unwrap();
    kill_process(Pid::from_child(&broker.child), Signal::TERM).unwrap();
    assert_eq!(broker.end().1, Some(0));
}

#[test]
fn a_broker_says_what_is_wrong_with_its_configuration() {
    let folder = project(&[("bireme.toml", "[calls]\ntimout = 3\n")]);
    let output = bireme(folder.path(), &["broker", "--stdio"]).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("bireme.toml:2") && output.stdout.is_empty(), "{stderr}");
}

#[test]
fn a_script_has_its_arguments_streams_and_status() {
    let script = "
        const { BIREME_BROKER, BIREME_BROKER_TOKEN } = process.env;
        process.stdin.on('data', (text) => console.log(String(text).trim(), process.argv.slice(2).join(' ')));
        process.stdin.on('end', () => process.exit(require('fs').existsSync(BIREME_BROKER) && BIREME_BROKER_TOKEN ? 7 : 1));
    ";
    let folder = project(&[("script.js", script)]);
    for args in [["run", "script.js", "--epochs", "3"].as_slice(), &["run", "script.js", "--", "--epochs", "3"]] {
        let mut child = bireme(folder.path(), args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "from stdin --epochs 3\n");
        assert_eq!(output.status.code(), Some(7));
    }
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 0);
}

#[test]
fn signals_reach_a_script_and_end_bireme_as_they_end_it() {
    let script = "
        process.on('SIGINT', () => console.log('interrupted'));
        console.log(process.pid);
        setInterval(() => {}, 1000);
    ";
    let folder = project(&[("script.js", script)]);
    let mut child = bireme(folder.path(), &["run", "script.js"]).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let script = Pid::from_raw(lines.next().unwrap().parse().unwrap()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(lines.next().as_deref(), Some("interrupted"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(lines.next(), None, "an interrupt is passed on once");
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
    assert!(test_kill_process(script).is_err(), "the script is gone");
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 0);
}

#[test]
fn a_script_ends_with_the_bireme_that_runs_it() {
    let folder = project(&[("script.js", "console.log(process.pid); setInterval(() => {}, 1000);")]);
    let mut child = bireme(folder.path(), &["run", "script.js"]).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let script = Pid::from_raw(lines.next().unwrap().parse().unwrap()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The script has the other end of the pipe: this is its end.
    assert_eq!(lines.next(), None);
    let patience = Instant::now() + PATIENCE;
    while test_kill_process(script).is_ok() {
        assert!(Instant::now() < patience, "the script lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_cannot_be_run_is_said() {
    let folder = project(&[("notes.txt", "")]);
    for (args, expected) in
        [(["run", "missing.py"], "the program missing.py does not exist"), (["run", "notes.txt"], "its name ends neither in .js")]
    {
        let output = bireme(folder.path(), &args).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
