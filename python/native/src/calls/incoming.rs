//! A call that has arrived: from its frame to its answer.
//!
//! Every call is in the link's table from its first frame to its one answer; who finds it there no more has been too late.

use super::call::Call;
use super::function::Function;
use super::handles::given_target;
use super::items::Sending;
use super::link::{CallLink, DEADLINE, Fault, NOT_WANTED, fault, too_large_error};
use super::pool::{CallPool, Job};
use super::{call_soon_threadsafe, put_message, raise};
use crate::asgi::{error_of, exception};
use crate::task::TaskStarter;
use crate::values::{DecodeError, Decoder, Encoder, NoHandles};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use std::time::{Duration, Instant};
use wire::{FLAG_GET, FLAG_HANDLE, FLAG_KWARGS, FLAG_NEW, FLAG_STREAM, Frame, Kind};

/// How a target is run: as `bireme.targets` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the loop, in the turn in which the call arrives: coroutine functions and generators, none of whose code runs yet.
    Loop,
    /// The same for what is marked quick: it runs at once, in a context of its own.
    Quick,
    /// In a thread of the pool.
    Thread,
    /// It cannot be called; its value can be had.
    Value,
}

/// What a call calls.
#[pyclass(frozen, module = "bireme._native")]
pub struct Target {
    callable: Py<PyAny>,
    mode: Mode,
    /// `convert(args, kwargs)`: the arguments as the annotations say; None when they say nothing.
    convert: Option<Py<PyAny>>,
    timeout_ms: Option<u32>,
    /// Calls of it may be made twice.
    pub idempotent: bool,
}

#[pymethods]
impl Target {
    /// `mode`: "loop", "quick", "thread" or "value".
    #[new]
    #[pyo3(signature = (callable, mode, convert = None, timeout_ms = None, idempotent = false))]
    fn new(callable: Py<PyAny>, mode: &str, convert: Option<Py<PyAny>>, timeout_ms: Option<u32>, idempotent: bool) -> Target {
        let mode = match mode {
            "loop" => Mode::Loop,
            "quick" => Mode::Quick,
            "thread" => Mode::Thread,
            _ => Mode::Value,
        };
        Target { callable, mode, convert, timeout_ms, idempotent }
    }
}

impl Target {
    /// Calls it, in `context` if its code runs now.
    pub fn call<'py>(
        &self,
        py: Python<'py>,
        context: Option<&Bound<'py, PyAny>>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(convert) = &self.convert else { return self.call_in(py, context, args, kwargs) };
        let converted = convert.bind(py).call1((args, kwargs))?.cast_into::<PyTuple>()?;
        let (args, kwargs) = (converted.get_item(0)?.cast_into::<PyTuple>()?, converted.get_item(1)?);
        self.call_in(py, context, &args, kwargs.cast::<PyDict>().ok())
    }

    fn call_in<'py>(
        &self,
        py: Python<'py>,
        context: Option<&Bound<'py, PyAny>>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let callable = self.callable.bind(py);
        let Some(context) = context else { return callable.call(args, kwargs) };
        let mut all = Vec::with_capacity(args.len() + 1);
        all.push(callable.clone());
        all.extend(args.iter());
        context.getattr(intern!(py, "run"))?.call(PyTuple::new(py, all)?, kwargs)
    }
}

/// A copy of the context variables that the loop's own code has: what a call sets is for that call alone.
pub fn fresh_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static COPY: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    COPY.import(py, "contextvars", "copy_context")?.call0()
}

/// A call in the link's table.
pub struct Incoming {
    pub deadline: Option<Instant>,
    flags: u8,
    phase: Phase,
    /// CANCEL's aux, once it has been cancelled; 0 before.
    cancelled: u16,
}

enum Phase {
    /// Not all of it has come.
    Receiving(Vec<u8>),
    /// It runs on the loop's thread, or waits for the pool, or runs there.
    Running,
    Task(Py<PyAny>),
    Streaming(Py<Sending>),
}

impl Incoming {
    /// The stream that answers it.
    pub fn sending(&self, py: Python<'_>) -> Option<Py<Sending>> {
        match &self.phase {
            Phase::Streaming(sending) => Some(sending.clone_ref(py)),
            _ => None,
        }
    }

