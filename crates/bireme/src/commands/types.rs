//! `bireme types`: tells each language's type checkers about the other, and keeps what they are told fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use config::Settings;
use ignore::WalkBuilder;
use supervise::{Language, Plan, Purpose};
use typings::javascript::{is_program, python_imports};
use typings::python::{Answer, Declaration, Named, Question, declaration, declaration_file, program};
use typings::{BIREME_D_TS, MARK, Module, package};

use super::serve::runtime_folder;
use crate::arguments::TypesArguments;
use crate::{Stop, load, say};

/// Files of a project that are looked at; what has more has not left out what it should.
const FILES_MAX: usize = 50_000;
/// Larger ones are no source code that a person wrote.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Exit status 1 if something is stale with `--check`, or a file cannot be understood.
pub fn run(arguments: &TypesArguments) -> Result<ExitCode, Stop> {
    let resolved = load::project(&arguments.project)?;
    for warning in &resolved.warnings {
        eprintln!("warning: {warning}");
    }
    let types = Types::of(&resolved.settings, arguments.out.as_deref())?;
    for problem in &types.problems {
        eprintln!("error: {problem}");
    }
    let stale = types.stale();
    let shown = |path: &Path| path.strip_prefix(&types.root).unwrap_or(path).display().to_string();
    if arguments.check {
        for path in &stale {
            say(format_args!("stale: {}", shown(path)))?;
        }
        if stale.is_empty() && types.problems.is_empty() {
            say(format_args!("ok: {} up to date", counted(types.files.len())))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !stale.is_empty() {
            eprintln!("{} stale; `bireme types` writes them anew", counted(stale.len()));
        }
        return Ok(ExitCode::FAILURE);
    }
    for path in types.write(&stale)? {
        say(shown(path))?;
    }
    if types.files.is_empty() {
        eprintln!("nothing is imported from the other language in {}", types.root.display());
    } else if stale.is_empty() {
        eprintln!("{} up to date", counted(types.files.len()));
    }
    Ok(if types.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn counted(files: usize) -> String {
    if files == 1 { "1 file is".to_owned() } else { format!("{files} files are") }
}

/// What a project's type checkers are to be told.
#[derive(Debug)]
pub struct Types {
    /// The project's folder.
    pub root: PathBuf,
    /// Generated files and their texts.
    pub files: BTreeMap<PathBuf, String>,
    /// Generated earlier, and of no use any more.
    left_over: Vec<PathBuf>,
    /// What could not be understood.
    pub problems: Vec<String>,
}

/// A project's source files.
#[derive(Default)]
struct Sources {
    programs: Vec<PathBuf>,
    python: Vec<PathBuf>,
    generated: Vec<PathBuf>,
}

impl Types {
    /// Reads the project: that of the configuration file's folder, or of the current one. `out` is the folder for all
    /// that is generated; without it declarations stand beside the files that they are about, and stubs in `typings`.
    pub fn of(settings: &Settings, out: Option<&Path>) -> Result<Types, Stop> {
        let root = load::home(settings)?;
        let root = root.canonicalize().unwrap_or(root);
        let out = out.map(std::path::absolute).transpose().map_err(|error| Stop::Usage(format!("--out: {error}")))?;
        let plan = load::plan(settings, Purpose::Call, &runtime_folder()?)?;
        let sources = Sources::of(&root)?;
        let mut types = Types { root, files: BTreeMap::new(), left_over: Vec::new(), problems: Vec::new() };
        let imported = types.imported_python(&sources.programs);
        let (modules, numpy) = types.declare(&plan, &sources.python, &imported, out.as_deref())?;
        types.stub(modules, numpy, out.as_deref());
        types.left_over = sources.generated.into_iter().filter(|path| !types.files.contains_key(path)).collect();
        Ok(types)
    }

    /// The Python files that programs import.
    fn imported_python(&mut self, programs: &[PathBuf]) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for program in programs {
            let Ok(text) = fs::read_to_string(program) else { continue };
            for name in python_imports(program, &text) {
                match beside(program, &name) {
                    Some(file) => {
                        found.insert(file);
                    }
                    None => self.problems.push(format!("{}: it imports {name}, which does not exist", program.display())),
                }
            }
        }
        found
    }

    /// Has Python declare its files, each by the interpreter that would run it; gives the modules that Python names, and
    /// whether NumPy is there.
    fn declare(
        &mut self,
        plan: &Plan,
        python: &[PathBuf],
        imported: &BTreeSet<PathBuf>,
        out: Option<&Path>,
    ) -> Result<(Vec<Named>, bool), Stop> {
        // By interpreter and working folder.
        let mut questions: BTreeMap<(PathBuf, PathBuf), Question> = BTreeMap::new();
        let whose = |file: &Path| {
            let worker = &plan.service_of(Language::Python, file)?.worker;
            Some((worker.interpreter.path.clone(), worker.cwd.clone()))
        };
        let mentions = |file: &&PathBuf| fs::read(file).is_ok_and(|text| text.windows(6).any(|word| word == b"bireme"));
        for file in imported {
            match whose(file) {
                Some(key) => questions.entry(key).or_default().describe.push(file.clone()),
                None => {
                    let why = plan.calls.missing.iter().find(|(language, _)| *language == Language::Python);
                    return Err(Stop::Failed(why.map_or("no Python was found", |(_, why)| why).to_owned()));
                }
            }
        }
        // Files that never say `bireme` name no module of JavaScript, and need no Python.
        for file in python.iter().filter(mentions) {
            if let Some(key) = whose(file) {
                questions.entry(key).or_default().scan.push(file.clone());
            }
        }
        let bireme = out.unwrap_or(&self.root).join("bireme.d.ts");
        let (mut modules, mut numpy) = (Vec::new(), false);
        for ((interpreter, folder), mut question) in questions {
            question.roots = vec![folder, self.root.clone()];
            let answer = answer(&interpreter, &question)?;
            modules.extend(answer.modules);
            numpy |= answer.numpy;
            for (file, declared) in answer.declarations {
                match declared {
                    Declaration::Made { text, names } => {
                        let path = self.placed(&declaration_file(&file), out);
                        let text = declaration(&file, &relative(&path, &bireme), &text, &names);
                        self.files.insert(path, text);
                    }
                    Declaration::Failed { error } => self.problems.push(error),
                }
            }
        }
        if !self.files.is_empty() {
            self.files.insert(bireme, BIREME_D_TS.to_owned());
        }
        modules.sort();
        Ok((modules, numpy))
    }

    /// Stubs of the modules that Python names, and the package that leads to them.
    fn stub(&mut self, modules: Vec<Named>, numpy: bool, out: Option<&Path>) {
        let folder = out.map_or_else(|| self.root.join("typings"), Path::to_path_buf).join("bireme");
        let mut literals: BTreeMap<String, Vec<Module>> = BTreeMap::new();
        for Named { file, line, name } in modules {
            // Packages are known by name alone; their types are not ours.
            if !name.starts_with("./") && !name.starts_with("../") && !name.starts_with('/') {
                continue;
            }
            let Some(path) = beside(&file, &name) else {
                self.problems.push(format!("{}:{line}: node({name:?}): the file does not exist", file.display()));
                continue;
            };
            let read = |path: &Path| fs::read_to_string(path).ok();
            match typings::javascript::stub(&path, &read, numpy) {
                Ok(stub) => {
                    let module = Module::of(path.strip_prefix(&self.root).unwrap_or(&path));
                    self.files.insert(folder.join(format!("js/{}.pyi", module.name)), stub.text(&path));
                    let meant = literals.entry(name).or_default();
                    if !meant.contains(&module) {
                        meant.push(module);
                    }
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        if !literals.is_empty() {
            self.files.insert(folder.join("__init__.pyi"), package(&literals));
            self.files.insert(folder.join("js/__init__.pyi"), format!("# {MARK}; do not edit.\n"));
        }
    }

    /// Beside the file, or at the same place below `out`.
    fn placed(&self, file: &Path, out: Option<&Path>) -> PathBuf {
        match (out, file.strip_prefix(&self.root)) {
            (Some(out), Ok(inner)) => out.join(inner),
            _ => file.to_path_buf(),
        }
    }

    /// Generated files that are missing, have another text, or are of no use.
    pub fn stale(&self) -> Vec<PathBuf> {
        let differs = |(path, text): &(&PathBuf, &String)| fs::read_to_string(path).ok().as_ref() != Some(*text);
        let stale = self.files.iter().filter(differs).map(|(path, _)| path.clone());
        stale.chain(self.left_over.iter().cloned()).collect()
    }

    /// Brings them up to date; gives those that were.
    pub fn write<'s>(&self, stale: &'s [PathBuf]) -> Result<&'s [PathBuf], Stop> {
        let cannot = |path: &Path, error| Stop::Failed(format!("{} cannot be written: {error}", path.display()));
        for path in stale {
            match self.files.get(path) {
                Some(text) => {
                    let folder = path.parent().unwrap_or(path);
                    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
                    written.map_err(|error| cannot(path, error))?;
                }
                None => fs::remove_file(path).map_err(|error| cannot(path, error))?,
            }
        }
        Ok(stale)
    }
}

impl Sources {
    /// Without what git ignores, installed packages and virtual environments.
    fn of(root: &Path) -> Result<Sources, Stop> {
        let mut sources = Sources::default();
        let mut seen = 0;
        for entry in walk(root).flatten() {
            let path = entry.path();
            let Some(end) = path.extension().and_then(|end| end.to_str()) else { continue };
            let small = || entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= FILE_BYTES_MAX);
            if !matches!(end, "py" | "pyi") && !end.ends_with("js") && !end.ends_with("ts") && end != "jsx" && end != "tsx"
                || !small()
            {
                continue;
            }
            seen += 1;
            if seen > FILES_MAX {
                return Err(Stop::Failed(format!(
                    "{} holds more than {FILES_MAX} source files; name in a .gitignore what is not the project's own",
                    root.display()
                )));
            }
            let path = path.to_path_buf();
            if is_program(&path) {
                sources.programs.push(path);
            } else if end == "py" {
                sources.python.push(path);
            } else if is_generated(&path) {
                sources.generated.push(path);
            }
        }
        Ok(sources)
    }
}

/// A project's own files. Hidden ones are left out.
pub fn walk(root: &Path) -> ignore::Walk {
    let foreign = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["node_modules", "__pycache__", "site-packages"].contains(&name) || path.join("pyvenv.cfg").is_file()
    };
    let mut walk = WalkBuilder::new(root);
    // A project need not be a repository for its .gitignore to hold.
    walk.require_git(false).filter_entry(move |entry| entry.depth() == 0 || !foreign(entry.path()));
    walk.build()
}

fn is_generated(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().next().is_some_and(|line| line.contains(MARK)))
}

