//! Installing the packages of the suite's workloads.

use std::path::PathBuf;

use anyhow::Context;

use crate::places::Places;
use crate::{prepare, tools};

/// Installs what each workload's package-lock.json and requirements.txt name, and links it as `node_modules` and `.venv`
/// into the workload's folder.
pub fn prepare(places: &Places) -> anyhow::Result<()> {
    for folder in folders(places)? {
        let name = format!("suite-{}", folder.file_name().unwrap_or_default().to_string_lossy());
        if folder.join("package-lock.json").exists() {
            prepare::node_modules(places, &format!("{name}-node"), &folder)?;
        }
        let requirements = folder.join("requirements.txt");
        if requirements.exists() {
            let venv = prepare::venv(places, &format!("{name}-python"), &tools::python(places)?, &requirements)?;
            prepare::link(&folder.join(".venv"), &venv)?;
        }
    }
    Ok(())
}

fn folders(places: &Places) -> anyhow::Result<Vec<PathBuf>> {
    let suite = places.root.join("suite");
    let entries = std::fs::read_dir(&suite).with_context(|| format!("could not read {}", suite.display()))?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("workload.toml").exists()).collect();
    folders.sort();
    Ok(folders)
}
