//! One front thread's links to the workers of one service, and the requests that wait for one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use link::{Link, ServiceState, Stream, WorkerId};

use crate::metrics::Counters;
use crate::sticky::Preference;

/// Bounds of a pool, from the service's configuration.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Open streams on one link of this thread.
    pub streams_per_link_max: usize,
    /// Requests of this thread that wait for a worker.
    pub queue_requests_max: usize,
    /// How long a request waits for a worker before it gets 503.
    pub queue_timeout: Duration,
}

/// The active links of one service on one thread.
#[derive(Debug)]
pub struct Pool {
    /// Name of the service.
    pub service: Arc<str>,
    /// Of its responses on this thread.
    pub counters: Option<Arc<Counters>>,
    limits: Cell<PoolLimits>,
    active: RefCell<Vec<Rc<Link>>>,
    next: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Ticket>>>,
    state: RefCell<ServiceState>,
}

/// A place in the queue for a worker. Dropping it gives the place up.
#[derive(Debug)]
pub struct Ticket {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Why a request can't even wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The queue is full.
    QueueFull,
    /// The service's workers fail at start.
    Failing,
}

impl Pool {
    /// A pool without workers.
    pub fn new(service: Arc<str>, limits: PoolLimits, counters: Option<Arc<Counters>>) -> Rc<Pool> {
        Rc::new(Pool {
            service,
            counters,
            limits: Cell::new(limits),
            active: RefCell::default(),
            next: Cell::new(0),
            queue: RefCell::default(),
            state: RefCell::new(ServiceState::Up),
        })
    }

    /// The bounds in force.
    pub fn limits(&self) -> PoolLimits {
        self.limits.get()
    }

    /// New bounds, from a reloaded configuration.
    pub fn set_limits(&self, limits: PoolLimits) {
        self.limits.set(limits);
    }

    /// Chooses this link for new streams from now on.
    pub fn activate(self: &Rc<Self>, link: Rc<Link>) {
        let pool = Rc::downgrade(self);
        link.set_on_stream_end(Rc::new(move || {
            if let Some(pool) = pool.upgrade() {
                pool.call_next();
            }
        }));
        self.active.borrow_mut().push(link);
        *self.state.borrow_mut() = ServiceState::Up;
        self.call_all();
    }

    /// Chooses the worker's link no more. Returns it if it was active.
    pub fn deactivate(&self, worker: WorkerId) -> Option<Rc<Link>> {
        let mut active = self.active.borrow_mut();
        let at = active.iter().position(|link| link.worker().id == worker)?;
        Some(active.swap_remove(at))
    }

    /// What requests without a worker should expect.
    pub fn set_state(&self, state: ServiceState) {
        *self.state.borrow_mut() = state;
        self.call_all();
    }

    /// Opens a stream on the preferred worker, or on the least-loaded one, if it has room; workers with equal load take
    /// turns.
    pub fn open(&self, frame: &mut [u8], body_sent: usize, preference: &Preference) -> Option<Stream> {
        let active = self.active.borrow();
        let most = self.limits.get().streams_per_link_max;
        let has_room = |link: &&Rc<Link>| link.requests_in_flight() < most && !link.is_used_up();
        let preferred = match preference {
            Preference::None | Preference::Opens(_) => None,
            Preference::Hashed(value) => {
                active.iter().filter(has_room).max_by_key(|link| Preference::weight(*value, link.worker()))
            }
            Preference::Worker(id) => active.iter().filter(has_room).find(|link| link.worker().id == *id),
        };
        let link = match preferred {
            Some(link) => link,
            None => {
                let turn = self.next.get();
                self.next.set(turn.wrapping_add(1));
                (0..active.len())
                    .map(|i| &active[(turn.wrapping_add(i)) % active.len()])
                    .filter(has_room)
                    .min_by_key(|link| link.worker().in_flight.load(Ordering::Relaxed))?
            }
        };
        link.open(frame, body_sent)
    }

    /// Why the workers do not start, while that is so.
    pub fn failing(&self) -> Option<String> {
        match &*self.state.borrow() {
            ServiceState::Failing(why) => Some(why.clone()),
            ServiceState::Up => None,
        }
    }

    /// Joins the queue for a worker.
    pub fn wait(&self) -> Result<Rc<Ticket>, Unavailable> {
        if self.active.borrow().is_empty() && matches!(*self.state.borrow(), ServiceState::Failing(_)) {
            return Err(Unavailable::Failing);
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= self.limits.get().queue_requests_max {
            return Err(Unavailable::QueueFull);
        }
        let ticket = Rc::new(Ticket { called: Cell::new(false), waker: RefCell::new(None) });
        queue.push_back(ticket.clone());
        Ok(ticket)
    }

    /// Whether this ticket's holder should try [`Pool::open`] now; registers `waker` if not.
    pub fn is_called(&self, ticket: &Ticket, waker: &Waker) -> bool {
        if ticket.called.get() {
            return true;
        }
        *ticket.waker.borrow_mut() = Some(waker.clone());
        false
    }

    /// Gives a place up; if it had been called, the next one is.
    pub fn leave(&self, ticket: &Rc<Ticket>) {
        self.queue.borrow_mut().retain(|other| !Rc::ptr_eq(other, ticket));
        if ticket.called.get() {
            self.call_next();
        }
    }

    /// A called ticket found no room after all: back to the head of the queue.
    pub fn wait_again(&self, ticket: &Rc<Ticket>) -> Result<(), Unavailable> {
        if self.active.borrow().is_empty() && matches!(*self.state.borrow(), ServiceState::Failing(_)) {
            return Err(Unavailable::Failing);
        }
        ticket.called.set(false);
        self.queue.borrow_mut().push_front(ticket.clone());
        Ok(())
    }

    fn call_next(&self) {
        let ticket = self.queue.borrow_mut().pop_front();
        if let Some(ticket) = ticket {
            ticket.call();
        }
    }

    fn call_all(&self) {
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        for ticket in queue {
            ticket.call();
        }
    }
}

impl Ticket {
    fn call(&self) {
        self.called.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
