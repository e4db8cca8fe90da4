//! What may be concluded from launches. Pure: no clock, process or socket, and randomness from a given seed.
//!
//! The unit of replication is a launch: calls within one process share its heap layout, its compiled code and its luck, and so say
//! nothing about the next process. A block is four launches in the order ABBA or BAAB; it yields one ratio.

pub mod change_points;
pub mod effect;
pub mod order;
pub mod scalability;
pub mod significance;
pub mod verdict;

/// Arithmetic mean; 0 for nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Sample standard deviation (n − 1); 0 for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let middle = mean(values);
    (values.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// Median; 0 for nothing.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Quantile `q` (0 to 1) by linear interpolation (type 7 of Hyndman and Fan, NumPy's default); 0 for nothing.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_sorted(&sorted, q)
}

/// [`quantile`] of values that ascend.
pub fn quantile_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}
