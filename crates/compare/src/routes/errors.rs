//! Errors made on purpose: what the client sees, whether neighbours notice, how long until all is well.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Routes, answers, launch};
use crate::Cancel;
use crate::document::{InjectedError, Unit};
use crate::load::connection::{Request, Response};
use crate::load::{self, Trial};
use crate::requests::Plain;
use crate::server::Server;
use crate::statistics::median;
use crate::statistics::order::Which;
use crate::table::quantity;

/// Neighbours' requests a second, and how long they run: a while before the error, and on after its answer.
const NEIGHBOURS_RATE: f64 = 50.0;
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(500);
/// A request that is never answered ends by this; a minute, the default, would only be waited for.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers timed, with the error and without, to see what it costs.
const COST_REQUESTS: usize = 50;
/// The longest wait for recovery.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// The longest wait for what the service logs of an error: a task's comes when it is collected.
const LOG_MAX: Duration = Duration::from_secs(1);

/// Variable of a worker that makes errors, and the field of requests that ask for one: see `protocol/README.md`.
const VARIABLE: &str = "BIREME_FAULTS";
const FIELD: &str = "bireme-fault";

/// Errors that services make when asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injections {
    /// Variables of launches that are to fail.
    pub environment: Vec<(OsString, OsString)>,
    /// One after the other; what ends a worker comes last.
    pub all: Vec<Injection>,
}

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
    /// The neighbour's: the error is nobody's answer.
    AsNeighbour,
    /// The connection ends before the answer is whole: a whole one would be taken for good.
    BrokenOff,
}

impl Injections {
    /// Errors that Bireme's runtimes make where they call the application, in any service. `word` is known to these launches and
    /// requests alone.
    ///
    /// # Errors
    /// When the request cannot be sent.
    pub fn at_the_boundary(request: &Plain, word: &str) -> Result<Injections, String> {
        let kinds = [
            ("throw", Expected::Hundred(5)),
            ("rejection", Expected::AsNeighbour),
            ("timeout", Expected::Hundred(5)),
            ("aborted_stream", Expected::BrokenOff),
            ("allocation", Expected::Hundred(5)),
            ("crash", Expected::Hundred(5)),
        ];
        let neighbour = request.to_request()?;
        let mut all = Vec::new();
        for (error, expected) in kinds {
            let mut asking = request.clone();
            asking.fields.push((FIELD.to_owned(), format!("{word} {error}")));
            all.push(Injection {
                error: error.to_owned(),
                request: asking.to_request()?,
                neighbour: neighbour.clone(),
                expected,
            });
        }
        Ok(Injections { environment: vec![(VARIABLE.into(), word.into())], all })
    }
}

/// A launch that is to fail, and how it is asked.
struct Patient<'a> {
    server: Server,
    runtime: tokio::runtime::Runtime,
    routes: &'a Routes,
}

/// Makes all errors, in one launch as long as it recovers.
pub fn inject(routes: &Routes, which: Which, cancel: &Cancel, mut say: impl FnMut(&str)) -> Result<Vec<InjectedError>, String> {
    let mut seen = Vec::new();
    let mut patient: Option<Patient<'_>> = None;
    for injection in &routes.injections.all {
        say(&injection.error);
        let open = match patient.take() {
            Some(open) => open,
            None => Patient::start(routes, which, &injection.neighbour, cancel)?,
        };
        let error = open.suffer(injection, &routes.subject.sides[which.index()].name, cancel)?;
        patient = error.recovery_seconds.is_some().then_some(open);
        seen.push(error);
    }
    Ok(seen)
}

