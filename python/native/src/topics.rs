//! What a data link does for topics: messages leave within the front's credit, and what the front says about topics is
//! kept until somebody takes it. Never touches Python, so that WSGI's threads use it without the GIL.

use crate::stream::lock;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use wire::{FLAG_TEXT, HEADER_LEN, Kind, MESSAGE_COST, PUBLISH_CREDIT};

/// What waits for the front's credit on one link, in bytes; beyond, messages are refused.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// What waits for the thread that listens, in bytes; beyond, the oldest messages go.
const MAILBOX_BYTES_MAX: usize = 16 << 20;

/// A message to be published.
pub struct Publication<'a> {
    pub topic: &'a str,
    pub data: &'a [u8],
    pub text: bool,
    /// The socket that does not get it and the number of its link, or zeros.
    pub except: (u32, u16),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Encoded.
    Sent,
    /// It waits for the front's credit.
    Waiting,
    /// Too much waits already.
    Refused,
}

/// One link's credit, and what waits for more.
pub struct Publisher {
    credit: u32,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
}

impl Default for Publisher {
    fn default() -> Publisher {
        Publisher { credit: PUBLISH_CREDIT, waiting: VecDeque::new(), waiting_bytes: 0 }
    }
}

impl Publisher {
    /// Appends a PUBLISH to `out`, or keeps it for later. `Err`: it can't be encoded.
    pub fn publish(&mut self, out: &mut Vec<u8>, message: &Publication<'_>) -> Result<Published, wire::WireError> {
        let Publication { topic, data, text, except: (stream, home) } = *message;
        let cost = (2 + topic.len() + data.len()) as u32 + MESSAGE_COST;
        let flags = if text { FLAG_TEXT } else { 0 };
        if self.waiting.is_empty() && self.credit >= cost {
            wire::put_topic(out, Kind::Publish, flags, home, stream, topic, data)?;
            self.credit -= cost;
            return Ok(Published::Sent);
        }
        if self.waiting_bytes + cost as usize > WAITING_BYTES_MAX {
            return Ok(Published::Refused);
        }
        let mut frame = Vec::new();
        wire::put_topic(&mut frame, Kind::Publish, flags, home, stream, topic, data)?;
        self.waiting_bytes += cost as usize;
        self.waiting.push_back(frame);
        Ok(Published::Waiting)
    }

    /// The front takes `bytes` more: appends what may go now.
    pub fn grant(&mut self, out: &mut Vec<u8>, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes);
        while let Some(frame) = self.waiting.front() {
            let cost = (frame.len() - HEADER_LEN) as u32 + MESSAGE_COST;
            if self.credit < cost {
                return;
            }
            self.credit -= cost;
            self.waiting_bytes -= cost as usize;
            out.extend_from_slice(frame);
            self.waiting.pop_front();
        }
    }
}

/// A frame of the front about topics.
pub struct Letter {
    pub kind: Kind,
    pub flags: u8,
    pub payload: Vec<u8>,
}

impl Letter {
    /// The frame, if it is one that a worker may be sent.
    pub fn of(frame: &wire::Frame<'_>) -> Option<Letter> {
        matches!(frame.kind, Kind::Message | Kind::Presence | Kind::Answer).then(|| Letter {
            kind: frame.kind,
            flags: frame.flags,
            payload: frame.payload.to_vec(),
        })
    }
}

/// Letters on their way from whichever thread reads to the one that listens.
#[derive(Default)]
pub struct Mailbox {
    state: Mutex<MailboxState>,
    changed: Condvar,
}

#[derive(Default)]
struct MailboxState {
    letters: VecDeque<Letter>,
    bytes: usize,
    closed: bool,
}

impl Mailbox {
    /// Puts a letter in. An ANSWER is never dropped: somebody waits for it.
    pub fn put(&self, letter: Letter) {
        let mut state = lock(&self.state);
        state.bytes += letter.payload.len() + MESSAGE_COST as usize;
        state.letters.push_back(letter);
        while state.bytes > MAILBOX_BYTES_MAX {
            let Some(at) = state.letters.iter().position(|letter| letter.kind != Kind::Answer) else { break };
            if let Some(dropped) = state.letters.remove(at) {
                state.bytes -= dropped.payload.len() + MESSAGE_COST as usize;
            }
        }
        self.changed.notify_one();
    }

    /// The next letter; `None` once the pool stops. Blocks.
    pub fn take(&self) -> Option<Letter> {
        let mut state = lock(&self.state);
        loop {
            if let Some(letter) = state.letters.pop_front() {
                state.bytes -= letter.payload.len() + MESSAGE_COST as usize;
                return Some(letter);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Nothing more will come.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}
