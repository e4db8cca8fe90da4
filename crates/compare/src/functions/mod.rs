//! Two functions that should do the same, each in its own interpreter.

mod launch;
pub mod mix;
pub mod runner;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::document::{Comparison, Launch, Outcome as Answers, Settings, Unit};
use crate::equality::{Answer, Comparer, Likeness};
use crate::pace::Pace;
use crate::statistics::order::{self, Which};
use crate::statistics::{median, quantile};
use crate::subject::Subject;
use crate::table::quantity;
use crate::{Cancel, Outcome, Watch, lines, measures, rest};

use launch::How;
use runner::{Launcher, Runner};

/// Shortest sample: the clock and the loop around a call then cost less than about one in a hundred.
const SAMPLE_SECONDS_MIN: f64 = 10e-6;
/// Answers compared, where there is time for so many: what is wrong once in 500 then shows in all but one of 400 runs.
const ANSWERS_WANTED: u64 = 1_500;
/// About what a launch takes besides what is measured, in seconds.
const LAUNCH_SECONDS: f64 = 0.7;
/// Time for comparing answers, in launches.
const EQUALITY_LAUNCHES: f64 = 2.0;
/// Calls per second below which it is said that no p99 can be had.
const PERCENTILE_CALLS: usize = launch::PERCENTILE_CALLS;

/// Two functions and their input.
#[derive(Clone, Debug, PartialEq)]
pub struct Functions {
    /// The two sides.
    pub subject: Subject<Launcher>,
    /// A file of JSON values, one a line.
    pub cases: PathBuf,
    /// How answers are compared.
    pub likeness: Likeness,
    /// Each side's function called from the other language, if that is to be measured.
    pub mix: Option<[mix::Mix; 2]>,
}

/// Answers first; then launches, in randomised ABBA blocks; then verdicts. Whatever happens, what was measured is returned.
pub fn compare(functions: &Functions, settings: &Settings, cancel: &Cancel, watch: Watch) -> Outcome {
    let mut run = Run::new(functions, settings, cancel, watch);
    let stopped = run.all().err();
    let block_seconds = run.pace.block_seconds();
    let mut comparison = run.comparison;
    measures::derive(&mut comparison, settings, block_seconds);
    mix_rules(&mut comparison);
    Outcome { comparison, stopped }
}

/// One sentence for each side: what a call and HTTP add to the function itself.
fn mix_rules(comparison: &mut Comparison) {
    let median_of = |side: usize, id: &str| {
        let measure = comparison.measures.iter().find(|measure| measure.id == id)?;
        Some([&measure.left, &measure.right][side].median)
    };
    let mut rules = Vec::new();
    for (at, side) in comparison.sides.iter().enumerate() {
        let (Some(own), Some(call), Some(http)) = (median_of(at, "latency_p50"), median_of(at, "call"), median_of(at, "http"))
        else {
            continue;
        };
        let shown = |seconds| quantity(seconds, Unit::Seconds);
        rules.push(format!(
            "the function of {}: {} in its own language, {} across a call from the other, {} over HTTP",
            side.name,
            shown(own),
            shown(call),
            shown(http)
        ));
    }
    comparison.rules.extend(rules);
}

/// `12%`, `0.4%`.
fn percent(part: f64) -> String {
    if part < 0.1 { format!("{:.1}%", part * 100.0) } else { format!("{:.0}%", part * 100.0) }
}

struct Run<'a> {
    functions: &'a Functions,
    settings: &'a Settings,
    cancel: &'a Cancel,
    pace: Pace<'a>,
    comparison: Comparison,
    how: [How; 2],
}

