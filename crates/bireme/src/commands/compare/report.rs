//! `bireme compare report compare.json`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use compare::document::{Document, SCHEMA_VERSION};
use compare::report;

use super::arguments::ReportArguments;
use super::session::write;
use crate::Stop;

/// Writes a document's report anew.
pub fn run(arguments: &ReportArguments) -> Result<ExitCode, Stop> {
    let document = read(&arguments.file)?;
    let out = arguments.out.clone().unwrap_or_else(|| arguments.file.with_extension("html"));
    write(&out, &report::render(&document).map_err(Stop::Failed)?)?;
    // Whoever reads may have gone, and the report is on disk.
    let _ = writeln!(std::io::stdout(), "{}", out.display());
    Ok(ExitCode::SUCCESS)
}

/// A compare.json, of this schema's version.
fn read(file: &Path) -> Result<Document, Stop> {
    let wrong = |why: String| Stop::Usage(format!("{}: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
    match value["schema_version"].as_u64() {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => return Err(wrong(format!("its schema has version {version}, and this bireme reads {SCHEMA_VERSION}"))),
        None => return Err(wrong("it has no schema_version; is it a compare.json?".to_owned())),
    }
    serde_json::from_value(value).map_err(|error| wrong(format!("it does not follow docs/compare.schema.json: {error}")))
}
