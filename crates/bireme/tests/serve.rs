//! A real server with a real Node program, told what to do by signals and at its control socket.

mod running;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use running::{Server, body, repository};
use rustix::process::{Pid, Signal, kill_process};

const APP: &str = "
const http = require('http');
console.log('the program speaks');
http.createServer((request, response) => {
  if (request.url === '/begin') return response.write('begun');
  if (request.url === '/slow') return setTimeout(() => response.end('at last'), 300);
  response.end(process.env.GREETING || 'hello');
}).listen(3000);
";

/// A folder with files, and what runs in it.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(project.path("runtime")).unwrap();
        std::os::unix::fs::symlink(repository().join("node"), project.path("runtime/node")).unwrap();
        for (path, content) in files {
            project.write(path, content);
        }
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap();
    }

    fn bireme(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bireme"));
        command.args(args).current_dir(self.folder.path());
        command.env("BIREME_RUNTIME", self.path("runtime")).env("BIREME_RUNTIME_DIR", self.path("run")).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.bireme(args).output().unwrap()
    }

    fn serve(&self, args: &[&str]) -> Server {
        self.start(args).ready("ready on ")
    }

    fn start(&self, args: &[&str]) -> Server {
        let mut command = self.bireme(&["serve", "--listen", "127.0.0.1:0", "--threads", "1"]);
        Server::start(command.args(args))
    }
}

