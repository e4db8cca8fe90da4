//! One call, as its caller sees it: an awaitable, or the items of a stream.

use super::function::Function;
use super::link::CallLink;
use super::pool;
use super::{call_soon_threadsafe, raise, running_loop};
use crate::awaitables::{future, thrown, wake};
use crate::cell::Cell;
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use wire::INITIAL_CREDIT;

/// Bytes of items that the consumer has taken before the producer is told: half a window.
const CREDIT_STEP: u32 = INITIAL_CREDIT / 2;
/// How often a thread that waits looks for signals such as Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

/// What became of a call.
enum Outcome {
    Pending,
    Value(Py<PyAny>),
    Failed(PyErr),
    /// Items follow.
    Stream,
    /// It has been handed over.
    Taken,
}

struct State {
    outcome: Outcome,
    /// Where it is under way.
    sent: Option<(Py<CallLink>, u32)>,
    /// How often it has been sent.
    attempts: u32,
    deadline: Option<Instant>,
    items: VecDeque<(Py<PyAny>, u32)>,
    /// The stream is over, with an error or without.
    ended: Option<Option<PyErr>>,
    /// Bytes of items taken and not granted anew.
    taken: u32,
    waiters: Vec<Waiter>,
    /// Nobody wants it any more.
    cancelled: bool,
}

enum Waiter {
    Future { future: Py<PyAny>, event_loop: Py<PyAny>, thread: ThreadId },
    Thread(Arc<Bell>),
}

/// Wakes one thread.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits without the GIL; false: not rung in time.
    fn wait(&self, timeout: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(rung, timeout, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// One call. Await it for its result, or iterate over it when the function gives a stream.
#[pyclass(frozen, weakref, module = "bireme._native")]
pub struct Call {
    pub function: Py<Function>,
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
    state: Cell<State>,
}

#[pymethods]
impl Call {
    fn __await__(slf: Py<Call>) -> Py<Call> {
        slf
    }

    fn __iter__(slf: Py<Call>) -> Py<Call> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Call>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match Call::take(slf) {
            Ok(Some(result)) => Err(stop_iteration(result)?),
            Ok(None) => slf.get().wait_in_loop(py),
            Err(error) if is_cancelled(py, &error)? => Err(cancelled_error(py, &error)?),
            Err(error) => Err(error),
        }
    }

    fn send<'py>(slf: &Bound<'py, Call>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Call::__next__(slf)
    }

    #[pyo3(signature = (*error))]
    fn throw(slf: &Bound<'_, Call>, error: &Bound<'_, PyTuple>) -> PyResult<()> {
        Call::cancel(slf)?;
        Err(thrown(error)?)
    }

    fn close(slf: &Bound<'_, Call>) -> PyResult<()> {
        Call::cancel(slf)
    }

    fn __aiter__<'py>(slf: &Bound<'py, Call>) -> PyResult<Bound<'py, Items>> {
        Call::items(slf)
    }

    /// The name of what is called.
    #[getter]
    fn name(&self, py: Python<'_>) -> String {
        self.function.bind(py).get().name().to_owned()
    }

    /// Where the called function runs; None for what came with a call.
    #[getter]
    fn function_place(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.function.bind(py).get().target {
            super::function::Target::Bound(binding) => Some(binding.place.clone_ref(py)),
            super::function::Target::Handle(..) => None,
        }
    }

    /// How many milliseconds are left; None: no limit is known yet.
    fn left_ms(&self) -> PyResult<Option<u64>> {
        let deadline = self.state.get()?.deadline;
        Ok(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).as_millis() as u64))
    }

    /// Sets the longest time, if the function does not say its own; `default_ms` 0: none.
    fn set_deadline(&self, py: Python<'_>, default_ms: u32) -> PyResult<()> {
        self.deadline(py, default_ms).map(drop)
    }

    /// Whether nobody waits for it any more, or it has ended.
    #[getter]
    fn is_over(&self) -> PyResult<bool> {
        let state = self.state.get()?;
        Ok(state.cancelled || !matches!(state.outcome, Outcome::Pending))
    }

    /// Sends it over a link. Raises CannotCross.
    fn submit(slf: &Bound<'_, Call>, link: &Bound<'_, CallLink>, default_timeout_ms: u32) -> PyResult<()> {
        CallLink::submit(link, slf, default_timeout_ms)
    }

    /// Ends it with an exception.
    #[pyo3(name = "fail")]
    fn fail_with(&self, py: Python<'_>, error: Py<PyAny>) -> PyResult<()> {
        self.fail(py, PyErr::from_value(error.into_bound(py)))
    }
}

