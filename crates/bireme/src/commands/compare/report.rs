//! `bireme compare report compare.json`

use std::io::Write;
use std::process::ExitCode;

use compare::report::{self, summary};

use super::arguments::ReportArguments;
use super::session::write;
use crate::Stop;

/// Writes a document's report anew, or its verdicts as Markdown where the file is to end in `.md`.
pub fn run(arguments: &ReportArguments) -> Result<ExitCode, Stop> {
    let document = super::diff::read(&arguments.file)?;
    let out = arguments.out.clone().unwrap_or_else(|| arguments.file.with_extension("html"));
    let text = match out.extension().and_then(|extension| extension.to_str()) {
        Some("md") => summary::render(&document),
        _ => report::render(&document).map_err(Stop::Failed)?,
    };
    write(&out, &text)?;
    // Whoever reads may have gone, and the report is on disk.
    let _ = writeln!(std::io::stdout(), "{}", out.display());
    Ok(ExitCode::SUCCESS)
}
