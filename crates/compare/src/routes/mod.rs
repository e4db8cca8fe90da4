//! Two services that answer the same requests, each under `bireme serve` in fresh launches.

mod answers;
mod connections;
mod curves;
mod errors;
mod launch;
mod least_memory;
mod rebind;
mod replay;

use std::time::Duration;

use crate::document::{Comparison, Effort, Launch, Outcome as Answers, Settings, VerdictKind};
use crate::equality::Likeness;
use crate::load::connection::Request;
use crate::load::null::{self, Ceiling};
use crate::measures::spoken;
use crate::pace::Pace;
use crate::server::{Server, ServerLauncher};
use crate::statistics::order::{self, Which};
use crate::statistics::verdict::short;
use crate::statistics::{median, quantile};
use crate::subject::Subject;
use crate::{Cancel, Outcome, Watch, lines, measures, rest};

pub use answers::{describe, of_parts, text_of};
use curves::closed_seconds;
pub use errors::{Expected, Injection, Injections};
use launch::Rates;
pub use replay::Recording;

/// About what a launch takes besides what is measured, in seconds.
const LAUNCH_SECONDS: f64 = 2.0;

/// Two services and what they are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Routes {
    /// The two sides.
    pub subject: Subject<ServerLauncher>,
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
    /// Errors that the services make when asked.
    pub injections: Injections,
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
    let mut outcome = run(routes, settings, cancel, watch, after_seconds(settings), |run| run.all());
    rules(&mut outcome.comparison, routes.service_level);
    outcome
}

/// Like [`compare`], by recorded traffic in place of rates.
pub fn replay(routes: &Routes, recording: &Recording, settings: &Settings, cancel: &Cancel, watch: Watch) -> Outcome {
    run(routes, settings, cancel, watch, 0.0, |run| run.all_of_replay(recording))
}