impl Call {
    pub fn new(function: &Bound<'_, Function>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Call> {
        let kwargs = kwargs.filter(|kwargs| !kwargs.is_empty());
        Ok(Call {
            function: function.clone().unbind(),
            args: args.clone().unbind(),
            kwargs: kwargs.map(|kwargs| kwargs.clone().unbind()),
            state: Cell::new(State {
                outcome: Outcome::Pending,
                sent: None,
                attempts: 0,
                deadline: None,
                items: VecDeque::new(),
                ended: None,
                taken: 0,
                waiters: Vec::new(),
                cancelled: false,
            }),
        })
    }

    pub fn args<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyTuple> {
        self.args.bind(py)
    }

    pub fn kwargs<'a, 'py>(&'a self, py: Python<'py>) -> Option<&'a Bound<'py, PyDict>> {
        self.kwargs.as_ref().map(|kwargs| kwargs.bind(py))
    }

    /// When it has to be answered; fixed the first time that it is asked for.
    pub fn deadline(&self, py: Python<'_>, default_ms: u32) -> PyResult<Option<Instant>> {
        let timeout_ms = self.function.bind(py).get().timeout_ms(default_ms);
        let mut state = self.state.get()?;
        if state.deadline.is_none() && timeout_ms > 0 {
            state.deadline = Some(Instant::now() + Duration::from_millis(u64::from(timeout_ms)));
        }
        Ok(state.deadline)
    }

    /// It is under way; false: nobody wants it any more.
    pub fn sent(&self, link: Py<CallLink>, stream: u32) -> PyResult<bool> {
        let mut state = self.state.get()?;
        state.attempts += 1;
        let before = state.sent.replace((link, stream));
        let wanted = !state.cancelled;
        drop(state);
        drop(before);
        Ok(wanted)
    }

    /// How often it has been sent.
    pub fn attempts(&self) -> PyResult<u32> {
        Ok(self.state.get()?.attempts)
    }

    /// The link on which it was under way is over for it, and another will be found.
    pub fn lost(&self) -> PyResult<()> {
        let before = self.state.get()?.sent.take();
        drop(before);
        Ok(())
    }

    pub fn succeed(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.settle(py, Outcome::Value(value))
    }

    pub fn fail(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let waiters = {
            let mut state = self.state.get()?;
            match state.outcome {
                Outcome::Pending => state.outcome = Outcome::Failed(error),
                // The stream, whose beginning may have been taken.
                _ if state.ended.is_none() => state.ended = Some(Some(error)),
                _ => return Ok(()),
            }
            std::mem::take(&mut state.waiters)
        };
        wake_all(py, waiters)
    }

