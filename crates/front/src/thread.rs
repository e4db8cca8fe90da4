//! One front thread: its own runtime, listeners, connections, and links to every worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use config::Settings;
use link::{Closed, Command, Event, Link, Traffic, WorkerId};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc};

use crate::access_log::ThreadLog;
use crate::active::{Active, Unusable};
use crate::deadline::{Deadlines, TICK};
use crate::metrics::{Counters, Metrics};
use crate::pool::Pool;
use crate::request_id::{Generator, RequestId};
use crate::shadow::Sample;
use crate::static_files::Store;
use crate::sticky::Sessions;
use crate::topics::{Crossing, Frames, TopicBus, Topics};
use crate::websocket::Workshop;

/// Bytes of the buffer that all connections of a thread read into.
pub const SCRATCH: usize = 64 * 1024;

/// Buffers that a thread keeps for requests to come, and what each may hold, in bytes: 1 MiB in all.
const BUFFERS_MAX: usize = 256;
const BUFFER_CAPACITY_MAX: usize = 4096;

/// What a thread is told.
#[derive(Debug)]
pub enum Order {
    /// About workers.
    Worker(Command),
    /// Serve by this configuration from now on.
    Configure(Arc<Settings>),
    /// About topics, from another thread.
    Topic(Crossing),
    /// Accept no more; close connections when their requests are answered.
    Drain,
    /// End at once.
    Stop,
}

/// What all threads share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Client connections over all threads.
    pub connections: AtomicUsize,
    /// Counts of requests, if somebody wants them.
    pub metrics: Option<Metrics>,
    /// Who has opened which session.
    pub sessions: Arc<Sessions>,
    /// Where the answers to copied requests go.
    pub samples: Option<SyncSender<Sample>>,
}

/// The state of one front thread.
#[derive(Debug)]
pub struct Thread {
    /// Its place among the threads.
    pub index: usize,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Waits of its connections.
    pub deadlines: Deadlines,
    /// What every connection reads into.
    pub scratch: RefCell<Box<[u8]>>,
    active: RefCell<Rc<Active>>,
    pools: RefCell<FxHashMap<Arc<str>, Rc<Pool>>>,
    links: RefCell<FxHashMap<WorkerId, Rc<Link>>>,
    /// Of all links.
    pub traffic: Rc<Traffic>,
    ids: RefCell<Generator>,
    draining: Cell<bool>,
    drained: Notify,
    events: mpsc::UnboundedSender<Event>,
    /// Static files in memory.
    store: Store,
    access_log: Option<ThreadLog>,
    /// Of what the thread answers itself; those of services are in their pools.
    counters: Option<Arc<Counters>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Copies of requests that are under way.
    pub shadows: Rc<Cell<usize>>,
    /// What WebSockets share.
    pub workshop: Workshop,
    /// Messages for many sockets.
    pub topics: Topics,
}

impl Thread {
    /// A thread's state. `settings` have been checked: their routes are readable.
    pub fn new(
        index: usize,
        settings: Arc<Settings>,
        shared: Arc<Shared>,
        events: mpsc::UnboundedSender<Event>,
        access_log: Option<ThreadLog>,
        bus: Arc<dyn TopicBus>,
    ) -> Result<Rc<Thread>, Unusable> {
        let pools = RefCell::default();
        let store = Store::new(&settings.static_cache);
        let active = Active::new(settings, &store, |name, limits| pool(&pools, &shared, name, limits))?;
        let counters = shared.metrics.as_ref().map(|metrics| metrics.register("".into()));
        Ok(Rc::new(Thread {
            index,
            shared,
            deadlines: Deadlines::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
            active: RefCell::new(Rc::new(active)),
            pools,
            links: RefCell::default(),
            traffic: Rc::default(),
            ids: RefCell::new(Generator::new()),
            draining: Cell::new(false),
            drained: Notify::new(),
            events,
            store,
            access_log,
            counters,
            buffers: RefCell::default(),
            shadows: Rc::default(),
            workshop: Workshop::new(),
            topics: Topics::new(index, bus),
        }))
    }

    /// The configuration in force.
    pub fn active(&self) -> Rc<Active> {
        self.active.borrow().clone()
    }

    /// A new request's id.
    pub fn next_request_id(&self) -> RequestId {
        self.ids.borrow_mut().next_id()
    }

    /// An empty buffer that earlier requests may have left behind.
    pub fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Leaves a buffer to later requests, so that idle connections hold none.
    pub fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if (1..=BUFFER_CAPACITY_MAX).contains(&buffer.capacity()) && buffers.len() < BUFFERS_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Where requests are written down, if anywhere.
    pub fn access_log(&self) -> Option<&ThreadLog> {
        self.access_log.as_ref()
    }

    /// The time at which a request begins; read only when somebody will ask how long it took.
    pub fn request_began(&self) -> Option<Instant> {
        (self.access_log.is_some() || self.counters.is_some()).then(Instant::now)
    }

