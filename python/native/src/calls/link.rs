//! One call link: frames in and out, and the calls that are under way on it, both ways.
//!
//! An asyncio loop watches the socket; one turn decodes all that has arrived and writes all that came of it together. Other
//! threads may send at any time, and write at once. Which link a call takes is not decided here.

use super::call::{Call, timed_out};
use super::function::{Binding, Function, Target};
use super::handles::Given;
use super::incoming::{self, Incoming};
use super::items::Sending;
use super::listener::CallListener;
use super::pool::CallPool;
use super::{NumberMap, call_soon_threadsafe, put_message, raise, worker_lost};
use crate::cell::Cell;
use crate::socket::{self, Input, Output, ReadOutcome};
use crate::task::TaskStarter;
use crate::memory::{self, Account};
use crate::values::{DecodeError, Decoder, Encoder, NoHandles, Passed};
use pyo3::exceptions::{PyConnectionError, PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;
use wire::{FLAG_HANDLE, FLAG_KWARGS, FLAG_PART, FLAG_STREAM, Frame, Kind, MARK_IDEMPOTENT};

/// Reads in one turn before the loop's other work gets its chance.
const READS_PER_TURN: usize = 4;
/// Output that is written before the turn's end, in bytes: the other side works on it meanwhile.
const FLUSH_BYTES: usize = 64 * 1024;
/// Calls started before what came of them is written, for the same reason.
const FLUSH_CALLS: usize = 16;
/// A lost call is sent again at most so often.
const RETRIES_MAX: u32 = 2;
/// Numbers that a peer may give to functions on one link.
const BINDINGS_MAX: usize = 65_536;
/// CANCEL's aux: the caller does not want it any more, or its deadline has passed.
pub const NOT_WANTED: u16 = 1;
pub const DEADLINE: u16 = 3;

/// One call link.
#[pyclass(frozen, weakref, module = "bireme._native")]
pub struct CallLink {
    socket: UnixStream,
    pub event_loop: Py<PyAny>,
    thread: ThreadId,
    pub tasks: Py<TaskStarter>,
    /// The object of `bireme.calls` that looks after this link.
    pub hub: Py<PyAny>,
    pub pool: Py<CallPool>,
    /// The worker at the other end, for messages.
    peer: String,
    /// We have connected: our streams are odd.
    connector: bool,
    in_flight_max: usize,
    /// Longest time of a call on a handle that does not say its own, in milliseconds; 0: none.
    timeout_ms: u32,
    message_bytes_max: usize,
    state: Cell<State>,
    /// Handles of theirs that were let go of, possibly by a finalizer in the middle of anything.
    released: Mutex<Vec<u32>>,
    /// Handles of theirs that we hold.
    held: AtomicU32,
    release_scheduled: AtomicBool,
    memory: Account,
    /// A weak reference to this link, for what wakes it when memory has to be returned.
    itself: Arc<PyOnceLock<Py<PyAny>>>,
}

pub struct State {
    input: Input,
    output: Output,
    /// Bytes appended to the output since the link began: tells whether a call has been written.
    appended: u64,
    /// The ITEM frame at the end of the output that more items may join: its stream, and where its header is.
    open_items: Option<(u32, usize)>,
    next_stream: u32,
    newest_theirs: u32,
    outgoing: NumberMap<u32, Outgoing>,
    pub incoming: NumberMap<u32, Incoming>,
    /// What the peer has bound.
    bindings: NumberMap<u32, Named>,
    /// Our numbers for functions, by the id of their binding; and the bindings, by number from 1.
    bound: NumberMap<u64, u32>,
    bound_as: Vec<Arc<Binding>>,
    pub given: Given,
    /// The first frame must be HELLO, and has not come.
    expects_hello: bool,
    /// Our HELLO has offered shared memory, and MEMORY has not come.
    expects_memory: bool,
    /// No call goes there before it comes, or has taken too long.
    sets_up: bool,
    in_turn: bool,
    flush_scheduled: bool,
    blocked: bool,
    leaving: bool,
    pub closed: bool,
    timer: Option<(Instant, Py<PyAny>)>,
}

/// What the peer's number stands for.
enum Named {
    Form(Vec<u8>),
    Target(Py<PyAny>),
}

struct Outgoing {
    call: Py<Call>,
    /// A message that is not whole yet.
    partial: Option<(Kind, u8, Vec<u8>)>,
    deadline: Option<Instant>,
    timeout_ms: u32,
    /// The value of `appended` after the CALL.
    end: u64,
    queued: bool,
    streaming: bool,
}

enum Served {
    Open,
    /// The link is over; the reason, if it is a fault.
    Closed(Option<String>),
}

/// What ends a link, or an exception of Python that does.
pub enum Fault {
    Protocol(String),
    Python(PyErr),
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Fault {
        Fault::Python(error)
    }
}

impl From<wire::WireError> for Fault {
    fn from(error: wire::WireError) -> Fault {
        Fault::Protocol(error.to_string())
    }
}

pub fn fault<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Protocol(what.into()))
}

