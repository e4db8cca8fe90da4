//! One launch: started cold, started warm, called for a while, looked at, ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::runner::{Launcher, Runner};
use crate::document::{Distribution, Launch};
use crate::lines::{QUANTILES, Trace};
use crate::statistics::change_points::warm_up;
use crate::statistics::{mean, median, quantile_sorted};
use crate::{Cancel, processes};

/// Calls a launch, after warm-up, below which its p99 rests on too few.
pub const PERCENTILE_CALLS: usize = 10_000;
/// In flight when an asynchronous function's throughput is measured.
const IN_FLIGHT: u32 = 16;
/// Part of the calls that may fail in flight beyond those that fail alone; a call that fails for want of something is no throughput.
const FAILED_PART_ALLOWED: f64 = 0.001;
/// Key of the part that failed, in launches where it was more: these have no throughput in flight.
pub const FAILED_IN_FLIGHT: &str = "failed_concurrent";
/// Throws timed, and how many calls below the catch.
const THROWS: u32 = 2_000;
const THROW_DEPTH: u32 = 10;

/// How a side's function is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// It returns a promise or an awaitable.
    pub asynchronous: bool,
    /// Every call gets a freshly parsed input.
    pub parse: bool,
    /// Calls in a sample.
    pub calls: u32,
}

/// Measures one launch. `place` is the block and the position in it.
pub fn measure(
    launcher: &Launcher,
    cases: &Path,
    how: How,
    seconds: f64,
    place: (u32, u32),
    cancel: &Cancel,
) -> Result<(Launch, Trace), String> {
    let mut values = BTreeMap::new();
    values.insert("start_cold".to_owned(), cold_start(launcher, cases, cancel)?);
    let (mut runner, start) = start(launcher, cases, cancel)?;
    values.insert("start_warm".to_owned(), start);
    let memory = |runner: &Runner| processes::memory(runner.pid()).map(|bytes| bytes as f64);
    values.extend(memory(&runner).map(|bytes| ("memory_idle".to_owned(), bytes)));
    let pid = runner.pid();
    let (timed, sizes) = processes::watching(pid, || runner.time(seconds, how.calls, how.parse, how.asynchronous));
    let timed = timed?;
    let mut at = 0.0;
    let mut samples = Vec::with_capacity(timed.took.len());
    for took in timed.took {
        samples.push((at, took));
        at += took * f64::from(how.calls);
    }
    let warm_up = warm_up(&samples);
    let steady_after = warm_up.as_ref().map_or(0.0, |warm_up| warm_up.steady_after_seconds.unwrap_or(at / 2.0));
    let mut steady: Vec<f64> = samples.iter().filter(|sample| sample.0 >= steady_after).map(|sample| sample.1).collect();
    steady.sort_by(f64::total_cmp);
    let latency = Distribution {
        count: steady.len() as u64 * u64::from(how.calls),
        quantiles: QUANTILES.map(|q| (q, quantile_sorted(&steady, q))).to_vec(),
    };
    values.insert("latency_p50".to_owned(), quantile_sorted(&steady, 0.5));
    if how.calls == 1 && steady.len() >= PERCENTILE_CALLS {
        values.insert("latency_p99".to_owned(), quantile_sorted(&steady, 0.99));
    }
    values.insert("throughput".to_owned(), 1.0 / mean(&steady));
    let calls = samples.len() as f64 * f64::from(how.calls);
    values.insert("cpu".to_owned(), timed.cpu_seconds / calls);
    if let Some(peak) = sizes.iter().map(|size| size.1).reduce(f64::max) {
        let late = sizes[sizes.len() / 2..].iter().map(|size| size.1).collect::<Vec<_>>();
        values.insert("memory_steady".to_owned(), median(&late));
        values.insert("memory_peak".to_owned(), peak);
    }
    if how.asynchronous {
        let flooded = runner.flood((seconds / 4.0).min(2.0), IN_FLIGHT)?;
        let (failed, alone) = (part(flooded.errors, flooded.calls + flooded.errors), part(timed.errors, calls as u64));
        if failed > alone + FAILED_PART_ALLOWED {
            values.insert(FAILED_IN_FLIGHT.to_owned(), failed);
        } else {
            values.insert("throughput_concurrent".to_owned(), flooded.calls as f64 / flooded.elapsed_seconds);
        }
    }
    values.insert("error_cost".to_owned(), runner.throw(THROWS, THROW_DEPTH)?);
    values.retain(|_, value| value.is_finite());
    let launch = Launch {
        side: launcher.name.clone(),
        block: place.0,
        position: place.1,
        began_seconds: 0.0,
        values,
        warm_up,
        latency: Some(latency),
        void: None,
    };
    Ok((launch, Trace { latency: samples, memory: sizes }))
}

fn part(failed: u64, all: u64) -> f64 {
    failed as f64 / all.max(1) as f64
}

/// A process that has been under load for a time, for memory after a rest.
pub fn loaded(launcher: &Launcher, cases: &Path, how: How, seconds: f64, cancel: &Cancel) -> Result<Runner, String> {
    let (mut runner, _) = start(launcher, cases, cancel)?;
    runner.time(seconds, how.calls, how.parse, how.asynchronous)?;
    Ok(runner)
}

/// Seconds from the order to start to the first answer; what our own reading of the cases takes is left out.
fn start(launcher: &Launcher, cases: &Path, cancel: &Cancel) -> Result<(Runner, f64), String> {
    let mut runner = Runner::launch(launcher, cancel)?;
    runner.load(cases)?;
    let asked = Instant::now();
    runner.answer(0)?;
    let seconds = (runner.loaded_after + asked.elapsed()).as_secs_f64();
    Ok((runner, seconds))
}

fn cold_start(launcher: &Launcher, cases: &Path, cancel: &Cancel) -> Result<f64, String> {
    let empty = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let code = launcher.target.parent().into_iter().flat_map(std::fs::read_dir).flatten().flatten().map(|entry| entry.path());
    for file in code.chain([launcher.interpreter.clone()]) {
        drop_pages(&file);
    }
    let mut cold = launcher.clone();
    cold.environment.push(("PYTHONPYCACHEPREFIX".into(), empty.path().into()));
    start(&cold, cases, cancel).map(|(_, seconds)| seconds)
}

/// Asks the kernel to forget a file's cached pages; those that a process has mapped stay.
fn drop_pages(file: &Path) {
    if let Ok(file) = std::fs::File::open(file) {
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}
