//! `bireme compare`: two sides measured against each other, and a verdict only where the data carry one.
//!
//! `statistics`, `equality`, `measures` and `document` are pure: they know no process, socket or clock. `functions` launches what is
//! compared. This crate does not know where interpreters are found or how `bireme.toml` is read: the binary says.

pub mod broadcast;
pub mod change;
pub mod code;
pub mod condition;
pub mod document;
pub mod equality;
pub mod fairness;
pub mod functions;
pub mod limited;
pub mod lines;
pub mod load;
pub mod machine;
pub mod measures;
mod pace;
pub mod processes;
pub mod redact;
pub mod report;
pub mod requests;
pub mod rest;
pub mod routes;
pub mod server;
pub mod shadow;
pub mod statistics;
pub mod subject;
pub mod suite;
pub mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use document::Comparison;

/// Tells a run that it should end with what it has.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// From now on [`Cancel::is_cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run should end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done: "block 3 of 10, python".
    pub stage: String,
    /// Part that is done, 0 to 1.
    pub done: f64,
    /// Seconds left, by what the run has taken so far; before its first launch by what is planned.
    pub left_seconds: f64,
}

/// Hears how far a run is.
pub type Watch<'a> = &'a mut dyn FnMut(Progress);

/// A comparison, and why it is less than was planned, if so.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What there is.
    pub comparison: Comparison,
    /// Why it ended early.
    pub stopped: Option<String>,
}
