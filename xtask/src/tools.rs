//! Finding the tools that the chores need, and saying how to get those that are missing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::places::Places;
use crate::steps;

/// Daemons' folders are missing from an ordinary user's PATH on Debian.
const EXTRA_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A tool's file, found as a shell would find it.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(EXTRA_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// A tool that must be there already, because it is part of what the project asks of a machine.
pub fn require(name: &str, what_to_do: &str) -> anyhow::Result<PathBuf> {
    which(name).with_context(|| format!("{name} is missing; {what_to_do}"))
}

/// Node at least 20 and npm.
pub fn node() -> anyhow::Result<(PathBuf, PathBuf)> {
    let advice = "install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)";
    let node = require("node", advice)?;
    let version = output(Command::new(&node).arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|m| m.parse::<u32>().ok());
    anyhow::ensure!(major.is_some_and(|m| m >= 20), "{} is {}, too old; {advice}", node.display(), version.trim());
    Ok((node, require("npm", advice)?))
}

/// Python at least 3.10 whose `venv` module works.
pub fn python(places: &Places) -> anyhow::Result<PathBuf> {
    let advice = "install Python 3.10 or newer with venv (Debian: apt-get install python3 python3-venv)";
    let python = require("python3", advice)?;
    let version = output(Command::new(&python).args(["-c", "import sys; print('%d %d' % sys.version_info[:2])"]))?;
    let mut numbers = version.split_whitespace().filter_map(|n| n.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    anyhow::ensure!(found >= (3, 10), "{} is Python {}.{}, too old; {advice}", python.display(), found.0, found.1);
    // Debian ships the venv module without what it needs to run.
    if output(Command::new(&python).args(["-c", "import ensurepip"])).is_err() {
        install(places, "python3-venv", "python3's ensurepip module")?;
    }
    Ok(python)
}

/// Other CPythons on this machine from 3.10 on, newest first: those on PATH and those that pyenv keeps.
pub fn other_pythons() -> Vec<(String, PathBuf)> {
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv")));
    let mut kept: Vec<PathBuf> = pyenv
        .and_then(|root| std::fs::read_dir(root.join("versions")).ok())
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    kept.sort();
    let mut found = Vec::new();
    for minor in (10..=14).rev() {
        let version = format!("3.{minor}");
        let prefix = format!("{version}.");
        let from_pyenv = kept
            .iter()
            .rev()
            .find(|folder| folder.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)))
            .map(|folder| folder.join("bin/python"));
        let candidates = [from_pyenv, which(&format!("python{version}"))];
        // pyenv's shims exist for versions that are not selected and then fail, so each candidate is asked.
        let working = candidates.into_iter().flatten().find(|file| {
            let script = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])";
            output(Command::new(file).args(["-c", script])).is_ok_and(|v| v.trim() == version)
        });
        if let Some(file) = working {
            found.push((version, file));
        }
    }
    found
}

/// A program of a Debian package; installed when missing and we are root.
pub fn debian(places: &Places, program: &str, package: &str) -> anyhow::Result<PathBuf> {
    if let Some(file) = which(program) {
        return Ok(file);
    }
    install(places, package, program)?;
    which(program).with_context(|| format!("{package} is installed, but {program} is not on PATH"))
}

fn install(places: &Places, package: &str, missing: &str) -> anyhow::Result<()> {
    let apt = which("apt-get");
    // /proc/self belongs to the effective user.
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    let (Some(apt), true) = (apt, root) else {
        anyhow::bail!("{missing} is missing; run: sudo apt-get install {package}");
    };
    std::fs::create_dir_all(places.prepared())?;
    let log = places.prepared().join(format!("apt-{package}.log"));
    let mut update = Command::new(&apt);
    steps::run_quiet("apt-get update", update.arg("update"), &log)?;
    let mut command = Command::new(&apt);
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends", package]);
    steps::run_quiet(&format!("Install {package} from Debian"), &mut command, &log)
}

/// What a program prints, when it succeeds.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("could not run {}", steps::shown(command)))?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed: {}",
        steps::shown(command),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0)
}
