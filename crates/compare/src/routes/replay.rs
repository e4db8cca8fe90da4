//! Recorded traffic, replayed against two services: sessions in order, cookies and tokens rebound, timing kept or scaled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::rebind::Session;
use super::{Routes, Run, answers, launch, steady_and_peak};
use crate::document::{Distribution, Launch, Outcome as Answers};
use crate::equality::{Answer, Comparer};
use crate::lines::{self, QUANTILES, Trace};
use crate::requests::Entry;
use crate::statistics::order::{self, Which};
use crate::statistics::quantile;
use crate::{Cancel, processes};

/// Answers of a replay below which its p99 rests on too few.
const PERCENTILE_ANSWERS: usize = 10_000;
/// How often a pause looks whether the run was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// The part of a pause that is left when a replay is as fast as it can be.
const NO_PAUSES: f64 = 0.0;

/// What is replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// In order of time.
    pub entries: Vec<Entry>,
    /// 1 keeps the recorded pauses, 2 halves them, 0 leaves none.
    pub speed: f64,
}

/// One answer of a replay.
struct Replayed {
    entry: usize,
    seconds: f64,
    answer: Answer,
}

impl Run<'_> {
    pub(super) fn all_of_replay(&mut self, recording: &Recording) -> Result<(), String> {
        self.pace.say("comparing answers");
        self.compare_replays(recording)?;
        if self.comparison.equality.outcome == Answers::Different {
            return Ok(());
        }
        self.inject_errors()?;
        self.pace.begin_blocks();
        let measured = self.measure_replays(recording);
        lines::distribution(&mut self.comparison, "Latency by quantile, as replayed");
        measured?;
        self.comparison.remarks.push(format!(
            "replayed: {} requests of {} sessions, {}; latency counts from when a session would have sent, or had the answer before",
            recording.entries.len(),
            sessions(&recording.entries).len(),
            if recording.speed == NO_PAUSES { "without pauses".to_owned() } else { format!("at {}× the recorded pace", recording.speed) }
        ));
        Ok(())
    }

    fn measure_replays(&mut self, recording: &Recording) -> Result<(), String> {
        let orders = order::blocks(self.settings.blocks, self.settings.seed);
        for (block, order) in orders.iter().enumerate() {
            for (position, which) in order.iter().enumerate() {
                self.say(*which, &format!("block {} of {},", block + 1, orders.len()));
                let began_seconds = self.pace.elapsed();
                let (launch, trace) = measure(self.routes, *which, recording, self.cancel)?;
                lines::trace(&mut self.comparison, &launch.side, "since the first request", &trace);
                let (block, position) = (u32::try_from(block).unwrap_or(u32::MAX), u32::try_from(position).unwrap_or(u32::MAX));
                self.comparison.launches.push(Launch { block, position, began_seconds, ..launch });
                self.pace.launched();
            }
        }
        Ok(())
    }

    fn compare_replays(&mut self, recording: &Recording) -> Result<(), String> {
        let mut replays = Vec::new();
        for which in [Which::Left, Which::Left, Which::Right, Which::Right] {
            let (server, _) = launch::start(self.routes, &self.routes.subject.launchers[which.index()], self.cancel)?;
            if replays.len() % 2 == 0 {
                let side = &mut self.comparison.sides[which.index()];
                answers::describe(side, &self.routes.services[which.index()], &server.printed());
            }
            // Pauses change no answer.
            let unhurried = Recording { speed: NO_PAUSES, ..recording.clone() };
            replays.push(replay(self.routes, server.address, &unhurried, self.cancel)?);
        }
        let mut comparer = Comparer::of_traffic(self.routes.likeness.clone());
        for (at, entry) in recording.entries.iter().enumerate() {
            let [a, b, c, d] = [0, 1, 2, 3].map(|replay| &replays[replay][at].answer);
            comparer.add(&format!("entry {}, {}", at + 1, entry.request.name()), [a, b], [c, d]);
        }
        self.comparison.equality = comparer.finish(recording.entries.len() as u64, 1, self.settings.confidence);
        Ok(())
    }
}