impl Patient<'_> {
    fn start<'a>(routes: &'a Routes, which: Which, neighbour: &Request, cancel: &Cancel) -> Result<Patient<'a>, String> {
        let mut launcher = routes.subject.launchers[which.index()].clone();
        launcher.environment.extend(routes.injections.environment.iter().cloned());
        launcher.arguments.extend(["--set".into(), format!("timeouts.response={}s", RESPONSE_TIMEOUT.as_secs()).into()]);
        let first = Routes { requests: vec![neighbour.clone()], ..routes.clone() };
        let (server, _) = launch::start(&first, &launcher, cancel)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Patient { server, runtime, routes })
    }

    fn suffer(&self, injection: &Injection, side: &str, cancel: &Cancel) -> Result<InjectedError, String> {
        let usual = self.ask(&injection.neighbour)?.status;
        self.server.take_printed();
        let (neighbours, answer, recovery) = self.beside_neighbours(injection, usual, cancel);
        if cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        let right = match (&answer, injection.expected) {
            (Ok(response), Expected::Hundred(hundred)) => response.status / 100 == hundred,
            (Ok(response), Expected::AsNeighbour) => response.status == usual,
            (Err(_), Expected::BrokenOff) => true,
            _ => false,
        };
        let path = injection.request.name.split([' ', '?']).nth(1).unwrap_or_default();
        Ok(InjectedError {
            side: side.to_owned(),
            error: injection.error.clone(),
            injected: true,
            answer: Some(answer.map_or_else(|why| why, |response| format!("status {}", response.status))),
            answer_right: Some(right),
            neighbours_failed: neighbours,
            stack_tied: Some(self.logs_stack_of(path)),
            recovery_seconds: recovery,
            remark: match recovery {
                None => Some(format!("no neighbour was answered for {} s", RECOVERY_MAX.as_secs())),
                Some(_) if injection.error == "throw" => self.cost(injection),
                Some(_) => None,
            },
        })
    }

    /// The error's answer and the time until a neighbour was answered as usual, while other neighbours ask on: how many of these were
    /// not, and how many there were.
    fn beside_neighbours(
        &self,
        injection: &Injection,
        usual: u16,
        cancel: &Cancel,
    ) -> (Option<(u64, u64)>, Result<Response, String>, Option<f64>) {
        let waits = if injection.error == "timeout" { RESPONSE_TIMEOUT } else { Duration::ZERO };
        let trial = Trial {
            rate: Some(NEIGHBOURS_RATE),
            seconds: (BEFORE + waits + AFTER).as_secs_f64(),
            connections_max: 8,
            timeout: self.routes.timeout,
            seed: 1,
        };
        let requests = [injection.neighbour.clone()];
        let address: SocketAddr = self.server.address;
        let (measured, answer, recovery) = std::thread::scope(|scope| {
            let load = scope.spawn(|| load::run(address, &requests, &trial, cancel));
            std::thread::sleep(BEFORE);
            let answer = self.ask(&injection.request);
            let recovery = self.recovery(&injection.neighbour, usual, cancel);
            (load.join().ok().and_then(Result::ok), answer, recovery)
        });
        let neighbours =
            measured.map(|measured| (measured.sent - measured.statuses.get(&usual).copied().unwrap_or(0), measured.sent));
        (neighbours, answer, recovery)
    }

    /// What it costs to throw and catch, as clients see it.
    fn cost(&self, injection: &Injection) -> Option<String> {
        let typical = |request: &Request| {
            let mut kept = None;
            let took = (0..COST_REQUESTS).filter_map(|_| {
                let asked = Instant::now();
                let exchange = async {
                    tokio::time::timeout(self.routes.timeout, answers::ask(self.server.address, &mut kept, request)).await
                };
                self.runtime.block_on(exchange).is_ok_and(|answer| answer.is_ok()).then(|| asked.elapsed().as_secs_f64())
            });
            let took: Vec<f64> = took.collect();
            (!took.is_empty()).then(|| quantity(median(&took), Unit::Seconds))
        };
        let (thrown, usual) = (typical(&injection.request)?, typical(&injection.neighbour)?);
        Some(format!("an answer takes {thrown} with the error and {usual} without, of {COST_REQUESTS} each"))
    }

    /// Seconds until a neighbour is answered as usual.
    fn recovery(&self, neighbour: &Request, usual: u16, cancel: &Cancel) -> Option<f64> {
        let hurt = Instant::now();
        while hurt.elapsed() < RECOVERY_MAX && !cancel.is_cancelled() {
            if self.ask(neighbour).is_ok_and(|response| response.status == usual) {
                return Some(hurt.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    fn ask(&self, request: &Request) -> Result<Response, String> {
        self.runtime.block_on(async {
            let mut fresh = None;
            let ask = answers::ask(self.server.address, &mut fresh, request);
            tokio::time::timeout(self.routes.timeout, ask).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        })
    }

    /// Whether the log has a stack, and names the request.
    fn logs_stack_of(&self, path: &str) -> bool {
        let until = Instant::now() + LOG_MAX;
        loop {
            let printed = self.server.printed();
            let stack = printed.contains("Traceback") || printed.lines().any(|line| line.trim_start().starts_with("at "));
            if stack && printed.contains(path) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
