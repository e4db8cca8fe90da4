//! What people name as an application: `./server.js`, `web/`, `main:app`, `ml=pkg.app:create()`, `main.py`.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::App;

/// An argument of `bireme serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Given as `NAME=`, or made of the application's own name.
    pub name: String,
    pub app: App,
}

const NODE_EXTENSIONS: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];

/// Reads an argument; paths are relative to `folder`. The error says what to write.
pub(crate) fn read(text: &str, folder: &Path) -> Result<Target, String> {
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) if is_name(name) => (Some(name.to_owned()), rest),
        Some((name, _)) if !name.contains(['/', '.', ':']) => return Err(wrong_name(name)),
        _ => (None, text),
    };
    let app = if rest.is_empty() {
        return Err(format!("\"{text}\" names no application; write \"{text}./server.js\" or \"{text}main:app\""));
    } else if is_node(rest, folder) {
        App::Node { entry: node_entry(&folder.join(rest))? }
    } else if is_python(rest, folder) {
        App::Python { target: python_target(rest)? }
    } else {
        return Err(format!(
            "\"{rest}\" is neither a file or folder for Node nor a module for Python here; write the path of a program \
             (\"./server.js\") or a module and its attribute (\"main:app\")"
        ));
    };
    let name = name.unwrap_or_else(|| name_of(&app));
    Ok(Target { name, app })
}

/// Service names appear in logs, metrics and file names.
pub(crate) fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    text.len() <= 64 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(inside)
}

pub(crate) fn wrong_name(name: &str) -> String {
    format!(
        "\"{name}\" is no name for a service; use lower-case letters, digits, \"-\" and \"_\", beginning with a letter, at \
         most 64"
    )
}

fn is_node(text: &str, folder: &Path) -> bool {
    let path = Path::new(text);
    let extension = path.extension().and_then(OsStr::to_str);
    if extension.is_some_and(|extension| NODE_EXTENSIONS.contains(&extension)) {
        return true;
    }
    let path = folder.join(path);
    // `pkg` may be a Python package and `web` a Node one: their own files tell them apart.
    if path.is_dir() { path.join("package.json").is_file() || index_of(&path).is_some() } else { has_node_shebang(&path) }
}

fn is_python(text: &str, folder: &Path) -> bool {
    if text.contains(':') || text.ends_with(".py") {
        return true;
    }
    let path = folder.join(text.replace('.', "/"));
    !text.contains('/') && (path.with_extension("py").is_file() || path.join("__init__.py").is_file())
}

fn has_node_shebang(path: &Path) -> bool {
    let mut start = [0; 64];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    let line = start[..read].split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.starts_with(b"#!") && line.ends_with(b"node")
}

/// The file that `node` would run for a path: itself, or what the folder's `package.json` calls its `main`.
pub(crate) fn node_entry(path: &Path) -> Result<PathBuf, String> {
    let path: PathBuf = path.components().collect();
    if !path.is_dir() {
        return Ok(path);
    }
    let manifest = path.join("package.json");
    let main = match fs::read_to_string(&manifest) {
        Ok(text) => {
            let json: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", manifest.display()))?;
            json.get("main").and_then(|main| main.as_str()).map(|main| path.join(main).components().collect::<PathBuf>())
        }
        Err(_) => None,
    };
    let file = main.and_then(|main| {
        let with_extension = || NODE_EXTENSIONS.iter().map(|extension| main.with_extension(extension));
        if main.is_dir() {
            index_of(&main)
        } else {
            std::iter::once(main.clone()).chain(with_extension()).find(|file| file.is_file())
        }
    });
    file.or_else(|| index_of(&path)).ok_or_else(|| {
        format!(
            "{} is a folder whose package.json names no existing \"main\", and it has no index.js; name the program's file",
            path.display()
        )
    })
}

fn index_of(folder: &Path) -> Option<PathBuf> {
    NODE_EXTENSIONS.iter().map(|extension| folder.join("index").with_extension(extension)).find(|file| file.is_file())
}

