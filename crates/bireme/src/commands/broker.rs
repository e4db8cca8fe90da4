//! `bireme broker --stdio`: a broker for a program that was not started by Bireme, and lives as long as that.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use serde_json::json;
use supervise::Purpose;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::serve::runtime_folder;
use crate::arguments::BrokerArguments;
use crate::broker::{Broker, event_loop};
use crate::{Stop, load, log};

/// Says how to call on stdout and ends when stdin does, or by SIGTERM; a second SIGTERM stops workers by force.
pub fn run(arguments: &BrokerArguments) -> Result<ExitCode, Stop> {
    let resolved = load::project(&arguments.project)?;
    let plan = load::plan(&resolved.settings, Purpose::Call, &runtime_folder()?)?;
    let _log =
        log::start_quiet(&resolved.settings.log).map_err(|error| Stop::Failed(format!("the log cannot be started: {error}")))?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = event_loop()?;
    runtime.block_on(async {
        let failed = |error: io::Error| Stop::Failed(format!("signals cannot be received: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        // Ctrl-C and the end of a terminal reach the whole group; the program decides what they mean.
        let _interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let _hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let broker = Broker::start(&resolved.settings, plan)?;
        let access = broker.access();
        let line = json!({ "broker": access.path, "token": access.token });
        let said = writeln!(io::stdout().lock(), "{line}").and_then(|()| io::stdout().flush());
        if said.is_ok() {
            tokio::select! {
                () = end_of_stdin() => {}
                _ = terminate.recv() => {}
            }
        }
        broker.stop(async { _ = terminate.recv().await }).await;
        said.map_err(|error| Stop::Failed(format!("stdout cannot be written: {error}")))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns when whoever holds the other end has closed it or died.
async fn end_of_stdin() {
    let (ended, end) = oneshot::channel();
    // A thread of its own: reading stdin cannot be given up, and must not keep the process from ending.
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = [0; 512];
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = ended.send(());
    });
    // An error means that the thread could not run: then nobody's end would ever be noticed.
    let _ = end.await;
}
