//! Shared memory for Python: what large arrays lie in while they cross, and what `bireme.shared` makes; protocol/calls.md,
//! "Shared memory". The books are kept by the crate `memory`.
//!
//! CPython's buffer protocol is not part of the stable interface before 3.11, so what Python gets is an address, with an
//! object that keeps what lies there: NumPy and pyarrow take that as well.

use ::memory::{Address, AllocateError, Block, BorrowError, Limits, LinkMemory, Pool, Reference, View};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Until `configure_memory` says otherwise.
const BYTES_MAX: u64 = 1 << 30;
const BYTES_MIN: u64 = 64 << 10;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(Limits::for_bytes(BYTES_MAX)));
static LEAST: AtomicU64 = AtomicU64::new(BYTES_MIN);
/// Links whose other side can open our segments.
static LENDING: AtomicUsize = AtomicUsize::new(0);

/// Sets from how many bytes on arrays cross in shared memory (0: none), and how many this process may hold.
#[pyfunction]
pub fn configure_memory(bytes_min: u64, bytes_max: u64) {
    LEAST.store(if bytes_min == 0 { u64::MAX } else { bytes_min }, Ordering::Relaxed);
    POOL.set_limits(Limits::for_bytes(bytes_max));
}

#[derive(Clone)]
enum Held {
    Ours(Arc<Block>),
    Theirs(Arc<View>),
}

/// Bytes in shared memory. Arrays over it keep it as their base.
#[pyclass(frozen, module = "bireme._native")]
pub struct Memory {
    held: Held,
    offset: u64,
    bytes: u64,
    /// Both sides see what the other writes.
    shared: bool,
    /// Of all parts of one memory.
    released: Arc<AtomicBool>,
}

#[pymethods]
impl Memory {
    /// New memory of zeros that both sides will see. Raises SharedMemoryFull.
    #[staticmethod]
    fn allocate(py: Python<'_>, bytes: u64) -> PyResult<Memory> {
        match POOL.allocate(bytes) {
            Ok(block) => Ok(Memory::new(Held::Ours(block), 0, bytes, true)),
            Err(AllocateError::System(error)) => Err(PyOSError::new_err(error.to_string())),
            Err(full) => {
                let class = py.import("bireme.errors")?.getattr("SharedMemoryFull")?;
                Err(PyErr::from_value(class.call1((full.to_string(),))?))
            }
        }
    }

    /// Memory for a copy of as many bytes, which the caller writes, all of them; None where nobody could be lent it, or there
    /// is no room.
    #[staticmethod]
    fn room(bytes: u64) -> Option<Memory> {
        if bytes < LEAST.load(Ordering::Relaxed) || LENDING.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let block = POOL.allocate_dirty(bytes).ok()?;
        Some(Memory::new(Held::Ours(block), 0, bytes, false))
    }

    /// Bytes of all segments of this process.
    #[staticmethod]
    fn held_bytes() -> u64 {
        POOL.held()
    }

    /// `bytes` bytes from `offset`.
    fn part(&self, offset: u64, bytes: u64) -> Memory {
        let released = Arc::clone(&self.released);
        Memory { held: self.held.clone(), offset: self.offset.saturating_add(offset), bytes, shared: self.shared, released }
    }

    /// Where it lies in this process.
    #[getter]
    fn address(&self) -> usize {
        let pointer = match &self.held {
            Held::Ours(block) => block.pointer(self.offset, self.bytes),
            Held::Theirs(view) => view.pointer(self.offset, self.bytes),
        };
        pointer.map_or(0, |pointer| pointer.as_ptr() as usize)
    }

    #[getter]
    fn nbytes(&self) -> u64 {
        self.bytes
    }

    #[getter]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    #[getter]
    fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// It must not cross any more. The bytes stay until nothing looks at them.
    fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    /// A copy.
    fn tobytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.to_vec())
    }

    /// NumPy's array interface: bytes that may be written to.
    #[getter(__array_interface__)]
    fn array_interface<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("shape", (self.bytes,))?;
        interface.set_item("data", (self.address(), false))?;
        Ok(interface)
    }
}

impl Memory {
    fn new(held: Held, offset: u64, bytes: u64, shared: bool) -> Memory {
        Memory { held, offset, bytes, shared, released: Arc::default() }
    }

