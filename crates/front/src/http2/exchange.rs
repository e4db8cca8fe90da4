//! A request that is with a service: its body on the way there, its response on the way back.

use std::borrow::Cow;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue};
use link::Incoming;
use wire::ResetCode;

use super::head::{response_head, response_head_bare};
use super::reply::send_reply;
use super::websocket;
use crate::compress::Encoder;
use crate::deadline::Deadline;
use crate::dispatch::{Reply, Request};
use crate::fault::{Code, Fault};
use crate::head::{Field, is_forbidden_trailer};
use crate::pool::Unavailable;
use crate::response::{announced_left, encode, prepare};
use crate::thread::Thread;
use crate::upstream::Event;
use crate::wait::{Standing, Wait};

/// `SETTINGS_MAX_FRAME_SIZE` as it is by default (RFC 9113 §6.5.2).
const MAX_FRAME: usize = 16_384;

/// A request that is with a service.
pub(super) struct Exchange<'b> {
    pub(super) thread: Rc<Thread>,
    pub(super) request: Request,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) body: &'b mut RecvStream,
    pub(super) body_done: bool,
    pub(super) body_bytes: u64,
    pub(super) is_head: bool,
    /// The client waits for a 100 before it sends its body.
    pub(super) expect_continue: bool,
    /// The request asks for a WebSocket.
    pub(super) websocket: bool,
    pub(super) upgraded: Option<websocket::Upgraded>,
    /// The beginning of the application's own answer to an upgrade.
    pub(super) tunnel_head: Option<Vec<u8>>,
    pub(super) out: Option<SendStream<Bytes>>,
    /// Response bytes that wait for the client's window.
    pub(super) pending: Bytes,
    pub(super) pending_end: bool,
    pub(super) trailers: Option<http::HeaderMap>,
    /// Body bytes that the worker announced and has not sent yet.
    pub(super) left: Option<u64>,
    /// Body bytes from the worker for which no credit has been given back.
    pub(super) arrived: usize,
    pub(super) encoder: Option<Encoder>,
    pub(super) has_body: bool,
    /// What the access log says.
    pub(super) status: u16,
    pub(super) body_sent: u64,
    pub(super) begun: bool,
    pub(super) done: bool,
    pub(super) deadline: Deadline,
    pub(super) wait: Option<Wait>,
}

impl<'b> Exchange<'b> {
    /// An exchange that has not been sent to a worker.
    pub(super) fn new(
        thread: Rc<Thread>,
        request: Request,
        respond: SendResponse<Bytes>,
        body: &'b mut RecvStream,
        (is_head, expect_continue): (bool, bool),
    ) -> Exchange<'b> {
        // A WebSocket's bytes are no body: they wait until it is accepted.
        let websocket = request.head().is_some_and(|head| head.fields.get("upgrade").is_some());
        let body_done = websocket || body.is_end_stream();
        Exchange {
            deadline: thread.deadlines.register(),
            thread,
            request,
            respond,
            body,
            body_done,
            body_bytes: 0,
            is_head,
            expect_continue,
            websocket,
            upgraded: None,
            tunnel_head: None,
            out: None,
            pending: Bytes::new(),
            pending_end: false,
            trailers: None,
            left: None,
            arrived: 0,
            encoder: None,
            has_body: false,
            status: 499,
            body_sent: 0,
            begun: false,
            done: false,
            wait: None,
        }
    }
}

