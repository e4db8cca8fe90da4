//! The ratio of two sides, and how sure it is.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::order::Which;
use super::significance::{cliffs_delta, sign_flip, t_quantile, t_test};
use super::{deviation, mean, quantile_sorted};
use crate::document::Ratio;

/// Resamples of a bootstrap; the ends of a 95% interval then rest on 50 of them.
const RESAMPLES: usize = 2_000;
/// Blocks from which a ratio is given.
pub const BLOCKS_MIN: usize = 3;

/// Positive values of the launches of complete blocks: each side's two, in the order of launching.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks {
    /// `[left's first, left's second, right's first, right's second]`.
    pub values: Vec<[f64; 4]>,
}

impl Blocks {
    /// Gathers launches `(block, side, value)`; blocks that are not complete or hold a value that is not positive are
    /// left out.
    pub fn gather(launches: impl IntoIterator<Item = (u32, Which, f64)>) -> Blocks {
        let mut blocks = std::collections::BTreeMap::<u32, [Vec<f64>; 2]>::new();
        for (block, which, value) in launches {
            blocks.entry(block).or_default()[which.index()].push(value);
        }
        let complete = blocks.into_values().filter_map(|[left, right]| match (&left[..], &right[..]) {
            (&[a, b], &[c, d]) => Some([a, b, c, d]).filter(|all| all.iter().all(|v| *v > 0.0 && v.is_finite())),
            _ => None,
        });
        Blocks { values: complete.collect() }
    }

    /// Log of right over left, for each block.
    pub fn log_ratios(&self) -> Vec<f64> {
        self.values.iter().map(|[a, b, c, d]| (c.ln() + d.ln() - a.ln() - b.ln()) / 2.0).collect()
    }

    /// Log of a side's second launch over its first, scaled to the deviation of a block's log ratio: what this machine makes of
    /// identical sides.
    fn control(&self) -> Vec<f64> {
        let scaled = |first: f64, second: f64| (second.ln() - first.ln()) / std::f64::consts::SQRT_2;
        self.values.iter().flat_map(|[a, b, c, d]| [scaled(*a, *b), scaled(*c, *d)]).collect()
    }

    /// The factor within which identical sides fell in this run: the farther end of the control's interval.
    pub fn noise(&self, confidence: f64) -> f64 {
        let (low, high) = t_interval(&self.control(), confidence);
        low.abs().max(high.abs()).exp()
    }

    /// The ratio; `None` below three blocks. `p_adjusted` is the unadjusted p until Holm is applied over all measures.
    pub fn ratio(&self, confidence: f64, seed: u64) -> Option<Ratio> {
        if self.values.len() < BLOCKS_MIN {
            return None;
        }
        let logs = self.log_ratios();
        let (low, high) = t_interval(&logs, confidence);
        let (bootstrap_low, bootstrap_high) = bootstrap(&logs, confidence, seed);
        let p_value = t_test(&logs);
        let side = |at: usize| self.values.iter().flat_map(move |block| [block[at], block[at + 1]]).collect::<Vec<_>>();
        Some(Ratio {
            estimate: mean(&logs).exp(),
            low: low.exp(),
            high: high.exp(),
            bootstrap_low: bootstrap_low.exp(),
            bootstrap_high: bootstrap_high.exp(),
            p_value,
            p_adjusted: p_value,
            p_sign_flip: sign_flip(&logs, seed),
            cliffs_delta: cliffs_delta(&side(0), &side(2)),
            noise: self.noise(confidence),
            blocks: logs.iter().map(|log| log.exp()).collect(),
        })
    }
}

/// Interval of the mean by Student's t.
pub fn t_interval(values: &[f64], confidence: f64) -> (f64, f64) {
    let half = t_quantile(confidence, values.len().saturating_sub(1) as f64) * deviation(values) / (values.len() as f64).sqrt();
    let half = if half.is_finite() { half } else { f64::MAX.ln() };
    (mean(values) - half, mean(values) + half)
}

/// Interval of the difference of two means, `new` less `old`, by Welch's t: for runs that share no blocks.
pub fn welch_interval(old: &[f64], new: &[f64], confidence: f64) -> (f64, f64) {
    let part = |values: &[f64]| deviation(values).powi(2) / values.len() as f64;
    let (a, b) = (part(old), part(new));
    let difference = mean(new) - mean(old);
    if a + b == 0.0 {
        return (difference, difference);
    }
    let below = a.powi(2) / (old.len() - 1) as f64 + b.powi(2) / (new.len() - 1) as f64;
    let half = t_quantile(confidence, (a + b).powi(2) / below) * (a + b).sqrt();
    (difference - half, difference + half)
}

/// Interval of the mean by the percentile bootstrap. Too narrow for few blocks, so it only ever takes a verdict back.
pub fn bootstrap(values: &[f64], confidence: f64, seed: u64) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut resample = || {
        let sum: f64 = (0..values.len()).map(|_| values[random.random_range(0..values.len())]).sum();
        sum / values.len() as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    (quantile_sorted(&means, tail), quantile_sorted(&means, 1.0 - tail))
}
