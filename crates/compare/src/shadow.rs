//! What copies of live requests say of a candidate. Pure.
//!
//! It is one process of each, under whatever load there is, so latencies are told and not judged; answers are.

use hdrhistogram::Histogram;

use crate::document::{Better, Comparison, Criterion, Measure, Side, Summary, Unit, VerdictKind};
use crate::equality::{Answer, Comparer, Likeness};
use crate::statistics::verdict::without_winner;

/// Samples below which no p99 is told.
const PERCENTILE_SAMPLES: u64 = 1_000;
/// Confidence of the tests that tell noise from difference.
const CONFIDENCE: f64 = 0.95;
/// Nanoseconds of the longest latency that is told apart from longer ones.
const LATENCY_MAX: u64 = 120_000_000_000;

/// Everything heard of one route and its candidate.
#[derive(Clone, Debug)]
pub struct Book {
    route: String,
    names: [String; 2],
    samples: u64,
    comparer: Comparer,
    latencies: [Histogram<u64>; 2],
}

impl Book {
    /// An empty one; `None` when there is no memory for it.
    pub fn new(route: &str, own: &str, candidate: &str) -> Option<Book> {
        let histogram = || Histogram::new_with_bounds(1_000, LATENCY_MAX, 2).ok();
        Some(Book {
            route: route.to_owned(),
            names: [own.to_owned(), candidate.to_owned()],
            samples: 0,
            comparer: Comparer::of_traffic(Likeness::default()),
            latencies: [histogram()?, histogram()?],
        })
    }

    /// Takes one request's answers: the service's two, then the candidate's two; and the seconds each took.
    pub fn add(&mut self, request: &str, own: [&Answer; 2], candidate: [&Answer; 2], seconds: [[f64; 2]; 2]) {
        self.samples += 1;
        self.comparer.add(request, own, candidate);
        for (latencies, seconds) in self.latencies.iter_mut().zip(seconds) {
            for one in seconds {
                latencies.saturating_record((one * 1e9) as u64);
            }
        }
    }

    /// What it says by now.
    pub fn comparison(&self) -> Comparison {
        let side = |at: usize| Side { name: self.names[at].clone(), target: self.names[at].clone(), ..Side::default() };
        let at = |quantile| [0, 1].map(|side| self.latencies[side].value_at_quantile(quantile) as f64 / 1e9);
        let mut measures = vec![told("latency_p50", "p50 latency", at(0.5))];
        if self.samples >= PERCENTILE_SAMPLES {
            measures.push(told("latency_p99", "p99 latency", at(0.99)));
        }
        Comparison {
            name: self.route.clone(),
            title: format!("{}: {} in the shadow of {}", self.route, self.names[1], self.names[0]),
            criterion: None,
            note: None,
            sides: vec![side(0), side(1)],
            equality: self.comparer.clone().finish(self.samples, 1, CONFIDENCE),
            measures,
            launches: Vec::new(),
            curves: Vec::new(),
            errors: Vec::new(),
            rules: Vec::new(),
            remarks: vec![format!("{} live requests copied, each asked twice of either service", self.samples)],
        }
    }
}

fn told(id: &str, title: &str, [left, right]: [f64; 2]) -> Measure {
    let summary = |value| Summary { launches: 1, median: value, least: value, greatest: value, at_least: false };
    Measure {
        id: id.to_owned(),
        title: title.to_owned(),
        criterion: Criterion::Performance,
        unit: Unit::Seconds,
        better: Better::Less,
        condition: "live".to_owned(),
        left: summary(left),
        right: summary(right),
        ratio: None,
        verdict: without_winner(VerdictKind::Inconclusive, "no verdict: one launch of each, under live load"),
    }
}
