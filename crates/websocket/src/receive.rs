//! A client's side of a socket: bytes to pieces of messages and control frames.

use std::rc::Rc;

use flate2::Decompress;

use crate::close::{CloseCode, Violation, read_close};
use crate::deflate::{Agreed, Pool, TAIL, inflate};
use crate::frame::{Header, Opcode};
use crate::mask::unmask;
use crate::utf8::Validator;

/// Bounds on what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, after inflation.
    pub message_bytes_max: u64,
}

/// A message may be longer compressed than it is, by the headers of blocks that hold it as it is; blocks that hold
/// nothing at all must not go on for ever.
const COMPRESSED_SLACK: u64 = 64 * 1024;
/// Fragments of one message that may hold nothing. They cost a client six bytes each and mean nothing.
const EMPTY_FRAGMENTS_MAX: u32 = 1024;

/// What comes next in a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'b> {
    /// Nothing, until more bytes follow those that were not taken.
    More,
    /// Data, for which there is no room.
    Blocked,
    /// Bytes of a message, in order.
    Data {
        /// Whether the message is text: checked, though a character may be cut between two pieces.
        text: bool,
        /// May be empty.
        bytes: &'b [u8],
        /// The last of the message.
        end: bool,
    },
    /// To be answered with a Pong with the same payload (RFC 6455 §5.5.2).
    Ping(&'b [u8]),
    /// The client lives.
    Pong(&'b [u8]),
    /// The client ends the connection, or agrees to; nothing follows.
    Close(CloseCode, &'b str),
}

/// Reads what one client sends.
#[derive(Debug)]
pub struct Receiver {
    limits: Limits,
    deflate: Option<Box<Deflate>>,
    frame: Option<Frame>,
    message: Option<Message>,
}

/// A data frame whose payload is not complete.
#[derive(Debug)]
struct Frame {
    fin: bool,
    mask: [u8; 4],
    /// Payload bytes that have not been taken.
    left: u64,
    /// Payload bytes that have been unmasked.
    unmasked: u64,
    /// Of those, how many have not been taken.
    clear: usize,
}

#[derive(Debug)]
struct Message {
    text: bool,
    compressed: bool,
    bytes: u64,
    wire_bytes: u64,
    empty_fragments: u32,
    utf8: Validator,
    /// How much of [`TAIL`] has been inflated.
    tail: usize,
    /// The last inflation filled its output: there may be more without more input.
    full: bool,
    /// A final block has ended the compressed data, and nothing followed yet.
    final_block: bool,
}

#[derive(Debug)]
struct Deflate {
    pool: Rc<Pool>,
    takeover: bool,
    current: Option<Decompress>,
}

impl Receiver {
    /// A receiver for a client without compression.
    pub fn plain(limits: Limits) -> Receiver {
        Receiver { limits, deflate: None, frame: None, message: None }
    }

    /// A receiver for a client with which compression has been agreed.
    pub fn inflating(limits: Limits, agreed: Agreed, pool: Rc<Pool>) -> Receiver {
        let deflate = Deflate { pool, takeover: !agreed.client_no_context_takeover, current: None };
        Receiver { deflate: Some(Box::new(deflate)), ..Receiver::plain(limits) }
    }

    /// Takes the next step in `input`, which begins with what earlier steps did not take. Says how many bytes it took.
    /// Data is given in pieces of at most `room` bytes; compressed data is inflated into `inflated`, which must not be
    /// empty.
    ///
    /// # Errors
    /// Says how the client broke the protocol or a limit. The socket is then to be closed, and no further step taken.
    pub fn next<'b>(&mut self, input: &'b mut [u8], inflated: &'b mut [u8], room: usize) -> Result<(usize, Step<'b>), Violation> {
        let mut taken = 0;
        while self.frame.is_none() {
            let Some((header, length)) = Header::read(&input[taken..])? else { return Ok((taken, Step::More)) };
            if header.opcode.is_control() {
                return control(header, input, taken, length);
            }
            self.begin(header)?;
            taken += length;
        }
        let compressed = self.message.as_ref().is_some_and(|message| message.compressed);
        let rest = &mut input[taken..];
        let (more, step) = if compressed { self.inflated(rest, inflated, room)? } else { self.plain_data(rest, room)? };
        Ok((taken + more, step))
    }

    /// Checks a data frame's header and makes it the current frame, unless it is an empty one that ends nothing.
    fn begin(&mut self, header: Header) -> Result<(), Violation> {
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(Violation::protocol("a continuation of no message")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::protocol("a message within another message"));
            }
            _ => {}
        }
        if header.compressed && self.deflate.is_none() {
            return Err(Violation::protocol("a compressed message without an agreement on compression"));
        }
        let message = self.message.get_or_insert(Message {
            text: header.opcode == Opcode::Text,
            compressed: header.compressed,
            bytes: 0,
            wire_bytes: 0,
            empty_fragments: 0,
            utf8: Validator::default(),
            tail: 0,
            full: false,
            final_block: false,
        });
        message.wire_bytes = message.wire_bytes.saturating_add(header.length);
        let slack = if message.compressed { COMPRESSED_SLACK } else { 0 };
        if message.wire_bytes > self.limits.message_bytes_max.saturating_add(slack) {
            return Err(TOO_LARGE);
        }
        if header.length == 0 && !header.fin {
            message.empty_fragments += 1;
            if message.empty_fragments > EMPTY_FRAGMENTS_MAX {
                return Err(Violation { code: CloseCode::POLICY, what: "too many empty fragments" });
            }
            return Ok(());
        }
        self.frame = Some(Frame { fin: header.fin, mask: header.mask, left: header.length, unmasked: 0, clear: 0 });
        Ok(())
    }

    fn plain_data<'b>(&mut self, input: &'b mut [u8], room: usize) -> Result<(usize, Step<'b>), Violation> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else { return Ok((0, Step::More)) };
        if frame.left > 0 && input.is_empty() {
            return Ok((0, Step::More));
        }
        if room == 0 {
            return Ok((0, Step::Blocked));
        }
        let n = room.min(input.len()).min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        let bytes = &mut input[..n];
        unmask(bytes, frame.mask, frame.unmasked);
        frame.unmasked += n as u64;
        frame.left -= n as u64;
        let end = frame.fin && frame.left == 0;
        let text = message.text;
        check_text(message, bytes, end)?;
        if frame.left == 0 {
            self.frame = None;
        }
        if end {
            self.message = None;
        }
        Ok((n, Step::Data { text, bytes, end }))
    }

    fn inflated<'b>(&mut self, input: &mut [u8], output: &'b mut [u8], room: usize) -> Result<(usize, Step<'b>), Violation> {
        let (Some(frame), Some(message), Some(deflate)) = (&mut self.frame, &mut self.message, &mut self.deflate) else {
            return Ok((0, Step::More));
        };
        if frame.left > 0 && input.is_empty() && !message.full {
            return Ok((0, Step::More));
        }
        if room == 0 {
            return Ok((0, Step::Blocked));
        }
        let here = input.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        let clear = frame.clear.min(here);
        unmask(&mut input[clear..here], frame.mask, frame.unmasked);
        frame.unmasked += (here - clear) as u64;
        frame.clear = here;
        let room = room.min(output.len());
        let pool = &deflate.pool;
        let state = deflate.current.get_or_insert_with(|| pool.decompressor());
        let (mut taken, mut made) = (0, 0);
        loop {
            let in_tail = taken as u64 == frame.left && frame.fin;
            let source = if in_tail { &TAIL[message.tail..] } else { &input[taken..here] };
            if in_tail && (message.final_block || source.is_empty()) && !message.full {
                message.tail = TAIL.len();
                break;
            }
            if made == room || (source.is_empty() && !message.full) {
                break;
            }
            let (consumed, produced, ended) = inflate(state, source, &mut output[made..room])?;
            made += produced;
            if in_tail {
                message.tail += consumed;
            } else {
                taken += consumed;
            }
            message.full = made == room;
            message.final_block = ended;
            if ended {
                // Another run of blocks may follow (§7.2.3.4); what is left without input is its own beginning.
                state.reset(false);
                message.full = false;
            } else if consumed == 0 && produced == 0 {
                if !source.is_empty() {
                    return Err(Violation { code: CloseCode::INVALID_DATA, what: "compressed data that leads nowhere" });
                }
                message.full = false;
            }
        }
        frame.left -= taken as u64;
        frame.clear -= taken;
        message.bytes += made as u64;
        if message.bytes > self.limits.message_bytes_max {
            return Err(TOO_LARGE);
        }
        let end = frame.fin && frame.left == 0 && message.tail == TAIL.len() && !message.full;
        let text = message.text;
        check_text(message, &output[..made], end)?;
        if end || (frame.left == 0 && !frame.fin && !message.full) {
            self.frame = None;
        }
        if end {
            self.message = None;
            if !deflate.takeover
                && let Some(state) = deflate.current.take()
            {
                deflate.pool.give_back_decompressor(state);
            }
        }
        Ok((taken, Step::Data { text, bytes: &output[..made], end }))
    }
}

const TOO_LARGE: Violation = Violation { code: CloseCode::TOO_LARGE, what: "a message larger than is accepted" };

fn check_text(message: &mut Message, bytes: &[u8], end: bool) -> Result<(), Violation> {
    if !message.text {
        return Ok(());
    }
    if message.utf8.push(bytes).is_err() || (end && !message.utf8.is_complete()) {
        return Err(Violation { code: CloseCode::INVALID_DATA, what: "text that is not UTF-8" });
    }
    Ok(())
}

fn control(header: Header, input: &mut [u8], taken: usize, length: usize) -> Result<(usize, Step<'_>), Violation> {
    let start = taken + length;
    // At most 125, which the header's reader has checked.
    let end = start + header.length as usize;
    let Some(payload) = input.get_mut(start..end) else { return Ok((taken, Step::More)) };
    unmask(payload, header.mask, 0);
    let step = match header.opcode {
        Opcode::Ping => Step::Ping(payload),
        Opcode::Pong => Step::Pong(payload),
        _ => {
            let (code, reason) = read_close(payload)?;
            Step::Close(code, reason)
        }
    };
    Ok((end, step))
}