    /// Its link is over.
    pub fn abandon(self, py: Python<'_>) -> PyResult<()> {
        match self.phase {
            Phase::Task(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
            Phase::Streaming(sending) => Sending::cancel(sending.bind(py)),
            Phase::Receiving(_) | Phase::Running => Ok(()),
        }
    }
}

/// A CALL frame has come.
pub fn begin(slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
    let whole = frame.ends();
    {
        let mut state = slf.get().state()?;
        if state.incoming.len() >= slf.get().in_flight_max() {
            drop(state);
            let message = format!("{} calls of this caller are under way here", slf.get().in_flight_max());
            return Ok(answer_error(slf, frame.stream, &raise(slf.py(), "ServiceBusy", &message))?);
        }
        let phase = if whole { Phase::Running } else { Phase::Receiving(frame.payload.to_vec()) };
        state.incoming.insert(frame.stream, Incoming { deadline: None, flags: frame.flags, phase, cancelled: 0 });
    }
    if whole { start(slf, frame.stream, frame.flags, frame.payload) } else { Ok(()) }
}

/// DATA that goes on with a CALL.
pub fn more(slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
    let (payload, flags) = {
        let mut state = slf.get().state()?;
        // It was cancelled while it was on its way.
        let Some(call) = state.incoming.get_mut(&frame.stream) else { return Ok(()) };
        let Phase::Receiving(bytes) = &mut call.phase else { return fault("DATA after a call's end") };
        bytes.extend_from_slice(frame.payload);
        // The head of a CALL is no part of the message.
        if bytes.len() > slf.get().message_bytes_max() + (1 << 16) + 16 {
            return fault(format!("a call of more than {} bytes", slf.get().message_bytes_max()));
        }
        if !frame.ends() {
            return Ok(());
        }
        let bytes = std::mem::take(bytes);
        call.phase = Phase::Running;
        (bytes, call.flags)
    };
    start(slf, frame.stream, flags, &payload)
}

fn start(slf: &Bound<'_, CallLink>, stream: u32, flags: u8, payload: &[u8]) -> Result<(), Fault> {
    let py = slf.py();
    let Some((&[t0, t1, t2, t3, d0, d1, d2, d3, l0, l1], rest)) = payload.split_first_chunk::<10>() else {
        return fault("CALL that ends early");
    };
    let Some((member, values)) = rest.split_at_checked(usize::from(u16::from_le_bytes([l0, l1]))) else {
        return fault("CALL that ends early");
    };
    let member = std::str::from_utf8(member).map_err(|_| Fault::Protocol("a member's name that is not UTF-8".to_owned()))?;
    let (number, timeout_ms) = (u32::from_le_bytes([t0, t1, t2, t3]), u32::from_le_bytes([d0, d1, d2, d3]));
    let mut decoder = Decoder::new(py, values, slf);
    let mut read = || -> Result<_, DecodeError> {
        let args = decoder.arguments()?;
        let kwargs = if flags & FLAG_KWARGS == 0 { None } else { Some(decoder.keywords()?) };
        decoder.end()?;
        Ok((args, kwargs))
    };
    let (args, kwargs) = match read() {
        Ok(arguments) => arguments,
        Err(DecodeError::Malformed(what)) => return fault(what),
        Err(DecodeError::Unusable(error)) => return Ok(finish_error(slf, stream, &error)?),
    };
    let (found, told) = match resolve(slf, stream, flags, number, member)? {
        Ok(found) => found,
        Err(error) => return Ok(finish_error(slf, stream, &error)?),
    };
    let target = match found {
        Found::Target(target) => target,
        Found::Value(value) if flags & FLAG_GET != 0 => return Ok(finish_value(slf, stream, &value)?),
        // What is iterated over is the object itself.
        Found::Value(value) => return Ok(deliver(slf, stream, &value, None)?),
    };
    Ok(run(slf, stream, timeout_ms, &target, &args, kwargs.as_ref(), told)?)
}

enum Found<'py> {
    Target(Bound<'py, Target>),
    Value(Bound<'py, PyAny>),
}

/// What the call names, and whether its caller has been told that it waits. The inner error is the call's, the outer one the link's.
fn resolve<'py>(
    slf: &Bound<'py, CallLink>,
    stream: u32,
    flags: u8,
    number: u32,
    member: &str,
) -> Result<PyResult<(Found<'py>, bool)>, Fault> {
    let py = slf.py();
    let hub = slf.get().hub.bind(py);
    let mut told = false;
    let (object, target) = if flags & FLAG_HANDLE != 0 {
        match given_target(slf, number) {
            Ok((object, target)) => (object, target.map(|target| target.into_bound(py))),
            Err(error) => return Ok(Err(error)),
        }
    } else {
        match slf.get().target_of(slf, number, stream)? {
            Ok((target, waited)) => {
                told = waited;
                let object = target.cast::<Target>().map_err(PyErr::from)?.get().callable.clone_ref(py).into_bound(py);
                (object, Some(target))
            }
            Err(error) => return Ok(Err(error)),
        }
    };
    if member == "@iterate" {
        return Ok(Ok((Found::Value(object), told)));
    }
    let found = if flags & FLAG_GET != 0 {
        hub.call_method1(intern!(py, "value"), (object, member)).map(Found::Value)
    } else if !member.is_empty() {
        hub.call_method1(intern!(py, "member"), (object, member)).and_then(|target| Ok(Found::Target(target.cast_into()?)))
    } else if let Some(target) = target {
        Ok(Found::Target(target.cast_into().map_err(PyErr::from)?))
    } else {
        hub.call_method1(intern!(py, "target_of"), (object,)).and_then(|target| {
            let before = slf.get().state()?.given.set_target(number, target.clone().unbind());
            drop(before);
            Ok(Found::Target(target.cast_into()?))
        })
    };
    Ok(found.map(|found| (found, told)))
}

fn run<'py>(
    slf: &Bound<'py, CallLink>,
    stream: u32,
    timeout_ms: u32,
    target: &Bound<'py, Target>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    told: bool,
) -> PyResult<()> {
    let py = slf.py();
    let own = target.get().timeout_ms.filter(|own| *own > 0);
    let timeout_ms = own.filter(|own| timeout_ms == 0 || *own < timeout_ms).unwrap_or(timeout_ms);
    match target.get().mode {
        Mode::Loop | Mode::Quick => {
            let context = match target.get().mode {
                Mode::Quick => Some(fresh_context(py)?),
                _ => None,
            };
            if told {
                slf.get().tell(slf, Kind::Started, stream)?;
            }
            match target.get().call(py, context.as_ref(), args, kwargs) {
                Ok(value) => {
                    deliver(slf, stream, &value, context.as_ref())?;
                    limit(slf, stream, timeout_ms)
                }
                Err(error) => finish_error(slf, stream, &error),
            }
        }
        Mode::Thread => {
            limit(slf, stream, timeout_ms)?;
            let context = fresh_context(py)?.unbind();
            let job = Job::Call {
                link: slf.clone().unbind(),
                stream,
                target: target.clone().unbind(),
                args: args.clone().unbind(),
                kwargs: kwargs.map(|kwargs| kwargs.clone().unbind()),
                context,
                told,
            };
            match CallPool::submit(slf.get().pool.bind(py), job, slf.get().event_loop.bind(py))? {
                Ok(()) => Ok(()),
                Err(message) => finish_error(slf, stream, &raise(py, "ServiceBusy", &message)),
            }
        }
        Mode::Value => {
            let kind = target.get().callable.bind(py).get_type().qualname()?;
            finish_error(slf, stream, &PyTypeError::new_err(format!("a {kind} cannot be called; take its value with get()")))
        }
    }
}

