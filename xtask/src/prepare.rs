//! Installing npm and pip packages into the build folder, once for each content of a lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::places::Places;
use crate::steps;
use crate::tools;

/// Raised when the way of installing changes, so that older folders are not trusted.
const RECIPE: u64 = 1;

/// Installs `folder`'s package-lock.json and links `folder/node_modules` to it.
pub fn node_modules(places: &Places, name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let manifest = folder.join("package.json");
    let lock = folder.join("package-lock.json");
    let key = fingerprint(&[&manifest, &lock], "")?;
    let place = places.prepared().join(name);
    let modules = place.join("node_modules");
    if !is_stamped(&place, &key) {
        let (_, npm) = tools::node()?;
        start_anew(&place)?;
        fs::copy(&manifest, place.join("package.json"))?;
        fs::copy(&lock, place.join("package-lock.json"))?;
        // What its packages' install scripts are told, where there is something to tell.
        let settings = folder.join(".npmrc");
        if settings.exists() {
            fs::copy(&settings, place.join(".npmrc"))?;
        }
        let mut command = Command::new(npm);
        command.args(["ci", "--no-fund", "--no-audit", "--loglevel=http"]).current_dir(&place);
        steps::run_quiet(&format!("npm packages of {}", places.short(folder)), &mut command, &place.join("npm.log"))?;
        stamp(&place, &key)?;
    }
    link(&folder.join("node_modules"), &modules)?;
    Ok(modules)
}

/// Makes a virtual environment of `python` with the packages of `requirements`; returns its folder.
pub fn venv(places: &Places, name: &str, python: &Path, requirements: &Path) -> anyhow::Result<PathBuf> {
    let key = fingerprint(&[requirements], &python.to_string_lossy())?;
    let place = places.prepared().join(name);
    let venv = place.join("venv");
    // An upgrade of the system's Python leaves a broken link behind.
    if !(is_stamped(&place, &key) && venv.join("bin/python").exists()) {
        start_anew(&place)?;
        let log = place.join("pip.log");
        let mut make = Command::new(python);
        make.args(["-m", "venv"]).arg(&venv);
        steps::run_quiet(&format!("virtual environment {name}"), &mut make, &log)?;
        let mut install = Command::new(venv.join("bin/python"));
        install
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"])
            .args(["-r".as_ref(), requirements.as_os_str()]);
        steps::run_quiet(&format!("pip packages of {}", places.short(requirements)), &mut install, &log)?;
        stamp(&place, &key)?;
    }
    Ok(venv)
}

/// Runs `make` in `folder` unless it has run since one of `inputs` changed: for builds of an application
/// (`next build`).
pub fn built(places: &Places, name: &str, inputs: &[&Path], make: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let key = fingerprint(inputs, "")?;
    let place = places.prepared().join(name);
    if !is_stamped(&place, &key) {
        fs::create_dir_all(&place)?;
        make()?;
        stamp(&place, &key)?;
    }
    Ok(())
}

/// Makes `link` a symbolic link to `target`, so that Node and Python find packages where people expect them.
/// A real folder that somebody installed there by hand stays as it is.
pub fn link(link: &Path, target: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => {
            if fs::read_link(link)? == target {
                return Ok(());
            }
            fs::remove_file(link)?;
        }
        Ok(_) => {
            steps::say(&format!("  {} is not a link; using it as it is", link.display()));
            return Ok(());
        }
        Err(_) => {}
    }
    std::os::unix::fs::symlink(target, link).with_context(|| format!("could not link {}", link.display()))
}

fn start_anew(place: &Path) -> anyhow::Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("could not empty {}", place.display()))?;
    }
    fs::create_dir_all(place).with_context(|| format!("could not create {}", place.display()))
}

fn is_stamped(place: &Path, key: &str) -> bool {
    fs::read_to_string(place.join("stamp")).is_ok_and(|found| found == key)
}

fn stamp(place: &Path, key: &str) -> anyhow::Result<()> {
    fs::write(place.join("stamp"), key).with_context(|| format!("could not write into {}", place.display()))
}

/// FNV-1a over the files and `salt`: tells an edited lock file from the installed one, nothing more.
fn fingerprint(files: &[&Path], salt: &str) -> anyhow::Result<String> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ RECIPE;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    feed(salt.as_bytes());
    for file in files {
        feed(&fs::read(file).with_context(|| format!("could not read {}", file.display()))?);
    }
    Ok(format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_follow_content_and_salt() {
        let folder = std::env::temp_dir().join(format!("xtask-prepare-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("lock");
        fs::write(&file, "a").unwrap();
        let first = fingerprint(&[&file], "").unwrap();
        assert_eq!(first, fingerprint(&[&file], "").unwrap());
        assert_ne!(first, fingerprint(&[&file], "3.12").unwrap());
        fs::write(&file, "b").unwrap();
        assert_ne!(first, fingerprint(&[&file], "").unwrap());
        assert!(fingerprint(&[&folder.join("absent")], "").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
