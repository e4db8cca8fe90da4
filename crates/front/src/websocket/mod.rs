//! WebSockets that the front speaks for the application (RFC 6455): the handshake's end, and one socket's life.
//!
//! Knows no HTTP version: `http1` and `http2` bring a client's bytes, take away what is to be written, and ask how long
//! to wait.

mod handshake;
mod outbox;
mod socket;
mod survival;

pub use handshake::{accept, accept_value, refusal};
pub use socket::{Fed, Over, Socket};
pub use survival::Survival;

use std::cell::RefCell;
use std::rc::Rc;

use websocket::Pool;

/// Where compressed data is inflated to, in bytes: the largest piece of a compressed message.
const INFLATED: usize = 32 * 1024;
/// Compressors, and decompressors, that a thread keeps for messages to come.
const POOL_IDLE_MAX: usize = 4;

/// What all sockets of a thread share while they are worked on.
#[derive(Debug)]
pub struct Workshop {
    inflated: RefCell<Box<[u8]>>,
    /// Small pieces of one message on their way to its worker together.
    gathered: RefCell<Vec<u8>>,
}

impl Workshop {
    /// One for a thread.
    pub fn new() -> Workshop {
        Workshop { inflated: RefCell::new(vec![0; INFLATED].into()), gathered: RefCell::default() }
    }
}

/// The compressors of one thread, for as long as its settings hold.
pub fn pool(settings: &config::WebSocket) -> Rc<Pool> {
    Rc::new(Pool::new(settings.compression.map_or(1, |compression| compression.level), POOL_IDLE_MAX))
}
