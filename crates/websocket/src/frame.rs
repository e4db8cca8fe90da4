//! Frames' headers (RFC 6455 §5.2).

use crate::close::Violation;

/// Longest payload of a control frame, in bytes (§5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of a message.
    Continuation = 0,
    /// Begins a text message.
    Text = 1,
    /// Begins a binary message.
    Binary = 2,
    /// Ends the connection.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, or says that an end lives.
    Pong = 10,
}

impl Opcode {
    fn from_code(code: u8) -> Option<Opcode> {
        Some(match code {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Appends the header of a server's frame, which is never masked (§5.1).
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, fin: bool, compressed: bool, length: usize) {
    let first = opcode as u8 | u8::from(fin) << 7 | u8::from(compressed) << 6;
    match length {
        0..=125 => out.extend_from_slice(&[first, length as u8]),
        126..=0xffff => {
            let length = (length as u16).to_be_bytes();
            out.extend_from_slice(&[first, 126, length[0], length[1]]);
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A client's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub opcode: Opcode,
    pub fin: bool,
    /// RSV1: the first frame of a compressed message (RFC 7692 §6).
    pub compressed: bool,
    pub mask: [u8; 4],
    pub length: u64,
}

impl Header {
    /// Reads a header and says how many bytes it takes; `None` while it is incomplete. What is wrong is found with the
    /// byte that says it.
    pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x30 != 0 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let opcode = Opcode::from_code(first & 0x0f).ok_or(Violation::protocol("a reserved opcode"))?;
        let fin = first & 0x80 != 0;
        let compressed = first & 0x40 != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::protocol("a fragmented control frame"));
        }
        if compressed && (opcode.is_control() || opcode == Opcode::Continuation) {
            return Err(Violation::protocol("the compression bit on a frame that cannot have it"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::protocol("a frame that is not masked"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && short as usize > CONTROL_BYTES_MAX {
            return Err(Violation::protocol("a control frame longer than 125 bytes"));
        }
        let (length, at) = match short {
            126 => {
                let Some(long) = bytes.get(2..).and_then(|rest| rest.first_chunk::<2>()) else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*long)), 4)
            }
            127 => {
                let Some(long) = bytes.get(2..).and_then(|rest| rest.first_chunk::<8>()) else { return Ok(None) };
                (u64::from_be_bytes(*long), 10)
            }
            short => (u64::from(short), 2),
        };
        if length >> 63 != 0 || (short == 126 && length < 126) || (short == 127 && length < 0x1_0000) {
            return Err(Violation::protocol("a length that is not written in the shortest form"));
        }
        let Some(mask) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
        Ok(Some((Header { opcode, fin, compressed, mask: *mask, length }, at + 4)))
    }
}