#[pymethods]
impl CallLink {
    /// Connects to the call socket of a worker and says HELLO with the JSON text `hello`, which offers shared
    /// memory if `shares`.
    ///
    /// Raises ConnectionError when it can't be reached.
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "called once, with names")]
    #[pyo3(signature = (path, hello, *, shares, peer, event_loop, hub, pool, in_flight_max, timeout_ms, message_bytes_max))]
    fn connect(
        py: Python<'_>,
        path: &str,
        hello: &str,
        shares: bool,
        peer: String,
        event_loop: &Bound<'_, PyAny>,
        hub: Py<PyAny>,
        pool: Py<CallPool>,
        in_flight_max: usize,
        timeout_ms: u32,
        message_bytes_max: usize,
    ) -> PyResult<CallLink> {
        let socket = socket::connect(path, hello).map_err(|error| PyConnectionError::new_err(format!("{peer} at {path}: {error}")))?;
        CallLink::new(py, socket, true, shares, peer, event_loop, hub, pool, in_flight_max, timeout_ms, message_bytes_max)
    }

    /// Accepts a connection; None: none waits.
    #[staticmethod]
    #[pyo3(signature = (listener, *, event_loop, hub, pool, in_flight_max, timeout_ms, message_bytes_max))]
    fn accept(
        py: Python<'_>,
        listener: &CallListener,
        event_loop: &Bound<'_, PyAny>,
        hub: Py<PyAny>,
        pool: Py<CallPool>,
        in_flight_max: usize,
        timeout_ms: u32,
        message_bytes_max: usize,
    ) -> PyResult<Option<CallLink>> {
        let Some(socket) = listener.accept()? else { return Ok(None) };
        CallLink::new(py, socket, false, false, "a caller".to_owned(), event_loop, hub, pool, in_flight_max, timeout_ms, message_bytes_max).map(Some)
    }

    /// MEMORY takes too long: calls go there without shared memory until it comes.
    fn go_without_memory(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let waited = {
            let mut state = slf.get().state.get()?;
            std::mem::take(&mut state.sets_up) && !state.closed
        };
        if waited {
            slf.get().hub.bind(slf.py()).call_method1(intern!(slf.py(), "link_ready"), (slf,))?;
        }
        Ok(())
    }

    /// Ends the link of who has connected and not said HELLO.
    fn close_stranger(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let expects_hello = slf.get().state.get()?.expects_hello;
        if expects_hello { Self::shut(slf, Some("no HELLO in time".to_owned())) } else { Ok(()) }
    }

    /// Begins to read.
    fn open(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let weak = slf.py().import("weakref")?.getattr("ref")?.call1((slf,))?;
        let _ = slf.get().itself.set(slf.py(), weak.unbind());
        let on_readable = slf.getattr(intern!(slf.py(), "on_readable"))?;
        let arguments = (socket::fd(&slf.get().socket), on_readable);
        slf.get().event_loop.bind(slf.py()).call_method1(intern!(slf.py(), "add_reader"), arguments)?;
        Ok(())
    }

    /// The link's descriptor, for a forked child to let go of.
    fn fileno(&self) -> i32 {
        socket::fd(&self.socket)
    }

    /// Whether it is over.
    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        Ok(self.state.get()?.closed)
    }

    /// `{"outgoing", "incoming", "given", "held"}`: how much is under way, for tests and reports.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        let state = self.state.get()?;
        let found = (state.outgoing.len(), state.incoming.len(), state.given.len());
        drop(state);
        counts.set_item("outgoing", found.0)?;
        counts.set_item("incoming", found.1)?;
        counts.set_item("given", found.2)?;
        counts.set_item("held", self.held.load(Ordering::Relaxed))?;
        Ok(counts)
    }

    /// No new call goes there: the link ends when the last one has, and nothing is held on either side.
    fn leave(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        slf.get().state.get()?.leaving = true;
        Self::close_if_idle(slf)
    }

    /// Ends the link.
    #[pyo3(signature = (reason = None))]
    fn close(slf: &Bound<'_, CallLink>, reason: Option<String>) -> PyResult<()> {
        Self::shut(slf, reason)
    }

    /// Called by the loop when the socket is readable.
    fn on_readable(slf: &Bound<'_, CallLink>) -> PyResult<()> {
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
                // A peer that has stopped sending may still read.
                let _ = Self::flush(slf);
                Self::shut(slf, reason)
            }
            Err(error) => {
                let py = slf.py();
                let _ = Self::flush(slf);
                if !error.is_instance_of::<PyException>(py) {
                    // It is to end the process.
                    return Err(error);
                }
                // What was left half done can't be answered.
                Self::shut(slf, Some(crate::asgi::traceback(py, &error)))
            }
        }
    }

    /// Writes what has gathered; called by the loop, too.
    pub fn flush(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.collect_released()?;
        let failed = {
            let mut state = this.state.get()?;
            state.flush_scheduled = false;
            if state.closed || state.output.len() == 0 {
                return Ok(());
            }
            state.open_items = None;
            match state.output.flush(&this.socket) {
                Ok(everything) if everything != state.blocked => return Ok(()),
                Ok(everything) => {
                    state.blocked = !everything;
                    None
                }
                Err(error) => Some(error.to_string()),
            }
        };
        if failed.is_some() {
            return this.on_loop(py, slf, intern!(py, "shut_lost"));
        }
        this.on_loop(py, slf, intern!(py, "watch_writable"))
    }

    /// Watches the socket while it takes no more.
    fn watch_writable(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (blocked, closed) = {
            let state = this.state.get()?;
            (state.blocked, state.closed)
        };
        let fd = socket::fd(&this.socket);
        let event_loop = this.event_loop.bind(py);
        if blocked && !closed {
            event_loop.call_method1(intern!(py, "add_writer"), (fd, slf.getattr(intern!(py, "flush"))?))?;
        } else if !closed {
            event_loop.call_method1(intern!(py, "remove_writer"), (fd,))?;
        }
        Ok(())
    }

    /// The peer is gone, as a write has found.
    fn shut_lost(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        Self::shut(slf, None)
    }

    /// Called by the loop at the earliest deadline.
    fn on_deadline(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let py = slf.py();
        let now = Instant::now();
        let (late, late_incoming) = {
            let mut state = slf.get().state.get()?;
            let timer = state.timer.take();
            let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
            let outgoing = state.outgoing.iter().filter(|(_, entry)| late(entry.deadline) && !entry.streaming);
            let outgoing: Vec<u32> = outgoing.map(|(stream, _)| *stream).collect();
            let outgoing: Vec<_> = outgoing.iter().filter_map(|stream| Some((*stream, state.outgoing.remove(stream)?))).collect();
            let incoming: Vec<u32> =
                state.incoming.iter().filter(|(_, call)| late(call.deadline)).map(|(stream, _)| *stream).collect();
            drop(state);
            drop(timer);
            (outgoing, incoming)
        };
        for (stream, entry) in late {
            Self::append(slf, |out| wire::put_frame(out, Kind::Cancel, 0, DEADLINE, stream, b""))?;
            let call = entry.call.bind(py).get();
            call.fail(py, timed_out(py, call.function.bind(py).get().name(), entry.timeout_ms))?;
        }
        for stream in late_incoming {
            incoming::cancel(slf, stream, DEADLINE)?;
        }
        Self::arm(slf)?;
        Self::close_if_idle(slf)
    }

    /// Sets the timer to the earliest deadline.
    fn arm(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (earliest, before) = {
            let mut state = this.state.get()?;
            let outgoing = state.outgoing.values().filter(|entry| !entry.streaming).filter_map(|entry| entry.deadline);
            let Some(earliest) = outgoing.chain(state.incoming.values().filter_map(|call| call.deadline)).min() else {
                return Ok(());
            };
            if state.closed || state.timer.as_ref().is_some_and(|(at, _)| *at <= earliest) {
                return Ok(());
            }
            (earliest, state.timer.take())
        };
        if let Some((_, timer)) = before {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let wait = earliest.saturating_duration_since(Instant::now()).as_secs_f64();
        let on_deadline = slf.getattr(intern!(py, "on_deadline"))?;
        let timer = this.event_loop.bind(py).call_method1(intern!(py, "call_later"), (wait, on_deadline))?;
        this.state.get()?.timer = Some((earliest, timer.unbind()));
        Ok(())
    }

    /// A task that a call has started has ended.
    fn task_done(slf: &Bound<'_, CallLink>, stream: u32, task: &Bound<'_, PyAny>) -> PyResult<()> {
        incoming::task_done(slf, stream, task)
    }

    /// Goes on with a call's awaitable or async iterator, in the loop's own thread.
    fn go_on(slf: &Bound<'_, CallLink>, stream: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
        incoming::deliver(slf, stream, value)
    }
}

