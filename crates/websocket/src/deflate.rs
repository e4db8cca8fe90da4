//! permessage-deflate (RFC 7692): the agreement, and the compressors and decompressors that many sockets share.

use std::cell::RefCell;
use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::close::{CloseCode, Violation};

/// What the server is willing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Keep the window from message to message, in both directions: better compression for about 300 KiB a socket.
    pub context_takeover: bool,
    /// Largest window of the compressor, as a power of two: 9–15.
    pub window_bits_max: u8,
}

/// What client and server have agreed on. Displayed, it is the value of `sec-websocket-extensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The server begins each message with an empty window.
    pub server_no_context_takeover: bool,
    /// The client begins each message with an empty window.
    pub client_no_context_takeover: bool,
    /// The server's window, as a power of two; `None` is 15.
    pub server_max_window_bits: Option<u8>,
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate")?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        Ok(())
    }
}

/// Extensions that a client may offer; more are not looked at.
const OFFERS_MAX: usize = 32;
const PARAMETERS_MAX: usize = 8;

/// One extension that a client offers, with its parameters.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    name: &'a [u8],
    parameters: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// Takes the first offer that the policy can meet (RFC 7692 §5, §7.1); `values` are those of
/// `sec-websocket-extensions`.
pub fn negotiate<'a>(values: impl Iterator<Item = &'a [u8]>, policy: Policy) -> Option<Agreed> {
    offers(values)?.iter().filter(|offer| offer.name == b"permessage-deflate").find_map(|offer| agree(offer, policy))
}

/// Reads the list (RFC 6455 §9.1); `None` when it is malformed.
pub(crate) fn offers<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Offer<'a>>> {
    let mut offers = Vec::new();
    for member in values.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
        if member.is_empty() || offers.len() == OFFERS_MAX {
            continue;
        }
        let mut parts = member.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let name = parts.next()?;
        let mut parameters = Vec::new();
        for part in parts {
            let (name, value) = match part.iter().position(|b| *b == b'=') {
                Some(at) => (part[..at].trim_ascii_end(), Some(unquoted(part[at + 1..].trim_ascii_start()))),
                None => (part, None),
            };
            if !is_token(name) || value.is_some_and(|value| !is_token(value)) || parameters.len() == PARAMETERS_MAX {
                return None;
            }
            parameters.push((name, value));
        }
        if !is_token(name) {
            return None;
        }
        offers.push(Offer { name, parameters });
    }
    Some(offers)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// `None` declines the offer, as §7.1 demands for a parameter that is unknown, repeated or has a wrong value.
fn agree(offer: &Offer<'_>, policy: Policy) -> Option<Agreed> {
    let mut agreed = Agreed {
        server_no_context_takeover: !policy.context_takeover,
        client_no_context_takeover: !policy.context_takeover,
        server_max_window_bits: (policy.window_bits_max < 15).then_some(policy.window_bits_max),
    };
    for (at, (name, value)) in offer.parameters.iter().enumerate() {
        if offer.parameters[..at].iter().any(|(other, _)| other == name) {
            return None;
        }
        match (*name, *value) {
            (b"server_no_context_takeover", None) => agreed.server_no_context_takeover = true,
            (b"client_no_context_takeover", None) => agreed.client_no_context_takeover = true,
            (b"server_max_window_bits", Some(value)) => {
                // zlib has no raw window of 2⁸ bytes; an offer that asks for one is declined.
                let bits = window_bits(value).filter(|bits| *bits > 8)?;
                agreed.server_max_window_bits = Some(bits.min(policy.window_bits_max));
            }
            // The decompressor has room for every window; the client is not asked for a smaller one.
            (b"client_max_window_bits", None) => {}
            (b"client_max_window_bits", Some(value)) => drop(window_bits(value)?),
            _ => return None,
        }
    }
    Some(agreed)
}

/// 8–15 without leading zeros (§7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Compressors and decompressors for the messages of many sockets. Without context takeover a socket needs one only
/// while a message passes, so a few serve thousands.
#[derive(Debug)]
pub struct Pool {
    level: Compression,
    idle_max: usize,
    idle: RefCell<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    compressors: Vec<Compressor>,
    decompressors: Vec<Decompress>,
    scratch: Vec<u8>,
}

/// A compressor and the window it was made for.
#[derive(Debug)]
pub(crate) struct Compressor {
    state: Compress,
    window_bits: u8,
}

/// What every message's compressed data ends with, and what is not sent (§7.2.1).
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Room that is made at a time for compressed data, in bytes.
const OUTPUT_STEP: usize = 4096;
/// What the shared buffer may keep, in bytes.
const SCRATCH_KEEP: usize = 256 * 1024;

impl Pool {
    /// A pool that keeps at most `idle_max` compressors and as many decompressors. `level` is zlib's: 1–9.
    pub fn new(level: u32, idle_max: usize) -> Pool {
        Pool { level: Compression::new(level.clamp(1, 9)), idle_max, idle: RefCell::default() }
    }

