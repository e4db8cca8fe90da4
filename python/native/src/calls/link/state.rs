//! What is under way on a link, and the frames that wait to be written.

use super::super::awake::Awake;
use super::super::call::Call;
use super::super::function::Binding;
use super::super::handles::Given;
use super::super::incoming::Incoming;
use super::super::{NumberMap, put_message};
use crate::socket::{Input, Output};
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Instant;
use wire::{FLAG_PART, Kind};

/// What a link knows, behind its lock.
pub struct State {
    pub(super) input: Input,
    pub(super) output: Output,
    /// Bytes appended to the output since the link began: tells whether a call has been written.
    pub(super) appended: u64,
    /// The ITEM frame at the end of the output that more items may join: its stream, and where its header is.
    pub(super) open_items: Option<(u32, usize)>,
    pub(super) next_stream: u32,
    pub(super) newest_theirs: u32,
    pub(super) outgoing: NumberMap<u32, Outgoing>,
    pub incoming: NumberMap<u32, Incoming>,
    /// What the peer has bound.
    pub(super) bindings: NumberMap<u32, Named>,
    /// Our numbers for functions, by the id of their binding; and the bindings, by number from 1.
    pub(super) bound: NumberMap<u64, u32>,
    pub(super) bound_as: Vec<Arc<Binding>>,
    pub given: Given,
    /// The first frame must be HELLO, and has not come.
    pub(super) expects_hello: bool,
    /// Our HELLO has offered shared memory, and MEMORY has not come.
    pub(super) expects_memory: bool,
    /// No call goes there before it comes, or has taken too long.
    pub(super) sets_up: bool,
    pub(super) in_turn: bool,
    pub(super) awake: Awake,
    pub(super) flush_scheduled: bool,
    pub(super) blocked: bool,
    pub(super) leaving: bool,
    pub closed: bool,
    pub(super) timer: Option<(Instant, Py<PyAny>)>,
}

/// What the peer's number stands for.
pub(super) enum Named {
    Form(Vec<u8>),
    Target(Py<PyAny>),
}

pub(super) struct Outgoing {
    pub(super) call: Py<Call>,
    /// A message that is not whole yet.
    pub(super) partial: Option<(Kind, u8, Vec<u8>)>,
    pub(super) deadline: Option<Instant>,
    pub(super) timeout_ms: u32,
    /// The value of `appended` after the CALL.
    pub(super) end: u64,
    pub(super) queued: bool,
    pub(super) streaming: bool,
}

impl State {
    /// Our number for a function; BIND goes before its first call.
    pub(super) fn number_of(&mut self, binding: &Arc<Binding>) -> u32 {
        if let Some(number) = self.bound.get(&binding.id) {
            return *number;
        }
        let number = self.bound.len() as u32 + 1;
        self.bound.insert(binding.id, number);
        self.bound_as.push(Arc::clone(binding));
        let payload = [&number.to_le_bytes(), &binding.form[..]].concat();
        self.put(|out| wire::put_frame(out, Kind::Bind, 0, 0, 0, &payload));
        number
    }

    pub(super) fn put<R>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let out = self.output.frames();
        let before = out.len();
        let result = encode(out);
        let appended = out.len() - before;
        self.appended += appended as u64;
        if self.closed {
            // Nobody will read it.
            self.output.clear();
        }
        result
    }

    pub(super) fn put_item(&mut self, stream: u32, item: &[u8]) {
        if item.len() > wire::PAYLOAD_MAX {
            self.open_items = None;
            return self.put(|out| put_message(out, Kind::Item, FLAG_PART, stream, item));
        }
        if let Some((open, at)) = self.open_items
            && open == stream
        {
            let out = self.output.frames();
            let length = out.len() - at - wire::HEADER_LEN + item.len();
            if length <= wire::INITIAL_CREDIT as usize {
                out.extend_from_slice(item);
                out[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
                self.appended += item.len() as u64;
                return;
            }
        }
        let at = self.output.frames().len();
        self.put(|out| wire::put_frame(out, Kind::Item, 0, 0, stream, item));
        self.open_items = if self.closed { None } else { Some((stream, at)) };
    }
}
