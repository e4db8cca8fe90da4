//! What a caller holds: functions, objects and streams of another process.

use super::call::{Call, Items};
use super::handles::Handle;
use super::link::CallLink;
use super::{raise, running_loop};
use crate::cell::Cell;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use wire::{FLAG_GET, FLAG_IDEMPOTENT, FLAG_NEW};

/// A function of a file or module, as BIND names it.
pub struct Binding {
    /// Of this process; links give their own numbers to it.
    pub id: u64,
    /// The CBOR map of BIND.
    pub form: Vec<u8>,
    /// Where it runs: an object of `bireme.remote`.
    pub place: Py<PyAny>,
    /// A worker has said (MARK) that calls may be made twice.
    pub idempotent: AtomicBool,
}

/// Where a function is.
#[derive(Clone)]
pub enum Target {
    Bound(Arc<Binding>),
    /// An object that the other side gave us, and the name of its member, or an empty one.
    Handle(Arc<Handle>, Arc<str>),
}

/// The links to the workers of one service, for callers of one loop.
#[pyclass(frozen, module = "bireme._native")]
pub struct Route {
    links: Cell<Vec<Py<CallLink>>>,
    /// The longest time of a call that does not say its own, in milliseconds; 0: none.
    timeout_ms: u32,
    turn: AtomicUsize,
}

/// Which worker a call may go to.
pub enum Choice {
    Link(Py<CallLink>),
    /// Every worker has as many calls under way as it may.
    Busy,
    /// None is connected.
    Nobody,
}

#[pymethods]
impl Route {
    #[new]
    fn new(timeout_ms: u32) -> Route {
        Route { links: Cell::new(Vec::new()), timeout_ms, turn: AtomicUsize::new(0) }
    }

    /// The links that new calls may use.
    fn set_links(&self, links: Vec<Py<CallLink>>) -> PyResult<()> {
        let before = std::mem::replace(&mut *self.links.get()?, links);
        drop(before);
        Ok(())
    }

    /// `(link or None, busy)`: for calls that waited for a worker.
    fn choose(&self, py: Python<'_>) -> PyResult<(Option<Py<CallLink>>, bool)> {
        Ok(match self.pick(py)? {
            Choice::Link(link) => (Some(link), false),
            Choice::Busy => (None, true),
            Choice::Nobody => (None, false),
        })
    }
}

impl Route {
    /// The worker with the least calls of ours under way; of several, each in turn.
    fn pick(&self, py: Python<'_>) -> PyResult<Choice> {
        let links = self.links.get()?;
        if let [link] = &links[..] {
            return Ok(match link.get().in_flight()? {
                Some(in_flight) if in_flight < link.get().in_flight_max() => Choice::Link(link.clone_ref(py)),
                Some(_) => Choice::Busy,
                None => Choice::Nobody,
            });
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut best: Option<(usize, &Py<CallLink>)> = None;
        let mut choice = Choice::Nobody;
        for at in 0..links.len() {
            let link = &links[(first + at) % links.len()];
            let Some(in_flight) = link.get().in_flight()? else { continue };
            if in_flight >= link.get().in_flight_max() {
                choice = Choice::Busy;
            } else if best.is_none_or(|(least, _)| in_flight < least) {
                best = Some((in_flight, link));
            }
        }
        Ok(best.map_or(choice, |(_, link)| Choice::Link(link.clone_ref(py))))
    }
}

/// A function, class or value of the other language.
///
/// `await f(…)` or `f.sync(…)` calls it, `async for` and `for` over a call take the items of a stream. `f.with_(timeout=…,
/// idempotent=…)` is the same function with other settings, `f.new(…)` constructs an object of a class, `f.get()` is the value
/// itself. Other attributes are those of the value: `f.method`.
#[pyclass(frozen, weakref, module = "bireme._native")]
pub struct Function {
    pub target: Target,
    name: Arc<str>,
    timeout_ms: Option<u32>,
    /// GET or NEW.
    flags: u8,
    /// Whether a lost call may be made again; None: as the function is marked.
    idempotent: Option<bool>,
    /// Of the last call in a loop, and of those of threads without one.
    routes: Cell<[KnownRoute; 2]>,
}

/// A route, and the loop whose calls it serves.
type KnownRoute = Option<(Option<Py<PyAny>>, Py<Route>)>;

static NEWEST_BINDING: AtomicU64 = AtomicU64::new(0);

#[pymethods]
impl Function {
    /// `place` says where it runs, `form` is the CBOR map of BIND, `name` is for people.
    #[new]
    fn new(place: Py<PyAny>, form: &Bound<'_, PyBytes>, name: &str) -> Function {
        let id = NEWEST_BINDING.fetch_add(1, Ordering::Relaxed);
        let binding = Binding { id, form: form.as_bytes().to_vec(), place, idempotent: AtomicBool::new(false) };
        Function::of(Target::Bound(Arc::new(binding)), name.into())
    }

