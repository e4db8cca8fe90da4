//! HTTP/1.0 and HTTP/1.1 (RFC 9112), and the raw tunnels that upgrades become.

mod chunked;
mod connection;
mod parse;
mod response;

pub use connection::{Connection, Io, Outcome};
pub use parse::{FIELDS_MAX, HeadLimits, is_host};
