//! Between requests: reads a head and starts on it.

use std::task::{Context, Poll, ready};

use super::{
    After, CLIENT_CLOSED, Connection, Exchange, Io, KEEP_CAPACITY, PREFACE, Phase, RequestBody, ResponseBody, State, Step,
};
use crate::dispatch::{INLINE_BODY_MAX, Plan, Reply, plan, record_head};
use crate::fault::{Code, Fault};
use crate::head::{BodyLength, Head, list_members};
use crate::http1::chunked::Chunked;
use crate::http1::parse::{Parsed, accept_line, parse};

/// What the bytes that have been read amount to.
enum Begin {
    Partial,
    Http2,
    Step(Step, usize),
}

impl<I: Io> Connection<I> {
    /// `None` means that the client speaks HTTP/2.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        if !self.input.is_empty()
            && let Some(step) = self.begin_with_input()
        {
            return Poll::Ready(step);
        }
        let thread = self.thread.clone();
        loop {
            if self.input.is_empty() && self.requests > 0 {
                if thread.draining() {
                    return Poll::Ready(Some(Step::Abort));
                }
                self.enter(Phase::Idle, Some(thread.active().settings.timeouts.keep_alive), false);
            } else {
                if self.phase != Phase::Header && self.requests > 0 {
                    self.deadline.arm(Some(thread.active().settings.timeouts.header));
                }
                self.phase = Phase::Header;
            }
            let mut scratch = thread.scratch.borrow_mut();
            let read = match self.poll_read(cx, &mut scratch) {
                Poll::Ready(read) => read,
                Poll::Pending => {
                    drop(scratch);
                    if self.input.is_empty() && self.out.is_empty() {
                        thread.give_buffer(std::mem::take(&mut self.out));
                    }
                    ready!(self.deadline.poll(cx));
                    return Poll::Ready(Some(self.head_timed_out()));
                }
            };
            let Ok(n @ 1..) = read else { return Poll::Ready(Some(Step::Abort)) };
            if self.input.is_empty() {
                // The common case: a whole head in one read is never copied.
                match self.begin(&scratch[..n]) {
                    Begin::Step(step, taken) => {
                        self.input.extend_from_slice(&scratch[taken..n]);
                        return Poll::Ready(Some(step));
                    }
                    Begin::Http2 => {
                        self.input.extend_from_slice(&scratch[..n]);
                        return Poll::Ready(None);
                    }
                    Begin::Partial => self.input.extend_from_slice(&scratch[..n]),
                }
            } else {
                self.input.extend_from_slice(&scratch[..n]);
                drop(scratch);
                if let Some(step) = self.begin_with_input() {
                    return Poll::Ready(step);
                }
            }
        }
    }

    /// Starts on what has been kept, if it holds a whole head. The inner `None` means HTTP/2.
    fn begin_with_input(&mut self) -> Option<Option<Step>> {
        let input = std::mem::take(&mut self.input);
        match self.begin(&input) {
            Begin::Step(step, taken) => {
                self.keep_rest(input, taken);
                Some(Some(step))
            }
            Begin::Http2 => {
                self.input = input;
                Some(None)
            }
            Begin::Partial => {
                self.input = input;
                None
            }
        }
    }

    pub(super) fn keep_rest(&mut self, mut input: Vec<u8>, taken: usize) {
        input.drain(..taken);
        self.input = input;
        if self.input.is_empty() && self.input.capacity() > KEEP_CAPACITY {
            self.input = Vec::new();
        }
    }

    fn head_timed_out(&mut self) -> Step {
        if self.input.is_empty() {
            return Step::Abort;
        }
        let input = std::mem::take(&mut self.input);
        self.refuse(Fault::new(Code::HeaderTimeout, ""), &input)
    }

    /// Reads a head from `bytes` and starts on it. Says how many bytes it took.
    fn begin(&mut self, bytes: &[u8]) -> Begin {
        if self.requests == 0 && bytes[0] == b'P' {
            if bytes.starts_with(PREFACE) {
                return Begin::Http2;
            }
            if PREFACE.starts_with(bytes) {
                return Begin::Partial;
            }
        }
        let active = self.thread.active();
        match parse(bytes, active.head_limits) {
            Parsed::Partial => Begin::Partial,
            Parsed::Refused(fault) => {
                self.requests += 1;
                Begin::Step(self.refuse(fault, bytes), bytes.len())
            }
            Parsed::Complete { head, length, keep_alive } => {
                self.requests += 1;
                let most = active.settings.limits.requests_per_connection_max;
                self.keep_alive = keep_alive && !self.thread.draining() && most.is_none_or(|most| self.requests < most);
                let (step, taken) = self.start(&head, &bytes[length..]);
                Begin::Step(step, length + taken)
            }
        }
    }

    /// Starts on a request; `rest` is what has arrived after its head. Says how many bytes of it it took.
    fn start(&mut self, head: &Head<'_>, rest: &[u8]) -> (Step, usize) {
        let (inline, complete) = match head.body {
            BodyLength::Empty => (&rest[..0], true),
            BodyLength::Known(n) => {
                let inline = &rest[..rest.len().min(INLINE_BODY_MAX).min(usize::try_from(n).unwrap_or(usize::MAX))];
                (inline, inline.len() as u64 == n)
            }
            BodyLength::Unknown => (&rest[..0], false),
        };
        if self.out.capacity() == 0 {
            self.out = self.thread.take_buffer();
        }
        let frame = self.thread.take_buffer();
        let (plan, id) = plan(&self.thread, &mut self.peer, head, inline, complete, frame);
        let step = match plan {
            Plan::Service(request) => {
                let body = match head.body {
                    _ if complete => RequestBody::Done,
                    BodyLength::Known(n) => RequestBody::Length(n - inline.len() as u64),
                    _ => RequestBody::Chunked(Box::new(Chunked::new(self.thread.active().settings.limits.header_bytes_max))),
                };
                Step::Next(State::Exchange(Box::new(Exchange {
                    request: *request,
                    body,
                    body_bytes: inline.len() as u64,
                    expect_continue: head.expect_continue && rest.is_empty(),
                    accepts_trailers: head
                        .get("te")
                        .is_some_and(|te| list_members(te).any(|member| member.eq_ignore_ascii_case(b"trailers"))),
                    is_head: head.method == b"HEAD",
                    version: head.version,
                    sent: false,
                    response: ResponseBody::NotBegun,
                    unreported: 0,
                    left: None,
                    encoder: None,
                    status: CLIENT_CLOSED,
                    body_sent: 0,
                })))
            }
            Plan::Reply(reply) => {
                self.keep_alive &= complete;
                self.put_reply(&reply, head.version, head.method == b"HEAD");
                record_head(&self.thread, &self.peer, head, id.as_str(), reply.status, reply.body.len() as u64);
                Step::Next(State::Flush { then: self.after(complete) })
            }
            Plan::Static(route, response) => {
                self.keep_alive &= complete;
                let status = response.status;
                let (bytes, body) = self.put_static(response, &route, head.version);
                record_head(&self.thread, &self.peer, head, id.as_str(), status, bytes);
                let then = self.after(complete);
                Step::Next(match body {
                    None => State::Flush { then },
                    Some(body) => State::File(Box::new((body, then))),
                })
            }
            Plan::Lookup(lookup) => {
                self.keep_alive &= complete;
                Step::Next(State::Lookup(lookup, self.after(complete)))
            }
        };
        (step, inline.len())
    }

    pub(super) fn after(&self, request_read: bool) -> After {
        if !request_read {
            After::Linger
        } else if self.keep_alive {
            After::NextRequest
        } else {
            After::Close
        }
    }

    /// Answers what is not a readable request, and closes; `bytes` is what has been read of it.
    fn refuse(&mut self, fault: Fault, bytes: &[u8]) -> Step {
        let id = self.thread.next_request_id();
        tracing::debug!(target: "bireme::request", request_id = id.as_str(), client = self.peer.forwarded.address(), "{fault}");
        self.keep_alive = false;
        let reply = Reply::fault(fault, accept_line(bytes), id.as_str());
        record_head(&self.thread, &self.peer, &Head::unread(), id.as_str(), reply.status, reply.body.len() as u64);
        self.put_reply(&reply, 11, false);
        Step::Next(State::Flush { then: After::Linger })
    }
}