    pub(crate) fn compressor(&self, window_bits: u8) -> Compressor {
        let mut idle = self.idle.borrow_mut();
        match idle.compressors.iter().position(|compressor| compressor.window_bits == window_bits) {
            Some(at) => idle.compressors.swap_remove(at),
            None => {
                let state = Compress::new_with_window_bits(self.level, false, window_bits);
                Compressor { state, window_bits }
            }
        }
    }

    pub(crate) fn give_back_compressor(&self, mut compressor: Compressor) {
        let mut idle = self.idle.borrow_mut();
        if idle.compressors.len() < self.idle_max {
            compressor.state.reset();
            idle.compressors.push(compressor);
        }
    }

    pub(crate) fn decompressor(&self) -> Decompress {
        self.idle.borrow_mut().decompressors.pop().unwrap_or_else(|| Decompress::new(false))
    }

    pub(crate) fn give_back_decompressor(&self, mut decompressor: Decompress) {
        let mut idle = self.idle.borrow_mut();
        if idle.decompressors.len() < self.idle_max {
            decompressor.reset(false);
            idle.decompressors.push(decompressor);
        }
    }

    /// An empty buffer.
    pub(crate) fn scratch(&self) -> Vec<u8> {
        std::mem::take(&mut self.idle.borrow_mut().scratch)
    }

    pub(crate) fn give_back_scratch(&self, mut scratch: Vec<u8>) {
        if scratch.capacity() <= SCRATCH_KEEP {
            scratch.clear();
            self.idle.borrow_mut().scratch = scratch;
        }
    }
}

impl Compressor {
    /// Appends one piece of a message, compressed, so that a client can read all of it at once; the last without its
    /// [`TAIL`].
    pub(crate) fn piece(&mut self, out: &mut Vec<u8>, mut bytes: &[u8], last: bool) {
        let start = out.len();
        loop {
            // zlib wants six bytes of room for a flush, or it marks the same flush twice.
            out.reserve(OUTPUT_STEP);
            let before = self.state.total_in();
            // The state is a fresh or healthy one, so the only answer but Ok is that there is nothing left to do.
            let status = self.state.compress_vec(bytes, out, FlushCompress::Sync);
            bytes = &bytes[(self.state.total_in() - before) as usize..];
            let done = bytes.is_empty() && out.len() < out.capacity();
            if done || !matches!(status, Ok(Status::Ok)) {
                break;
            }
        }
        if last {
            if out.len() == start {
                // Nothing new since the last flush: an empty block, whose end is the tail (§7.2.3.6).
                out.push(0);
            } else {
                out.truncate(out.len() - TAIL.len());
            }
        }
    }
}

/// One step of inflation: bytes consumed, bytes produced, and whether a final block has ended the data.
pub(crate) fn inflate(state: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<(usize, usize, bool), Violation> {
    let (before_in, before_out) = (state.total_in(), state.total_out());
    let status = state
        .decompress(input, output, FlushDecompress::Sync)
        .map_err(|_| Violation { code: CloseCode::INVALID_DATA, what: "compressed data that cannot be inflated" })?;
    let consumed = (state.total_in() - before_in) as usize;
    let produced = (state.total_out() - before_out) as usize;
    Ok((consumed, produced, status == Status::StreamEnd))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TAKEOVER: Policy = Policy { context_takeover: false, window_bits_max: 15 };
    const TAKEOVER: Policy = Policy { context_takeover: true, window_bits_max: 15 };

    fn check_offer(policy: Policy, offer: &str) -> Option<String> {
        negotiate([offer.as_bytes()].into_iter(), policy).map(|agreed| agreed.to_string())
    }

    #[test]
    fn offers_are_answered_by_the_policy() {
        let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(check_offer(NO_TAKEOVER, "permessage-deflate; client_max_window_bits").as_deref(), Some(both));
        assert_eq!(check_offer(TAKEOVER, "permessage-deflate").as_deref(), Some("permessage-deflate"));
        assert_eq!(
            check_offer(TAKEOVER, "permessage-deflate; server_max_window_bits=\"10\"; server_no_context_takeover").as_deref(),
            Some("permessage-deflate; server_no_context_takeover; server_max_window_bits=10")
        );
        let small = Policy { window_bits_max: 11, ..TAKEOVER };
        assert_eq!(check_offer(small, "permessage-deflate").as_deref(), Some("permessage-deflate; server_max_window_bits=11"));
    }

    #[test]
    fn what_cannot_be_met_is_declined_for_the_next_offer() {
        for bad in [
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; unknown",
            "x-webkit-deflate-frame",
            "",
        ] {
            assert_eq!(check_offer(TAKEOVER, bad), None, "{bad}");
            if !bad.is_empty() {
                assert!(check_offer(TAKEOVER, &format!("{bad}, permessage-deflate")).is_some(), "{bad}");
            }
        }
        assert_eq!(check_offer(TAKEOVER, "permessage-deflate; a b, permessage-deflate"), None);
    }
}
