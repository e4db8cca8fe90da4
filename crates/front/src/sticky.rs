//! Which worker of a service a client's requests prefer, for applications that keep a client's state in one worker's
//! memory. A preference only: a worker that is gone or full is passed over.
//!
//! A value of the request (`address`, `cookie:`, `header:`, `query:`) is hashed to a worker's name, so that all threads
//! choose alike and a worker that is replaced gets what its predecessor had. The session ids of socket.io are its servers'
//! own choice and cannot be hashed to the worker that has made them up, so they are read from its answers.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use config::Sticky;
use link::{Incoming, Worker, WorkerId};
use rustc_hash::FxHashMap;
use wire::RequestHead;

/// Sessions that are remembered at least; twice as many at most, which take about 3 MiB.
const SESSIONS_KEPT: usize = 64 * 1024;
/// Bytes of a session's id; those of socket.io have 20.
const SESSION_ID_MAX: usize = 128;

/// What a request prefers.
#[derive(Clone, Debug, Default)]
pub enum Preference {
    /// The worker with the least to do.
    #[default]
    None,
    /// The worker whose name goes best with this.
    Hashed(u64),
    /// This one.
    Worker(WorkerId),
    /// None yet: it opens a session, whose id its answer tells.
    Opens(Arc<Sessions>),
}

impl Preference {
    /// What `rule` makes of a request for `service`.
    pub fn of(rule: &Sticky, head: &RequestHead<'_>, service: &str, sessions: &Arc<Sessions>) -> Preference {
        let value = match rule {
            Sticky::SocketIo => {
                let Some(id) = query_value(head.target, b"sid") else { return Preference::Opens(sessions.clone()) };
                return sessions.worker(service, id).map_or(Preference::None, Preference::Worker);
            }
            Sticky::Address => Some(head.remote_addr),
            Sticky::Cookie(name) => cookie(head, name.as_bytes()),
            Sticky::Header(name) => head.fields.get(name),
            Sticky::Query(name) => query_value(head.target, name.as_bytes()),
        };
        match value {
            None | Some(b"") => Preference::None,
            Some(value) => Preference::Hashed(hash(value)),
        }
    }

    /// How well a worker goes with a hashed value; the greatest has it (rendezvous hashing). Of two of one name, during a
    /// reload, the newer has it.
    pub fn weight(value: u64, worker: &Worker) -> (u64, WorkerId) {
        (hash((value, &worker.name)), worker.id)
    }

    /// Remembers who has opened a session, once its answer says that it has.
    pub fn learn(&mut self, service: &str, worker: WorkerId, incoming: &Incoming) {
        let Preference::Opens(sessions) = &*self else { return };
        let body = match incoming {
            Incoming::Response { payload, end, .. } => match wire::ResponseHead::parse(payload) {
                // The head came alone; the body follows.
                Ok(head) if head.body.is_empty() && !end => return,
                Ok(head) => head.body,
                Err(_) => b"",
            },
            Incoming::Data { bytes, .. } => bytes,
            Incoming::Informational { .. } => return,
            _ => b"",
        };
        if let Some(id) = session_id(body) {
            sessions.remember(service, id, worker);
        }
        *self = Preference::None;
    }
}

/// The workers that have opened sessions, for all threads. Only requests of services that ask for it come here.
#[derive(Debug, Default)]
pub struct Sessions {
    hasher: RandomState,
    known: Mutex<Generations>,
}

/// Those that were used lately, and those that were used before; when the former are many, the latter are forgotten.
#[derive(Debug, Default)]
struct Generations {
    young: FxHashMap<u64, WorkerId>,
    old: FxHashMap<u64, WorkerId>,
}

impl Sessions {
    fn worker(&self, service: &str, id: &[u8]) -> Option<WorkerId> {
        let key = self.hasher.hash_one((service, id));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = known.young.get(&key) {
            return Some(*worker);
        }
        let worker = known.old.remove(&key)?;
        known.put(key, worker);
        Some(worker)
    }

    fn remember(&self, service: &str, id: &[u8], worker: WorkerId) {
        let key = self.hasher.hash_one((service, id));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(key, worker);
    }
}

impl Generations {
    fn put(&mut self, key: u64, worker: WorkerId) {
        if self.young.len() >= SESSIONS_KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, worker);
    }
}

/// The same in every thread.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// As it is written, without its percent-encoding undone.
fn query_value<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = memchr::memchr(b'?', target)?;
    target[at + 1..].split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

