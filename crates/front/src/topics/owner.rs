//! The topics whose order one thread decides: who gets their messages, and who publishes them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use link::{Link, TopicFrame, WorkerId};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use websocket::Shared;
use wire::{FLAG_END, FLAG_PRESENCE, FLAG_TEXT, Kind};

use super::{Account, Crossing, GRANT_STEP, Hold, Publication, Topics};
use crate::thread::Thread;

/// Bytes of one ANSWER, about.
const ANSWER_BYTES: usize = 64 * 1024;

/// Topics of this thread that one worker may listen to or watch; workers stop themselves before that.
const TOPICS_PER_WORKER_MAX: u32 = 65_536;

/// Who has joined a topic.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// Sockets of each thread, by its index.
    sockets: SmallVec<[u32; 8]>,
    /// Workers that get its messages.
    listeners: Vec<WorkerId>,
    /// Workers that are told who comes and goes.
    watchers: Vec<WorkerId>,
    /// Members that have a name, and how often each is there: a new watcher is told of them.
    names: FxHashMap<Box<[u8]>, u32>,
}

/// A worker's right to publish.
#[derive(Debug)]
pub(super) struct Publisher {
    account: Arc<Account>,
    left: Cell<u32>,
    /// Topics that it listens to or watches.
    listens: Cell<u32>,
}

impl Owned {
    fn members(&self) -> u32 {
        self.sockets.iter().sum()
    }

    /// A member of this name has come or gone.
    fn note_name(&mut self, name: &[u8], joined: bool) {
        if name.is_empty() {
            return;
        }
        if joined {
            *self.names.entry(name.into()).or_default() += 1;
        } else if let Some(count) = self.names.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(name);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.members() == 0 && self.listeners.is_empty() && self.watchers.is_empty()
    }
}

impl Topics {
    pub(super) fn on_frame(&self, thread: &Thread, link: &Link, frame: &TopicFrame) -> Result<(), String> {
        if frame.kind == Kind::Query {
            return self.answer(link, &frame.payload);
        }
        let (topic, rest) = wire::topic(frame.kind, &frame.payload).map_err(|error| error.to_string())?;
        if wire::topic_link(topic.as_bytes(), self.bus.threads()) != self.index {
            return Err(format!("{:?} frame of the topic {topic:?} on a link that is not its own", frame.kind));
        }
        let home = usize::from(frame.aux);
        if frame.stream != 0 && home >= self.bus.threads() {
            return Err(format!("{:?} frame for a stream of link {home}, which does not exist", frame.kind));
        }
        let key = (link.worker().id, frame.stream);
        match (frame.kind, frame.stream) {
            (Kind::Publish, _) => self.publish(thread, link, frame, topic, rest),
            (kind, 0) => self.listen(link, topic, kind == Kind::Subscribe, frame.flags & FLAG_PRESENCE != 0),
            (Kind::Subscribe, _) => {
                if rest.len() > wire::MEMBER_NAME_MAX || std::str::from_utf8(rest).is_err() {
                    return Err("the name of a topic's member is too long or not UTF-8".into());
                }
                let topic = self.name(topic);
                self.count(thread, &topic, home, true, rest);
                self.tell(thread, home, Crossing::Join { topic, key, name: rest.into() });
                Ok(())
            }
            _ => {
                let topic = self.name(topic);
                self.tell(thread, home, Crossing::Leave { topic, key });
                Ok(())
            }
        }
    }

    /// A topic's name, shared if it is known.
    fn name(&self, topic: &str) -> Arc<str> {
        self.owned.borrow().get_key_value(topic).map_or_else(|| topic.into(), |(name, _)| name.clone())
    }

    fn listen(&self, link: &Link, topic: &str, wanted: bool, presence: bool) -> Result<(), String> {
        let worker = link.worker().id;
        let name = self.name(topic);
        let mut owned = self.owned.borrow_mut();
        let entry = owned.entry(name).or_default();
        let list = if presence { &mut entry.watchers } else { &mut entry.listeners };
        let before = list.len();
        list.retain(|other| *other != worker);
        self.count_listens(worker, before - list.len(), wanted)?;
        if wanted {
            list.push(worker);
            let members = entry.members();
            for (name, count) in entry.names.iter().filter(|_| presence) {
                for _ in 0..*count {
                    link.send_unpaid(|out| wire::put_presence(out, true, topic, members, name));
                }
            }
        } else if entry.is_empty() {
            owned.remove(topic);
        }
        Ok(())
    }

    fn count_listens(&self, worker: WorkerId, fewer: usize, more: bool) -> Result<(), String> {
        let mut accounts = self.accounts.borrow_mut();
        let publisher = self.publisher(&mut accounts, worker);
        let listens = publisher.listens.get() - fewer as u32 + u32::from(more);
        publisher.listens.set(listens);
        if listens > TOPICS_PER_WORKER_MAX {
            return Err(format!("SUBSCRIBE to more than {TOPICS_PER_WORKER_MAX} topics"));
        }
        Ok(())
    }

