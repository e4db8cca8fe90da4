//! What topics have for one socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use config::QueueFull;
use websocket::Shared;

use super::{Hold, Publication, QueueLimit};

/// A queue of references, bounded by bytes, and the topics that feed it.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: RefCell<VecDeque<(Arc<Publication>, Option<Arc<Hold>>)>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
    overflown: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Joined, with the name the socket goes by in each.
    pub(super) topics: RefCell<Vec<(Arc<str>, Box<[u8]>)>>,
}

impl Inbox {
    /// Puts a publication in, as far as the limit allows.
    pub(super) fn push(&self, publication: &Arc<Publication>, hold: &Arc<Hold>, limit: QueueLimit) {
        if self.overflown.get() {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        let cost = cost(publication);
        while self.bytes.get() + cost > limit.bytes_max && !waiting.is_empty() {
            match limit.full {
                QueueFull::Backpressure => break,
                QueueFull::DropSocket => {
                    waiting.clear();
                    self.bytes.set(0);
                    self.overflown.set(true);
                    drop(waiting);
                    return self.wake();
                }
                QueueFull::DropOldest => {
                    if let Some((oldest, _)) = waiting.pop_front() {
                        self.bytes.set(self.bytes.get() - self::cost(&oldest));
                        self.dropped.set(self.dropped.get() + 1);
                    }
                }
            }
        }
        self.bytes.set(self.bytes.get() + cost);
        let hold = (limit.full == QueueFull::Backpressure).then(|| hold.clone());
        // Who has something waiting has been woken for it, or waits for its client to read.
        let first = waiting.is_empty();
        waiting.push_back((publication.clone(), hold));
        drop(waiting);
        if first {
            self.wake();
        }
    }

    /// Wakes the task of `cx` when something comes.
    pub fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Gives the next message to `take`; says whether there was one.
    pub fn next(&self, take: impl FnOnce(&Shared)) -> bool {
        let Some((publication, _hold)) = self.waiting.borrow_mut().pop_front() else { return false };
        self.bytes.set(self.bytes.get() - cost(&publication));
        take(&publication.message);
        true
    }

    /// The topics that feed it, and the name the socket goes by in each.
    pub fn joined(&self) -> Vec<(Arc<str>, Box<[u8]>)> {
        self.topics.borrow().clone()
    }

    /// Whether the socket is to be closed for its slowness.
    pub fn is_overflown(&self) -> bool {
        self.overflown.get()
    }

    /// Messages that were dropped since this was asked last.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.take()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

fn cost(publication: &Publication) -> usize {
    publication.message.payload().len() + wire::MESSAGE_COST as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::{Account, Crossing, TopicBus};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU32;

    #[derive(Debug, Default)]
    struct Granted(Mutex<usize>);

    impl TopicBus for Granted {
        fn threads(&self) -> usize {
            1
        }

        fn tell(&self, _: usize, crossing: Crossing) {
            assert!(matches!(crossing, Crossing::Grant(7)));
            *self.0.lock().unwrap() += 1;
        }
    }

    fn check_policy(full: QueueFull) -> (Vec<u8>, bool, u64, usize) {
        let bus = Arc::new(Granted::default());
        let account = Arc::new(Account { worker: 7, owner: 0, bus: bus.clone(), returned: AtomicU32::new(0) });
        let inbox = Inbox::default();
        let limit = QueueLimit { bytes_max: 3 * (1000 + wire::MESSAGE_COST as usize), full };
        for number in 0..5u8 {
            let message = Shared::new(&[number; 1000], false);
            let publication = Arc::new(Publication { topic: "t".into(), message, except: None });
            let hold = Arc::new(Hold { account: account.clone(), bytes: crate::topics::GRANT_STEP });
            inbox.push(&publication, &hold, limit);
            account.returned.store(0, std::sync::atomic::Ordering::Release);
        }
        let granted = *bus.0.lock().unwrap();
        let mut taken = Vec::new();
        while inbox.next(|message| taken.push(message.payload()[0])) {}
        (taken, inbox.is_overflown(), inbox.take_dropped(), granted)
    }

    #[test]
    fn a_full_inbox_does_what_the_policy_says() {
        assert_eq!(check_policy(QueueFull::DropOldest), (vec![2, 3, 4], false, 2, 5));
        assert_eq!(check_policy(QueueFull::DropSocket), (vec![], true, 0, 5));
        assert_eq!(check_policy(QueueFull::Backpressure), (vec![0, 1, 2, 3, 4], false, 0, 0));
    }
}
