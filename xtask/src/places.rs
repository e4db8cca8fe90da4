//! Where things are: the repository and cargo's build folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

/// Folders that every chore needs, and what cargo says of the workspace.
pub struct Places {
    /// The repository.
    pub root: PathBuf,
    /// Cargo's build folder; follows `CARGO_TARGET_DIR`.
    pub target: PathBuf,
    /// `cargo metadata --no-deps`.
    pub metadata: Value,
}

impl Places {
    /// Asks cargo. Fails outside of the repository.
    pub fn find() -> anyhow::Result<Places> {
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("could not run cargo metadata")?;
        anyhow::ensure!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        let folder =
            |key: &str| metadata[key].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata has no {key}"));
        Ok(Places { root: folder("workspace_root")?, target: folder("target_directory")?, metadata })
    }

    /// Installed packages: one folder for each lock file.
    pub fn prepared(&self) -> PathBuf {
        self.target.join("prepared")
    }

    /// The server that `build` leaves.
    pub fn bireme(&self) -> PathBuf {
        self.target.join("release").join("bireme")
    }

    /// A path as people in the repository would write it.
    pub fn short(&self, path: &std::path::Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// The cargo that runs us.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
