//! One call link's account: what is lent to the other side, and what of the other side's is looked at here.

use crate::pool::{AllocateError, Block, Pool, lock};
use crate::segment::{Address, Pointer, Segment};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, Weak};

/// Leases that one link may have open in one direction: a bound for the books, far above what fits into the memory
/// that blocks of the usual size may take.
const LEASES_MAX: usize = 65_536;
/// Segments of the other side that one link keeps mapped.
const SEGMENTS_MAX: usize = 4096;

/// How a value names memory: the items of tag 39004 (protocol/calls.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The lender's number, which RETURN repeats.
    pub lease: u32,
    /// The segment.
    pub address: Address,
    /// Where in it the bytes begin.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
    /// Whether both sides see what the other writes, because the program asked for that; else the bytes are the
    /// reader's alone.
    pub shared: bool,
}

/// The other side broke a rule of the protocol; the link is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation(pub &'static str);

/// Why bytes can't be looked at.
#[derive(Debug)]
pub enum BorrowError {
    /// The segment can't be mapped, usually because its process has ended.
    Gone(Address, io::Error),
    /// The reference makes no sense.
    Violation(Violation),
}

impl fmt::Display for BorrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BorrowError::Gone(address, error) => write!(f, "shared memory of process {} is out of reach: {error}", address.pid),
            BorrowError::Violation(Violation(what)) => f.write_str(what),
        }
    }
}

impl std::error::Error for BorrowError {}

#[derive(Default)]
struct Lent {
    last: u32,
    leases: HashMap<u32, Lending>,
    /// Segments that the other side may have mapped.
    told: HashMap<u64, Weak<Segment>>,
}

/// Part of a block.
struct Lending {
    block: Arc<Block>,
    offset: u64,
    bytes: u64,
}

type Wake = Box<dyn Fn() + Send + Sync>;

struct Borrowed {
    state: Mutex<BorrowedState>,
    wake: Wake,
}

#[derive(Default)]
struct BorrowedState {
    segments: HashMap<u64, Arc<Segment>>,
    returned: Vec<u32>,
    closed: bool,
}

/// What one call link knows of shared memory. Thread-safe; nothing here blocks.
pub struct LinkMemory {
    pool: Pool,
    lent: Mutex<Lent>,
    borrowed: Arc<Borrowed>,
    sample: Mutex<Option<Arc<Block>>>,
}

impl LinkMemory {
    /// The account of a new link. `wake` is called, on any thread, when [`LinkMemory::returns`] has something to say after
    /// it had nothing.
    pub fn new(pool: Pool, wake: impl Fn() + Send + Sync + 'static) -> LinkMemory {
        let borrowed = Borrowed { state: Mutex::default(), wake: Box::new(wake) };
        LinkMemory { pool, lent: Mutex::default(), borrowed: Arc::new(borrowed), sample: Mutex::default() }
    }

