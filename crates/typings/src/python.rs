//! TypeScript declarations of Python files, made by a program for Python's own parser, so that what an interpreter runs is
//! what is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Modules of the package `declarations`, in the order in which they need each other; the last one is the program.
const MODULES: [(&str, &str); 6] = [
    ("text", include_str!("declarations/text.py")),
    ("files", include_str!("declarations/files.py")),
    ("annotations", include_str!("declarations/annotations.py")),
    ("classes", include_str!("declarations/classes.py")),
    ("functions", include_str!("declarations/functions.py")),
    ("main", include_str!("declarations/main.py")),
];

/// For `python -I -c`; reads [`Question`] from stdin and writes [`Answer`] to stdout, both as JSON.
pub fn program() -> String {
    let mut program = "import sys, types\n".to_owned();
    for (name, text) in MODULES {
        // A text of JSON is one of Python, too.
        program += &format!(
            "_module = sys.modules['declarations.{name}'] = types.ModuleType('declarations.{name}')\n\
             _module.__package__ = 'declarations'\n\
             exec(compile({}, 'declarations/{name}.py', 'exec'), _module.__dict__)\n",
            serde_json::Value::from(text)
        );
    }
    program
}

/// What [`program`] is asked.
#[derive(Debug, Default, Serialize)]
pub struct Question {
    /// Files to be declared.
    pub describe: Vec<PathBuf>,
    /// Files in which calls of `bireme.node` are looked for.
    pub scan: Vec<PathBuf>,
    /// Folders from which absolute imports are followed.
    pub roots: Vec<PathBuf>,
}

/// What it says.
#[derive(Debug, Default, Deserialize)]
pub struct Answer {
    /// By file.
    pub declarations: BTreeMap<PathBuf, Declaration>,
    /// In the order of the files.
    pub modules: Vec<Named>,
    /// Whether NumPy is installed.
    pub numpy: bool,
}

/// One file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Declaration {
    /// Its declarations.
    Made {
        /// TypeScript, but for what it imports.
        text: String,
        /// Names that it uses of the module `bireme`.
        names: Vec<String>,
    },
    /// It cannot be parsed.
    Failed {
        /// Where, and why.
        error: String,
    },
}

/// A module that a Python file names in a call of `bireme.node`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Named {
    /// The Python file.
    pub file: PathBuf,
    /// Where in it.
    pub line: u32,
    /// What it says: `./render.js`.
    pub name: String,
}

/// Where TypeScript looks for the declarations of a file with an ending of its own: `model.d.py.ts` for `model.py`.
pub fn declaration_file(python: &Path) -> PathBuf {
    python.with_extension("d.py.ts")
}

/// The whole file: `bireme` is the path from it to `bireme.d.ts`.
pub fn declaration(python: &Path, bireme: &str, text: &str, names: &[String]) -> String {
    let name = python.file_name().unwrap_or_default().to_string_lossy();
    let import = match names {
        [] => String::new(),
        names => format!("import type {{ {} }} from 'bireme';\n", names.join(", ")),
    };
    format!("// {} from {name}; do not edit.\n/// <reference path=\"{bireme}\" />\n{import}\n{text}", crate::MARK)
}
