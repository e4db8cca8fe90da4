//! The load generator: open loop, on one thread, timed from the intended send.
//!
//! Requests leave at times that were drawn before (exponential gaps, from the run's seed), whether or not earlier ones were answered;
//! a request that has to wait for a connection waits within its latency. So a server that stalls cannot slow its own test down
//! (coordinated omission). It also measures itself: how late it was itself, and what it can do at all.

pub mod coding;
pub mod connection;
pub mod null;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::Cancel;
use connection::{Connection, Request};

/// Requests that may wait for a connection; beyond, the server is overrun and the trial ends.
const BACKLOG_MAX: usize = 20_000;
/// Answers of which times are kept, to find change points.
const TRACE_MAX: usize = 50_000;
/// Longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(120);
/// What is done when arrivals lie closer than this: they are sent together.
const STEP: Duration = Duration::from_micros(50);
/// The generator's own lateness that counts for nothing.
const LATENESS_ALLOWED: f64 = 300e-6;
/// Its part of a latency that makes a trial void.
const LATENESS_PART: f64 = 0.25;

/// What is sent, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Requests a second; `None` for a closed loop: each connection sends its next request when it has its answer.
    pub rate: Option<f64>,
    /// How long requests are sent.
    pub seconds: f64,
    /// Connections that may be open; all of them in a closed loop.
    pub connections_max: usize,
    /// The longest wait for an answer.
    pub timeout: Duration,
    /// Of the gaps between arrivals and the order of requests.
    pub seed: u64,
}

/// What a trial gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Requests sent.
    pub sent: u64,
    /// Answers with a status below 500, or the error that was expected, by the trial's end or the timeout.
    pub good: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by what happened.
    pub failures: BTreeMap<String, u64>,
    /// From the intended send to the end of the answer, in nanoseconds; requests without an answer count as the timeout.
    pub latency: Histogram<u64>,
    /// From the intended send to its being handed to a connection that was free, in nanoseconds.
    pub lateness: Histogram<u64>,
    /// From the first intended send to the last answer.
    pub elapsed: Duration,
    /// The first answers: seconds from the start to the intended send, and latency.
    pub trace: Vec<(f64, f64)>,
    /// Why it ended early.
    pub overrun: Option<String>,
}

impl Measured {
    /// Seconds at a quantile.
    pub fn at(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e9
    }

    /// Answers a second.
    pub fn throughput(&self) -> f64 {
        self.good as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Part of the requests that had no good answer.
    pub fn failed_part(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { 1.0 - self.good as f64 / self.sent as f64 }
    }

    /// Why the generator, and not the server, made these latencies; `None` when they are the server's.
    pub fn late(&self) -> Option<String> {
        [0.5, 0.99].into_iter().find_map(|quantile| {
            let lateness = self.lateness.value_at_quantile(quantile) as f64 / 1e9;
            let allowed = LATENESS_ALLOWED.max(LATENESS_PART * self.at(quantile));
            (lateness > allowed).then(|| {
                format!(
                    "the generator itself was {:.1} ms late at p{:.0}, of {:.1} ms of latency",
                    lateness * 1e3,
                    quantile * 100.0,
                    self.at(quantile) * 1e3
                )
            })
        })
    }
}

/// Sends the requests, over and over, as the trial says. Blocks this thread.
///
/// # Errors
/// When nothing can be sent at all: no timer, no first connection. When the run is cancelled: half a trial says nothing.
pub fn run(address: SocketAddr, requests: &[Request], trial: &Trial, cancel: &Cancel) -> Result<Measured, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the load generator cannot start: {error}"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, generate(address, requests, trial, cancel))
}

/// A request that is due.
#[derive(Clone, Copy)]
struct Due {
    intended: Instant,
    request: usize,
}

struct Shared {
    address: SocketAddr,
    requests: Vec<Request>,
    timeout: Duration,
    backlog: VecDeque<Due>,
    /// Connections that wait for something to send.
    idle: usize,
    open: usize,
    outstanding: u64,
    /// No more arrivals.
    over: bool,
    wake: Rc<Notify>,
    settled: Rc<Notify>,
    measured: Measured,
    began: Instant,
    last_answer: Instant,
}

type State = Rc<RefCell<Shared>>;

