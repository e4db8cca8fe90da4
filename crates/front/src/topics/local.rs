//! The sockets of one thread that have joined topics.

use std::rc::Rc;
use std::sync::Arc;

use super::{Crossing, Hold, Inbox, Key, Publication, QueueLimit, TOPICS_PER_SOCKET_MAX, Topics};
use crate::thread::Thread;

impl Topics {
    /// The inbox of a stream for which [`link::Stream::has_inbox`] is true.
    pub fn inbox(&self, key: Key) -> Option<Rc<Inbox>> {
        self.inboxes.borrow().get(&key).cloned()
    }

    pub(super) fn join(&self, thread: &Thread, topic: Arc<str>, key: Key, name: Box<[u8]>) {
        let open = thread.link(key.0).is_some_and(|link| {
            let known = self.inboxes.borrow().contains_key(&key);
            if !known {
                // Before the socket is told, which asks for it.
                self.inboxes.borrow_mut().insert(key, Rc::default());
            }
            let open = known || link.open_inbox(key.1);
            if !open {
                self.inboxes.borrow_mut().remove(&key);
            }
            open
        });
        let inbox = if open { self.inbox(key) } else { None };
        let room = inbox.filter(|inbox| {
            let topics = inbox.topics.borrow();
            topics.len() < TOPICS_PER_SOCKET_MAX && !topics.iter().any(|(other, _)| *other == topic)
        });
        let Some(inbox) = room else {
            let owner = self.owner_of(&topic);
            return self.tell(thread, owner, Crossing::Left { topic, thread: self.index, name });
        };
        inbox.topics.borrow_mut().push((topic.clone(), name));
        self.joined.borrow_mut().entry(topic).or_default().insert(key, inbox);
    }

    pub(super) fn leave(&self, thread: &Thread, topic: &Arc<str>, key: Key) {
        let Some(inbox) = self.inbox(key) else { return };
        let name = {
            let mut topics = inbox.topics.borrow_mut();
            let Some(at) = topics.iter().position(|(other, _)| other == topic) else { return };
            topics.swap_remove(at).1
        };
        self.depart(thread, topic.clone(), key, name);
    }

    /// Another worker has taken a socket over: it is known by the new stream from now on. What that has joined already, is
    /// joined to what the socket has.
    pub fn hand_over(&self, thread: &Thread, old: Key, new: Key) {
        let kept = self.inboxes.borrow_mut().remove(&old);
        let Some(kept) = kept else { return };
        let fresh = self.inboxes.borrow_mut().insert(new, kept.clone());
        let mut twice = Vec::new();
        {
            let mut joined = self.joined.borrow_mut();
            for (topic, _) in kept.topics.borrow().iter() {
                if let Some(members) = joined.get_mut(topic) {
                    members.remove(&old);
                    members.insert(new, kept.clone());
                }
            }
            for (topic, name) in fresh.map(|fresh| fresh.topics.take()).unwrap_or_default() {
                let mut topics = kept.topics.borrow_mut();
                if topics.len() < TOPICS_PER_SOCKET_MAX && !topics.iter().any(|(other, _)| *other == topic) {
                    joined.entry(topic.clone()).or_default().insert(new, kept.clone());
                    topics.push((topic, name));
                } else {
                    twice.push((topic, name));
                }
            }
        }
        for (topic, name) in twice {
            let owner = self.owner_of(&topic);
            self.tell(thread, owner, Crossing::Left { topic, thread: self.index, name });
        }
    }

    /// A socket is closed, or its stream has become something else.
    pub fn end_inbox(&self, thread: &Thread, key: Key) {
        let Some(inbox) = self.inboxes.borrow_mut().remove(&key) else { return };
        for (topic, name) in inbox.topics.take() {
            self.depart(thread, topic, key, name);
        }
    }

    fn depart(&self, thread: &Thread, topic: Arc<str>, key: Key, name: Box<[u8]>) {
        {
            let mut joined = self.joined.borrow_mut();
            if let Some(members) = joined.get_mut(&topic) {
                members.remove(&key);
                if members.is_empty() {
                    joined.remove(&topic);
                }
            }
        }
        let owner = self.owner_of(&topic);
        self.tell(thread, owner, Crossing::Left { topic, thread: self.index, name });
    }

    pub(super) fn deliver(&self, thread: &Thread, publication: &Arc<Publication>, hold: &Arc<Hold>) {
        let joined = self.joined.borrow();
        let Some(members) = joined.get(&publication.topic) else { return };
        let active = thread.active();
        let settings = &active.settings.websocket;
        let limit = QueueLimit { bytes_max: settings.topic_queue_bytes_max, full: settings.topic_queue_full };
        let except = publication.except.filter(|(index, _)| *index == self.index).map(|(_, key)| key);
        for (key, inbox) in members {
            if Some(*key) != except {
                inbox.push(publication, hold, limit);
            }
        }
    }

    fn owner_of(&self, topic: &str) -> usize {
        wire::topic_link(topic.as_bytes(), self.bus.threads())
    }
}