fn beside(file: &Path, name: &str) -> Option<PathBuf> {
    file.parent()?.join(name).canonicalize().ok().filter(|file| file.is_file())
}

/// The way from a file to another, as TypeScript writes it.
fn relative(from: &Path, to: &Path) -> String {
    let folder = from.parent().unwrap_or(from);
    let up = folder.ancestors().take_while(|ancestor| !to.starts_with(ancestor)).count();
    let shared = folder.ancestors().nth(up).unwrap_or(Path::new("/"));
    let rest = to.strip_prefix(shared).unwrap_or(to);
    format!("{}{}", if up == 0 { "./".to_owned() } else { "../".repeat(up) }, rest.display())
}

fn answer(interpreter: &Path, question: &Question) -> Result<Answer, Stop> {
    let failed = |what: String| Stop::Failed(format!("{} cannot read the Python files: {what}", interpreter.display()));
    let mut command = Command::new(interpreter);
    command.args(["-I", "-c", &program()]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let text = serde_json::to_string(question).map_err(|error| failed(error.to_string()))?;
    // It reads all of it before it writes.
    let asked = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    if let Some(Err(error)) = asked {
        return Err(failed(error.to_string()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("its answer is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_as_typescript_writes_them() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/app/model.d.py.ts", "/app/bireme.d.ts"), "./bireme.d.ts");
        assert_eq!(way("/app/ml/deep/model.d.py.ts", "/app/bireme.d.ts"), "../../bireme.d.ts");
        assert_eq!(way("/app/ml/model.d.py.ts", "/app/types/bireme.d.ts"), "../types/bireme.d.ts");
    }
}
