//! Two services that answer the same requests, each under `bireme serve` in fresh launches.

mod answers;
mod curves;
mod errors;
mod launch;
mod rebind;
mod replay;

use std::time::{Duration, Instant};

use crate::document::{Comparison, Criterion, Equality, Launch, Outcome as Answers, Settings, Side};
use crate::equality::Likeness;
use crate::load::connection::Request;
use crate::load::null::{self, Ceiling};
use crate::measures::spoken;
use crate::server::{Server, ServerLauncher};
use crate::statistics::order::{self, Which};
use crate::statistics::verdict::short;
use crate::statistics::{median, quantile};
use crate::{Cancel, Outcome, Progress, Watch, measures};

pub use answers::{describe, of_parts};
pub use errors::{Expected, Injection};
pub use replay::Recording;
use launch::Rates;

/// Two services and what they are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Routes {
    /// Unique in the document.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it stands for.
    pub criterion: Option<Criterion>,
    /// What makes it unfair and how that was avoided.
    pub note: Option<String>,
    /// Left and right.
    pub sides: [Side; 2],
    /// How each is launched.
    pub launchers: [ServerLauncher; 2],
    /// The services' names in their configuration.
    pub services: [String; 2],
    /// What is asked, in turn.
    pub requests: Vec<Request>,
    /// Requests of which only the status is comparable, by their place above.
    pub status_alone: Vec<usize>,
    /// How answers are compared.
    pub likeness: Likeness,
    /// When a rate counts as carried.
    pub service_level: ServiceLevel,
    /// Errors that the services offer to make.
    pub injections: Vec<Injection>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Open connections of the generator.
    pub connections_max: usize,
}

/// When a rate counts as carried: at most one in a thousand without a good answer, and p99 below a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLevel {
    /// Of p99.
    pub p99_seconds: f64,
}

impl std::fmt::Display for ServiceLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p99 < {} ms", self.p99_seconds * 1e3)
    }
}

/// Answers first, then the generator's calibration, a pilot for the rates, and launches in randomised ABBA blocks. Whatever happens,
/// what was measured is returned.
pub fn compare(routes: &Routes, settings: &Settings, cancel: &Cancel, watch: Watch) -> Outcome {
    let mut outcome = run(routes, settings, cancel, watch, |run| run.all());
    rules(&mut outcome.comparison, routes.service_level);
    outcome
}

/// Like [`compare`], by recorded traffic in place of rates.
pub fn replay(routes: &Routes, recording: &Recording, settings: &Settings, cancel: &Cancel, watch: Watch) -> Outcome {
    run(routes, settings, cancel, watch, |run| run.all_of_replay(recording))
}

