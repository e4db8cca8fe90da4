//! Tests of significance. Each is checked against SciPy in `tests/scipy.rs`.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use statrs::distribution::{ContinuousCDF, DiscreteCDF, Hypergeometric, StudentsT};

/// Blocks up to which all sign flips are counted; 2^16 sums.
const EXACT_BLOCKS_MAX: usize = 16;
/// Draws beyond: the standard error of a p of 0.05 is then 0.0015.
const FLIPS: u32 = 20_000;

/// Quantile of Student's t for a two-sided interval, such as 0.95; infinite without degrees of freedom.
pub fn t_quantile(confidence: f64, degrees: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, degrees) {
        Ok(t) => t.inverse_cdf(0.5 + confidence / 2.0),
        Err(_) => f64::INFINITY,
    }
}

/// One-sample t-test that the mean is 0, two-sided. 1 for fewer than two values; 0 when all are one value other than 0.
pub fn t_test(values: &[f64]) -> f64 {
    let (mean, deviation) = (super::mean(values), super::deviation(values));
    if values.len() < 2 || mean == 0.0 {
        return 1.0;
    }
    let statistic = mean / (deviation / (values.len() as f64).sqrt());
    match StudentsT::new(0.0, 1.0, (values.len() - 1) as f64) {
        Ok(t) if statistic.is_finite() => 2.0 * t.sf(statistic.abs()),
        _ => 0.0,
    }
}

/// Sign-flip test that values are symmetric about 0, two-sided; exact up to 16 values, else drawn.
pub fn sign_flip(values: &[f64], seed: u64) -> f64 {
    let observed = values.iter().sum::<f64>().abs();
    // Sums in another order differ in their last bits; what is equal must count.
    let reached = |sum: f64| sum.abs() >= observed * (1.0 - 1e-12);
    if values.len() <= EXACT_BLOCKS_MAX {
        let flips = 1_u32 << values.len();
        let extreme = (0..flips).filter(|flip| {
            let signed = values.iter().enumerate().map(|(at, value)| if flip >> at & 1 == 1 { -value } else { *value });
            reached(signed.sum())
        });
        return extreme.count() as f64 / f64::from(flips);
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut draw = || values.iter().map(|value| if random.random() { -value } else { *value }).sum::<f64>();
    let extreme = (0..FLIPS).filter(|_| reached(draw())).count();
    (extreme + 1) as f64 / f64::from(FLIPS + 1)
}

/// Cliff's delta: how much more often a value of `right` exceeds one of `left` than the other way; −1 to 1.
pub fn cliffs_delta(left: &[f64], right: &[f64]) -> f64 {
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    let sign = |l: f64, r: f64| f64::from(i8::from(r > l) - i8::from(r < l));
    let sum: f64 = left.iter().flat_map(|&l| right.iter().map(move |&r| sign(l, r))).sum();
    sum / (left.len() * right.len()) as f64
}

/// Holm's adjustment of p-values, in their order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut greatest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        greatest = greatest.max((p_values[at] * (p_values.len() - rank) as f64).min(1.0));
        adjusted[at] = greatest;
    }
    adjusted
}

/// Fisher's exact test that `hits` of `of` is a higher rate than `hits_other` of `of_other`, one-sided.
pub fn fisher_greater(hits: u64, of: u64, hits_other: u64, of_other: u64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    match Hypergeometric::new(of + of_other, hits + hits_other, of) {
        Ok(chance) => chance.sf(hits - 1),
        Err(_) => 1.0,
    }
}
