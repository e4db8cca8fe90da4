//! One call from outside of any worker: asks the broker where the function runs and speaks a call link to that worker
//! (`protocol/calls.md`).
//!
//! `caller` starts no workers. A call that had not begun when its worker ended goes to another one; what may have begun is
//! not tried again: a person is there to decide that.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::{RemoteError, Target, Text, Value, bind, decode, decode_sequence};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use supervise::{Access, Language};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;
use wire::{FLAG_END, FLAG_KWARGS, FLAG_PART, FLAG_STREAM, Kind, PAYLOAD_MAX, PROTOCOL_VERSION};

/// What is called, and with what.
#[derive(Debug)]
pub struct Call {
    /// Whose function it is.
    pub language: Language,
    /// Where it is.
    pub target: Target,
    /// Its name there, dotted.
    pub name: String,
    /// The service that runs it, if it is not to be found by the target.
    pub service: Option<String>,
    /// Arguments by position.
    pub args: Vec<Value>,
    /// Arguments by name.
    pub kwargs: Option<Vec<(Text, Value)>>,
}

/// What a call gave.
#[derive(Debug)]
pub enum Given {
    /// The result.
    Result(Value),
    /// The next items of a stream.
    Items(Vec<Value>),
}

/// Stream of the only call; those that a caller opens are odd.
const STREAM: u32 = 1;
/// Number of the only function.
const FUNCTION: u32 = 1;

/// How often a call that had not begun goes to another worker.
const RETRIES_MAX: usize = 2;

/// Calls, and hands over what comes of it; `take` says whether more is wanted.
///
/// # Errors
/// What the function raised, or why the call came to nothing, which its code tells.
pub async fn call(access: &Access, call: Call, mut take: impl FnMut(Given) -> bool) -> Result<(), RemoteError> {
    let Call { language, target, name, service, args, kwargs } = call;
    let flags = if kwargs.is_some() { FLAG_KWARGS } else { 0 };
    let question = question(language, &target, service.as_deref());
    let (mut found, first) = resolve(access, &question, &[]).await?;
    let payload = contract::call(FUNCTION, found.options.timeout_ms, args, kwargs);
    let message = Message { bind: bind(FUNCTION, &target, &name), flags, payload };
    let limit = u64::from(found.options.timeout_ms);
    let deadline = (limit > 0).then(|| Instant::now() + Duration::from_millis(limit));
    let mut worker = first;
    let mut tried = Vec::new();
    loop {
        let error = match attempt(access, &worker, &message, &found.options, deadline, &mut take).await {
            Err(error) if tried.len() < RETRIES_MAX && had_not_started(&error) => error,
            outcome => return outcome,
        };
        tracing::warn!("{}; another worker is asked", error.message);
        tried.push(worker.path);
        let next = resolve(access, &question, &tried);
        (found, worker) = match deadline {
            None => next.await?,
            // Why nobody answered says more than that time is up.
            Some(deadline) => tokio::time::timeout_at(deadline, next).await.map_err(|_| error)??,
        };
    }
}

/// What a worker is sent.
struct Message {
    bind: Vec<u8>,
    flags: u8,
    payload: Vec<u8>,
}

async fn attempt(
    access: &Access,
    worker: &Worker,
    message: &Message,
    options: &Options,
    deadline: Option<Instant>,
    take: impl FnMut(Given) -> bool,
) -> Result<(), RemoteError> {
    let hello = json!({
        "token": access.token, "link": "call", "from": "bireme call", "pid": std::process::id(), "language": "none",
    });
    let link = Link::open(&worker.path, &hello).await;
    let mut link = link.map_err(|error| lost(&format!("{} cannot be reached: {error}", worker.worker), "no"))?;
    let mut work = Work { link: &mut link, worker: &worker.worker, take };
    work.run(message, options, deadline).await
}

fn had_not_started(error: &RemoteError) -> bool {
    error.code.as_deref() == Some("BIREME_WORKER_LOST") && error.properties == [("started".into(), "no".into())]
}

#[derive(Debug, Deserialize)]
struct Found {
    workers: Vec<Worker>,
    options: Options,
}

#[derive(Clone, Debug, Deserialize)]
struct Worker {
    worker: String,
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Options {
    timeout_ms: u32,
    message_bytes_max: u64,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default)]
    hint: String,
}

/// RESOLVE's question: where the function runs.
fn question(language: Language, target: &Target, service: Option<&str>) -> Json {
    let (key, place) = match target {
        Target::File(path) => ("file", path),
        Target::Module(module) => ("module", module),
    };
    let mut question = json!({ "id": 1, "language": language.as_str(), key: place });
    if let Some(service) = service {
        question["service"] = service.into();
    }
    question
}

