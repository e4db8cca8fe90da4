//! How what concerns topics gets from one thread to another.

use std::fmt::Debug;
use std::sync::Arc;

use link::WorkerId;
use tokio::sync::mpsc::UnboundedSender;

use super::{Hold, Key, Publication};
use crate::thread::Order;

/// Carries topics between threads, in order for each pair of them. This is the seam for a bus that reaches other
/// machines.
pub trait TopicBus: Debug + Send + Sync {
    /// How many threads there are.
    fn threads(&self) -> usize;
    /// Never blocks. What is under way is bounded by what publishers may send ahead and by the number of sockets.
    fn tell(&self, thread: usize, crossing: Crossing);
}

/// What one thread has for another.
#[derive(Debug)]
pub enum Crossing {
    /// From the owner: a socket of yours joins.
    Join {
        /// What.
        topic: Arc<str>,
        /// Which.
        key: Key,
        /// What it calls itself, or nothing.
        name: Box<[u8]>,
    },
    /// From the owner: it leaves.
    Leave {
        /// What.
        topic: Arc<str>,
        /// Which.
        key: Key,
    },
    /// To the owner: a socket is no longer there, or has never been.
    Left {
        /// What.
        topic: Arc<str>,
        /// Whose socket.
        thread: usize,
        /// What it called itself.
        name: Box<[u8]>,
    },
    /// From the owner: a message for all sockets that have joined.
    Publish(Arc<Publication>, Arc<Hold>),
    /// To the owner: so much of this publisher's has been delivered that it may go on.
    Grant(WorkerId),
}

/// The bus of one process: each thread's queue of orders.
#[derive(Debug)]
pub struct Threads(pub Vec<UnboundedSender<Order>>);

impl TopicBus for Threads {
    fn threads(&self) -> usize {
        self.0.len()
    }

    fn tell(&self, thread: usize, crossing: Crossing) {
        if let Some(orders) = self.0.get(thread) {
            // A thread that has ended has no sockets.
            let _ = orders.send(Order::Topic(crossing));
        }
    }
}
