//! How far a run is, on stderr, and its end by Ctrl-C.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use compare::statistics::verdict::duration;
use compare::{Cancel, Progress};
use tokio::signal::unix::{SignalKind, signal};

use crate::Stop;

/// Without a terminal a line this often.
const QUIET: Duration = Duration::from_secs(15);

/// Writes one line that changes on a terminal, and a line now and then elsewhere; each begins with `place`.
pub fn printer(place: &str) -> impl FnMut(Progress) {
    let terminal = std::io::stderr().is_terminal();
    let mut last: Option<Instant> = None;
    move |progress: Progress| {
        let line = format!("{place}{} · about {} left", progress.stage, duration(progress.left_seconds));
        if terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        } else if last.is_none_or(|last| last.elapsed() >= QUIET) {
            last = Some(Instant::now());
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// Makes room for what comes after the progress.
pub fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// The first signal ends the run in order, the second at once.
pub fn cancel_on_signals(cancel: Cancel) -> Result<(), Stop> {
    let failed = |error: std::io::Error| Stop::Failed(format!("signals cannot be received: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if cancel.is_cancelled() {
                    std::process::exit(130);
                }
                eprintln!("\nending the run with what it has; once more ends it at once");
                cancel.cancel();
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
    Ok(())
}
