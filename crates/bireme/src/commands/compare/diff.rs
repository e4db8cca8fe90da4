//! `bireme compare diff old.json new.json`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use compare::change;
use compare::document::{Document, SCHEMA_VERSION};

use super::arguments::DiffArguments;
use crate::Stop;

/// Prints what changed.
pub fn run(arguments: &DiffArguments) -> Result<ExitCode, Stop> {
    let (old, new) = (read(&arguments.old)?, read(&arguments.new)?);
    // Whoever reads may have gone.
    let _ = std::io::stdout().write_all(change::render(&old, &new, new.settings.confidence).as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Reads what a run wrote.
pub fn read(path: &Path) -> Result<Document, Stop> {
    let wrong = |why: String| Stop::Usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
    match value["schema_version"].as_u64() {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => return Err(wrong(format!("its schema has version {version}, and this bireme reads {SCHEMA_VERSION}"))),
        None => return Err(wrong("it has no schema_version; is it a compare.json?".to_owned())),
    }
    let document: Document =
        serde_json::from_value(value).map_err(|error| wrong(format!("it does not follow docs/compare.schema.json: {error}")))?;
    // Tails of distributions are asked for by it.
    match document.settings.confidence {
        confidence if confidence > 0.0 && confidence < 1.0 => Ok(document),
        confidence => Err(wrong(format!("its confidence is {confidence}, and has to lie between 0 and 1, such as 0.95"))),
    }
}