impl Exchange<'_> {
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        self.request.record(&self.thread, self.status, self.body_sent);
        if let (Some(upgraded), Some(out)) = (self.upgraded, self.out) {
            // Boxed, so that ordinary exchanges carry no room for it.
            Box::pin(websocket::run(upgraded, self.thread, out, self.body)).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut progress = false;
            if self.poll_client_reset(cx) {
                return Poll::Ready(());
            }
            progress |= self.poll_send(cx);
            if self.pending.is_empty()
                && self.arrived > 0
                && let Some(stream) = self.request.upstream.stream()
            {
                stream.consumed(std::mem::take(&mut self.arrived));
            }
            while !self.done && self.pending.is_empty() && !self.pending_end {
                let Poll::Ready(event) = self.request.upstream.poll_event(cx) else { break };
                progress |= !matches!(event, Event::Sent);
                self.on_event(event);
            }
            progress |= self.poll_request_body(cx);
            if self.done && self.pending.is_empty() && !self.pending_end {
                return Poll::Ready(());
            }
            if progress {
                self.wait = None;
                continue;
            }
            self.arm();
            ready!(self.deadline.poll(cx));
            // The sweep also wakes everyone when the thread drains; only a passed deadline gets here.
            self.timed_out();
        }
    }

    /// Whether the client has reset the stream, or the connection is gone.
    fn poll_client_reset(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.out {
            Some(out) => out.poll_reset(cx).is_ready(),
            None => self.respond.poll_reset(cx).is_ready(),
        }
    }

    /// Gives the client as much of what is pending as its window takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(out) = &mut self.out else { return false };
        let mut progress = false;
        while !self.pending.is_empty() {
            out.reserve_capacity(self.pending.len());
            let room = match out.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room.min(self.pending.len()),
                Poll::Ready(_) => {
                    self.pending.clear();
                    self.pending_end = false;
                    self.done = true;
                    return true;
                }
                Poll::Pending => return progress,
            };
            let last = room == self.pending.len() && self.pending_end && self.trailers.is_none();
            let sent = out.send_data(self.pending.split_to(room), last);
            self.body_sent += room as u64;
            self.pending_end &= !last;
            progress = true;
            if sent.is_err() {
                self.pending.clear();
                self.pending_end = false;
                self.done = true;
                return true;
            }
        }
        if self.pending_end {
            self.pending_end = false;
            let _ = match self.trailers.take() {
                Some(trailers) => out.send_trailers(trailers),
                None => out.send_data(Bytes::new(), true),
            };
            progress = true;
        }
        progress
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Sent => {
                if std::mem::take(&mut self.expect_continue)
                    && let Some(response) = response_head_bare(100, std::iter::empty())
                {
                    let _ = self.respond.send_informational(response);
                }
            }
            Event::Lost => self.fail(Fault::new(Code::WorkerDied, self.worker())),
            Event::Unavailable(Unavailable::QueueFull) => self.fail(Fault::new(Code::QueueFull, self.worker())),
            Event::Unavailable(Unavailable::Failing) => self.fail(Fault::new(Code::ServiceFailing, self.request.failing())),
            Event::Worker(incoming) => self.on_incoming(incoming),
        }
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Informational { status, payload } => {
                if let Ok(fields) = wire::field_list(wire::Kind::Informational, &payload)
                    && let Some(response) = response_head_bare(status, fields.iter())
                {
                    let _ = self.respond.send_informational(response);
                }
            }
            // The client would take it for a WebSocket (RFC 8441 §5).
            Incoming::Response { status: 200..=299, .. } if self.websocket => {
                self.break_off(Fault::new(Code::AppBrokeHttp, "it answers a WebSocket handshake with a plain response"));
            }
            Incoming::Response { status, payload, end } => self.on_response(status, &payload, end),
            Incoming::Data { bytes, end } if self.tunnel_head.is_some() => self.on_tunnel(&bytes, end),
            Incoming::Data { bytes, end } => self.on_data(bytes, end),
            Incoming::Trailers { payload } => {
                if let Ok(fields) = wire::field_list(wire::Kind::Trailers, &payload) {
                    let mut trailers = http::HeaderMap::new();
                    for (name, value) in fields.iter().filter(|(name, _)| !is_forbidden_trailer(name)) {
                        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                            trailers.append(name, value);
                        }
                    }
                    self.trailers = Some(trailers);
                }
                self.on_data(Bytes::new(), true);
            }
            Incoming::Reset { code, text } => {
                self.fail(Fault::new(code.into(), format!("{}: {text}", self.worker())));
            }
            Incoming::WsAccept { payload } => self.on_websocket(&payload),
            Incoming::Tunnel { bytes, end } => self.on_tunnel(&bytes, end),
            // The link lets messages through only after WsAccept, which has taken the stream away; Upstream reads files.
            Incoming::WsMessage { .. } | Incoming::WsClose { .. } | Incoming::File { .. } => {
                self.break_off(Fault::new(Code::WorkerBrokeProtocol, self.worker()));
            }
            Incoming::Lost { .. } => self.fail(Fault::new(Code::WorkerDied, self.worker())),
        }
    }

    fn on_response(&mut self, status: u16, payload: &Bytes, end: bool) {
        let route = self.request.route.clone();
        let active = self.thread.active();
        let mut etag = Vec::new();
        let prepared = prepare(&active.compressor, &self.request, &route, self.is_head, (status, payload, end), &mut etag);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return self.break_off(fault),
        };
        let fields = prepared.fields.iter().copied();
        let response = response_head(&self.thread, status, fields, prepared.length, prepared.add_date);
        let empty = !prepared.has_body || (end && prepared.body.is_empty());
        let Some(response) = response else { return };
        let Ok(stream) = self.respond.send_response(response, empty) else {
            self.done = true;
            return;
        };
        self.begun = true;
        self.status = status;
        self.out = Some(stream);
        self.has_body = prepared.has_body;
        self.left = prepared.left;
        self.encoder = prepared.encoder;
        if empty {
            self.done = end;
            return;
        }
        self.arrived = prepared.arrived;
        self.pending = match prepared.body {
            Cow::Borrowed(body) => payload.slice_ref(body),
            Cow::Owned(body) => body.into(),
        };
        self.pending_end = end;
        self.done = end;
    }

    fn on_data(&mut self, bytes: Bytes, end: bool) {
        self.arrived += bytes.len();
        if !self.has_body {
            self.done |= end;
            return;
        }
        match announced_left(self.left, bytes.len() as u64, end) {
            Ok(left) => self.left = left,
            Err(fault) => return self.break_off(fault),
        }
        self.pending = match encode(&mut self.encoder, &bytes, end) {
            Ok(Cow::Borrowed(_)) => bytes,
            Ok(Cow::Owned(encoded)) => encoded.into(),
            Err(fault) => return self.break_off(fault),
        };
        self.pending_end = end;
        self.done |= end;
    }

    pub(super) fn break_off(&mut self, fault: Fault) {
        let fault = Fault::new(fault.code, format!("{}: {}", self.worker(), fault.log));
        if let Some(stream) = self.request.upstream.stream() {
            stream.reset(ResetCode::Protocol, &fault.log);
        }
        self.fail(fault);
    }

    /// Answers with the fault's page, or resets the stream if the response has begun.
    fn fail(&mut self, fault: Fault) {
        self.done = true;
        self.pending.clear();
        self.pending_end = false;
        self.request.log(&fault);
        if self.begun {
            if let Some(out) = &mut self.out {
                out.send_reset(Reason::INTERNAL_ERROR);
            }
            return;
        }
        self.begun = true;
        let head = self.request.head();
        let accept = head.as_ref().and_then(|head| head.fields.get("accept"));
        let id = head.as_ref().map_or("", |head| std::str::from_utf8(head.request_id).unwrap_or(""));
        let reply = Reply::fault_of_app(fault, &self.thread, accept, id);
        send_reply(&self.thread, &mut self.respond, &reply, self.is_head);
        self.status = reply.status;
        self.body_sent = reply.body.len() as u64;
    }

    fn worker(&self) -> String {
        self.request.worker()
    }

    /// Moves request body bytes to the worker as its credit allows.
    fn poll_request_body(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while !self.body_done {
            let Some(stream) = self.request.upstream.stream() else { return progress };
            if stream.local_ended() {
                return progress;
            }
            // One DATA frame is at most 16 KiB here, as our SETTINGS say.
            if stream.send_credit() < MAX_FRAME {
                let Poll::Ready(credit) = stream.poll_send_credit(cx) else { return progress };
                if credit < MAX_FRAME {
                    return progress;
                }
            }
            match self.body.poll_data(cx) {
                Poll::Pending => return progress,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.body_bytes += bytes.len() as u64;
                    let _ = self.body.flow_control().release_capacity(bytes.len());
                    self.request.upstream.send_data(&bytes, false);
                    progress = true;
                    if self.request.body_bytes_max.is_some_and(|most| self.body_bytes > most) {
                        if let Some(stream) = self.request.upstream.stream() {
                            stream.reset(ResetCode::TooLarge, "");
                        }
                        self.body_done = true;
                        self.fail(Code::BodyTooLarge.into());
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    if let Some(stream) = self.request.upstream.stream() {
                        stream.reset(ResetCode::Cancelled, "");
                    }
                    self.body_done = true;
                    self.done = true;
                    return true;
                }
                Poll::Ready(None) => {
                    let Poll::Ready(trailers) = self.body.poll_trailers(cx) else { return progress };
                    self.body_done = true;
                    progress = true;
                    match trailers {
                        Ok(Some(trailers)) => {
                            let fields = trailers.iter().map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes()));
                            let fields: Vec<Field<'_>> = fields.filter(|(name, _)| !is_forbidden_trailer(name)).collect();
                            self.request.upstream.send_trailers(fields.iter().copied());
                        }
                        _ => self.request.upstream.send_data(&[], true),
                    }
                }
            }
        }
        progress
    }

    fn arm(&mut self) {
        let standing = Standing { to_write: !self.pending.is_empty(), begun: self.begun, body_done: self.body_done };
        let (wait, time) = Wait::of(&self.request, standing, &self.thread.active().settings.timeouts);
        if self.wait != Some(wait) {
            self.wait = Some(wait);
            self.deadline.arm(time);
        }
    }

    fn timed_out(&mut self) {
        let Some((code, reset)) = self.wait.map(Wait::in_vain) else { return };
        if let Some(stream) = self.request.upstream.stream() {
            stream.reset(reset, code.client_message());
        }
        self.deadline.arm(None);
        self.fail(Fault::new(code, self.worker()));
    }
}
