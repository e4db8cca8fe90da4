//! Which `node` or `python` runs a service, found as people expect, and why that one.
//!
//! `interpreter` looks at files and never runs a program: what it chose reports its version itself, in HELLO.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A worker's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// JavaScript or TypeScript on Node.js.
    Node,
    /// CPython.
    Python,
}

impl Language {
    /// As HELLO says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Node => "node",
            Language::Python => "python",
        }
    }

    /// Whether workers run on this version (`24.1.0`); if not, what to do.
    ///
    /// # Errors
    /// One line for the log, and a hint.
    pub fn check_version(self, version: &str) -> Result<(), (String, String)> {
        let mut numbers = version.trim_start_matches('v').split('.').map(|n| n.parse::<u32>().ok());
        let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
        let (supported, wanted) = match (self, major, minor) {
            (Language::Node, Some(major), _) => (major >= 20, "Node.js 20 or newer"),
            (Language::Python, Some(major), Some(minor)) => (major == 3 && minor >= 10, "Python 3.10 or newer"),
            _ => return Err((format!("the version {version:?} is not one of {}", self.as_str()), String::new())),
        };
        if supported {
            return Ok(());
        }
        let hint = format!("install {wanted}, or set `interpreter` in the service's section to one");
        Err((format!("{} {version} is too old: {wanted} is needed", self.as_str()), hint))
    }
}

/// The program that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// What it runs.
    pub language: Language,
    /// The program. Links are not followed: a virtual environment is recognised by the link's own place.
    pub path: PathBuf,
    /// Why it was chosen: `VIRTUAL_ENV`, `from PATH`, …
    pub why: String,
}

/// No interpreter; displays what was looked for and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound(String);

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFound {}

/// What the search depends on, read once by the caller.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `PATH`.
    pub path: Option<OsString>,
    /// `VIRTUAL_ENV`.
    pub virtual_env: Option<PathBuf>,
}

impl Surroundings {
    /// From this process's environment, with what the service's own `env` says on top.
    pub fn from_env(service_env: &[(String, String)]) -> Surroundings {
        let get = |name: &str| {
            let own = service_env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| OsString::from(value));
            own.or_else(|| std::env::var_os(name)).filter(|value| !value.is_empty())
        };
        Surroundings { path: get("PATH"), virtual_env: get("VIRTUAL_ENV").map(PathBuf::from) }
    }

    fn on_path(&self, name: impl AsRef<OsStr>) -> Option<PathBuf> {
        let name = name.as_ref();
        std::env::split_paths(self.path.as_ref()?)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|file| is_program(file))
    }
}

/// Finds `node`: the setting, or `PATH` (which nvm, volta, fnm and mise arrange).
///
/// # Errors
/// When the setting names no program, or there is no `node`.
pub fn find_node(setting: Option<&Path>, surroundings: &Surroundings) -> Result<Interpreter, NotFound> {
    let language = Language::Node;
    if let Some(setting) = setting {
        let path = from_setting(setting, &["bin/node", "node"], surroundings)?;
        return Ok(Interpreter { language, path, why: "set by `interpreter`".to_owned() });
    }
    match surroundings.on_path("node") {
        Some(path) => Ok(Interpreter { language, path, why: "from PATH".to_owned() }),
        None => Err(NotFound(
            "no `node` in PATH: install Node.js 20 or newer, or set `interpreter` in the service's section to its path"
                .to_owned(),
        )),
    }
}

/// Finds Python: the setting (a program or a virtual environment), `VIRTUAL_ENV`, a `.venv` or `venv` in `folder` or
/// one of its parents up to `root`, `python3` or `python` in `PATH`.
///
/// # Errors
/// When the setting names no program, or there is no Python.
pub fn find_python(
    setting: Option<&Path>,
    folder: &Path,
    root: &Path,
    surroundings: &Surroundings,
) -> Result<Interpreter, NotFound> {
    let language = Language::Python;
    let in_environment = ["bin/python", "bin/python3"];
    if let Some(setting) = setting {
        let path = from_setting(setting, &in_environment, surroundings)?;
        return Ok(Interpreter { language, path, why: "set by `interpreter`".to_owned() });
    }
    let mut aside = String::new();
    if let Some(environment) = &surroundings.virtual_env {
        if let Some(path) = program_in(environment, &in_environment) {
            return Ok(Interpreter { language, path, why: "VIRTUAL_ENV".to_owned() });
        }
        aside = format!("; VIRTUAL_ENV is {}, which holds no Python", environment.display());
    }
    let within_root = folder.ancestors().take_while(|ancestor| ancestor.starts_with(root));
    for ancestor in std::iter::once(folder).chain(within_root.skip(1)) {
        for name in ENVIRONMENTS {
            let environment = ancestor.join(name);
            if is_environment(&environment)
                && let Some(path) = program_in(&environment, &in_environment)
            {
                let place = if ancestor == folder { "beside the application" } else { "above the application" };
                return Ok(Interpreter { language, path, why: format!("{name} {place}{aside}") });
            }
        }
    }
    for name in ["python3", "python"] {
        if let Some(path) = surroundings.on_path(name) {
            return Ok(Interpreter { language, path, why: format!("{name} from PATH{aside}") });
        }
    }
    Err(NotFound(format!(
        "no Python: neither a .venv in {} nor `python3` in PATH{aside}; make one with `python3 -m venv .venv`, or set `interpreter` in the service's section to a Python or a virtual environment",
        folder.display()
    )))
}

/// Names under which people keep a virtual environment beside their code.
const ENVIRONMENTS: [&str; 2] = [".venv", "venv"];

