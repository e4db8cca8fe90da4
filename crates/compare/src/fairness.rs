//! What tilts a comparison of two services, seen in what they answer and print before anything is timed.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Cancel;
use crate::document::{Finding, Severity, Side};
use crate::load::connection::{Connection, Request};
use crate::routes::describe;
use crate::server::{Server, ServerLauncher};

/// Requests of a probe; the list is gone through again if it is shorter.
const REQUESTS: usize = 20;
/// Lines a request from which a service is said to log its requests.
const LINES_MIN: f64 = 0.5;
/// How long after a start or the last answer lines of it may come.
const LINES_AFTER: Duration = Duration::from_millis(200);
/// What Bireme's Python runtime says of an application; see `asgi.py` and `interface.py`.
const DEBUG_NOTE: &str = "debug mode: ";
const PLAIN_LOOP_NOTE: &str = "event loop: asyncio";

/// What a service showed of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What is known of its interpreter.
    pub side: Side,
    /// What it printed until it was ready.
    pub log: String,
    /// Lines that it prints a request.
    pub lines: f64,
    /// The first `content-encoding` of its answers.
    pub encoding: Option<String>,
    /// Its connections outlast an answer.
    pub keeps_alive: bool,
    /// Whether its Python has httptools.
    pub httptools: Option<bool>,
}

