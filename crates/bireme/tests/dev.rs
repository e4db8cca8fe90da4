//! `bireme dev` with real Node programs that are changed while it serves.

mod running;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use running::{Server, repository};

const CONFIG: &str = "
[service.web]
node = \"web/server.js\"
cwd = \"web\"
[service.api]
node = \"api/server.js\"
cwd = \"api\"
[[route]]
match = \"/api/*\"
to = \"api\"
[[route]]
match = \"/*\"
to = \"web\"
";

fn program(answer: &str) -> String {
    format!("require('http').createServer((request, response) => response.end(`{answer} ${{process.pid}}`)).listen(3000);\n")
}

/// A project that is served and changed.
struct Dev {
    folder: tempfile::TempDir,
    server: Server,
}

impl Dev {
    fn start(files: &[(&str, &str)]) -> Dev {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("runtime");
        fs::create_dir(&runtime).unwrap();
        std::os::unix::fs::symlink(repository().join("node"), runtime.join("node")).unwrap();
        let project = folder.path().join("project");
        for (path, content) in files {
            write(&project.join(path), content);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_bireme"));
        command.args(["dev", "--listen", "127.0.0.1:0"]).current_dir(&project).stdin(Stdio::null());
        command.env("BIREME_RUNTIME", runtime).env("BIREME_RUNTIME_DIR", folder.path().join("run"));
        // Where a start fails, it listens without being ready.
        Dev { folder, server: Server::start(&mut command).ready("on http://") }
    }

    fn change(&self, name: &str, content: &str) {
        write(&self.folder.path().join("project").join(name), content);
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        self.server.wait_for(text)
    }

    fn get(&self, path: &str) -> String {
        self.server.get(path)
    }
}

/// Creates folders as needed.
fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_change_gives_its_service_new_workers_and_leaves_the_others_alone() {
    let mut dev =
        Dev::start(&[("bireme.toml", CONFIG), ("web/server.js", &program("first")), ("api/server.js", &program("api"))]);
    let api = dev.get("/api/");
    assert!(dev.get("/").starts_with("first ") && api.starts_with("api "));
    dev.change("web/server.js", &program("second"));
    dev.wait_for("server.js changed");
    dev.wait_for("reloaded in");
    assert!(dev.get("/").starts_with("second "));
    assert_eq!(dev.get("/api/"), api, "the same process answers");
    // A change of the configuration is a change of everything.
    dev.change("bireme.toml", &CONFIG.replace("/api/*", "/other/*"));
    dev.wait_for("reloaded in");
    assert!(dev.get("/other/").starts_with("api ") && dev.get("/api/").starts_with("second "));
}

#[test]
fn what_fails_to_start_is_said_and_the_old_workers_serve_on() {
    let mut dev =
        Dev::start(&[("bireme.toml", CONFIG), ("web/server.js", &program("first")), ("api/server.js", &program("api"))]);
    let before = dev.get("/");
    dev.change("web/server.js", "this is no JavaScript\n");
    dev.wait_for("the reload failed");
    dev.wait_for("SyntaxError");
    assert_eq!(dev.get("/"), before);
    dev.change("web/server.js", &program("repaired"));
    dev.wait_for("reloaded in");
    assert!(dev.get("/").starts_with("repaired "));
}

#[test]
fn a_start_that_fails_waits_for_its_repair_and_pages_say_why() {
    let broken = "throw new Error('the database is on holiday');\n";
    let mut dev = Dev::start(&[("bireme.toml", CONFIG), ("web/server.js", broken), ("api/server.js", &program("api"))]);
    assert!(dev.server.log.iter().any(|line| line.contains("the database is on holiday")), "{:#?}", dev.server.log);
    let page = dev.get("/");
    assert!(page.contains("<pre>") && page.contains("the database is on holiday"), "{page}");
    dev.change("web/server.js", "module.exports = () => { throw new Error('<no luck>'); };\n");
    dev.wait_for("reloaded in");
    let page = dev.get("/");
    assert!(page.contains("&lt;no luck&gt;") && page.contains("server.js:1"), "{page}");
    dev.change("web/server.js", &program("repaired"));
    dev.wait_for("reloaded in");
    assert!(dev.get("/").starts_with("repaired "));
}