/// Whether a folder holds a virtual environment that [`find_python`] would choose.
pub(crate) fn has_environment(folder: &Path) -> bool {
    ENVIRONMENTS.iter().any(|name| is_environment(&folder.join(name)))
}

/// By the file that makes a folder a virtual environment (PEP 405).
fn is_environment(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file()
}

/// A program, a folder that holds one, or the name of one in `PATH`.
fn from_setting(setting: &Path, inside: &[&str], surroundings: &Surroundings) -> Result<PathBuf, NotFound> {
    if is_program(setting) {
        return Ok(setting.to_path_buf());
    }
    if setting.is_dir() {
        return program_in(setting, inside)
            .ok_or_else(|| NotFound(format!("`interpreter` is the folder {}, which holds no {}", setting.display(), inside[0])));
    }
    let bare_name = setting.components().count() == 1 && !setting.is_absolute();
    if bare_name && let Some(path) = surroundings.on_path(setting) {
        return Ok(path);
    }
    let what = match () {
        () if bare_name => "is not a program in PATH",
        () if setting.exists() => "is not an executable file",
        () => "does not exist",
    };
    Err(NotFound(format!("`interpreter` is {}, which {what}", setting.display())))
}

fn program_in(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder of files; names that hold `bin/` are executable.
    fn tree(name: &str, files: &[&str]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("bireme-interpreter-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            let mode = if file.contains("bin/") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        root
    }

    fn check_python(files: &[&str], setting: Option<&str>, virtual_env: Option<&str>, expected: Result<(&str, &str), &str>) {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = tree(&format!("python-{count}"), files);
        let surroundings =
            Surroundings { path: Some(root.join("usr/bin").into_os_string()), virtual_env: virtual_env.map(|v| root.join(v)) };
        let setting = setting.map(|s| if s.contains('/') { root.join(s) } else { PathBuf::from(s) });
        let found = find_python(setting.as_deref(), &root.join("app/src"), &root.join("app"), &surroundings);
        match (found, expected) {
            (Ok(found), Ok((path, why))) => {
                assert_eq!(found.path, root.join(path));
                assert!(found.why.contains(why), "{:?} does not say {why:?}", found.why);
            }
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (found, _) => panic!("{found:?} instead of {expected:?}"),
        }
        fs::remove_dir_all(root).unwrap();
    }

    const VENV: [&str; 2] = ["app/src/.venv/bin/python", "app/src/.venv/pyvenv.cfg"];

    #[test]
    fn the_setting_comes_first() {
        let files = [VENV[0], VENV[1], "other/bin/python", "usr/bin/python3.12"];
        check_python(&files, Some("other/bin/python"), None, Ok(("other/bin/python", "set by")));
        check_python(&files, Some("other/"), None, Ok(("other/bin/python", "set by")));
        check_python(&files, Some("python3.12"), None, Ok(("usr/bin/python3.12", "set by")));
        check_python(&files, Some("python3.9"), None, Err("is not a program in PATH"));
        check_python(&files, Some("missing/python"), None, Err("does not exist"));
        check_python(&files, Some("app/"), None, Err("holds no bin/python"));
        check_python(&files, Some("app/src/.venv/pyvenv.cfg"), None, Err("not an executable"));
    }

    #[test]
    fn environments_come_before_the_path() {
        let files = [VENV[0], VENV[1], "active/bin/python", "usr/bin/python3"];
        check_python(&files, None, Some("active"), Ok(("active/bin/python", "VIRTUAL_ENV")));
        check_python(&files, None, None, Ok((VENV[0], ".venv beside the application")));
        check_python(&files, None, Some("gone"), Ok((VENV[0], "which holds no Python")));
    }

    #[test]
    fn parents_are_searched_up_to_the_root() {
        let above = ["app/venv/bin/python", "app/venv/pyvenv.cfg", "usr/bin/python3"];
        check_python(&above, None, None, Ok(("app/venv/bin/python", "venv above the application")));
        let outside = [".venv/bin/python", ".venv/pyvenv.cfg", "usr/bin/python3"];
        check_python(&outside, None, None, Ok(("usr/bin/python3", "python3 from PATH")));
        let no_environment = ["app/src/venv/bin/python", "usr/bin/python"];
        check_python(&no_environment, None, None, Ok(("usr/bin/python", "python from PATH")));
        check_python(&["app/main.py"], None, None, Err("python3 -m venv .venv"));
    }

    #[test]
    fn node_comes_from_the_path() {
        let root = tree("node", &["a/node", "b/bin/node"]);
        let path = std::env::join_paths([root.join("a"), root.join("b/bin")]).unwrap();
        let surroundings = Surroundings { path: Some(path), virtual_env: None };
        let found = find_node(None, &surroundings).unwrap();
        assert_eq!(found.path, root.join("b/bin/node"), "what cannot be executed is passed over");
        let error = find_node(None, &Surroundings::default()).unwrap_err();
        assert!(error.to_string().contains("install Node.js 20"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn versions() {
        assert!(Language::Node.check_version("20.20.2").is_ok());
        assert!(Language::Node.check_version("v26.0.0-nightly").is_ok());
        assert!(Language::Python.check_version("3.10.0").is_ok());
        assert!(Language::Python.check_version("3.14.0rc1").is_ok());
        for (language, version) in [(Language::Node, "18.19.0"), (Language::Python, "3.9.2"), (Language::Python, "2.7")] {
            let (error, hint) = language.check_version(version).unwrap_err();
            assert!(error.contains("too old") && hint.contains("interpreter"), "{error} {hint}");
        }
        assert!(Language::Node.check_version("").is_err());
    }
}
