//! A data link that serves an ASGI application on asyncio's own loop.
//!
//! The loop says when the socket is readable; one such turn decodes all that has arrived, starts each
//! request's task at once, and writes all that came of it together.

use crate::cell::Cell;
use crate::channel::Channel;
use crate::exchange::Exchange;
use crate::pubsub;
use crate::scope::ScopeBuilder;
use crate::socket::{self, Input, Output, ReadOutcome};
use crate::task::TaskStarter;
use crate::topics::{Letter, Publication, Published, Publisher};
use crate::websocket::WebSocket;
use pyo3::exceptions::{PyConnectionError, PyKeyboardInterrupt, PySystemExit, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::thread::ThreadId;
use wire::{FLAG_END, FLAG_TAKE_OVER, FLAG_TEXT, FLAG_WEBSOCKET, Kind, RequestHead};

/// Reads in one turn before the loop's other work gets its chance.
const READS_PER_TURN: usize = 4;
/// Output that is written before the turn's end, in bytes: the front works on it meanwhile.
const FLUSH_BYTES: usize = 64 * 1024;
/// Requests started before what they sent is written, for the same reason.
const FLUSH_REQUESTS: usize = 16;

/// One data link of an ASGI worker.
#[pyclass(frozen, module = "bireme._native")]
pub struct AsgiLink {
    socket: UnixStream,
    app: Py<PyAny>,
    event_loop: Py<PyAny>,
    tasks: Py<TaskStarter>,
    /// Called with a line and an exception that no stream can carry.
    on_error: Py<PyAny>,
    /// Called with the reason when the link is over; None: the front closed it.
    on_close: Py<PyAny>,
    /// Called with the type, flags and payload of what the front says about topics.
    on_topic: Py<PyAny>,
    /// The thread of the loop; others must wake it.
    home: ThreadId,
    scopes: ScopeBuilder,
    state: Cell<LinkState>,
}

struct LinkState {
    input: Input,
    output: Output,
    streams: HashMap<u32, Channel, BuildHasherDefault<StreamHasher>>,
    publisher: Publisher,
    newest: u32,
    /// A turn is running: it writes at its end.
    in_turn: bool,
    /// The loop has been asked to call `flush`.
    flush_scheduled: bool,
    /// The socket took no more; the loop watches for its becoming writable.
    blocked: bool,
    closed: bool,
}

/// Stream ids are small numbers that we count ourselves, so mixing them needs no secret.
#[derive(Default)]
struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u32(&mut self, stream: u32) {
        self.0 = u64::from(stream).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[pymethods]
impl AsgiLink {
    /// Connects to the front's socket at `path`, saying HELLO with the JSON text `hello`.
    ///
    /// `number` is the link's, `state` the lifespan's state, or None. `on_error(line, exception)` and `on_close(reason)` are
    /// told what no stream can carry, `on_topic(kind, flags, payload)` what the front says about topics. Raises
    /// ConnectionError when the front can't be reached.
    #[new]
    #[pyo3(signature = (path, hello, number, app, event_loop, state, on_error, on_close, on_topic))]
    #[allow(clippy::too_many_arguments, reason = "called once, with names")]
    fn new(
        py: Python<'_>,
        path: &str,
        hello: &str,
        number: u16,
        app: Py<PyAny>,
        event_loop: Bound<'_, PyAny>,
        state: Option<Py<PyDict>>,
        on_error: Py<PyAny>,
        on_close: Py<PyAny>,
        on_topic: Py<PyAny>,
    ) -> PyResult<AsgiLink> {
        let socket = socket::connect(path, hello)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|error| PyConnectionError::new_err(format!("the front's socket {path}: {error}")))?;
        Ok(AsgiLink {
            socket,
            app,
            tasks: Py::new(py, TaskStarter::new(&event_loop)?)?,
            event_loop: event_loop.unbind(),
            on_error,
            on_close,
            on_topic,
            home: std::thread::current().id(),
            scopes: ScopeBuilder::new(py, state, number)?,
            state: Cell::new(LinkState {
                input: Input::default(),
                output: Output::default(),
                streams: HashMap::default(),
                publisher: Publisher::default(),
                newest: 0,
                in_turn: false,
                flush_scheduled: false,
                blocked: false,
                closed: false,
            }),
        })
    }

    /// Begins to read.
    fn open(slf: &Bound<'_, AsgiLink>) -> PyResult<()> {
        let on_readable = slf.getattr(intern!(slf.py(), "on_readable"))?;
        let this = slf.get();
        let fd = socket::fd(&this.socket);
        this.event_loop.bind(slf.py()).call_method1(intern!(slf.py(), "add_reader"), (fd, on_readable))?;
        Ok(())
    }

    /// The link's descriptor, for a forked child to let go of.
    fn fileno(&self) -> i32 {
        socket::fd(&self.socket)
    }

    /// The tasks of the requests that are not finished.
    fn tasks(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let channels: Vec<Channel> = self.state.get()?.streams.values().map(|channel| channel.clone_ref(py)).collect();
        let mut tasks = Vec::new();
        for channel in channels {
            tasks.extend(channel.task(py)?);
        }
        Ok(tasks)
    }

    /// Called by the loop when the socket is readable.
    fn on_readable(slf: &Bound<'_, AsgiLink>) -> PyResult<()> {
        let this = slf.get();
        let Some(mut input) = this.begin_turn()? else {
            return Ok(());
        };
        let outcome = this.read_and_serve(slf, &mut input);
        {
            let mut state = this.state.get()?;
            state.in_turn = false;
            state.input = input;
        }
        match outcome {
            Ok(Served::Open) => Self::flush(slf),
            Ok(Served::Closed(reason)) => {
                // A front that has stopped sending may still read.
                let _ = Self::flush(slf);
                Self::shut(slf, reason)
            }
            Err(error) => {
                let _ = Self::flush(slf);
                Err(error)
            }
        }
    }

    /// Writes what the requests have sent; called by the loop, too.
    fn flush(slf: &Bound<'_, AsgiLink>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let failed = {
            let mut state = this.state.get()?;
            state.flush_scheduled = false;
            if state.closed || state.output.len() == 0 {
                return Ok(());
            }
            match state.output.flush(&this.socket) {
                Ok(everything) if everything != state.blocked => return Ok(()),
                Ok(everything) => {
                    state.blocked = !everything;
                    None
                }
                Err(error) => Some(fault_of(&error)),
            }
        };
        if let Some(reason) = failed {
            return Self::shut(slf, reason);
        }
        let fd = socket::fd(&this.socket);
        let event_loop = this.event_loop.bind(py);
        if this.state.get()?.blocked {
            event_loop.call_method1(intern!(py, "add_writer"), (fd, slf.getattr(intern!(py, "flush"))?))?;
        } else {
            event_loop.call_method1(intern!(py, "remove_writer"), (fd,))?;
        }
        Ok(())
    }

    /// Publishes text or bytes, from any thread. True: it is on its way; False: it waits for the front; None: it was refused,
    /// as too much waits.
    #[pyo3(signature = (topic, data, stream, home, /))]
    fn publish(
        slf: &Bound<'_, AsgiLink>,
        topic: &str,
        data: &Bound<'_, PyAny>,
        stream: u32,
        home: u16,
    ) -> PyResult<Option<bool>> {
        pubsub::with_bytes(data, |data, text| {
            let this = slf.get();
            let message = Publication { topic, data, text, except: (stream, home) };
            let published = {
                let mut state = this.state.get()?;
                let LinkState { publisher, output, closed, .. } = &mut *state;
                if *closed {
                    return Ok(Some(true));
                }
                publisher.publish(output.frames(), &message)
            };
            Self::see_that_it_leaves(slf)?;
            match published.map_err(|error| PyValueError::new_err(error.to_string()))? {
                Published::Sent => Ok(Some(true)),
                Published::Waiting => Ok(Some(false)),
                Published::Refused => Ok(None),
            }
        })
    }

    /// Sends SUBSCRIBE, UNSUBSCRIBE or QUERY, from any thread.
    #[pyo3(signature = (kind, flags, aux, stream, payload, /))]
    fn topic_frame(slf: &Bound<'_, AsgiLink>, kind: u8, flags: u8, aux: u16, stream: u32, payload: &[u8]) -> PyResult<()> {
        let kind = pubsub::sendable(kind)?;
        AsgiLink::encode(slf, |out| wire::put_frame(out, kind, flags, aux, stream, payload))
    }
}

