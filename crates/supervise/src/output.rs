//! What workers print: each line goes into the log under the worker's name.
//!
//! Nothing a worker prints can disturb anything. A worker that prints faster than lines can be read here waits in its own
//! `write`; what the log has no room for it drops and counts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Longest line in bytes; a longer one is logged in pieces.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes that are read before other work gets a turn.
const READ_BYTES: usize = 16 * 1024;
/// Last lines that a failing start is explained with.
const TAIL_LINES: usize = 40;
/// Longest line in the tail, in bytes.
const TAIL_LINE_BYTES_MAX: usize = 1024;

/// Which of the two pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// The last lines a worker has printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Rc<RefCell<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &str) {
        let mut lines = self.0.borrow_mut();
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line[..line.floor_char_boundary(TAIL_LINE_BYTES_MAX)].to_owned());
    }

    pub fn text(&self) -> String {
        let lines = self.0.borrow();
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Logs until the pipe ends: when the worker and every child that inherited the pipe have closed it.
pub(crate) async fn log_lines(mut pipe: pipe::Receiver, source: Source, worker: Rc<str>, tail: Tail) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; READ_BYTES].into_boxed_slice();
    let mut log = |line: &str| {
        match source {
            Source::Stdout => tracing::info!(target: "worker", worker = &*worker, stream = "stdout", "{line}"),
            Source::Stderr => tracing::info!(target: "worker", worker = &*worker, stream = "stderr", "{line}"),
        }
        tail.push(line);
    };
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        lines.feed(&chunk[..read], &mut log);
        // A flood must not keep the supervisor from its other work.
        tokio::task::yield_now().await;
    }
    lines.finish(&mut log);
}

/// Cuts bytes into lines of bounded length; what is not UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], log: &mut impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.add(&bytes[..end], log);
            emit(&self.partial, log);
            self.partial.clear();
            bytes = &bytes[end + 1..];
        }
        self.add(bytes, log);
    }

    /// Appends a piece without a line's end, logging what passes the bound.
    fn add(&mut self, mut piece: &[u8], log: &mut impl FnMut(&str)) {
        while self.partial.len() + piece.len() > LINE_BYTES_MAX {
            let (fits, rest) = piece.split_at(LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(fits);
            piece = rest;
            // A character is not cut in two: its first bytes wait for the rest.
            let kept = incomplete_suffix(&self.partial);
            let cut = self.partial.len() - kept;
            emit(&self.partial[..cut], log);
            self.partial.drain(..cut);
        }
        self.partial.extend_from_slice(piece);
    }

    fn finish(&mut self, log: &mut impl FnMut(&str)) {
        if !self.partial.is_empty() {
            emit(&self.partial, log);
            self.partial.clear();
        }
    }
}

/// Length of a UTF-8 sequence at the end of `bytes` that more bytes could complete: 0 to 3.
fn incomplete_suffix(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(3)..]) {
        Ok(_) => 0,
        Err(_) => (1..=3.min(bytes.len()))
            .find(|n| {
                let lead = bytes[bytes.len() - n];
                matches!((lead, n), (0xC2..=0xDF, 1) | (0xE0..=0xEF, 1..=2) | (0xF0..=0xF4, 1..=3))
            })
            .unwrap_or(0),
    }
}

fn emit(line: &[u8], log: &mut impl FnMut(&str)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    log(&String::from_utf8_lossy(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(chunks: &[&[u8]], expected: &[&str]) {
        let mut lines = Lines::default();
        let mut logged = Vec::new();
        let mut log = |line: &str| logged.push(line.to_owned());
        for chunk in chunks {
            lines.feed(chunk, &mut log);
        }
        lines.finish(&mut log);
        assert_eq!(logged, expected);
    }

    #[test]
    fn lines_are_put_together() {
        check_lines(&[b"one\ntw", b"o\r\n", b"\nlast"], &["one", "two", "", "last"]);
        check_lines(&[b"caf\xc3", b"\xa9\n"], &["caf\u{e9}"]);
        check_lines(&[b"\xff\xfe\n"], &["\u{fffd}\u{fffd}"]);
        check_lines(&[], &[]);
    }

    #[test]
    fn long_lines_are_logged_in_pieces() {
        let max = "x".repeat(LINE_BYTES_MAX);
        check_lines(&[max.as_bytes(), b"\n"], &[&max]);
        check_lines(&[max.as_bytes(), b"yz\n"], &[&max, "yz"]);
        // The two bytes of é lie on both sides of the bound.
        let almost = "x".repeat(LINE_BYTES_MAX - 1);
        check_lines(&[almost.as_bytes(), "é!".as_bytes(), b"\n"], &[&almost, "é!"]);
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let tail = Tail::default();
        for n in 0..100 {
            tail.push(&format!("line {n}"));
        }
        let text = tail.text();
        assert_eq!(text.lines().count(), TAIL_LINES);
        assert!(text.ends_with("line 99"));
    }
}
