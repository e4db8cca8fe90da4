//! From `bireme.toml`, the environment and flags to [`Settings`].
//!
//! `config` never opens a socket, starts a process, reads the environment by itself or prints.

mod settings;

pub use settings::*;
