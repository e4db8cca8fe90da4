//! Whether a loop is kept from sleeping after a link's news, because the next ones are only microseconds away: to be woken by
//! the kernel would take several times as long as a call. node/src/calls/awake.js decides alike.

use std::time::{Duration, Instant};

/// Longest time without news that is spent awake.
const MAX: Duration = Duration::from_micros(200);
/// The first step out of no patience at all.
const FIRST: Duration = Duration::from_micros(8);
/// Turns of an idle loop that are further apart than this: others need the processor.
const NEEDED: Duration = Duration::from_micros(50);
/// How long it is left to them: no longer, as a collection of garbage looks the same.
const REST: Duration = Duration::from_millis(1);

/// The patience with one link, learned from how far apart its news have been.
#[derive(Debug)]
pub struct Awake {
    news: Instant,
    turn: Instant,
    rest_until: Instant,
    patience: Duration,
    turning: bool,
}

impl Awake {
    /// No patience yet.
    pub fn new(now: Instant) -> Awake {
        Awake { news: now, turn: now, rest_until: now, patience: Duration::ZERO, turning: false }
    }

    /// News have come. Says whether the loop is to begin taking turns.
    pub fn on_news(&mut self, now: Instant) -> bool {
        let gap = now - self.news;
        if gap > MAX {
            self.patience = Duration::ZERO;
        } else if gap > self.patience {
            self.patience = (self.patience * 2).clamp(FIRST, MAX);
        }
        self.news = now;
        let begins = !self.turning && !self.patience.is_zero() && now >= self.rest_until;
        if begins {
            self.turning = true;
            self.turn = now;
        }
        begins
    }

    /// The loop has taken a turn. Says whether it is to take another.
    pub fn on_turn(&mut self, now: Instant) -> bool {
        if now - self.turn > NEEDED && now - self.news > NEEDED {
            self.rest_until = now + REST;
            self.turning = false;
        } else {
            self.turning = now - self.news < self.patience;
        }
        self.turn = now;
        self.turning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn news_in_quick_succession_keep_awake() {
        let mut now = Instant::now();
        let mut awake = Awake::new(now);
        now += us(1000);
        assert!(!awake.on_news(now), "the first after a long time");
        now += us(30);
        assert!(awake.on_news(now));
        assert!(awake.on_turn(now + us(7)));
        assert!(!awake.on_turn(now + us(9)), "patience begins with 8 µs");
    }

    #[test]
    fn a_processor_that_others_need_is_left_to_them() {
        let mut now = Instant::now();
        let mut awake = Awake::new(now);
        for _ in 0..5 {
            now += us(90);
            awake.on_news(now);
        }
        assert!(awake.on_turn(now + us(10)));
        assert!(!awake.on_turn(now + us(80)), "70 µs for one turn");
        assert!(!awake.on_news(now + us(90)));
        assert!(!awake.on_news(now + us(100)));
    }
}