fn signal(server: &Server, signal: Signal) {
    kill_process(Pid::from_child(&server.child), signal).unwrap();
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_program_is_served_and_what_it_prints_is_logged() {
    let project = Project::new(&[("server.js", APP)]);
    let mut server = project.serve(&["./server.js", "--workers", "1"]);
    assert_eq!(server.get("/"), "hello");
    assert!(server.log.iter().any(|line| line.ends_with("[server#1] the program speaks")), "{:#?}", server.log);
    signal(&server, Signal::TERM);
    assert_eq!(server.end(), Some(0), "{:#?}", server.log);
    assert_eq!(fs::read_dir(project.path("run")).unwrap().count(), 0, "the runtime folder is left clean");
}

#[test]
fn the_log_in_json_is_json() {
    let project = Project::new(&[("server.js", APP)]);
    let mut server = project.serve(&["./server.js", "--workers", "1", "--log-format", "json"]);
    signal(&server, Signal::INT);
    server.end();
    let lines: Vec<serde_json::Value> = server.log.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let printed = lines.iter().find(|line| line["message"] == "the program speaks").expect("the program's line");
    assert_eq!(
        (&printed["worker"], &printed["stream"], &printed["level"]),
        (&"server#1".into(), &"stdout".into(), &"info".into())
    );
}

#[test]
fn a_drain_waits_for_requests() {
    let project = Project::new(&[("server.js", APP)]);
    let mut server = project.serve(&["./server.js", "--workers", "1"]);
    // The first request is with the worker when the second, on the same thread, has been answered.
    let slow = server.connect("/slow");
    assert_eq!(server.get("/"), "hello");
    signal(&server, Signal::TERM);
    assert_eq!(body(slow), "at last");
    assert_eq!(server.end(), Some(0), "{:#?}", server.log);
}

#[test]
fn a_drain_ends_at_its_deadline_and_at_a_second_signal() {
    let project = Project::new(&[("server.js", APP)]);
    let begun = |server: &Server| {
        let mut stream = server.connect("/begin");
        let mut text = Vec::new();
        while !text.ends_with(b"begun\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        stream
    };
    let mut server = project.serve(&["./server.js", "--workers", "1", "--set", "timeouts.drain=100ms"]);
    let _open = begun(&server);
    signal(&server, Signal::TERM);
    server.wait_for("1 connections were still busy after 100ms and are cut");
    assert_eq!(server.end(), Some(0), "{:#?}", server.log);

    let mut server = project.serve(&["./server.js", "--workers", "1"]);
    let _open = begun(&server);
    signal(&server, Signal::INT);
    server.wait_for("draining");
    signal(&server, Signal::INT);
    assert_eq!(server.end(), Some(130), "{:#?}", server.log);
}

#[test]
fn a_reload_brings_new_code_and_settings_and_keeps_the_old_where_they_fail() {
    let config =
        |greeting: &str| format!("[service.web]\nnode = \"server.js\"\nworkers = 1\nenv = {{ GREETING = \"{greeting}\" }}\n");
    let project = Project::new(&[("server.js", APP), ("bireme.toml", &config("one"))]);
    let mut server = project.serve(&[]);
    assert_eq!(server.get("/"), "one");

    project.write("bireme.toml", &config("two"));
    assert!(stdout(&project.run(&["reload"])).starts_with("reloaded in "));
    assert_eq!(server.get("/"), "two");

    project.write("bireme.toml", &config("three").replace("workers", "wrokers"));
    let failed = project.run(&["reload"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.starts_with("nothing was changed: bireme.toml:3: unknown key \"wrokers\""), "{said}");
    assert_eq!(server.get("/"), "two");

    project.write("bireme.toml", &config("three"));
    project.write("server.js", "throw new Error('broken')");
    assert_eq!(project.run(&["reload"]).status.code(), Some(1));
    assert_eq!(server.get("/"), "two");

    project.write("server.js", APP);
    project.write("bireme.toml", &format!("log_level = \"debug\"\n{}", config("four")));
    signal(&server, Signal::HUP);
    server.wait_for("a change of log_format or log_level takes a restart; the old value stays");
    server.wait_for("reloaded in");
    assert_eq!(server.get("/"), "four");
}

#[test]
fn a_server_answers_while_a_reload_is_under_way() {
    let project = Project::new(&[("server.js", APP)]);
    let mut server = project.serve(&["./server.js", "--workers", "1"]);
    // New workers are not ready before there is a file.
    let go = "if (!require('fs').existsSync('go')) return; clearInterval(wait);";
    project.write("server.js", &format!("const wait = setInterval(() => {{ {go} {APP} }}, 20);"));
    signal(&server, Signal::HUP);
    server.wait_for("starting new workers beside the old");
    let status = stdout(&project.run(&["status"]));
    assert!(status.contains(&format!("process {},", server.child.id())), "{status}");
    let second = project.run(&["reload"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.starts_with("nothing was changed: another reload is under way"), "{said}");
    project.write("go", "");
    server.wait_for("reloaded in");
    assert_eq!(server.get("/"), "hello");
}

#[test]
fn status_tells_running_servers_apart() {
    let project = Project::new(&[("server.js", APP), ("bireme.toml", "[service.web]\nnode = \"server.js\"\nworkers = 2\n")]);
    let first = project.serve(&[]);
    let status: serde_json::Value = serde_json::from_str(&stdout(&project.run(&["status", "--json"]))).unwrap();
    assert_eq!(status["pid"], first.child.id());
    assert_eq!(status["listen"][0], format!("http://{}", first.address));
    assert_eq!((&status["services"][0]["name"], &status["services"][0]["wanted"]), (&"web".into(), &2.into()));

    let second = project.serve(&["./server.js", "--workers", "1"]);
    let here = stdout(&project.run(&["status"]));
    assert!(here.contains(&format!("process {},", first.child.id())), "the one of this folder's file: {here}");
    let elsewhere = project.bireme(&["status"]).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert!(said.starts_with("several servers are running; say which"), "{said}");
    let pid = second.child.id().to_string();
    let port = second.address.rsplit(':').next().unwrap();
    let (by_name, by_url) = (format!("localhost:{port}"), format!("http://{}/", second.address));
    for meant in
        [["--pid", &pid], ["--listen", &second.address], ["--listen", port], ["--listen", &by_name], ["--listen", &by_url]]
    {
        let said = stdout(&project.run(&["status", meant[0], meant[1]]));
        assert!(said.contains(&format!("process {pid},")), "{said}");
    }
    let said = stdout(&project.run(&["status", "--config", "bireme.toml"]));
    assert!(said.contains(&format!("process {},", first.child.id())), "{said}");
}

#[test]
fn a_start_that_fails_says_why_and_what_to_do() {
    let project = Project::new(&[("server.js", "throw new Error('no database')")]);
    let mut server = project.start(&["./server.js", "--workers", "2"]);
    assert_eq!(server.end(), Some(1));
    let log = server.log.join("\n");
    assert!(log.contains("error server#"), "{log}");
    assert!(log.contains("at Object.<anonymous>"), "{log}");
    assert!(log.contains("nothing is served, because service server did not start: Error: no database"), "{log}");
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let project = Project::new(&[("server.js", APP)]);
    let output = project.run(&["serve", "./server.js", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with(&format!("can't listen on {address}: ")), "{said}");
}
