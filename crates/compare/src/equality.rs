//! Whether two sides answer the same, and which differences are only noise.
//!
//! Each side is also compared with its own twin, a second launch of the same code: what differs there as often as across the
//! sides (dates, ids, order) says nothing about them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::{Difference, DifferenceClass, DifferenceExample, Equality, Outcome};
use crate::redact;
use crate::statistics::significance::{fisher_greater, holm};

/// Paths remembered; answers that differ in more are different enough.
const PATHS_MAX: usize = 500;
/// Paths at which one pair of answers is found to differ.
const PER_ANSWER_MAX: usize = 100;
/// Examples kept of a path.
const EXAMPLES_MAX: usize = 5;
/// Characters kept of a value in an example.
const EXAMPLE_CHARACTERS_MAX: usize = 200;

/// What is compared of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Parts with a name, such as `status`, `header content-type`, `error`.
    pub parts: Vec<(String, Value)>,
    /// A value compared by path from `$`.
    pub json: Option<Value>,
}

/// How answers are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Likeness {
    /// Difference of numbers that counts as none: relative, or absolute below 1.
    pub tolerance: f64,
    /// Paths that are not compared, with `[*]` for any index, or as examples have them, with one.
    pub ignored: Vec<String>,
}

/// Gathers differences over many answers.
#[derive(Clone, Debug, Default)]
pub struct Comparer {
    likeness: Likeness,
    redacts: bool,
    compared: u64,
    found: BTreeMap<String, Counts>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    across: u64,
    left_twin: u64,
    right_twin: u64,
    examples: Vec<DifferenceExample>,
}

/// One place where two answers differ.
#[derive(Debug)]
struct Found {
    path: String,
    left: Option<Value>,
    right: Option<Value>,
}

/// The places where two answers differ, the first of each path: a long list of ids must leave room for what comes after it.
#[derive(Debug, Default)]
struct Places {
    found: Vec<Found>,
    paths: BTreeSet<String>,
}

impl Places {
    fn is_full(&self) -> bool {
        self.found.len() >= PER_ANSWER_MAX
    }

    fn add(&mut self, path: String, left: Option<&Value>, right: Option<&Value>) {
        if !self.is_full() && self.paths.insert(general(&path)) {
            self.found.push(Found { path, left: left.cloned(), right: right.cloned() });
        }
    }
}

impl Comparer {
    /// A comparer that has seen nothing.
    pub fn new(likeness: Likeness) -> Comparer {
        Comparer { likeness, ..Comparer::default() }
    }

    /// One of live or recorded traffic, which holds secrets: none is kept in examples.
    pub fn of_traffic(likeness: Likeness) -> Comparer {
        Comparer { redacts: true, ..Comparer::new(likeness) }
    }

    /// Takes the answers to one case of left, left's twin, right, and right's twin.
    pub fn add(&mut self, case: &str, left: [&Answer; 2], right: [&Answer; 2]) {
        self.compared += 1;
        self.count(self.likeness.differences(left[0], left[1]), |counts, _| counts.left_twin += 1);
        self.count(self.likeness.differences(right[0], right[1]), |counts, _| counts.right_twin += 1);
        let redacts = self.redacts;
        let shown = |path: &str, value: &Value| if redacts { shortened(&redact::value(path, value)) } else { shortened(value) };
        self.count(self.likeness.differences(left[0], right[0]), |counts, found| {
            counts.across += 1;
            if counts.examples.len() < EXAMPLES_MAX {
                counts.examples.push(DifferenceExample {
                    case: case.to_owned(),
                    path: found.path.clone(),
                    left: found.left.as_ref().map(|value| shown(&found.path, value)),
                    right: found.right.as_ref().map(|value| shown(&found.path, value)),
                });
            }
        });
    }

    /// Each path counts once an answer.
    fn count(&mut self, found: Vec<Found>, take: impl Fn(&mut Counts, &Found)) {
        for difference in &found {
            let path = general(&difference.path);
            if self.found.len() < PATHS_MAX || self.found.contains_key(&path) {
                take(self.found.entry(path).or_default(), difference);
            }
        }
    }

    /// What came out. `rounds` is how often each case was asked.
    pub fn finish(self, cases: u64, rounds: u32, confidence: f64) -> Equality {
        let compared = self.compared;
        let p_values: Vec<f64> = self
            .found
            .values()
            .map(|counts| fisher_greater(counts.across, compared, counts.left_twin + counts.right_twin, 2 * compared))
            .collect();
        let mut differences: Vec<Difference> = self
            .found
            .into_iter()
            .zip(holm(&p_values))
            .map(|((path, counts), p_value)| Difference {
                path,
                class: class(&counts, p_value < 1.0 - confidence),
                across: counts.across,
                left_twin: counts.left_twin,
                right_twin: counts.right_twin,
                compared,
                p_value,
                examples: counts.examples,
            })
            .collect();
        differences.sort_by(|a, b| a.class.cmp(&b.class).then(b.across.cmp(&a.across)));
        let differ = differences.iter().any(|difference| difference.class != DifferenceClass::Noise);
        let outcome = match compared {
            0 => Outcome::Unchecked,
            _ if differ => Outcome::Different,
            _ => Outcome::Equal,
        };
        Equality { cases, rounds, outcome, differences }
    }
}

