use super::*;
use crate::backoff::Backoff;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy(workers: usize) -> Policy {
    Policy {
        workers,
        links: 2,
        start_timeout: SECOND * 30,
        drain_timeout: SECOND * 20,
        stop_timeout: SECOND * 8,
        exit_grace: SECOND,
        stable_after: SECOND,
        backoff: Backoff { min: Duration::from_millis(100), max: SECOND * 2 },
        recycle_requests: None,
        recycle_memory_bytes: None,
        hang_timeout: None,
    }
}

fn failure(error: &str) -> Failure {
    Failure { error: error.to_owned(), ..Failure::default() }
}

/// A machine with a clock that tests move; actions are shown as words, `spawn 1` or `note Stopped`.
struct Bench {
    machine: Machine,
    now: Duration,
    ids: WorkerId,
}

impl Bench {
    fn new(policy: Policy) -> Bench {
        Bench { machine: Machine::new(policy), now: SECOND, ids: 1 }
    }

    fn started(workers: usize) -> Bench {
        Bench::started_with(policy(workers))
    }

    fn started_with(policy: Policy) -> Bench {
        let workers = policy.workers;
        let mut bench = Bench::new(policy);
        bench.feed(Event::Start);
        for worker in 1..=workers {
            bench.ready(WorkerId::try_from(worker).unwrap());
        }
        bench
    }

    fn feed(&mut self, event: Event) -> Vec<String> {
        let turn = Turn { now: self.now, jitter: 0.0 };
        words(&self.machine.next(turn, &mut self.ids, event))
    }

    fn ready(&mut self, worker: WorkerId) -> Vec<String> {
        let mut said = self.feed(Event::LinkOpened(worker, 0));
        said.extend(self.feed(Event::LinkOpened(worker, 1)));
        said.extend(self.feed(Event::Ready(worker)));
        said
    }

    fn exit(&mut self, worker: WorkerId, how: &str) -> Vec<String> {
        self.feed(Event::Exited(worker, failure(how)))
    }

    fn idle(&mut self, worker: WorkerId) -> Vec<String> {
        let mut said = self.feed(Event::LinkClosed(worker, 0, Closed::Idle));
        said.extend(self.feed(Event::LinkClosed(worker, 1, Closed::Idle)));
        said
    }

    /// Moves the clock to the machine's own deadline and ticks.
    fn tick(&mut self) -> (Duration, Vec<String>) {
        let waited = self.machine.deadline().expect("nothing to wait for").saturating_sub(self.now);
        self.now += waited;
        (waited, self.feed(Event::Tick))
    }

    fn after(&mut self, pause: Duration) {
        self.now += pause;
    }
}

fn words(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            Action::Spawn { worker, number, generation } => format!("spawn {worker} as #{number} of {generation}"),
            Action::Activate(w) => format!("activate {w}"),
            Action::Retire(w) => format!("retire {w}"),
            Action::Detach(w) => format!("detach {w}"),
            Action::Drain(w) => format!("drain {w}"),
            Action::Terminate(w) => format!("terminate {w}"),
            Action::Kill(w) => format!("kill {w}"),
            Action::Ping(w) => format!("ping {w}"),
            Action::Service(ServiceState::Up) => "up".to_owned(),
            Action::Service(ServiceState::Failing(why)) => format!("failing: {why}"),
            Action::Note(Note::Ready(w)) => format!("{w} ready"),
            Action::Note(Note::FirstReady) => "first ready".to_owned(),
            Action::Note(Note::Left { worker, killed, .. }) => {
                format!("{worker} left{}", if *killed { " by force" } else { "" })
            }
            Action::Note(Note::Lost { worker, why, restart_in }) => {
                format!("{worker} lost: {}{}", why.error, again(*restart_in))
            }
            Action::Note(Note::StartFailed { worker, why, restart_in }) => {
                format!("{worker} did not start: {}{}", why.error, again(*restart_in))
            }
            Action::Note(Note::GaveUp(why)) => format!("gave up: {}", why.error),
            Action::Note(Note::Recycling(w, why)) => format!("recycling {w}: {why}"),
            Action::Note(Note::Prepared) => "prepared".to_owned(),
            Action::Note(Note::PrepareFailed(why)) => format!("prepare failed: {}", why.error),
            Action::Note(Note::Stopped) => "stopped".to_owned(),
        })
        .collect()
}

