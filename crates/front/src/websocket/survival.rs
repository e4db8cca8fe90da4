//! A socket that outlives its worker: the request that opened it goes to another worker of the service, marked, and the
//! socket goes on with the stream on which that one accepts ("Taking over" in protocol/README.md).

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use link::{Incoming, Stream};

use crate::active::ActiveTarget;
use crate::deadline::now_ms;
use crate::dispatch::Request;
use crate::pool::{Pool, Unavailable};
use crate::sticky::Preference;
use crate::thread::Thread;
use crate::upstream::{Event, Upstream};

/// Pause before a full queue is tried again, in ms: all sockets of a dead worker come at once.
const QUEUE_RETRY_MS: u64 = 100;

/// What it takes.
pub struct Survival {
    thread: Rc<Thread>,
    pool: Rc<Pool>,
    /// The handshake's REQUEST.
    frame: Box<[u8]>,
    subprotocol: Box<[u8]>,
    preference: Preference,
    attempt: Option<Attempt>,
}

struct Attempt {
    /// Under way; `None`: waits for room in the queue.
    upstream: Option<Upstream>,
    frame: Vec<u8>,
    retry_at: u64,
    until: u64,
}

impl std::fmt::Debug for Survival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Survival(of {:?}, under way: {})", self.pool.service, self.attempt.is_some())
    }
}

impl Survival {
    /// For a request whose service says so. `subprotocol` was agreed on.
    pub fn of(thread: &Rc<Thread>, request: &Request, subprotocol: Option<&[u8]>) -> Option<Survival> {
        if !request.route.survive {
            return None;
        }
        let ActiveTarget::Service(pool) = &request.route.target else { return None };
        Some(Survival {
            thread: thread.clone(),
            pool: pool.clone(),
            frame: request.upstream.frame().into(),
            subprotocol: subprotocol.unwrap_or_default().into(),
            preference: request.upstream.preference().clone(),
            attempt: None,
        })
    }

    /// Asks another worker to take over the socket of `stream`.
    pub fn begin(&mut self, stream: &Stream) {
        let joined = self.thread.topics.inbox(stream.key()).map(|inbox| inbox.joined()).unwrap_or_default();
        let mut frame = self.frame.to_vec();
        wire::mark_taken_over(
            &mut frame,
            &self.subprotocol,
            joined.iter().map(|(topic, name): &(Arc<str>, Box<[u8]>)| (&**topic, &**name)),
        );
        let until = now_ms() + u64::try_from(self.pool.limits().queue_timeout.as_millis()).unwrap_or(u64::MAX / 2);
        let mut attempt = Attempt { upstream: None, frame, retry_at: 0, until };
        attempt.open(&self.pool, &self.preference);
        self.attempt = Some(attempt);
    }

    /// Whether a worker is being looked for.
    pub fn is_under_way(&self) -> bool {
        self.attempt.is_some()
    }

    /// Gives up.
    pub fn abandon(&mut self) {
        self.attempt = None;
    }

    /// The stream of the worker that has accepted, or `None` if none will.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let Some(upstream) = &mut attempt.upstream else { return Poll::Pending };
        loop {
            match std::task::ready!(upstream.poll_event(cx)) {
                Event::Sent => {}
                Event::Worker(Incoming::WsAccept { .. }) => {
                    let stream = upstream.take_stream();
                    self.attempt = None;
                    return Poll::Ready(stream);
                }
                Event::Unavailable(Unavailable::QueueFull) => {
                    attempt.upstream = None;
                    attempt.retry_at = now_ms() + QUEUE_RETRY_MS;
                    return Poll::Pending;
                }
                Event::Worker(_) | Event::Lost | Event::Unavailable(Unavailable::Failing) => {
                    self.attempt = None;
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// When something is to be done at the latest.
    pub fn due(&self) -> Option<u64> {
        let attempt = self.attempt.as_ref()?;
        Some(if attempt.upstream.is_none() { attempt.retry_at.min(attempt.until) } else { attempt.until })
    }

    /// Does what is due. `false`: it has taken too long.
    pub fn on_time(&mut self) -> bool {
        let Some(attempt) = &mut self.attempt else { return true };
        if attempt.until <= now_ms() {
            self.attempt = None;
            return false;
        }
        if attempt.upstream.is_none() {
            attempt.open(&self.pool, &self.preference);
        }
        true
    }

    /// The socket's topics are the new stream's.
    pub fn hand_over(&self, old: &Stream, new: &Stream) {
        self.thread.topics.hand_over(&self.thread, old.key(), new.key());
        old.give_inbox(new);
    }

    /// The socket is no more: neither are its topics, which its dead worker's link has left to it.
    pub fn end(&self, stream: &Stream) {
        self.thread.topics.end_inbox(&self.thread, stream.key());
    }
}

impl Attempt {
    fn open(&mut self, pool: &Rc<Pool>, preference: &Preference) {
        // Nothing of it can happen twice: its client has been answered long ago.
        self.upstream = Some(Upstream::new(pool.clone(), self.frame.clone(), 0, true).prefer(preference.clone()));
    }
}
