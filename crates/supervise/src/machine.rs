//! The life of a service's workers as a state machine.
//!
//! `machine` never starts a process, opens a socket, reads a clock or draws a random number: time and chance
//! come in with each event, and what is to be done comes out as [`Action`]s. The shell in `shell.rs` carries
//! them out.
//!
//! A worker's life:
//!
//! ```text
//! Starting ──READY and all links──▶ Ready ──retire──▶ Draining ──last stream ended──▶ Stopping ──exit──▶ gone
//!     │            └─(in a reload: Held until the new generation is complete)              ▲
//!     └──────────────────────────── stop ──────────────────────────────────────────────────┘
//! any ──broke the protocol, hung, failed, closed its links──▶ Dying ──exit──▶ gone
//! ```

mod deadlines;
mod generations;
mod terms;

use std::collections::BTreeMap;
use std::time::Duration;

use link::{Closed, ServiceState, WorkerId};

pub use terms::{Action, Event, Failure, Note, Phase, Policy, Turn, WorkerView};

#[derive(Debug)]
struct Life {
    slot: usize,
    generation: u32,
    phase: Phase,
    started: Duration,
    ready_at: Option<Duration>,
    ready_said: bool,
    links: Vec<LinkLife>,
    /// When something must have happened: readiness, the last stream's end, the exit.
    deadline: Option<Duration>,
    /// SIGTERM has been sent.
    terminated: bool,
    /// SIGKILL has been sent.
    killed: bool,
    /// Why it is `Dying`, when that says more than the exit will.
    cause: Option<Failure>,
    ping: Ping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkLife {
    Awaited,
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum Ping {
    Never,
    Next(Duration),
    Unanswered { since: Duration },
}

#[derive(Debug, Default)]
struct Slot {
    current: Option<WorkerId>,
    /// Started to take the current worker's place when ready.
    replacement: Option<WorkerId>,
    restart_at: Option<Duration>,
    /// Deaths in a row that came before the worker was stable.
    failures: u32,
    /// The last death came before the worker was ready.
    start_failure: Option<Failure>,
    restarts: u64,
}

#[derive(Debug)]
struct Incoming {
    policy: Policy,
    generation: u32,
    workers: Vec<WorkerId>,
    complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No worker has been ready yet; a failing one is not repeated until another succeeds.
    First,
    Running,
    GaveUp,
    Stopping,
    Stopped,
}

/// One service's workers.
#[derive(Debug)]
pub struct Machine {
    policy: Policy,
    generation: u32,
    last_generation: u32,
    stage: Stage,
    slots: Vec<Slot>,
    incoming: Option<Incoming>,
    lives: BTreeMap<WorkerId, Life>,
    /// The worker that is being replaced, from the start of its replacement until it is gone: one at a time.
    recycling: Option<WorkerId>,
    /// After a replacement failed to start.
    recycle_not_before: Duration,
    told: ServiceState,
}

impl Machine {
    /// A service without workers: [`Event::Start`] starts them at once, [`Event::Prepare`] beside what else runs.
    pub fn new(policy: Policy) -> Machine {
        Machine {
            policy,
            generation: 0,
            last_generation: 0,
            stage: Stage::Running,
            slots: Vec::new(),
            incoming: None,
            lives: BTreeMap::new(),
            recycling: None,
            recycle_not_before: Duration::ZERO,
            told: ServiceState::Up,
        }
    }

    /// Takes one event in and says what to do. `ids` counts up; every id is used once. Events about workers that
    /// are gone, and events that do not fit a worker's phase, change nothing.
    pub fn next(&mut self, turn: Turn, ids: &mut WorkerId, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Start => self.start(turn, ids, &mut out),
            Event::LinkOpened(worker, link) => {
                if let Some(slot) = self.lives.get_mut(&worker).and_then(|l| l.links.get_mut(link))
                    && *slot == LinkLife::Awaited
                {
                    *slot = LinkLife::Open;
                }
                self.check_ready(turn, worker, &mut out);
            }
            Event::Ready(worker) => {
                if let Some(life) = self.lives.get_mut(&worker) {
                    life.ready_said = true;
                }
                self.check_ready(turn, worker, &mut out);
            }
            Event::Failed(worker, failure) => self.doom(turn, worker, Some(failure), false, &mut out),
            Event::Violation(worker, text) => {
                let cause = Failure { error: format!("broke the link protocol: {text}"), ..Failure::default() };
                self.doom(turn, worker, Some(cause), true, &mut out);
            }
            Event::ControlClosed(worker) => self.doom(turn, worker, None, false, &mut out),
            Event::LinkClosed(worker, link, why) => self.link_closed(turn, worker, link, why, &mut out),
            Event::ThreadsGone => self.threads_gone(turn, &mut out),
            Event::Exited(worker, how) => self.exited(turn, worker, how, &mut out),
            Event::Pong(worker) => {
                if let (Some(timeout), Some(life)) = (self.policy.hang_timeout, self.lives.get_mut(&worker)) {
                    life.ping = Ping::Next(turn.now + timeout / 2);
                }
            }
            Event::Usage { worker, served, memory } => self.usage(turn, ids, worker, served, memory, &mut out),
            Event::Prepare(policy) => self.prepare(turn, ids, policy, &mut out),
            Event::Commit => self.commit(turn, &mut out),
            Event::Abort => self.abort(turn, &mut out),
            Event::Stop => self.stop(turn, &mut out),
            Event::Kill => self.kill(&mut out),
            Event::Tick => self.tick(turn, ids, &mut out),
        }
        self.tell_state(&mut out);
        out
    }

    /// When [`Event::Tick`] is due, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        let lives = self.lives.values().flat_map(|life| {
            let ping = match (life.ping, self.policy.hang_timeout, life.phase) {
                (Ping::Next(at), Some(_), Phase::Ready) => Some(at),
                (Ping::Unanswered { since }, Some(timeout), Phase::Ready) => Some(since + timeout),
                _ => None,
            };
            [life.deadline, ping]
        });
        let slots = self.slots.iter().map(|slot| slot.restart_at);
        lives.chain(slots).flatten().min()
    }

    /// Whether the worker may still open data link `link`.
    pub fn awaits_link(&self, worker: WorkerId, link: usize) -> bool {
        self.lives
            .get(&worker)
            .is_some_and(|life| life.phase == Phase::Starting && life.links.get(link) == Some(&LinkLife::Awaited))
    }

    /// What the worker is doing, while it lives.
    pub fn phase(&self, worker: WorkerId) -> Option<Phase> {
        self.lives.get(&worker).map(|life| life.phase)
    }

    /// Workers that serve.
    pub fn ready(&self) -> usize {
        self.lives.values().filter(|life| life.phase == Phase::Ready).count()
    }

    /// The generation that serves.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The generation that the next [`Event::Start`] or [`Event::Prepare`] will make.
    pub fn next_generation(&self) -> u32 {
        self.last_generation + 1
    }

    /// Every worker, in the order of their ids.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.lives.iter().map(|(&worker, life)| WorkerView {
            worker,
            number: life.slot + 1,
            phase: life.phase,
            started: life.started,
            restarts: match self.slots.get(life.slot) {
                Some(slot) if life.generation == self.generation => slot.restarts,
                _ => 0,
            },
            generation: life.generation,
        })
    }

    fn start(&mut self, turn: Turn, ids: &mut WorkerId, out: &mut Vec<Action>) {
        if !self.slots.is_empty() || self.incoming.is_some() || self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::First;
        self.generation = self.new_generation();
        for slot in 0..self.policy.workers {
            let (generation, links) = (self.generation, self.policy.links);
            let worker = self.spawn(turn, ids, slot, generation, links, self.policy.start_timeout, out);
            self.slots.push(Slot { current: Some(worker), ..Slot::default() });
        }
    }

    fn new_generation(&mut self) -> u32 {
        self.last_generation += 1;
        self.last_generation
    }

    #[expect(clippy::too_many_arguments, reason = "a spawn has that many facts, and one caller each")]
    fn spawn(
        &mut self,
        turn: Turn,
        ids: &mut WorkerId,
        slot: usize,
        generation: u32,
        links: usize,
        start_timeout: Duration,
        out: &mut Vec<Action>,
    ) -> WorkerId {
        let worker = *ids;
        *ids += 1;
        self.lives.insert(
            worker,
            Life {
                slot,
                generation,
                phase: Phase::Starting,
                started: turn.now,
                ready_at: None,
                ready_said: false,
                links: vec![LinkLife::Awaited; links],
                deadline: Some(turn.now + start_timeout),
                terminated: false,
                killed: false,
                cause: None,
                ping: Ping::Never,
            },
        );
        out.push(Action::Spawn { worker, number: slot + 1, generation });
        worker
    }

    fn spawn_current(&mut self, turn: Turn, ids: &mut WorkerId, slot: usize, out: &mut Vec<Action>) -> WorkerId {
        let (generation, links) = (self.generation, self.policy.links);
        self.spawn(turn, ids, slot, generation, links, self.policy.start_timeout, out)
    }

    /// Lets a worker serve once it has said so and all its links are there.
    fn check_ready(&mut self, turn: Turn, worker: WorkerId, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        if life.phase != Phase::Starting || !life.ready_said || life.links.iter().any(|l| *l != LinkLife::Open) {
            return;
        }
        life.deadline = None;
        if let Some(incoming) = &mut self.incoming
            && incoming.workers.contains(&worker)
        {
            life.phase = Phase::Held;
            let all_held = |w: &WorkerId| self.lives.get(w).is_some_and(|l| l.phase == Phase::Held);
            if !incoming.complete && incoming.workers.iter().all(all_held) {
                incoming.complete = true;
                out.push(Action::Note(Note::Prepared));
            }
            return;
        }
        self.activate(turn, worker, out);
        let Some(index) = self.slot_of(worker) else { return };
        if self.slots[index].replacement == Some(worker) {
            self.slots[index].replacement = None;
            if let Some(old) = self.slots[index].current.replace(worker) {
                self.retire(turn, old, out);
            }
        }
        if self.stage == Stage::First {
            self.stage = Stage::Running;
            out.push(Action::Note(Note::FirstReady));
            // The places whose first start failed may try again, now that the application is known to start.
            for slot in self.slots.iter_mut().filter(|slot| slot.current.is_none()) {
                slot.restart_at = Some(turn.now + self.policy.backoff.pause(slot.failures, turn.jitter));
            }
        }
    }

    fn activate(&mut self, turn: Turn, worker: WorkerId, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        life.phase = Phase::Ready;
        life.ready_at = Some(turn.now);
        if let Some(timeout) = self.policy.hang_timeout {
            life.ping = Ping::Next(turn.now + timeout / 2);
        }
        out.push(Action::Activate(worker));
        out.push(Action::Note(Note::Ready(worker)));
    }

    fn slot_of(&self, worker: WorkerId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.current == Some(worker) || slot.replacement == Some(worker))
    }

    /// Takes a worker out of service in peace.
    fn retire(&mut self, turn: Turn, worker: WorkerId, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        match life.phase {
            Phase::Starting => {
                // It serves nothing yet, and may be busy loading: it is asked by signal.
                life.phase = Phase::Stopping;
                life.terminated = true;
                life.deadline = Some(turn.now + self.policy.stop_timeout);
                out.push(Action::Terminate(worker));
            }
            Phase::Held | Phase::Ready => {
                life.phase = Phase::Draining;
                life.deadline = Some(turn.now + self.policy.drain_timeout);
                out.push(Action::Retire(worker));
                // Nobody answers for links that are over.
                if life.links.iter().all(|l| *l != LinkLife::Open) {
                    self.drain(turn, worker, out);
                }
            }
            Phase::Draining | Phase::Stopping | Phase::Dying => {}
        }
    }

    /// Asks a worker whose links are closed to shut its application down and exit.
    fn drain(&mut self, turn: Turn, worker: WorkerId, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        life.phase = Phase::Stopping;
        life.deadline = Some(turn.now + self.policy.stop_timeout * 3 / 4);
        out.push(Action::Drain(worker));
    }

    /// The worker is lost: waits a little for its exit, or kills it at once.
    fn doom(&mut self, turn: Turn, worker: WorkerId, cause: Option<Failure>, at_once: bool, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        let leaving = matches!(life.phase, Phase::Stopping);
        if life.cause.is_none() {
            life.cause = cause;
        }
        if at_once {
            life.phase = Phase::Dying;
            life.killed = true;
            life.deadline = None;
            out.push(Action::Detach(worker));
            out.push(Action::Kill(worker));
        } else if !leaving && life.phase != Phase::Dying {
            life.phase = Phase::Dying;
            life.deadline = Some(turn.now + self.policy.exit_grace);
        }
    }

    fn link_closed(&mut self, turn: Turn, worker: WorkerId, link: usize, why: Closed, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        if let Some(state) = life.links.get_mut(link) {
            *state = LinkLife::Closed;
        }
        match why {
            Closed::Protocol(text) => {
                let cause = Failure { error: format!("broke the link protocol: {text}"), ..Failure::default() };
                self.doom(turn, worker, Some(cause), true, out);
            }
            Closed::Idle | Closed::Eof if life.phase == Phase::Draining => {
                if life.links.iter().all(|l| *l != LinkLife::Open) {
                    self.drain(turn, worker, out);
                }
            }
            // Other threads' links are left alone: what the worker wrote before it died may still be unread there.
            Closed::Idle | Closed::Eof => self.doom(turn, worker, None, false, out),
        }
    }

    fn threads_gone(&mut self, turn: Turn, out: &mut Vec<Action>) {
        for life in self.lives.values_mut() {
            life.links.fill(LinkLife::Closed);
        }
        let draining: Vec<WorkerId> =
            self.lives.iter().filter(|(_, life)| life.phase == Phase::Draining).map(|(worker, _)| *worker).collect();
        for worker in draining {
            self.drain(turn, worker, out);
        }
    }

    fn exited(&mut self, turn: Turn, worker: WorkerId, how: Failure, out: &mut Vec<Action>) {
        let Some(life) = self.lives.remove(&worker) else { return };
        if life.links.iter().any(|l| *l != LinkLife::Awaited) {
            out.push(Action::Detach(worker));
        }
        if self.recycling == Some(worker) {
            self.recycling = None;
        }
        let why = life.cause.unwrap_or(how);
        let was_told = matches!(life.phase, Phase::Stopping | Phase::Draining);
        if self.incoming.as_ref().is_some_and(|incoming| incoming.workers.contains(&worker)) {
            out.push(Action::Note(Note::StartFailed { worker, why: why.clone(), restart_in: None }));
            out.push(Action::Note(Note::PrepareFailed(why)));
            self.abort(turn, out);
        } else if let Some(index) = self.slot_of(worker).filter(|_| self.stage != Stage::Stopping) {
            self.slot_lost(turn, index, worker, life.ready_at, why, out);
        } else if was_told {
            out.push(Action::Note(Note::Left { worker, how: why, killed: life.killed }));
        } else if life.ready_at.is_some() {
            out.push(Action::Note(Note::Lost { worker, why, restart_in: None }));
        } else {
            out.push(Action::Note(Note::StartFailed { worker, why, restart_in: None }));
        }
        if self.stage == Stage::Stopping && self.lives.is_empty() {
            self.stage = Stage::Stopped;
            out.push(Action::Note(Note::Stopped));
        }
    }

    /// A worker that belongs to a place died.
    fn slot_lost(
        &mut self,
        turn: Turn,
        index: usize,
        worker: WorkerId,
        ready_at: Option<Duration>,
        why: Failure,
        out: &mut Vec<Action>,
    ) {
        let slot = &mut self.slots[index];
        let stable = ready_at.is_some_and(|at| turn.now.saturating_sub(at) >= self.policy.stable_after);
        slot.failures = if stable { 0 } else { slot.failures.saturating_add(1) };
        let pause = if stable { Duration::ZERO } else { self.policy.backoff.pause(slot.failures, turn.jitter) };
        let mut restart_in = None;
        if slot.replacement == Some(worker) {
            slot.replacement = None;
            self.recycling = None;
            self.recycle_not_before = turn.now + pause;
        } else {
            slot.start_failure = ready_at.is_none().then(|| why.clone());
            slot.current = slot.replacement.take();
            // While no worker has ever been ready, a failing application is not started again and again.
            if slot.current.is_none() && self.stage == Stage::Running {
                slot.restart_at = Some(turn.now + pause);
                restart_in = Some(pause);
            }
        }
        out.push(Action::Note(match ready_at {
            Some(_) => Note::Lost { worker, why: why.clone(), restart_in },
            None => Note::StartFailed { worker, why: why.clone(), restart_in },
        }));
        if self.stage == Stage::First && self.slots.iter().all(|slot| slot.current.is_none()) {
            self.stage = Stage::GaveUp;
            let first = self.slots.iter().find_map(|slot| slot.start_failure.clone()).unwrap_or(why);
            out.push(Action::Note(Note::GaveUp(first)));
        }
    }

    fn usage(
        &mut self,
        turn: Turn,
        ids: &mut WorkerId,
        worker: WorkerId,
        served: u64,
        memory: Option<u64>,
        out: &mut Vec<Action>,
    ) {
        if self.stage != Stage::Running
            || self.recycling.is_some()
            || self.incoming.is_some()
            || turn.now < self.recycle_not_before
            || self.phase(worker) != Some(Phase::Ready)
        {
            return;
        }
        let most = self.policy.recycle_requests.map_or(link::WORKER_STREAMS_MAX, |max| max.min(link::WORKER_STREAMS_MAX));
        let why = match (self.policy.recycle_memory_bytes, memory) {
            _ if served >= most => format!("it has served {served} requests (limit {most})"),
            (Some(max), Some(used)) if used > max => {
                format!("it uses {} MiB of memory (limit {} MiB)", used >> 20, max >> 20)
            }
            _ => return,
        };
        let Some(index) = self.slots.iter().position(|slot| slot.current == Some(worker)) else { return };
        out.push(Action::Note(Note::Recycling(worker, why)));
        self.recycling = Some(worker);
        let replacement = self.spawn_current(turn, ids, index, out);
        self.slots[index].replacement = Some(replacement);
    }

    /// Says it once when it stops or starts to be worth waiting for a worker.
    fn tell_state(&mut self, out: &mut Vec<Action>) {
        let serving = self.lives.values().any(|life| life.phase == Phase::Ready);
        let failing = match self.stage {
            Stage::Running if !serving && !self.slots.is_empty() => {
                let all_fail = self.slots.iter().all(|slot| slot.start_failure.is_some());
                self.slots.first().and_then(|slot| slot.start_failure.as_ref()).filter(|_| all_fail)
            }
            _ => None,
        };
        let state = match failing {
            Some(failure) => ServiceState::Failing(failure.error.clone()),
            None => ServiceState::Up,
        };
        if state != self.told {
            self.told = state.clone();
            out.push(Action::Service(state));
        }
    }
}

#[cfg(test)]
mod tests;