    /// Items follow.
    pub fn begin_stream(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, Outcome::Stream)
    }

    /// Items have come, with the bytes of each; `ended`: they were the last.
    pub fn deliver(&self, py: Python<'_>, items: Vec<(Py<PyAny>, u32)>, ended: bool) -> PyResult<()> {
        let waiters = {
            let mut state = self.state.get()?;
            state.items.extend(items);
            if ended && state.ended.is_none() {
                state.ended = Some(None);
            }
            std::mem::take(&mut state.waiters)
        };
        wake_all(py, waiters)
    }

    fn settle(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        let waiters = {
            let mut state = self.state.get()?;
            if matches!(state.outcome, Outcome::Pending) {
                state.outcome = outcome;
            }
            std::mem::take(&mut state.waiters)
        };
        wake_all(py, waiters)
    }

    /// Nobody waits any more: the other side is told.
    pub fn cancel(slf: &Bound<'_, Call>) -> PyResult<()> {
        let py = slf.py();
        let (sent, dropped) = {
            let mut state = slf.get().state.get()?;
            let over = match state.outcome {
                Outcome::Pending => false,
                Outcome::Stream | Outcome::Taken => state.ended.is_some(),
                _ => true,
            };
            if over || state.cancelled {
                return Ok(());
            }
            state.cancelled = true;
            (state.sent.take(), std::mem::take(&mut state.items))
        };
        drop(dropped);
        if let Some((link, stream)) = sent {
            CallLink::cancel(link.bind(py), stream)?;
        }
        Ok(())
    }

    /// The result, once it is there.
    fn take<'py>(slf: &Bound<'py, Call>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let mut state = slf.get().state.get()?;
        if let Outcome::Pending = state.outcome {
            return Ok(None);
        }
        let outcome = std::mem::replace(&mut state.outcome, Outcome::Taken);
        drop(state);
        match outcome {
            Outcome::Value(value) => Ok(Some(value.into_bound(py))),
            Outcome::Failed(error) => Err(error),
            Outcome::Stream => Ok(Some(Bound::new(py, Items { call: slf.clone().unbind() })?.into_any())),
            Outcome::Taken | Outcome::Pending => {
                Err(PyRuntimeError::new_err("the result of this call has been taken already: call the function again"))
            }
        }
    }

    /// Its items, when the result is still to come.
    pub fn items<'py>(slf: &Bound<'py, Call>) -> PyResult<Bound<'py, Items>> {
        Bound::new(slf.py(), Items { call: slf.clone().unbind() })
    }

    /// A future of the running loop that ends when there is news.
    fn wait_in_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(event_loop) = running_loop(py)? else {
            return Err(PyRuntimeError::new_err("a call can only be awaited where an event loop runs"));
        };
        let future = future(&event_loop)?;
        let thread = std::thread::current().id();
        let waiter = Waiter::Future { future: future.clone().unbind(), event_loop: event_loop.unbind(), thread };
        self.state.get()?.waiters.push(waiter);
        Ok(future)
    }

    /// The result. Waits, in a thread without a loop.
    pub fn wait<'py>(slf: &Bound<'py, Call>) -> PyResult<Bound<'py, PyAny>> {
        loop {
            if let Some(result) = Call::take(slf)? {
                return Ok(result);
            }
            slf.get().wait_in_thread(slf)?;
        }
    }

    fn wait_in_thread(&self, slf: &Bound<'_, Call>) -> PyResult<()> {
        let py = slf.py();
        let bell = Arc::new(Bell::default());
        self.state.get()?.waiters.push(Waiter::Thread(Arc::clone(&bell)));
        let _blocked = pool::Blocked::enter(py)?;
        while !py.detach(|| bell.wait(SIGNALS_EVERY)) {
            if let Err(interrupt) = py.check_signals() {
                Call::cancel(slf)?;
                return Err(interrupt);
            }
        }
        Ok(())
    }

    /// The next item, if it is there; an error when the stream is over.
    fn take_item<'py>(slf: &Bound<'py, Call>) -> PyResult<Next<'py>> {
        let py = slf.py();
        let mut state = slf.get().state.get()?;
        if let Some((item, bytes)) = state.items.pop_front() {
            state.taken += bytes;
            let grant = if state.taken >= CREDIT_STEP && state.ended.is_none() {
                let sent = state.sent.as_ref().map(|(link, stream)| (link.clone_ref(py), *stream));
                sent.map(|(link, stream)| (link, stream, std::mem::take(&mut state.taken)))
            } else {
                None
            };
            drop(state);
            if let Some((link, stream, bytes)) = grant {
                CallLink::grant(link.bind(py), stream, bytes)?;
            }
            return Ok(Next::Item(item.into_bound(py)));
        }
        if let Some(error) = &mut state.ended {
            let error = error.take();
            drop(state);
            return error.map_or(Ok(Next::End), Err);
        }
        if state.cancelled {
            return Ok(Next::End);
        }
        match &state.outcome {
            Outcome::Stream => {
                state.outcome = Outcome::Taken;
                Ok(Next::Later)
            }
            Outcome::Pending | Outcome::Taken => Ok(Next::Later),
            Outcome::Failed(_) | Outcome::Value(_) => {
                state.ended = Some(None);
                drop(state);
                let value = Call::take(slf)?;
                let kind = value.map(|value| value.get_type().name().map(|name| name.to_string())).transpose()?;
                let name = slf.get().name(py);
                Err(PyTypeError::new_err(format!("{name} gave no stream, but a {}", kind.unwrap_or_default())))
            }
        }
    }
}