fn run(
    routes: &Routes,
    settings: &Settings,
    cancel: &Cancel,
    watch: Watch,
    after_seconds: f64,
    all: impl FnOnce(&mut Run<'_>) -> Result<(), String>,
) -> Outcome {
    let pace = Pace::new(watch, &routes.subject.name, settings, settings.launch_seconds + LAUNCH_SECONDS, after_seconds);
    let mut run = Run { routes, settings, cancel, pace, comparison: routes.subject.comparison() };
    let stopped = all(&mut run).err();
    let block_seconds = run.pace.block_seconds();
    let mut comparison = run.comparison;
    measures::derive(&mut comparison, settings, block_seconds);
    Outcome { comparison, stopped }
}

struct Run<'a> {
    routes: &'a Routes,
    settings: &'a Settings,
    cancel: &'a Cancel,
    pace: Pace<'a>,
    comparison: Comparison,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), String> {
        self.pace.say("comparing answers");
        self.comparison.equality = answers::compare(self.routes, self.settings, &mut self.comparison.sides, self.cancel)?;
        if self.comparison.equality.outcome == Answers::Different {
            return Ok(());
        }
        self.inject_errors()?;
        self.pace.say("calibrating the load generator");
        let ceiling = null::calibrate((self.settings.launch_seconds / 10.0).clamp(0.1, 1.0), self.settings.seed, self.cancel)?;
        self.comparison.remarks.push(format!(
            "load generator: open loop, up to {:.0} requests/s against a null server on this machine, where it adds {:.2} ms at p50",
            ceiling.rate,
            ceiling.floor_seconds * 1e3
        ));
        let rates = self.pilot(&ceiling)?;
        self.pace.begin_blocks();
        let measured = self.measure_blocks(&rates);
        self.remark_void();
        measures::remark_warm_up(&mut self.comparison, "what follows was measured all the same");
        measured?;
        self.draw_curves()?;
        self.measure_memory_limit(&rates)
    }

    /// A launch of each side that counts for nothing, to find the rates of those that count.
    fn pilot(&mut self, ceiling: &Ceiling) -> Result<[Rates; 2], String> {
        let mut capacities = [0.0; 2];
        for which in [Which::Left, Which::Right] {
            self.say(which, "finding the capacity of");
            let server = Server::start(&self.routes.subject.launchers[which.index()], self.cancel)?;
            let seconds = (self.settings.launch_seconds / 12.0).clamp(0.15, 1.0);
            let found = launch::capacity_by_doubling(
                self.routes,
                self.name(which),
                &server,
                seconds,
                ceiling,
                self.settings.seed,
                self.cancel,
            )?;
            capacities[which.index()] = found.rate;
        }
        let smaller = capacities[0].min(capacities[1]);
        Ok(capacities.map(|own| Rates { smaller, own, ceiling: ceiling.rate }))
    }

    fn measure_blocks(&mut self, rates: &[Rates; 2]) -> Result<(), String> {
        let orders = order::blocks(self.settings.blocks, self.settings.seed);
        for (block, order) in orders.iter().enumerate() {
            for (position, which) in order.iter().enumerate() {
                self.say(*which, &format!("block {} of {},", block + 1, orders.len()));
                let began_seconds = self.pace.elapsed();
                let measured =
                    launch::measure(self.routes, *which, &rates[which.index()], self.settings, self.pace.done(), self.cancel)?;
                lines::trace(&mut self.comparison, &measured.launch.side, "since the first request", &measured.trace);
                self.comparison.launches.push(Launch {
                    block: u32::try_from(block).unwrap_or(u32::MAX),
                    position: u32::try_from(position).unwrap_or(u32::MAX),
                    began_seconds,
                    ..measured.launch
                });
                for why in measured.void {
                    let remark = format!("{}, block {}: {why}; that trial is void", self.name(*which), block + 1);
                    self.comparison.remarks.push(remark);
                }
                self.pace.launched();
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
            let remark =
                "no p99 is compared: it takes 10,000 answers a launch at one rate; a longer --launch gives more".to_owned();
            self.comparison.remarks.push(remark);
        }
    }

    fn draw_curves(&mut self) -> Result<(), String> {
        lines::distribution(&mut self.comparison, "Latency by quantile, at 70% of each one's own capacity");
        curves::by_rate(&mut self.comparison);
        for which in [Which::Left, Which::Right] {
            self.say(which, "throughput against concurrency,");
            curves::concurrency(self.routes, which, self.settings, &mut self.comparison, self.cancel)?;
        }
        curves::workers(self.routes, self.settings, &mut self.comparison, self.cancel)?;
        let (routes, settings, cancel) = (self.routes, self.settings, self.cancel);
        let load = |which| curves::loaded(routes, which, settings, cancel);
        let sides = &routes.subject.sides;
        self.comparison.launches.extend(rest::measure(&mut self.pace, sides, settings, cancel, load, Server::pid)?);
        Ok(())
    }

    /// Each limit is the outcome of several launches.
    fn measure_memory_limit(&mut self, rates: &[Rates; 2]) -> Result<(), String> {
        if self.settings.effort == Effort::Quick {
            let remark = "the least memory limit is not measured in a quick run, nor is memory after a rest without --rest";
            self.comparison.remarks.push(remark.to_owned());
            return Ok(());
        }
        // The same for both, and low enough that memory and not the processor is what may run short.
        let rate = rates[0].smaller * 0.5;
        let key = measures::key("memory_least", &format!("{} requests/s, {}", launch::rounded(rate), self.routes.service_level));
        for round in 0..measures::rounds(self.settings.effort) {
            for which in [Which::Left, Which::Right] {
                self.say(which, "searching the least memory limit of");
                let began_seconds = self.pace.elapsed();
                match least_memory::find(self.routes, which, rate, self.settings, self.cancel) {
                    Ok(bytes) => self.comparison.launches.push(Launch {
                        side: self.name(which).to_owned(),
                        block: self.settings.blocks + 1 + round / 2,
                        position: round % 2 * 2 + which.index() as u32,
                        began_seconds,
                        values: [(key.clone(), bytes)].into(),
                        warm_up: None,
                        latency: None,
                        void: None,
                    }),
                    Err(_) if self.cancel.is_cancelled() => return Err("interrupted".to_owned()),
                    Err(why) => {
                        let remark = format!("{}: the least memory limit was not found: {why}", self.name(which));
                        self.comparison.remarks.push(remark);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn inject_errors(&mut self) -> Result<(), String> {
        for which in [Which::Left, Which::Right] {
            let (routes, cancel) = (self.routes, self.cancel);
            let seen = errors::inject(routes, which, cancel, |error| self.say(which, &format!("making errors, {error}, in")))?;
            self.comparison.errors.extend(seen);
        }
        Ok(())
    }

    fn name(&self, which: Which) -> &str {
        &self.routes.subject.sides[which.index()].name
    }

    /// `stage` ends before the side's name.
    fn say(&mut self, which: Which, stage: &str) {
        let name = &self.routes.subject.sides[which.index()].name;
        self.pace.say(&format!("{stage} {name}"));
    }
}

/// About what comes after the blocks takes: curves, rest, and memory limits.
fn after_seconds(settings: &Settings) -> f64 {
    let curves = 40.0 * closed_seconds(settings);
    let limits = if settings.effort == Effort::Quick { 0.0 } else { 2.0 * least_memory::seconds(settings) };
    curves + rest::seconds(settings, closed_seconds(settings)) + f64::from(measures::rounds(settings.effort)) * limits
}

/// Up to what rate the side of less capacity is enough: the least that any launch of it carried.
fn rules(comparison: &mut Comparison, level: ServiceLevel) {
    let Some(capacity) = comparison.measures.iter().find(|measure| measure.id == "capacity") else { return };
    let (summary, at) = match capacity.left.median < capacity.right.median {
        true => (&capacity.left, 0),
        false => (&capacity.right, 1),
    };
    let (Some(slower), Some(other)) = (comparison.sides.get(at), comparison.sides.get(1 - at)) else { return };
    let (slower, other, least) = (spoken(&slower.name), spoken(&other.name), summary.least);
    let faster = [&capacity.right, &capacity.left][at];
    let least_of_both = least.min(faster.least);
    let rule = match capacity.verdict.kind {
        _ if summary.at_least => {
            format!("both carry at least {least_of_both:.0} requests/s at {level}; beyond that the load generator was the limit")
        }
        VerdictKind::Better | VerdictKind::BetterSizeUncertain => {
            let sign = if faster.at_least { "at least " } else { "" };
            let times = match (capacity.verdict.kind, capacity.verdict.factor) {
                (VerdictKind::Better, Some(factor)) => format!("{sign}{}× as much", short(factor)),
                _ => "more".to_owned(),
            };
            format!("{slower} is enough below {least:.0} requests/s at {level}; {other} carries {times}")
        }
        _ => format!("{slower} and {other} are both enough below {least_of_both:.0} requests/s at {level}"),
    };
    comparison.rules.push(rule);
}

/// Median and greatest of sampled sizes.
fn steady_and_peak(sizes: &[(f64, f64)]) -> Option<(f64, f64)> {
    let bytes: Vec<f64> = sizes.iter().map(|size| size.1).collect();
    (!bytes.is_empty()).then(|| (median(&bytes[bytes.len() / 2..]), quantile(&bytes, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Side;
    use crate::subject::Subject;

    /// Six blocks of launches of `node` and `python` whose capacities vary by a part of `spread`, and what a team may read off them.
    fn check_rule(capacities: [f64; 2], spread: f64, at_least: [bool; 2], expected: &str) {
        let side = |name: &str| Side { name: name.to_owned(), ..Side::default() };
        let (name, title) = ("quote".to_owned(), "Quote".to_owned());
        let subject =
            Subject { name, title, criterion: None, note: None, sides: ["node", "python"].map(side), launchers: [(), ()] };
        let mut comparison = subject.comparison();
        for (block, order) in order::blocks(6, 1).into_iter().enumerate() {
            for (position, which) in order.into_iter().enumerate() {
                let off = spread * (((block * 4 + position) * 7 % 11) as f64 / 5.0 - 1.0);
                let mut values =
                    std::collections::BTreeMap::from([("capacity".to_owned(), capacities[which.index()] * (1.0 + off))]);
                if at_least[which.index()] {
                    values.insert(measures::key_at_least("capacity"), 1.0);
                }
                comparison.launches.push(Launch {
                    side: subject.sides[which.index()].name.clone(),
                    block: block as u32,
                    position: position as u32,
                    began_seconds: 0.0,
                    values,
                    warm_up: None,
                    latency: None,
                    void: None,
                });
            }
        }
        let settings = Settings {
            effort: Effort::Quick,
            seed: 1,
            blocks: 6,
            launch_seconds: 1.0,
            confidence: 0.95,
            equal_within: 0.05,
            tolerance: 0.0,
            ignored: Vec::new(),
            service_level: None,
            rest_seconds: None,
        };
        measures::derive(&mut comparison, &settings, 10.0);
        rules(&mut comparison, ServiceLevel { p99_seconds: 0.05 });
        assert_eq!(comparison.rules, [expected], "{:?}", comparison.measures[0].verdict);
    }

    #[test]
    fn a_team_reads_up_to_what_rate_a_side_is_enough() {
        let no = [false, false];
        check_rule([1302.0, 420.0], 0.01, no, "Python is enough below 416 requests/s at p99 < 50 ms; Node carries 3.1× as much");
        check_rule([420.0, 1302.0], 0.01, no, "Node is enough below 416 requests/s at p99 < 50 ms; Python carries 3.1× as much");
        check_rule(
            [1302.0, 420.0],
            0.01,
            [true, false],
            "Python is enough below 416 requests/s at p99 < 50 ms; Node carries at least 3.1× as much",
        );
        check_rule([500.0, 500.0], 0.01, no, "Python and Node are both enough below 495 requests/s at p99 < 50 ms");
        let both = "both carry at least 495 requests/s at p99 < 50 ms; beyond that the load generator was the limit";
        check_rule([500.0, 500.0], 0.01, [true, true], both);
    }
}
