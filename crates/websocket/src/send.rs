//! A server's side of a socket: messages to frames.

use std::rc::Rc;
use std::sync::OnceLock;

use crate::deflate::{Agreed, Compressor, Pool};
use crate::frame::{CONTROL_BYTES_MAX, Opcode, put_header};

/// A message for many sockets: framed once, and compressed once for each size of window.
#[derive(Debug)]
pub struct Shared {
    frame: Vec<u8>,
    payload_at: usize,
    text: bool,
    deflated: [OnceLock<Box<[u8]>>; 7],
}

impl Shared {
    /// A whole message.
    pub fn new(bytes: &[u8], text: bool) -> Shared {
        let mut frame = Vec::with_capacity(bytes.len() + 10);
        put_header(&mut frame, opcode(text), true, false, bytes.len());
        let payload_at = frame.len();
        frame.extend_from_slice(bytes);
        Shared { frame, payload_at, text, deflated: Default::default() }
    }

    /// The message itself.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload_at..]
    }

    /// Whether it is text.
    pub fn is_text(&self) -> bool {
        self.text
    }

    fn deflated(&self, pool: &Pool, window_bits: u8) -> &[u8] {
        let slot = &self.deflated[usize::from(window_bits.clamp(9, 15) - 9)];
        slot.get_or_init(|| {
            let mut compressor = pool.compressor(window_bits);
            let mut out = Vec::new();
            put_compressed(pool, &mut compressor, &mut out, opcode(self.text), self.payload(), true);
            pool.give_back_compressor(compressor);
            out.into()
        })
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct Sender {
    deflate: Option<Box<Deflate>>,
    /// Begun, and not ended.
    in_message: bool,
    compressing: bool,
}

#[derive(Debug)]
struct Deflate {
    pool: Rc<Pool>,
    window_bits: u8,
    takeover: bool,
    bytes_min: usize,
    current: Option<Compressor>,
}

impl Sender {
    /// A sender that compresses nothing.
    pub fn plain() -> Sender {
        Sender { deflate: None, in_message: false, compressing: false }
    }

    /// A sender that compresses messages of at least `bytes_min` bytes, as has been agreed.
    pub fn deflating(agreed: Agreed, pool: Rc<Pool>, bytes_min: usize) -> Sender {
        let deflate = Deflate {
            pool,
            window_bits: agreed.server_max_window_bits.unwrap_or(15),
            takeover: !agreed.server_no_context_takeover,
            bytes_min,
            current: None,
        };
        Sender { deflate: Some(Box::new(deflate)), in_message: false, compressing: false }
    }

    /// Appends a message, or a piece of one as a fragment. `text` counts with the first piece.
    pub fn put(&mut self, out: &mut Vec<u8>, bytes: &[u8], text: bool, end: bool) {
        let opcode = if self.in_message { Opcode::Continuation } else { opcode(text) };
        if !self.in_message {
            let long_enough = |deflate: &Deflate| !end || bytes.len() >= deflate.bytes_min;
            self.compressing = self.deflate.as_deref().is_some_and(long_enough);
        }
        match self.deflate.as_deref_mut().filter(|_| self.compressing) {
            Some(deflate) => deflate.put(out, opcode, bytes, end),
            None => {
                put_header(out, opcode, end, false, bytes.len());
                out.extend_from_slice(bytes);
            }
        }
        self.in_message = !end;
    }

    /// Appends a message that other sockets get, too. Only between messages, see [`Sender::in_message`].
    pub fn put_shared(&mut self, out: &mut Vec<u8>, shared: &Shared) {
        debug_assert!(!self.in_message);
        match self.deflate.as_deref() {
            // What a window remembers differs from socket to socket.
            Some(deflate) if deflate.takeover => self.put(out, shared.payload(), shared.text, true),
            Some(deflate) if shared.payload().len() >= deflate.bytes_min => {
                out.extend_from_slice(shared.deflated(&deflate.pool, deflate.window_bits));
            }
            _ => out.extend_from_slice(&shared.frame),
        }
    }

    /// Whether a message has begun and not ended: only control frames may come between.
    pub fn in_message(&self) -> bool {
        self.in_message
    }
}

impl Deflate {
    fn put(&mut self, out: &mut Vec<u8>, opcode: Opcode, bytes: &[u8], end: bool) {
        let mut compressor = self.current.take().unwrap_or_else(|| self.pool.compressor(self.window_bits));
        put_compressed(&self.pool, &mut compressor, out, opcode, bytes, end);
        if end && !self.takeover {
            self.pool.give_back_compressor(compressor);
        } else {
            self.current = Some(compressor);
        }
    }
}

fn put_compressed(pool: &Pool, compressor: &mut Compressor, out: &mut Vec<u8>, opcode: Opcode, bytes: &[u8], end: bool) {
    let mut scratch = pool.scratch();
    compressor.piece(&mut scratch, bytes, end);
    put_header(out, opcode, end, opcode != Opcode::Continuation, scratch.len());
    out.extend_from_slice(&scratch);
    pool.give_back_scratch(scratch);
}

fn opcode(text: bool) -> Opcode {
    if text { Opcode::Text } else { Opcode::Binary }
}

/// Appends a Ping. `payload` is cut to what a control frame holds.
pub fn put_ping(out: &mut Vec<u8>, payload: &[u8]) {
    put_control(out, Opcode::Ping, payload);
}

/// Appends a Pong.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    put_control(out, Opcode::Pong, payload);
}

fn put_control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    put_header(out, opcode, true, false, payload.len());
    out.extend_from_slice(payload);
}
