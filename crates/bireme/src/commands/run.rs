//! `bireme run`: a program of either language that may call the other, as `node` or `python` would run it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};
use supervise::{Access, Interpreter, Language, Plan, Purpose, Surroundings, die_with_this_thread, find_node, find_python};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::serve::runtime_folder;
use crate::arguments::RunArguments;
use crate::broker::{Broker, event_loop};
use crate::{Stop, load, log};

/// What is passed on to the program.
const SIGNALS: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// What stops the workers by force, once the program has ended.
const HURRY: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Ends as the program does: with its exit status, or by the signal that ended it.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, Stop> {
    let failed = |what: &'static str| move |error: io::Error| Stop::Failed(format!("{what}: {error}"));
    let resolved = load::project(&arguments.project)?;
    let folder = runtime_folder()?;
    let plan = load::plan(&resolved.settings, Purpose::Call, &folder)?;
    let program = Program::new(&arguments.script, &plan, &folder)?;
    let log = log::start_quiet(&resolved.settings.log).map_err(failed("the log cannot be started"))?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = signals().map_err(failed("signals cannot be received"))?;
    let runtime = event_loop()?;
    let status = runtime.block_on(async {
        let broker = Broker::start(&resolved.settings, plan)?;
        let status = program.run(&arguments.args, broker.access(), &mut signals).await;
        broker.stop(hurry(&mut signals)).await;
        status
    })?;
    drop(log);
    Ok(end_alike(status))
}

/// What is run, and by what.
struct Program {
    interpreter: Interpreter,
    /// Between the interpreter and the program's own arguments.
    args: Vec<OsString>,
}

impl Program {
    fn new(script: &Path, plan: &Plan, runtime: &Path) -> Result<Program, Stop> {
        let language = language_of(script).ok_or_else(|| {
            Stop::Usage(format!(
                "{} is no program that can be run: its name ends neither in .js, .mjs, .cjs, .ts, .mts, .cts nor in .py",
                script.display()
            ))
        })?;
        let file = script.canonicalize().ok().filter(|file| file.is_file());
        let file = file.ok_or_else(|| Stop::Usage(format!("the program {} does not exist", script.display())))?;
        let interpreter = interpreter(language, &file, plan)?;
        let args = match language {
            Language::Node => {
                vec!["--require".into(), runtime.join("node/src/boot.cjs").into(), script.into()]
            }
            Language::Python => vec![runtime.join("python/launch.py").into(), "--script".into(), script.into()],
        };
        Ok(Program { interpreter, args })
    }

    /// Runs to the end; signals for this process are the program's.
    async fn run(&self, args: &[OsString], access: &Access, signals: &mut mpsc::Receiver<Origin>) -> Result<ExitStatus, Stop> {
        let program = &self.interpreter.path;
        let mut command = Command::new(program);
        // When this was started by a worker: the program is none.
        for name in config::OWN_VARIABLES {
            command.env_remove(name);
        }
        command.args(&self.args).args(args).env("BIREME_BROKER", &access.path).env("BIREME_BROKER_TOKEN", &access.token);
        // A program that outlives this process would have nobody to ask for workers. The main thread runs this.
        die_with_this_thread(command.as_std_mut());
        let cannot = |error: io::Error| Stop::Failed(format!("cannot run {}: {error}", program.display()));
        let mut child = command.spawn().map_err(cannot)?;
        loop {
            tokio::select! {
                status = child.wait() => return status.map_err(cannot),
                Some(origin) = signals.recv() => {
                    // What comes from the terminal (Ctrl-C) the kernel has sent to the program, too.
                    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
                    if origin.cause != Cause::Kernel && let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(origin.signal)) {
                        // It may have ended; the next turn says so.
                        let _ = kill_process(pid, signal);
                    }
                }
            }
        }
    }
}

/// By the file's ending.
pub fn language_of(file: &Path) -> Option<Language> {
    match file.extension().and_then(OsStr::to_str)? {
        "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" => Some(Language::Node),
        "py" => Some(Language::Python),
        _ => None,
    }
}

/// That of the service whose code the program is, or what `bireme serve` would take.
fn interpreter(language: Language, file: &Path, plan: &Plan) -> Result<Interpreter, Stop> {
    let service = plan.service_of(language, file).filter(|service| !service.implicit);
    if let Some(service) = service {
        return Ok(service.worker.interpreter.clone());
    }
    let surroundings = Surroundings::from_env(&[]);
    let folder = file.parent().unwrap_or(file);
    let current = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let found = match language {
        Language::Node => find_node(None, &surroundings),
        Language::Python => find_python(None, folder, &current, &surroundings),
    };
    found.map_err(|error| Stop::Failed(error.to_string()))
}

/// Signals for this process, from now on, and who sent them.
fn signals() -> io::Result<mpsc::Receiver<Origin>> {
    let mut signals = SignalsInfo::<WithOrigin>::new(SIGNALS)?;
    // A person presses Ctrl-C a few times; more than that says nothing new.
    let (sender, receiver) = mpsc::channel(16);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for origin in signals.forever() {
            let _ = sender.try_send(origin);
        }
    })?;
    Ok(receiver)
}

async fn hurry(signals: &mut mpsc::Receiver<Origin>) {
    while let Some(origin) = signals.recv().await {
        if HURRY.contains(&origin.signal) {
            return;
        }
    }
    std::future::pending().await
}

fn end_alike(status: ExitStatus) -> ExitCode {
    let Some(signal) = status.signal() else {
        return ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1));
    };
    if SIGNALS.contains(&signal) {
        // Returns only if it cannot.
        let _ = emulate_default_handler(signal);
    }
    // As shells say it.
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}
