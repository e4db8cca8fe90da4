//! WebSockets over HTTP/2 (RFC 8441): those that the front speaks, and those that an application speaks itself, whose
//! HTTP/1.1 answer is put into HTTP/2's words.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderName;
use link::{Incoming, Stream};

use super::head::response_head;
use super::{Exchange, SEND_BUFFER};
use crate::deadline::Deadline;
use crate::fault::{Code, Fault};
use crate::head::is_hop_by_hop;
use crate::thread::Thread;
use crate::websocket::{Fed, Over, Socket, Survival, accept};

/// Longest head of an application's own answer to an upgrade, in bytes.
const HEAD_MAX: usize = 64 * 1024;
const HEAD_FIELDS_MAX: usize = 100;
/// Bytes of a client that wait for their worker: no window is given back for them.
const INPUT_HIGH: usize = 64 * 1024;

/// What an extended CONNECT has become.
pub(super) enum Upgraded {
    /// The front speaks WebSocket.
    Socket(Box<Socket>),
    /// The worker does.
    Tunnel(Stream),
}

impl Exchange<'_> {
    /// The worker accepts.
    pub(super) fn on_websocket(&mut self, payload: &[u8]) {
        let active = self.thread.active();
        let settings = &active.settings.websocket;
        let route = self.request.route.clone();
        let accepted = match accept(&self.request, payload, &route, settings.compression) {
            Ok(accepted) => accepted,
            Err(fault) => return self.break_off(fault),
        };
        let extensions = accepted.agreed.map(|agreed| agreed.to_string());
        let extensions = extensions.as_ref().map(|value| (&b"sec-websocket-extensions"[..], value.as_bytes()));
        let fields = accepted.fields.iter().copied().chain(extensions);
        let Some(response) = response_head(&self.thread, 200, fields, None, false) else { return };
        self.done = true;
        let Ok(out) = self.respond.send_response(response, false) else { return };
        let survival = Survival::of(&self.thread, &self.request, accepted.subprotocol());
        let Some(stream) = self.request.upstream.take_stream() else { return };
        self.out = Some(out);
        self.begun = true;
        self.status = 200;
        let socket = Socket::new(stream, settings, accepted.agreed, &active.websocket_pool, survival);
        self.upgraded = Some(Upgraded::Socket(Box::new(socket)));
    }

    /// The worker speaks WebSocket itself: reads its answer's head, of which more may still be to come.
    pub(super) fn on_tunnel(&mut self, bytes: &[u8], end: bool) {
        let mut raw = self.tunnel_head.take().unwrap_or_default();
        raw.extend_from_slice(bytes);
        let mut slots = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
        let mut head = httparse::Response::new(&mut slots);
        let length = match head.parse(&raw) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if raw.len() < HEAD_MAX && !end => {
                self.tunnel_head = Some(raw);
                return;
            }
            _ => return self.break_off(Fault::new(Code::AppBrokeHttp, "its answer to an upgrade is no HTTP/1.1 response")),
        };
        let switched = head.code == Some(101);
        let status = if switched { 200 } else { head.code.unwrap_or(502) };
        // 2xx to a CONNECT would mean a WebSocket, and a chunked body would have to be decoded.
        let chunked = head.headers.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
        if !switched && ((200..300).contains(&status) || status < 200 || chunked) {
            let what = format!("it answers a WebSocket handshake over HTTP/2 with status {status} of its own");
            return self.break_off(Fault::new(Code::AppBrokeHttp, what));
        }
        let fields = head.headers.iter().map(|field| (field.name.as_bytes(), field.value)).filter(|(name, _)| {
            HeaderName::from_bytes(name).is_ok() && !is_hop_by_hop(name) && !name.eq_ignore_ascii_case(b"sec-websocket-accept")
        });
        let Some(response) = response_head(&self.thread, status, fields, None, false) else { return };
        let rest = Bytes::copy_from_slice(&raw[length..]);
        let Ok(out) = self.respond.send_response(response, false) else {
            self.done = true;
            return;
        };
        if let Some(stream) = self.request.upstream.stream() {
            stream.consumed(raw.len());
        }
        self.out = Some(out);
        self.begun = true;
        self.status = status;
        self.pending = rest;
        self.has_body = true;
        if !end {
            self.upgraded = self.request.upstream.take_stream().map(Upgraded::Tunnel);
        }
        self.pending_end = end;
        self.done = true;
    }
}

/// Moves bytes between a client's stream and what it has become, until one of them ends.
pub(super) async fn run(upgraded: Upgraded, thread: Rc<Thread>, out: SendStream<Bytes>, body: &mut RecvStream) {
    let deadline = thread.deadlines.register();
    let mut pipe =
        Pipe { thread, out, body, body_done: false, output: Vec::new(), written: 0, input: Vec::new(), deadline, stalled: false };
    match upgraded {
        Upgraded::Socket(mut socket) => std::future::poll_fn(|cx| pipe.poll_socket(cx, &mut socket)).await,
        Upgraded::Tunnel(stream) => {
            let mut unreported = 0;
            std::future::poll_fn(|cx| pipe.poll_tunnel(cx, &stream, &mut unreported)).await;
        }
    }
}