enum Served {
    Open,
    /// The link is over; the reason, if it is a fault.
    Closed(Option<String>),
}

impl AsgiLink {
    /// The loop that the application runs on.
    pub fn event_loop<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.event_loop.bind(py)
    }

    /// Appends frames, and sees to it that they leave at the end of this turn of the loop.
    pub fn encode<R>(slf: &Bound<'_, AsgiLink>, encode: impl FnOnce(&mut Vec<u8>) -> R) -> PyResult<R> {
        let this = slf.get();
        let mut state = this.state.get()?;
        if state.closed {
            // The streams of a closed link are over; nobody will read this.
            return Ok(encode(&mut Vec::new()));
        }
        let result = encode(state.output.frames());
        drop(state);
        Self::see_that_it_leaves(slf)?;
        Ok(result)
    }

    /// Has the loop write what was appended, unless a turn's end will.
    fn see_that_it_leaves(slf: &Bound<'_, AsgiLink>) -> PyResult<()> {
        let this = slf.get();
        {
            let mut state = this.state.get()?;
            if state.in_turn || state.flush_scheduled || state.blocked {
                return Ok(());
            }
            state.flush_scheduled = true;
        }
        let py = slf.py();
        let flush = slf.getattr(intern!(py, "flush"))?;
        let is_home = std::thread::current().id() == this.home;
        let call = if is_home { intern!(py, "call_soon") } else { intern!(py, "call_soon_threadsafe") };
        this.event_loop.bind(py).call_method1(call, (flush,)).map(|_| ())
    }

    /// Lets go of a stream once nothing more will happen to it.
    pub fn forget_if_over(&self, stream: u32, over: bool) -> PyResult<()> {
        if over {
            let forgotten = self.state.get()?.streams.remove(&stream);
            drop(forgotten);
        }
        Ok(())
    }

    /// Says in the worker's log what no stream can carry.
    pub fn report(&self, py: Python<'_>, line: &str, error: &PyErr) {
        if let Err(failure) = self.on_error.bind(py).call1((line, exception(py, error))) {
            failure.write_unraisable(py, None);
        }
    }

    fn begin_turn(&self) -> PyResult<Option<Input>> {
        let mut state = self.state.get()?;
        // A loop nested in the application's code may call again; the outer turn goes on afterwards.
        if state.in_turn || state.closed {
            return Ok(None);
        }
        state.in_turn = true;
        Ok(Some(std::mem::take(&mut state.input)))
    }

    fn read_and_serve(&self, slf: &Bound<'_, AsgiLink>, input: &mut Input) -> PyResult<Served> {
        for _ in 0..READS_PER_TURN {
            let outcome = match input.fill(&self.socket) {
                Ok(outcome) => outcome,
                Err(error) => return Ok(Served::Closed(fault_of(&error))),
            };
            if let Some(fault) = self.serve_pending(slf, input)? {
                return Ok(Served::Closed(Some(fault)));
            }
            match outcome {
                ReadOutcome::Closed => return Ok(Served::Closed(None)),
                ReadOutcome::Drained => break,
                ReadOutcome::Full => {}
            }
        }
        Ok(Served::Open)
    }

    /// Handles every complete frame. A text says how the front broke the protocol.
    fn serve_pending(&self, slf: &Bound<'_, AsgiLink>, input: &mut Input) -> PyResult<Option<String>> {
        let mut decoded = 0;
        let mut started = 0;
        let outcome = loop {
            match wire::decode_frame(&input.pending()[decoded..]) {
                Ok(Some(frame)) => {
                    decoded += frame.encoded_len();
                    match self.serve_frame(slf, &frame) {
                        Ok(None) => {}
                        other => break other,
                    }
                    if frame.kind == Kind::Request {
                        started += 1;
                        self.flush_early(started)?;
                    }
                }
                Ok(None) => break Ok(None),
                Err(error) => break Ok(Some(error.to_string())),
            }
        };
        input.consume(decoded);
        outcome
    }

    /// Gives the front something to do while this turn goes on.
    fn flush_early(&self, started: usize) -> PyResult<()> {
        let mut state = self.state.get()?;
        if (started.is_multiple_of(FLUSH_REQUESTS) || state.output.len() >= FLUSH_BYTES) && !state.blocked {
            // What fails here fails again at the turn's end, where it is dealt with.
            let _ = state.output.flush(&self.socket);
        }
        Ok(())
    }

    fn serve_frame(&self, slf: &Bound<'_, AsgiLink>, frame: &wire::Frame<'_>) -> PyResult<Option<String>> {
        let py = slf.py();
        if frame.kind == Kind::Request {
            let mut state = self.state.get()?;
            if frame.stream <= state.newest {
                return Ok(Some(format!("REQUEST with the stream id {} after {}", frame.stream, state.newest)));
            }
            state.newest = frame.stream;
            drop(state);
            return match RequestHead::parse(frame.payload) {
                Ok(head) if head.body.len() > wire::INITIAL_CREDIT as usize => {
                    Ok(Some("REQUEST with more body bytes than granted".to_owned()))
                }
                Ok(head) => self.start_request(slf, frame, &head).map(|()| None),
                Err(error) => Ok(Some(error.to_string())),
            };
        }
        if frame.stream == 0 {
            return self.serve_topic(py, frame);
        }
        let channel = {
            let state = self.state.get()?;
            if frame.stream > state.newest {
                return Ok(Some(format!("{:?} frame for stream {}, which was never opened", frame.kind, frame.stream)));
            }
            match state.streams.get(&frame.stream) {
                Some(channel) => channel.clone_ref(py),
                // It crossed our END or RESET on the way.
                None => return Ok(None),
            }
        };
        match frame.kind {
            Kind::Data => Ok(channel.deliver(py, frame.payload, frame.ends())?.err().map(str::to_owned)),
            // ASGI has no trailers for requests; what matters is that the body ends here.
            Kind::Trailers => match wire::field_list(frame.kind, frame.payload) {
                Ok(_) => Ok(channel.deliver(py, b"", true)?.err().map(str::to_owned)),
                Err(error) => Ok(Some(error.to_string())),
            },
            Kind::Credit => match wire::credit(frame.payload) {
                Ok(bytes) => {
                    channel.grant(py, bytes)?;
                    self.forget_if_over(frame.stream, channel.is_over()?)?;
                    Ok(None)
                }
                Err(error) => Ok(Some(error.to_string())),
            },
            Kind::Reset => {
                channel.disconnect(py)?;
                self.forget_if_over(frame.stream, channel.is_over()?)?;
                Ok(None)
            }
            Kind::WsMessage => match &channel {
                Channel::WebSocket(socket) => {
                    let text = frame.flags & FLAG_TEXT != 0;
                    let delivered = socket.get().deliver_message(py, frame.payload, text, frame.ends())?;
                    Ok(delivered.err().map(str::to_owned))
                }
                Channel::Http(_) => Ok(Some("a WebSocket's message on a request".to_owned())),
            },
            Kind::WsClose => match &channel {
                Channel::WebSocket(socket) => {
                    socket.get().closed(py, frame.aux, frame.payload)?;
                    self.forget_if_over(frame.stream, channel.is_over()?)?;
                    Ok(None)
                }
                Channel::Http(_) => Ok(Some("a WebSocket's end on a request".to_owned())),
            },
            kind => Ok(Some(format!("{kind:?} frame in the wrong direction"))),
        }
    }

    /// A frame for the link itself.
    fn serve_topic(&self, py: Python<'_>, frame: &wire::Frame<'_>) -> PyResult<Option<String>> {
        if frame.kind == Kind::Credit {
            let bytes = match wire::credit(frame.payload) {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let mut state = self.state.get()?;
            let LinkState { publisher, output, .. } = &mut *state;
            // A turn is running, which writes at its end.
            publisher.grant(output.frames(), bytes);
            return Ok(None);
        }
        match Letter::of(frame) {
            None => Ok(Some(format!("{:?} frame for the link itself", frame.kind))),
            Some(letter) => {
                let payload = PyBytes::new(py, &letter.payload);
                // What a callback raises is its own, and not the link's.
                if let Err(error) = self.on_topic.bind(py).call1((letter.kind as u8, letter.flags, payload)) {
                    self.report(py, "handling what a topic sent raised", &error);
                }
                Ok(None)
            }
        }
    }

    fn start_request(&self, slf: &Bound<'_, AsgiLink>, frame: &wire::Frame<'_>, head: &RequestHead<'_>) -> PyResult<()> {
        let py = slf.py();
        let link = slf.clone().unbind();
        let (channel, scope) = if frame.flags & FLAG_WEBSOCKET == 0 {
            let is_head = head.method == b"HEAD";
            let ended = frame.flags & FLAG_END != 0;
            let exchange = Exchange::new(py, link, frame.stream, is_head, head.body, ended);
            (Channel::Http(Py::new(py, exchange)?), self.scopes.build(py, head)?)
        } else {
            let (scope, subprotocols) = self.scopes.build_websocket(py, frame.stream, head, frame.flags & FLAG_TAKE_OVER != 0)?;
            let socket = WebSocket::new(link, frame.stream, subprotocols);
            (Channel::WebSocket(Py::new(py, socket)?), scope)
        };
        let object = channel.object(py);
        let receive = object.getattr(intern!(py, "receive"))?;
        let send = object.getattr(intern!(py, "send"))?;
        let outcome = self
            .app
            .bind(py)
            .call1((scope, receive, send))
            .and_then(|coroutine| TaskStarter::run(self.tasks.bind(py), &coroutine));
        match outcome {
            Ok(task) => {
                if task.call_method0(intern!(py, "done"))?.is_truthy()? {
                    channel.finish(py, error_of(&task)?)?;
                } else {
                    let task_done = object.getattr(intern!(py, "task_done"))?;
                    task.call_method1(intern!(py, "add_done_callback"), (task_done,))?;
                    channel.keep(task.unbind())?;
                }
            }
            Err(error) => {
                let fatal = error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py);
                channel.finish(py, Some(error.clone_ref(py)))?;
                if fatal {
                    return Err(error);
                }
            }
        }
        if !channel.is_over()? {
            self.state.get()?.streams.insert(frame.stream, channel);
        }
        Ok(())
    }

    /// Ends the link and every stream on it.
    fn shut(slf: &Bound<'_, AsgiLink>, reason: Option<String>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let channels: Vec<(u32, Channel)> = {
            let mut state = this.state.get()?;
            if state.closed {
                return Ok(());
            }
            state.closed = true;
            state.output.clear();
            state.streams.iter().map(|(stream, channel)| (*stream, channel.clone_ref(py))).collect()
        };
        let fd = socket::fd(&this.socket);
        let event_loop = this.event_loop.bind(py);
        event_loop.call_method1(intern!(py, "remove_reader"), (fd,))?;
        event_loop.call_method1(intern!(py, "remove_writer"), (fd,))?;
        let _ = this.socket.shutdown(std::net::Shutdown::Both);
        for (stream, channel) in channels {
            channel.disconnect(py)?;
            this.forget_if_over(stream, channel.is_over()?)?;
        }
        this.on_close.bind(py).call1((reason,))?;
        Ok(())
    }
}