    fn publisher<'a>(&self, accounts: &'a mut FxHashMap<WorkerId, Publisher>, worker: WorkerId) -> &'a mut Publisher {
        accounts.entry(worker).or_insert_with(|| Publisher {
            account: Arc::new(Account { worker, owner: self.index, bus: self.bus.clone(), returned: AtomicU32::new(0) }),
            left: Cell::new(wire::PUBLISH_CREDIT),
            listens: Cell::new(0),
        })
    }

    /// A socket of the thread `home` has come or gone: counts it and tells the watchers.
    fn count(&self, thread: &Thread, topic: &Arc<str>, home: usize, joined: bool, name: &[u8]) {
        let mut owned = self.owned.borrow_mut();
        let entry = owned.entry(topic.clone()).or_default();
        if entry.sockets.len() < self.bus.threads() {
            entry.sockets.resize(self.bus.threads(), 0);
        }
        let sockets = &mut entry.sockets[home];
        *sockets = if joined { *sockets + 1 } else { sockets.saturating_sub(1) };
        entry.note_name(name, joined);
        let members = entry.members();
        for worker in &entry.watchers {
            if let Some(link) = thread.link(*worker) {
                link.send_unpaid(|out| wire::put_presence(out, joined, topic, members, name));
            }
        }
        if entry.is_empty() {
            owned.remove(topic);
        }
    }

    pub(super) fn left(&self, thread: &Thread, topic: &Arc<str>, from: usize, name: &[u8]) {
        self.count(thread, topic, from, false, name);
    }

    fn publish(&self, thread: &Thread, link: &Link, frame: &TopicFrame, topic: &str, data: &[u8]) -> Result<(), String> {
        let hold = self.spend(link.worker().id, frame.payload.len() as u32 + wire::MESSAGE_COST)?;
        let owned = self.owned.borrow();
        let Some((name, entry)) = owned.get_key_value(topic) else { return Ok(()) };
        let text = frame.flags & FLAG_TEXT != 0;
        for worker in &entry.listeners {
            if let Some(link) = thread.link(*worker) {
                let flags = frame.flags & FLAG_TEXT;
                // Its publisher waits for a worker that does not read.
                link.send_held(|out| wire::put_frame(out, Kind::Message, flags, 0, 0, &frame.payload), hold.clone());
            }
        }
        if entry.members() == 0 {
            return Ok(());
        }
        let home = usize::from(frame.aux);
        let except = (frame.stream != 0).then_some((home, (link.worker().id, frame.stream)));
        let publication = Arc::new(Publication { topic: name.clone(), message: Shared::new(data, text), except });
        let threads: SmallVec<[usize; 8]> =
            entry.sockets.iter().enumerate().filter(|(_, sockets)| **sockets > 0).map(|(index, _)| index).collect();
        drop(owned);
        for to in threads {
            self.tell(thread, to, Crossing::Publish(publication.clone(), hold.clone()));
        }
        Ok(())
    }

    fn spend(&self, worker: WorkerId, bytes: u32) -> Result<Arc<Hold>, String> {
        let mut accounts = self.accounts.borrow_mut();
        let publisher = self.publisher(&mut accounts, worker);
        let left = publisher.left.get().checked_sub(bytes).ok_or("PUBLISH beyond the link's credit")?;
        publisher.left.set(left);
        Ok(Arc::new(Hold { account: publisher.account.clone(), bytes }))
    }

    pub(super) fn grant(&self, thread: &Thread, worker: WorkerId) {
        let accounts = self.accounts.borrow();
        let Some(publisher) = accounts.get(&worker) else { return };
        let granted = publisher.account.returned.swap(0, Ordering::AcqRel);
        debug_assert!(granted >= GRANT_STEP || granted == 0);
        publisher.left.set(publisher.left.get() + granted);
        if granted > 0
            && let Some(link) = thread.link(worker)
        {
            link.send_unpaid(|out| wire::put_credit(out, 0, granted));
        }
    }

    /// A worker's link is over: it listens no more. Its sockets have left one by one.
    pub fn worker_gone(&self, worker: WorkerId) {
        self.accounts.borrow_mut().remove(&worker);
        self.owned.borrow_mut().retain(|_, entry| {
            entry.listeners.retain(|other| *other != worker);
            entry.watchers.retain(|other| *other != worker);
            !entry.is_empty()
        });
    }

    /// Lists the topics of this thread, in as many frames as it takes.
    fn answer(&self, link: &Link, question: &[u8]) -> Result<(), String> {
        if question.len() != 4 {
            return Err("a QUERY whose payload is not 4 bytes".into());
        }
        let mut payload = question.to_vec();
        for (topic, entry) in &*self.owned.borrow() {
            wire::put_answer_entry(&mut payload, topic, entry.members(), entry.listeners.len() as u32);
            if payload.len() >= ANSWER_BYTES {
                link.send_unpaid(|out| wire::put_frame(out, Kind::Answer, 0, 0, 0, &payload));
                payload.truncate(question.len());
            }
        }
        link.send_unpaid(|out| wire::put_frame(out, Kind::Answer, FLAG_END, 0, 0, &payload));
        Ok(())
    }
}
