//! Coarse deadlines for many connections.
//!
//! A timer wheel entry for each of a connection's waits would cost more than the rest of a small request.
//! Here a wait is one store to a cell; a sweep every [`TICK`] looks at all cells of the thread and wakes
//! those whose time has come. A deadline therefore fires up to one tick late, and never early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use slab::Slab;

/// Time between two sweeps.
pub const TICK: Duration = Duration::from_millis(50);

const NEVER: u64 = u64::MAX;

/// Milliseconds of the monotonic clock, read without a system call and a few milliseconds coarse.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// All deadlines of one front thread.
#[derive(Debug, Default, Clone)]
pub struct Deadlines {
    slots: Rc<RefCell<Slab<Rc<Slot>>>>,
}

#[derive(Debug)]
struct Slot {
    at: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// One connection's deadline: at most one wait is armed at a time.
#[derive(Debug)]
pub struct Deadline {
    slot: Rc<Slot>,
    key: usize,
    registry: Deadlines,
}

impl Deadlines {
    /// A new deadline, not armed.
    pub fn register(&self) -> Deadline {
        let slot = Rc::new(Slot { at: Cell::new(NEVER), waker: RefCell::new(None) });
        let key = self.slots.borrow_mut().insert(slot.clone());
        Deadline { slot, key, registry: self.clone() }
    }

    /// Wakes every task whose deadline has passed.
    pub fn sweep(&self) {
        let now = now_ms();
        for (_, slot) in self.slots.borrow().iter() {
            if slot.at.get() <= now {
                slot.wake();
            }
        }
    }

    /// Wakes every task, so that it notices that the thread drains.
    pub fn wake_all(&self) {
        for (_, slot) in self.slots.borrow().iter() {
            slot.wake();
        }
    }
}

impl Slot {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Deadline {
    /// Fires after `wait`, counted from now; `None` disarms.
    pub fn arm(&self, wait: Option<Duration>) {
        // The clock may lag by its granularity, so one tick is added: never early.
        self.slot.at.set(wait.map_or(NEVER, |wait| now_ms() + wait.as_millis() as u64 + 4));
    }

    /// Whether the armed time has passed.
    pub fn passed(&self) -> bool {
        self.slot.at.get() != NEVER && self.slot.at.get() <= now_ms()
    }

    /// Registers the task for the sweep; ready when the armed time has passed. The task is also woken when
    /// the thread begins to drain.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut waker = self.slot.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        if self.passed() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.registry.slots.borrow_mut().try_remove(self.key);
    }
}
