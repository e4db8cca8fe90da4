//! All workers at once: a new generation beside the old one, and the end of all.

use link::WorkerId;

use super::{Action, Failure, Incoming, Machine, Note, Phase, Policy, Slot, Stage, Turn};

impl Machine {
    pub(super) fn prepare(&mut self, turn: Turn, ids: &mut WorkerId, policy: Policy, out: &mut Vec<Action>) {
        if self.incoming.is_some() || matches!(self.stage, Stage::GaveUp | Stage::Stopping | Stage::Stopped) {
            let error = "another reload or a stop is under way".to_owned();
            out.push(Action::Note(Note::PrepareFailed(Failure { error, ..Failure::default() })));
            return;
        }
        let generation = self.new_generation();
        let workers = (0..policy.workers)
            .map(|slot| self.spawn(turn, ids, slot, generation, policy.links, policy.start_timeout, out))
            .collect();
        self.incoming = Some(Incoming { policy, generation, workers, complete: false });
    }

    pub(super) fn commit(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let Some(incoming) = self.incoming.take_if(|incoming| incoming.complete) else { return };
        let old: Vec<WorkerId> = self.lives.keys().copied().filter(|w| !incoming.workers.contains(w)).collect();
        let old_policy = std::mem::replace(&mut self.policy, incoming.policy);
        self.generation = incoming.generation;
        self.stage = Stage::Running;
        self.recycling = None;
        self.slots = incoming.workers.iter().map(|w| Slot { current: Some(*w), ..Slot::default() }).collect();
        for worker in incoming.workers {
            self.activate(turn, worker, out);
        }
        // The old workers end by the rules under which they were started.
        let new_policy = std::mem::replace(&mut self.policy, old_policy);
        for worker in old {
            self.retire(turn, worker, out);
        }
        self.policy = new_policy;
    }

    pub(super) fn abort(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let Some(incoming) = self.incoming.take() else { return };
        for worker in incoming.workers {
            self.retire(turn, worker, out);
        }
    }

    pub(super) fn stop(&mut self, turn: Turn, out: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Stopping | Stage::Stopped) {
            return;
        }
        self.close_down(out);
        let workers: Vec<WorkerId> = self.lives.keys().copied().collect();
        for worker in workers {
            self.retire(turn, worker, out);
        }
    }

    pub(super) fn kill(&mut self, out: &mut Vec<Action>) {
        if self.stage == Stage::Stopped {
            return;
        }
        self.close_down(out);
        for (&worker, life) in &mut self.lives {
            life.phase = Phase::Stopping;
            life.killed = true;
            life.deadline = None;
            out.push(Action::Detach(worker));
            out.push(Action::Kill(worker));
        }
    }

    pub(super) fn close_down(&mut self, out: &mut Vec<Action>) {
        self.incoming = None;
        self.recycling = None;
        self.slots.clear();
        self.stage = if self.lives.is_empty() { Stage::Stopped } else { Stage::Stopping };
        if self.stage == Stage::Stopped {
            out.push(Action::Note(Note::Stopped));
        }
    }
}
