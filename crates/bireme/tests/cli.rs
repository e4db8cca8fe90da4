//! What commands print, and with which exit status they end.
//!
//! `BIREME_BLESS=1 cargo test -p bireme --test cli` writes the snapshots anew; look at the difference.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const WEB: &str = "[service.web]\nnode = \"server.js\"\n";

/// Runs `bireme` in a folder with these files, and compares status, stdout and stderr with the snapshot.
fn check_cli(snapshot: &str, files: &[(&str, &str)], args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = ["runtime/node/src/boot.cjs", "runtime/python/launch.py"].map(|path| (path, ""));
    for (path, content) in files.iter().chain(&runtime) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bireme"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BIREME_")) {
        command.env_remove(name);
    }
    command.env_remove("COLUMNS").env("BIREME_RUNTIME", folder.path().join("runtime")).current_dir(folder.path());
    let output = command.args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(folder.path().to_str().unwrap(), "[folder]");
    let got = format!(
        "$ bireme {}\nstatus {}\n--- stdout\n{}--- stderr\n{}",
        args.join(" "),
        output.status.code().map_or("by signal".to_owned(), |code| code.to_string()),
        text(&output.stdout),
        text(&output.stderr)
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(snapshot).with_extension("txt");
    if std::env::var_os("BIREME_BLESS").is_some() {
        fs::write(path, got).unwrap();
    } else {
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(got == expected, "{} is other than expected.\n== expected\n{expected}\n== got\n{got}", path.display());
    }
}

#[test]
fn help_reads_well() {
    check_cli("help", &[], &["--help"]);
    check_cli("help-serve", &[], &["serve", "--help"]);
    check_cli("help-dev", &[], &["dev", "--help"]);
    check_cli("help-run", &[], &["run", "--help"]);
    check_cli("help-types", &[], &["types", "--help"]);
    check_cli("help-call", &[], &["call", "--help"]);
    check_cli("help-compare", &[], &["compare", "--help"]);
    check_cli("help-none", &[], &[]);
}

#[test]
fn unknown_flags_and_commands_are_said() {
    check_cli("unknown-flag", &[], &["serve", "--wrokers", "2"]);
    check_cli("unknown-command", &[], &["server"]);
}

#[test]
fn mistakes_in_the_file_are_all_said_with_their_lines() {
    let file = "lisen = [\":80\"]\n\n[service.web]\nnode = \"server.js\"\nworker = 2\n\n[timeouts]\ndrain = 30\n";
    check_cli("mistakes", &[("bireme.toml", file), ("server.js", "")], &["check"]);
    check_cli("mistakes-serve", &[("bireme.toml", file), ("server.js", "")], &["serve"]);
    check_cli("not-toml", &[("bireme.toml", "listen = [\"a\"\n[x]\n")], &["serve"]);
    check_cli("file-missing", &[], &["serve", "--config", "production.toml"]);
}

#[test]
fn mistakes_in_flags_are_said() {
    check_cli("nothing-to-serve", &[], &["serve"]);
    check_cli("target-unknown", &[], &["serve", "server"]);
    check_cli("routes-missing", &[("a.js", "")], &["serve", "./a.js", "ml=b:app"]);
    check_cli("listen-wrong", &[("a.js", "")], &["serve", "./a.js", "--listen", "example.com:80"]);
    check_cli("set-wrong", &[("a.js", "")], &["serve", "./a.js", "--set", "timeouts.respons=5s"]);
    check_cli("pattern-wrong", &[("a.js", "")], &["serve", "./a.js", "--route", "/api*=a"]);
}

#[test]
fn check_finds_what_only_the_file_system_and_the_whole_show() {
    let routes = "[[route]]\nmatch = \"/*\"\nto = \"web\"\n[[route]]\nmatch = \"/assets/*\"\nstatic = \"public\"\n";
    let tls = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    check_cli("check-files", &[("bireme.toml", &format!("{WEB}cwd = \"there\"\n{tls}{routes}"))], &["check"]);
    let unused = format!("trusted_proxies = \"0.0.0.0/0\"\n{WEB}[service.api]\nnode = \"server.js\"\n{routes}");
    check_cli("check-warnings", &[("bireme.toml", &unused), ("server.js", ""), ("public/a.css", "")], &["check"]);
    check_cli("check-ok", &[("bireme.toml", WEB), ("server.js", "")], &["check"]);
    check_cli(
        "check-pattern",
        &[("bireme.toml", &format!("{WEB}[[route]]\nmatch = \"/a*\"\nto = \"web\"\n")), ("server.js", "")],
        &["check"],
    );
}

#[test]
fn config_show_says_where_values_come_from() {
    check_cli("config-show", &[("bireme.toml", WEB), ("server.js", "")], &["config", "show", "--workers", "3", "--threads", "2"]);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bireme"));
    let mut child = command.args(["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()));
}

#[test]
fn without_a_server_there_is_nothing_to_ask() {
    check_cli("status-none", &[], &["status", "--runtime-dir", "none"]);
    check_cli("reload-none", &[], &["reload", "--runtime-dir", "none"]);
}