fn measure(routes: &Routes, which: Which, recording: &Recording, cancel: &Cancel) -> Result<(Launch, Trace), String> {
    let launcher = &routes.subject.launchers[which.index()];
    let (server, started) = launch::start(routes, launcher, cancel)?;
    let mut values = BTreeMap::from([("start_warm".to_owned(), started)]);
    values.extend(processes::memory(server.pid()).map(|bytes| ("memory_idle".to_owned(), bytes as f64)));
    let busy = processes::processor_time(server.pid());
    let (replayed, sizes) = processes::watching(server.pid(), || replay(routes, server.address, recording, cancel));
    let replayed = replayed?;
    let busy = processes::processor_time(server.pid()).saturating_sub(busy).as_secs_f64();
    let latencies: Vec<f64> = replayed.iter().map(|one| one.seconds).collect();
    values.insert("latency_p50".to_owned(), quantile(&latencies, 0.5));
    if latencies.len() >= PERCENTILE_ANSWERS {
        values.insert("latency_p99".to_owned(), quantile(&latencies, 0.99));
    }
    values.insert("cpu".to_owned(), busy / latencies.len() as f64);
    if let Some((steady, peak)) = steady_and_peak(&sizes) {
        values.insert("memory_steady".to_owned(), steady);
        values.insert("memory_peak".to_owned(), peak);
    }
    values.retain(|_, value| value.is_finite() && *value > 0.0);
    let quantiles = QUANTILES.map(|q| (q, quantile(&latencies, q))).to_vec();
    let launch = Launch {
        side: launcher.name.clone(),
        block: 0,
        position: 0,
        began_seconds: 0.0,
        values,
        warm_up: None,
        latency: Some(Distribution { count: latencies.len() as u64, quantiles }),
        void: None,
    };
    Ok((launch, Trace { memory: sizes, ..Trace::default() }))
}

/// Entries of each session, in order.
fn sessions(entries: &[Entry]) -> Vec<Vec<usize>> {
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        found.entry(entry.session.as_str()).or_default().push(at);
    }
    found.into_values().collect()
}

/// All sessions side by side; the answers come in the order of the entries.
fn replay(routes: &Routes, address: SocketAddr, recording: &Recording, cancel: &Cancel) -> Result<Vec<Replayed>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let local = tokio::task::LocalSet::new();
    let entries = std::rc::Rc::new(recording.entries.clone());
    let (timeout, speed, began) = (routes.timeout, recording.speed, Instant::now());
    let mut all = local.block_on(&runtime, async {
        let lines = sessions(&entries).into_iter().map(|order| {
            let (entries, cancel) = (entries.clone(), cancel.clone());
            tokio::task::spawn_local(async move { session(address, &entries, &order, speed, began, timeout, &cancel).await })
        });
        let mut all = Vec::new();
        for line in lines.collect::<Vec<_>>() {
            all.extend(line.await.map_err(|error| error.to_string())??);
        }
        Ok::<_, String>(all)
    })?;
    all.sort_by_key(|one| one.entry);
    Ok(all)
}

async fn session(
    address: SocketAddr,
    entries: &[Entry],
    order: &[usize],
    speed: f64,
    began: Instant,
    timeout: Duration,
    cancel: &Cancel,
) -> Result<Vec<Replayed>, String> {
    let (mut live, mut connection, mut replayed) = (Session::default(), None, Vec::new());
    for &at in order {
        let entry = &entries[at];
        if cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        let ready = Instant::now();
        let meant = if speed > 0.0 { began + Duration::from_secs_f64(entry.at_ms / 1e3 / speed) } else { ready };
        while Instant::now() < meant {
            if cancel.is_cancelled() {
                return Err("interrupted".to_owned());
            }
            tokio::time::sleep_until(meant.min(Instant::now() + CANCEL_POLL).into()).await;
        }
        let intended = meant.max(ready);
        let request = live.prepare(&entry.request).to_request().map_err(|error| format!("entry {}: {error}", at + 1))?;
        let ask = answers::ask(address, &mut connection, &request);
        let response = tokio::time::timeout(timeout, ask).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let seconds = intended.elapsed().as_secs_f64();
        let response = response.map(|mut response| {
            response.decode();
            live.learn(entry, &response);
            for (_, value) in &mut response.fields {
                *value = live.redact(&String::from_utf8_lossy(value)).into_bytes();
            }
            response.body = live.redact(&answers::text_of(&response.body)).into_bytes();
            response
        });
        replayed.push(Replayed { entry: at, seconds, answer: answers::answer(response, false) });
    }
    Ok(replayed)
}
