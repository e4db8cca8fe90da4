//! The broker's part of the supervisor: starts what is called first, and tells callers who is ready.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use wire::Kind;

use super::Shell;
use crate::broker::{Link, LinkId, Peer, Refusal, Resolve, Said, calls_socket, choose};
use crate::machine::{Event, Failure, Machine, Phase};
use crate::spec::{BROKER_NAME_MAX, CallsSpec};

/// Broker links open at once: every process that calls holds one.
const LINKS_MAX: usize = 4096;
/// Questions of one link that wait for a worker; one for each service that starts would do.
const QUESTIONS_MAX: usize = 256;

pub(super) struct Broker {
    pub(super) socket: PathBuf,
    pub(super) token: String,
    pub(super) calls: CallsSpec,
    links: HashMap<LinkId, Caller>,
    next_link: LinkId,
    waiting: Vec<Waiting>,
    /// What those who watch a service know of it.
    told: BTreeMap<Arc<str>, Vec<Peer>>,
    said: mpsc::Sender<(LinkId, Said)>,
}

struct Caller {
    link: Link,
    from: String,
    watches: BTreeSet<Arc<str>>,
}

struct Waiting {
    link: LinkId,
    id: u32,
    service: Arc<str>,
    deadline: Instant,
}

impl Broker {
    pub(super) fn new(socket: PathBuf, token: String, calls: CallsSpec, said: mpsc::Sender<(LinkId, Said)>) -> Broker {
        Broker { socket, token, calls, links: HashMap::new(), next_link: 1, waiting: Vec::new(), told: BTreeMap::new(), said }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.deadline).min()
    }

    /// Answers; a caller that does not read loses its link.
    fn answer(&mut self, link: LinkId, kind: Kind, payload: &serde_json::Value) {
        if self.links.get(&link).is_some_and(|caller| !caller.link.send(kind, payload)) {
            self.forget(link, Some("it does not read what it is sent".to_owned()));
        }
    }

    fn refuse(&mut self, link: LinkId, id: u32, refusal: &Refusal) {
        self.answer(link, Kind::Resolved, &json!({ "id": id, "error": refusal }));
    }

    fn forget(&mut self, link: LinkId, why: Option<String>) {
        if let (Some(caller), Some(why)) = (self.links.remove(&link), why) {
            tracing::warn!("ended the broker link of {}: {why}", caller.from);
        }
        self.waiting.retain(|waiting| waiting.link != link);
    }
}

impl Shell {
    pub(super) fn broker_link(&mut self, mut from: String, stream: UnixStream) {
        if self.broker.links.len() >= LINKS_MAX {
            tracing::warn!("turned a broker link away: {LINKS_MAX} are open");
            return;
        }
        let id = self.broker.next_link;
        self.broker.next_link += 1;
        from.truncate(from.floor_char_boundary(BROKER_NAME_MAX));
        let link = Link::open(stream, id, self.broker.said.clone());
        self.broker.links.insert(id, Caller { link, from, watches: BTreeSet::new() });
    }

    pub(super) fn said(&mut self, link: LinkId, what: Said) {
        match what {
            Said::Gone(why) => self.broker.forget(link, why),
            Said::Resolve(resolve) if self.broker.links.contains_key(&link) => self.resolve(link, &resolve),
            Said::Resolve(_) => {}
        }
    }

    fn resolve(&mut self, link: LinkId, resolve: &Resolve) {
        let id = resolve.id;
        if self.broker.waiting.iter().filter(|waiting| waiting.link == link).count() >= QUESTIONS_MAX {
            let message = format!("{QUESTIONS_MAX} modules of this process wait for their workers");
            return self.broker.refuse(link, id, &Refusal::busy(message));
        }
        let missing = self.broker.calls.missing.iter().find(|(language, _)| *language == resolve.language.language());
        let missing = missing.map(|(_, why)| why.clone());
        let specs = self.services.values().filter_map(|run| run.specs.values().next_back()).map(|spec| &**spec);
        let service = match (choose(resolve, specs), missing) {
            (Ok(service), _) => service,
            (Err(refusal), Some(why)) if refusal.code == "BIREME_UNAVAILABLE" => {
                return self.broker.refuse(link, id, &Refusal::unavailable(why, String::new()));
            }
            (Err(refusal), _) => return self.broker.refuse(link, id, &refusal),
        };
        if self.stopping {
            let message = format!("service {service} is not called any more: Bireme is stopping");
            return self.broker.refuse(link, id, &Refusal::unavailable(message, String::new()));
        }
        let deadline = Instant::now() + self.broker.calls.start_timeout;
        self.broker.waiting.push(Waiting { link, id, service: service.clone(), deadline });
        if self.services.get(&service).is_some_and(super::Run::is_idle) {
            self.feed(&service, Event::Start);
        }
        self.answer_waiting(&service);
    }