struct Pipe<'b> {
    thread: Rc<Thread>,
    out: SendStream<Bytes>,
    body: &'b mut RecvStream,
    body_done: bool,
    /// For the client; what stands before `written` has been given to `h2`.
    output: Vec<u8>,
    written: usize,
    /// From the client.
    input: Vec<u8>,
    deadline: Deadline,
    /// The deadline stands for a client that takes nothing.
    stalled: bool,
}

impl Pipe<'_> {
    fn poll_socket(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<()> {
        loop {
            if self.out.poll_reset(cx).is_ready() {
                socket.client_gone();
                return Poll::Ready(());
            }
            let mut progress = socket.poll_worker(cx, &self.thread.topics, &mut self.output);
            progress |= socket.drain(self.thread.draining(), &mut self.output);
            match self.poll_write(cx) {
                Ok(wrote) => progress |= wrote,
                Err(()) => {
                    socket.client_gone();
                    return Poll::Ready(());
                }
            }
            if self.output.is_empty() {
                socket.flushed();
            }
            match socket.over() {
                Some(Over::Cut) => {
                    self.out.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                }
                Some(_) if self.output.is_empty() => {
                    let _ = self.out.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
                Some(_) => {}
                None => progress |= self.poll_socket_read(cx, socket),
            }
            // Before the deadline is armed, which puts it off.
            if progress || socket.on_time(&mut self.output) {
                self.stalled = false;
                continue;
            }
            let stalled = self.written < self.output.len();
            if !stalled {
                self.deadline.arm(socket.wait().map(|wait| wait.max(Duration::from_millis(1))));
            } else if !self.stalled {
                self.deadline.arm(Some(self.thread.active().settings.timeouts.client_write_idle));
            }
            self.stalled = stalled;
            ready!(self.deadline.poll(cx));
            if stalled {
                socket.client_gone();
            }
        }
    }

    fn poll_socket_read(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> bool {
        let mut progress = false;
        if !self.input.is_empty() {
            let (taken, fed) = socket.feed(&self.thread.workshop, &mut self.input, &mut self.output);
            self.input.drain(..taken);
            progress = taken > 0 || socket.over().is_some();
            match fed {
                Fed::Blocked => return socket.poll_room(cx).is_ready() || progress,
                Fed::Full => return progress,
                Fed::More => {}
            }
        }
        if progress || self.input.len() >= INPUT_HIGH {
            return progress;
        }
        match self.body.poll_data(cx) {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(bytes))) => {
                socket.heard();
                self.input.extend_from_slice(&bytes);
                let _ = self.body.flow_control().release_capacity(bytes.len());
                true
            }
            // RFC 8441 §5: the end of the stream is the end of the connection.
            Poll::Ready(_) => {
                socket.client_gone();
                true
            }
        }
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, stream: &Stream, unreported: &mut usize) -> Poll<()> {
        let mut worker_done = false;
        loop {
            if self.out.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut progress = false;
            while !worker_done && self.output.len() < SEND_BUFFER {
                let Poll::Ready(incoming) = stream.poll_incoming(cx) else { break };
                progress = true;
                match incoming {
                    Incoming::Data { bytes, end } => {
                        self.output.extend_from_slice(&bytes);
                        *unreported += bytes.len();
                        worker_done = end;
                    }
                    _ => worker_done = true,
                }
            }
            match self.poll_write(cx) {
                Ok(wrote) => progress |= wrote,
                Err(()) => return Poll::Ready(()),
            }
            if self.output.is_empty() {
                stream.consumed(std::mem::take(unreported));
                if worker_done {
                    let _ = self.out.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            }
            progress |= self.poll_tunnel_read(cx, stream);
            if !progress {
                // Registers for nothing but the drain.
                let _ = self.deadline.poll(cx);
                if self.thread.draining() {
                    self.out.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
    }

    fn poll_tunnel_read(&mut self, cx: &mut Context<'_>, stream: &Stream) -> bool {
        let mut progress = false;
        while !self.input.is_empty() {
            let Poll::Ready(credit) = stream.poll_send_credit(cx) else { return progress };
            let n = credit.min(self.input.len());
            stream.send_data(&self.input[..n], false);
            self.input.drain(..n);
            progress = true;
        }
        if self.body_done {
            return progress;
        }
        match self.body.poll_data(cx) {
            Poll::Pending => progress,
            Poll::Ready(Some(Ok(bytes))) => {
                self.input.extend_from_slice(&bytes);
                let _ = self.body.flow_control().release_capacity(bytes.len());
                true
            }
            Poll::Ready(_) => {
                stream.send_data(&[], true);
                self.body_done = true;
                true
            }
        }
    }

    /// Gives the client as much as its window takes. Says whether that was anything.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        let mut wrote = false;
        while self.written < self.output.len() {
            let left = self.output.len() - self.written;
            self.out.reserve_capacity(left.min(SEND_BUFFER));
            let room = match self.out.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room.min(left),
                Poll::Ready(_) => return Err(()),
                Poll::Pending => return Ok(wrote),
            };
            let piece = Bytes::copy_from_slice(&self.output[self.written..self.written + room]);
            self.out.send_data(piece, false).map_err(drop)?;
            self.written += room;
            wrote = true;
        }
        if self.written > 0 {
            self.written = 0;
            // Nothing is kept for a socket that is quiet.
            self.output = Vec::new();
        }
        Ok(wrote)
    }
}