impl<'a> Run<'a> {
    fn new(functions: &'a Functions, settings: &'a Settings, cancel: &'a Cancel, watch: Watch<'a>) -> Run<'a> {
        let comparison = functions.subject.comparison();
        let after = rest::seconds(settings, rest::load_seconds(settings));
        let pace = Pace::new(watch, &functions.subject.name, settings, settings.launch_seconds + LAUNCH_SECONDS, after);
        Run { functions, settings, cancel, pace, comparison, how: [How::default(); 2] }
    }

    fn all(&mut self) -> Result<(), String> {
        self.compare_answers()?;
        if self.comparison.equality.outcome == Answers::Different {
            return Ok(());
        }
        self.choose_samples()?;
        self.pace.begin_blocks();
        let measured = self.measure_blocks();
        lines::distribution(&mut self.comparison, "Latency by quantile");
        self.remark();
        measured?;
        self.measure_mix()?;
        self.measure_rest()
    }

    /// In blocks of their own, of the same orders.
    fn measure_mix(&mut self) -> Result<(), String> {
        let Some(mixes) = &self.functions.mix else { return Ok(()) };
        let orders = order::blocks(self.settings.blocks, self.settings.seed);
        for (block, order) in orders.iter().enumerate() {
            self.pace.say(&format!("calls across languages, block {} of {}", block + 1, orders.len()));
            for (position, which) in order.iter().enumerate() {
                let seconds = self.settings.launch_seconds / 8.0;
                let began_seconds = self.pace.elapsed();
                let launch = mix::measure(&mixes[which.index()], &self.functions.cases, seconds, self.cancel)?;
                let (block, position) = (u32::try_from(block).unwrap_or(u32::MAX), u32::try_from(position).unwrap_or(u32::MAX));
                self.comparison.launches.push(Launch { block, position, began_seconds, ..launch });
            }
        }
        Ok(())
    }

    /// Every case to two launches of each side in step, so that no more than four answers are held.
    fn compare_answers(&mut self) -> Result<(), String> {
        self.pace.say("comparing answers");
        let began = Instant::now();
        let limit = Duration::from_secs_f64((self.settings.launch_seconds * EQUALITY_LAUNCHES).max(1.0));
        let mut runners = Vec::new();
        for which in [Which::Left, Which::Left, Which::Right, Which::Right] {
            runners.push(Runner::launch(&self.functions.subject.launchers[which.index()], self.cancel)?);
        }
        let mut cases = 0;
        for runner in &mut runners {
            cases = runner.load(&self.functions.cases)?;
        }
        if cases == 0 {
            return Err(format!("{}: no cases; write one JSON value a line", self.functions.cases.display()));
        }
        for (which, at) in [(Which::Left, 0), (Which::Right, 2)] {
            let side = &mut self.comparison.sides[which.index()];
            side.version = Some(runners[at].hello.version.clone());
            side.facts.extend(runners[at].hello.facts.iter().cloned());
        }
        let mut comparer = Comparer::new(self.functions.likeness.clone());
        let mut rounds = 0;
        let mut failure = None;
        'rounds: while rounds == 0 || (u64::from(rounds) * cases < ANSWERS_WANTED && began.elapsed() < limit) {
            for case in 0..cases {
                match self.one_case(case, &mut runners) {
                    Ok([a, b, c, d]) => comparer.add(&format!("case {}", case + 1), [&a, &b], [&c, &d]),
                    Err(error) => {
                        failure = Some(error);
                        break 'rounds;
                    }
                }
            }
            rounds += 1;
        }
        self.comparison.equality = comparer.finish(cases, rounds, self.settings.confidence);
        failure.map_or(Ok(()), Err)
    }

    fn one_case(&mut self, case: u64, runners: &mut [Runner]) -> Result<[Answer; 4], String> {
        let mut answers = [const { Answer { parts: Vec::new(), json: None } }; 4];
        for (at, runner) in runners.iter_mut().enumerate() {
            let answered = runner.answer(case)?;
            let how = &mut self.how[at / 2];
            how.asynchronous |= answered.asynchronous;
            how.parse |= answered.changed_input;
            if answered.error.is_some() {
                // Names and texts of errors belong to the languages; that there is one is what both can agree on.
                answers[at].parts.push(("error".to_owned(), true.into()));
            } else {
                answers[at].json = Some(answered.value.unwrap_or_default());
            }
        }
        Ok(answers)
    }

    /// How many calls make a sample, the same for both sides.
    fn choose_samples(&mut self) -> Result<(), String> {
        self.pace.say("finding the length of a call");
        let mut shortest = f64::INFINITY;
        for which in [Which::Left, Which::Right] {
            let mut runner = Runner::launch(&self.functions.subject.launchers[which.index()], self.cancel)?;
            runner.load(&self.functions.cases)?;
            let how = self.how[which.index()];
            let seconds = (self.settings.launch_seconds / 4.0).min(0.5);
            let timed = runner.time(seconds, 1, how.parse, how.asynchronous)?;
            let late = &timed.took[timed.took.len() / 2..];
            shortest = shortest.min(quantile(late, 0.1));
        }
        let calls = (SAMPLE_SECONDS_MIN / shortest.max(1e-9)).ceil().clamp(1.0, 10_000.0) as u32;
        for how in &mut self.how {
            how.calls = calls;
        }
        // What one side changes, both get anew: otherwise one would run on inputs that the other never sees.
        let parse = self.how.iter().any(|how| how.parse);
        self.how.iter_mut().for_each(|how| how.parse = parse);
        Ok(())
    }

    fn measure_blocks(&mut self) -> Result<(), String> {
        let orders = order::blocks(self.settings.blocks, self.settings.seed);
        for (block, order) in orders.iter().enumerate() {
            for (position, which) in order.iter().enumerate() {
                let name = &self.functions.subject.sides[which.index()].name;
                self.pace.say(&format!("block {} of {}, {name}", block + 1, orders.len()));
                let launcher = &self.functions.subject.launchers[which.index()];
                let place = (u32::try_from(block).unwrap_or(u32::MAX), u32::try_from(position).unwrap_or(u32::MAX));
                let seconds = self.settings.launch_seconds;
                let since = self.pace.elapsed();
                let how = self.how[which.index()];
                let (mut launch, trace) = launch::measure(launcher, &self.functions.cases, how, seconds, place, self.cancel)?;
                launch.began_seconds = since;
                lines::trace(&mut self.comparison, &launch.side, "since the first call", &trace);
                self.comparison.launches.push(launch);
                self.pace.launched();
            }
        }
        Ok(())
    }

    fn measure_rest(&mut self) -> Result<(), String> {
        if self.settings.rest_seconds.is_none() {
            self.comparison.remarks.push("memory after a rest is not measured in a quick run; --rest asks for it".to_owned());
        }
        let (functions, settings, how, cancel) = (self.functions, self.settings, self.how, self.cancel);
        let load = |which: Which| {
            let launcher = &functions.subject.launchers[which.index()];
            launch::loaded(launcher, &functions.cases, how[which.index()], rest::load_seconds(settings), cancel)
        };
        let sides = &functions.subject.sides;
        self.comparison.launches.extend(rest::measure(&mut self.pace, sides, settings, cancel, load, Runner::pid)?);
        Ok(())
    }

    fn remark(&mut self) {
        let comparison = &mut self.comparison;
        for (side, how) in comparison.sides.iter_mut().zip(&self.how) {
            if how.asynchronous {
                side.facts.push("asynchronous".to_owned());
            }
            let of_side = || comparison.launches.iter().filter(|launch| launch.side == side.name);
            let failed: Vec<f64> = of_side().filter_map(|launch| launch.values.get(launch::FAILED_IN_FLIGHT).copied()).collect();
            if !failed.is_empty() {
                comparison.remarks.push(format!(
                    "{}: with 16 calls in flight {} of them threw that do not alone, in {} of {} launches, which have no throughput in flight",
                    side.name,
                    percent(median(&failed)),
                    failed.len(),
                    of_side().count()
                ));
            }
        }
        measures::remark_warm_up(comparison, "their second half was taken");
        if let Some(how) = self.how.first().filter(|how| how.calls > 1) {
            comparison.remarks.push(format!(
                "calls are too short to be timed one by one: each sample is the mean of {}, so there is no p99",
                how.calls
            ));
        } else if !comparison.launches.iter().any(|launch| launch.values.contains_key("latency_p99")) {
            comparison.remarks.push(format!(
                "no p99: it takes {PERCENTILE_CALLS} calls a launch after warm-up, on both sides; a longer --launch gives more"
            ));
        }
        if self.how.iter().any(|how| how.parse) {
            comparison
                .remarks
                .push("a function changes its input, so every call gets a fresh one, made outside of the timing".to_owned());
        }
        comparison.remarks.push(
            "cold starts have no bytecode cache and drop the cached pages of interpreter and code where no other process has them mapped"
                .to_owned(),
        );
    }
}