fn again(restart_in: Option<Duration>) -> String {
    restart_in.map_or_else(String::new, |pause| format!(", again in {} ms", pause.as_millis()))
}

#[test]
fn a_worker_serves_when_it_said_so_and_all_links_are_there() {
    let mut bench = Bench::new(policy(1));
    assert_eq!(bench.feed(Event::Start), ["spawn 1 as #1 of 1"]);
    assert!(bench.machine.awaits_link(1, 0));
    assert!(bench.feed(Event::LinkOpened(1, 0)).is_empty());
    assert!(!bench.machine.awaits_link(1, 0));
    assert!(bench.feed(Event::Ready(1)).is_empty(), "one link is missing");
    assert_eq!(bench.feed(Event::LinkOpened(1, 1)), ["activate 1", "1 ready", "first ready"]);
    assert!(!bench.machine.awaits_link(1, 2));
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn a_service_whose_workers_all_fail_at_first_gives_up() {
    let mut bench = Bench::new(policy(2));
    bench.feed(Event::Start);
    bench.feed(Event::Failed(2, failure("no module")));
    assert_eq!(bench.exit(2, "status 1"), ["2 did not start: no module"]);
    assert_eq!(bench.exit(1, "status 1"), ["1 did not start: status 1", "gave up: status 1"]);
    assert_eq!(bench.machine.deadline(), None, "nothing is tried again");
    assert_eq!(bench.feed(Event::Stop), ["stopped"]);
}

#[test]
fn one_good_worker_lets_the_failing_one_try_again() {
    let mut bench = Bench::new(policy(2));
    bench.feed(Event::Start);
    bench.exit(2, "status 1");
    assert_eq!(bench.ready(1), ["activate 1", "1 ready", "first ready"]);
    for (pause, worker) in [(100, 3), (200, 4), (400, 5), (800, 6), (1600, 7), (2000, 8), (2000, 9)] {
        let (waited, said) = bench.tick();
        assert_eq!((waited.as_millis(), said), (pause, vec![format!("spawn {worker} as #2 of 1")]));
        bench.exit(worker, "status 1");
    }
}

#[test]
fn a_stable_worker_is_replaced_at_once_and_an_unstable_one_later() {
    let mut bench = Bench::started(1);
    bench.after(SECOND);
    assert_eq!(bench.exit(1, "signal 9"), ["detach 1", "1 lost: signal 9, again in 0 ms"]);
    assert_eq!(bench.tick(), (Duration::ZERO, vec!["spawn 2 as #1 of 1".to_owned()]));
    bench.ready(2);
    bench.after(SECOND / 2);
    assert_eq!(bench.exit(2, "signal 9"), ["detach 2", "2 lost: signal 9, again in 100 ms"]);
    bench.tick();
    bench.ready(3);
    assert_eq!(bench.exit(3, "signal 9"), ["detach 3", "3 lost: signal 9, again in 200 ms"]);
    bench.tick();
    bench.ready(4);
    bench.after(SECOND);
    assert_eq!(bench.exit(4, "signal 9"), ["detach 4", "4 lost: signal 9, again in 0 ms"]);
}

#[test]
fn a_service_is_failing_while_every_place_fails_to_start() {
    let mut bench = Bench::started(2);
    bench.after(SECOND);
    bench.exit(1, "signal 9");
    bench.exit(2, "signal 9");
    bench.tick();
    bench.exit(3, "no database");
    let said = bench.exit(4, "no database");
    assert_eq!(said, ["4 did not start: no database, again in 100 ms", "failing: no database"]);
    bench.tick();
    assert_eq!(bench.ready(5), ["activate 5", "5 ready", "up"]);
}

#[test]
fn what_takes_too_long_to_start_is_killed() {
    let mut bench = Bench::new(policy(1));
    bench.feed(Event::Start);
    let (waited, said) = bench.tick();
    assert_eq!((waited, said), (SECOND * 30, vec!["detach 1".to_owned(), "kill 1".to_owned()]));
    let said = bench.exit(1, "signal 9");
    assert_eq!(said[0], "1 did not start: was not ready within start_timeout (30.0 s)");
}

#[test]
fn a_protocol_error_condemns_at_once_and_the_reason_is_kept() {
    let mut bench = Bench::started(1);
    let said = bench.feed(Event::LinkClosed(1, 0, Closed::Protocol("unknown type".to_owned())));
    assert_eq!(said, ["detach 1", "kill 1"]);
    let said = bench.exit(1, "signal 9");
    assert_eq!(said, ["detach 1", "1 lost: broke the link protocol: unknown type, again in 100 ms"]);
}

#[test]
fn a_process_whose_links_ended_has_a_moment_to_exit() {
    for ending in [Event::ControlClosed(1), Event::LinkClosed(1, 1, Closed::Eof)] {
        let mut bench = Bench::started(1);
        assert!(bench.feed(ending.clone()).is_empty());
        assert_eq!(bench.exit(1, "status 0")[0], "detach 1");
        let mut bench = Bench::started(1);
        bench.feed(ending);
        assert_eq!(bench.tick(), (SECOND, vec!["detach 1".to_owned(), "kill 1".to_owned()]));
    }
}

#[test]
fn stopping_drains_then_asks_then_kills() {
    let mut bench = Bench::started(1);
    assert_eq!(bench.feed(Event::Stop), ["retire 1"]);
    assert_eq!(bench.idle(1), ["drain 1"]);
    assert_eq!(bench.tick(), (SECOND * 6, vec!["terminate 1".to_owned()]));
    assert_eq!(bench.tick(), (SECOND * 2, vec!["kill 1".to_owned()]));
    assert_eq!(bench.exit(1, "signal 9"), ["detach 1", "1 left by force", "stopped"]);
}

#[test]
fn streams_are_cut_when_draining_takes_too_long() {
    let mut bench = Bench::started(1);
    bench.feed(Event::Stop);
    bench.feed(Event::LinkClosed(1, 0, Closed::Idle));
    assert_eq!(bench.tick(), (SECOND * 20, vec!["detach 1".to_owned(), "drain 1".to_owned()]));
    assert_eq!(bench.exit(1, "status 0"), ["detach 1", "1 left", "stopped"]);
}

#[test]
fn nobody_waits_for_links_of_a_front_that_has_ended() {
    let mut bench = Bench::started(1);
    assert!(bench.feed(Event::ThreadsGone).is_empty());
    assert_eq!(bench.feed(Event::Stop), ["retire 1", "drain 1"]);
    let mut bench = Bench::started(1);
    assert_eq!(bench.feed(Event::Stop), ["retire 1"]);
    assert_eq!(bench.feed(Event::ThreadsGone), ["drain 1"]);
}

#[test]
fn stopping_while_starting_asks_by_signal() {
    let mut bench = Bench::new(policy(1));
    bench.feed(Event::Start);
    assert_eq!(bench.feed(Event::Stop), ["terminate 1"]);
    assert!(bench.ready(1).is_empty(), "too late");
    assert_eq!(bench.tick(), (SECOND * 8, vec!["kill 1".to_owned()]));
    assert!(bench.exit(1, "signal 9").contains(&"stopped".to_owned()));
}

#[test]
fn a_replacement_is_ready_before_the_old_worker_retires() {
    let mut bench = Bench::started_with(Policy { recycle_requests: Some(10), ..policy(2) });
    let usage = |worker, served| Event::Usage { worker, served, memory: None };
    assert!(bench.feed(usage(1, 9)).is_empty());
    let said = bench.feed(usage(1, 10));
    assert_eq!(said, ["recycling 1: it has served 10 requests (limit 10)", "spawn 3 as #1 of 1"]);
    assert!(bench.feed(usage(2, 10)).is_empty(), "one at a time");
    assert_eq!(bench.ready(3), ["activate 3", "3 ready", "retire 1"]);
    assert!(bench.feed(usage(2, 10)).is_empty(), "the old one is still there");
    assert_eq!(bench.idle(1), ["drain 1"]);
    assert_eq!(bench.exit(1, "status 0"), ["detach 1", "1 left"]);
    assert_eq!(bench.feed(usage(2, 10))[1], "spawn 4 as #2 of 1");
}

#[test]
fn without_a_limit_a_worker_serves_until_its_links_could_run_out_of_numbers() {
    let mut bench = Bench::started_with(policy(1));
    let usage = |served| Event::Usage { worker: 1, served, memory: None };
    assert!(bench.feed(usage(link::WORKER_STREAMS_MAX - 1)).is_empty());
    assert_eq!(bench.feed(usage(link::WORKER_STREAMS_MAX))[1], "spawn 2 as #1 of 1");
    assert!(link::WORKER_STREAMS_MAX < u64::from(u32::MAX));
}

#[test]
fn a_replacement_that_fails_leaves_the_old_worker_alone() {
    let mut bench = Bench::started_with(Policy { recycle_memory_bytes: Some(1 << 20), ..policy(1) });
    let usage = || Event::Usage { worker: 1, served: 0, memory: Some(5 << 20) };
    assert_eq!(bench.feed(usage())[0], "recycling 1: it uses 5 MiB of memory (limit 1 MiB)");
    assert_eq!(bench.exit(2, "status 1"), ["2 did not start: status 1"]);
    assert_eq!(bench.machine.phase(1), Some(Phase::Ready));
    assert!(bench.feed(usage()).is_empty(), "not before the pause is over");
    bench.after(Duration::from_millis(100));
    assert_eq!(bench.feed(usage())[1], "spawn 3 as #1 of 1");
    // The old one dies meanwhile: the replacement has its place already.
    assert_eq!(bench.exit(1, "signal 9"), ["detach 1", "1 lost: signal 9"]);
    assert_eq!(bench.ready(3), ["activate 3", "3 ready"]);
}

#[test]
fn a_reload_takes_over_as_a_whole() {
    let mut bench = Bench::started(2);
    let said = bench.feed(Event::Prepare(policy(2)));
    assert_eq!(said, ["spawn 3 as #1 of 2", "spawn 4 as #2 of 2"]);
    assert!(bench.ready(3).is_empty());
    assert!(bench.feed(Event::Commit).is_empty(), "it is not complete");
    assert_eq!(bench.ready(4), ["prepared"]);
    let said = bench.feed(Event::Commit);
    assert_eq!(said, ["activate 3", "3 ready", "activate 4", "4 ready", "retire 1", "retire 2"]);
    assert_eq!(bench.machine.generation(), 2);
    bench.idle(1);
    assert_eq!(bench.exit(1, "status 0"), ["detach 1", "1 left"]);
}

#[test]
fn a_reload_that_fails_leaves_the_old_workers() {
    let mut bench = Bench::started(2);
    bench.feed(Event::Prepare(policy(2)));
    bench.ready(3);
    bench.feed(Event::Failed(4, failure("syntax error")));
    let said = bench.exit(4, "status 1");
    assert_eq!(said, ["4 did not start: syntax error", "prepare failed: syntax error", "retire 3"]);
    assert_eq!((bench.machine.ready(), bench.machine.generation()), (2, 1));
    bench.idle(3);
    assert_eq!(bench.exit(3, "status 0"), ["detach 3", "3 left"]);
    assert_eq!(bench.feed(Event::Prepare(policy(1))), ["spawn 5 as #1 of 3"]);
}

#[test]
fn a_reload_is_refused_during_another_and_after_a_stop() {
    let mut bench = Bench::started(1);
    bench.feed(Event::Prepare(policy(1)));
    let said = bench.feed(Event::Prepare(policy(1)));
    assert_eq!(said, ["prepare failed: another reload or a stop is under way"]);
    bench.feed(Event::Abort);
    bench.feed(Event::Stop);
    let said = bench.feed(Event::Prepare(policy(1)));
    assert_eq!(said, ["prepare failed: another reload or a stop is under way"]);
}

#[test]
fn a_silent_event_loop_is_killed() {
    let mut bench = Bench::started_with(Policy { hang_timeout: Some(SECOND * 10), ..policy(1) });
    assert_eq!(bench.tick(), (SECOND * 5, vec!["ping 1".to_owned()]));
    bench.after(SECOND);
    bench.feed(Event::Pong(1));
    assert_eq!(bench.tick(), (SECOND * 5, vec!["ping 1".to_owned()]));
    assert_eq!(bench.tick(), (SECOND * 10, vec!["detach 1".to_owned(), "kill 1".to_owned()]));
    let said = bench.exit(1, "signal 9");
    assert_eq!(said[1], "1 lost: its event loop did not answer for 10.0 s (hang_timeout), again in 0 ms");
}

#[test]
fn killing_spares_nobody() {
    let mut bench = Bench::started(1);
    bench.feed(Event::Prepare(policy(1)));
    assert_eq!(bench.feed(Event::Kill), ["detach 1", "kill 1", "detach 2", "kill 2"]);
    bench.exit(1, "signal 9");
    assert!(bench.exit(2, "signal 9").contains(&"stopped".to_owned()));
}

/// One step of a random life; workers are named by their age among those that live.
#[derive(Clone, Debug)]
enum Step {
    Open(usize, usize),
    Ready(usize),
    Fail(usize),
    Exit(usize),
    ControlClosed(usize),
    Link(usize, usize, u8),
    Pong(usize),
    Usage(usize, u64),
    Prepare(usize),
    Commit,
    Abort,
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..6;
    prop_oneof![
        4 => (who.clone(), 0usize..3).prop_map(|(w, l)| Step::Open(w, l)),
        4 => who.clone().prop_map(Step::Ready),
        1 => who.clone().prop_map(Step::Fail),
        2 => who.clone().prop_map(Step::Exit),
        1 => who.clone().prop_map(Step::ControlClosed),
        2 => (who.clone(), 0usize..3, 0u8..3).prop_map(|(w, l, k)| Step::Link(w, l, k)),
        1 => who.clone().prop_map(Step::Pong),
        1 => (who, 0u64..20).prop_map(|(w, n)| Step::Usage(w, n)),
        1 => (1usize..4).prop_map(Step::Prepare),
        1 => Just(Step::Commit),
        1 => Just(Step::Abort),
        4 => (0u64..40_000).prop_map(Step::Tick),
    ]
}

/// What the outside world knows: which processes run, and what was said about each.
#[derive(Default)]
struct World {
    running: std::collections::BTreeSet<WorkerId>,
    active: std::collections::BTreeSet<WorkerId>,
    ever: std::collections::BTreeSet<WorkerId>,
    stopped: bool,
}

impl World {
    fn see(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Spawn { worker, .. } => {
                    assert!(self.ever.insert(*worker), "the id {worker} is used twice");
                    self.running.insert(*worker);
                }
                Action::Activate(worker) => {
                    assert!(self.running.contains(worker), "{worker} is activated after its death");
                    assert!(self.active.insert(*worker), "{worker} is activated twice");
                }
                Action::Retire(worker) | Action::Detach(worker) => {
                    self.active.remove(worker);
                }
                Action::Drain(worker) | Action::Terminate(worker) | Action::Kill(worker) | Action::Ping(worker) => {
                    assert!(self.running.contains(worker), "{action:?} after its death");
                }
                Action::Note(Note::Stopped) => self.stopped = true,
                Action::Service(_) | Action::Note(_) => {}
            }
        }
    }
}

