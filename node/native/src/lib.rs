//! What JavaScript can't do itself: map shared memory, and know when an ArrayBuffer over it is not looked at any more.
//!
//! It knows nothing of calls, frames or values; `node/src/calls/memory.js` is its only user.

use memory::{Address, Block, BorrowError, Limits, LinkMemory, Pointer, Pool, Reference, View};
use napi::bindgen_prelude::{ArrayBuffer, Float64ArraySlice, Function, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use std::sync::{Arc, LazyLock, OnceLock};

/// Until `configure` says otherwise.
const BYTES_MAX: u64 = 1 << 30;

/// One for the process, whatever threads load this module, because the limit is the process's.
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(Limits::for_bytes(BYTES_MAX)));

type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Called when some link has leases to return. The runtime makes calls on the main thread alone.
static WAKE: OnceLock<Wake> = OnceLock::new();

/// Sets the most shared memory that this process may hold, in bytes.
#[napi]
pub fn configure(bytes_max: f64) {
    POOL.set_limits(Limits::for_bytes(whole(bytes_max)));
}

/// Has `callback` called, soon and once for all that happened meanwhile, when `Link.returns()` of some link has something to say.
/// It does not keep the process alive. The first callback counts.
#[napi]
pub fn on_returns(callback: Function<(), ()>) -> Result<()> {
    let wake = callback.build_threadsafe_function().weak::<true>().build()?;
    // A second one would be a second copy of the runtime in this process; it has the same links to look after.
    let _ = WAKE.set(wake);
    Ok(())
}

/// Bytes of all segments of this process.
#[napi]
pub fn held_bytes() -> f64 {
    number(POOL.held())
}

/// Takes an ArrayBuffer's memory away from it, and from all arrays over it.
#[napi]
pub fn detach(buffer: ArrayBuffer) -> Result<()> {
    buffer.detach()
}

#[derive(Clone)]
enum Held {
    Ours(Arc<Block>),
    Theirs(Arc<View>),
}

impl Held {
    fn pointer(&self, offset: u64, bytes: u64) -> Option<Pointer> {
        match self {
            Held::Ours(block) => block.pointer(offset, bytes),
            Held::Theirs(view) => view.pointer(offset, bytes),
        }
    }

    /// An ArrayBuffer over part of it, which keeps it until JavaScript can't reach it any more or has detached it.
    fn buffer<'env>(self, env: &'env Env, offset: u64, bytes: u64) -> Result<ArrayBuffer<'env>> {
        let outside = || Error::new(Status::InvalidArg, "shared memory outside of its segment");
        let pointer = self.pointer(offset, bytes).ok_or_else(outside)?;
        let length = usize::try_from(bytes).map_err(|_| outside())?;
        // SAFETY: `pointer` is valid for `length` bytes as long as `self` is kept, which the finalizer does: Node runs it
        // when nothing can reach the bytes any more.
        #[allow(unsafe_code)]
        unsafe {
            ArrayBuffer::from_external(env, pointer.as_ptr(), length, self, |_, held| drop(held))
        }
    }
}

/// Shared memory that the application has a handle of: allocated here, or lent by another process, or part of it.
#[napi]
pub struct Memory {
    held: Option<Held>,
    offset: u64,
    bytes: u64,
}

#[napi]
impl Memory {
    /// New memory of `bytes` zeros. Throws when the limit is reached or the system gives none.
    #[napi(factory)]
    pub fn allocate(bytes: f64) -> Result<Memory> {
        let bytes = whole(bytes);
        let block = POOL.allocate(bytes).map_err(failure)?;
        Ok(Memory { held: Some(Held::Ours(block)), offset: 0, bytes })
    }

    /// A new ArrayBuffer over all of it, or null once released.
    #[napi]
    pub fn buffer<'env>(&self, env: &'env Env) -> Result<Option<ArrayBuffer<'env>>> {
        self.held.clone().map(|held| held.buffer(env, self.offset, self.bytes)).transpose()
    }

    /// Lets go of it. ArrayBuffers over it keep it still.
    #[napi]
    pub fn release(&mut self) {
        self.held = None;
    }
}

