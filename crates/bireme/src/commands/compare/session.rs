//! One run: its document, its folder, and its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use compare::condition::{Condition, Judgement};
use compare::document::{Document, Effort, Finding, Kind, SCHEMA_VERSION, Settings, Side};
use compare::redact::Secrets;
use compare::{Cancel, Outcome, machine, report, table};
use supervise::{Interpreter, Language, Surroundings, find_node, find_python};

use super::arguments::MeasureArguments;
use super::progress;
use crate::Stop;

/// Between load and the look at memory after it.
const REST_SECONDS: f64 = 30.0;

/// A run under way.
pub struct Session {
    pub document: Document,
    pub cancel: Cancel,
    /// What its progress begins with.
    pub place: String,
    /// What is written nowhere.
    pub secrets: Secrets,
    folder: PathBuf,
    began: Instant,
    fail_if: Vec<Condition>,
}

impl Session {
    /// Makes the folder before anything is measured: a run whose results cannot be written is not begun.
    pub fn begin(kind: Kind, arguments: &MeasureArguments, mut fairness: Vec<Finding>) -> Result<Session, Stop> {
        let current =
            std::env::current_dir().map_err(|error| Stop::Failed(format!("the current folder cannot be read: {error}")))?;
        let now = jiff::Zoned::now();
        let default = || PathBuf::from("bireme-compare").join(now.strftime("%Y-%m-%dT%H-%M-%S").to_string());
        let folder = arguments.out.clone().unwrap_or_else(default);
        std::fs::create_dir_all(&folder)
            .map_err(|error| Stop::Failed(format!("{}: the folder cannot be made: {error}", folder.display())))?;
        let machine = machine::describe();
        fairness.extend(machine::fitness(&machine));
        say(&fairness);
        let document = Document {
            schema_version: SCHEMA_VERSION,
            bireme: env!("CARGO_PKG_VERSION").to_owned(),
            kind,
            started: now.timestamp().to_string(),
            took_seconds: 0.0,
            interrupted: None,
            // A file's name may be no UTF-8; such a run cannot be repeated, but it can be measured.
            arguments: std::env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect(),
            folder: current.display().to_string(),
            machine,
            settings: settings(arguments),
            fairness,
            comparisons: Vec::new(),
        };
        let cancel = Cancel::default();
        progress::cancel_on_signals(cancel.clone())?;
        Ok(Session {
            document,
            cancel,
            place: String::new(),
            secrets: Secrets::default(),
            folder,
            began: Instant::now(),
            fail_if: arguments.fail_if.clone(),
        })
    }

    /// What else was found before anything is timed: each a line.
    pub fn add_findings(&mut self, findings: Vec<Finding>) {
        say(&findings);
        self.document.fairness.extend(findings);
    }

    /// Takes a comparison; from then on its results are on disk. `false` when the run is to end.
    pub fn add(&mut self, outcome: Outcome) -> Result<bool, Stop> {
        let outcome = self.secrets.cleaned(outcome);
        self.document.comparisons.push(outcome.comparison);
        if let Some(why) = outcome.stopped {
            self.document.interrupted = Some(why);
        }
        self.save()?;
        Ok(self.document.interrupted.is_none())
    }