/// A front that closes the link while we write is not a fault, whichever way the kernel says it.
fn fault_of(error: &std::io::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => None,
        _ => Some(error.to_string()),
    }
}

/// The exception a finished task ended with; a cancelled one ended with CancelledError.
pub fn error_of(task: &Bound<'_, PyAny>) -> PyResult<Option<PyErr>> {
    match task.call_method0(intern!(task.py(), "exception")) {
        Ok(none) if none.is_none() => Ok(None),
        Ok(error) => Ok(Some(PyErr::from_value(error))),
        Err(error) => Ok(Some(error)),
    }
}

/// The exception, with its traceback: `PyErr` keeps the two apart.
pub fn exception<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    error.clone_ref(py).into_value(py).into_bound(py).into_any()
}

/// The text that Python prints for an uncaught exception, as much of its end as a RESET carries: the
/// exception itself is in the last line.
pub fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let lines = py.import("traceback")?.call_method1("format_exception", (exception(py, error),))?;
        PyString::new(py, "").call_method1("join", (lines,))?.extract()
    };
    let text = format().unwrap_or_else(|_| error.to_string());
    match text.len().checked_sub(wire::RESET_TEXT_MAX) {
        Some(surplus @ 1..) => text[text.ceil_char_boundary(surplus)..].to_owned(),
        _ => text,
    }
}
