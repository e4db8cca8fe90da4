//! The segments of this process, and the blocks in them.

use crate::layout::{Full, Layout, Limits, Placement};
use crate::segment::{Address, Pointer, Segment};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere: the states here are valid between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no block.
#[derive(Debug)]
pub enum AllocateError {
    /// The process holds as much as it may.
    Full(Full),
    /// The kernel gives none.
    System(io::Error),
}

impl fmt::Display for AllocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocateError::Full(Full { wanted, held, bytes_max }) => write!(
                f,
                "no room for {wanted} bytes of shared memory: this process holds {held} of at most {bytes_max} bytes; release \
                 arrays, or raise shared_bytes_max in [calls]"
            ),
            AllocateError::System(error) => write!(f, "the system gives no shared memory: {error}"),
        }
    }
}

impl std::error::Error for AllocateError {}

struct State {
    layout: Layout,
    segments: BTreeMap<u64, Arc<Segment>>,
    /// A forked child has its parent's mappings and must put nothing of its own there.
    pid: u32,
    limits: Limits,
}

/// All segments of a process. Clones are the same pool.
#[derive(Clone)]
pub struct Pool(Arc<Mutex<State>>);

/// Whether a new block's bytes must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Any,
    Zero,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: Limits) -> Pool {
        Pool(Arc::new(Mutex::new(State::new(limits))))
    }

    /// Says how much it may hold from now on. Blocks there are stay.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = lock(&self.0);
        state.limits = limits;
        state.layout.set_limits(limits);
    }

    /// A block of zeros, for the application to write to.
    ///
    /// # Errors
    /// When the limit is reached, or the kernel refuses.
    pub fn allocate(&self, bytes: u64) -> Result<Arc<Block>, AllocateError> {
        self.place(bytes, Content::Zero)
    }

    /// A block whose bytes the caller writes at once, all of them; what they are before is undefined.
    ///
    /// # Errors
    /// As [`Pool::allocate`].
    pub fn allocate_dirty(&self, bytes: u64) -> Result<Arc<Block>, AllocateError> {
        self.place(bytes, Content::Any)
    }

    /// A copy of bytes.
    ///
    /// # Errors
    /// As [`Pool::allocate`].
    pub fn copy(&self, bytes: &[u8]) -> Result<Arc<Block>, AllocateError> {
        let block = self.place(bytes.len() as u64, Content::Any)?;
        // It has room: that is how it was placed.
        let _ = block.segment.write(block.range.start, bytes);
        Ok(block)
    }

    /// Bytes of all segments of this process.
    pub fn held(&self) -> u64 {
        lock(&self.0).layout.held()
    }

    fn place(&self, bytes: u64, content: Content) -> Result<Arc<Block>, AllocateError> {
        let mut guard = lock(&self.0);
        let state = &mut *guard;
        if state.pid != std::process::id() {
            *state = State::new(state.limits);
        }
        let mut closed = Vec::new();
        let placed = state.layout.place(bytes, content == Content::Zero, &mut closed).map_err(AllocateError::Full);
        for number in closed {
            state.segments.remove(&number);
        }
        let (number, range, used) = match placed? {
            Placement::Inside(number, range) => (number, range, true),
            Placement::Fresh { segment, block } => {
                let made = Segment::create(segment).map_err(AllocateError::System)?;
                let (number, range) = state.layout.add(segment, block);
                state.segments.insert(number, Arc::new(made));
                (number, range, false)
            }
        };
        let segment = Arc::clone(&state.segments[&number]);
        drop(guard);
        if used && content == Content::Zero {
            let _ = segment.clear(range.start, bytes);
        }
        Ok(Arc::new(Block { pool: self.clone(), number, range, bytes, segment }))
    }

    fn give_back(&self, block: &Block) {
        let mut state = lock(&self.0);
        // A block of the parent's is none of a forked child's pool.
        if state.pid == block.segment.address().pid && state.layout.give_back(block.number, block.range.clone()) {
            state.segments.remove(&block.number);
        }
    }
}

impl State {
    fn new(limits: Limits) -> State {
        State { layout: Layout::new(limits), segments: BTreeMap::new(), pid: std::process::id(), limits }
    }
}

/// A piece of a segment of this process. Its memory is used again when the last `Arc` of it is gone: the application's,
/// and that of each lease.
pub struct Block {
    pool: Pool,
    number: u64,
    range: Range<u64>,
    bytes: u64,
    segment: Arc<Segment>,
}

impl Block {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where others find its segment.
    pub fn address(&self) -> Address {
        self.segment.address()
    }

    /// Where `bytes` bytes from `offset` of it lie in this process, for as long as the block is kept; `None` unless they are
    /// inside of it.
    pub fn pointer(&self, offset: u64, bytes: u64) -> Option<Pointer> {
        self.segment.pointer(self.position(offset, bytes)?, bytes)
    }

    /// A copy of `bytes` bytes from `offset` of it; `None` unless they are inside of it.
    pub fn read(&self, offset: u64, bytes: u64) -> Option<Vec<u8>> {
        self.segment.read(self.position(offset, bytes)?, bytes)
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where `length` bytes from `offset` of the block lie in the segment; `None` unless they are inside the block.
    pub(crate) fn position(&self, offset: u64, length: u64) -> Option<u64> {
        let end = offset.checked_add(length)?;
        (end <= self.bytes).then_some(self.range.start + offset)
    }

    /// Nobody knows any more who looks at the segment: nothing new may be put there.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.pool.0);
        if state.pid == self.segment.address().pid {
            state.layout.retire(self.number);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.give_back(self);
    }
}