/// Launches a service and asks it a few requests.
///
/// # Errors
/// When it does not start or answer.
pub fn look(
    side: &Side,
    service: &str,
    launcher: &ServerLauncher,
    requests: &[Request],
    timeout: Duration,
    cancel: &Cancel,
) -> Result<Seen, String> {
    let server = Server::start(launcher, cancel)?;
    // Further workers tell that they are ready a moment later; that is no request's line.
    std::thread::sleep(LINES_AFTER);
    let mut seen = Seen { side: side.clone(), log: server.take_printed(), keeps_alive: true, ..Seen::default() };
    describe(&mut seen.side, service, &seen.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let count = if requests.is_empty() { 0 } else { REQUESTS };
    for request in requests.iter().cycle().take(count) {
        let exchange = async {
            let mut connection = Connection::open(server.address).await.map_err(|error| format!("no connection: {error}"))?;
            connection.exchange(request, false).await
        };
        let answered = runtime.block_on(async { tokio::time::timeout(timeout, exchange).await });
        let (response, again) = answered.map_err(|_| format!("{}: {}: no answer in time", launcher.name, request.name))??;
        let encoding = response.fields.iter().find(|(name, _)| name == "content-encoding");
        seen.encoding = seen.encoding.or_else(|| encoding.map(|(_, value)| String::from_utf8_lossy(value).into_owned()));
        seen.keeps_alive &= again;
    }
    std::thread::sleep(LINES_AFTER);
    seen.lines = server.take_printed().lines().count() as f64 / count.max(1) as f64;
    if seen.side.language == "python" {
        seen.httptools = seen.side.interpreter.as_deref().and_then(|python| has_module(python, "httptools"));
    }
    Ok(seen)
}

/// Whether a Python finds a module; `None` if it cannot be asked.
pub fn has_module(python: &str, module: &str) -> Option<bool> {
    let code = format!("import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)");
    let status =
        Command::new(python).args(["-c", &code]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.ok()?.code()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

/// What is not the same for both, or slows one down.
pub fn judge(seen: [&Seen; 2]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |severity, side: Option<&Seen>, what: String, advice: &str| {
        found.push(Finding { severity, side: side.map(|seen| seen.side.name.clone()), what, advice: advice.to_owned() });
    };
    for one in seen {
        for line in one.log.lines().filter_map(|line| line.split_once(DEBUG_NOTE)).map(|(_, what)| what) {
            say(Severity::Warning, Some(one), format!("it runs in debug mode: {}", line.trim()), "turn it off for the run");
        }
        if one.log.contains(PLAIN_LOOP_NOTE) {
            let advice = "install uvloop in its environment, and leave its section's event_loop at \"auto\"";
            say(
                Severity::Warning,
                Some(one),
                "it runs on asyncio's own loop, as uvloop is missing or turned off".to_owned(),
                advice,
            );
        }
        if one.httptools == Some(false) {
            let advice = "nothing to do: Bireme parses HTTP itself; under uvicorn, install it";
            say(Severity::Note, Some(one), "httptools is missing from its environment".to_owned(), advice);
        }
    }
    let [left, right] = seen;
    let name = |seen: &Seen| seen.side.name.clone();
    let logs = |seen: &Seen| seen.lines >= LINES_MIN;
    if logs(left) != logs(right) {
        let (loud, quiet) = if logs(left) { (left, right) } else { (right, left) };
        let what =
            format!("{} prints {:.1} lines for each request, and {} {:.1}", name(loud), loud.lines, name(quiet), quiet.lines);
        say(Severity::Warning, Some(loud), what, "turn the logging of requests off, or on for both");
    }
    if left.encoding != right.encoding {
        let of = |seen: &Seen| {
            format!(
                "{} answers {}",
                name(seen),
                seen.encoding.as_ref().map_or("uncompressed".to_owned(), |it| format!("in {it}"))
            )
        };
        let advice = "compress on both sides or neither; Bireme's [compression] treats both alike";
        say(Severity::Warning, None, format!("{}, and {}", of(left), of(right)), advice);
    }
    if left.keeps_alive != right.keeps_alive {
        let closing = if left.keeps_alive { right } else { left };
        let what = format!("{} closes connections after an answer, and the other keeps them", name(closing));
        say(Severity::Warning, Some(closing), what, "leave out its \"connection: close\", so that both keep connections alike");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str) -> Seen {
        Seen { side: Side { name: name.to_owned(), ..Side::default() }, keeps_alive: true, ..Seen::default() }
    }

    /// What is said when one side is changed so; the line has to name that side, what is wrong, and what to do.
    fn check(change: impl Fn(&mut Seen), severity: Severity, what: &str, advice: &str) {
        let (plain, mut other) = (seen("web"), seen("ml"));
        assert_eq!(judge([&plain, &other]), []);
        change(&mut other);
        for both in [[&plain, &other], [&other, &plain]] {
            let found = judge(both);
            assert!(
                matches!(&found[..], [one] if one.severity == severity && one.what.contains(what) && one.advice.contains(advice)),
                "{found:?}"
            );
            assert!(found[0].side.as_deref().is_none_or(|side| side == "ml"), "{found:?}");
        }
        let (plain, mut same) = (other.clone(), other.clone());
        same.side.name = "web".to_owned();
        let uneven = judge([&same, &plain]).into_iter().filter(|one| one.side.is_none()).count();
        assert_eq!(uneven, 0, "what is the same for both is not uneven");
    }

    #[test]
    fn what_tilts_is_said_with_what_to_do() {
        use Severity::{Note, Warning};
        check(
            |it| it.log = "ml: debug mode: Flask.debug is True".to_owned(),
            Warning,
            "debug mode: Flask.debug is True",
            "turn it off",
        );
        check(|it| it.log = "ml: event loop: asyncio".to_owned(), Warning, "uvloop is missing", "install uvloop");
        check(|it| it.httptools = Some(false), Note, "httptools is missing", "Bireme parses HTTP itself");
        check(|it| it.lines = 1.0, Warning, "ml prints 1.0 lines for each request, and web 0.0", "turn the logging");
        check(|it| it.encoding = Some("gzip".to_owned()), Warning, "ml answers in gzip", "compress on both sides or neither");
        check(|it| it.keeps_alive = false, Warning, "ml closes connections", "connection: close");
    }

    #[test]
    fn what_both_do_tilts_nothing() {
        for change in [
            |it: &mut Seen| it.lines = 2.0,
            |it: &mut Seen| it.encoding = Some("br".to_owned()),
            |it: &mut Seen| it.keeps_alive = false,
        ] {
            let (mut left, mut right) = (seen("web"), seen("ml"));
            change(&mut left);
            change(&mut right);
            assert_eq!(judge([&left, &right]), []);
        }
    }
}
