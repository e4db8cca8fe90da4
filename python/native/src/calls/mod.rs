//! Calls between workers: `protocol/calls.md`, for Python.
//!
//! A [`link::CallLink`] carries calls both ways. [`function::Function`] and [`call::Call`] are what a caller holds, [`incoming`] is
//! what happens to a call that arrives, [`pool::CallPool`] runs plain functions. Which worker a call goes to, the broker, and
//! loading what is called is the Python side's work, in `python/src/bireme/calls.py` and `targets.py`.

mod awake;
pub mod call;
pub mod function;
pub mod handles;
pub mod incoming;
pub mod items;
pub mod link;
pub mod listener;
pub mod pool;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::hash::{BuildHasherDefault, Hasher};
use wire::{FLAG_END, Kind, PAYLOAD_MAX};

/// An error of `bireme.errors`, by the name of its class.
pub fn raise(py: Python<'_>, class: &str, message: &str) -> PyErr {
    let make = || py.import("bireme.errors")?.getattr(class)?.call1((message,));
    make().map_or_else(|error| error, PyErr::from_value)
}

/// A WorkerLost; `started` is what is known of the call.
pub fn worker_lost(py: Python<'_>, message: &str, started: &str) -> PyErr {
    let make = || {
        let options = PyDict::new(py);
        options.set_item("started", started)?;
        py.import("bireme.errors")?.getattr("WorkerLost")?.call((message,), Some(&options))
    };
    make().map_or_else(|error| error, PyErr::from_value)
}

/// The loop that runs on this thread, if one does.
pub fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get = GET.get_or_try_init(py, || Ok::<_, PyErr>(py.import("asyncio.events")?.getattr("_get_running_loop")?.unbind()))?;
    let found = get.bind(py).call0()?;
    Ok(if found.is_none() { None } else { Some(found) })
}

/// Calls `callable(*arguments)` in the loop's own thread.
pub fn call_soon_threadsafe<'py>(
    event_loop: &Bound<'py, PyAny>,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    event_loop.call_method1(intern!(event_loop.py(), "call_soon_threadsafe"), arguments)
}

/// Appends a message: one frame, and DATA for what goes beyond its payload.
pub fn put_message(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let (first, mut rest) = payload.split_at(payload.len().min(PAYLOAD_MAX));
    let end = |rest: &[u8]| if rest.is_empty() { FLAG_END } else { 0 };
    wire::put_frame(out, kind, flags | end(rest), 0, stream, first);
    while !rest.is_empty() {
        let (next, after) = rest.split_at(rest.len().min(PAYLOAD_MAX));
        wire::put_frame(out, Kind::Data, end(after), 0, stream, next);
        rest = after;
    }
}

/// Numbers that we or the peer count need no secret when they are mixed.
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A map by such numbers.
pub type NumberMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<NumberHasher>>;
