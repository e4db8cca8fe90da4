//! What a worker has sent to one socket and its client has not taken, beyond the socket's send buffer.
//!
//! With the policy `backpressure` nothing ever waits here: it is left in the stream, whose credit makes the worker wait.

use std::collections::VecDeque;

use bytes::Bytes;
use config::QueueFull;

/// A message, or a piece of one.
#[derive(Debug)]
pub struct Piece {
    /// May be empty.
    pub bytes: Bytes,
    /// The message is text.
    pub text: bool,
    /// The last of the message.
    pub end: bool,
}

/// A queue of pieces, bounded by bytes.
#[derive(Debug)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
    bytes_max: usize,
    full: QueueFull,
    dropped: u64,
}

/// What has become of the socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It goes on.
    Kept,
    /// It is to be closed for its slowness.
    TooSlow,
}

impl Outbox {
    /// An empty one.
    pub fn new(bytes_max: usize, full: QueueFull) -> Outbox {
        Outbox { pieces: VecDeque::new(), bytes: 0, bytes_max, full, dropped: 0 }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether the worker is to wait for a client that does not read.
    pub fn makes_wait(&self) -> bool {
        self.full == QueueFull::Backpressure
    }

    /// Whether the worker's next message may be taken from its stream although the client has no room for it.
    pub fn takes(&self) -> bool {
        !self.makes_wait() && self.bytes <= self.bytes_max
    }

    /// Whether the last message is not whole yet.
    pub fn in_message(&self) -> bool {
        self.pieces.back().is_some_and(|piece| !piece.end)
    }

    /// Messages that were dropped since this was asked last.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Puts a piece in; if it is too much, the policy says what becomes of those before it. `begun`: the first piece goes on
    /// with a message whose beginning is out. What is left when only one message waits makes the worker wait
    /// ([`Outbox::takes`]): a message larger than the queue is no fault of the client.
    pub fn push(&mut self, piece: Piece, begun: bool) -> Pushed {
        self.bytes += cost(&piece);
        self.pieces.push_back(piece);
        while self.bytes > self.bytes_max
            && let Some((first, last)) = self.oldest(begun)
        {
            if self.full == QueueFull::DropSocket {
                self.pieces.clear();
                self.bytes = 0;
                return Pushed::TooSlow;
            }
            for piece in self.pieces.drain(first..=last) {
                self.bytes -= cost(&piece);
            }
            self.dropped += 1;
        }
        Pushed::Kept
    }

    /// The next piece.
    pub fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= cost(&piece);
        Some(piece)
    }

    /// First and last piece of the oldest message, if it is whole, none of it is out, and there is one behind it.
    fn oldest(&self, begun: bool) -> Option<(usize, usize)> {
        let mut ends = self.pieces.iter().enumerate().filter(|(_, piece)| piece.end).map(|(at, _)| at);
        let first = if begun { ends.next()? + 1 } else { 0 };
        let last = ends.next()?;
        (last + 1 < self.pieces.len()).then_some((first, last))
    }
}

fn cost(piece: &Piece) -> usize {
    piece.bytes.len() + wire::MESSAGE_COST as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces as their messages' numbers; lower case ends a message. What is left after they were pushed, in a queue for three.
    fn check(full: QueueFull, begun: bool, pieces: &str) -> (String, u64, bool) {
        let mut outbox = Outbox::new(3 * (1000 + wire::MESSAGE_COST as usize), full);
        let mut too_slow = false;
        for letter in pieces.bytes() {
            let bytes = Bytes::from(vec![letter; 1000]);
            let piece = Piece { bytes, text: true, end: letter.is_ascii_lowercase() };
            too_slow |= outbox.push(piece, begun) == Pushed::TooSlow;
        }
        let dropped = outbox.take_dropped();
        let left = std::iter::from_fn(|| outbox.pop()).map(|piece| piece.bytes[0] as char).collect();
        assert_eq!(outbox.bytes, 0);
        (left, dropped, too_slow)
    }

    #[test]
    fn the_oldest_whole_messages_go_first() {
        let drop = |begun, pieces| check(QueueFull::DropOldest, begun, pieces);
        assert_eq!(drop(false, "abc"), ("abc".into(), 0, false));
        assert_eq!(drop(false, "abcde"), ("cde".into(), 2, false));
        assert_eq!(drop(false, "AAab"), ("b".into(), 1, false));
        // The end of a message that has begun must come.
        assert_eq!(drop(true, "Aabcd"), ("Aad".into(), 2, false));
    }

    #[test]
    fn a_message_larger_than_the_queue_waits() {
        for full in [QueueFull::DropOldest, QueueFull::DropSocket] {
            assert_eq!(check(full, false, "AAAAa"), ("AAAAa".into(), 0, false));
            assert_eq!(check(full, true, "AAAaB"), ("AAAaB".into(), 0, false));
            let mut outbox = Outbox::new(1000, full);
            assert!(outbox.takes());
            outbox.push(Piece { bytes: Bytes::from(vec![0; 1001]), text: false, end: false }, false);
            assert!(!outbox.takes() && outbox.in_message());
        }
    }

    #[test]
    fn a_slow_socket_goes_if_it_is_to() {
        assert_eq!(check(QueueFull::DropSocket, false, "abc"), ("abc".into(), 0, false));
        assert_eq!(check(QueueFull::DropSocket, false, "abcd"), (String::new(), 0, true));
        assert!(!Outbox::new(1000, QueueFull::Backpressure).takes());
    }
}
