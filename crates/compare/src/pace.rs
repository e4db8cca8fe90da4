//! How far a comparison is and how long it still takes, for whoever watches; and how long a block takes, for the price of more.

use std::time::{Duration, Instant};

use crate::document::Settings;
use crate::{Progress, Watch};

/// Of one comparison.
pub(crate) struct Pace<'a> {
    watch: Watch<'a>,
    /// The comparison's name.
    name: &'a str,
    began: Instant,
    /// Of all blocks.
    launches: usize,
    /// About what all blocks take, in seconds, and what comes after them.
    planned: f64,
    after: f64,
    measuring_since: Instant,
    done: usize,
    /// What these took; what comes after them does not count.
    took: Duration,
}

impl<'a> Pace<'a> {
    /// `launch_seconds` is about what a launch takes, `after_seconds` what comes after all of them.
    pub fn new(watch: Watch<'a>, name: &'a str, settings: &Settings, launch_seconds: f64, after_seconds: f64) -> Pace<'a> {
        let now = Instant::now();
        let launches = settings.blocks as usize * 4;
        Pace {
            watch,
            name,
            began: now,
            launches,
            planned: launches as f64 * launch_seconds,
            after: after_seconds,
            measuring_since: now,
            done: 0,
            took: Duration::ZERO,
        }
    }

    /// Seconds since the comparison began.
    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// What came before the blocks is over.
    pub fn begin_blocks(&mut self) {
        self.measuring_since = Instant::now();
    }

    /// A launch of a block is over.
    pub fn launched(&mut self) {
        self.done += 1;
        self.took = self.measuring_since.elapsed();
    }

    /// Launches of blocks that are over.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Seconds that a block took; 0 before the first.
    pub fn block_seconds(&self) -> f64 {
        self.took.as_secs_f64() / self.done.max(1) as f64 * 4.0
    }

    /// Tells whoever watches what is being done.
    pub fn say(&mut self, stage: &str) {
        let blocks_left = match self.done {
            0 => self.planned,
            done => self.launches.saturating_sub(done) as f64 * self.block_seconds() / 4.0,
        };
        let past =
            if self.done < self.launches { Duration::ZERO } else { self.measuring_since.elapsed().saturating_sub(self.took) };
        (self.watch)(Progress {
            stage: format!("{}: {stage}", self.name),
            done: self.done as f64 / self.launches.max(1) as f64,
            left_seconds: blocks_left + (self.after - past.as_secs_f64()).max(0.0),
        });
    }
}