async fn generate(address: SocketAddr, requests: &[Request], trial: &Trial, cancel: &Cancel) -> Result<Measured, String> {
    if requests.is_empty() {
        return Err("there is no request to send".to_owned());
    }
    Connection::open(address).await.map_err(|error| format!("no connection to {address}: {error}"))?;
    let histogram = || {
        let highest = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        Histogram::new_with_bounds(1, highest, 3).map_err(|error| error.to_string())
    };
    let began = Instant::now();
    let state = Rc::new(RefCell::new(Shared {
        address,
        requests: requests.to_vec(),
        timeout: trial.timeout,
        backlog: VecDeque::new(),
        idle: 0,
        open: 0,
        outstanding: 0,
        over: false,
        wake: Rc::new(Notify::new()),
        settled: Rc::new(Notify::new()),
        measured: Measured {
            sent: 0,
            good: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            latency: histogram()?,
            lateness: histogram()?,
            elapsed: Duration::ZERO,
            trace: Vec::new(),
            overrun: None,
        },
        began,
        last_answer: began,
    }));
    match trial.rate {
        Some(rate) => arrivals(&state, trial, rate, began, cancel).await?,
        None => closed_loop(&state, trial, began, cancel).await,
    }
    settle(&state, trial.timeout, cancel).await;
    if cancel.is_cancelled() {
        return Err("interrupted".to_owned());
    }
    let mut measured = state.borrow().measured.clone();
    measured.elapsed = state.borrow().last_answer.duration_since(began).max(Duration::from_micros(1));
    Ok(measured)
}

/// Hands out requests at drawn times.
async fn arrivals(state: &State, trial: &Trial, rate: f64, began: Instant, cancel: &Cancel) -> Result<(), String> {
    let timer = Timer::new().map_err(|error| format!("no timer: {error}"))?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(trial.seed);
    let mut at = 0.0;
    let mut gap = || -(1.0 - random.random::<f64>()).ln() / rate;
    let mut number = 0;
    loop {
        at += gap();
        if at >= trial.seconds || cancel.is_cancelled() {
            return Ok(());
        }
        let intended = began + Duration::from_secs_f64(at);
        let ahead = intended.saturating_duration_since(Instant::now());
        if ahead > STEP {
            timer.sleep(ahead).await.map_err(|error| format!("the timer failed: {error}"))?;
        } else if number % 16 == 0 {
            // Arrivals that are due at once must not keep answers from being read.
            tokio::task::yield_now().await;
        }
        let due = Due { intended, request: number };
        number += 1;
        if !hand_out(state, due, trial.connections_max) {
            let why = format!("more than {BACKLOG_MAX} requests waited for an answer of another");
            state.borrow_mut().measured.overrun = Some(why);
            return Ok(());
        }
    }
}

/// `false` when too many wait.
fn hand_out(state: &State, due: Due, connections_max: usize) -> bool {
    let mut shared = state.borrow_mut();
    if shared.backlog.len() >= BACKLOG_MAX {
        return false;
    }
    shared.measured.sent += 1;
    shared.outstanding += 1;
    // Lateness is the generator's own only while a connection is there to take the request.
    let free = shared.idle > shared.backlog.len() || shared.open < connections_max;
    if free {
        let late = nanoseconds(due.intended.elapsed());
        shared.measured.lateness.saturating_record(late);
    }
    shared.backlog.push_back(due);
    if shared.idle >= shared.backlog.len() {
        shared.wake.notify_one();
    } else if shared.open < connections_max {
        shared.open += 1;
        drop(shared);
        tokio::task::spawn_local(serve_backlog(state.clone()));
    }
    true
}

/// One connection's life: takes what is due, or waits.
async fn serve_backlog(state: State) {
    let (address, timeout, wake) = {
        let shared = state.borrow();
        (shared.address, shared.timeout, shared.wake.clone())
    };
    let mut connection = None;
    loop {
        let due = state.borrow_mut().backlog.pop_front();
        let Some(due) = due else {
            if state.borrow().over {
                return;
            }
            state.borrow_mut().idle += 1;
            wake.notified().await;
            state.borrow_mut().idle -= 1;
            continue;
        };
        one(&state, &mut connection, address, due, timeout).await;
    }
}

/// Each connection sends, waits, and sends again.
async fn closed_loop(state: &State, trial: &Trial, began: Instant, cancel: &Cancel) {
    let until = began + Duration::from_secs_f64(trial.seconds);
    let mut lines = Vec::new();
    for line in 0..trial.connections_max {
        let (state, timeout, cancel) = (state.clone(), trial.timeout, cancel.clone());
        lines.push(tokio::task::spawn_local(async move {
            let address = state.borrow().address;
            let mut connection = None;
            let mut request = line;
            while Instant::now() < until && !cancel.is_cancelled() {
                {
                    let mut shared = state.borrow_mut();
                    shared.measured.sent += 1;
                    shared.outstanding += 1;
                }
                one(&state, &mut connection, address, Due { intended: Instant::now(), request }, timeout).await;
                request += 1;
            }
        }));
    }
    for line in lines {
        // A line that panicked has said so; the others count.
        let _ = line.await;
    }
}

