//! How long a dead worker stays dead. Pure: chance comes in as a number.

use std::time::Duration;

/// Exponential backoff between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub min: Duration,
    /// No pause is longer.
    pub max: Duration,
}

impl Backoff {
    /// The pause before the next start after `failures` (≥ 1) in a row: `min`, 2 × `min`, 4 × `min` … up to
    /// `max`, of which `jitter` (0.0 to 1.0) takes away at most half, so that workers that died together
    /// do not all come back together.
    pub fn pause(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };
        let pauses: Vec<u128> = (1..=6).map(|n| backoff.pause(n, 0.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.pause(2, 1.0).as_millis(), 100);
        assert_eq!(backoff.pause(u32::MAX, 0.5).as_millis(), 750);
    }
}