    /// The workers of a service that take calls.
    fn peers(&self, service: &Arc<str>) -> Vec<Peer> {
        let Some(run) = self.services.get(service) else { return Vec::new() };
        let ready = run.machine.workers().filter(|view| view.phase == Phase::Ready);
        ready
            .map(|view| Peer {
                worker: format!("{service}#{}", view.number),
                path: calls_socket(&self.broker.socket, view.worker),
            })
            .collect()
    }

    /// Before what a machine has decided is carried out: callers turn away from a worker before it is told to stop.
    pub(super) fn tell_peers(&mut self, service: &Arc<str>) {
        if self.broker.links.is_empty() {
            return;
        }
        let peers = self.peers(service);
        if self.broker.told.get(service).is_some_and(|told| *told != peers) {
            self.broker.told.insert(service.clone(), peers.clone());
            let payload = json!({ "service": &**service, "workers": peers });
            let watching = self.broker.links.iter().filter(|(_, caller)| caller.watches.contains(service));
            let watching: Vec<LinkId> = watching.map(|(link, _)| *link).collect();
            for link in watching {
                self.broker.answer(link, Kind::Peers, &payload);
            }
        }
        if !peers.is_empty() {
            self.answer_waiting(service);
        }
    }

    fn answer_waiting(&mut self, service: &Arc<str>) {
        let peers = self.peers(service);
        if peers.is_empty() {
            return;
        }
        let Some(spec) = self.services.get(service).and_then(|run| run.specs.values().next_back()) else { return };
        let calls = &self.broker.calls;
        let options = json!({
            "timeout_ms": calls.timeout_ms(spec),
            "in_flight_max": calls.in_flight_max,
            "message_bytes_max": calls.message_bytes_max,
            "shared_bytes_min": calls.shared.bytes_min.unwrap_or(0),
            "shared_bytes_max": calls.shared.bytes_max,
        });
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.broker.waiting).into_iter().partition(|waiting| waiting.service == *service);
        self.broker.waiting = waiting;
        self.broker.told.insert(service.clone(), peers.clone());
        for Waiting { link, id, .. } in ready {
            if let Some(caller) = self.broker.links.get_mut(&link) {
                caller.watches.insert(service.clone());
            }
            let payload = json!({ "id": id, "service": &**service, "workers": peers, "options": options });
            self.broker.answer(link, Kind::Resolved, &payload);
        }
    }

    /// No worker of a service that was started by a call has come to be: who waits learns why, and the next call tries
    /// again.
    pub(super) fn gave_up_on_call(&mut self, service: &Arc<str>, failure: &Failure) {
        let mut message = format!("service {service} did not start: {}", failure.error);
        if !failure.stack.is_empty() {
            message = format!("{message}\n{}", failure.stack);
        }
        let refusal = Refusal::unavailable(message, failure.hint.clone());
        self.refuse_waiting(&refusal, |waiting| waiting.service == *service);
        if let Some(run) = self.services.get_mut(service)
            && let Some((_, spec)) = run.specs.pop_last()
        {
            run.machine = Machine::new(spec.policy.clone());
            run.specs = BTreeMap::from([(run.machine.next_generation(), spec)]);
        }
    }

    pub(super) fn expire_questions(&mut self) {
        let now = Instant::now();
        let late: BTreeSet<Arc<str>> =
            self.broker.waiting.iter().filter(|w| w.deadline <= now).map(|w| w.service.clone()).collect();
        for service in late {
            let why = self.services.get(&service).and_then(|run| run.failing.clone());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let timeout = self.broker.calls.start_timeout.as_secs_f64();
            let message = format!("no worker of service {service} was ready within {timeout} s{why}");
            let hint = "raise calls.start_timeout if it needs longer to load".to_owned();
            self.refuse_waiting(&Refusal::unavailable(message, hint), |w| w.service == service && w.deadline <= now);
        }
    }

    /// Nothing will be started any more.
    pub(super) fn refuse_questions(&mut self) {
        let refusal = Refusal::unavailable("Bireme is stopping".to_owned(), String::new());
        self.refuse_waiting(&refusal, |_| true);
    }

    fn refuse_waiting(&mut self, refusal: &Refusal, whose: impl Fn(&Waiting) -> bool) {
        let (refused, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.broker.waiting).into_iter().partition(|waiting| whose(waiting));
        self.broker.waiting = waiting;
        for Waiting { link, id, .. } in refused {
            self.broker.refuse(link, id, refusal);
        }
    }
}
