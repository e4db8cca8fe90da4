//! `bireme check`: everything that is wrong with a configuration, found without serving.

use std::process::ExitCode;

use config::{Settings, Severity};
use supervise::WorkerSpec;

use super::serve::runtime_folder;
use crate::arguments::ServeArguments;
use crate::{Stop, load, say};

/// Prints findings, worst last; exit status 1 if something cannot work.
pub fn run(arguments: &ServeArguments) -> Result<ExitCode, Stop> {
    let resolved = load::settings(arguments)?;
    let settings = &resolved.settings;
    let mut warnings: Vec<String> = resolved.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    let mut errors = Vec::new();
    for finding in config::check(settings) {
        let list = if finding.severity == Severity::Error { &mut errors } else { &mut warnings };
        list.push(finding.to_string());
    }
    match load::table(settings) {
        Ok(table) => warnings.extend(unreachable_routes(settings, &table)),
        Err(Stop::Usage(text) | Stop::Failed(text)) => errors.push(format!("error: {text}")),
    }
    // What is missing has been said above; interpreters are searched for only where the rest is in order.
    if errors.is_empty() {
        match runtime_folder() {
            Ok(runtime) => {
                let specs = settings.services.iter().map(|service| WorkerSpec::for_service(service, &runtime));
                errors.extend(specs.filter_map(Result::err).map(|error| format!("error: {error}")));
            }
            Err(Stop::Usage(text) | Stop::Failed(text)) => errors.push(format!("error: {text}")),
        }
    }
    for line in warnings.iter().chain(&errors) {
        say(line)?;
    }
    if !errors.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let but = if warnings.is_empty() { String::new() } else { format!(", with {}", counted(warnings.len(), "warning")) };
    let (services, routes) = (counted(settings.services.len(), "service"), counted(settings.routes.len(), "route"));
    say(format_args!("ok: {services} and {routes}{but}"))?;
    Ok(ExitCode::SUCCESS)
}

fn unreachable_routes(settings: &Settings, table: &route::Table) -> Vec<String> {
    let name = |at: usize| settings.routes.get(at).map(|route| (&route.place, &route.path));
    let lines = table.unreachable().into_iter().filter_map(|(at, by)| {
        let ((place, path), (earlier, covers)) = (name(at)?, name(by)?);
        Some(format!(
            "warning: {place}: no request reaches the route \"{path}\", since \"{covers}\" ({earlier}) comes first; move it before that"
        ))
    });
    lines.collect()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