    #[getter]
    fn __name__(&self) -> &str {
        &self.name
    }

    fn __repr__(&self) -> String {
        format!("<remote function {}>", self.name)
    }

    /// Where it runs; None for what came with a call.
    #[getter]
    fn place(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.target {
            Target::Bound(binding) => Some(binding.place.clone_ref(py)),
            Target::Handle(..) => None,
        }
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Function>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let Some(event_loop) = running_loop(py)? else {
            if let Target::Handle(..) = this.target {
                // A callback in a plain function: called like any other.
                return Self::sync(slf, args, kwargs);
            }
            let message = format!("no event loop runs in this thread: call {}.sync(…), or await it in a coroutine", this.name);
            return Err(PyRuntimeError::new_err(message));
        };
        let call = Bound::new(py, Call::new(slf, args, kwargs)?)?;
        this.start(&call, Some(&event_loop))?;
        Ok(call.into_any())
    }

    /// Calls it and waits for the result. In a thread without an event loop.
    #[pyo3(signature = (*args, **kwargs))]
    fn sync<'py>(
        slf: &Bound<'py, Function>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        if running_loop(py)?.is_some() {
            let message = format!(
                "{}.sync(…) would stop the event loop that runs in this thread: await {}(…) instead",
                this.name, this.name
            );
            return Err(PyRuntimeError::new_err(message));
        }
        let call = Bound::new(py, Call::new(slf, args, kwargs)?)?;
        this.start(&call, None)?;
        Call::wait(&call)
    }

    /// The same function with another longest time (seconds; None or 0: no limit), or one that may be called again when its
    /// worker is lost.
    #[pyo3(signature = (*, timeout = Setting::Unset, idempotent = None))]
    fn with_(&self, timeout: Setting, idempotent: Option<bool>) -> PyResult<Function> {
        let mut function = self.copy();
        function.timeout_ms = match timeout {
            Setting::Unset => self.timeout_ms,
            Setting::Seconds(seconds) => Some(seconds.map_or(0, |seconds| (seconds * 1000.0).ceil().clamp(1.0, 4e9) as u32)),
        };
        function.idempotent = idempotent.or(self.idempotent);
        Ok(function)
    }

    /// `await f.new(…)` constructs an object of the class and keeps it there.
    #[getter(new)]
    fn construct(&self) -> Function {
        let mut function = self.copy();
        function.flags |= FLAG_NEW;
        function
    }

    /// `await f.get()` is the value itself.
    #[getter]
    fn get(&self) -> Function {
        let mut function = self.copy();
        function.flags |= FLAG_GET;
        function
    }

    fn __getattr__(slf: &Bound<'_, Function>, name: &str) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if name.starts_with("__") {
            return Err(PyAttributeError::new_err(name.to_owned()));
        }
        match &slf.get().target {
            Target::Handle(handle, member) => {
                let member = if member.is_empty() { name.to_owned() } else { format!("{member}.{name}") };
                Ok(Py::new(py, Function::of_handle(Arc::clone(handle), &member, &member))?.into_any())
            }
            Target::Bound(binding) => {
                let full = format!("{}.{name}", slf.get().name);
                Ok(binding.place.bind(py).call_method1(intern!(py, "function"), (full,))?.unbind())
            }
        }
    }
}

