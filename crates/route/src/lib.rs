//! Which rule a request falls under: an ordered table in which **the first match wins**.
//!
//! `route` knows bytes, not requests: no HTTP version, no target beyond a rule's index, no query strings, and it
//! never changes what is sent on. Rules are read in [`pattern`]'s language; paths are compared in the normal form
//! of [`normal`], so that `/assets/../api`, `/%61pi` and `//api` cannot dodge a rule for `/api/*`.

mod host;
pub mod normal;
pub mod pattern;
mod table;

pub use normal::strip;
pub use pattern::Error;
pub use table::{Found, Match, Rule, Table};
