//! Installed packages: which ones a program reaches, and what they weigh on disk. Reads folders as Node and Python do; asks no registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Files of packages that are weighed at most.
const FILES_MAX: usize = 500_000;

/// Packages that a program reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// Name and version of each, in order.
    pub names: Vec<String>,
    /// Of their files together, on disk.
    pub bytes: u64,
}

/// Packages that JavaScript files import by name, and what these depend on: found in `node_modules` at the importing file or above, as Node does,
/// whichever tool installed them. What is not there, such as Node's own modules, is left out.
pub fn node_packages(imports: &BTreeSet<(PathBuf, String)>) -> Packages {
    let mut waiting: Vec<PathBuf> = imports.iter().filter_map(|(file, name)| installed_at(file.parent()?, name)).collect();
    let mut seen = BTreeSet::new();
    let mut packages = Packages::default();
    while let Some(folder) = waiting.pop() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        let manifest = fs::read(folder.join("package.json")).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let Some(manifest) = manifest else { continue };
        let part = |key: &str| manifest[key].as_str().unwrap_or("?").to_owned();
        packages.names.push(format!("{} {}", part("name"), part("version")));
        packages.bytes += weight(&folder);
        for key in ["dependencies", "optionalDependencies", "peerDependencies"] {
            let names = manifest[key].as_object().into_iter().flat_map(|dependencies| dependencies.keys());
            waiting.extend(names.filter_map(|name| installed_at(&folder, name)));
        }
    }
    packages.names.sort();
    packages
}

fn installed_at(folder: &Path, name: &str) -> Option<PathBuf> {
    let place =
        folder.ancestors().map(|above| above.join("node_modules").join(name)).find(|path| path.join("package.json").is_file())?;
    // Some tools keep packages elsewhere and link to them; what they depend on lies there.
    place.canonicalize().ok()
}

/// Bytes of a package's files, without packages inside of it.
fn weight(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut files = 0;
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            if files > FILES_MAX {
                return bytes;
            }
            // Links are not followed: `metadata` of an entry is the link's own.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && entry.file_name() != "node_modules" {
                waiting.push(entry.path());
            } else if metadata.is_file() {
                bytes += metadata.len();
            }
        }
    }
    bytes
}

/// Distributions that Python's top-level modules `imports` come from, and what these require, by the metadata in the interpreter's
/// `site-packages`. Requirements of extras do not count, and what is not installed, because a marker rules it out, does not either.
/// Sizes are those that the installer recorded; byte code is not among them.
pub fn python_packages(interpreter: &Path, imports: &BTreeSet<String>) -> Packages {
    let installed = distributions(interpreter);
    let by_module: BTreeMap<&str, &str> =
        installed.iter().flat_map(|(name, it)| it.modules.iter().map(|module| (module.as_str(), name.as_str()))).collect();
    let mut waiting: Vec<&str> = imports.iter().filter_map(|module| by_module.get(module.as_str()).copied()).collect();
    let mut seen = BTreeSet::new();
    let mut packages = Packages::default();
    while let Some(name) = waiting.pop() {
        let Some((name, distribution)) = installed.get_key_value(name) else { continue };
        if seen.insert(name) {
            packages.names.push(format!("{name} {}", distribution.version));
            packages.bytes += distribution.bytes;
            waiting.extend(distribution.requires.iter().map(String::as_str));
        }
    }
    packages.names.sort();
    packages
}

struct Distribution {
    version: String,
    requires: Vec<String>,
    modules: BTreeSet<String>,
    bytes: u64,
}

fn distributions(interpreter: &Path) -> BTreeMap<String, Distribution> {
    let mut found = BTreeMap::new();
    for folder in site_packages(interpreter) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "dist-info") {
                let metadata = fs::read_to_string(path.join("METADATA")).unwrap_or_default();
                let record = fs::read_to_string(path.join("RECORD")).unwrap_or_default();
                let (name, distribution) = distribution(&metadata, &record);
                found.entry(name).or_insert(distribution);
            }
        }
    }
    found
}

/// `lib/python3.X/site-packages` of the environment whose `bin` holds the interpreter. The interpreter's own link is not followed: that is
/// what makes an environment.
fn site_packages(interpreter: &Path) -> Vec<PathBuf> {
    let Some(environment) = interpreter.parent().and_then(Path::parent) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = fs::read_dir(environment.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .flat_map(|entry| [entry.path().join("site-packages"), entry.path().join("dist-packages")])
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// Reads a distribution's METADATA (core metadata) and RECORD (PEP 376, one `path,hash,size` a line).
fn distribution(metadata: &str, record: &str) -> (String, Distribution) {
    let mut name = String::new();
    let mut it = Distribution { version: String::new(), requires: Vec::new(), modules: BTreeSet::new(), bytes: 0 };
    for line in metadata.lines().take_while(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some(("Name", value)) => name = normal(value),
            Some(("Version", value)) => it.version = value.to_owned(),
            Some(("Requires-Dist", value)) if !value.contains("extra ==") => {
                let end =
                    value.find(|letter: char| !letter.is_ascii_alphanumeric() && !"._-".contains(letter)).unwrap_or(value.len());
                it.requires.push(normal(&value[..end]));
            }
            _ => {}
        }
    }
    for line in record.lines() {
        let mut fields = line.rsplitn(3, ',');
        let size = fields.next().and_then(|size| size.parse::<u64>().ok());
        let path = fields.nth(1).unwrap_or_default().trim_matches('"');
        it.bytes += size.unwrap_or(0);
        let first = path.split('/').next().unwrap_or_default();
        // A module is a folder, `name.py` or `name.cpython-….so`; `../../bin/x` and `x.dist-info` are none.
        let module = first.split('.').next().unwrap_or_default();
        if !module.is_empty() && !first.ends_with(".dist-info") {
            it.modules.insert(module.to_owned());
        }
    }
    (name, it)
}

/// One spelling for a distribution's name (PEP 503).
fn normal(name: &str) -> String {
    let mut normal = String::new();
    for letter in name.trim().chars() {
        match letter {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            letter => normal.extend(letter.to_lowercase()),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_read_from_its_metadata() {
        let metadata = "Metadata-Version: 2.1\nName: Fast_API\nVersion: 1.2\nRequires-Dist: Starlette<2,>=1\nRequires-Dist: typing.extensions ; python_version < \"3.9\"\n\
                        Requires-Dist: uvicorn ; extra == 'all'\n\nRequires-Dist: text of the description\n";
        let record = "fastapi/__init__.py,sha256=a,100\nfastapi/__pycache__/x.pyc,,\n../../bin/fastapi,sha256=b,20\nfastapi.dist-info/RECORD,,\n_speed.cpython-311.so,sha256=c,3\n";
        let (name, distribution) = distribution(metadata, record);
        assert_eq!(name, "fast-api");
        assert_eq!(distribution.version, "1.2");
        assert_eq!(distribution.requires, ["starlette", "typing-extensions"]);
        assert_eq!(distribution.bytes, 123);
        assert_eq!(distribution.modules.iter().collect::<Vec<_>>(), ["_speed", "fastapi"]);
    }
}