impl CallLink {
    #[allow(clippy::too_many_arguments, reason = "only the two above call it")]
    fn new(
        py: Python<'_>,
        socket: UnixStream,
        connector: bool,
        shares: bool,
        peer: String,
        event_loop: &Bound<'_, PyAny>,
        hub: Py<PyAny>,
        pool: Py<CallPool>,
        in_flight_max: usize,
        timeout_ms: u32,
        message_bytes_max: usize,
    ) -> PyResult<CallLink> {
        socket.set_nonblocking(true)?;
        let itself: Arc<PyOnceLock<Py<PyAny>>> = Arc::new(PyOnceLock::new());
        let weak = Arc::clone(&itself);
        // Memory is let go of by finalizers, at any time and on any thread.
        let memory = Account::new(move || {
            Python::try_attach(|py| {
                let pending = PyErr::take(py);
                if let Some(Ok(link)) = weak.get(py).map(|weak| weak.bind(py).call0())
                    && let Ok(link) = link.cast::<CallLink>()
                {
                    link.get().release_soon(py, link);
                }
                if let Some(error) = pending {
                    error.restore(py);
                }
            });
        });
        Ok(CallLink {
            socket,
            event_loop: event_loop.clone().unbind(),
            thread: std::thread::current().id(),
            tasks: Py::new(py, TaskStarter::new(event_loop)?)?,
            hub,
            pool,
            peer,
            connector,
            in_flight_max,
            timeout_ms,
            message_bytes_max,
            state: Cell::new(State {
                input: Input::default(),
                output: Output::default(),
                appended: 0,
                open_items: None,
                next_stream: if connector { 1 } else { 2 },
                newest_theirs: 0,
                outgoing: NumberMap::default(),
                incoming: NumberMap::default(),
                bindings: NumberMap::default(),
                bound: NumberMap::default(),
                bound_as: Vec::new(),
                given: Given::default(),
                expects_hello: !connector,
                expects_memory: shares,
                sets_up: shares,
                in_turn: false,
                flush_scheduled: false,
                blocked: false,
                leaving: false,
                closed: false,
                timer: None,
            }),
            released: Mutex::default(),
            held: AtomicU32::new(0),
            release_scheduled: AtomicBool::new(false),
            memory,
            itself,
        })
    }