    /// Prints what came out.
    pub fn finish(mut self) -> Result<ExitCode, Stop> {
        self.save()?;
        progress::clear();
        let mut text = table::render(&self.document);
        let file = |name: &str| self.folder.join(name).display().to_string();
        text.push_str(&format!("\nreport:  {}\nresults: {}\n", file("compare.html"), file("compare.json")));
        let mut failed = false;
        for condition in &self.fail_if {
            let judgement = condition.judge(&self.document.comparisons, self.document.settings.confidence);
            failed |= matches!(judgement, Judgement::Holds | Judgement::Unmeasured(_));
            text.push_str(&match judgement {
                Judgement::Holds => format!("FAILED: {condition} holds\n"),
                Judgement::Fails => format!("ok: {condition} does not hold\n"),
                Judgement::Undecided => format!("ok: {condition} is not shown; the interval lies on both sides\n"),
                Judgement::Unmeasured(why) => format!("FAILED: {condition} cannot be judged: {why}\n"),
            });
        }
        // Whoever reads may have gone, and the results are on disk.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(match &self.document.interrupted {
            None if failed => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
            Some(_) if self.cancel.is_cancelled() => ExitCode::from(130),
            Some(_) => ExitCode::FAILURE,
        })
    }

    /// Written beside and renamed, so that what is there is always whole.
    fn save(&mut self) -> Result<(), Stop> {
        self.document.took_seconds = self.began.elapsed().as_secs_f64();
        let text = serde_json::to_string_pretty(&self.document)
            .map_err(|error| Stop::Failed(format!("the results cannot be written as JSON: {error}")))?;
        write(&self.folder.join("compare.json"), &text)?;
        write(&self.folder.join("compare.html"), &report::render(&self.document).map_err(Stop::Failed)?)
    }
}

fn say(findings: &[Finding]) {
    for finding in findings {
        let side = finding.side.as_ref().map(|side| format!("{side}: ")).unwrap_or_default();
        eprintln!("{:?}: {side}{}; {}", finding.severity, finding.what, finding.advice);
    }
}

/// Writes beside and renames.
pub fn write(path: &Path, text: &str) -> Result<(), Stop> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|error| Stop::Failed(format!("{} cannot be written: {error}", path.display())))
}

fn settings(arguments: &MeasureArguments) -> Settings {
    let (effort, blocks, launch_seconds) = match (arguments.quick, arguments.thorough) {
        (true, _) => (Effort::Quick, 6, 1.2),
        (_, true) => (Effort::Thorough, 20, 20.0),
        _ => (Effort::Default, 10, 12.0),
    };
    Settings {
        effort,
        seed: arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ jiff::Timestamp::now().as_second() as u64),
        blocks: arguments.blocks.unwrap_or(blocks),
        launch_seconds: arguments.launch.unwrap_or(launch_seconds),
        confidence: 0.95,
        equal_within: arguments.equal_within,
        tolerance: arguments.tolerance,
        ignored: arguments.ignore.clone(),
        service_level: None,
        rest_seconds: arguments.rest.or((effort != Effort::Quick).then_some(REST_SECONDS)),
    }
}

/// The interpreter for code in `folder`.
pub fn interpreter(language: Language, folder: &Path, arguments: &MeasureArguments) -> Result<Interpreter, Stop> {
    let surroundings = Surroundings::from_env(&[]);
    let found = match language {
        Language::Node => find_node(arguments.node.as_deref(), &surroundings),
        Language::Python => find_python(arguments.python.as_deref(), folder, folder, &surroundings),
    };
    let mut found = found.map_err(|error| Stop::Usage(error.to_string()))?;
    let says = match language {
        Language::Node => ["--print", "process.execPath"],
        Language::Python => ["-c", "import sys; print(sys.executable)"],
    };
    // A version manager's shim is a script before the interpreter, and starts would be its own.
    let output = std::process::Command::new(&found.path).args(says).stdin(std::process::Stdio::null()).output();
    let output = output.map_err(|error| Stop::Failed(format!("{} cannot be run: {error}", found.path.display())))?;
    let real = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if real.is_absolute() && real.is_file() {
        found.path = real;
    }
    Ok(found)
}

/// A side as far as it is known before its first launch.
pub fn side(name: &str, interpreter: &Interpreter, target: &str) -> Side {
    Side {
        name: name.to_owned(),
        language: interpreter.language.as_str().to_owned(),
        interpreter: Some(interpreter.path.display().to_string()),
        target: target.to_owned(),
        workers: Some(1),
        ..Side::default()
    }
}