/// One call link's account of shared memory.
#[napi]
pub struct Link {
    memory: LinkMemory,
}

impl Default for Link {
    fn default() -> Link {
        Link::new()
    }
}

#[napi]
impl Link {
    /// The account of a new link.
    #[napi(constructor)]
    pub fn new() -> Link {
        let wake = || {
            if let Some(wake) = WAKE.get() {
                wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
        };
        Link { memory: LinkMemory::new(POOL.clone(), wake) }
    }

    /// `[pid, descriptor, id, bytes]` of a segment for the other side to try.
    #[napi]
    pub fn sample(&self) -> Result<Vec<f64>> {
        let address = self.memory.sample().map_err(failure)?;
        Ok(vec![f64::from(address.pid), f64::from(address.descriptor), number(address.id), number(address.bytes)])
    }

    /// Whether the other side's sample can be opened here.
    #[napi]
    pub fn can_open(&self, pid: f64, descriptor: f64, id: f64, bytes: f64) -> bool {
        self.memory.can_open(address(pid, descriptor, id, bytes))
    }

    /// Copies bytes into shared memory and lends them; `reference` gets the seven numbers of the reference. False: there
    /// is no room, and nothing is lent.
    #[napi]
    pub fn copy(&self, bytes: &[u8], reference: Float64ArraySlice) -> Result<bool> {
        let Ok(block) = POOL.copy(bytes) else { return Ok(false) };
        self.lend_block(&block, 0, bytes.len() as u64, false, reference)
    }

    /// Lends part of a memory, for both sides to see; `reference` gets the seven numbers, or `[lease, offset, bytes]` when it
    /// is the other side's own. Returns how many numbers it got; 0: it can't be lent.
    #[napi]
    pub fn lend(&self, memory: &Memory, offset: f64, bytes: f64, reference: Float64ArraySlice) -> Result<u32> {
        let (offset, bytes) = (whole(offset), whole(bytes));
        let within = memory.offset.saturating_add(offset);
        match &memory.held {
            None => Ok(0),
            Some(Held::Ours(block)) => Ok(if self.lend_block(block, within, bytes, true, reference)? { 7 } else { 0 }),
            Some(Held::Theirs(view)) if view.is_from(&self.memory) => {
                fill(reference, &[f64::from(view.lease()), number(offset), number(bytes)])?;
                Ok(3)
            }
            Some(Held::Theirs(_)) => Ok(0),
        }
    }

    fn lend_block(&self, block: &Arc<Block>, offset: u64, bytes: u64, shared: bool, out: Float64ArraySlice) -> Result<bool> {
        let Some(reference) = self.memory.lend(block, offset, bytes, shared) else { return Ok(false) };
        let Address { pid, descriptor, id, bytes: size } = reference.address;
        let numbers = [
            f64::from(reference.lease),
            f64::from(pid),
            f64::from(descriptor),
            number(id),
            number(size),
            number(reference.offset),
            number(reference.bytes),
        ];
        fill(out, &numbers)?;
        Ok(true)
    }

    /// A lease that `copy` or `lend` gave and that was not sent after all.
    #[napi]
    pub fn take_back(&self, lease: u32) {
        self.memory.take_back(lease);
    }

    /// Looks at memory that the other side has lent for this side alone; an ArrayBuffer.
    #[napi]
    #[allow(clippy::too_many_arguments)] // The seven numbers of a reference, without an array for each.
    pub fn borrow<'env>(
        &self,
        env: &'env Env,
        lease: u32,
        pid: f64,
        descriptor: f64,
        id: f64,
        size: f64,
        offset: f64,
        bytes: f64,
    ) -> Result<ArrayBuffer<'env>> {
        let reference = Reference {
            lease,
            address: address(pid, descriptor, id, size),
            offset: whole(offset),
            bytes: whole(bytes),
            shared: false,
        };
        let view = self.memory.borrow(reference).map_err(refusal)?;
        Held::Theirs(Arc::new(view)).buffer(env, 0, reference.bytes)
    }

    /// Looks at memory that the other side shares.
    #[napi]
    #[allow(clippy::too_many_arguments)] // As above.
    pub fn borrow_shared(
        &self,
        lease: u32,
        pid: f64,
        descriptor: f64,
        id: f64,
        size: f64,
        offset: f64,
        bytes: f64,
    ) -> Result<Memory> {
        let reference = Reference {
            lease,
            address: address(pid, descriptor, id, size),
            offset: whole(offset),
            bytes: whole(bytes),
            shared: true,
        };
        let view = self.memory.borrow(reference).map_err(refusal)?;
        Ok(Memory { held: Some(Held::Theirs(Arc::new(view))), offset: 0, bytes: reference.bytes })
    }

    /// Our own memory that comes home: part of what the other side has under a lease. Throws when that is not so.
    #[napi]
    pub fn home(&self, lease: u32, offset: f64, bytes: f64) -> Result<Memory> {
        let bytes = whole(bytes);
        let home = self.memory.home(lease, whole(offset), bytes);
        let (block, offset) = home.ok_or_else(|| Error::new(Status::InvalidArg, "a reference to what is not lent"))?;
        Ok(Memory { held: Some(Held::Ours(block)), offset, bytes })
    }

    /// RETURN has arrived. The payload of a FORGET to send for what is no more, or null. Throws when it breaks the protocol.
    #[napi]
    pub fn on_return(&self, payload: &[u8]) -> Result<Option<Uint8Array>> {
        self.memory.on_return(payload).map_err(|violation| Error::new(Status::InvalidArg, violation.0))?;
        Ok(self.memory.forgets().map(Uint8Array::from))
    }

    /// FORGET has arrived. Throws when it breaks the protocol.
    #[napi]
    pub fn on_forget(&self, payload: &[u8]) -> Result<()> {
        self.memory.on_forget(payload).map_err(|violation| Error::new(Status::InvalidArg, violation.0))
    }

    /// The payload of a RETURN to send, or null.
    #[napi]
    pub fn returns(&self) -> Option<Uint8Array> {
        self.memory.returns().map(Uint8Array::from)
    }

    /// Leases of ours that the other side holds.
    #[napi(getter)]
    pub fn lent(&self) -> u32 {
        u32::try_from(self.memory.lent_count()).unwrap_or(u32::MAX)
    }

    /// The link is over.
    #[napi]
    pub fn close(&self) {
        self.memory.close();
    }
}

