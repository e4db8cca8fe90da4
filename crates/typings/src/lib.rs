//! What each language's type checkers are told of the other: TypeScript declarations of Python files, and Python stubs of
//! JavaScript and TypeScript files.
//!
//! `typings` reads text and writes text: it neither walks folders nor starts the Python that [`python::program`] is for.

pub mod javascript;
pub mod python;
mod stub;

pub use stub::{Module, Stub, package};

/// What a TypeScript program is told of the module `bireme`.
pub const BIREME_D_TS: &str = include_str!("bireme.d.ts");
/// Words in the first line of each generated file, by which it is known again.
pub const MARK: &str = "Written by `bireme types`";
