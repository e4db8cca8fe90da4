//! One non-blocking link socket and its two buffers. Knows frames only by their length.

use std::io::{ErrorKind, Read, Result, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Bytes asked for in one read: a turn's worth of small requests, or one large body frame.
const READ_BYTES: usize = 64 * 1024;
/// Buffers that grew beyond this are given back once empty; one frame can need 1 MiB.
const KEEP_BYTES: usize = 256 * 1024;

/// Bytes that have arrived and are not decoded yet.
#[derive(Default)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// All that was asked for: there may be more.
    Full,
    /// Less than was asked for: the socket is empty now.
    Drained,
    /// The peer closed the link.
    Closed,
}

impl Input {
    /// The bytes not consumed yet.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Marks `n` of the pending bytes as decoded.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.bytes.len() > KEEP_BYTES {
                self.bytes = Vec::new();
            }
        }
    }

    /// Reads once. What is pending is at most one incomplete frame, so the buffer stays below the
    /// longest frame and one read.
    pub fn fill(&mut self, mut socket: &UnixStream) -> Result<ReadOutcome> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < self.end + READ_BYTES {
            self.bytes.resize(self.end + READ_BYTES, 0);
        }
        let space = &mut self.bytes[self.end..];
        let asked = space.len();
        loop {
            return match socket.read(space) {
                Ok(0) => Ok(ReadOutcome::Closed),
                Ok(n) => {
                    self.end += n;
                    Ok(if n == asked { ReadOutcome::Full } else { ReadOutcome::Drained })
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(ReadOutcome::Drained),
                Err(error) => Err(error),
            };
        }
    }
}

/// Encoded frames that wait to be written.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    /// Where frames are appended.
    pub fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes not written yet.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Writes what the socket takes. `true`: everything has left.
    pub fn flush(&mut self, mut socket: &UnixStream) -> Result<bool> {
        while self.written < self.bytes.len() {
            match socket.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // What was written is dropped, or a peer that is always a little behind would make
                    // the buffer grow for ever.
                    self.bytes.drain(..self.written);
                    self.written = 0;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.clear();
        Ok(true)
    }

    /// Forgets what was not written.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// Connects to the front at `path` and says HELLO, blocking; `hello` is its JSON.
pub fn connect(path: &str, hello: &str) -> Result<UnixStream> {
    let mut socket = UnixStream::connect(path)?;
    let mut frame = Vec::with_capacity(wire::HEADER_LEN + hello.len());
    wire::put_frame(&mut frame, wire::Kind::Hello, 0, wire::PROTOCOL_VERSION, 0, hello.as_bytes());
    socket.write_all(&frame)?;
    Ok(socket)
}

/// The descriptor, for the event loop to watch.
pub fn fd(socket: &impl AsRawFd) -> RawFd {
    socket.as_raw_fd()
}
