//! One process that runs one side's function: commands and replies as JSON lines over its descriptor 0.
//!
//! `node/src/compare/run.mjs` and `python/src/bireme/compare/run.py` are the other end.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Cancel;

/// Longest reply: a large answer, or 200,000 samples.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// What is kept of what a process prints.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// How often a waiting command looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// How to launch a side.
#[derive(Clone, Debug, PartialEq)]
pub struct Launcher {
    /// Name of the side.
    pub name: String,
    /// The interpreter.
    pub interpreter: PathBuf,
    /// Arguments that lead to the runner and name the function.
    pub arguments: Vec<PathBuf>,
    /// The file with the function.
    pub target: PathBuf,
    /// Variables on top of this process's own.
    pub environment: Vec<(OsString, OsString)>,
    /// Working folder.
    pub folder: PathBuf,
    /// The longest wait for a start or an answer.
    pub patience: Duration,
}

/// A running process; killed when dropped.
pub struct Runner {
    name: String,
    child: Child,
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    output: Arc<Mutex<Vec<u8>>>,
    patience: Duration,
    cancel: Cancel,
    /// What it said of itself.
    pub hello: Hello,
    /// From the order to start it until the function was loaded.
    pub loaded_after: Duration,
}

/// A runner's first line.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Hello {
    /// The interpreter's version.
    pub version: String,
    /// What changes its speed.
    #[serde(default)]
    pub facts: Vec<String>,
}

/// Reply to `answer`.
#[derive(Clone, Debug, Deserialize)]
pub struct Answered {
    /// What the function returned.
    #[serde(default)]
    pub value: Option<Value>,
    /// What it threw instead.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether it returned a promise or an awaitable.
    #[serde(default)]
    pub asynchronous: bool,
    /// Whether its input was another after the call.
    #[serde(default)]
    pub changed_input: bool,
}

/// Reply to `time`.
#[derive(Clone, Debug, Deserialize)]
pub struct Timed {
    /// Seconds a call, one for each sample, in order.
    pub took: Vec<f64>,
    /// Processor time of the process and its children.
    pub cpu_seconds: f64,
    /// All of it, with what lies between calls.
    pub elapsed_seconds: f64,
    /// Calls that threw.
    pub errors: u64,
}

/// Reply to `flood`.
#[derive(Clone, Debug, Deserialize)]
pub struct Flooded {
    /// Calls that returned.
    pub calls: u64,
    /// Calls that threw.
    pub errors: u64,
    /// How long it took.
    pub elapsed_seconds: f64,
}

impl Runner {
    /// Starts the process and waits until the function is loaded. It does not outlive the thread that calls this.
    ///
    /// # Errors
    /// When the interpreter cannot be run, the function is not there, or it takes too long: one text for people.
    pub fn launch(launcher: &Launcher, cancel: &Cancel) -> Result<Runner, String> {
        let failed = |what: &str, error: std::io::Error| format!("{}: {what}: {error}", launcher.name);
        let began = Instant::now();
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed("no socket", error))?;
        let mut command = Command::new(&launcher.interpreter);
        command
            .args(&launcher.arguments)
            .envs(launcher.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launcher.folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C is for us: it should end the run in order, and not the processes under it. A run that is killed leaves nothing behind.
        supervise::tie_to_this_thread(&mut command);
        let mut child =
            command.spawn().map_err(|error| failed(&format!("{} cannot be run", launcher.interpreter.display()), error))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let pipes =
            [child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>), child.stderr.take().map(|p| Box::new(p) as _)];
        for pipe in pipes.into_iter().flatten() {
            let output = output.clone();
            std::thread::spawn(move || keep_tail(pipe, &output));
        }
        let writer = ours.try_clone().map_err(|error| failed("no socket", error))?;
        let mut runner = Runner {
            name: launcher.name.clone(),
            child,
            reader: BufReader::new(ours),
            writer,
            output,
            patience: launcher.patience,
            cancel: cancel.clone(),
            hello: Hello::default(),
            loaded_after: Duration::ZERO,
        };
        let line = runner.read_line(launcher.patience, "loading the function")?;
        runner.hello = runner.parse(&line)?;
        runner.loaded_after = began.elapsed();
        Ok(runner)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads the cases; returns how many there are.
    pub fn load(&mut self, cases: &std::path::Path) -> Result<u64, String> {
        let reply: Value = self.ask(json!({ "do": "load", "cases": cases }), Duration::ZERO)?;
        Ok(reply["cases"].as_u64().unwrap_or(0))
    }