/// Waits for a worker that has not been tried. The link stays open no longer than that.
async fn resolve(access: &Access, question: &Json, tried: &[PathBuf]) -> Result<(Found, Worker), RemoteError> {
    let gone = |error: io::Error| failure("BIREME_NO_BROKER", format!("the broker cannot be reached: {error}"));
    let hello = json!({ "token": access.token, "link": "broker", "from": "bireme call", "pid": std::process::id() });
    // The first is as good as any: nobody else calls.
    let fresh = |workers: &[Worker]| workers.iter().find(|worker| !tried.contains(&worker.path)).cloned();
    loop {
        let mut link = Link::open(&access.path, &hello).await.map_err(gone)?;
        link.send(Kind::Resolve, 0, 0, 0, question.to_string().as_bytes()).await.map_err(gone)?;
        let frame = link.receive().await.map_err(gone)?;
        let answer: Json = serde_json::from_slice(&frame.payload).map_err(|error| gone(error.into()))?;
        if let Some(error) = answer.get("error") {
            let Refusal { code, mut message, hint } = Refusal::deserialize(error).map_err(|error| gone(error.into()))?;
            if !hint.is_empty() {
                message = format!("{message}\n{hint}");
            }
            return Err(failure(&code, message));
        }
        let mut found = Found::deserialize(answer).map_err(|error| gone(error.into()))?;
        // A worker that has just ended may still be listed; its end, and who takes its place, is said.
        while !found.workers.is_empty() {
            if let Some(worker) = fresh(&found.workers) {
                return Ok((found, worker));
            }
            let peers = link.receive().await.map_err(gone)?;
            let Peers { workers } = serde_json::from_slice(&peers.payload).map_err(|error| gone(error.into()))?;
            found.workers = workers;
        }
    }
}

#[derive(Deserialize)]
struct Peers {
    workers: Vec<Worker>,
}

struct Work<'w, T> {
    link: &'w mut Link,
    worker: &'w str,
    take: T,
}

