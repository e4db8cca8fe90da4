//! When a thread's links last moved bytes, for whoever decides how the thread waits.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Counts the reads and writes of all links of one thread.
#[derive(Debug, Default)]
pub struct Traffic {
    moves: Cell<u64>,
    workers_turn: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Traffic {
    /// Reads and writes so far.
    pub fn moves(&self) -> u64 {
        self.moves.get()
    }

    /// Whether the last move went to a worker, whose answer is awaited then; else clients are to say something.
    pub fn is_workers_turn(&self) -> bool {
        self.workers_turn.get()
    }

    /// Ready when there have been other than `known` moves.
    pub fn poll_move(&self, cx: &Context<'_>, known: u64) -> Poll<()> {
        if self.moves.get() != known {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn note(&self, workers_turn: bool) {
        self.moves.set(self.moves.get().wrapping_add(1));
        self.workers_turn.set(workers_turn);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
