//! Counts of requests and their times, for whoever watches.
//!
//! Each front thread counts on its own, in one [`Counters`] for each service and one for what the front answers itself;
//! readers add them up. Knows nothing of how they are published.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of the histogram's buckets, in microseconds; a last one has none.
pub const BUCKETS_US: [u64; 14] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];

/// Statuses by their first digit, 1 to 5.
pub const STATUS_CLASSES: usize = 5;

/// What one thread has counted for one service. Aligned, so that two threads never write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    statuses: [AtomicU64; STATUS_CLASSES],
    body_bytes: AtomicU64,
    duration_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
}

impl Counters {
    /// A response has ended.
    pub fn count(&self, status: u16, body_bytes: u64, began: Option<Instant>) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES) - 1;
        let took = began.map_or(Duration::ZERO, |began| began.elapsed());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|&bound| bound < took_us);
        add(&self.statuses[class], 1);
        add(&self.body_bytes, body_bytes);
        add(&self.duration_us, took_us);
        add(&self.buckets[bucket], 1);
    }
}

/// Only one thread writes, so no read-modify-write is needed.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// The counts of one service over all threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Its name; empty for what the front has answered itself.
    pub service: String,
    /// Responses by the first digit of their status, from 1xx.
    pub statuses: [u64; STATUS_CLASSES],
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Microseconds from the request's head to the response's end, over all.
    pub duration_us: u64,
    /// Responses in each bucket of [`BUCKETS_US`], and in the last one beyond.
    pub buckets: [u64; BUCKETS_US.len() + 1],
}

/// All counters of all threads.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Vec<(Arc<str>, Arc<Counters>)>>);

impl Metrics {
    /// Counters for one more thread and service. They stay, for counts never go down.
    pub fn register(&self, service: Arc<str>) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.lock().push((service, counters.clone()));
        counters
    }

    /// What has been counted so far, by service.
    pub fn totals(&self) -> Vec<Totals> {
        let mut all: Vec<Totals> = Vec::new();
        for (service, counters) in self.lock().iter() {
            let place = all.iter().position(|totals| totals.service == **service).unwrap_or_else(|| {
                all.push(Totals { service: service.to_string(), ..Totals::default() });
                all.len() - 1
            });
            let totals = &mut all[place];
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            totals.statuses.iter_mut().zip(&counters.statuses).for_each(|(sum, counter)| *sum += read(counter));
            totals.buckets.iter_mut().zip(&counters.buckets).for_each(|(sum, counter)| *sum += read(counter));
            totals.body_bytes += read(&counters.body_bytes);
            totals.duration_us += read(&counters.duration_us);
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<str>, Arc<Counters>)>> {
        // A panic while it is held leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_threads_are_added_up() {
        let metrics = Metrics::default();
        let (first, second) = (metrics.register("web".into()), metrics.register("web".into()));
        metrics.register("".into()).count(404, 7, None);
        first.count(200, 10, None);
        first.count(204, 0, None);
        second.count(599, 5, None);
        second.count(101, 0, None);
        let totals = metrics.totals();
        assert_eq!(totals.len(), 2);
        let web = &totals[0];
        assert_eq!((web.service.as_str(), web.statuses, web.body_bytes), ("web", [1, 2, 0, 0, 1], 15));
        assert_eq!(web.buckets.iter().sum::<u64>(), 4);
        assert_eq!((totals[1].service.as_str(), totals[1].statuses), ("", [0, 0, 0, 1, 0]));
    }

    #[test]
    fn times_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let counters = Counters::default();
        counters.count(200, 0, Instant::now().checked_sub(Duration::from_secs(60)));
        counters.count(200, 0, Some(Instant::now()));
        let counts: Vec<u64> = counters.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[BUCKETS_US.len()]), (1, 1));
        assert!(counters.duration_us.load(Ordering::Relaxed) >= 60_000_000);
    }
}