    /// Calls the function with a case.
    pub fn answer(&mut self, case: u64) -> Result<Answered, String> {
        self.ask(json!({ "do": "answer", "case": case }), Duration::ZERO)
    }

    /// Calls it one after the other; `calls` in each sample.
    pub fn time(&mut self, seconds: f64, calls: u32, parse: bool, asynchronous: bool) -> Result<Timed, String> {
        let command = json!({ "do": "time", "seconds": seconds, "calls": calls, "parse": parse, "asynchronous": asynchronous });
        self.ask(command, Duration::from_secs_f64(3.0 * seconds))
    }

    /// Keeps so many calls of an asynchronous function in flight.
    pub fn flood(&mut self, seconds: f64, in_flight: u32) -> Result<Flooded, String> {
        self.ask(json!({ "do": "flood", "seconds": seconds, "in_flight": in_flight }), Duration::from_secs_f64(seconds))
    }

    /// Seconds that a throw and its catch take, `depth` calls below.
    pub fn throw(&mut self, calls: u32, depth: u32) -> Result<f64, String> {
        let reply: Value = self.ask(json!({ "do": "throw", "calls": calls, "depth": depth }), Duration::ZERO)?;
        match (reply["seconds"].as_f64(), reply["caught"].as_u64()) {
            (Some(seconds), Some(caught)) if caught == 2 * u64::from(calls) => Ok(seconds),
            _ => Err(format!("{}: not every error was caught", self.name)),
        }
    }

    /// Sends a command and waits for its reply for the patience and `extra`.
    fn ask<T: DeserializeOwned>(&mut self, command: Value, extra: Duration) -> Result<T, String> {
        let what = command["do"].as_str().unwrap_or_default().to_owned();
        if self.writer.write_all(format!("{command}\n").as_bytes()).is_err() {
            return Err(self.died(&what));
        }
        let what = match command.get("case") {
            Some(case) => format!("case {}", case.as_u64().unwrap_or(0) + 1),
            None => format!("the command \"{what}\""),
        };
        let line = self.read_line(self.patience + extra, &what)?;
        self.parse(&line)
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, String> {
        let value: Value = serde_json::from_slice(line)
            .map_err(|error| format!("{}: its answer is no JSON ({error}); return what JSON can hold", self.name))?;
        if let Some(why) = value["failed"].as_str() {
            return Err(format!("{}: {}", self.name, why.trim_end()));
        }
        serde_json::from_value(value).map_err(|error| format!("{}: the runner's reply does not parse: {error}", self.name))
    }

    fn read_line(&mut self, patience: Duration, what: &str) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + patience;
        let mut line = Vec::new();
        let _ = self.reader.get_ref().set_read_timeout(Some(CANCEL_POLL));
        loop {
            let left = REPLY_BYTES_MAX.saturating_sub(line.len() as u64);
            match self.reader.by_ref().take(left).read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => return Ok(line),
                Ok(_) if line.len() as u64 >= REPLY_BYTES_MAX => {
                    return Err(format!("{}: {what}: the answer is larger than {REPLY_BYTES_MAX} bytes", self.name));
                }
                Ok(_) => return Err(self.died(what)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                    if self.cancel.is_cancelled() {
                        return Err("interrupted".to_owned());
                    }
                    if Instant::now() >= deadline {
                        return Err(format!(
                            "{}: {what} gave no answer within {} s{}",
                            self.name,
                            patience.as_secs(),
                            self.printed()
                        ));
                    }
                }
                Err(_) => return Err(self.died(what)),
            }
        }
    }

    fn died(&mut self, what: &str) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("{}: the process ended during {what} ({status}){}", self.name, self.printed())
    }

    fn printed(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&output);
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!("; it printed:\n{text}") }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself, and so may its children have.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that the process never waits for a full pipe, and keeps the last of it.
fn keep_tail(mut pipe: impl Read, output: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        let mut kept = output.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..count]);
        let surplus = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        kept.drain(..surplus);
    }
}