/// Sets the deadline of a call that has not been answered in the turn in which it came.
fn limit(slf: &Bound<'_, CallLink>, stream: u32, timeout_ms: u32) -> PyResult<()> {
    if timeout_ms == 0 {
        return Ok(());
    }
    {
        let mut state = slf.get().state()?;
        let Some(call) = state.incoming.get_mut(&stream) else { return Ok(()) };
        if let Phase::Streaming(_) = call.phase {
            return Ok(());
        }
        call.deadline = Some(Instant::now() + Duration::from_millis(u64::from(timeout_ms)));
    }
    slf.get().on_loop(slf.py(), slf, intern!(slf.py(), "arm"))
}

/// Answers with what the function returned, or goes on with it: an awaitable is awaited, an iterator becomes a stream, whose code
/// runs in the function's `context`, or in one of its own. (Tasks have theirs.)
pub fn deliver(
    slf: &Bound<'_, CallLink>,
    stream: u32,
    value: &Bound<'_, PyAny>,
    context: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = slf.py();
    let flags = match slf.get().state()?.incoming.get(&stream) {
        Some(call) => call.flags,
        // Cancelled meanwhile, or the link is over.
        None => return Ok(()),
    };
    if is_plain(value) {
        return finish_value(slf, stream, value);
    }
    let form = match Form::of(value)? {
        // What is to be kept is the object itself, whatever else it can do.
        Form::AsyncIterable | Form::Iterator if flags & FLAG_NEW != 0 => Form::Value,
        form => form,
    };
    match form {
        Form::Coroutine => {
            if !slf.get().is_own_thread() {
                return elsewhere(slf, stream, value);
            }
            start_task(slf, stream, value)
        }
        Form::Awaitable => {
            if !slf.get().is_own_thread() {
                return elsewhere(slf, stream, value);
            }
            let coroutine = slf.get().hub.bind(py).call_method1(intern!(py, "awaiting"), (value,))?;
            start_task(slf, stream, &coroutine)
        }
        Form::AsyncIterable => {
            if !slf.get().is_own_thread() {
                return elsewhere(slf, stream, value);
            }
            let sending = begin_stream(slf, stream, None)?;
            let pump = slf.get().hub.bind(py).call_method1(intern!(py, "pump"), (value, &sending))?;
            match TaskStarter::run(slf.get().tasks.bind(py), &pump) {
                Ok(task) => sending.get().keep(&task),
                Err(error) => Sending::fail(&sending, &exception(py, &error)),
            }
        }
        Form::Iterator => {
            let context = context.map_or_else(|| fresh_context(py), |context| Ok(context.clone()))?;
            let sending = begin_stream(slf, stream, Some((value.clone().unbind(), context.unbind())))?;
            CallPool::go_on(slf.get().pool.bind(py), Job::Pump(sending.unbind()))
        }
        Form::Value => finish_value(slf, stream, value),
    }
}