    /// A copy.
    pub fn to_vec(&self) -> Vec<u8> {
        let copy = match &self.held {
            Held::Ours(block) => block.read(self.offset, self.bytes),
            Held::Theirs(view) => view.read(self.offset, self.bytes),
        };
        copy.unwrap_or_default()
    }
}

/// How memory crosses.
pub enum Crossing {
    /// Ours, lent.
    Lent(Reference),
    /// The receiver's own, which comes home: `[lease, offset, bytes]`.
    Home([u64; 3]),
}

/// One call link's account.
pub struct Account {
    memory: LinkMemory,
    lends: AtomicBool,
}

impl Account {
    /// The account of a new link; see [`LinkMemory::new`].
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Account {
        Account { memory: LinkMemory::new(POOL.clone(), wake), lends: AtomicBool::new(false) }
    }

    /// What frames about memory are for.
    pub fn link(&self) -> &LinkMemory {
        &self.memory
    }

    /// The other side can, or can't, open our segments.
    pub fn set_lends(&self, lends: bool) {
        if self.lends.swap(lends, Ordering::Relaxed) != lends {
            if lends {
                LENDING.fetch_add(1, Ordering::Relaxed);
            } else {
                LENDING.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Copies bytes that are worth it into memory and lends that; `None`: they go inline.
    pub fn copy(&self, bytes: &[u8]) -> Option<Reference> {
        let length = bytes.len() as u64;
        if length < LEAST.load(Ordering::Relaxed) || !self.lends.load(Ordering::Relaxed) {
            return None;
        }
        let block = POOL.copy(bytes).ok()?;
        self.memory.lend(&block, 0, length, false)
    }

    /// Lends memory, or sends it home; `None`: it goes inline.
    pub fn lend(&self, memory: &Memory) -> Option<Crossing> {
        match &memory.held {
            Held::Theirs(view) if memory.shared && view.is_from(&self.memory) => {
                Some(Crossing::Home([u64::from(view.lease()), memory.offset, memory.bytes]))
            }
            Held::Ours(block) if self.lends.load(Ordering::Relaxed) => {
                self.memory.lend(block, memory.offset, memory.bytes, memory.shared).map(Crossing::Lent)
            }
            _ => None,
        }
    }

    /// Looks at what the other side has lent.
    pub fn borrow(&self, reference: Reference) -> Result<Memory, BorrowError> {
        let view = self.memory.borrow(reference)?;
        Ok(Memory::new(Held::Theirs(Arc::new(view)), 0, reference.bytes, reference.shared))
    }

    /// Memory of ours that comes home; `None` when it was not lent.
    pub fn home(&self, lease: u32, offset: u64, bytes: u64) -> Option<Memory> {
        let (block, offset) = self.memory.home(lease, offset, bytes)?;
        Some(Memory::new(Held::Ours(block), offset, bytes, true))
    }

    /// The link is over.
    pub fn close(&self) {
        self.set_lends(false);
        self.memory.close();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}

/// HELLO's `memory`, or what MEMORY says: where a segment of this process is, for others to try. None when there is no memory.
#[pyfunction]
pub fn memory_sample(py: Python<'_>) -> PyResult<Option<Bound<'_, PyDict>>> {
    let Some(address) = sample() else { return Ok(None) };
    let form = PyDict::new(py);
    form.set_item("pid", address.pid)?;
    form.set_item("descriptor", address.descriptor)?;
    form.set_item("id", address.id)?;
    form.set_item("bytes", address.bytes)?;
    Ok(Some(form))
}

/// The other side's sample; `None`: it has said something else.
pub fn sample_of(form: &Bound<'_, PyAny>) -> Option<Address> {
    let form = form.cast::<PyDict>().ok()?;
    let get = |key: &str| form.get_item(key).ok().flatten();
    Some(Address {
        pid: get("pid")?.extract().ok()?,
        descriptor: get("descriptor")?.extract().ok()?,
        id: get("id")?.extract().ok()?,
        bytes: get("bytes")?.extract().ok()?,
    })
}

fn sample() -> Option<Address> {
    static SAMPLE: Mutex<Option<Arc<Block>>> = Mutex::new(None);
    let mut sample = SAMPLE.lock().unwrap_or_else(PoisonError::into_inner);
    // A forked child has its parent's.
    if sample.as_ref().is_none_or(|block| block.address().pid != std::process::id()) {
        *sample = POOL.allocate_dirty(1).ok();
    }
    sample.as_ref().map(|block| block.address())
}
