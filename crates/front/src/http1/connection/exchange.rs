//! A request that is with a service: its body on the way there, its response on the way back.

use std::task::{Context, Poll};

use link::Incoming;
use wire::ResetCode;

use super::{Connection, DISCARD_BYTES_MAX, Exchange, Io, OUT_HIGH, Phase, RequestBody, ResponseBody, State, Step, Tunnel};
use crate::dispatch::Reply;
use crate::fault::{Code, Fault};
use crate::head::{is_forbidden_trailer, is_hop_by_hop, is_token};
use crate::http1::chunked::Chunked;
use crate::http1::response::{Framing, Line, put_chunk, put_head, put_informational, put_last_chunk};
use crate::pool::Unavailable;
use crate::response::{announced_left, encode, prepare};
use crate::upstream::Event;
use crate::wait::{Standing, Wait};

impl<I: Io> Connection<I> {
    pub(super) fn poll_exchange(&mut self, cx: &mut Context<'_>, x: &mut Exchange) -> Poll<Step> {
        loop {
            let mut progress = false;
            while x.response != ResponseBody::Done && self.out.len() - self.written < OUT_HIGH {
                let Poll::Ready(event) = x.request.upstream.poll_event(cx) else { break };
                progress |= !matches!(event, Event::Sent);
                if let Some(step) = self.on_event(x, event) {
                    return Poll::Ready(step);
                }
            }
            match self.poll_write_out(cx) {
                Poll::Ready(Ok(wrote)) => {
                    progress |= wrote;
                    if x.unreported > 0
                        && let Some(stream) = x.request.upstream.stream()
                    {
                        stream.consumed(std::mem::take(&mut x.unreported));
                    }
                    if x.response == ResponseBody::Done {
                        let read = matches!(x.body, RequestBody::Done);
                        let wanted = x.request.upstream.stream().is_some_and(|stream| !stream.local_ended());
                        if !read && !wanted && self.keep_alive {
                            let body = std::mem::replace(&mut x.body, RequestBody::Done);
                            return Poll::Ready(Step::Next(State::Discard { body, left: DISCARD_BYTES_MAX }));
                        }
                        if read || !wanted {
                            return Poll::Ready(Step::Next(State::Flush { then: self.after(read) }));
                        }
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(self.client_gone(x)),
                Poll::Pending => {}
            }
            match self.poll_request_body(cx, x) {
                Ok(more) => progress |= more,
                Err(step) => return Poll::Ready(step),
            }
            if progress {
                self.phase = Phase::Unbounded;
                continue;
            }
            self.arm_exchange(x);
            return match self.deadline.poll(cx) {
                Poll::Ready(()) => Poll::Ready(self.exchange_timed_out(x)),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    pub(super) fn on_event(&mut self, x: &mut Exchange, event: Event) -> Option<Step> {
        match event {
            Event::Sent => {
                x.sent = true;
                if std::mem::take(&mut x.expect_continue) {
                    put_informational(&mut self.out, 100, std::iter::empty());
                }
                None
            }
            Event::Lost => {
                let worker = x.request.worker();
                self.fail(x, Fault::new(Code::WorkerDied, worker))
            }
            Event::Unavailable(Unavailable::QueueFull) => {
                let fault = Fault::new(Code::QueueFull, x.request.service());
                self.fail(x, fault)
            }
            Event::Unavailable(Unavailable::Failing) => {
                let fault = Fault::new(Code::ServiceFailing, x.request.failing());
                self.fail(x, fault)
            }
            Event::Worker(incoming) => self.on_incoming(x, incoming),
        }
    }

    pub(super) fn on_incoming(&mut self, x: &mut Exchange, incoming: Incoming) -> Option<Step> {
        match incoming {
            Incoming::Informational { status, payload } => {
                let Ok(fields) = wire::field_list(wire::Kind::Informational, &payload) else { return None };
                let valid = fields.iter().all(|(name, value)| is_token(name) && crate::head::is_field_value(value));
                if x.version >= 11 && valid {
                    put_informational(&mut self.out, status, fields.iter().filter(|(name, _)| !is_hop_by_hop(name)));
                }
                None
            }
            Incoming::Response { status, payload, end } => self.on_response(x, status, &payload, end),
            Incoming::Data { bytes, end } => self.on_data(x, &bytes, end),
            Incoming::Trailers { payload } => {
                if x.response == ResponseBody::Chunked
                    && x.accepts_trailers
                    && let Ok(fields) = wire::field_list(wire::Kind::Trailers, &payload)
                {
                    let sound = |(name, value): &(&[u8], &[u8])| {
                        is_token(name) && crate::head::is_field_value(value) && !is_forbidden_trailer(name)
                    };
                    put_last_chunk(&mut self.out, fields.iter().filter(sound));
                    x.response = ResponseBody::Done;
                    return None;
                }
                self.on_data(x, b"", true)
            }
            Incoming::Tunnel { bytes, end } => {
                let stream = x.request.upstream.take_stream()?;
                self.out.extend_from_slice(&bytes);
                x.status = 101;
                Some(Step::Next(State::Tunnel(Box::new(Tunnel {
                    stream,
                    client_done: false,
                    worker_done: end,
                    unreported: bytes.len(),
                }))))
            }
            Incoming::WsAccept { payload } => self.on_websocket(x, &payload),
            Incoming::Reset { code, text } => {
                let fault = Fault::new(code.into(), format!("{}: {text}", x.request.worker()));
                self.fail(x, fault)
            }
            // The link lets messages through only after WsAccept, which has taken the stream away; Upstream reads files.
            Incoming::WsMessage { .. } | Incoming::WsClose { .. } | Incoming::File { .. } => {
                let worker = x.request.worker();
                self.break_off(x, Fault::new(Code::WorkerBrokeProtocol, worker))
            }
            Incoming::Lost { .. } => {
                let worker = x.request.worker();
                self.fail(x, Fault::new(Code::WorkerDied, worker))
            }
        }
    }

    pub(super) fn on_response(&mut self, x: &mut Exchange, status: u16, payload: &[u8], end: bool) -> Option<Step> {
        let route = x.request.route.clone();
        let active = self.thread.active();
        let mut etag = Vec::new();
        let prepared = prepare(&active.compressor, &x.request, &route, x.is_head, (status, payload, end), &mut etag);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return self.break_off(x, fault),
        };
        let framing = match prepared.length {
            length if !prepared.has_body => Framing::Empty(length),
            Some(length) => Framing::Length(length),
            None if x.version == 10 => Framing::Close,
            None => Framing::Chunked,
        };
        // A whole answer ahead of the request's end: the application may leave the rest unread. A connection that would
        // be closed for that says so (RFC 9112 §9.6).
        let too_much = end && !x.body.is_soon_read();
        self.keep_alive &= !prepared.close && !too_much && framing != Framing::Close;
        let line = Line {
            version: x.version,
            status,
            reason: prepared.reason,
            keep_alive: self.keep_alive,
            add_date: prepared.add_date,
            server: active.settings.server_header.as_deref(),
        };
        put_head(&mut self.out, line, prepared.fields.iter().copied(), framing);
        x.status = status;
        x.left = prepared.left;
        x.encoder = prepared.encoder;
        x.response = match framing {
            Framing::Empty(_) => ResponseBody::Empty,
            Framing::Length(_) => ResponseBody::Plain,
            Framing::Chunked => ResponseBody::Chunked,
            Framing::Close => ResponseBody::Plain,
        };
        x.unreported += prepared.arrived;
        self.put_body(x, &prepared.body, end);
        None
    }

    /// Body bytes of the response; what is more or less than announced ends the exchange.
    pub(super) fn on_data(&mut self, x: &mut Exchange, bytes: &[u8], end: bool) -> Option<Step> {
        x.unreported += bytes.len();
        if matches!(x.response, ResponseBody::NotBegun | ResponseBody::Done) {
            return None;
        }
        if x.response == ResponseBody::Empty {
            return self.put_body(x, b"", end);
        }
        match announced_left(x.left, bytes.len() as u64, end) {
            Ok(left) => x.left = left,
            Err(fault) => return self.break_off(x, fault),
        }
        match encode(&mut x.encoder, bytes, end) {
            Ok(bytes) => self.put_body(x, &bytes, end),
            Err(fault) => self.break_off(x, fault),
        }
    }

    /// Appends body bytes in the framing that the head announced.
    pub(super) fn put_body(&mut self, x: &mut Exchange, bytes: &[u8], end: bool) -> Option<Step> {
        x.body_sent += bytes.len() as u64;
        match x.response {
            ResponseBody::Plain => self.out.extend_from_slice(bytes),
            ResponseBody::Chunked => {
                put_chunk(&mut self.out, bytes);
                if end {
                    put_last_chunk(&mut self.out, std::iter::empty());
                }
            }
            ResponseBody::Empty | ResponseBody::NotBegun | ResponseBody::Done => {}
        }
        if end {
            x.response = ResponseBody::Done;
        }
        None
    }

    /// Ends the worker's stream because of what the application sent, and fails the exchange.
    pub(super) fn break_off(&mut self, x: &mut Exchange, fault: Fault) -> Option<Step> {
        let fault = Fault::new(fault.code, format!("{}: {}", x.request.worker(), fault.log));
        if let Some(stream) = x.request.upstream.stream() {
            stream.reset(ResetCode::Protocol, &fault.log);
        }
        self.fail(x, fault)
    }

    /// Answers with the fault's page if nothing of the response has been sent; cuts the connection if it has.
    pub(super) fn fail(&mut self, x: &mut Exchange, fault: Fault) -> Option<Step> {
        x.request.log(&fault);
        let begun = x.response != ResponseBody::NotBegun;
        if begun {
            // Elsewhere the missing end says it, and what has been sent still arrives.
            if x.version == 10 && x.left.is_none() {
                self.cut();
            }
            return Some(Step::Abort);
        }
        let read = matches!(x.body, RequestBody::Done);
        self.keep_alive &= read;
        let head = x.request.head();
        let accept = head.as_ref().and_then(|head| head.fields.get("accept"));
        let id = head.as_ref().map_or("", |head| std::str::from_utf8(head.request_id).unwrap_or(""));
        let reply = Reply::fault_of_app(fault, &self.thread, accept, id);
        self.put_reply(&reply, x.version, x.is_head);
        x.status = reply.status;
        x.body_sent = reply.body.len() as u64;
        Some(Step::Next(State::Flush { then: self.after(read) }))
    }

    pub(super) fn client_gone(&mut self, x: &mut Exchange) -> Step {
        x.request.log(&Code::ClientClosed.into());
        Step::Abort
    }

    /// Moves request body bytes to the worker as its credit allows, or watches for a client that leaves.
    /// Returns whether something moved.
    pub(super) fn poll_request_body(&mut self, cx: &mut Context<'_>, x: &mut Exchange) -> Result<bool, Step> {
        if matches!(x.body, RequestBody::Done) {
            return self.poll_watch(cx, x);
        }
        let Some(stream) = x.request.upstream.stream() else { return Ok(false) };
        if stream.local_ended() {
            // The worker wants no more; what is left of the body is dropped when the response is out.
            return Ok(false);
        }
        let Poll::Ready(credit) = stream.poll_send_credit(cx) else { return Ok(false) };
        let thread = self.thread.clone();
        let mut scratch = thread.scratch.borrow_mut();
        let most = match &x.body {
            RequestBody::Length(left) => credit.min(usize::try_from(*left).unwrap_or(usize::MAX)),
            _ => credit,
        };
        let room = most.min(scratch.len());
        let n = if self.input.is_empty() {
            match self.poll_read(cx, &mut scratch[..room]) {
                Poll::Ready(Ok(n @ 1..)) => n,
                Poll::Ready(_) => {
                    x.request.log(&Code::BodyIncomplete.into());
                    return Err(Step::Abort);
                }
                Poll::Pending => return Ok(false),
            }
        } else {
            let n = room.min(self.input.len());
            scratch[..n].copy_from_slice(&self.input[..n]);
            self.input.drain(..n);
            n
        };
        let bytes = &scratch[..n];
        match &mut x.body {
            RequestBody::Done => {}
            RequestBody::Length(left) => {
                *left -= n as u64;
                let end = *left == 0;
                x.request.upstream.send_data(bytes, end);
                if end {
                    x.body = RequestBody::Done;
                }
            }
            RequestBody::Chunked(decoder) => {
                let upstream = &mut x.request.upstream;
                let mut decoded = 0;
                let taken = decoder.decode(bytes, |data| {
                    decoded += data.len() as u64;
                    upstream.send_data(data, false);
                });
                x.body_bytes += decoded;
                let fault = match taken {
                    Err(bad) => Some(Fault::new(Code::BodyMalformed, bad.0)),
                    Ok(_) if x.request.body_bytes_max.is_some_and(|most| x.body_bytes > most) => Some(Code::BodyTooLarge.into()),
                    Ok(taken) => {
                        if decoder.is_done() {
                            end_chunked(upstream, decoder);
                            let mut rest = bytes[taken..].to_vec();
                            rest.append(&mut self.input);
                            self.input = rest;
                            x.body = RequestBody::Done;
                        }
                        None
                    }
                };
                if let Some(fault) = fault {
                    drop(scratch);
                    if let Some(stream) = x.request.upstream.stream() {
                        let code = if fault.code == Code::BodyTooLarge { ResetCode::TooLarge } else { ResetCode::Cancelled };
                        stream.reset(code, fault.client_message());
                    }
                    return Err(self.fail(x, fault).unwrap_or(Step::Abort));
                }
            }
        }
        Ok(true)
    }

    /// While only the response is awaited: notices a client that leaves, and keeps what it pipelines.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>, x: &mut Exchange) -> Result<bool, Step> {
        if x.response == ResponseBody::Done || self.input.len() >= self.thread.active().head_limits.header_bytes_max {
            return Ok(false);
        }
        let thread = self.thread.clone();
        let mut scratch = thread.scratch.borrow_mut();
        match self.poll_read(cx, &mut scratch) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(n @ 1..)) => {
                self.input.extend_from_slice(&scratch[..n]);
                Ok(true)
            }
            Poll::Ready(_) => Err(self.client_gone(x)),
        }
    }

    pub(super) fn arm_exchange(&mut self, x: &Exchange) {
        let standing = Standing {
            to_write: self.written < self.out.len(),
            begun: x.response != ResponseBody::NotBegun,
            body_done: matches!(x.body, RequestBody::Done),
        };
        let (wait, time) = Wait::of(&x.request, standing, &self.thread.active().settings.timeouts);
        self.enter(Phase::Exchange(wait), time, false);
    }

    pub(super) fn exchange_timed_out(&mut self, x: &mut Exchange) -> Step {
        // No other phase is entered while a request is with a service.
        let wait = if let Phase::Exchange(wait) = self.phase { wait } else { Wait::Response };
        let (code, reset) = wait.in_vain();
        if let Some(stream) = x.request.upstream.stream() {
            stream.reset(reset, code.client_message());
        }
        let fault = Fault::new(code, x.request.worker());
        if code == Code::ClientStalled {
            self.cut();
            x.request.log(&fault);
            return Step::Abort;
        }
        self.fail(x, fault).unwrap_or(Step::Abort)
    }

    /// Writes the access log, and keeps the frame's memory for the next request.
    pub(super) fn finish(&mut self, x: Exchange) {
        x.request.record(&self.thread, x.status, x.body_sent);
        self.thread.give_buffer(x.request.upstream.into_frame());
    }
}

/// Ends a chunked request body, with its trailers if they are sound.
fn end_chunked(upstream: &mut crate::upstream::Upstream, decoder: &Chunked) {
    let mut slots = [httparse::EMPTY_HEADER; 32];
    let mut section = decoder.trailers().to_vec();
    section.extend_from_slice(b"\r\n");
    let trailers = match httparse::parse_headers(&section, &mut slots) {
        Ok(httparse::Status::Complete((_, trailers))) => trailers,
        _ => &[],
    };
    if trailers.is_empty() {
        upstream.send_data(b"", true);
        return;
    }
    upstream.send_trailers(
        trailers.iter().map(|field| (field.name.as_bytes(), field.value)).filter(|(name, _)| !is_forbidden_trailer(name)),
    );
}
