//! A new generation of every service takes over as a whole, or not at all.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Run, Shell, check_names};
use crate::handle::{ReloadError, ServiceStatus, StartError, Swap};
use crate::machine::{Action, Event};
use crate::spec::{CallsSpec, Plan, ServiceSpec};

/// A reload that is under way.
pub(super) struct Round {
    pub(super) waiting: BTreeSet<Arc<str>>,
    pub(super) removed: Vec<Arc<str>>,
    pub(super) added: Vec<Arc<str>>,
    /// Services that nobody has called yet: nothing of theirs runs.
    pub(super) idle: Vec<ServiceSpec>,
    pub(super) calls: CallsSpec,
    pub(super) swap: Swap,
    pub(super) reply: oneshot::Sender<Result<Vec<ServiceStatus>, ReloadError>>,
}

impl Shell {
    pub(super) fn reload(
        &mut self,
        plan: Plan,
        only: Option<&BTreeSet<Arc<str>>>,
        swap: Swap,
        reply: oneshot::Sender<Result<Vec<ServiceStatus>, ReloadError>>,
    ) {
        let refusal = if self.stopping {
            Some(ReloadError::Stopping)
        } else if self.round.is_some() {
            Some(ReloadError::Busy)
        } else {
            check_names(&plan.services).err().map(ReloadError::Invalid)
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let names: BTreeSet<Arc<str>> = plan.services.iter().map(|spec| spec.name.clone()).collect();
        let renewed =
            |spec: &ServiceSpec| only.is_none_or(|only| only.contains(&spec.name)) || !self.services.contains_key(&spec.name);
        let (idle, services): (Vec<ServiceSpec>, Vec<ServiceSpec>) = plan
            .services
            .into_iter()
            .filter(renewed)
            .partition(|spec| spec.when_called && self.services.get(&spec.name).is_none_or(Run::is_idle));
        let running: BTreeSet<Arc<str>> = self.services.keys().cloned().collect();
        self.round = Some(Round {
            waiting: services.iter().map(|spec| spec.name.clone()).collect(),
            removed: running.difference(&names).cloned().collect(),
            added: services.iter().map(|spec| spec.name.clone()).filter(|name| !running.contains(name)).collect(),
            idle,
            calls: plan.calls,
            swap,
            reply,
        });
        for spec in services {
            // A worker that cannot even be spawned ends the round at once.
            if self.round.is_none() {
                break;
            }
            let (name, policy) = (spec.name.clone(), spec.policy.clone());
            match self.services.get_mut(&name) {
                // Its first start has failed as a whole: it begins anew.
                Some(run) if run.gave_up.is_some() => {
                    let gave_up = run.gave_up.take();
                    self.add(spec);
                    if let Some(run) = self.services.get_mut(&name) {
                        run.gave_up = gave_up;
                    }
                }
                Some(run) => {
                    run.specs.insert(run.machine.next_generation(), Rc::new(spec));
                }
                None => self.add(spec),
            }
            self.feed(&name, Event::Prepare(policy));
        }
    }

    pub(super) fn abandon_reload(&mut self, why: StartError) {
        let Some(round) = self.round.take() else { return };
        for name in self.services.keys() {
            let end = if round.added.contains(name) { Event::Stop } else { Event::Abort };
            self.pending.push_back((name.clone(), end));
        }
        let _ = round.reply.send(Err(ReloadError::Failed(why)));
    }

    /// Every new worker of every service is ready: they take over.
    pub(super) fn commit_reload(&mut self, round: Round) {
        let names: Vec<Arc<str>> = self.services.keys().cloned().collect();
        let mut later = Vec::new();
        self.broker.calls = round.calls;
        for spec in round.idle {
            // Unless a call has started it since.
            if self.services.get(&spec.name).is_none_or(Run::is_idle) {
                self.add(spec);
            }
        }
        for name in names {
            if self.services.get(&name).is_some_and(Run::is_idle) && !round.removed.contains(&name) {
                continue;
            }
            if round.removed.contains(&name) {
                later.push((name.clone(), self.decide(&name, Event::Stop)));
                self.tell_peers(&name);
                continue;
            }
            let (first, rest): (Vec<Action>, Vec<Action>) =
                self.decide(&name, Event::Commit).into_iter().partition(|a| matches!(a, Action::Activate(_)));
            // Of a service that was not renewed nothing is activated: if it never started, it still has not.
            let renewed = !first.is_empty();
            for action in first {
                self.perform(&name, action);
            }
            self.tell_peers(&name);
            if let Some(run) = self.services.get_mut(&name).filter(|_| renewed) {
                run.first_ready = true;
                run.gave_up = None;
            }
            later.push((name, rest));
        }
        (round.swap)();
        for (name, actions) in later {
            for action in actions {
                self.perform(&name, action);
            }
        }
        let _ = round.reply.send(Ok(self.status()));
    }
}