fn run(
    routes: &Routes,
    settings: &Settings,
    cancel: &Cancel,
    watch: Watch,
    all: impl FnOnce(&mut Run<'_>) -> Result<(), String>,
) -> Outcome {
    let comparison = Comparison {
        name: routes.name.clone(),
        title: routes.title.clone(),
        criterion: routes.criterion,
        note: routes.note.clone(),
        sides: routes.sides.to_vec(),
        equality: Equality::default(),
        measures: Vec::new(),
        launches: Vec::new(),
        curves: Vec::new(),
        errors: Vec::new(),
        rules: Vec::new(),
        remarks: Vec::new(),
    };
    let now = Instant::now();
    let mut run = Run { routes, settings, cancel, watch, began: now, measuring_since: now, launches_done: 0, comparison };
    let stopped = all(&mut run).err();
    let block_seconds = run.block_seconds();
    let mut comparison = run.comparison;
    measures::derive(&mut comparison, settings, block_seconds);
    Outcome { comparison, stopped }
}

struct Run<'a> {
    routes: &'a Routes,
    settings: &'a Settings,
    cancel: &'a Cancel,
    watch: Watch<'a>,
    began: Instant,
    measuring_since: Instant,
    launches_done: usize,
    comparison: Comparison,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), String> {
        self.say("comparing answers", 0.0);
        self.comparison.equality = answers::compare(self.routes, self.settings, &mut self.comparison.sides, self.cancel)?;
        self.inject_errors()?;
        if self.comparison.equality.outcome == Answers::Different {
            return Ok(());
        }
        self.say("calibrating the load generator", 0.0);
        let ceiling = null::calibrate((self.settings.launch_seconds / 10.0).clamp(0.1, 1.0), self.settings.seed, self.cancel)?;
        self.comparison.remarks.push(format!(
            "load generator: open loop, up to {:.0} requests/s against a null server on this machine, where it adds {:.2} ms at p50",
            ceiling.rate,
            ceiling.floor_seconds * 1e3
        ));
        let rates = self.pilot(&ceiling)?;
        self.measuring_since = Instant::now();
        let measured = self.measure_blocks(&rates);
        self.remark_void();
        measured?;
        self.draw_curves()
    }

    /// A launch of each side that counts for nothing, to find the rates of those that count.
    fn pilot(&mut self, ceiling: &Ceiling) -> Result<[Rates; 2], String> {
        let mut capacities = [0.0; 2];
        for which in [Which::Left, Which::Right] {
            self.say(&format!("finding the capacity of {}", self.name(which)), 0.0);
            let server = Server::start(&self.routes.launchers[which.index()], self.cancel)?;
            let seconds = (self.settings.launch_seconds / 12.0).clamp(0.15, 1.0);
            let found = launch::capacity_by_doubling(self.routes, &server, seconds, ceiling, self.settings.seed, self.cancel)?;
            capacities[which.index()] = found.rate;
        }
        let smaller = capacities[0].min(capacities[1]);
        Ok(capacities.map(|own| Rates { smaller, own, ceiling: ceiling.rate }))
    }

    fn measure_blocks(&mut self, rates: &[Rates; 2]) -> Result<(), String> {
        let orders = order::blocks(self.settings.blocks, self.settings.seed);
        for (block, order) in orders.iter().enumerate() {
            for (position, which) in order.iter().enumerate() {
                let done = self.launches_done as f64 / (orders.len() * 4) as f64;
                self.say(&format!("block {} of {}, {}", block + 1, orders.len(), self.name(*which)), done);
                let began_seconds = self.began.elapsed().as_secs_f64();
                let measured =
                    launch::measure(self.routes, *which, &rates[which.index()], self.settings, self.launches_done, self.cancel)?;
                self.comparison.launches.push(Launch {
                    block: u32::try_from(block).unwrap_or(u32::MAX),
                    position: u32::try_from(position).unwrap_or(u32::MAX),
                    began_seconds,
                    ..measured.launch
                });
                if block == 0 {
                    curves::trace(&mut self.comparison, &self.routes.sides[which.index()].name, &measured.trace);
                }
                for why in measured.void {
                    let remark = format!("{}, block {}: {why}; that trial is void", self.name(*which), block + 1);
                    self.comparison.remarks.push(remark);
                }
                self.launches_done += 1;
            }
        }
        Ok(())
    }

    /// One line for many void trials.
    fn remark_void(&mut self) {
        let is_void = |remark: &String| remark.ends_with("that trial is void");
        let count = self.comparison.remarks.iter().filter(|remark| is_void(remark)).count();
        if count > 3 {
            let first = self.comparison.remarks.iter().find(|remark| is_void(remark)).cloned().unwrap_or_default();
            self.comparison.remarks.retain(|remark| !is_void(remark));
            self.comparison.remarks.push(format!("{count} trials are void, the first of them: {first}"));
        }
        if !self.comparison.launches.iter().any(|launch| launch.values.keys().any(|key| key.starts_with("latency_p99"))) {
            let remark = "no p99 is compared: it takes 10,000 answers a launch at one rate; a longer --launch gives more".to_owned();
            self.comparison.remarks.push(remark);
        }
    }

    fn draw_curves(&mut self) -> Result<(), String> {
        curves::latency(&mut self.comparison);
        for which in [Which::Left, Which::Right] {
            self.say(&format!("throughput against concurrency, {}", self.name(which)), 1.0);
            curves::concurrency(self.routes, which, self.settings, &mut self.comparison, self.cancel)?;
            self.say(&format!("held connections, {}", self.name(which)), 1.0);
            curves::connections(self.routes, which, &mut self.comparison, self.cancel)?;
        }
        curves::workers(self.routes, self.settings, &mut self.comparison, self.cancel)?;
        if self.settings.effort != crate::document::Effort::Quick {
            self.say("resting for 30 s", 1.0);
            curves::rest(self.routes, self.settings, &mut self.comparison, self.cancel)?;
        }
        Ok(())
    }

    fn inject_errors(&mut self) -> Result<(), String> {
        for which in [Which::Left, Which::Right] {
            for injection in &self.routes.injections {
                self.say(&format!("injecting {} into {}", injection.error, self.name(which)), 0.0);
                let seen = errors::inject(self.routes, which, injection, self.cancel)?;
                self.comparison.errors.push(seen);
            }
        }
        Ok(())
    }

    fn name(&self, which: Which) -> &str {
        &self.routes.sides[which.index()].name
    }

    fn block_seconds(&self) -> f64 {
        self.measuring_since.elapsed().as_secs_f64() / self.launches_done.max(1) as f64 * 4.0
    }

    fn say(&mut self, stage: &str, done: f64) {
        let launches = f64::from(self.settings.blocks) * 4.0;
        let left_seconds = match self.launches_done {
            0 => launches * (self.settings.launch_seconds + 2.0),
            done => (launches - done as f64) * self.block_seconds() / 4.0,
        };
        (self.watch)(Progress { stage: format!("{}: {stage}", self.routes.name), done, left_seconds });
    }
}

/// Up to what rate the side of less capacity is enough: the least that any launch of it carried.
fn rules(comparison: &mut Comparison, level: ServiceLevel) {
    let Some(capacity) = comparison.measures.iter().find(|measure| measure.id == "capacity") else { return };
    let (summary, at) = match capacity.left.median < capacity.right.median {
        true => (&capacity.left, 0),
        false => (&capacity.right, 1),
    };
    let (Some(slower), Some(other)) = (comparison.sides.get(at), comparison.sides.get(1 - at)) else { return };
    let rule = if capacity.left.at_least || capacity.right.at_least {
        format!("both carry at least {:.0} requests/s at {level}; beyond that the load generator was the limit", summary.least)
    } else {
        let times = capacity.left.median.max(capacity.right.median) / capacity.left.median.min(capacity.right.median);
        format!("{} is enough below {:.0} requests/s at {level}; {} carries {}× that", spoken(&slower.name), summary.least, spoken(&other.name), short(times))
    };
    comparison.rules.push(rule);
}

/// Median and greatest of sampled sizes.
fn steady_and_peak(sizes: &[(f64, f64)]) -> Option<(f64, f64)> {
    let bytes: Vec<f64> = sizes.iter().map(|size| size.1).collect();
    (!bytes.is_empty()).then(|| (median(&bytes[bytes.len() / 2..]), quantile(&bytes, 1.0)))
}