fn cookie<'a>(head: &RequestHead<'a>, name: &[u8]) -> Option<&'a [u8]> {
    head.fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"))
        .flat_map(|(_, value)| value.split(|byte| *byte == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

/// The id in engine.io's open packet, `0{"sid":"…",…}`; versions before the fourth put the packet's length before it.
fn session_id(body: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"{\"sid\":\"";
    let at = memchr::memmem::find(body, KEY)?;
    let rest = &body[at + KEY.len()..];
    let id = &rest[..memchr::memchr(b'"', rest)?];
    (1..=SESSION_ID_MAX).contains(&id.len()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn check_rule(rule: &Sticky, target: &str, fields: &[(&str, &str)]) -> Option<u64> {
        let parts = wire::RequestParts {
            version: 11,
            https: false,
            remote_port: 1,
            local_port: 2,
            method: b"GET",
            target: target.as_bytes(),
            remote_addr: b"192.0.2.1",
            local_addr: b"",
            prefix: b"",
            request_id: b"",
        };
        let mut frame = Vec::new();
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        wire::put_request(&mut frame, 1, 0, &parts, fields, b"").unwrap();
        let head = RequestHead::parse(&frame[wire::HEADER_LEN..]).unwrap();
        match Preference::of(rule, &head, "app", &Arc::default()) {
            Preference::Hashed(value) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn a_rule_takes_its_value_from_the_request() {
        let of = |text: &str| Some(hash(text.as_bytes()));
        assert_eq!(check_rule(&Sticky::Address, "/", &[]), of("192.0.2.1"));
        let query = Sticky::Query("room".into());
        assert_eq!(check_rule(&query, "/a?rooms=1&room=two&room=3", &[]), of("two"));
        assert_eq!(check_rule(&query, "/a?room=", &[]), None);
        assert_eq!(check_rule(&query, "/room=1", &[]), None);
        let cookie = Sticky::Cookie("id".into());
        assert_eq!(check_rule(&cookie, "/", &[("cookie", "uid=1; id=two"), ("Cookie", "id=3")]), of("two"));
        assert_eq!(check_rule(&cookie, "/", &[("cookie", "uid=1")]), None);
        let header = Sticky::Header("x-user".into());
        assert_eq!(check_rule(&header, "/", &[("X-User", "ada")]), of("ada"));
    }

    #[test]
    fn a_value_keeps_its_worker_when_others_come_and_go() {
        let workers: Vec<_> = (1..=5).map(|id| Worker::new(id, "app".into(), format!("app#{id}"))).collect();
        let best = |value: u64, among: &[Arc<Worker>]| {
            among.iter().max_by_key(|worker| Preference::weight(value, worker)).map(|worker| worker.name.clone()).unwrap()
        };
        let mut counts = FxHashMap::<String, usize>::default();
        for value in 0..1000 {
            let all = best(hash(value), &workers);
            let fewer = best(hash(value), &workers[..4]);
            assert!(all == fewer || all == "app#5");
            *counts.entry(all).or_default() += 1;
        }
        assert!(counts.values().all(|count| (150..250).contains(count)), "{counts:?}");
    }

    fn learned(incoming: &[Incoming]) -> Option<WorkerId> {
        let sessions = Arc::<Sessions>::default();
        let mut preference = Preference::Opens(sessions.clone());
        for one in incoming {
            preference.learn("app", 7, one);
        }
        assert!(sessions.worker("other", b"abc").is_none());
        sessions.worker("app", b"abc")
    }

    fn response(body: &[u8], end: bool) -> Incoming {
        let mut frame = Vec::new();
        wire::put_response(&mut frame, 1, 200, b"", std::iter::empty(), body, end).unwrap();
        Incoming::Response { status: 200, payload: Bytes::copy_from_slice(&frame[wire::HEADER_LEN..]), end }
    }

    #[test]
    fn a_session_belongs_to_the_worker_whose_answer_opens_it() {
        let packet: &[u8] = b"0{\"sid\":\"abc\",\"upgrades\":[\"websocket\"]}";
        let data = || Incoming::Data { bytes: Bytes::from_static(packet), end: true };
        assert_eq!(learned(&[response(packet, true)]), Some(7));
        assert_eq!(learned(&[response(b"", false), data()]), Some(7));
        assert_eq!(learned(&[response(b"96:0{\"sid\":\"abc\"}", true)]), Some(7));
        // What comes later is the application's.
        assert_eq!(learned(&[response(b"no session", false), data()]), None);
    }

    #[test]
    fn sessions_in_use_are_not_forgotten() {
        let sessions = Sessions::default();
        sessions.remember("app", b"in use", 1);
        sessions.remember("app", b"idle", 2);
        for number in 0..3 * SESSIONS_KEPT {
            sessions.remember("app", number.to_string().as_bytes(), 3);
            assert_eq!(sessions.worker("app", b"in use"), Some(1));
        }
        assert_eq!(sessions.worker("app", b"idle"), None);
        let known = sessions.known.lock().unwrap();
        assert!(known.young.len() + known.old.len() <= 2 * SESSIONS_KEPT);
    }
}