enum Next<'py> {
    Item(Bound<'py, PyAny>),
    Later,
    End,
}

/// The items of a stream: `async for`, or `for` in a thread without an event loop.
#[pyclass(frozen, weakref, module = "bireme._native")]
pub struct Items {
    call: Py<Call>,
}

#[pymethods]
impl Items {
    fn __aiter__(slf: Py<Items>) -> Py<Items> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<NextItem> {
        Ok(NextItem { call: self.call.clone_ref(py) })
    }

    fn __iter__(slf: Py<Items>) -> Py<Items> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let call = self.call.bind(py);
        loop {
            match Call::take_item(call)? {
                Next::Item(item) => return Ok(Some(item)),
                Next::End => return Ok(None),
                Next::Later if running_loop(py)?.is_some() => {
                    return Err(PyRuntimeError::new_err("use `async for` where an event loop runs: `for` would stop it"));
                }
                Next::Later => call.get().wait_in_thread(call)?,
            }
        }
    }

    /// Ends the stream: its producer is told.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        Call::cancel(self.call.bind(py))
    }

    /// The same, to be awaited.
    fn aclose(&self, py: Python<'_>) -> PyResult<crate::awaitables::Done> {
        self.close(py)?;
        Ok(crate::awaitables::Done)
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        Python::try_attach(|py| {
            if let Err(error) = Call::cancel(self.call.bind(py)) {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// What `anext()` of a stream returns.
#[pyclass(frozen, module = "bireme._native")]
pub struct NextItem {
    call: Py<Call>,
}

#[pymethods]
impl NextItem {
    fn __await__(slf: Py<NextItem>) -> Py<NextItem> {
        slf
    }

    fn __iter__(slf: Py<NextItem>) -> Py<NextItem> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match Call::take_item(self.call.bind(py))? {
            Next::Item(item) => Err(stop_iteration(item)?),
            Next::End => Err(PyStopAsyncIteration::new_err(())),
            Next::Later => self.call.bind(py).get().wait_in_loop(py),
        }
    }

    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, py: Python<'_>, error: &Bound<'_, PyTuple>) -> PyResult<()> {
        Call::cancel(self.call.bind(py))?;
        Err(thrown(error)?)
    }

    fn close(&self) {}
}

fn wake_all(py: Python<'_>, waiters: Vec<Waiter>) -> PyResult<()> {
    static WAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    for waiter in waiters {
        match waiter {
            Waiter::Thread(bell) => bell.ring(),
            Waiter::Future { future, thread, .. } if thread == std::thread::current().id() => wake(future.bind(py))?,
            Waiter::Future { future, event_loop, .. } => {
                let wake = WAKE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("bireme.calls")?.getattr("wake")?.unbind()))?;
                // A loop that has ended waits for nothing.
                let _ = call_soon_threadsafe(event_loop.bind(py), (wake, future));
            }
        }
    }
    Ok(())
}

/// A StopIteration that carries the result. A tuple or an exception as its one argument must be wrapped, or it would be
/// taken apart.
fn stop_iteration(result: Bound<'_, PyAny>) -> PyResult<PyErr> {
    Ok(PyStopIteration::new_err((result.unbind(),)))
}

/// The error of a call whose deadline has passed.
pub fn timed_out(py: Python<'_>, name: &str, timeout_ms: u32) -> PyErr {
    raise(py, "CallTimeout", &format!("{name} did not answer within {timeout_ms} ms"))
}

fn is_cancelled(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let errors = py.import(intern!(py, "bireme.errors"))?;
    Ok(error.is_instance(py, &errors.getattr(intern!(py, "CallCancelled"))?))
}

/// What a coroutine sees of a call that the other side cancelled.
fn cancelled_error(py: Python<'_>, error: &PyErr) -> PyResult<PyErr> {
    let kind = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "CancelledError"))?;
    Ok(PyErr::from_value(kind.call1((error.value(py).to_string(),))?))
}
