//! `cargo xtask build`: the release binary and the runtime folder beside it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use crate::places::{Places, cargo};
use crate::steps::Step;
use crate::tools;

/// The package of Python's native module.
const NATIVE: &str = "bireme-native";

/// Builds everything that `bireme serve` needs; returns the server's path.
pub fn build(places: &Places) -> anyhow::Result<PathBuf> {
    tools::require("cc", "install a C compiler (Debian: apt-get install gcc)")?;
    let native = compile(places)?;
    let step = Step::begin("Runtime folder");
    let runtime = places.target.join("release/runtime");
    assemble(places, &native, &runtime)?;
    step.done();
    let bireme = places.bireme();
    anyhow::ensure!(bireme.exists(), "cargo built no {}", bireme.display());
    Ok(bireme)
}

/// Builds the server and the native module in one cargo run; returns the module's shared object.
fn compile(places: &Places) -> anyhow::Result<PathBuf> {
    let step = Step::begin("Release build of bireme and of Python's native module");
    let mut command = Command::new(cargo());
    command
        .args(["build", "--release", "--package", "bireme", "--package", NATIVE])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(&places.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("could not run cargo build")?;
    let mut native = None;
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
            if let Some(file) = shared_object(&message) {
                native = Some(file);
            }
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "cargo build failed ({status})");
    step.done();
    native.context("cargo built no shared object for Python's native module")
}

/// The native module's file, when a message of cargo announces it.
fn shared_object(message: &Value) -> Option<PathBuf> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let kinds = message["target"]["kind"].as_array()?;
    if !kinds.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    message["filenames"].as_array()?.iter().filter_map(Value::as_str).find(|f| f.ends_with(".so")).map(PathBuf::from)
}

/// Fills the runtime folder. It is made beside the old one and then takes its place, so that a server that is
/// running meanwhile never sees half of it.
fn assemble(places: &Places, native: &Path, runtime: &Path) -> anyhow::Result<()> {
    let fresh = runtime.with_extension("new");
    remove(&fresh)?;
    copy_tree(&places.root.join("node/src"), &fresh.join("node/src"))?;
    let python = fresh.join("python");
    copy_tree(&places.root.join("python/src/bireme"), &python.join("bireme"))?;
    let launch = places.root.join("python/src/launch.py");
    fs::copy(&launch, python.join("launch.py")).with_context(|| format!("could not copy {}", launch.display()))?;
    let module = python.join("bireme/_native.abi3.so");
    fs::copy(native, &module).with_context(|| format!("could not copy {}", native.display()))?;
    let old = runtime.with_extension("old");
    remove(&old)?;
    if runtime.exists() {
        fs::rename(runtime, &old)?;
    }
    fs::rename(&fresh, runtime)?;
    remove(&old)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    Ok(())
}

/// Copies source files; caches and installed packages stay behind.
fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if matches!(text.as_ref(), "__pycache__" | "node_modules") || text.ends_with(".so") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else {
            fs::copy(entry.path(), to.join(&name))
                .with_context(|| format!("could not copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shared_library_counts_as_the_native_module() {
        let artifact = |kind: &str, file: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "target": { "kind": [kind] }, "filenames": [file],
            })
        };
        assert_eq!(shared_object(&artifact("cdylib", "/t/lib_native.so")), Some("/t/lib_native.so".into()));
        assert_eq!(shared_object(&artifact("proc-macro", "/t/libserde_derive.so")), None);
        assert_eq!(shared_object(&artifact("lib", "/t/libwire.rlib")), None);
    }
}