impl<T: FnMut(Given) -> bool> Work<'_, T> {
    async fn run(&mut self, message: &Message, options: &Options, deadline: Option<Instant>) -> Result<(), RemoteError> {
        let within = async |work: &mut Self| {
            work.ask(message, options).await?;
            work.answer(options.message_bytes_max).await
        };
        let first = match deadline {
            None => within(self).await,
            Some(deadline) => match tokio::time::timeout_at(deadline, within(self)).await {
                Ok(first) => first,
                Err(_) => {
                    self.cancel(3).await;
                    let message = format!("no result within {} ms", options.timeout_ms);
                    let kind = "CallTimeout".to_owned();
                    return Err(RemoteError { kind, ..failure("BIREME_CALL_TIMEOUT", message) });
                }
            },
        };
        if !first? {
            return Ok(());
        }
        // A stream goes on as long as it is read.
        self.items(options.message_bytes_max).await
    }

    async fn ask(&mut self, message: &Message, options: &Options) -> Result<(), RemoteError> {
        let Message { bind, flags, payload } = message;
        if payload.len() as u64 > options.message_bytes_max {
            let message = format!(
                "the arguments take {} bytes, and calls.message_bytes_max is {}",
                payload.len(),
                options.message_bytes_max
            );
            return Err(failure("BIREME_TOO_LARGE", message));
        }
        let lost = |error: io::Error| lost(&format!("the link is over: {error}"), "no");
        self.link.send(Kind::Bind, 0, 0, 0, bind).await.map_err(lost)?;
        let mut pieces = payload.chunks(PAYLOAD_MAX).peekable();
        let mut kind = Kind::Call;
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { FLAG_END } else { 0 };
            let flags = if kind == Kind::Call { *flags | end } else { end };
            self.link.send(kind, flags, 0, STREAM, piece).await.map_err(lost)?;
            kind = Kind::Data;
        }
        Ok(())
    }

    /// The result or error, whole; true if it is a stream.
    async fn answer(&mut self, bytes_max: u64) -> Result<bool, RemoteError> {
        let mut started = "unknown";
        let mut begun: Option<Frame> = None;
        loop {
            let frame = self.receive(started).await?;
            match (frame.kind, &mut begun) {
                (Kind::Queued, None) => started = "no",
                (Kind::Started, None) => started = "unknown",
                (Kind::Result | Kind::Error, None) => begun = Some(frame),
                (Kind::Data, Some(begun)) => {
                    begun.payload.extend(frame.payload);
                    begun.flags |= frame.flags & FLAG_END;
                }
                // What is said about functions of ours, of which there are none, and about theirs: nothing is tried again here.
                (Kind::Release | Kind::Bind | Kind::Mark, _) => continue,
                (kind, _) => return Err(self.broken(&format!("{kind:?} instead of an answer"))),
            }
            let Some(answer) = &begun else { continue };
            if answer.payload.len() as u64 > bytes_max {
                let message = format!("the result takes more than calls.message_bytes_max, {bytes_max} bytes");
                return Err(failure("BIREME_TOO_LARGE", message));
            }
            if answer.kind == Kind::Result && answer.flags & FLAG_STREAM != 0 {
                return Ok(true);
            }
            if answer.flags & FLAG_END != 0 {
                let value = decode(&answer.payload).map_err(|error| self.broken(&error.to_string()))?;
                if answer.kind == Kind::Error {
                    return Err(RemoteError::from_value(value).unwrap_or_else(|| self.broken("an error that is none")));
                }
                (self.take)(Given::Result(value));
                return Ok(false);
            }
        }
    }

    async fn items(&mut self, bytes_max: u64) -> Result<(), RemoteError> {
        // One item that is longer than a frame.
        let mut partial: Option<Vec<u8>> = None;
        loop {
            let mut frame = self.receive("unknown").await?;
            match (frame.kind, &mut partial) {
                (Kind::Item, None) if frame.flags & FLAG_PART != 0 => {
                    partial = Some(frame.payload);
                    continue;
                }
                (Kind::Item, None) => {}
                (Kind::Data, Some(bytes)) => {
                    bytes.extend(frame.payload);
                    if bytes.len() as u64 > bytes_max {
                        let message = format!("an item takes more than calls.message_bytes_max, {bytes_max} bytes");
                        return Err(failure("BIREME_TOO_LARGE", message));
                    }
                    if frame.flags & FLAG_END == 0 {
                        continue;
                    }
                    // The end of the item, and not of the stream.
                    frame.flags = 0;
                    frame.payload = partial.take().unwrap_or_default();
                }
                (Kind::Error, _) => {
                    let error = decode(&frame.payload).ok().and_then(RemoteError::from_value);
                    return Err(error.unwrap_or_else(|| self.broken("an error that is none")));
                }
                (Kind::Release | Kind::Bind | Kind::Mark, _) => continue,
                (kind, _) => return Err(self.broken(&format!("{kind:?} instead of an item"))),
            }
            let values = decode_sequence(&frame.payload).map_err(|error| self.broken(&error.to_string()))?;
            let wanted = (self.take)(Given::Items(values));
            if frame.flags & FLAG_END != 0 {
                return Ok(());
            }
            if !wanted {
                self.cancel(1).await;
                return Ok(());
            }
            let taken = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
            if self.link.send(Kind::Credit, 0, 0, STREAM, &taken.to_le_bytes()).await.is_err() {
                return Err(lost("the link is over", "unknown"));
            }
        }
    }

    /// The next frame that is about the call, or the link.
    async fn receive(&mut self, started: &'static str) -> Result<Frame, RemoteError> {
        let frame = self.link.receive().await;
        let frame = frame.map_err(|error| lost(&format!("{} is gone: {error}", self.worker), started))?;
        match frame.stream {
            0 | STREAM => Ok(frame),
            other => Err(self.broken(&format!("{:?} on stream {other}", frame.kind))),
        }
    }

    async fn cancel(&mut self, why: u16) {
        // The worker hears the link's end as well.
        let _ = self.link.send(Kind::Cancel, 0, why, STREAM, &[]).await;
    }

    fn broken(&self, what: &str) -> RemoteError {
        lost(&format!("{} broke the protocol of calls: {what}", self.worker), "unknown")
    }
}

/// A call that came to nothing without the function's doing.
pub fn failure(code: &str, message: String) -> RemoteError {
    RemoteError { kind: "CallError".to_owned(), message, code: Some(code.to_owned()), ..RemoteError::default() }
}

fn lost(message: &str, started: &str) -> RemoteError {
    let why = if started == "no" { "the call had not started" } else { "whether the call took effect is unknown" };
    let properties = vec![("started".into(), started.into())];
    let kind = "WorkerLost".to_owned();
    RemoteError { kind, properties, ..failure("BIREME_WORKER_LOST", format!("{message}; {why}")) }
}

struct Frame {
    kind: Kind,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// Frames over a Unix socket.
struct Link {
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Link {
    async fn open(path: &Path, hello: &Json) -> io::Result<Link> {
        let mut link = Link { socket: UnixStream::connect(path).await?, buffer: Vec::new() };
        link.send(Kind::Hello, 0, PROTOCOL_VERSION, 0, hello.to_string().as_bytes()).await?;
        Ok(link)
    }

    async fn send(&mut self, kind: Kind, flags: u8, aux: u16, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        wire::put_frame(&mut frame, kind, flags, aux, stream, payload);
        self.socket.write_all(&frame).await
    }

    /// Waits for a whole frame. Nothing is lost when the wait is given up.
    async fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let decoded = wire::decode_frame(&self.buffer).map_err(io::Error::other)?;
            if let Some(found) = decoded {
                let length = found.encoded_len();
                let (kind, flags, stream) = (found.kind, found.flags, found.stream);
                let frame = Frame { kind, flags, stream, payload: found.payload.to_vec() };
                self.buffer.drain(..length);
                return Ok(frame);
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
