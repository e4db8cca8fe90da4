//! Shared memory under leases: what lets a large array reach another process without passing through a socket.
//! The rules are in protocol/calls.md, "Shared memory".
//!
//! It never speaks to a socket: a call link asks it what to write and tells it what was read. It knows nothing of
//! values, languages or their arrays.
//!
//! A process has one [`Pool`] of segments, each a memfd of its own. A [`Block`] is a piece of one. A [`LinkMemory`] is one
//! call link's account: the blocks lent to the other side, and the other side's that are looked at here, as [`View`]s.

mod layout;
mod link;
mod pool;
mod segment;

pub use layout::{Full, Limits};
pub use link::{BorrowError, LinkMemory, Reference, View, Violation};
pub use pool::{AllocateError, Block, Pool};
pub use segment::{Address, Pointer};
