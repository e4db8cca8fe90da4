//! Why a worker died before it could say hello: perhaps its interpreter is too old to read our runtime.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::interpreter::Interpreter;
use crate::machine::Failure;

/// An interpreter that takes longer to say its version is left alone.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `<interpreter> --version` and explains the failure if the version is not supported. Only called after a
/// failure: a start that succeeds never pays for it.
pub(crate) async fn probe_version(interpreter: &Interpreter) -> Option<Failure> {
    let output = Command::new(&interpreter.path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PROBE_TIMEOUT, output).await.ok()?.ok()?;
    // Python 2 answers on stderr.
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    let version = text.trim().rsplit(' ').next()?.trim_start_matches('v');
    if !version.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (error, hint) = interpreter.language.check_version(version).err()?;
    let error = format!("{} ({}): {error}", interpreter.path.display(), interpreter.why);
    Some(Failure { error, stack: String::new(), hint })
}
