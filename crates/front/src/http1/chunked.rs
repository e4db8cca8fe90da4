//! Decodes the chunked transfer coding (RFC 9112 §7.1), strictly and with bounds.

use crate::head::{is_field_value, is_token};

/// Bytes of a chunk's size line, extensions included.
const SIZE_LINE_MAX: usize = 256;

/// Where the decoder is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    /// CR, then LF after a chunk's data.
    DataEnd {
        cr: bool,
    },
    Trailers,
    Done,
}

/// An incremental decoder.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    /// The line being read: a size line or a trailer line.
    line: Vec<u8>,
    trailers: Vec<u8>,
    trailers_max: usize,
}

/// The coding is broken, or a bound is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk(pub &'static str);

impl Chunked {
    /// A decoder at the start of a body, whose trailer section may have `trailers_max` bytes.
    pub fn new(trailers_max: usize) -> Chunked {
        Chunked { state: State::Size, line: Vec::new(), trailers: Vec::new(), trailers_max }
    }

    /// Whether the last chunk and the trailer section have been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer section's lines, each ended by CR LF.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes bytes from the front of `input` and gives the decoded ones to `data`; stops at the end of the
    /// body. Returns how many bytes were taken.
    pub fn decode(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < input.len() {
            match &mut self.state {
                State::Done => break,
                State::Data(left) => {
                    let n = (*left).min((input.len() - at) as u64) as usize;
                    data(&input[at..at + n]);
                    at += n;
                    *left -= n as u64;
                    if *left == 0 {
                        self.state = State::DataEnd { cr: false };
                    }
                }
                State::DataEnd { cr } => {
                    match (input[at], *cr) {
                        (b'\r', false) => *cr = true,
                        (b'\n', true) => self.state = State::Size,
                        _ => return Err(BadChunk("a chunk is longer than its size says")),
                    }
                    at += 1;
                }
                State::Size => {
                    let (taken, complete) = take_line(&mut self.line, &input[at..], SIZE_LINE_MAX)
                        .ok_or(BadChunk("a chunk's size line is not valid"))?;
                    at += taken;
                    if complete {
                        let size = parse_size(&self.line).ok_or(BadChunk("a chunk's size is not valid"))?;
                        self.line.clear();
                        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                    }
                }
                State::Trailers => {
                    let room = self.trailers_max.saturating_sub(self.trailers.len());
                    let (taken, complete) = take_line(&mut self.line, &input[at..], room)
                        .ok_or(BadChunk("the trailer section is not valid or too long"))?;
                    at += taken;
                    if complete {
                        if self.line.is_empty() {
                            self.state = State::Done;
                        } else if !is_field_line(&self.line) {
                            return Err(BadChunk("a trailer field is not valid"));
                        } else {
                            self.trailers.extend_from_slice(&self.line);
                            self.trailers.extend_from_slice(b"\r\n");
                            self.line.clear();
                        }
                    }
                }
            }
        }
        Ok(at)
    }
}

/// Appends to `line` up to a CR LF, which is taken and left out. `None` for a bare LF or CR, or a line
/// longer than `max`.
fn take_line(line: &mut Vec<u8>, input: &[u8], max: usize) -> Option<(usize, bool)> {
    let (part, ended) = match memchr::memchr(b'\n', input) {
        Some(at) => (&input[..at], true),
        None => (input, false),
    };
    if line.len() + part.len() > max + 2 {
        return None;
    }
    line.extend_from_slice(part);
    if ended {
        if line.pop() != Some(b'\r') {
            return None;
        }
        if memchr::memchr(b'\r', line).is_some() {
            return None;
        }
    }
    Some((part.len() + usize::from(ended), ended))
}

/// A name, a colon and a value (RFC 9112 §5).
fn is_field_line(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line);
    colon.is_some_and(|colon| is_token(&line[..colon]) && is_field_value(&line[colon + 1..]))
}

fn parse_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 15 {
        return None;
    }
    let rest = line[digits..].trim_ascii_start();
    if !(rest.is_empty() || rest[0] == b';') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces of `step` bytes.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, bool, usize), BadChunk> {
        let mut decoder = Chunked::new(64);
        let mut body = Vec::new();
        let mut taken = 0;
        for piece in input.chunks(step) {
            taken += decoder.decode(piece, |data| body.extend_from_slice(data))?;
        }
        Ok((body, decoder.trailers().to_vec(), decoder.is_done(), taken))
    }

    #[test]
    fn bodies_decode_however_they_are_cut() {
        let input = b"4\r\nWiki\r\n5;ext=1\r\npedia\r\n0\r\nX-Sum: 9\r\n\r\nGET";
        for step in 1..input.len() {
            let (body, trailers, done, taken) = decode(input, step).unwrap();
            assert_eq!(body, b"Wikipedia");
            assert_eq!(trailers, b"X-Sum: 9\r\n");
            assert!(done);
            assert_eq!(taken, input.len() - 3);
        }
    }

    #[test]
    fn broken_codings_are_refused() {
        for bad in [
            "\r\nx",
            "g\r\n",
            "4\nWiki",
            "4\r\nWikiX\r\n",
            "-1\r\n",
            "0x4\r\nWiki",
            "4 x\r\nWiki",
            "1234567890abcdef0\r\n",
            "4\rx\r\n",
        ] {
            assert!(decode(bad.as_bytes(), 1).is_err(), "{bad:?}");
            assert!(decode(bad.as_bytes(), 100).is_err(), "{bad:?}");
        }
        assert!(decode(format!("0\r\nX: {}\r\n\r\n", "y".repeat(100)).as_bytes(), 7).is_err());
        assert!(decode(format!("4;{}", "y".repeat(400)).as_bytes(), 7).is_err());
    }
}