fn address(pid: f64, descriptor: f64, id: f64, bytes: f64) -> Address {
    let small = |value: f64| u32::try_from(whole(value)).unwrap_or(u32::MAX);
    Address { pid: small(pid), descriptor: small(descriptor), id: whole(id), bytes: whole(bytes) }
}

/// A JavaScript number as the whole number that it is; what is none turns into one that fits nowhere.
fn whole(value: f64) -> u64 {
    if value >= 0.0 && value.fract() == 0.0 && value <= 9_007_199_254_740_991.0 { value as u64 } else { u64::MAX }
}

/// Sizes and ids here are below 2^53.
fn number(value: u64) -> f64 {
    value as f64
}

fn fill(mut out: Float64ArraySlice, numbers: &[f64]) -> Result<()> {
    // SAFETY: JavaScript runs on this thread and waits for us, so nothing else looks at the array meanwhile.
    #[allow(unsafe_code)]
    let room = unsafe { out.as_mut() };
    let room = room.get_mut(..numbers.len());
    room.ok_or_else(|| Error::new(Status::InvalidArg, "a reference takes 7 numbers"))?.copy_from_slice(numbers);
    Ok(())
}

fn refusal(error: BorrowError) -> Error {
    let status = match error {
        BorrowError::Gone(..) => Status::GenericFailure,
        BorrowError::Violation(_) => Status::InvalidArg,
    };
    Error::new(status, error.to_string())
}

fn failure(error: impl std::fmt::Display) -> Error {
    Error::new(Status::GenericFailure, error.to_string())
}
