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

/// The packages of native modules, and the files that the runtime folder has of them.
const NATIVE: [(&str, &str); 2] =
    [("bireme-native", "python/bireme/_native.abi3.so"), ("bireme-node-native", "node/src/native.node")];

/// Builds everything that `bireme serve` needs; returns the server's path.
pub fn build(places: &Places) -> anyhow::Result<PathBuf> {
    tools::require("cc", "install a C compiler (Debian: apt-get install gcc)")?;
    let modules = compile(places)?;
    let step = Step::begin("Runtime folder");
    let runtime = places.target.join("release/runtime");
    assemble(places, &modules, &runtime)?;
    step.done();
    let bireme = places.bireme();
    anyhow::ensure!(bireme.exists(), "cargo built no {}", bireme.display());
    Ok(bireme)
}

/// Builds the bench's WebSocket clients; returns their path.
pub fn bench_sockets(places: &Places) -> anyhow::Result<PathBuf> {
    let step = Step::begin("Release build of the bench's WebSocket clients");
    let mut command = Command::new(cargo());
    command.args(["build", "--release", "--package", "bench-sockets"]).current_dir(&places.root);
    let status = command.status().context("could not run cargo build")?;
    anyhow::ensure!(status.success(), "cargo build failed ({status})");
    step.done();
    Ok(places.target.join("release/bench-sockets"))
}

/// Builds the server and the native modules in one cargo run; returns the modules' shared objects, in the order of
/// [`NATIVE`].
fn compile(places: &Places) -> anyhow::Result<Vec<PathBuf>> {
    let step = Step::begin("Release build of bireme and of its native modules");
    let mut command = Command::new(cargo());
    command.args(["build", "--release", "--package", "bireme"]);
    for (package, _) in NATIVE {
        command.args(["--package", package]);
    }
    command.arg("--message-format=json-render-diagnostics").current_dir(&places.root).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("could not run cargo build")?;
    let mut built: [Option<PathBuf>; NATIVE.len()] = Default::default();
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
            for (place, (package, _)) in built.iter_mut().zip(NATIVE) {
                if let Some(file) = shared_object(&message, package) {
                    *place = Some(file);
                }
            }
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "cargo build failed ({status})");
    step.done();
    let built = built.into_iter().zip(NATIVE);
    built.map(|(file, (package, _))| file.with_context(|| format!("cargo built no shared object of {package}"))).collect()
}

/// The file of a package's shared object, when a message of cargo announces it.
fn shared_object(message: &Value, package: &str) -> Option<PathBuf> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    // The manifest's folder and the package's name are both part of the id; a folder may have another name.
    let id = message["package_id"].as_str()?;
    let ours = id.rsplit(['/', '#']).next().is_some_and(|last| last.split('@').next() == Some(package));
    let kinds = message["target"]["kind"].as_array()?;
    if !ours || !kinds.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    message["filenames"].as_array()?.iter().filter_map(Value::as_str).find(|f| f.ends_with(".so")).map(PathBuf::from)
}

/// Fills the runtime folder. It is made beside the old one and then takes its place, so that a server that is
/// running meanwhile never sees half of it.
fn assemble(places: &Places, modules: &[PathBuf], runtime: &Path) -> anyhow::Result<()> {
    let fresh = runtime.with_extension("new");
    remove(&fresh)?;
    copy_tree(&places.root.join("node/src"), &fresh.join("node/src"))?;
    let python = fresh.join("python");
    copy_tree(&places.root.join("python/src/bireme"), &python.join("bireme"))?;
    // With package.json, `npm install` takes the folder for programs that no bireme starts.
    for (from, to) in [("python/src/launch.py", "python/launch.py"), ("node/package.json", "node/package.json")] {
        let file = places.root.join(from);
        fs::copy(&file, fresh.join(to)).with_context(|| format!("could not copy {}", file.display()))?;
    }
    for (module, (_, file)) in modules.iter().zip(NATIVE) {
        fs::copy(module, fresh.join(file)).with_context(|| format!("could not copy {}", module.display()))?;
    }
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
        if matches!(text.as_ref(), "__pycache__" | "node_modules") || text.ends_with(".so") || text.ends_with(".node") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else {
            fs::copy(entry.path(), to.join(&name)).with_context(|| format!("could not copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shared_library_counts_as_a_native_module() {
        let artifact = |kind: &str, file: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "target": { "kind": [kind] }, "filenames": [file],
                "package_id": "path+file:///r/python/native#bireme-native@0.1.0",
            })
        };
        let of = |message| shared_object(&message, "bireme-native");
        assert_eq!(of(artifact("cdylib", "/t/lib_native.so")), Some("/t/lib_native.so".into()));
        assert_eq!(of(artifact("proc-macro", "/t/libserde_derive.so")), None);
        assert_eq!(of(artifact("lib", "/t/libwire.rlib")), None);
        assert_eq!(shared_object(&artifact("cdylib", "/t/lib_native.so"), "native"), None);
    }
}
