//! The suite's folders: what `suite/README.md` says of a workload, read. Pure but for reading files.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::document::Criterion;

/// One folder of the suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Its folder.
    pub folder: PathBuf,
    /// The folder's name.
    pub name: String,
    /// `NOTE.md`.
    pub note: Option<String>,
    /// `workload.toml`.
    pub settings: WorkloadSettings,
}

/// `workload.toml`; keys are explained in `suite/README.md`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "suite/README.md says it")]
pub struct WorkloadSettings {
    pub title: String,
    pub criterion: Criterion,
    #[serde(default)]
    pub tolerance: f64,
    pub size: u64,
    #[serde(default)]
    pub protocol: Option<String>,
    #[serde(default)]
    pub upstream: Option<PathBuf>,
    #[serde(default)]
    pub needs_environment: Option<String>,
    #[serde(default)]
    pub node_min: Option<String>,
}

/// What a workload is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `node.mjs` and `python.py`.
    Function,
    /// `app/`.
    Application,
}

impl Workload {
    /// What it is made of; `errors` is both.
    pub fn forms(&self) -> Vec<Form> {
        let is = |name: &str| self.folder.join(name).exists();
        let forms = [(Form::Function, is("node.mjs") && is("python.py")), (Form::Application, is("app/bireme.toml"))];
        forms.into_iter().filter(|form| form.1).map(|form| form.0).collect()
    }
}

/// All workloads below a folder, by name; only those that are named, if any are.
///
/// # Errors
/// When there are none, one is not there, or its settings do not parse.
pub fn workloads(folder: &Path, names: &[String]) -> Result<Vec<Workload>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: the suite cannot be read: {error}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().join("workload.toml").is_file()) {
        let folder = entry.path();
        let file = folder.join("workload.toml");
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let settings = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push(Workload { note: std::fs::read_to_string(folder.join("NOTE.md")).ok(), folder, name, settings });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let known: Vec<&str> = found.iter().map(|workload| workload.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("the suite has no workload {unknown:?}; there are {}", known.join(", ")));
    }
    if found.is_empty() {
        return Err(format!("{}: no folder in it holds a workload.toml", folder.display()));
    }
    found.retain(|workload| names.is_empty() || names.contains(&workload.name));
    Ok(found)
}
