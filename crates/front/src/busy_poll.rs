//! Waiting without sleeping: where the next bytes are only microseconds away, a thread that goes on asking for them has
//! them sooner than one that the kernel has to wake, above all on virtual machines.
//!
//! How long it asks is learned, for answers of workers and for clients apart: a wait that ended soon makes the next one
//! more patient, one that did not ends the patience. A thread with little to do therefore sleeps as it always would. So does
//! one whose processor others need: between two questions it offers it to them, and when they take it for long, it asks no
//! more for a while.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::thread::Thread;

/// The first step out of no patience at all.
const FIRST: Duration = Duration::from_micros(8);
/// A processor that comes back later than this was needed by others.
const NEEDED: Duration = Duration::from_micros(50);
/// Rests, the first and the longest.
const REST_MIN: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(1);

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

/// The time for which nothing is asked, as others need the processor.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    length: Duration,
}

impl Rest {
    fn new(now: Instant) -> Rest {
        Rest { until: now, length: Duration::ZERO }
    }

    /// Begins; twice as long as the last if that is no longer ago than it took.
    fn begin(&mut self, now: Instant) {
        let again = now < self.until + self.length;
        self.length = if again { (self.length * 2).min(REST_MAX) } else { REST_MIN };
        self.until = now + self.length;
    }
}

/// Keeps the thread awake while that pays. Never returns.
pub async fn run(thread: Rc<Thread>) {
    let traffic = &thread.traffic;
    let mut patience = [Patience::default(); 2];
    let mut rest = Rest::new(Instant::now());
    loop {
        let (moves, began) = (traffic.moves(), Instant::now());
        let patience = &mut patience[usize::from(traffic.is_workers_turn())];
        let max = thread.active().settings.busy_poll.unwrap_or_default();
        let mut now = began;
        while traffic.moves() == moves && now - began < patience.0.min(max) && now >= rest.until {
            std::thread::yield_now();
            let back = Instant::now();
            if back - now > NEEDED {
                rest.begin(back);
            }
            // Every task of this thread whose bytes have come has its turn.
            tokio::task::yield_now().await;
            now = Instant::now();
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

    #[test]
    fn a_processor_that_is_needed_again_and_again_is_left_alone_for_longer() {
        let mut now = Instant::now();
        let mut rest = Rest::new(now);
        for expected in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            rest.begin(now);
            assert_eq!(rest.until - now, Duration::from_millis(expected));
            now = rest.until;
        }
        now += Duration::from_millis(1000);
        rest.begin(now);
        assert_eq!(rest.until - now, REST_MIN);
    }
}
