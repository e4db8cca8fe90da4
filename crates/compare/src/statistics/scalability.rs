//! The universal scalability law (Gunther): X(n) = λn / (1 + σ(n − 1) + κn(n − 1)).

/// Points from which the law is fitted.
pub const POINTS_MIN: usize = 6;

/// Part of the variance below which a fit says nothing.
pub const EXPLAINED_MIN: f64 = 0.8;

/// A fitted law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// λ: throughput of one.
    pub one: f64,
    /// σ: contention, the part that waits in line.
    pub contention: f64,
    /// κ: coherence, the price of agreeing.
    pub coherence: f64,
    /// Part of the throughputs' variance that the law explains.
    pub explained: f64,
}

impl Law {
    /// Throughput at `n`.
    pub fn throughput(&self, n: f64) -> f64 {
        self.one * n / (1.0 + self.contention * (n - 1.0) + self.coherence * n * (n - 1.0))
    }

    /// The `n` of most throughput; `None` when it only ever grows.
    pub fn peak(&self) -> Option<f64> {
        (self.coherence > 0.0).then(|| ((1.0 - self.contention).max(0.0) / self.coherence).sqrt())
    }
}

/// What may be said of measured points, `of` being what there are so many of: a law only where it explains them, and a peak only within
/// what was measured.
pub fn sentence(points: &[(f64, f64)], of: &str) -> String {
    let Some(law) = fit(points) else {
        return format!(
            "no universal scalability law is fitted: it takes {POINTS_MIN} points with a throughput, and there are {}",
            usable(points)
        );
    };
    if law.explained < EXPLAINED_MIN {
        let explained = law.explained.max(0.0);
        return format!(
            "the universal scalability law explains too little of this (R² = {explained:.2}), so nothing is concluded from it"
        );
    }
    let last = points.iter().map(|point| point.0).fold(1.0, f64::max);
    let peak = match law.peak() {
        Some(peak) if peak <= last => format!("is greatest at about {:.0} {of}", peak.max(1.0)),
        _ => format!("still grows at {last:.0} {of}"),
    };
    let Law { contention, coherence, explained, .. } = law;
    format!(
        "universal scalability law with contention {contention:.3} and coherence {coherence:.5} (R² = {explained:.2}); throughput {peak}"
    )
}

fn usable(points: &[(f64, f64)]) -> usize {
    points.iter().filter(|(_, throughput)| *throughput > 0.0).count()
}

/// Fits the law to `(n, throughput)`; `None` below six points or when they fit no law.
///
/// n / X(n) is linear in the three unknowns, so this is least squares, with σ and κ kept from going below 0.
pub fn fit(points: &[(f64, f64)]) -> Option<Law> {
    if points.len() < POINTS_MIN || points.iter().any(|(n, x)| *n < 1.0 || *x <= 0.0) {
        return None;
    }
    // n/X = a + b(n − 1) + c·n(n − 1), each weighted by X/n so that relative errors count.
    let columns: [fn(f64) -> f64; 3] = [|_| 1.0, |n| n - 1.0, |n| n * (n - 1.0)];
    let subsets: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[0]];
    let candidates = subsets.iter().filter_map(|subset| {
        let rows: Vec<(Vec<f64>, f64)> =
            points.iter().map(|&(n, x)| (subset.iter().map(|&at| columns[at](n) * x / n).collect(), 1.0)).collect();
        let solution = least_squares(&rows)?;
        let mut all = [0.0; 3];
        for (&at, value) in subset.iter().zip(&solution) {
            all[at] = *value;
        }
        let [a, b, c] = all;
        (a > 0.0 && b >= 0.0 && c >= 0.0).then(|| law(a, b, c, points))
    });
    candidates.max_by(|a, b| a.explained.total_cmp(&b.explained))
}

fn law(a: f64, b: f64, c: f64, points: &[(f64, f64)]) -> Law {
    let mut law = Law { one: 1.0 / a, contention: b / a, coherence: c / a, explained: 0.0 };
    let middle = super::mean(&points.iter().map(|point| point.1).collect::<Vec<_>>());
    let total: f64 = points.iter().map(|(_, x)| (x - middle).powi(2)).sum();
    let left: f64 = points.iter().map(|(n, x)| (x - law.throughput(*n)).powi(2)).sum();
    law.explained = if total > 0.0 { 1.0 - left / total } else { 0.0 };
    law
}

/// Normal equations by Gaussian elimination with pivoting; `None` when they are singular.
fn least_squares(rows: &[(Vec<f64>, f64)]) -> Option<Vec<f64>> {
    let width = rows.first()?.0.len();
    let mut matrix = vec![vec![0.0; width + 1]; width];
    for (row, target) in rows {
        for i in 0..width {
            for j in 0..width {
                matrix[i][j] += row[i] * row[j];
            }
            matrix[i][width] += row[i] * target;
        }
    }
    for column in 0..width {
        let pivot = (column..width).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-12 {
            return None;
        }
        for row in 0..width {
            if row != column {
                let factor = matrix[row][column] / matrix[column][column];
                let pivot = matrix[column].clone();
                for (value, of_pivot) in matrix[row][column..].iter_mut().zip(&pivot[column..]) {
                    *value -= factor * of_pivot;
                }
            }
        }
    }
    Some((0..width).map(|at| matrix[at][width] / matrix[at][at]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_law_is_found_again() {
        let truth = Law { one: 950.0, contention: 0.06, coherence: 0.002, explained: 1.0 };
        let points: Vec<_> = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].map(|n| (n, truth.throughput(n))).into();
        let found = fit(&points).unwrap();
        assert!((found.one - 950.0).abs() < 0.01 && (found.contention - 0.06).abs() < 1e-6, "{found:?}");
        assert!((found.coherence - 0.002).abs() < 1e-7 && found.explained > 0.9999, "{found:?}");
        assert!((found.peak().unwrap() - (0.94_f64 / 0.002).sqrt()).abs() < 0.01);
    }

    #[test]
    fn too_few_points_fit_nothing_and_noise_makes_no_negative_coefficients() {
        assert_eq!(fit(&[(1.0, 10.0), (2.0, 20.0)]), None);
        let points: Vec<_> = (1..=8).map(|n| (f64::from(n), f64::from(n) * if n % 2 == 0 { 101.0 } else { 99.0 })).collect();
        let found = fit(&points).unwrap();
        assert!(found.contention >= 0.0 && found.coherence >= 0.0 && found.explained > 0.99, "{found:?}");
    }

    /// What is said of throughputs at 1, 2, 4, … of something.
    fn check_sentence(throughputs: &[f64], expected: &str) {
        let points: Vec<_> = throughputs.iter().enumerate().map(|(at, x)| (f64::from(1 << at), *x)).collect();
        let said = sentence(&points, "connections");
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn only_what_the_points_carry_is_said() {
        let law = |contention, coherence| Law { one: 100.0, contention, coherence, explained: 1.0 };
        let throughputs = |law: Law| [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].map(|n| law.throughput(n));
        check_sentence(&throughputs(law(0.05, 0.001)), "is greatest at about 31 connections");
        check_sentence(&throughputs(law(0.01, 0.000_01)), "still grows at 64 connections");
        check_sentence(&[500.0, 80.0, 900.0, 70.0, 400.0, 950.0, 60.0], "explains too little of this (R² = ");
        check_sentence(&[100.0, 190.0, 350.0, 600.0, 900.0], "it takes 6 points with a throughput, and there are 5");
        check_sentence(&[100.0, 190.0, 350.0, 0.0, 900.0, 1000.0], "it takes 6 points with a throughput, and there are 5");
    }
}
