//! The code of a side, by the crate `metrics`. Reads files.

use std::path::Path;

use crate::document::Code;

/// Measures the program that begins at `entry`; `root` is where its Python modules are found, and file names are given below it.
pub fn measure(entry: &Path, root: &Path, interpreter: Option<&Path>) -> Result<Code, String> {
    let program = metrics::measure(entry, root, interpreter).map_err(|fault| fault.to_string())?;
    let name = |file: &std::path::PathBuf| file.strip_prefix(root).unwrap_or(file).display().to_string();
    Ok(Code {
        files: program.files.iter().map(name).collect(),
        logical_lines: program.complexity.logical_lines,
        cyclomatic: program.complexity.cyclomatic,
        cognitive: program.complexity.cognitive,
        functions: program.complexity.functions,
        dependencies: Some(program.packages.names.len() as u64),
        dependencies_bytes: Some(program.packages.bytes),
    })
}
