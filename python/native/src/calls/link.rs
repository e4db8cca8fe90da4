//! One call link: frames in and out, and the calls that are under way on it, both ways.
//!
//! An asyncio loop watches the socket; one turn decodes all that has arrived and writes all that came of it together. Other
//! threads may send at any time, and write at once. Which link a call takes is not decided here.

mod frames;
mod outgoing;
mod releases;
mod state;

pub use outgoing::too_large_error;
pub use state::State;

use super::awake::Awake;
use super::call::timed_out;
use super::handles::Given;
use super::incoming;
use super::listener::CallListener;
use super::pool::CallPool;
use super::{NumberMap, call_soon_threadsafe};
use crate::cell::Cell;
use crate::memory::Account;
use crate::socket::{self, Input, Output, ReadOutcome};
use crate::task::TaskStarter;
use pyo3::exceptions::{PyConnectionError, PyException};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::Instant;
use wire::Kind;

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
        let socket =
            socket::connect(path, hello).map_err(|error| PyConnectionError::new_err(format!("{peer} at {path}: {error}")))?;
        CallLink::new(py, socket, true, shares, peer, event_loop, hub, pool, in_flight_max, timeout_ms, message_bytes_max)
    }

    /// Accepts a connection; None: none waits.
    #[staticmethod]
    #[pyo3(signature = (listener, *, event_loop, hub, pool, in_flight_max, timeout_ms, message_bytes_max))]
    #[allow(clippy::too_many_arguments, reason = "called once, with names")]
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
        CallLink::new(
            py,
            socket,
            false,
            false,
            "a caller".to_owned(),
            event_loop,
            hub,
            pool,
            in_flight_max,
            timeout_ms,
            message_bytes_max,
        )
        .map(Some)
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
            Ok(Served::Open) => {
                Self::flush(slf)?;
                if this.state.get()?.awake.on_news(Instant::now()) { Self::turn_again(slf) } else { Ok(()) }
            }
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

    /// Called by the loop when it has been kept from sleeping.
    fn on_awake_turn(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let again = {
            let mut state = slf.get().state.get()?;
            state.awake.on_turn(Instant::now()) && !state.closed
        };
        if again { Self::turn_again(slf) } else { Ok(()) }
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
        incoming::deliver(slf, stream, value, None)
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
                awake: Awake::new(Instant::now()),
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

    /// Has the loop take a turn without sleeping first.
    fn turn_again(slf: &Bound<'_, CallLink>) -> PyResult<()> {
        let py = slf.py();
        let turn = slf.getattr(intern!(py, "on_awake_turn"))?;
        slf.get().event_loop.bind(py).call_method1(intern!(py, "call_soon"), (turn,)).map(|_| ())
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
}
