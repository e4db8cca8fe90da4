//! Why a WebSocket ends (RFC 6455 §7.4), and the frame that says so.

use crate::frame::{CONTROL_BYTES_MAX, Opcode, put_header};

/// Longest reason in a Close frame, in bytes: what a control frame holds beside the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// A status code of RFC 6455 §7.4 and its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose has been fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// An end is going away: a server going down.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The protocol was broken.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// The Close frame held no code. Never sent.
    pub const NONE: CloseCode = CloseCode(1005);
    /// The connection ended without a Close frame. Never sent.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// Text that is not UTF-8, or a broken compressed message.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// A rule of the server's own was broken.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message is larger than is accepted.
    pub const TOO_LARGE: CloseCode = CloseCode(1009);
    /// The server met a condition that it did not expect.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The service restarts; coming back soon is worth it (registered by the IANA).
    pub const RESTART: CloseCode = CloseCode(1012);

    /// Whether a Close frame may carry it: 1000–1003 and 1007–1014 as registered, 3000–4999 (§7.4.2).
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// How a client broke the protocol or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What the Close frame says.
    pub code: CloseCode,
    /// What was wrong, for the log and the Close frame's reason.
    pub what: &'static str,
}

impl Violation {
    pub(crate) const fn protocol(what: &'static str) -> Violation {
        Violation { code: CloseCode::PROTOCOL, what }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.code.0)
    }
}

impl std::error::Error for Violation {}

/// Appends a Close frame. A code that may not be sent gives an empty one (§7.1.5: read as 1005 by the client); a reason
/// too long for the frame is cut at a character's border.
pub fn put_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    if !code.may_be_sent() {
        return put_header(out, Opcode::Close, true, false, 0);
    }
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    put_header(out, Opcode::Close, true, false, 2 + reason.len());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Reads a Close frame's payload (§5.5.1).
pub(crate) fn read_close(payload: &[u8]) -> Result<(CloseCode, &str), Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        if payload.is_empty() {
            return Ok((CloseCode::NONE, ""));
        }
        return Err(Violation::protocol("a close frame with half a code"));
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        return Err(Violation::protocol("a close code that may not be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok((code, reason)),
        Err(_) => Err(Violation { code: CloseCode::INVALID_DATA, what: "a close reason that is not UTF-8" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_codes_are_neither_sent_nor_read() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!CloseCode(code).may_be_sent(), "{code}");
            assert_eq!(read_close(&code.to_be_bytes()).unwrap_err().code, CloseCode::PROTOCOL);
            let mut out = Vec::new();
            put_close(&mut out, CloseCode(code), "why");
            assert_eq!(out, [0x88, 0]);
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(read_close(&u16::to_be_bytes(code)), Ok((CloseCode(code), "")));
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        put_close(&mut out, CloseCode::NORMAL, &"é".repeat(100));
        assert_eq!(out[1] as usize, 2 + 122);
        assert_eq!(read_close(&out[2..]), Ok((CloseCode::NORMAL, "é".repeat(61).as_str())));
    }

    #[test]
    fn half_a_code_and_bytes_that_are_no_text_are_refused() {
        assert_eq!(read_close(b"\x03").unwrap_err().code, CloseCode::PROTOCOL);
        assert_eq!(read_close(b"\x03\xe8\xff").unwrap_err().code, CloseCode::INVALID_DATA);
        assert_eq!(read_close(b""), Ok((CloseCode::NONE, "")));
    }
}