/// Types that occur all the time and are nothing but values.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyDict>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyTuple>()
}

/// What is to be done with a function's result.
enum Form {
    Coroutine,
    Awaitable,
    AsyncIterable,
    Iterator,
    Value,
}

impl Form {
    fn of(value: &Bound<'_, PyAny>) -> PyResult<Form> {
        let py = value.py();
        let kind = value.get_type();
        if kind.is(coroutine_type(py)?) {
            return Ok(Form::Coroutine);
        }
        if value.is_exact_instance_of::<Function>() {
            return Ok(Form::Value);
        }
        Ok(if value.is_exact_instance_of::<Call>() || kind.hasattr(intern!(py, "__await__"))? {
            Form::Awaitable
        } else if kind.hasattr(intern!(py, "__anext__"))? || kind.hasattr(intern!(py, "__aiter__"))? {
            Form::AsyncIterable
        } else if kind.hasattr(intern!(py, "__next__"))? {
            Form::Iterator
        } else {
            Form::Value
        })
    }
}

fn coroutine_type(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TYPE: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    let found = TYPE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("types")?.getattr("CoroutineType")?.unbind()))?;
    Ok(found.bind(py))
}

/// Goes on in the loop's own thread.
fn elsewhere(slf: &Bound<'_, CallLink>, stream: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let go_on = slf.getattr(intern!(slf.py(), "go_on"))?;
    call_soon_threadsafe(slf.get().event_loop.bind(slf.py()), (go_on, stream, value)).map(drop)
}

fn start_task(slf: &Bound<'_, CallLink>, stream: u32, coroutine: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    let task = match TaskStarter::run(slf.get().tasks.bind(py), coroutine) {
        Ok(task) => task,
        Err(error) => return finish_error(slf, stream, &error),
    };
    if task.call_method0(intern!(py, "done"))?.is_truthy()? {
        return task_done(slf, stream, &task);
    }
    let done = Bound::new(py, TaskDone { link: slf.clone().unbind(), stream })?;
    task.call_method1(intern!(py, "add_done_callback"), (done,))?;
    let wanted = {
        let mut state = slf.get().state()?;
        match state.incoming.get_mut(&stream) {
            Some(call) => {
                call.phase = Phase::Task(task.clone().unbind());
                true
            }
            None => false,
        }
    };
    if !wanted {
        task.call_method0(intern!(py, "cancel"))?;
    }
    Ok(())
}

/// Called by a task that has ended.
#[pyclass(frozen, module = "bireme._native")]
pub struct TaskDone {
    link: Py<CallLink>,
    stream: u32,
}

#[pymethods]
impl TaskDone {
    fn __call__(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        task_done(self.link.bind(task.py()), self.stream, task)
    }
}

/// Answers with what became of the task.
pub fn task_done(slf: &Bound<'_, CallLink>, stream: u32, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    match error_of(task)? {
        None => finish_value(slf, stream, &task.call_method0(intern!(py, "result"))?),
        Some(error) => finish_error(slf, stream, &error),
    }
}

