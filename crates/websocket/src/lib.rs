//! The server's side of WebSocket (RFC 6455) with permessage-deflate (RFC 7692), as bytes and nothing else.
//!
//! `websocket` never opens a socket, reads a clock, answers a ping or decides when to close: it checks a handshake,
//! turns a client's bytes into pieces of messages and control frames, and turns messages into a server's frames. What
//! it holds of a message is a few bytes: pieces are handed on as they arrive, with text checked and compressed data
//! inflated on the way, both within limits.

mod close;
mod deflate;
mod frame;
pub mod handshake;
mod mask;
mod receive;
mod send;
mod utf8;

pub use close::{CloseCode, REASON_BYTES_MAX, Violation, put_close};
pub use deflate::{Agreed, Policy, Pool, negotiate};
pub use frame::{CONTROL_BYTES_MAX, Opcode, put_header};
pub use receive::{Limits, Receiver, Step};
pub use send::{Sender, Shared, put_ping, put_pong};
