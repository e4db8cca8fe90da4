//! Our statistics against SciPy's, on inputs that `scipy/make.py` drew.

use compare::statistics::effect::{bootstrap, t_interval, welch_interval};
use compare::statistics::quantile;
use compare::statistics::significance::{cliffs_delta, fisher_greater, holm, sign_flip, t_test};
use serde_json::Value;

const CONFIDENCE: f64 = 0.95;

fn reference() -> Value {
    serde_json::from_str(include_str!("scipy/reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn check(what: &str, ours: f64, scipy: f64, tolerance: f64) {
    assert!((ours - scipy).abs() <= tolerance * (1.0 + scipy.abs()), "{what}: {ours}, SciPy says {scipy}");
}

#[test]
fn one_sample() {
    for case in reference()["one_sample"].as_array().unwrap() {
        let values = numbers(&case["values"]);
        let (low, high) = t_interval(&values, CONFIDENCE);
        let expected = numbers(&case["t_interval"]);
        check("t interval", low, expected[0], 1e-9);
        check("t interval", high, expected[1], 1e-9);
        check("t-test", t_test(&values), case["t_test"].as_f64().unwrap(), 1e-9);
        check("sign flips", sign_flip(&values, 1), case["sign_flip"].as_f64().unwrap(), 1e-9);
        // Both are drawn; ours from fewer resamples.
        let (low, high) = bootstrap(&values, CONFIDENCE, 1);
        let expected = numbers(&case["bootstrap"]);
        check("bootstrap", low, expected[0], 0.01);
        check("bootstrap", high, expected[1], 0.01);
    }
}

#[test]
fn two_samples() {
    for case in reference()["two_samples"].as_array().unwrap() {
        let (left, right) = (numbers(&case["left"]), numbers(&case["right"]));
        let delta = cliffs_delta(&left, &right);
        let (low, high) = welch_interval(&left, &right, CONFIDENCE);
        let expected = numbers(&case["welch_interval"]);
        check("Welch's interval", low, expected[0], 1e-9);
        check("Welch's interval", high, expected[1], 1e-9);
        check("Cliff's delta", delta, case["cliffs_delta"].as_f64().unwrap(), 1e-12);
    }
}

#[test]
fn fisher() {
    for case in reference()["fisher"].as_array().unwrap() {
        let counts: Vec<u64> = case["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
        let ours = fisher_greater(counts[0], counts[1], counts[2], counts[3]);
        check("Fisher's exact test", ours, case["greater"].as_f64().unwrap(), 1e-9);
    }
}

#[test]
fn quantiles() {
    for case in reference()["quantiles"].as_array().unwrap() {
        let ours = quantile(&numbers(&case["values"]), case["q"].as_f64().unwrap());
        check("quantile", ours, case["quantile"].as_f64().unwrap(), 1e-12);
    }
}

/// Worked out by hand after Holm (1979), as SciPy has no such function.
#[test]
fn holms_adjustment() {
    let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (ours, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        check("Holm", *ours, expected, 1e-12);
    }
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
}

#[test]
fn many_values_are_flipped_at_random() {
    let values: Vec<f64> = (0..30).map(|n| f64::from(n) / 10.0 - 1.0).collect();
    // The normal approximation is good for 30 values.
    check("sign flips", sign_flip(&values, 3), t_test(&values), 0.01);
}
