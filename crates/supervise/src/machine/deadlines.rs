//! What happens when nothing has happened for too long.

use link::WorkerId;

use super::{Action, Failure, Machine, Phase, Ping, Turn};

impl Machine {
    pub(super) fn tick(&mut self, turn: Turn, ids: &mut WorkerId, out: &mut Vec<Action>) {
        let due: Vec<WorkerId> = self
            .lives
            .iter()
            .filter(|(_, life)| life.deadline.is_some_and(|at| at <= turn.now))
            .map(|(worker, _)| *worker)
            .collect();
        for worker in due {
            self.overdue(turn, worker, out);
        }
        self.ping(turn, out);
        for index in 0..self.slots.len() {
            if self.slots[index].restart_at.is_some_and(|at| at <= turn.now) {
                self.slots[index].restart_at = None;
                self.slots[index].restarts += 1;
                let worker = self.spawn_current(turn, ids, index, out);
                self.slots[index].current = Some(worker);
            }
        }
    }

    fn overdue(&mut self, turn: Turn, worker: WorkerId, out: &mut Vec<Action>) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        match life.phase {
            Phase::Starting => {
                let waited = turn.now.saturating_sub(life.started).as_secs_f64();
                let missing = if life.ready_said { "did not open all of its data links" } else { "was not ready" };
                let cause = Failure {
                    error: format!("{missing} within start_timeout ({waited:.1} s)"),
                    hint: "raise start_timeout if the application needs longer to load".to_owned(),
                    ..Failure::default()
                };
                self.doom(turn, worker, Some(cause), true, out);
            }
            Phase::Draining => {
                out.push(Action::Detach(worker));
                self.drain(turn, worker, out);
            }
            Phase::Stopping if !life.terminated => {
                life.terminated = true;
                life.deadline = Some(turn.now + self.policy.stop_timeout / 4);
                out.push(Action::Terminate(worker));
            }
            Phase::Stopping => {
                life.killed = true;
                life.deadline = None;
                out.push(Action::Kill(worker));
            }
            Phase::Dying => {
                life.killed = true;
                life.deadline = None;
                if life.cause.is_none() {
                    let error = "closed a link but did not exit".to_owned();
                    life.cause = Some(Failure { error, ..Failure::default() });
                }
                out.push(Action::Detach(worker));
                out.push(Action::Kill(worker));
            }
            Phase::Held | Phase::Ready => life.deadline = None,
        }
    }

    fn ping(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let Some(timeout) = self.policy.hang_timeout else { return };
        let mut hung = Vec::new();
        for (worker, life) in self.lives.iter_mut().filter(|(_, life)| life.phase == Phase::Ready) {
            match life.ping {
                Ping::Next(at) if at <= turn.now => {
                    life.ping = Ping::Unanswered { since: turn.now };
                    out.push(Action::Ping(*worker));
                }
                Ping::Unanswered { since } if since + timeout <= turn.now => hung.push(*worker),
                _ => {}
            }
        }
        for worker in hung {
            let cause = Failure {
                error: format!("its event loop did not answer for {:.1} s (hang_timeout)", timeout.as_secs_f64()),
                hint: "look for blocking code on the event loop, or raise hang_timeout".to_owned(),
                ..Failure::default()
            };
            self.doom(turn, worker, Some(cause), true, out);
        }
    }
}
