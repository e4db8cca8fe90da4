//! Waiting without sleeping: where the next bytes are only microseconds away, a thread that goes on asking for them has
//! them sooner than one that the kernel has to wake, above all on virtual machines.
//!
//! How long it asks is learned, for answers of workers and for clients apart: a wait that ended soon makes the next one
//! more patient, one that did not ends the patience. A thread with little to do therefore sleeps as it always would.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::thread::Thread;

/// The first step out of no patience at all.
const FIRST: Duration = Duration::from_micros(8);

/// How long it pays to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Patience(Duration);

impl Patience {
    /// Learns that a wait took this long; `max` is what may be spent on one.
    fn learn(&mut self, wait: Duration, max: Duration) {
        if wait > max {
            self.0 = Duration::ZERO;
        } else if wait > self.0 {
            self.0 = (self.0 * 2).clamp(FIRST.min(max), max);
        }
    }
}

/// Keeps the thread awake while that pays. Never returns.
pub async fn run(thread: Rc<Thread>) {
    let traffic = &thread.traffic;
    let mut patience = [Patience::default(); 2];
    loop {
        let (moves, began) = (traffic.moves(), Instant::now());
        let patience = &mut patience[usize::from(traffic.is_workers_turn())];
        let max = thread.active().settings.busy_poll.unwrap_or_default();
        while traffic.moves() == moves && began.elapsed() < patience.0.min(max) {
            // Whoever else wants this processor gets it; then every task of this thread whose bytes have come has its turn.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| traffic.poll_move(cx, moves)).await;
        patience.learn(began.elapsed(), max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn short_waits_make_patient() {
        let mut patience = Patience::default();
        for expected in [8, 16, 32, 32] {
            patience.learn(us(30), us(50));
            assert_eq!(patience, Patience(us(expected)));
        }
        patience.learn(us(45), us(50));
        assert_eq!(patience, Patience(us(50)));
    }

    #[test]
    fn a_long_wait_ends_the_patience() {
        let mut patience = Patience(us(50));
        patience.learn(us(51), us(50));
        assert_eq!(patience, Patience::default());
    }

    #[test]
    fn nothing_is_spent_when_nothing_may_be() {
        let mut patience = Patience::default();
        patience.learn(us(0), us(0));
        assert_eq!(patience, Patience::default());
    }
}