    /// Counts a response of the front's own.
    pub fn count(&self, status: u16, body_bytes: u64, began: Option<Instant>) {
        if let Some(counters) = &self.counters {
            counters.count(status, body_bytes, began);
        }
    }

    /// Whether connections should close when they can.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Resolves when the thread begins to drain. Await it only while [`Thread::draining`] is false.
    pub async fn drained(&self) {
        self.drained.notified().await;
    }

    /// Carries out orders until there can be no more, and drives the deadlines.
    pub async fn run(self: &Rc<Self>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Stop) | None => return,
                    Some(order) => self.carry_out(order),
                },
                _ = tick.tick() => self.deadlines.sweep(),
            }
        }
    }

    fn carry_out(self: &Rc<Self>, order: Order) {
        match order {
            Order::Worker(command) => self.command(command),
            Order::Configure(settings) => {
                match Active::new(settings, &self.store, |name, limits| pool(&self.pools, &self.shared, name, limits)) {
                    Ok(active) => *self.active.borrow_mut() = Rc::new(active),
                    Err(error) => tracing::error!(%error, "the new settings can't be used; the old ones stay"),
                }
            }
            Order::Topic(crossing) => self.topics.cross(self, crossing),
            Order::Stop => {}
            Order::Drain => {
                self.draining.set(true);
                self.drained.notify_waiters();
                self.deadlines.wake_all();
            }
        }
    }

    fn command(self: &Rc<Self>, command: Command) {
        match command {
            Command::Attach { worker, socket } => {
                let id = worker.id;
                match Link::new(worker, socket, self.traffic.clone()) {
                    Ok(link) => {
                        link.set_topics(Rc::new(Frames(Rc::downgrade(self))));
                        self.links.borrow_mut().insert(id, link.clone());
                        tokio::task::spawn_local(drive(self.clone(), link));
                    }
                    Err(error) => {
                        let why = Closed::Protocol(format!("the link's socket can't be used: {error}"));
                        self.tell(Event::LinkClosed { worker: id, thread: self.index, why });
                    }
                }
            }
            Command::Activate(id) => {
                let link = self.links.borrow().get(&id).cloned();
                if let Some(link) = link {
                    let pool = self.pool_of(&link.worker().service);
                    pool.activate(link);
                }
            }
            Command::Retire(id) => {
                if let Some(link) = self.deactivate(id) {
                    link.retire();
                }
            }
            Command::Detach(id) => {
                if let Some(link) = self.deactivate(id) {
                    self.links.borrow_mut().remove(&id);
                    link.condemn();
                }
            }
            Command::Service(name, state) => self.pool_of(&name).set_state(state),
        }
    }

    /// The link to a worker.
    pub fn link(&self, worker: WorkerId) -> Option<Rc<Link>> {
        self.links.borrow().get(&worker).cloned()
    }

    /// Takes the worker out of its pool; its link lives on.
    fn deactivate(&self, id: WorkerId) -> Option<Rc<Link>> {
        let link = self.links.borrow().get(&id).cloned()?;
        self.pool_of(&link.worker().service).deactivate(id);
        Some(link)
    }

    fn pool_of(&self, name: &Arc<str>) -> Rc<Pool> {
        let known = self.pools.borrow().get(name).cloned();
        known.unwrap_or_else(|| {
            // The supervisor may announce a service before the configuration that routes to it arrives.
            let limits =
                crate::pool::PoolLimits { streams_per_link_max: 1, queue_requests_max: 1, queue_timeout: Duration::from_secs(1) };
            pool(&self.pools, &self.shared, name, limits)
        })
    }

    fn tell(&self, event: Event) {
        // The supervisor outlives the threads except while everything ends.
        let _ = self.events.send(event);
    }
}

fn pool(
    pools: &RefCell<FxHashMap<Arc<str>, Rc<Pool>>>,
    shared: &Shared,
    name: &Arc<str>,
    limits: crate::pool::PoolLimits,
) -> Rc<Pool> {
    let mut pools = pools.borrow_mut();
    let pool = pools.entry(name.clone()).or_insert_with(|| {
        let counters = shared.metrics.as_ref().map(|metrics| metrics.register(name.clone()));
        Pool::new(name.clone(), limits, counters)
    });
    pool.set_limits(limits);
    pool.clone()
}

async fn drive(thread: Rc<Thread>, link: Rc<Link>) {
    let id = link.worker().id;
    // While the link runs it leaves the pool first, so that no retry chooses it again.
    let why = link.clone().run().await;
    thread.pool_of(&link.worker().service).deactivate(id);
    thread.topics.worker_gone(id);
    if thread.links.borrow_mut().remove(&id).is_some() {
        thread.tell(Event::LinkClosed { worker: id, thread: thread.index, why });
    }
}