    /// What is under way. Let go of it before calling Python.
    pub fn state(&self) -> PyResult<MutexGuard<'_, State>> {
        self.state.get()
    }

    pub fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    pub fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }

    pub fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// Shared memory.
    pub fn memory(&self) -> &Account {
        &self.memory
    }

    /// Calls of ours under way; `None`: it takes no new ones, or none yet.
    pub fn in_flight(&self) -> PyResult<Option<usize>> {
        let state = self.state.get()?;
        let usable = !(state.closed || state.leaving || state.sets_up);
        Ok(usable.then(|| state.outgoing.len()))
    }

    /// Whether the loop runs on this thread.
    pub fn is_own_thread(&self) -> bool {
        std::thread::current().id() == self.thread
    }

    /// Calls the method `name` now, or in the loop's own thread if this is another.
    pub fn on_loop(&self, py: Python<'_>, slf: &Bound<'_, CallLink>, name: &Bound<'_, pyo3::types::PyString>) -> PyResult<()> {
        let method = slf.getattr(name)?;
        if self.is_own_thread() {
            method.call0()?;
        } else {
            call_soon_threadsafe(self.event_loop.bind(py), (method,))?;
        }
        Ok(())
    }

    /// Appends frames. They leave at the end of this turn of the loop, or at once from another thread.
    pub fn append<R>(slf: &Bound<'_, CallLink>, encode: impl FnOnce(&mut Vec<u8>) -> R) -> PyResult<R> {
        let this = slf.get();
        let mut state = this.state.get()?;
        state.open_items = None;
        let result = state.put(encode);
        Self::leave_soon(slf, state)?;
        Ok(result)
    }

    /// Sees to it that what was appended leaves.
    fn leave_soon(slf: &Bound<'_, CallLink>, mut state: MutexGuard<'_, State>) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        if state.closed || state.blocked {
            return Ok(());
        }
        if !this.is_own_thread() {
            drop(state);
            return Self::flush(slf);
        }
        if !(state.in_turn || state.flush_scheduled) {
            state.flush_scheduled = true;
            drop(state);
            let flush = slf.getattr(intern!(py, "flush"))?;
            this.event_loop.bind(py).call_method1(intern!(py, "call_soon"), (flush,))?;
        }
        Ok(())
    }

    /// Appends an item of a stream, to the frame before it if that is of the same stream.
    pub fn append_item(slf: &Bound<'_, CallLink>, stream: u32, item: &[u8], flush: bool) -> PyResult<()> {
        let mut state = slf.get().state.get()?;
        state.put_item(stream, item);
        if flush || !slf.get().is_own_thread() {
            drop(state);
            return if flush { Self::flush(slf) } else { Ok(()) };
        }
        Self::leave_soon(slf, state)
    }

    /// Sends a call. Raises CannotCross for arguments that cannot cross; else what happens to it is told to the call itself.
    pub fn submit(slf: &Bound<'_, CallLink>, call: &Bound<'_, Call>, default_timeout_ms: u32) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let function = call.get().function.bind(py).get();
        let mut payload = Vec::with_capacity(128);
        let flags = put_target(py, function, &mut payload)?;
        let deadline = call.get().deadline(py, default_timeout_ms)?;
        let timeout_ms = deadline.map_or(0, |deadline| {
            // Rounded up: a call that is sent at once says all of its time.
            let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            u32::try_from(left).unwrap_or(u32::MAX).max(1)
        });
        payload[4..8].copy_from_slice(&timeout_ms.to_le_bytes());
        let kwargs = call.get().kwargs(py);
        let mut encoder = Encoder::new(&mut payload, slf);
        let encoded = encoder.arguments(call.get().args(py), kwargs);
        let passed = std::mem::take(&mut encoder.passed);
        let too_large = payload.len() > this.message_bytes_max;
        if encoded.is_err() || too_large {
            this.take_back(passed)?;
            encoded?;
            return Err(too_large_error(py, "the arguments", payload.len(), this.message_bytes_max));
        }
        let flags = flags | if kwargs.is_some() { FLAG_KWARGS } else { 0 };
        let total = function.timeout_ms(default_timeout_ms);
        let stream = {
            let mut state = this.state.get()?;
            if state.closed {
                drop(state);
                return Self::closed_under(slf, call);
            }
            if state.outgoing.len() >= this.in_flight_max {
                drop(state);
                return Err(raise(py, "ServiceBusy", &super::function::busy(function.name())));
            }
            let stream = state.next_stream;
            state.next_stream = stream.checked_add(2).ok_or_else(|| PyConnectionError::new_err("the link has no numbers left"))?;
            state.open_items = None;
            if let Target::Bound(binding) = &function.target {
                let number = state.number_of(binding);
                payload[..4].copy_from_slice(&number.to_le_bytes());
            }
            state.put(|out| put_message(out, Kind::Call, flags, stream, &payload));
            let entry = Outgoing {
                call: call.clone().unbind(),
                partial: None,
                deadline,
                timeout_ms: total,
                end: state.appended,
                queued: false,
                streaming: false,
            };
            state.outgoing.insert(stream, entry);
            let arm = match (&state.timer, deadline) {
                (_, None) => false,
                (Some((at, _)), Some(deadline)) => deadline < *at,
                (None, Some(_)) => true,
            };
            Self::leave_soon(slf, state)?;
            if arm {
                this.on_loop(py, slf, intern!(py, "arm"))?;
            }
            stream
        };
        if !call.get().sent(slf.clone().unbind(), stream)? {
            Self::cancel(slf, stream)?;
        }
        Ok(())
    }

    /// The link ended before the call was sent.
    fn closed_under(slf: &Bound<'_, CallLink>, call: &Bound<'_, Call>) -> PyResult<()> {
        let py = slf.py();
        let name = call.get().function.bind(py).get().name().to_owned();
        if !call.get().function.bind(py).get().may_move() {
            let message = format!("{name} cannot be called any more: the worker that owns it has ended");
            return call.get().fail(py, raise(py, "Released", &message));
        }
        Self::retry(slf, call)
    }

    fn retry(slf: &Bound<'_, CallLink>, call: &Bound<'_, Call>) -> PyResult<()> {
        call.get().lost()?;
        slf.get().hub.bind(slf.py()).call_method1(intern!(slf.py(), "retry"), (call,))?;
        Ok(())
    }

    /// What a message passes that is not sent.
    pub fn take_back(&self, passed: Passed) -> PyResult<()> {
        for lease in passed.leases {
            self.memory.link().take_back(lease);
        }
        for number in passed.handles {
            let dropped = self.state.get()?.given.release(number, 1);
            drop(dropped);
        }
        Ok(())
    }

    /// The caller does not want the answer any more.
    pub fn cancel(slf: &Bound<'_, CallLink>, stream: u32) -> PyResult<()> {
        let removed = slf.get().state.get()?.outgoing.remove(&stream);
        if removed.is_some() {
            Self::append(slf, |out| wire::put_frame(out, Kind::Cancel, 0, NOT_WANTED, stream, b""))?;
            Self::close_if_idle(slf)?;
        }
        Ok(())
    }

    /// Lets the producer of a stream send more.
    pub fn grant(slf: &Bound<'_, CallLink>, stream: u32, bytes: u32) -> PyResult<()> {
        Self::append(slf, |out| wire::put_credit(out, stream, bytes))
    }

    /// A stand-in for an object of theirs has come to be.
    pub fn hold(&self) -> PyResult<()> {
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A stand-in is gone. May be called by a finalizer, at any time and from any thread.
    pub fn let_go(&self, py: Python<'_>, slf: &Py<CallLink>, number: u32) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.released.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.release_soon(py, slf.bind(py));
    }

    fn release_soon(&self, py: Python<'_>, slf: &Bound<'_, CallLink>) {
        let scheduled = self.release_scheduled.swap(true, Ordering::Relaxed);
        // The turn that runs writes it at its end, with what else came of it.
        let at_turn_end = || self.is_own_thread() && self.state.get().is_ok_and(|state| state.in_turn);
        if !scheduled && !at_turn_end() {
            let schedule = || call_soon_threadsafe(self.event_loop.bind(py), (slf.getattr(intern!(py, "flush"))?,));
            // A loop that has ended took the link with it.
            let _ = schedule();
        }
    }

    fn collect_released(&self) -> PyResult<()> {
        if self.release_scheduled.swap(false, Ordering::Relaxed) {
            let released = std::mem::take(&mut *self.released.lock().unwrap_or_else(PoisonError::into_inner));
            let mut state = self.state.get()?;
            state.open_items = None;
            for number in released {
                let payload = [number.to_le_bytes(), 1u32.to_le_bytes()].concat();
                state.put(|out| wire::put_frame(out, Kind::Release, 0, 0, 0, &payload));
            }
            if let Some(leases) = self.memory.link().returns() {
                state.put(|out| wire::put_frame(out, Kind::Return, 0, 0, 0, &leases));
            }
        }
        Ok(())
    }

    /// Ends a link that is to be left, once nothing is under way or held.
    pub fn close_if_idle(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let this = slf.get();
        let idle = {
            let state = this.state.get()?;
            state.leaving && !state.closed && state.outgoing.is_empty() && state.incoming.is_empty() && state.given.len() == 0
        };
        if idle && this.held.load(Ordering::Relaxed) == 0 {
            return this.on_loop(slf.py(), slf, intern!(slf.py(), "close"));
        }
        Ok(())
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

    fn read_and_serve(&self, slf: &Bound<'_, CallLink>, input: &mut Input) -> PyResult<Served> {
        for _ in 0..READS_PER_TURN {
            let Ok(outcome) = input.fill(&self.socket) else {
                return Ok(Served::Closed(None));
            };
            match self.serve_pending(slf, input) {
                Ok(()) => {}
                Err(Fault::Protocol(what)) => return Ok(Served::Closed(Some(what))),
                Err(Fault::Python(error)) => return Err(error),
            }
            match outcome {
                ReadOutcome::Closed => return Ok(Served::Closed(None)),
                ReadOutcome::Drained => break,
                ReadOutcome::Full => {}
            }
        }
        Ok(Served::Open)
    }

    /// Handles every complete frame.
    fn serve_pending(&self, slf: &Bound<'_, CallLink>, input: &mut Input) -> Result<(), Fault> {
        let mut decoded = 0;
        let mut started = 0;
        let outcome = loop {
            match wire::decode_frame(&input.pending()[decoded..]) {
                Ok(Some(frame)) => {
                    decoded += frame.encoded_len();
                    if let Err(fault) = self.serve_frame(slf, &frame) {
                        break Err(fault);
                    }
                    if frame.kind == Kind::Call {
                        started += 1;
                        if started % FLUSH_CALLS == 0 || self.state.get()?.output.len() >= FLUSH_BYTES {
                            self.flush_early()?;
                        }
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        input.consume(decoded);
        outcome
    }

    /// Gives the other side something to do while this turn goes on.
    fn flush_early(&self) -> PyResult<()> {
        let mut state = self.state.get()?;
        if !state.blocked {
            state.open_items = None;
            // What fails here fails again at the turn's end, where it is dealt with.
            let _ = state.output.flush(&self.socket);
        }
        Ok(())
    }

    fn serve_frame(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        let py = slf.py();
        if self.state.get()?.expects_hello {
            return self.hello(slf, frame);
        }
        if frame.stream == 0 {
            return match frame.kind {
                Kind::Bind => self.bind(frame.payload),
                Kind::Mark => self.on_mark(frame.payload),
                Kind::Release => self.release(slf, frame.payload),
                Kind::Memory => self.on_memory(slf, frame),
                Kind::Return => self.on_return(slf, frame.payload),
                Kind::Forget => self.memory.link().on_forget(frame.payload).map_err(|violation| Fault::Protocol(violation.0.to_owned())),
                kind => fault(format!("{kind:?} on stream 0")),
            };
        }
        let theirs = frame.stream.is_multiple_of(2) == self.connector;
        if frame.kind == Kind::Call {
            let mut state = self.state.get()?;
            if !theirs || frame.stream <= state.newest_theirs {
                return fault(format!("CALL with the stream id {} after {}", frame.stream, state.newest_theirs));
            }
            state.newest_theirs = frame.stream;
            drop(state);
            return incoming::begin(slf, frame);
        }
        let opened = {
            let state = self.state.get()?;
            if theirs { frame.stream <= state.newest_theirs } else { frame.stream < state.next_stream }
        };
        if !opened {
            return fault(format!("{:?} for stream {}, which was never opened", frame.kind, frame.stream));
        }
        match (frame.kind, theirs) {
            (Kind::Cancel, true) => Ok(incoming::cancel(slf, frame.stream, frame.aux)?),
            (Kind::Credit, true) => {
                let sending = self.state.get()?.incoming.get(&frame.stream).and_then(|call| call.sending(py));
                let bytes = wire::credit(frame.payload)?;
                Ok(sending.map_or(Ok(()), |sending| Sending::grant(sending.bind(py), bytes))?)
            }
            (Kind::Data, true) => incoming::more(slf, frame),
            (Kind::Data | Kind::Result | Kind::Error, false) => self.answer(slf, frame),
            (Kind::Item, false) if frame.flags & FLAG_PART == 0 => self.items(slf, frame.stream, frame.ends(), frame.payload),
            (Kind::Item, false) => self.answer(slf, frame),
            (Kind::Queued | Kind::Started, false) => {
                if let Some(entry) = self.state.get()?.outgoing.get_mut(&frame.stream) {
                    entry.queued = frame.kind == Kind::Queued;
                }
                Ok(())
            }
            (kind, _) => fault(format!("{kind:?} in the wrong direction")),
        }
    }

    fn hello(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        if frame.kind != Kind::Hello || frame.stream != 0 {
            return fault(format!("{:?} before HELLO", frame.kind));
        }
        let text = std::str::from_utf8(frame.payload).map_err(|_| Fault::Protocol("HELLO is not UTF-8".to_owned()))?;
        let welcome = self.hub.bind(slf.py()).call_method1(intern!(slf.py(), "is_welcome"), (text, frame.aux))?;
        let Ok(hello) = welcome.cast::<PyDict>() else {
            return fault("HELLO with another version, or without the secret");
        };
        self.state.get()?.expects_hello = false;
        if let Some(sample) = hello.get_item("memory")? {
            self.put_memory(slf, &sample, memory::memory_sample(slf.py())?)?;
        }
        Ok(())
    }

    /// Says whether the other side's sample can be opened here, and where ours is.
    fn put_memory(&self, slf: &Bound<'_, CallLink>, theirs: &Bound<'_, PyAny>, ours: Option<Bound<'_, PyDict>>) -> PyResult<()> {
        let can_open = memory::sample_of(theirs).is_some_and(|sample| self.memory.link().can_open(sample));
        let mut payload = Vec::new();
        if let Some(ours) = ours {
            Encoder::new(&mut payload, &NoHandles).value(&ours)?;
        }
        Self::append(slf, |out| wire::put_frame(out, Kind::Memory, 0, u16::from(can_open), 0, &payload))
    }

    fn on_memory(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        let py = slf.py();
        self.memory.set_lends(frame.aux == 1);
        if !std::mem::take(&mut self.state.get()?.expects_memory) {
            return Ok(());
        }
        let waited = std::mem::take(&mut self.state.get()?.sets_up);
        let theirs = if frame.payload.is_empty() {
            py.None().into_bound(py)
        } else {
            match Decoder::new(py, frame.payload, &NoHandles).value() {
                Ok(theirs) => theirs,
                Err(DecodeError::Malformed(what)) => return fault(what),
                Err(DecodeError::Unusable(error)) => return Err(error.into()),
            }
        };
        self.put_memory(slf, &theirs, None)?;
        if waited {
            self.hub.bind(py).call_method1(intern!(py, "link_ready"), (slf,))?;
        }
        Ok(())
    }

    fn on_return(&self, slf: &Bound<'_, CallLink>, payload: &[u8]) -> Result<(), Fault> {
        let memory = self.memory.link();
        memory.on_return(payload).map_err(|violation| Fault::Protocol(violation.0.to_owned()))?;
        if let Some(ids) = memory.forgets() {
            Self::append(slf, |out| wire::put_frame(out, Kind::Forget, 0, 0, 0, &ids))?;
        }
        Ok(())
    }

    fn bind(&self, payload: &[u8]) -> Result<(), Fault> {
        let Some((number, form)) = payload.split_first_chunk::<4>() else { return fault("BIND without a number") };
        let mut state = self.state.get()?;
        if state.bindings.len() >= BINDINGS_MAX {
            return fault("BIND beyond 65,536 functions");
        }
        let before = state.bindings.insert(u32::from_le_bytes(*number), Named::Form(form.to_vec()));
        drop(state);
        if before.is_some() { fault("BIND of a number in use") } else { Ok(()) }
    }

    /// What a number of the peer's stands for, loaded when it is first called.
    pub fn target_of<'py>(&self, slf: &Bound<'py, CallLink>, number: u32) -> Result<PyResult<Bound<'py, PyAny>>, Fault> {
        let py = slf.py();
        let form = match self.state.get()?.bindings.get(&number) {
            Some(Named::Target(target)) => return Ok(Ok(target.clone_ref(py).into_bound(py))),
            Some(Named::Form(form)) => form.clone(),
            None => return fault(format!("CALL of {number}, which was never bound")),
        };
        let form = match Decoder::new(py, &form, slf).value() {
            Ok(form) => form,
            Err(DecodeError::Malformed(what)) => return fault(what),
            Err(DecodeError::Unusable(error)) => return Ok(Err(error)),
        };
        let target = match self.hub.bind(py).call_method1(intern!(py, "target"), (form,)) {
            Ok(target) => target,
            // A later call tries again: the file may be there then.
            Err(error) => return Ok(Err(error)),
        };
        let before = self.state.get()?.bindings.insert(number, Named::Target(target.clone().unbind()));
        drop(before);
        if target.cast::<incoming::Target>().is_ok_and(|target| target.get().idempotent) {
            self.mark(slf, number)?;
        }
        Ok(Ok(target))
    }

    /// Says that calls of what the peer has bound may be made twice. It leaves before any of it runs.
    fn mark(&self, slf: &Bound<'_, CallLink>, number: u32) -> PyResult<()> {
        let payload = [number.to_le_bytes(), MARK_IDEMPOTENT.to_le_bytes()].concat();
        Self::append(slf, |out| wire::put_frame(out, Kind::Mark, 0, 0, 0, &payload))?;
        self.flush_early()
    }

    /// What the peer says of a function that we call.
    fn on_mark(&self, payload: &[u8]) -> Result<(), Fault> {
        let &[n0, n1, n2, n3, b0, b1, b2, b3] = payload else { return fault("MARK of the wrong size") };
        let (number, bits) = (u32::from_le_bytes([n0, n1, n2, n3]), u32::from_le_bytes([b0, b1, b2, b3]));
        let state = self.state.get()?;
        let Some(binding) = number.checked_sub(1).and_then(|at| state.bound_as.get(at as usize)) else {
            return fault("MARK of what was never bound");
        };
        binding.idempotent.store(bits & MARK_IDEMPOTENT != 0, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, slf: &Bound<'_, CallLink>, payload: &[u8]) -> Result<(), Fault> {
        let (Some(number), Some(times)) = (payload.first_chunk::<4>(), payload.last_chunk::<4>()) else {
            return fault("RELEASE of the wrong size");
        };
        if payload.len() != 8 {
            return fault("RELEASE of the wrong size");
        }
        let dropped = self.state.get()?.given.release(u32::from_le_bytes(*number), u32::from_le_bytes(*times));
        match dropped {
            Ok(dropped) => drop(dropped),
            Err(()) => return fault("RELEASE of what is not held"),
        }
        Ok(Self::close_if_idle(slf)?)
    }

    /// RESULT, ERROR, or DATA after one of them.
    fn answer(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        let whole = {
            let mut state = self.state.get()?;
            // Without a call, nobody waits for it any more.
            let Some(entry) = state.outgoing.get_mut(&frame.stream) else { return Ok(()) };
            let partial = match (frame.kind, entry.partial.take()) {
                (Kind::Data, Some((kind, flags, mut bytes))) => {
                    bytes.extend_from_slice(frame.payload);
                    Some((kind, flags, bytes))
                }
                (Kind::Data, None) => return fault("DATA without a beginning"),
                (_, Some(_)) => return fault(format!("{:?} within a message", frame.kind)),
                (kind, None) if entry.streaming && !matches!(kind, Kind::Error | Kind::Item) => return fault(format!("{kind:?} within a stream")),
                (_, None) if frame.ends() => None,
                (kind, None) => Some((kind, frame.flags, frame.payload.to_vec())),
            };
            if let Some((kind, flags, bytes)) = partial {
                if bytes.len() > self.message_bytes_max {
                    return fault(format!("a message of more than {} bytes", self.message_bytes_max));
                }
                if !frame.ends() {
                    entry.partial = Some((kind, flags, bytes));
                    return Ok(());
                }
                Some((kind, flags, bytes))
            } else {
                None
            }
        };
        match whole {
            Some((kind, flags, bytes)) => self.answered(slf, frame.stream, kind, flags, &bytes),
            None => self.answered(slf, frame.stream, frame.kind, frame.flags, frame.payload),
        }
    }

    fn answered(&self, slf: &Bound<'_, CallLink>, stream: u32, kind: Kind, flags: u8, payload: &[u8]) -> Result<(), Fault> {
        let py = slf.py();
        if kind == Kind::Item {
            return self.items(slf, stream, false, payload);
        }
        if kind == Kind::Result && flags & FLAG_STREAM != 0 {
            let call = {
                let mut state = self.state.get()?;
                let Some(entry) = state.outgoing.get_mut(&stream) else { return Ok(()) };
                entry.streaming = true;
                entry.call.clone_ref(py)
            };
            return Ok(call.get().begin_stream(py)?);
        }
        let mut decoder = Decoder::new(py, payload, slf);
        let value = decoder.value().and_then(|value| decoder.end().map(|()| value));
        let value = match value {
            Err(DecodeError::Malformed(what)) => return fault(what),
            Err(DecodeError::Unusable(error)) => Err(error),
            Ok(value) => Ok(value),
        };
        let value = match (kind, value) {
            (Kind::Error, Ok(form)) => Err(rebuild(py, &form)?),
            (_, value) => value,
        };
        let Some(entry) = self.state.get()?.outgoing.remove(&stream) else { return Ok(()) };
        let call = entry.call.bind(py).get();
        match value {
            Ok(value) => call.succeed(py, value.unbind())?,
            Err(error) => call.fail(py, error)?,
        }
        Ok(Self::close_if_idle(slf)?)
    }

    fn items(&self, slf: &Bound<'_, CallLink>, stream: u32, ended: bool, payload: &[u8]) -> Result<(), Fault> {
        let py = slf.py();
        let call = {
            let state = self.state.get()?;
            let Some(entry) = state.outgoing.get(&stream) else { return Ok(()) };
            if !entry.streaming {
                return fault("ITEM before a RESULT with the flag STREAM");
            }
            entry.call.clone_ref(py)
        };
        let mut items = Vec::new();
        let mut decoder = Decoder::new(py, payload, slf);
        let mut failed = None;
        while !decoder.is_at_end() {
            let begin = decoder.position();
            match decoder.value() {
                Ok(item) => items.push((item.unbind(), (decoder.position() - begin) as u32)),
                Err(DecodeError::Malformed(what)) => return fault(what),
                Err(DecodeError::Unusable(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        call.get().deliver(py, items, ended)?;
        if let Some(error) = failed {
            call.get().fail(py, error)?;
            Self::cancel(slf, stream)?;
        } else if ended {
            let removed = self.state.get()?.outgoing.remove(&stream);
            drop(removed);
            Self::close_if_idle(slf)?;
        }
        Ok(())
    }

    /// Ends the link, and every call on it.
    fn shut(slf: &Bound<'_, CallLink>, reason: Option<String>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (outgoing, incoming, written, kept) = {
            let mut state = this.state.get()?;
            if state.closed {
                return Ok(());
            }
            state.closed = true;
            let written = state.appended - state.output.len() as u64;
            state.output.clear();
            let kept = (std::mem::take(&mut state.given), std::mem::take(&mut state.bindings), state.timer.take());
            (std::mem::take(&mut state.outgoing), std::mem::take(&mut state.incoming), written, kept)
        };
        if let Some((_, timer)) = &kept.2 {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let fd = socket::fd(&this.socket);
        let event_loop = this.event_loop.bind(py);
        if !event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? {
            event_loop.call_method1(intern!(py, "remove_reader"), (fd,))?;
            event_loop.call_method1(intern!(py, "remove_writer"), (fd,))?;
        }
        let _ = this.socket.shutdown(std::net::Shutdown::Both);
        this.memory.close();
        this.hub.bind(py).call_method1(intern!(py, "link_closed"), (slf, reason))?;
        for (_, entry) in outgoing {
            Self::lose(slf, entry, written)?;
        }
        for (_, call) in incoming {
            call.abandon(py)?;
        }
        drop(kept);
        Ok(())
    }

    fn lose(slf: &Bound<'_, CallLink>, entry: Outgoing, written: u64) -> PyResult<()> {
        let py = slf.py();
        let call = entry.call.bind(py);
        let function = call.get().function.bind(py).get();
        let not_started = written < entry.end || entry.queued;
        let again = (not_started || function.is_idempotent()) && !entry.streaming && function.may_move();
        if again && call.get().attempts()? <= RETRIES_MAX {
            return Self::retry(slf, call);
        }
        let peer = &slf.get().peer;
        let (known, started) = if not_started { ("the call had not begun", "no") } else { ("whether the call has had effects is not known", "unknown") };
        let message = format!("{peer} ended before it answered {}: {known}", function.name());
        call.get().fail(py, worker_lost(py, &message, started))
    }
}

impl State {
    /// Our number for a function; BIND goes before its first call.
    fn number_of(&mut self, binding: &Arc<Binding>) -> u32 {
        if let Some(number) = self.bound.get(&binding.id) {
            return *number;
        }
        let number = self.bound.len() as u32 + 1;
        self.bound.insert(binding.id, number);
        self.bound_as.push(Arc::clone(binding));
        let payload = [&number.to_le_bytes(), &binding.form[..]].concat();
        self.put(|out| wire::put_frame(out, Kind::Bind, 0, 0, 0, &payload));
        number
    }

    fn put<R>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let out = self.output.frames();
        let before = out.len();
        let result = encode(out);
        let appended = out.len() - before;
        self.appended += appended as u64;
        if self.closed {
            // Nobody will read it.
            self.output.clear();
        }
        result
    }

    fn put_item(&mut self, stream: u32, item: &[u8]) {
        if item.len() > wire::PAYLOAD_MAX {
            self.open_items = None;
            return self.put(|out| put_message(out, Kind::Item, FLAG_PART, stream, item));
        }
        if let Some((open, at)) = self.open_items
            && open == stream
        {
            let out = self.output.frames();
            let length = out.len() - at - wire::HEADER_LEN + item.len();
            if length <= wire::INITIAL_CREDIT as usize {
                out.extend_from_slice(item);
                out[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
                self.appended += item.len() as u64;
                return;
            }
        }
        let at = self.output.frames().len();
        self.put(|out| wire::put_frame(out, Kind::Item, 0, 0, stream, item));
        self.open_items = if self.closed { None } else { Some((stream, at)) };
    }
}

/// The fixed part of a CALL's payload: its deadline and the number of a function that may have to be bound are still zero. The flags.
fn put_target(py: Python<'_>, function: &Function, payload: &mut Vec<u8>) -> PyResult<u8> {
    let (number, flags, member) = match &function.target {
        Target::Handle(handle, member) => (handle.number, function.flags | FLAG_HANDLE, &**member),
        Target::Bound(_) => (0, function.flags, ""),
    };
    let length = u16::try_from(member.len()).map_err(|_| raise(py, "CallTargetNotFound", "a name of more than 65,535 bytes"))?;
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(member.as_bytes());
    Ok(flags)
}

/// The exception that an ERROR stands for.
fn rebuild<'py>(py: Python<'py>, form: &Bound<'py, PyAny>) -> Result<PyErr, Fault> {
    match py.import(intern!(py, "bireme.errors"))?.call_method1(intern!(py, "rebuild"), (form,)) {
        Ok(error) => Ok(PyErr::from_value(error)),
        Err(error) if error.is_instance_of::<PyValueError>(py) => fault(error.value(py).to_string()),
        Err(error) => Err(error.into()),
    }
}

/// A CannotCross for a message beyond the limit.
pub fn too_large_error(py: Python<'_>, what: &str, bytes: usize, max: usize) -> PyErr {
    let message = format!("{what}: {bytes} bytes; at most {max} can cross at once (message_bytes_max)");
    let make = || py.import("bireme.errors")?.call_method1("too_large", (message,));
    make().map_or_else(|error| error, PyErr::from_value)
}