/// A side that never differs from its twin makes any difference a fact and no matter of statistics.
fn class(counts: &Counts, significant: bool) -> DifferenceClass {
    match (counts.left_twin, counts.right_twin) {
        (0, 0) => DifferenceClass::Real,
        (0, _) | (_, 0) => DifferenceClass::Unstable,
        _ if significant => DifferenceClass::Real,
        _ => DifferenceClass::Noise,
    }
}

impl Likeness {
    fn differences(&self, left: &Answer, right: &Answer) -> Vec<Found> {
        let mut places = Places::default();
        let part = |answer: &Answer, name: &str| answer.parts.iter().find(|part| part.0 == name).map(|part| part.1.clone());
        let names = left.parts.iter().chain(right.parts.iter().filter(|p| part(left, &p.0).is_none())).map(|part| &part.0);
        for name in names {
            let (l, r) = (part(left, name), part(right, name));
            if l != r {
                self.note(name.clone(), l.as_ref(), r.as_ref(), &mut places);
            }
        }
        match (&left.json, &right.json) {
            (Some(l), Some(r)) => self.walk("$", l, r, &mut places),
            (None, None) => {}
            (l, r) => self.note("$".to_owned(), l.as_ref(), r.as_ref(), &mut places),
        }
        places.found
    }

    fn walk(&self, path: &str, left: &Value, right: &Value, places: &mut Places) {
        if places.is_full() || self.ignores(path) {
            return;
        }
        match (left, right) {
            (Value::Object(l), Value::Object(r)) => {
                for (key, value) in l {
                    match r.get(key) {
                        Some(other) => self.walk(&child(path, key), value, other, places),
                        None => self.note(child(path, key), Some(value), None, places),
                    }
                }
                for (key, value) in r.iter().filter(|(key, _)| !l.contains_key(*key)) {
                    self.note(child(path, key), None, Some(value), places);
                }
            }
            (Value::Array(l), Value::Array(r)) => {
                if l.len() != r.len() {
                    self.note(format!("{path}.length"), Some(&l.len().into()), Some(&r.len().into()), places);
                }
                for (at, (value, other)) in l.iter().zip(r).enumerate() {
                    self.walk(&format!("{path}[{at}]"), value, other, places);
                }
            }
            (Value::Number(l), Value::Number(r)) if self.same_number(l, r) => {}
            _ if left == right => {}
            _ => self.note(path.to_owned(), Some(left), Some(right), places),
        }
    }

    fn note(&self, path: String, left: Option<&Value>, right: Option<&Value>, places: &mut Places) {
        if !self.ignores(&path) {
            places.add(path, left, right);
        }
    }

    /// `1` and `1.0` are one number: only one of the languages tells them apart.
    fn same_number(&self, left: &serde_json::Number, right: &serde_json::Number) -> bool {
        if left == right {
            return true;
        }
        let (Some(l), Some(r)) = (left.as_f64(), right.as_f64()) else { return false };
        let both_whole = (left.is_i64() || left.is_u64()) && (right.is_i64() || right.is_u64());
        let exact = !both_whole && l == r;
        exact || (self.tolerance > 0.0 && (l - r).abs() <= self.tolerance * l.abs().max(r.abs()).max(1.0))
    }

    fn ignores(&self, path: &str) -> bool {
        if self.ignored.is_empty() {
            return false;
        }
        let general = general(path);
        self.ignored.iter().any(|ignored| *ignored == general || ignored == path)
    }
}

/// `$.a`, or `$["a b"]` for what is no plain name.
fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain { format!("{path}.{key}") } else { format!("{path}[{}]", Value::from(key)) }
}

/// `[*]` in place of every index.
fn general(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(open) = rest.find('[') {
        let (before, after) = rest.split_at(open + 1);
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        rest = &after[digits..];
        if digits > 0 && rest.starts_with(']') {
            out.push('*');
        } else {
            out.push_str(&after[..digits]);
        }
    }
    out + rest
}

