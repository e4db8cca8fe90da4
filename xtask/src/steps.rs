//! Running other programs so that a person sees what goes on and how long it takes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;

/// A silent program shows a sign of life this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What a failed quiet step shows of its output, in lines; all of it is in its log file.
const TAIL_LINES_MAX: usize = 40;

/// Says that a step begins; [`Step::done`] says that it ended.
pub struct Step {
    name: String,
    start: Instant,
}

impl Step {
    /// Prints the step's name.
    pub fn begin(name: impl Into<String>) -> Step {
        let name = name.into();
        say(&format!("• {name} …"));
        Step { name, start: Instant::now() }
    }

    /// Prints that it is done and how long it took.
    pub fn done(self) {
        say(&format!("✓ {} ({})", self.name, elapsed(self.start)));
    }
}

/// Prints one line at once, also into a pipe.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe means that nobody reads progress any more; the chore itself goes on.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs a program whose own output is the progress.
pub fn run_loud(name: &str, command: &mut Command) -> anyhow::Result<()> {
    let step = Step::begin(name);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("could not run {}", program(command)))?;
    anyhow::ensure!(status.success(), "{name} failed ({status}): {}", shown(command));
    step.done();
    Ok(())
}

/// Runs a program whose output goes to `log`; a line every few seconds says that it lives and what it last said.
pub fn run_quiet(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let step = Step::begin(name);
    let start = step.start;
    let mut file = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
    let mut tail = std::collections::VecDeque::new();
    let status = each_line(command, HEARTBEAT, |line| match line {
        Some(line) => {
            // The log is for a failure that has not happened yet: a full disk shows in the program itself.
            let _ = writeln!(file, "{line}");
            if tail.len() == TAIL_LINES_MAX {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
        }
        None => {
            let last: String = tail.back().map_or("", |l| l.trim()).chars().take(90).collect();
            say(&format!("  {} {last}", elapsed(start)));
        }
    })?;
    if !status.success() {
        let tail: Vec<String> = tail.into_iter().collect();
        anyhow::bail!(
            "{name} failed ({status}): {}\n{}\nall of its output is in {}",
            shown(command),
            tail.join("\n"),
            log.display()
        );
    }
    step.done();
    Ok(())
}

/// Runs a program and hands over each line of its stdout and stderr as it comes; `None` when there was none
/// for `silence`, or for [`HEARTBEAT`] where that is shorter.
pub fn each_line(command: &mut Command, silence: Duration, mut on_line: impl FnMut(Option<&str>)) -> anyhow::Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not run {}", program(command)))?;
    // Bounded: a reader that is far ahead waits, and through the pipe the program does.
    let (sender, lines) = mpsc::sync_channel::<String>(1024);
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>),
        child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>),
    ];
    for pipe in pipes.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { break };
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    // A grandchild that keeps the pipes open must not keep us: once the program has ended and the pipes are
    // silent, this is over.
    let mut ended = None;
    loop {
        match lines.recv_timeout(if ended.is_some() { Duration::from_secs(2) } else { silence.min(HEARTBEAT) }) {
            Ok(line) => on_line(Some(line.trim_end_matches('\r'))),
            Err(RecvTimeoutError::Timeout) if ended.is_some() => break,
            Err(RecvTimeoutError::Timeout) => {
                on_line(None);
                ended = child.try_wait()?;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(child.wait()?)
}

/// The program and its arguments, as typed.
pub fn shown(command: &Command) -> String {
    let mut text = program(command);
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// How long ago `start` was.
pub fn elapsed(start: Instant) -> String {
    length(start.elapsed())
}

/// `4.2 s`, `3 min 05 s`.
pub fn length(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
