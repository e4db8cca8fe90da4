//! `bireme compare ./score.js:score ./score.py:score --input cases.jsonl`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use compare::document::{Kind, Side};
use compare::equality::Likeness;
use compare::functions::mix::Mix;
use compare::functions::runner::Launcher;
use compare::functions::{self, Functions};
use compare::subject::Subject;
use supervise::{Interpreter, Language};

use super::arguments::{CompareArguments, MeasureArguments};
use super::fairness;
use super::progress;
use super::session::{Session, interpreter, side};
use crate::Stop;
use crate::commands::serve::runtime_folder;

/// Compares two functions.
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Stop> {
    let [left, right] = &arguments.sides[..] else {
        return Err(Stop::Usage("name two sides, such as ./score.js:score ./score.py:score".to_owned()));
    };
    let Some(input) = &arguments.input else {
        return Err(Stop::Usage("--input is missing: a file with the functions' input, one JSON value a line".to_owned()));
    };
    let cases = readable(input)?;
    check_cases(&cases)?;
    let targets = [Target::parse(left)?, Target::parse(right)?];
    let names = Target::names(&targets);
    let measure = &arguments.measure;
    let mut sides = Vec::new();
    for (target, name) in targets.iter().zip(&names) {
        sides.push(target.side(name, measure)?);
    }
    let (right, left) = (sides.remove(1), sides.remove(0));
    let kind = if arguments.mix { Kind::Mix } else { Kind::Functions };
    let mut findings = fairness::of_environment(fairness::variable);
    for (target, (side, launcher)) in targets.iter().zip([&left, &right]) {
        findings.extend(fairness::of_function(
            &side.name,
            target.language,
            &target.file,
            &target.function,
            &launcher.interpreter,
        ));
    }
    let mut session = Session::begin(kind, measure, findings)?;
    let mixed = if arguments.mix { Some(Mixed::of(&targets, [&left, &right], measure)?) } else { None };
    let functions = Functions {
        subject: Subject {
            name: targets[0].function.clone(),
            title: format!("{} and {}", targets[0].text, targets[1].text),
            criterion: None,
            note: None,
            sides: [left.0, right.0],
            launchers: [left.1, right.1],
        },
        cases,
        likeness: Likeness { tolerance: measure.tolerance, ignored: measure.ignore.clone() },
        mix: mixed.as_ref().map(|mixed| mixed.sides.clone()),
    };
    let settings = session.document.settings.clone();
    let outcome = functions::compare(&functions, &settings, &session.cancel, &mut progress::printer(""));
    session.add(outcome)?;
    session.finish()
}

/// Both functions served, and called from the other language.
struct Mixed {
    sides: [Mix; 2],
    /// Kept while the services are launched.
    _folder: tempfile::TempDir,
}

