//! `cargo xtask tidy`: what STYLE.md says of the crates, checked against cargo's own view of them; then rustfmt and clippy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::places::{Places, cargo};
use crate::steps::{run_loud, say};

/// A crate of ours and the crates of ours that it may depend on; the layers of STYLE.md. A crate that is not
/// named here is an error, so that a new one gets its place on purpose.
const LAYERS: [(&str, &[&str]); 17] = [
    ("wire", &[]),
    ("contract", &[]),
    ("typings", &[]),
    ("route", &[]),
    ("config", &[]),
    ("websocket", &[]),
    ("metrics", &[]),
    ("link", &["wire", "route", "config"]),
    ("supervise", &["link", "wire", "config"]),
    ("front", &["link", "wire", "route", "config", "websocket"]),
    ("compare", &["metrics", "supervise"]),
    ("bireme", &["front", "supervise", "compare", "link", "wire", "contract", "typings", "route", "config"]),
    ("memory", &[]),
    ("bireme-native", &["wire", "memory"]),
    ("bireme-node-native", &["memory"]),
    ("bench-sockets", &[]),
    ("xtask", &[]),
];

/// Crates that promise to know no runtime, clock or socket, and what they therefore may not depend on.
const PURE: [&str; 6] = ["wire", "contract", "typings", "route", "config", "websocket"];
const IMPURE: [&str; 5] = ["tokio", "hyper", "mio", "rustls", "rustix"];

/// Where `unsafe` may stand, beside the native module, whose whole job is another language's memory. Each of
/// these files says at its top why it needs it.
const UNSAFE_CRATES: [&str; 1] = ["bireme-native"];

/// Prints what is wrong and fails, or says that all is well.
pub fn check(places: &Places) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let packages = places.metadata["packages"].as_array().context("cargo metadata has no packages")?;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        check_directions(name, package, &mut faults);
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        if let Some(folder) = manifest.parent() {
            check_unsafe(places, name, folder, &mut faults)?;
        }
    }
    for fault in &faults {
        say(&format!("  {fault}"));
    }
    anyhow::ensure!(faults.is_empty(), "{} finding(s); the rules are in xtask/src/tidy.rs", faults.len());
    say("✓ tidy: dependency directions and unsafe code are as they should be");
    lint(places)
}

/// rustfmt and clippy, of the Rust version that the project names: another one has other opinions.
fn lint(places: &Places) -> anyhow::Result<()> {
    let wanted = places.metadata["packages"][0]["rust_version"].as_str().unwrap_or_default();
    let rust = Command::new("rustc").arg("--version").current_dir(&places.root).output();
    let version = rust.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !version.starts_with(&format!("rustc {wanted}")) {
        say(&format!("- rustfmt and clippy are left out: they are for Rust {wanted}, and this is {}", version.trim()));
        return Ok(());
    }
    let chores: [(&str, &[&str]); 2] = [
        ("fmt", &["--all", "--", "--check"]),
        ("clippy", &["--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
    ];
    for (chore, arguments) in chores {
        let there = Command::new(cargo()).args([chore, "--version"]).output().is_ok_and(|output| output.status.success());
        if !there {
            say(&format!("- cargo {chore} is not installed and is left out"));
            continue;
        }
        run_loud(&format!("cargo {chore}"), Command::new(cargo()).arg(chore).args(arguments).current_dir(&places.root))?;
    }
    Ok(())
}

fn check_directions(name: &str, package: &Value, faults: &mut Vec<String>) {
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        faults.push(format!("crate {name} has no layer: add it to LAYERS"));
        return;
    };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    for dependency in dependencies {
        // Tests may reach for what the crate itself may not.
        if dependency["kind"] == "dev" {
            continue;
        }
        let target = dependency["name"].as_str().unwrap_or_default();
        let ours = LAYERS.iter().any(|(layer, _)| *layer == target);
        if ours && !allowed.contains(&target) {
            faults.push(format!("crate {name} must not depend on {target}"));
        }
        if PURE.contains(&name) && IMPURE.contains(&target) {
            faults.push(format!("crate {name} is pure and must not depend on {target}"));
        }
    }
}

/// Every source file with `unsafe` code belongs to a crate that may have it, or to a module that allows it by
/// name, next to a comment that says why.
fn check_unsafe(places: &Places, name: &str, folder: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    collect_sources(&folder.join("src"), &mut sources)?;
    for file in sources {
        let text = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if !opens_unsafe(line) {
                continue;
            }
            let at = format!("{}:{}", places.short(&file), index + 1);
            let justified = lines[index.saturating_sub(8)..=index].iter().any(|l| l.contains("SAFETY:"));
            if !justified {
                faults.push(format!("{at}: unsafe code without a SAFETY: comment above it"));
            }
            if !UNSAFE_CRATES.contains(&name) && !text.contains("allow(unsafe_code") {
                faults.push(format!("{at}: unsafe code outside of the modules that allow it"));
            }
        }
    }
    Ok(())
}

/// Whether a line of Rust opens an unsafe block, function or implementation.
fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default().trim_start();
    ["{", "impl", "extern"].iter().any(|item| code.contains(&["unsafe", item].join(" ")))
}

fn collect_sources(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_sources(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(name: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let package = serde_json::json!({ "dependencies": [{ "name": dependency, "kind": kind }] });
        let mut faults = Vec::new();
        check_directions(name, &package, &mut faults);
        faults
    }

    #[test]
    fn dependencies_point_one_way() {
        assert!(faults_of("front", "link", None).is_empty());
        assert!(faults_of("link", "tokio", None).is_empty());
        assert!(faults_of("wire", "tokio", Some("dev")).is_empty());
        assert_eq!(faults_of("wire", "tokio", None), ["crate wire is pure and must not depend on tokio"]);
        assert_eq!(faults_of("front", "supervise", None), ["crate front must not depend on supervise"]);
        assert_eq!(faults_of("novel", "wire", None), ["crate novel has no layer: add it to LAYERS"]);
    }

    #[test]
    fn unsafe_is_seen_in_code_and_not_in_comments() {
        // Split so that this file's own text does not look like unsafe code.
        let block = ["unsafe", " { x }"].concat();
        assert!(opens_unsafe(&format!("    let y = {block};")));
        assert!(!opens_unsafe(&format!("    // {block}")));
        assert!(!opens_unsafe("#![forbid(unsafe_code)]"));
    }
}
