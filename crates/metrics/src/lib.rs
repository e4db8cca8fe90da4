//! What code says about itself before it runs: size, complexity, dependencies, of JavaScript, TypeScript and Python.
//!
//! `complexity` and `imports` are pure; [`measure`] and `packages` read files. Nothing here runs code, resolves `PATH` or knows what the
//! numbers are for. They are proxies: how long somebody needs to learn or change a program, no count tells.

mod complexity;
mod imports;
mod packages;
mod syntax;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

pub use complexity::{Complexity, complexity};
pub use imports::{Import, imports};
pub use packages::{Packages, node_packages, python_packages};
pub use syntax::Language;

/// Files of one program that are read at most; a program has fewer of its own, so more means that something else was found.
pub const FILES_MAX: usize = 2_000;
/// Size of a source file that is parsed at most, in bytes: beyond, it is made by a machine.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A program, measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The entry and what it imports that is no package, in the order found.
    pub files: Vec<PathBuf>,
    /// Sum over these files.
    pub complexity: Complexity,
    /// Packages imported, and those that these depend on.
    pub packages: Packages,
}

/// Why a program could not be measured.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn whole(file: &Path, what: impl Into<String>) -> Fault {
        Fault { file: file.to_owned(), line: 0, what: what.into() }
    }
}

/// Measures the program that begins at `entry`: that file, its own files that it imports, directly or through others, and the packages
/// among its imports. `root` is where Python finds the program's modules, and `interpreter` the Python whose packages it uses; both
/// are left alone for JavaScript, whose packages lie in `node_modules` at the files or above.
pub fn measure(entry: &Path, root: &Path, interpreter: Option<&Path>) -> Result<Program, Fault> {
    let mut program = Program::default();
    let mut named = BTreeSet::new();
    let mut seen = BTreeSet::from([entry.to_owned()]);
    let mut waiting = vec![entry.to_owned()];
    while let Some(file) = waiting.pop() {
        if program.files.len() == FILES_MAX {
            return Err(Fault::whole(entry, format!("imports more than {FILES_MAX} files of its own")));
        }
        let source = read(&file)?;
        program.complexity += complexity(&file, &source)?;
        for import in imports(&file, &source)? {
            match import.local_file(&file, root) {
                Some(local) => {
                    if seen.insert(local.clone()) {
                        waiting.push(local);
                    }
                }
                None => _ = named.insert((file.clone(), import.package().to_owned())),
            }
        }
        program.files.push(file);
    }
    program.packages = match Language::of(entry)? {
        Language::Python => {
            let names: BTreeSet<String> = named.into_iter().map(|(_, name)| name).collect();
            interpreter.map(|interpreter| python_packages(interpreter, &names)).unwrap_or_default()
        }
        _ => node_packages(&named),
    };
    Ok(program)
}

fn read(file: &Path) -> Result<String, Fault> {
    let size = std::fs::metadata(file).map_err(|error| Fault::whole(file, error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Fault::whole(file, format!("is larger than {FILE_BYTES_MAX} bytes; is it made by a machine?")));
    }
    std::fs::read_to_string(file).map_err(|error| Fault::whole(file, error.to_string()))
}
