//! A new generation of every service takes over as a whole, or not at all.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Shell, check_names};
use crate::handle::{ReloadError, ServiceStatus, StartError, Swap};
use crate::machine::{Action, Event};
use crate::spec::ServiceSpec;

/// A reload that is under way.
pub(super) struct Round {
    pub(super) waiting: BTreeSet<Arc<str>>,
    pub(super) removed: Vec<Arc<str>>,
    pub(super) added: Vec<Arc<str>>,
    pub(super) swap: Swap,
    pub(super) reply: oneshot::Sender<Result<Vec<ServiceStatus>, ReloadError>>,
}

impl Shell {
    pub(super) fn reload(
        &mut self,
        services: Vec<ServiceSpec>,
        swap: Swap,
        reply: oneshot::Sender<Result<Vec<ServiceStatus>, ReloadError>>,
    ) {
        let refusal = if self.stopping {
            Some(ReloadError::Stopping)
        } else if self.round.is_some() {
            Some(ReloadError::Busy)
        } else {
            check_names(&services).err().map(ReloadError::Invalid)
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let names: BTreeSet<Arc<str>> = services.iter().map(|spec| spec.name.clone()).collect();
        let running: BTreeSet<Arc<str>> = self.services.keys().cloned().collect();
        self.round = Some(Round {
            waiting: names.clone(),
            removed: running.difference(&names).cloned().collect(),
            added: names.difference(&running).cloned().collect(),
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
        for name in names {
            if round.removed.contains(&name) {
                later.push((name.clone(), self.decide(&name, Event::Stop)));
                continue;
            }
            let (first, rest): (Vec<Action>, Vec<Action>) =
                self.decide(&name, Event::Commit).into_iter().partition(|a| matches!(a, Action::Activate(_)));
            for action in first {
                self.perform(&name, action);
            }
            if let Some(run) = self.services.get_mut(&name) {
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