impl Mixed {
    fn of(targets: &[Target; 2], sides: [&(Side, Launcher); 2], arguments: &MeasureArguments) -> Result<Mixed, Stop> {
        if targets[0].language == targets[1].language {
            return Err(Stop::Usage("--mix is about two languages; name a function of each".to_owned()));
        }
        let failed = |error: std::io::Error| Stop::Failed(format!("no temporary folder: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        let runtime = runtime_folder()?;
        let mut mixes = Vec::new();
        for (target, (side, _)) in targets.iter().zip(sides) {
            let home = target.file.parent().unwrap_or(Path::new("/"));
            let text = |path: &Path| toml::Value::from(path.display().to_string());
            let mut service = toml::Table::new();
            let (key, application) = match target.language {
                Language::Node => ("node", text(&runtime.join("node/src/compare/serve.mjs"))),
                Language::Python => ("python", "bireme.compare.serve:app".into()),
            };
            service.insert(key.to_owned(), application);
            service.insert("workers".to_owned(), 1.into());
            service.insert("cwd".to_owned(), text(home));
            service.insert("interpreter".to_owned(), side.interpreter.clone().unwrap_or_default().into());
            let environment = [("COMPARE_FILE", text(&target.file)), ("COMPARE_NAME", target.function.clone().into())];
            service.insert(
                "env".to_owned(),
                toml::Table::from_iter(environment.map(|(name, value)| (name.to_owned(), value))).into(),
            );
            let services = toml::Table::from_iter([("function".to_owned(), toml::Value::Table(service))]);
            let whole = toml::Table::from_iter([("service".to_owned(), toml::Value::Table(services))]);
            let file = folder.path().join(format!("{key}.toml"));
            std::fs::write(&file, whole.to_string()).map_err(failed)?;
            let server = super::routes::launcher(&side.name, &file, home, arguments.timeout)?;
            // The caller is of the other language.
            let caller = match target.language {
                Language::Node => runtime.join("python/bireme/compare/mix.py"),
                Language::Python => runtime.join("node/src/compare/mix.mjs"),
            };
            let words: [&std::ffi::OsStr; 4] =
                ["run".as_ref(), caller.as_os_str(), target.file.as_os_str(), target.function.as_ref()];
            mixes.push(Mix { program: server.program.clone(), server, arguments: words.map(Into::into).into() });
        }
        let sides = mixes.try_into().map_err(|_| Stop::Failed("a mix has two sides".to_owned()))?;
        Ok(Mixed { sides, _folder: folder })
    }
}

/// `./score.js:score`.
pub struct Target {
    text: String,
    file: PathBuf,
    function: String,
    language: Language,
}

impl Target {
    pub fn parse(text: &str) -> Result<Target, Stop> {
        let wrong = |why: &str| Stop::Usage(format!("{text}: {why}; write FILE:FUNCTION, such as ./score.py:score"));
        let (file, function) = text.rsplit_once(':').ok_or_else(|| wrong("no function is named"))?;
        let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
        let language = match extension {
            Some("js" | "mjs" | "cjs" | "ts" | "mts" | "cts") => Language::Node,
            Some("py") => Language::Python,
            _ => return Err(wrong("the language shows in the file's name: .js, .mjs, .cjs, .ts or .py")),
        };
        if function.is_empty() {
            return Err(wrong("no function is named"));
        }
        let absolute = readable(Path::new(file))?;
        Ok(Target { text: text.to_owned(), file: absolute, function: function.to_owned(), language })
    }

    /// The languages, where these tell the sides apart.
    pub fn names(targets: &[Target; 2]) -> [String; 2] {
        let [left, right] = targets;
        if left.language != right.language {
            return [left, right].map(|target| target.language.as_str().to_owned());
        }
        if left.text != right.text { [left.text.clone(), right.text.clone()] } else { ["left", "right"].map(str::to_owned) }
    }

    pub fn side(&self, name: &str, arguments: &MeasureArguments) -> Result<(Side, Launcher), Stop> {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        let interpreter = interpreter(self.language, folder, arguments)?;
        let launcher = launcher(name, &interpreter, &self.file, &self.function, arguments)?;
        let mut side = side(name, &interpreter, &self.text);
        measure_code(&mut side, &self.file, folder, &interpreter.path);
        Ok((side, launcher))
    }
}

/// Size and complexity of a side's code; what cannot be read is said and nothing more.
pub fn measure_code(side: &mut Side, file: &Path, folder: &Path, interpreter: &Path) {
    match compare::code::measure(file, folder, Some(interpreter)) {
        Ok(code) => side.code = Some(code),
        Err(why) => side.facts.push(format!("code not measured: {why}")),
    }
}

/// How one function is launched.
pub fn launcher(
    name: &str,
    interpreter: &Interpreter,
    file: &Path,
    function: &str,
    arguments: &MeasureArguments,
) -> Result<Launcher, Stop> {
    let runtime = runtime_folder()?;
    let runner = match interpreter.language {
        Language::Node => runtime.join("node/src/compare/run.mjs"),
        Language::Python => runtime.join("python/bireme/compare/run.py"),
    };
    Ok(Launcher {
        name: name.to_owned(),
        interpreter: interpreter.path.clone(),
        arguments: vec![runner, file.to_owned(), function.into()],
        target: file.to_owned(),
        environment: Vec::new(),
        folder: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        patience: Duration::from_secs_f64(arguments.timeout),
    })
}

fn readable(file: &Path) -> Result<PathBuf, Stop> {
    std::fs::File::open(file)
        .and_then(|_| file.canonicalize())
        .map_err(|error| Stop::Usage(format!("{}: it cannot be read: {error}", file.display())))
}

/// A line that is no JSON is said with its number, before anything is launched.
fn check_cases(file: &Path) -> Result<(), Stop> {
    use std::io::BufRead;
    let unreadable = |error| Stop::Usage(format!("{}: it cannot be read: {error}", file.display()));
    let reader = std::io::BufReader::new(std::fs::File::open(file).map_err(unreadable)?);
    let mut cases = 0;
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        cases += 1;
        serde_json::from_str::<serde::de::IgnoredAny>(&line)
            .map_err(|error| Stop::Usage(format!("{}:{}: this line is no JSON: {error}", file.display(), number + 1)))?;
    }
    match cases {
        0 => Err(Stop::Usage(format!("{}: it holds no case; write one JSON value a line", file.display()))),
        _ => Ok(()),
    }
}
