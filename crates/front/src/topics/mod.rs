//! Topics: messages that workers publish once and that reach every socket which has joined, on every thread.
//!
//! Everything about a topic travels on the data link that its name chooses, and so arrives at one thread, its **owner**
//! ([`owner`]), which puts it in order. The owner hands publications to the threads whose sockets have joined, over the
//! [`TopicBus`]; each of them ([`local`]) puts one reference into each socket's [`Inbox`]. What is in transit is bounded
//! by the credit of its publisher, which is given back when the last [`Hold`] is dropped.
//!
//! Knows no WebSocket frames and no HTTP: what a socket does with its inbox is `websocket`'s business.

mod bus;
mod inbox;
mod local;
mod owner;

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use config::QueueFull;
use link::{Link, TopicFrame, TopicFrames, WorkerId};
use rustc_hash::FxHashMap;
use websocket::Shared;

use crate::thread::Thread;

pub use bus::{Crossing, Threads, TopicBus};
pub use inbox::Inbox;

/// Topics that one socket may join.
const TOPICS_PER_SOCKET_MAX: usize = 1024;
/// Credit that is gathered before a publisher is granted it anew.
const GRANT_STEP: u32 = wire::PUBLISH_CREDIT / 4;

/// A stream, by its worker; the front's thread is known from the context.
pub type Key = (WorkerId, u32);

/// A message on its way.
#[derive(Debug)]
pub struct Publication {
    /// Where to.
    pub topic: Arc<str>,
    /// Framed.
    pub message: Shared,
    /// The socket that does not get it, and its thread.
    pub except: Option<(usize, Key)>,
}

/// Bytes of a publisher's credit, given back when the last clone of its `Arc` is dropped.
#[derive(Debug)]
pub struct Hold {
    account: Arc<Account>,
    bytes: u32,
}

/// What one worker may publish on one link.
#[derive(Debug)]
pub struct Account {
    worker: WorkerId,
    owner: usize,
    bus: Arc<dyn TopicBus>,
    returned: AtomicU32,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let before = self.account.returned.fetch_add(self.bytes, Ordering::AcqRel);
        if before < GRANT_STEP && before + self.bytes >= GRANT_STEP {
            self.account.bus.tell(self.account.owner, Crossing::Grant(self.account.worker));
        }
    }
}

/// What a full inbox does, from the settings.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimit {
    bytes_max: usize,
    full: QueueFull,
}

/// One thread's part.
#[derive(Debug)]
pub struct Topics {
    index: usize,
    bus: Arc<dyn TopicBus>,
    owned: RefCell<FxHashMap<Arc<str>, owner::Owned>>,
    accounts: RefCell<FxHashMap<WorkerId, owner::Publisher>>,
    joined: RefCell<FxHashMap<Arc<str>, FxHashMap<Key, Rc<Inbox>>>>,
    inboxes: RefCell<FxHashMap<Key, Rc<Inbox>>>,
}

impl Topics {
    /// The part of the thread `index`.
    pub fn new(index: usize, bus: Arc<dyn TopicBus>) -> Topics {
        Topics {
            index,
            bus,
            owned: RefCell::default(),
            accounts: RefCell::default(),
            joined: RefCell::default(),
            inboxes: RefCell::default(),
        }
    }

    /// Another thread has something for this one.
    pub fn cross(&self, thread: &Thread, crossing: Crossing) {
        match crossing {
            Crossing::Join { topic, key, name } => self.join(thread, topic, key, name),
            Crossing::Leave { topic, key } => self.leave(thread, &topic, key),
            Crossing::Left { topic, thread: from, name } => self.left(thread, &topic, from, &name),
            Crossing::Publish(publication, hold) => self.deliver(thread, &publication, &hold),
            Crossing::Grant(worker) => self.grant(thread, worker),
        }
    }

    /// Hands on what concerns a topic's sockets of another thread; what concerns this thread's is done at once.
    fn tell(&self, thread: &Thread, to: usize, crossing: Crossing) {
        if to == self.index {
            self.cross(thread, crossing);
        } else {
            self.bus.tell(to, crossing);
        }
    }
}

/// Gives a link's frames to its thread's topics.
#[derive(Debug)]
pub struct Frames(pub Weak<Thread>);

impl TopicFrames for Frames {
    fn on_frame(&self, link: &Link, frame: TopicFrame) -> Result<(), String> {
        let Some(thread) = self.0.upgrade() else { return Ok(()) };
        thread.topics.on_frame(&thread, link, &frame)
    }

    fn on_inbox_end(&self, link: &Link, stream: u32) {
        if let Some(thread) = self.0.upgrade() {
            thread.topics.end_inbox(&thread, (link.worker().id, stream));
        }
    }
}