/// The caller does not want the answer any more, or its time is over. Reaches the running task.
pub fn cancel(slf: &Bound<'_, CallLink>, stream: u32, reason: u16) -> PyResult<()> {
    let py = slf.py();
    let task = {
        let mut state = slf.get().state()?;
        let Some(call) = state.incoming.get_mut(&stream) else { return Ok(()) };
        call.deadline = None;
        call.cancelled = if reason == DEADLINE { DEADLINE } else { NOT_WANTED };
        match &call.phase {
            Phase::Task(task) => Some(task.clone_ref(py)),
            Phase::Streaming(_) => {
                let removed = state.incoming.remove(&stream);
                drop(state);
                return removed.map_or(Ok(()), |call| call.abandon(py));
            }
            Phase::Receiving(_) | Phase::Running => None,
        }
    };
    match task {
        // It answers when it has ended.
        Some(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
        // A thread can't be stopped: what it returns is for nobody.
        None => finish_error(slf, stream, &cancelled_error(py, reason)),
    }
}

/// What is answered to a call that was cancelled for this reason.
fn cancelled_error(py: Python<'_>, reason: u16) -> PyErr {
    if reason == DEADLINE {
        raise(py, "CallTimeout", "the deadline passed while the function ran")
    } else {
        raise(py, "CallCancelled", "the call was cancelled")
    }
}

/// Answers with a value.
pub fn finish_value(slf: &Bound<'_, CallLink>, stream: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let flags = match slf.get().state()?.incoming.get(&stream) {
        Some(call) => call.flags,
        None => return Ok(()),
    };
    let mut payload = Vec::with_capacity(128);
    let mut encoder = Encoder::new(&mut payload, slf);
    let encoded = if flags & FLAG_NEW == 0 { encoder.value(value) } else { encoder.object(value) };
    let passed = std::mem::take(&mut encoder.passed);
    let max = slf.get().message_bytes_max();
    let refused = match encoded {
        Err(error) => Some(error),
        Ok(()) if payload.len() > max => Some(too_large_error(slf.py(), "result", payload.len(), max)),
        Ok(()) => None,
    };
    if let Some(error) = refused {
        slf.get().take_back(passed)?;
        return finish_error(slf, stream, &error);
    }
    let removed = slf.get().state()?.incoming.remove(&stream);
    if removed.is_some() {
        CallLink::append(slf, |out| put_message(out, Kind::Result, 0, stream, &payload))?;
        return CallLink::close_if_idle(slf);
    }
    slf.get().take_back(passed)
}

/// Answers with an error.
pub fn finish_error(slf: &Bound<'_, CallLink>, stream: u32, error: &PyErr) -> PyResult<()> {
    let py = slf.py();
    let removed = slf.get().state()?.incoming.remove(&stream);
    let Some(call) = removed else { return Ok(()) };
    let cancelled = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "CancelledError"))?;
    if error.is_instance(py, &cancelled) {
        answer_error(slf, stream, &cancelled_error(py, call.cancelled))?;
    } else {
        answer_error(slf, stream, error)?;
    }
    CallLink::close_if_idle(slf)
}

/// Sends ERROR.
pub fn answer_error(slf: &Bound<'_, CallLink>, stream: u32, error: &PyErr) -> PyResult<()> {
    let py = slf.py();
    let form = py.import(intern!(py, "bireme.errors"))?.call_method1(intern!(py, "describe"), (exception(py, error),))?;
    let mut payload = Vec::with_capacity(512);
    Encoder::new(&mut payload, &NoHandles).value(&form)?;
    CallLink::append(slf, |out| put_message(out, Kind::Error, 0, stream, &payload))
}

/// `iterator`: with its context, unless a task takes the items.
fn begin_stream<'py>(
    slf: &Bound<'py, CallLink>,
    stream: u32,
    iterator: Option<(Py<PyAny>, Py<PyAny>)>,
) -> PyResult<Bound<'py, Sending>> {
    let sending = Bound::new(slf.py(), Sending::new(slf.clone().unbind(), stream, iterator))?;
    let before = {
        let mut state = slf.get().state()?;
        state.incoming.get_mut(&stream).map(|call| {
            call.deadline = None;
            std::mem::replace(&mut call.phase, Phase::Streaming(sending.clone().unbind()))
        })
    };
    drop(before);
    CallLink::append(slf, |out| wire::put_frame(out, Kind::Result, wire::FLAG_END | FLAG_STREAM, 0, stream, b""))?;
    Ok(sending)
}

/// Whether a call still waits to be answered, so that it makes sense to begin with it.
pub fn is_wanted(slf: &Bound<'_, CallLink>, stream: u32) -> PyResult<bool> {
    Ok(slf.get().state()?.incoming.contains_key(&stream))
}
