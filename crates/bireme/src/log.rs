//! The log on stderr: short lines for people or JSON for machines, written by a thread of its own so that nobody who
//! logs waits for a slow terminal.
//!
//! Lines that find no room are dropped and counted, and the count is written as soon as there is room again.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::{Log, LogFormat, LogLevel};
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Text that may wait for stderr: some ten thousand lines, so that a burst survives and a stuck terminal costs no more.
const QUEUE_BYTES_MAX: usize = 2 << 20;
/// Longest wait for stderr when Bireme ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the log. It is written out when the guard is dropped.
pub fn start(settings: &Log) -> io::Result<Guard> {
    start_for(settings, false)
}

/// The same for commands whose user waits for something else: what workers print is shown, but of Bireme's own news
/// only what is wrong, unless more is asked for than the default.
pub fn start_quiet(settings: &Log) -> io::Result<Guard> {
    start_for(settings, settings.level == LogLevel::Info)
}

fn start_for(settings: &Log, quiet: bool) -> io::Result<Guard> {
    let queue = Arc::new(Queue::default());
    let json = settings.format == LogFormat::Json;
    let thread = queue.clone();
    std::thread::Builder::new().name("log".to_owned()).spawn(move || thread.write_out(json))?;
    let terminal = io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let level = match settings.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .event_format(Format { json, colour, quiet })
        .with_max_level(level)
        .with_writer(Lines(queue.clone()))
        .finish();
    // Nothing has logged before; a second start in one process would be a mistake of ours, and would change nothing.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Guard(queue))
}

/// Writes out what is left when it is dropped.
#[derive(Debug)]
pub struct Guard(Arc<Queue>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    lost: u64,
    writing: bool,
    closed: bool,
}

impl Queue {
    /// A panic elsewhere must not end the log.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.text.len() + line.len() > QUEUE_BYTES_MAX {
            waiting.lost += 1;
            return;
        }
        waiting.text.extend_from_slice(line);
        drop(waiting);
        self.changed.notify_all();
    }

    fn write_out(&self, json: bool) {
        let mut text = Vec::new();
        loop {
            let mut waiting = self.lock();
            waiting.writing = false;
            self.changed.notify_all();
            while waiting.text.is_empty() && waiting.lost == 0 {
                if waiting.closed {
                    return;
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut text, &mut waiting.text);
            let lost = std::mem::take(&mut waiting.lost);
            waiting.writing = true;
            drop(waiting);
            if lost > 0 {
                text.extend_from_slice(lost_lines(lost, json).as_bytes());
            }
            // A closed stderr leaves nowhere to complain.
            let _ = io::stderr().write_all(&text);
            text.clear();
            text.shrink_to(64 << 10);
        }
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.changed.notify_all();
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.text.is_empty();
        drop(self.changed.wait_timeout_while(waiting, CLOSE_TIMEOUT, busy));
    }
}

/// The line that stands for those that found no room.
fn lost_lines(count: u64, json: bool) -> String {
    let message = format!("{count} lines of the log were lost: stderr is not read quickly enough");
    if !json {
        return format!("({message})\n");
    }
    let line = serde_json::json!({ "time": now(), "level": "warn", "target": module_path!(), "message": message });
    format!("{line}\n")
}

/// Hands each event's line over as a whole.
struct Lines(Arc<Queue>);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(&self.0)
    }
}

struct Line<'w>(&'w Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Format {
    json: bool,
    colour: bool,
    quiet: bool,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        // The libraries below log for their own developers.
        let heard = if self.quiet { metadata.target() == "worker" } else { is_ours(metadata) };
        if *metadata.level() > Level::WARN && !heard {
            return Ok(());
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if self.json { json(&mut out, metadata, fields) } else { text(&mut out, metadata, fields, self.colour) }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let name = metadata.target().split("::").next().unwrap_or_default();
    ["bireme", "config", "front", "link", "route", "supervise", "worker"].contains(&name)
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.others.iter().position(|(field, _)| *field == name)?;
        Some(self.others.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.others.push((name, value.into())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn json(out: &mut Writer<'_>, metadata: &Metadata<'_>, fields: Fields) -> fmt::Result {
    let mut line = Map::new();
    line.insert("time".to_owned(), now().into());
    line.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
    line.insert("target".to_owned(), metadata.target().into());
    line.insert("message".to_owned(), fields.message.into());
    for (name, value) in fields.others {
        line.entry(name).or_insert(value);
    }
    writeln!(out, "{}", Value::Object(line))
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// `14:03:07.120 warn message field=value`; what a worker prints: `14:03:07.120 [ml#2] line`.
fn text(out: &mut Writer<'_>, metadata: &Metadata<'_>, mut fields: Fields, colour: bool) -> fmt::Result {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (dim, reset) = (paint("\x1b[2m"), paint("\x1b[0m"));
    write!(out, "{dim}{}{reset} ", Zoned::now().strftime("%H:%M:%S.%3f"))?;
    let worker = fields.take("worker");
    if metadata.target() == "worker" {
        let name = worker.as_ref().and_then(Value::as_str).unwrap_or("worker");
        // As in the application's own terminal: colours and all. Lines come without their ends.
        return writeln!(out, "{}[{name}]{reset} {}", paint("\x1b[36m"), fields.message);
    }
    match *metadata.level() {
        Level::ERROR => write!(out, "{}error{reset} ", paint("\x1b[31m"))?,
        Level::WARN => write!(out, "{}warn{reset} ", paint("\x1b[33m"))?,
        Level::INFO => {}
        Level::DEBUG => write!(out, "{dim}debug{reset} ")?,
        Level::TRACE => write!(out, "{dim}trace{reset} ")?,
    }
    plain(out, &fields.message)?;
    for (name, value) in &fields.others {
        write!(out, " {dim}{name}={reset}")?;
        match value {
            Value::String(text) => plain(out, text)?,
            other => write!(out, "{other}")?,
        }
    }
    out.write_char('\n')
}

/// Messages may quote what clients sent: no control character reaches a terminal, and no line passes for another.
fn plain(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    for letter in text.trim_end().chars() {
        match letter {
            '\n' => out.write_str("\n    ")?,
            '\t' => out.write_char('\t')?,
            control if control.is_control() => write!(out, "{}", control.escape_default())?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_lines_are_counted_in_the_form_of_the_log() {
        assert_eq!(lost_lines(3, false), "(3 lines of the log were lost: stderr is not read quickly enough)\n");
        let line: Value = serde_json::from_str(&lost_lines(3, true)).unwrap();
        assert_eq!((&line["level"], &line["target"]), (&"warn".into(), &"bireme::log".into()));
        assert!(line["message"].as_str().is_some_and(|message| message.starts_with("3 lines")), "{line}");
    }
}
