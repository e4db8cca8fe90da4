//! What is said about workers: to the log, and to `bireme status`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use link::{Command, ServiceState, WorkerId};

use super::{Run, Shell};
use crate::handle::{ServiceStatus, StartError, WorkerStatus};
use crate::machine::{Failure, Note};
use crate::memory::resident_bytes;
use crate::process::Process;

impl Shell {
    pub(super) fn service_state(&mut self, service: &Arc<str>, state: ServiceState) {
        if let Some(run) = self.services.get_mut(service) {
            run.failing = match &state {
                ServiceState::Up => None,
                ServiceState::Failing(why) => Some(why.clone()),
            };
        }
        match &state {
            ServiceState::Up => tracing::info!("service {service} is up again"),
            ServiceState::Failing(why) => {
                tracing::error!(
                    "service {service} has no worker left, and new ones fail: {why}; its requests get 503 until one starts"
                );
            }
        }
        self.tell_all(|| Command::Service(service.clone(), state.clone()));
    }

    pub(super) fn note(&mut self, service: &Arc<str>, note: Note) {
        match note {
            Note::Ready(worker) => self.note_ready(service, worker),
            Note::FirstReady => {
                if let Some(run) = self.services.get_mut(service) {
                    run.first_ready = true;
                }
            }
            Note::Left { worker, how, killed } => {
                if let Some(run) = self.workers.get(&worker) {
                    let served = run.shared.served.load(Ordering::Relaxed);
                    let how = if killed { "was stopped by force" } else { how.error.as_str() };
                    tracing::info!(worker = &*run.name, "{} {how}, as it was told to stop, after {served} requests", run.name);
                }
            }
            Note::Lost { worker, why, restart_in } => {
                if let Some(run) = self.workers.get(&worker) {
                    tracing::warn!(worker = &*run.name, "{} {}", run.name, explain(&why, restart_in));
                }
            }
            Note::StartFailed { worker, why, restart_in } => self.note_start_failed(service, worker, why, restart_in),
            Note::GaveUp(failure) => {
                if self.services.get(service).is_some_and(|run| run.when_called) {
                    self.gave_up_on_call(service, &failure);
                } else if let Some(run) = self.services.get_mut(service) {
                    // Should the front serve on, as it does in development, its requests need not wait.
                    let why = failure.to_string();
                    run.gave_up = Some(failure);
                    self.tell_all(|| Command::Service(service.clone(), ServiceState::Failing(why.clone())));
                }
            }
            Note::Recycling(worker, why) => {
                if let Some(run) = self.workers.get(&worker) {
                    tracing::info!(worker = &*run.name, "replacing {}: {why}", run.name);
                }
            }
            Note::Prepared => {
                if let Some(round) = &mut self.round {
                    round.waiting.remove(service);
                }
            }
            Note::PrepareFailed(failure) => self.abandon_reload(StartError { service: service.to_string(), failure }),
            Note::Stopped => {
                if let Some(run) = self.services.get_mut(service) {
                    run.stopped = true;
                }
            }
        }
    }

    fn note_ready(&mut self, service: &Arc<str>, worker: WorkerId) {
        let Some(run) = self.workers.get_mut(&worker) else { return };
        run.was_ready = true;
        let took = run.spawned.elapsed().as_millis();
        let pid = run.process.as_ref().map_or(0, Process::pid);
        tracing::info!(worker = &*run.name, pid, "{} is ready ({}, {took} ms)", run.name, run.kind);
        if let Some(service) = self.services.get_mut(service) {
            // What all workers of a service say alike is said once.
            if service.last_notes != run.notes {
                for note in &run.notes {
                    tracing::info!(worker = &*run.name, "{}: {note}", run.name);
                }
                service.last_notes.clone_from(&run.notes);
            }
            service.kind = Some(run.kind.clone());
            service.last_failure = None;
        }
    }

    fn note_start_failed(&mut self, service: &Arc<str>, worker: WorkerId, why: Failure, restart_in: Option<Duration>) {
        let (Some(run), Some(service)) = (self.workers.get(&worker), self.services.get_mut(service)) else { return };
        if !service.first_ready && self.round.is_none() {
            // If no worker starts at all, who waits for the start shows the whole of it, as the last thing said.
            tracing::error!(worker = &*run.name, "{} did not start: {}", run.name, why.error);
        } else if service.last_failure.as_ref() == Some(&why) {
            let then = restart_text(restart_in);
            tracing::error!(worker = &*run.name, "{} did not start, for the same reason{then}", run.name);
        } else {
            // Output is in the log already, line by line.
            let stack = if why.stack == run.tail.text() { String::new() } else { why.stack.clone() };
            let shown = Failure { stack, ..why.clone() };
            tracing::error!(worker = &*run.name, "{} did not start: {}", run.name, explain(&shown, restart_in));
            service.last_failure = Some(why);
        }
    }

    pub(super) fn status(&self) -> Vec<ServiceStatus> {
        self.services.iter().filter(|(_, run)| !run.is_idle()).filter_map(|(name, run)| self.service_status(name, run)).collect()
    }

    fn service_status(&self, name: &Arc<str>, run: &Run) -> Option<ServiceStatus> {
        let now = self.now();
        let generation = run.machine.generation();
        let spec = run.specs.get(&generation).or_else(|| run.specs.values().next_back())?;
        let workers = run.machine.workers().map(|view| {
            let worker = self.workers.get(&view.worker);
            let pid = worker.and_then(|w| w.process.as_ref()).map_or(0, Process::pid);
            WorkerStatus {
                name: format!("{name}#{}", view.number),
                pid,
                state: view.phase.as_str(),
                uptime_ms: u64::try_from(now.saturating_sub(view.started).as_millis()).unwrap_or(u64::MAX),
                restarts: view.restarts,
                in_flight: worker.map_or(0, |w| w.shared.in_flight.load(Ordering::Relaxed)),
                served: worker.map_or(0, |w| w.shared.served.load(Ordering::Relaxed)),
                memory_bytes: resident_bytes(pid),
                generation: view.generation,
            }
        });
        Some(ServiceStatus {
            name: name.to_string(),
            language: spec.worker.interpreter.language.as_str(),
            interpreter: spec.worker.interpreter.path.clone(),
            why: spec.worker.interpreter.why.clone(),
            version: run.version.clone(),
            kind: run.kind.clone(),
            generation,
            wanted: spec.policy.workers,
            ready: run.machine.ready(),
            failing: run.failing.clone(),
            workers: workers.collect(),
        })
    }
}

/// What happened and what follows in the first line, details below.
fn explain(why: &Failure, restart_in: Option<Duration>) -> String {
    let error = format!("{}{}", why.error, restart_text(restart_in));
    Failure { error, ..why.clone() }.to_string()
}

fn restart_text(restart_in: Option<Duration>) -> String {
    match restart_in {
        None => String::new(),
        Some(Duration::ZERO) => "; starting it again".to_owned(),
        Some(pause) => format!("; starting it again in {} ms", pause.as_millis()),
    }
}