fn shortened(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
        _ => return value.clone(),
    };
    match text.char_indices().nth(EXAMPLE_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}{}", &text[..at], redact::SHORTENED).into(),
        None if value.is_string() => value.clone(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(value: Value) -> Answer {
        Answer { parts: Vec::new(), json: Some(value) }
    }

    /// Runs `left` and `right` over numbered answers, each asked twice, and returns `path class` lines.
    fn check(
        count: u64,
        likeness: Likeness,
        left: impl Fn(u64) -> Value,
        right: impl Fn(u64) -> Value,
    ) -> (Outcome, Vec<String>) {
        let mut comparer = Comparer::new(likeness);
        for n in 0..count {
            let [l, l2, r, r2] = [left(2 * n), left(2 * n + 1), right(2 * n), right(2 * n + 1)].map(answer);
            comparer.add(&n.to_string(), [&l, &l2], [&r, &r2]);
        }
        let equality = comparer.finish(count, 1, 0.95);
        (equality.outcome, equality.differences.iter().map(|d| format!("{} {:?}", d.path, d.class)).collect())
    }

    #[test]
    fn equal_answers_have_no_differences() {
        let same = |_| json!({ "a": [1, 2.0, "x"], "b": null });
        assert_eq!(check(5, Likeness::default(), same, |_| json!({ "b": null, "a": [1.0, 2, "x"] })), (Outcome::Equal, vec![]));
        assert_eq!(check(0, Likeness::default(), same, same).0, Outcome::Unchecked);
    }

    #[test]
    fn differences_are_found_by_path() {
        let right = |_| json!({ "a": [{ "x": 1 }, { "x": 3 }], "c d": 1 });
        let left = |_| json!({ "a": [{ "x": 1 }, { "x": 2 }, 0], "b": true });
        let (outcome, found) = check(3, Likeness::default(), left, right);
        assert_eq!(outcome, Outcome::Different);
        let mut found = found;
        found.sort();
        assert_eq!(found, ["$.a.length Real", "$.a[*].x Real", "$.b Real", "$[\"c d\"] Real"]);
    }

    #[test]
    fn numbers_within_the_tolerance_are_equal_and_ignored_paths_are_not_compared() {
        let likeness = |tolerance| Likeness { tolerance, ignored: vec!["$.at[*].ms".to_owned()] };
        let left = |n: u64| json!({ "at": [{ "ms": n }], "v": 1.0 });
        let right = |_| json!({ "at": [{ "ms": -1 }], "v": 1.0005 });
        assert_eq!(check(3, likeness(0.001), left, right), (Outcome::Equal, vec![]));
        assert_eq!(check(3, likeness(0.0001), left, right).1, ["$.v Real"]);
        let one = Likeness { tolerance: 0.0, ignored: vec!["$[1]".to_owned()] };
        assert_eq!(check(1, one.clone(), |_| json!([1, 2]), |_| json!([1, 3])).0, Outcome::Equal);
        assert_eq!(check(1, one, |_| json!([1, 2]), |_| json!([0, 2])).0, Outcome::Different, "of another index");
        let large = |n: i64| move |_| json!(9_007_199_254_740_992_i64 + n);
        assert_eq!(check(1, Likeness::default(), large(0), large(1)).0, Outcome::Different, "no rounding to a double");
    }

    #[test]
    fn a_difference_after_a_long_list_of_noise_is_found() {
        let side = |total: u64| {
            move |n: u64| {
                let items: Vec<Value> = (0..200).map(|at| json!({ "id": n * 1_000 + at + 100_000 * total })).collect();
                json!({ "items": items, "total": total })
            }
        };
        let (outcome, found) = check(20, Likeness::default(), side(1), side(2));
        assert_eq!((outcome, found), (Outcome::Different, vec!["$.total Real".to_owned(), "$.items[*].id Noise".to_owned()]));
    }

    #[test]
    fn nondeterministic_fields_of_both_sides_are_noise() {
        let side = |salt: u64| move |n: u64| json!({ "id": n * 7 + salt, "total": 5 });
        assert_eq!(check(50, Likeness::default(), side(1), side(2)), (Outcome::Equal, vec!["$.id Noise".to_owned()]));
    }

    #[test]
    fn a_difference_beneath_noise_is_found_by_its_count() {
        // Both are random bits, but right's is mostly 1 and left's mostly 0.
        let left = |n: u64| json!(u8::from(n.is_multiple_of(10)));
        let right = |n: u64| json!(u8::from(!n.is_multiple_of(10)));
        assert_eq!(check(200, Likeness::default(), left, right), (Outcome::Different, vec!["$ Real".to_owned()]));
    }

    #[test]
    fn examples_of_traffic_hold_no_secrets() {
        let of = |token: &str| {
            answer(json!({ "user": { "token": token, "name": "n" }, "html": format!("<input name=csrf value={token}>") }))
        };
        let (left, right) = (of("left-secret"), of("right-secret"));
        let found = |mut comparer: Comparer| {
            comparer.add("GET /", [&left, &left], [&right, &right]);
            serde_json::to_string(&comparer.finish(1, 1, 0.95)).unwrap()
        };
        let traffic = found(Comparer::of_traffic(Likeness::default()));
        assert!(!traffic.contains("-secret") && traffic.contains("[redacted]") && traffic.contains("$.user.token"), "{traffic}");
        assert!(found(Comparer::new(Likeness::default())).contains("left-secret"), "a function's answers are the user's own");
    }

    #[test]
    fn one_wrong_answer_in_500_is_reported() {
        let wrong = |n: u64| json!({ "total": if n.is_multiple_of(500) { 6 } else { 5 } });
        let (outcome, found) = check(500, Likeness::default(), |_| json!({ "total": 5 }), wrong);
        assert_eq!((outcome, found), (Outcome::Different, vec!["$.total Unstable".to_owned()]));
        let (outcome, found) = check(500, Likeness::default(), |_| json!(5), |n| json!(if n / 2 == 77 { 6 } else { 5 }));
        assert_eq!((outcome, found), (Outcome::Different, vec!["$ Real".to_owned()]), "wrong for one input");
    }
}
