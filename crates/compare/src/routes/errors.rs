//! Errors made on purpose: what the client sees, whether neighbours notice, how long until all is well.

use std::time::{Duration, Instant};

use super::{Routes, answers, launch};
use crate::Cancel;
use crate::document::InjectedError;
use crate::load::connection::Request;
use crate::load::{self, Trial};
use crate::statistics::order::Which;

/// Neighbours' requests a second, and how long they run: half a second before the error, and on after it.
const NEIGHBOURS_RATE: f64 = 50.0;
const NEIGHBOURS_SECONDS: f64 = 3.0;
const BEFORE: Duration = Duration::from_millis(500);
/// The longest wait for recovery.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// An error that services offer to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// `throw`, `rejection`, `timeout`, `aborted_stream`, `allocation`, `crash`.
    pub error: String,
    /// Makes it.
    pub request: Request,
    /// A neighbour that should not notice.
    pub neighbour: Request,
    /// What the client should see.
    pub expected: Expected,
}

/// What is the right answer to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A status of this hundred, such as 5 for 500 to 599.
    Hundred(u16),
    /// The connection ends before the answer is whole: a whole one would be taken for good.
    BrokenOff,
}

/// Makes one error in a fresh launch.
pub fn inject(routes: &Routes, which: Which, injection: &Injection, cancel: &Cancel) -> Result<InjectedError, String> {
    let launcher = &routes.launchers[which.index()];
    let neighbours = Routes { requests: vec![injection.neighbour.clone()], ..routes.clone() };
    let (server, _) = launch::start(&neighbours, launcher, cancel)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let trial = Trial {
        rate: Some(NEIGHBOURS_RATE),
        seconds: NEIGHBOURS_SECONDS,
        connections_max: 8,
        timeout: routes.timeout,
        seed: 1,
    };
    let address = server.address;
    let (neighbours, (answer, recovery)) = std::thread::scope(|scope| {
        let load = scope.spawn(|| load::run(address, &neighbours.requests, &trial, cancel));
        std::thread::sleep(BEFORE);
        let once = |request: &Request| {
            runtime.block_on(async {
                let mut fresh = None;
                let ask = answers::ask(address, &mut fresh, request);
                tokio::time::timeout(routes.timeout, ask).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
            })
        };
        let answer = once(&injection.request);
        let hurt = Instant::now();
        let mut recovery = None;
        while hurt.elapsed() < RECOVERY_MAX && !cancel.is_cancelled() {
            if once(&injection.neighbour).is_ok_and(|response| response.status < 400) {
                recovery = Some(hurt.elapsed().as_secs_f64());
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        (load.join(), (answer, recovery))
    });
    let neighbours_failed = match neighbours {
        Ok(Ok(measured)) => Some((measured.sent - measured.statuses.iter().filter(|s| *s.0 < 400).map(|s| s.1).sum::<u64>(), measured.sent)),
        _ => None,
    };
    let right = match (&answer, injection.expected) {
        (Ok(response), Expected::Hundred(hundred)) => response.status / 100 == hundred,
        (Err(_), Expected::BrokenOff) => true,
        _ => false,
    };
    let printed = server.printed();
    let path = injection.request.name.split([' ', '?']).nth(1).unwrap_or_default();
    let has_stack = printed.contains("Traceback") || printed.lines().any(|line| line.trim_start().starts_with("at "));
    Ok(InjectedError {
        side: routes.sides[which.index()].name.clone(),
        error: injection.error.clone(),
        injected: true,
        answer: Some(answer.map_or_else(|why| why, |response| format!("status {}", response.status))),
        answer_right: Some(right),
        neighbours_failed,
        stack_tied: Some(has_stack && printed.contains(path)),
        recovery_seconds: recovery,
        remark: recovery.is_none().then(|| format!("no neighbour was answered for {} s", RECOVERY_MAX.as_secs())),
    })
}
