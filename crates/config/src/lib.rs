//! From `bireme.toml`, the environment and flags to [`Settings`].
//!
//! The caller reads the file and the environment and hands them over as [`Sources`]; [`resolve`] makes settings of them, or
//! says every mistake with its place. `config` never opens a socket, starts a process or prints. It looks at the file
//! system only to tell what kind of application a path is, and in [`check`].

mod check;
mod document;
mod error;
mod keys;
mod layers;
mod resolve;
mod routes;
mod schema;
mod section;
mod settings;
mod show;
mod target;
mod units;

pub use check::{Finding, Severity, check};
pub use error::{Errors, Mistake, Place};
pub use keys::{Default as KeyDefault, KEYS, Key, Kind, Section};
pub use resolve::{File, Flag, Flags, OWN_VARIABLES, Resolved, Sources, resolve};
pub use schema::{reference, schema};
pub use settings::*;
pub use show::{Shown, show};
pub use units::listen as parse_listen;