proptest! {
    /// Whatever happens in whatever order: ids are used once, nothing is told to the dead, recycling and restarts never
    /// add more than one process over what is wanted, and a stop always comes to its end.
    #[test]
    fn any_life_ends(workers in 1usize..4, steps in proptest::collection::vec(step(), 0..120)) {
        let policy = |workers| Policy { recycle_requests: Some(10), hang_timeout: Some(SECOND * 10), ..policy(workers) };
        let mut machine = Machine::new(policy(workers));
        let (mut now, mut ids, mut world, mut wanted) = (SECOND, 1, World::default(), workers);
        let mut feed = |machine: &mut Machine, world: &mut World, now: Duration, event: Event| {
            if let Event::Exited(worker, _) = &event {
                world.running.remove(worker);
            }
            let actions = machine.next(Turn { now, jitter: 0.5 }, &mut ids, event);
            world.see(&actions);
        };
        feed(&mut machine, &mut world, now, Event::Start);
        for step in steps {
            let pick = |n: usize| world.running.iter().nth(n % world.running.len().max(1)).copied().unwrap_or(9999);
            let event = match step {
                Step::Open(w, link) => Event::LinkOpened(pick(w), link),
                Step::Ready(w) => Event::Ready(pick(w)),
                Step::Fail(w) => Event::Failed(pick(w), failure("failed")),
                Step::Exit(w) => Event::Exited(pick(w), failure("exited")),
                Step::ControlClosed(w) => Event::ControlClosed(pick(w)),
                Step::Link(w, link, 0) => Event::LinkClosed(pick(w), link, Closed::Idle),
                Step::Link(w, link, 1) => Event::LinkClosed(pick(w), link, Closed::Eof),
                Step::Link(w, link, _) => Event::LinkClosed(pick(w), link, Closed::Protocol("bad".to_owned())),
                Step::Pong(w) => Event::Pong(pick(w)),
                Step::Usage(w, served) => Event::Usage { worker: pick(w), served, memory: None },
                Step::Prepare(n) => Event::Prepare(policy(n)),
                Step::Commit => Event::Commit,
                Step::Abort => Event::Abort,
                Step::Tick(ms) => { now += Duration::from_millis(ms); Event::Tick }
            };
            feed(&mut machine, &mut world, now, event);
            prop_assert!(machine.ready() <= world.active.len());
            let current = machine.generation();
            wanted = wanted.max(machine.workers().filter(|w| w.generation == current).map(|w| w.number).max().unwrap_or(0));
            let alive = machine.workers().filter(|w| w.generation == current && matches!(w.phase, Phase::Starting | Phase::Ready)).count();
            prop_assert!(alive <= wanted.max(3) + 1, "{} processes serve or start", alive);
        }
        feed(&mut machine, &mut world, now, Event::Stop);
        // Nobody exits by himself: every wait must come to SIGKILL, after which the process is gone.
        for _ in 0..200 {
            if world.stopped {
                break;
            }
            if let Some(at) = machine.deadline() {
                now = now.max(at);
                feed(&mut machine, &mut world, now, Event::Tick);
            } else {
                let worker = world.running.first().copied();
                prop_assert!(worker.is_some(), "nothing to wait for and nobody left, but not stopped");
                feed(&mut machine, &mut world, now, Event::Exited(worker.unwrap(), failure("signal 9")));
            }
        }
        prop_assert!(world.stopped && world.running.is_empty(), "the stop did not end");
        prop_assert_eq!(machine.deadline(), None);
    }
}