/// `module`, `module:attribute` or `module:factory()`; a path such as `ml/app.py` becomes `ml.app`.
pub(crate) fn python_target(text: &str) -> Result<String, String> {
    let (module, attribute) = match text.split_once(':') {
        Some((module, attribute)) => (module, Some(attribute)),
        None => (text, None),
    };
    let module = match module.strip_suffix(".py") {
        Some(path) => module_of(path)?,
        None => module.to_owned(),
    };
    let parts = |text: &str| text.split('.').all(|part| !part.is_empty() && !part.contains(['/', '\\', ' ', ':', '=']));
    if !parts(&module) {
        return Err(format!("\"{text}\" names no Python module; write \"package.module:attribute\", such as \"main:app\""));
    }
    match attribute {
        None => Ok(module),
        Some(attribute) if parts(attribute.strip_suffix("()").unwrap_or(attribute)) => Ok(format!("{module}:{attribute}")),
        Some(_) => Err(format!(
            "\"{text}\" has no attribute after the colon; write \"{module}:app\", or \"{module}:create_app()\" for a factory"
        )),
    }
}

fn module_of(path: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name.to_string_lossy()),
            _ => {
                return Err(format!(
                    "\"{path}.py\" lies outside of the service's folder; set \"cwd\" to its folder and name the module"
                ));
            }
        }
    }
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "__init__") {
        parts.pop();
    }
    Ok(parts.join("."))
}

fn name_of(app: &App) -> String {
    let own = match app {
        App::Node { entry } => {
            let stem = entry.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            let folder = entry.parent().and_then(Path::file_name).and_then(OsStr::to_str);
            if stem == "index" { folder.unwrap_or(stem).to_owned() } else { stem.to_owned() }
        }
        App::Python { target } => target.split([':', '.']).next().unwrap_or_default().to_owned(),
    };
    let own = own.to_ascii_lowercase().replace('.', "-");
    if is_name(&own) { own } else { "app".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of an invented project, argument, and `name app` or a part of the error.
    fn check(files: &[(&str, &str)], text: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let got = match read(text, folder.path()) {
            Ok(Target { name, app: App::Node { entry } }) => {
                format!("{name} node {}", entry.strip_prefix(folder.path()).unwrap_or(&entry).display())
            }
            Ok(Target { name, app: App::Python { target } }) => format!("{name} python {target}"),
            Err(error) => error,
        };
        assert!(got == expected || (got.len() > 40 && got.contains(expected)), "{text}: {got}");
    }

    #[test]
    fn programs_for_node() {
        check(&[], "./server.js", "server node server.js");
        check(&[], "web=./a/server.mts", "web node a/server.mts");
        check(
            &[("web/package.json", r#"{"main": "lib/start"}"#), ("web/lib/start.cjs", "")],
            "web",
            "start node web/lib/start.cjs",
        );
        check(&[("web/package.json", "{}"), ("web/index.js", "")], "web/", "web node web/index.js");
        check(&[("web/package.json", "{")], "web", "package.json: ");
        check(&[("web/package.json", "{}")], "web", "names no existing \"main\"");
        check(&[("bin/next", "#!/usr/bin/env node\n")], "site=bin/next", "site node bin/next");
        check(&[], "/srv/x.js", "x node /srv/x.js");
    }

    #[test]
    fn modules_for_python() {
        check(&[], "main:app", "main python main:app");
        check(&[], "ml=pkg.app:create()", "ml python pkg.app:create()");
        check(&[("main.py", "")], "main", "main python main");
        check(&[("pkg/app.py", "")], "pkg.app", "pkg python pkg.app");
        check(&[], "./ml/app.py", "ml python ml.app");
        check(&[], "app.py:api", "app python app:api");
        check(&[], "ml/__init__.py", "ml python ml");
        check(&[], "../x.py", "outside of the service's folder");
        check(&[], "main:", "no attribute after the colon");
        check(&[], "a/b:app", "names no Python module");
    }

    #[test]
    fn what_is_neither_is_said() {
        check(&[], "nothing", "neither a file or folder for Node nor a module");
        check(&[], "web=", "names no application");
        check(&[], "Web App=./server.js", "no name for a service");
    }
}
