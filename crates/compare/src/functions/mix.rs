//! What mixing languages costs: the same function in its own language, across a call from the other, and over HTTP.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::Cancel;
use crate::document::Launch;
use crate::server::{Server, ServerLauncher};
use crate::statistics::median;

/// How often a wait looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// One side's function, called from the other language.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// Serves the function over HTTP.
    pub server: ServerLauncher,
    /// Runs the caller, `mix.mjs` or `mix.py`, with calls to reach.
    pub program: PathBuf,
    /// Arguments up to the file and the function; cases, seconds and address follow.
    pub arguments: Vec<OsString>,
}

/// What the caller prints.
#[derive(Deserialize)]
struct Printed {
    call: Vec<f64>,
    http: Vec<f64>,
}

/// One launch: medians as `call` and `http`.
pub fn measure(mix: &Mix, cases: &Path, seconds: f64, cancel: &Cancel) -> Result<Launch, String> {
    let server = Server::start(&mix.server, cancel)?;
    let mut command = Command::new(&mix.program);
    command.args(&mix.arguments).arg(cases).arg(seconds.to_string()).arg(format!("http://{}/", server.address));
    command.current_dir(&mix.server.folder);
    let patience = mix.server.patience + Duration::from_secs_f64(2.0 * seconds);
    let text = output(command, &mix.server.name, patience, cancel)?;
    let line = text.lines().next_back().unwrap_or_default();
    let printed: Printed =
        serde_json::from_str(line).map_err(|error| format!("{}: the caller's times do not parse: {error}", mix.server.name))?;
    let steady = |took: &[f64]| median(&took[took.len() / 2..]);
    Ok(Launch {
        side: mix.server.name.clone(),
        block: 0,
        position: 0,
        began_seconds: 0.0,
        values: BTreeMap::from([("call".to_owned(), steady(&printed.call)), ("http".to_owned(), steady(&printed.http))]),
        warm_up: None,
        latency: None,
        void: None,
    })
}

/// Runs a program to its end; what it printed, or why there is nothing.
fn output(mut command: Command, name: &str, patience: Duration, cancel: &Cancel) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    supervise::tie_to_this_thread(&mut command);
    let child = command.spawn().map_err(|error| format!("{name}: the caller cannot be run: {error}"))?;
    let pid = child.id();
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let deadline = Instant::now() + patience;
    let why = loop {
        match ended.recv_timeout(CANCEL_POLL) {
            Ok(Ok(output)) if output.status.success() => return Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(Ok(output)) => {
                break format!(
                    "{name}: the caller ended with {}: {}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
            Ok(Err(error)) => break format!("{name}: the caller cannot be heard: {error}"),
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => break "interrupted".to_owned(),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => continue,
            Err(_) => break format!("{name}: the caller did not end within {} s", patience.as_secs()),
        }
    };
    for pid in crate::processes::tree(pid).into_iter().rev() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Err(why)
}