    /// A segment of ours, for the other side to try whether it can open it.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn sample(&self) -> Result<Address, AllocateError> {
        let mut sample = lock(&self.sample);
        let block = match sample.take() {
            Some(block) => block,
            None => self.pool.allocate_dirty(1)?,
        };
        let address = block.segment().address();
        *sample = Some(block);
        Ok(address)
    }

    /// Whether this process can open a segment of the other side's.
    pub fn can_open(&self, sample: Address) -> bool {
        lock(&self.borrowed.state).segment(sample).is_ok()
    }

    /// Lends `bytes` bytes from `offset` of a block. `None` when they are not inside it, or too much is lent already.
    pub fn lend(&self, block: &Arc<Block>, offset: u64, bytes: u64, shared: bool) -> Option<Reference> {
        let position = block.position(offset, bytes)?;
        let segment = block.segment();
        let address = segment.address();
        let mut lent = lock(&self.lent);
        if lent.leases.len() >= LEASES_MAX {
            return None;
        }
        let mut lease = lent.last;
        loop {
            lease = lease.wrapping_add(1);
            if !lent.leases.contains_key(&lease) {
                break;
            }
        }
        lent.last = lease;
        lent.leases.insert(lease, Lending { block: Arc::clone(block), offset, bytes });
        lent.told.entry(address.id).or_insert_with(|| Arc::downgrade(segment));
        Some(Reference { lease, address, offset: position, bytes, shared })
    }

    /// A lease that was not sent after all.
    pub fn take_back(&self, lease: u32) {
        let lending = lock(&self.lent).leases.remove(&lease);
        drop(lending);
    }

    /// What the other side sends home: `bytes` bytes from `offset` of what it has under a lease. The block, and where in it
    /// they begin; `None` when there is no such lease, or they are not inside of it.
    pub fn home(&self, lease: u32, offset: u64, bytes: u64) -> Option<(Arc<Block>, u64)> {
        let lent = lock(&self.lent);
        let found = lent.leases.get(&lease)?;
        let end = offset.checked_add(bytes)?;
        (end <= found.bytes).then(|| (Arc::clone(&found.block), found.offset + offset))
    }

    /// RETURN has arrived: its payload.
    ///
    /// # Errors
    /// When it returns what was not lent, or does not parse.
    pub fn on_return(&self, payload: &[u8]) -> Result<(), Violation> {
        let (numbers, []) = payload.as_chunks::<4>() else {
            return Err(Violation("a RETURN that is not whole numbers"));
        };
        // Dropped after the lock: the last of a block takes that of the pool.
        let mut over = Vec::with_capacity(numbers.len().min(LEASES_MAX));
        let mut lent = lock(&self.lent);
        for number in numbers {
            let lending = lent.leases.remove(&u32::from_le_bytes(*number));
            over.push(lending.ok_or(Violation("a RETURN of a lease that is not open"))?);
        }
        drop(lent);
        Ok(())
    }

    /// FORGET has arrived: its payload.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn on_forget(&self, payload: &[u8]) -> Result<(), Violation> {
        let (ids, []) = payload.as_chunks::<8>() else {
            return Err(Violation("a FORGET that is not whole numbers"));
        };
        let mut state = lock(&self.borrowed.state);
        for id in ids {
            state.segments.remove(&u64::from_le_bytes(*id));
        }
        Ok(())
    }

    /// Looks at memory of the other side's. It counts as looked at until the view is dropped.
    ///
    /// # Errors
    /// When the segment is gone, or the reference is wrong. The lease is open all the same and is returned.
    pub fn borrow(&self, reference: Reference) -> Result<View, BorrowError> {
        let segment = {
            let mut state = lock(&self.borrowed.state);
            state.segment(reference.address)
        };
        let lease = Lease { number: reference.lease, borrowed: Arc::clone(&self.borrowed) };
        let segment = segment?;
        if segment.pointer(reference.offset, reference.bytes).is_none() {
            return Err(BorrowError::Violation(Violation("a reference outside of its segment")));
        }
        Ok(View { segment, offset: reference.offset, bytes: reference.bytes, shared: reference.shared, lease })
    }

    /// The payload of a RETURN that is to be sent, if there is anything to return.
    pub fn returns(&self) -> Option<Vec<u8>> {
        let mut state = lock(&self.borrowed.state);
        if state.returned.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut state.returned).into_iter().flat_map(u32::to_le_bytes).collect())
    }

    /// The payload of a FORGET that is to be sent, if the other side may have mapped what is no more.
    pub fn forgets(&self) -> Option<Vec<u8>> {
        let mut gone = Vec::new();
        lock(&self.lent).told.retain(|id, segment| {
            let lives = segment.strong_count() > 0;
            if !lives {
                gone.extend_from_slice(&id.to_le_bytes());
            }
            lives
        });
        (!gone.is_empty()).then_some(gone)
    }

    /// How many leases the other side holds of ours.
    pub fn lent_count(&self) -> usize {
        lock(&self.lent).leases.len()
    }

    /// How many of the other side's segments are mapped here.
    pub fn mapped_count(&self) -> usize {
        lock(&self.borrowed.state).segments.len()
    }

    /// The link is over. If the other side still lives it may still look, and nobody will say when it stops: what it has
    /// is never used again. The kernel frees it when both have let go.
    pub fn close(&self) {
        let leases = {
            let mut lent = lock(&self.lent);
            lent.told.clear();
            std::mem::take(&mut lent.leases)
        };
        for lending in leases.values() {
            lending.block.abandon();
        }
        drop(leases);
        let mut state = lock(&self.borrowed.state);
        state.closed = true;
        state.segments.clear();
        state.returned = Vec::new();
        drop(state);
        *lock(&self.sample) = None;
    }
}

impl Drop for LinkMemory {
    fn drop(&mut self) {
        self.close();
    }
}

impl BorrowedState {
    fn segment(&mut self, address: Address) -> Result<Arc<Segment>, BorrowError> {
        if let Some(segment) = self.segments.get(&address.id) {
            if segment.address() != address {
                return Err(BorrowError::Violation(Violation("two addresses for one segment")));
            }
            return Ok(Arc::clone(segment));
        }
        if self.segments.len() >= SEGMENTS_MAX {
            return Err(BorrowError::Violation(Violation("references to too many segments")));
        }
        let segment = Arc::new(Segment::open(address).map_err(|error| BorrowError::Gone(address, error))?);
        if !self.closed {
            self.segments.insert(address.id, Arc::clone(&segment));
        }
        Ok(segment)
    }
}

/// Returns itself when dropped.
struct Lease {
    number: u32,
    borrowed: Arc<Borrowed>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = lock(&self.borrowed.state);
        if state.closed {
            return;
        }
        let first = state.returned.is_empty();
        state.returned.push(self.number);
        drop(state);
        if first {
            (self.borrowed.wake)();
        }
    }
}

/// Memory of the other side's that is looked at here. Valid for as long as it is kept, whatever becomes of the other side.
pub struct View {
    segment: Arc<Segment>,
    offset: u64,
    bytes: u64,
    shared: bool,
    lease: Lease,
}

impl View {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the other side sees what is written here.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The other side's number for it.
    pub fn lease(&self) -> u32 {
        self.lease.number
    }

    /// Whether it came over this link, and so can go home by its lease alone.
    pub fn is_from(&self, link: &LinkMemory) -> bool {
        Arc::ptr_eq(&self.lease.borrowed, &link.borrowed) && !lock(&self.lease.borrowed.state).closed
    }

    /// Where `bytes` bytes from `offset` of it lie in this process; `None` unless they are inside of it.
    pub fn pointer(&self, offset: u64, bytes: u64) -> Option<Pointer> {
        let end = offset.checked_add(bytes)?;
        if end <= self.bytes { self.segment.pointer(self.offset + offset, bytes) } else { None }
    }

    /// A copy of `bytes` bytes from `offset` of it; `None` unless they are inside of it.
    pub fn read(&self, offset: u64, bytes: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(bytes)?;
        if end <= self.bytes { self.segment.read(self.offset + offset, bytes) } else { None }
    }
}
