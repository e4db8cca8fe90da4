//! The values of calls: Python objects to CBOR and back, as the table in `protocol/calls.md` says.
//!
//! What occurs all the time is done here; what is rare, and what needs a type from a module that may never be
//! imported, is left to `python/src/bireme/values.py`. Nothing here knows frames or sockets.

mod decode;
mod encode;

pub use decode::{DecodeError, Decoder};
pub use encode::{Encoder, Passed};

use crate::memory::Account;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Values within values, at most.
pub const DEPTH_MAX: usize = 200;

/// Tags that the codec knows itself.
mod tags {
    pub const BIGNUM: u64 = 2;
    pub const NEGATIVE_BIGNUM: u64 = 3;
    pub const TYPED_FIRST: u64 = 64;
    pub const TYPED_LAST: u64 = 87;
    pub const SET: u64 = 258;
    pub const MAP: u64 = 259;
    pub const WTF8: u64 = 273;
    pub const ND_ARRAY: u64 = 39003;
    pub const MEMORY: u64 = 39004;
    pub const ARROW: u64 = 39005;
    pub const HANDLE: u64 = 39006;
    pub const OWN_HANDLE: u64 = 39008;
}

/// What stays where it is, and crosses as a number of the link.
pub trait Handles {
    /// Whether this very object has a number already, or is a stand-in for one of the other side; the value for the
    /// wire then.
    fn known(&self, object: &Bound<'_, PyAny>) -> PyResult<Option<Reference>>;
    /// Gives the object a number, or counts one more use of it.
    fn give(&self, object: &Bound<'_, PyAny>, kind: &str) -> PyResult<u32>;
    /// The object that stands for number `handle` of the other side.
    fn stand_in<'py>(&self, py: Python<'py>, handle: u32, kind: &str, name: &str) -> PyResult<Bound<'py, PyAny>>;
    /// Our own object with this number, come home.
    fn own<'py>(&self, py: Python<'py>, handle: u32) -> PyResult<Option<Bound<'py, PyAny>>>;
    /// The link's account of shared memory, if there is a link.
    fn memory(&self) -> Option<&Account> {
        None
    }
}

/// How a known object crosses.
pub enum Reference {
    /// Ours, given before; counted once more.
    Given(u32, String),
    /// The receiver's own.
    Theirs(u32),
}

/// The functions of `bireme.values` that do the rare part.
pub(crate) struct Rare {
    /// `reduce(object)`: `(tag or None, simpler object)`, or `(kind, name)` of what crosses as a handle.
    reduce: Py<PyAny>,
    /// `restore(tag, simpler object)`.
    restore: Py<PyAny>,
    /// `CannotCross`.
    cannot_cross: Py<PyAny>,
}

pub(crate) fn rare(py: Python<'_>) -> PyResult<&'static Rare> {
    static RARE: PyOnceLock<Rare> = PyOnceLock::new();
    RARE.get_or_try_init(py, || {
        let module = py.import("bireme.values")?;
        Ok(Rare {
            reduce: module.getattr("reduce")?.unbind(),
            restore: module.getattr("restore")?.unbind(),
            cannot_cross: py.import("bireme.errors")?.getattr("CannotCross")?.unbind(),
        })
    })
}

/// A `CannotCross` with this message.
pub fn cannot_cross(py: Python<'_>, message: &str) -> PyErr {
    match rare(py).and_then(|rare| rare.cannot_cross.bind(py).call1((message,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// No link, so nothing can stay behind.
pub struct NoHandles;

impl Handles for NoHandles {
    fn known(&self, _object: &Bound<'_, PyAny>) -> PyResult<Option<Reference>> {
        Ok(None)
    }

    fn give(&self, object: &Bound<'_, PyAny>, kind: &str) -> PyResult<u32> {
        Err(cannot_cross(object.py(), &format!("a {kind} cannot cross without a link")))
    }

    fn stand_in<'py>(&self, py: Python<'py>, _handle: u32, kind: &str, _name: &str) -> PyResult<Bound<'py, PyAny>> {
        Err(cannot_cross(py, &format!("a {kind} cannot cross without a link")))
    }

    fn own<'py>(&self, _py: Python<'py>, _handle: u32) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(None)
    }
}

/// `encode(value)`: its bytes. For tests and tools; calls encode without this.
#[pyfunction]
pub fn encode_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, pyo3::types::PyBytes>> {
    let mut out = Vec::new();
    Encoder::new(&mut out, &NoHandles).value(value)?;
    Ok(pyo3::types::PyBytes::new(value.py(), &out))
}

/// `decode(bytes)`: the value. Raises ValueError for what is no value.
#[pyfunction]
pub fn decode_value<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut decoder = Decoder::new(py, data, &NoHandles);
    let value = decoder.value().map_err(DecodeError::into_py_err)?;
    decoder.end().map_err(DecodeError::into_py_err)?;
    Ok(value)
}
