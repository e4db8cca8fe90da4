//! `bireme call` against a worker that answers in every way there is.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let runtime = folder.path().join("runtime");
    fs::create_dir_all(runtime.join("python")).unwrap();
    let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/call_worker.py");
    symlink(worker, runtime.join("python/launch.py")).unwrap();
    fs::write(folder.path().join("model.py"), "").unwrap();
    folder
}

fn bireme(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bireme"));
    command.arg("call").args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("BIREME_RUNTIME", folder.join("runtime")).env("BIREME_RUNTIME_DIR", folder.join("run"));
    command
}

/// Calls a function of the worker: exit status, stdout, and a part of stderr.
#[track_caller]
fn check(args: &[&str], status: i32, stdout: &str, stderr: &str) {
    let folder = project();
    let output = bireme(folder.path(), args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{said}");
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(stderr), "{said}");
    let run = folder.path().join("run");
    assert!(!run.exists() || fs::read_dir(run).unwrap().count() == 0, "nothing is left behind");
}

#[test]
fn arguments_arrive_and_results_are_printed() {
    let args = ["./model.py:echo", "[1,2,3]", "-4", r#"{"b": null, "a": {"$bytes": "AP8="}}"#];
    check(&args, 0, "[[1,2,3],-4,{\"b\":null,\"a\":{\"$bytes\":\"AP8=\"}}]\n", "");
    check(&["model.py:pieces"], 0, "[1,2]\n", "");
}

#[test]
fn keywords_follow_the_arguments() {
    // The worker gives back both, which are two values and so no result.
    check(&["./model.py:echo", "--kwargs", r#"{"top": 3}"#], 5, "", "more bytes than the value's");
    check(&["./model.py:echo", "--kwargs", "[3]"], 2, "", "--kwargs is no JSON object");
}

#[test]
fn large_arguments_and_results_come_in_pieces() {
    let folder = project();
    // Linux takes no single argument of more than 128 KiB.
    let piece = format!("\"{}\"", "x".repeat(100_000));
    let mut args = vec!["./model.py:echo"];
    args.extend(std::iter::repeat_n(&*piece, 12));
    // The worker does not cut its answer: it is larger than a frame may be, and the link ends.
    let output = bireme(folder.path(), &args).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("frame of"), "{output:?}");
    args.insert(0, "--set=calls.message_bytes_max=1MiB");
    let output = bireme(folder.path(), &args).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("BIREME_TOO_LARGE"), "{output:?}");
}

#[test]
fn streams_are_lines() {
    check(&["./model.py:rows"], 0, "1\n2\n3\n", "");
    check(&["./model.py:rows_that_fail"], 1, "1\n", "ValueError: no");
}

#[test]
fn errors_show_both_stacks() {
    let shown = "\
Stack (innermost last):
  /app/page.js:10:2 in show (JavaScript)
  /app/model.py:3:5 in predict (Python)
    raise ValueError(x)
ValueError: no
a note
";
    check(&["./model.py:fail"], 1, "", shown);
}

#[test]
fn the_status_tells_why_there_is_no_result() {
    check(&["./model.py:busy"], 5, "", "ServiceBusy: full [BIREME_SERVICE_BUSY]");
    check(&["./model.py:die"], 5, "", "whether the call took effect is unknown [BIREME_WORKER_LOST]");
    check(&["./model.py:die_queued"], 5, "", "the call had not started [BIREME_WORKER_LOST]");
    check(&["./model.py:nonsense"], 5, "", "broke the protocol of calls");
    check(&["./model.py:stranger"], 5, "", "broke the protocol of calls");
    check(&["./model.py:never", "--timeout", "50ms"], 124, "", "no result within 50 ms [BIREME_CALL_TIMEOUT]");
    check(&["./missing.py:f"], 2, "", "the file ./missing.py does not exist");
    check(&["./model.py:f", "hello"], 2, "", "argument 1 is no JSON");
    check(&["--language", "node", "node:os:cpus"], 5, "", "boot.cjs");
}

#[test]
fn a_call_that_had_not_begun_goes_to_another_worker() {
    check(&["./model.py:die_queued_once"], 0, "\"another worker\"\n", "the call had not started; another worker is asked");
}

#[test]
fn an_argument_may_come_from_stdin() {
    let folder = project();
    for (args, stdin, expected) in [
        (["./model.py:echo", "1", "-"].as_slice(), "[true]\n", "[1,[true]]\n"),
        (&["./model.py:echo", "-", "-"], "1", "write - once"),
        (&["./model.py:echo", "-"], "one", "argument 1 is no JSON"),
    ] {
        let mut child = bireme(folder.path(), args).stdin(Stdio::piped()).spawn().unwrap();
        // Who refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(said[0] == expected || said[1].contains(expected), "{said:?}");
    }
}

#[test]
fn who_reads_no_further_cancels_a_stream() {
    let folder = project();
    let mut child = bireme(folder.path(), &["./model.py:endless"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "1\n");
    // What the worker says of it: the eight items have been taken.
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("credit 8")), "credit is granted for what was printed");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 0);
}
