//! What calls between the languages carry: values, errors, and the messages they travel in.
//!
//! `contract` never opens a socket, reads a clock or knows who calls whom. The format is specified in
//! `protocol/calls.md`; `protocol/golden/calls.json` holds encodings that every language agrees on.

mod decode;
mod encode;
mod error;
mod json;
mod message;
mod number;
mod value;

pub use decode::{DEPTH_MAX, Malformed, decode, decode_sequence};
pub use encode::encode;
pub use error::{Frame, RemoteError};
pub use json::{Unreadable, from_json, to_json};
pub use message::{Target, bind, call};
pub use number::{Element, Tensor};
pub use value::{Moment, Reference, Text, Value};
