//! Links between the front's threads and the workers: Unix-socket connections that carry frames.
//!
//! `link` never parses HTTP, never starts a process and never decides which worker is best or whether a
//! request is sent again: it opens streams, moves frames with flow control, and says when a link is over.
//!
//! A [`Link`] lives on one thread, and so do its streams: nothing here is `Send`, nothing takes a lock.

mod connection;
mod pool;
mod stream;
mod traffic;
mod unread;

pub use connection::{Link, TopicFrame, TopicFrames, WORKER_STREAMS_MAX};
pub use pool::{Closed, Command, Event, ServiceState, Worker, WorkerId};
pub use stream::{Incoming, Stream};
pub use traffic::Traffic;