/// An argument that tells None from nothing.
#[derive(Clone, Copy)]
enum Setting {
    Unset,
    Seconds(Option<f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Setting {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Setting> {
        let seconds = value.extract::<Option<f64>>()?;
        Ok(Setting::Seconds(seconds.filter(|seconds| *seconds > 0.0)))
    }
}

impl Function {
    fn of(target: Target, name: Arc<str>) -> Function {
        Function { target, name, timeout_ms: None, flags: 0, idempotent: None, routes: Cell::new([None, None]) }
    }

    /// Something that the other side gave us, or a member of it.
    pub fn of_handle(handle: Arc<Handle>, member: &str, name: &str) -> Function {
        let name = if name.is_empty() { "callback" } else { name };
        Function::of(Target::Handle(handle, member.into()), name.into())
    }

    fn copy(&self) -> Function {
        let mut copy = Function::of(self.target.clone(), Arc::clone(&self.name));
        copy.timeout_ms = self.timeout_ms;
        copy.flags = self.flags;
        copy.idempotent = self.idempotent;
        copy
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest time, in milliseconds; 0: none.
    pub fn timeout_ms(&self, default: u32) -> u32 {
        self.timeout_ms.unwrap_or(default)
    }

    /// The flags of its CALLs, but for those that say how a CALL is to be read.
    pub fn call_flags(&self) -> u8 {
        if self.idempotent == Some(true) { self.flags | FLAG_IDEMPOTENT } else { self.flags }
    }

    /// The handle, when this stands for all of what it names.
    pub fn whole_handle(&self) -> Option<&Handle> {
        match &self.target {
            Target::Handle(handle, member) if member.is_empty() => Some(handle),
            _ => None,
        }
    }

    /// Whether a lost call of it may be made again, though it may have begun.
    pub fn is_idempotent(&self) -> bool {
        let marked = || matches!(&self.target, Target::Bound(binding) if binding.idempotent.load(Ordering::Relaxed));
        self.idempotent.unwrap_or_else(marked)
    }

    /// Whether a lost call of it may go to another worker, if it may be made again at all.
    pub fn may_move(&self) -> bool {
        matches!(self.target, Target::Bound(_))
    }

    /// Sends the call, or has `bireme.calls` find a worker for it first.
    fn start(&self, call: &Bound<'_, Call>, event_loop: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = call.py();
        let binding = match &self.target {
            Target::Handle(handle, _) => {
                let link = handle.link.bind(py);
                return CallLink::submit(link, call, link.get().timeout_ms());
            }
            Target::Bound(binding) => binding,
        };
        if let Some(route) = self.route(py, event_loop)? {
            match route.get().pick(py)? {
                Choice::Link(link) => return CallLink::submit(link.bind(py), call, route.get().timeout_ms),
                Choice::Busy => return Err(raise(py, "ServiceBusy", &busy(&self.name))),
                Choice::Nobody => {}
            }
        }
        let calls = py.import(intern!(py, "bireme.calls"))?;
        let route = calls.call_method1(intern!(py, "place"), (call, binding.place.bind(py), event_loop))?;
        if let Ok(route) = route.cast_into::<Route>() {
            let key = event_loop.map(|event_loop| event_loop.clone().unbind());
            let slot = usize::from(key.is_none());
            let before = self.routes.get()?[slot].replace((key, route.unbind()));
            drop(before);
        }
        Ok(())
    }

    fn route(&self, py: Python<'_>, event_loop: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<Route>>> {
        let routes = self.routes.get()?;
        Ok(match (&routes[usize::from(event_loop.is_none())], event_loop) {
            (Some((Some(known), route)), Some(event_loop)) if known.is(event_loop) => Some(route.clone_ref(py)),
            (Some((None, route)), None) => Some(route.clone_ref(py)),
            _ => None,
        })
    }
}

/// Why a call was refused by the caller itself.
pub fn busy(name: &str) -> String {
    format!("{name} is not called: as many calls as allowed are under way to every worker of its service")
}

/// An object that lives in another process: `await object.method(…)`, `await object.attribute.get()`.
#[pyclass(frozen, weakref, module = "bireme._native")]
pub struct RemoteObject {
    handle: Arc<Handle>,
    name: Box<str>,
}

#[pymethods]
impl RemoteObject {
    fn __repr__(&self) -> String {
        format!("<remote {} object>", self.name)
    }

    fn __getattr__(&self, name: &str) -> PyResult<Function> {
        if name.starts_with("__") {
            return Err(PyAttributeError::new_err(name.to_owned()));
        }
        Ok(Function::of_handle(Arc::clone(&self.handle), name, &format!("{}.{name}", self.name)))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let same = |other: &RemoteObject| self.handle.number == other.handle.number && self.handle.link.is(&other.handle.link);
        other.cast::<RemoteObject>().is_ok_and(|other| same(other.get()))
    }

    fn __hash__(&self) -> u64 {
        u64::from(self.handle.number)
    }
}

impl RemoteObject {
    pub fn new(handle: Arc<Handle>, name: &str) -> RemoteObject {
        RemoteObject { handle, name: name.into() }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// A stream that came inside a value: `async for item in stream`, or `for` in a thread.
#[pyclass(frozen, weakref, module = "bireme._native")]
pub struct RemoteStream {
    handle: Arc<Handle>,
    name: Box<str>,
}

#[pymethods]
impl RemoteStream {
    fn __repr__(&self) -> String {
        format!("<remote stream {}>", self.name)
    }

    fn __aiter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Items>> {
        let function = Bound::new(py, Function::of_handle(Arc::clone(&self.handle), "@iterate", &self.name))?;
        let call = Function::__call__(&function, &PyTuple::empty(py), None)?;
        Call::items(&call.cast_into::<Call>()?)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let function = Bound::new(py, Function::of_handle(Arc::clone(&self.handle), "@iterate", &self.name))?;
        Function::sync(&function, &PyTuple::empty(py), None)
    }
}

impl RemoteStream {
    pub fn new(handle: Arc<Handle>, name: &str) -> RemoteStream {
        RemoteStream { handle, name: name.into() }
    }
}
