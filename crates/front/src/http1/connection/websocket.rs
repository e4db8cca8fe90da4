//! A connection that has become a WebSocket which the front speaks.

use std::task::{Context, Poll};
use std::time::Duration;

use super::{After, Connection, Exchange, Io, Phase, State, Step, put_informational};
use crate::thread::SCRATCH;
use crate::wait::Wait;
use crate::websocket::{Fed, Over, Socket, Survival, accept, accept_value};

/// Reads of one socket before other tasks of the thread get their turn.
const READS_PER_TURN: usize = 8;

impl<I: Io> Connection<I> {
    /// The worker accepts: answers the handshake (RFC 6455 §4.2.2).
    pub(super) fn on_websocket(&mut self, x: &mut Exchange, payload: &[u8]) -> Option<Step> {
        let active = self.thread.active();
        let settings = &active.settings.websocket;
        let route = x.request.route.clone();
        let accepted = match accept(&x.request, payload, &route, settings.compression) {
            Ok(accepted) => accepted,
            Err(fault) => return self.break_off(x, fault),
        };
        let key = accept_value(&x.request);
        let extensions = accepted.agreed.map(|agreed| agreed.to_string());
        let survival = Survival::of(&self.thread, &x.request, accepted.subprotocol());
        let stream = x.request.upstream.take_stream()?;
        let ours: [(&[u8], &[u8]); 3] =
            [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", key.as_bytes())];
        let extensions = extensions.as_ref().map(|value| (&b"sec-websocket-extensions"[..], value.as_bytes()));
        let server = active.settings.server_header.as_ref().map(|value| (&b"server"[..], value.as_bytes()));
        let fields = ours.into_iter().chain(extensions).chain(accepted.fields.iter().copied()).chain(server);
        put_informational(&mut self.out, 101, fields);
        x.status = 101;
        let socket = Socket::new(stream, settings, accepted.agreed, &active.websocket_pool, survival);
        Some(Step::Next(State::WebSocket(Box::new(socket))))
    }

    pub(super) fn poll_websocket(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Step> {
        let thread = self.thread.clone();
        if self.out.capacity() == 0 {
            self.out = thread.take_buffer();
        }
        let mut reads = 0;
        loop {
            let mut progress = socket.poll_worker(cx, &thread.topics, &mut self.out);
            progress |= socket.drain(thread.draining(), &mut self.out);
            match self.poll_write_out(cx) {
                Poll::Ready(Ok(wrote)) => {
                    progress |= wrote;
                    socket.flushed();
                }
                Poll::Ready(Err(_)) => {
                    socket.client_gone();
                    return Poll::Ready(Step::Abort);
                }
                Poll::Pending => {}
            }
            match socket.over() {
                None => {}
                Some(Over::Clean) => return Poll::Ready(Step::Next(State::Flush { then: After::Close })),
                Some(Over::Broken) => return Poll::Ready(Step::Next(State::Flush { then: After::Linger })),
                Some(Over::Cut) => return Poll::Ready(Step::Abort),
            }
            if reads < READS_PER_TURN {
                reads += 1;
                progress |= self.poll_websocket_read(cx, socket);
            } else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Before the deadline is armed, which puts it off.
            if progress || socket.on_time(&mut self.out) {
                self.phase = Phase::Unbounded;
                continue;
            }
            self.arm_websocket(socket);
            if self.deadline.poll(cx).is_pending() {
                if self.out.is_empty() {
                    thread.give_buffer(std::mem::take(&mut self.out));
                }
                return Poll::Pending;
            }
            if self.phase == Phase::Exchange(Wait::ClientWrite) {
                tracing::debug!(client = self.peer.forwarded.address(), "a WebSocket's client takes nothing of what is sent");
                socket.client_gone();
                return Poll::Ready(Step::Abort);
            }
        }
    }

    /// Hands on what the client has sent, as far as the worker and the client's own buffer allow. Says whether anything
    /// happened.
    fn poll_websocket_read(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> bool {
        let thread = self.thread.clone();
        if !self.input.is_empty() {
            let mut input = std::mem::take(&mut self.input);
            let (taken, fed) = socket.feed(&thread.workshop, &mut input, &mut self.out);
            self.keep_rest(input, taken);
            match fed {
                Fed::More if taken > 0 || socket.over().is_some() => return true,
                Fed::More => {}
                Fed::Blocked => return socket.poll_room(cx).is_ready() || taken > 0,
                // The client's taking what is written wakes us.
                Fed::Full => return taken > 0,
            }
        }
        let mut scratch = thread.scratch.borrow_mut();
        // No more than the beginning of a frame, or it would have been taken.
        let kept = self.input.len().min(SCRATCH / 2);
        scratch[..kept].copy_from_slice(&self.input[..kept]);
        let n = match self.poll_read(cx, &mut scratch[kept..]) {
            Poll::Pending => return false,
            Poll::Ready(Ok(n @ 1..)) => n,
            Poll::Ready(_) => {
                socket.client_gone();
                return true;
            }
        };
        self.input.clear();
        socket.heard();
        let (taken, _) = socket.feed(&thread.workshop, &mut scratch[..kept + n], &mut self.out);
        self.input.extend_from_slice(&scratch[taken..kept + n]);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        true
    }

    fn arm_websocket(&mut self, socket: &Socket) {
        let (phase, wait) = if self.written < self.out.len() {
            (Phase::Exchange(Wait::ClientWrite), Some(self.thread.active().settings.timeouts.client_write_idle))
        } else {
            (Phase::WebSocket, socket.wait())
        };
        // A deadline of zero would be swept at once and for ever; one tick is the least.
        self.enter(phase, wait.map(|wait| wait.max(Duration::from_millis(1))), phase == Phase::WebSocket);
    }
}