async fn one(state: &State, connection: &mut Option<Connection>, address: SocketAddr, due: Due, timeout: Duration) {
    let request = {
        let shared = state.borrow();
        shared.requests[due.request % shared.requests.len()].clone()
    };
    let work = async {
        let open = match connection.take() {
            Some(open) => open,
            None => Connection::open(address).await.map_err(|error| format!("no connection: {error}"))?,
        };
        let open = connection.insert(open);
        open.exchange(&request, false).await
    };
    let left = (due.intended + timeout).saturating_duration_since(Instant::now());
    let result = tokio::time::timeout(left, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let mut shared = state.borrow_mut();
    let now = Instant::now();
    match result {
        Ok((response, again)) => {
            if !again {
                *connection = None;
            }
            *shared.measured.statuses.entry(response.status).or_default() += 1;
            shared.measured.good += u64::from(response.status < 500 || request.error_expected);
            shared.measured.latency.saturating_record(nanoseconds(now - due.intended));
            if shared.measured.trace.len() < TRACE_MAX {
                let at = due.intended.saturating_duration_since(shared.began).as_secs_f64();
                shared.measured.trace.push((at, (now - due.intended).as_secs_f64()));
            }
            shared.last_answer = now;
        }
        Err(why) => {
            *connection = None;
            *shared.measured.failures.entry(why).or_default() += 1;
            shared.measured.latency.saturating_record(nanoseconds(timeout));
            shared.last_answer = now;
        }
    }
    shared.outstanding -= 1;
    if shared.outstanding == 0 {
        shared.settled.notify_one();
    }
}

/// Waits for answers that are outstanding; each has its own timeout.
async fn settle(state: &State, timeout: Duration, cancel: &Cancel) {
    let (settled, wake) = {
        let mut shared = state.borrow_mut();
        shared.over = true;
        (shared.settled.clone(), shared.wake.clone())
    };
    let until = Instant::now() + timeout + Duration::from_secs(1);
    while state.borrow().outstanding > 0 && Instant::now() < until && !cancel.is_cancelled() {
        let _ = tokio::time::timeout(Duration::from_millis(100), settled.notified()).await;
    }
    wake.notify_waiters();
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The kernel's timer: tokio's own rounds up to a millisecond, which is longer than many answers.
struct Timer(AsyncFd<std::os::fd::OwnedFd>);

impl Timer {
    fn new() -> std::io::Result<Timer> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd, which stays open and the same; what takes its place is an unsafe function"
        )]
        Ok(Timer(AsyncFd::new(timer)?))
    }

    async fn sleep(&self, duration: Duration) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            // Zero would disarm it.
            tv_nsec: i64::from(duration.subsec_nanos().max(1)),
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &Itimerspec { it_interval: zero, it_value: value })?;
        let mut ready = self.0.readable().await?;
        let mut expirations = [0; 8];
        match rustix::io::read(self.0.get_ref(), &mut expirations) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trial of requests whose latency and whose generator's own lateness were these, in milliseconds.
    fn measured(latency_ms: u64, lateness_ms: f64) -> Measured {
        let histogram = |milliseconds: f64| {
            let mut histogram = Histogram::new_with_bounds(1, 10_000_000_000, 3).unwrap();
            histogram.record_n((milliseconds * 1e6) as u64, 100).unwrap();
            histogram
        };
        Measured {
            sent: 100,
            good: 100,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            latency: histogram(latency_ms as f64),
            lateness: histogram(lateness_ms),
            elapsed: Duration::from_secs(1),
            trace: Vec::new(),
            overrun: None,
        }
    }

    #[test]
    fn latencies_that_the_generator_made_are_told_from_the_servers() {
        assert_eq!(measured(20, 0.1).late(), None);
        assert_eq!(measured(1, 0.2).late(), None, "what is below 0.3 ms counts for nothing");
        assert_eq!(measured(100, 20.0).late(), None, "a fifth of the latency");
        let why = measured(20, 10.0).late().unwrap();
        assert!(why.contains("the generator itself was 10.0 ms late at p50, of 20.0 ms of latency"), "{why}");
    }
}
