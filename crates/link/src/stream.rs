//! One request on a link, seen from the front.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wire::{INITIAL_CREDIT, ResetCode};

use crate::connection::Link;

/// What the worker said on a stream.
#[derive(Debug)]
pub enum Incoming {
    /// A 1xx response; the payload is a field list.
    Informational {
        /// 100–199.
        status: u16,
        /// For [`wire::field_list`], which has already accepted it.
        payload: Bytes,
    },
    /// The final response.
    Response {
        /// 200–599.
        status: u16,
        /// For [`wire::ResponseHead::parse`], which has already accepted it.
        payload: Bytes,
        /// The body is complete in the payload.
        end: bool,
    },
    /// The final response, whose body is the content of a file.
    File {
        /// 200–599.
        status: u16,
        /// For [`wire::ResponseHead::parse`], which has already accepted it; an absolute path stands in the body's place.
        payload: Bytes,
    },
    /// Body bytes, or raw bytes after [`Incoming::Tunnel`].
    Data {
        /// May be empty.
        bytes: Bytes,
        /// The last of them.
        end: bool,
    },
    /// Trailer fields; the body is complete.
    Trailers {
        /// For [`wire::field_list`], which has already accepted it.
        payload: Bytes,
    },
    /// The upgrade is accepted: raw bytes, of which these are the first.
    Tunnel {
        /// May be empty.
        bytes: Bytes,
        /// The worker sends no more.
        end: bool,
    },
    /// The WebSocket is accepted: messages from here.
    WsAccept {
        /// For [`wire::field_list`], which has already accepted it.
        payload: Bytes,
    },
    /// A message, or a piece of one. It counts as its bytes and [`wire::MESSAGE_COST`] more with
    /// [`Stream::consumed`].
    WsMessage {
        /// May be empty.
        bytes: Bytes,
        /// The message is text.
        text: bool,
        /// The last of the message.
        end: bool,
    },
    /// The application closes its WebSocket.
    WsClose {
        /// One that may be sent, 1005 or 1006.
        code: u16,
        /// At most [`wire::CLOSE_REASON_MAX`] bytes.
        reason: String,
    },
    /// The worker ended the stream.
    Reset {
        /// Why.
        code: ResetCode,
        /// For the log.
        text: String,
    },
    /// The link is over: the worker died or was condemned.
    Lost {
        /// Whether any byte of the request had left the front; if not, the worker can't have begun.
        sent: bool,
    },
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) events: VecDeque<Incoming>,
    pub(crate) waker: Option<Waker>,
    /// Body bytes that may be sent to the worker.
    pub(crate) send_credit: u32,
    /// Body bytes that the worker may still send.
    pub(crate) receive_credit: u32,
    /// Body bytes consumed and not yet granted again.
    pub(crate) consumed: u32,
    pub(crate) local_end: bool,
    pub(crate) remote_end: bool,
    pub(crate) response_begun: bool,
    /// Informational responses that have been passed on.
    pub(crate) informational: u16,
    pub(crate) upgrade: bool,
    /// The request asks for a WebSocket.
    pub(crate) websocket: bool,
    /// The worker has accepted a WebSocket.
    pub(crate) accepted: bool,
    /// It has an inbox, see [`Link::open_inbox`].
    pub(crate) inbox: bool,
    /// The inbox outlives the link.
    pub(crate) keeps_inbox: bool,
    /// It is a WebSocket or a tunnel: open for as long as the client likes, and not a request in flight.
    pub(crate) upgraded: bool,
    /// Position in the link's outgoing byte count at which the request's frame begins.
    pub(crate) sent_at: u64,
}

/// An open stream. Dropping it while the worker is still busy with it resets it with
/// [`ResetCode::Cancelled`].
#[derive(Debug)]
pub struct Stream {
    pub(crate) id: u32,
    pub(crate) link: Rc<Link>,
    pub(crate) state: Rc<RefCell<State>>,
}

impl State {
    pub(crate) fn new(body_sent: u32, flags: u8, sent_at: u64) -> State {
        State {
            events: VecDeque::new(),
            waker: None,
            send_credit: INITIAL_CREDIT.saturating_sub(body_sent),
            receive_credit: INITIAL_CREDIT,
            consumed: 0,
            local_end: flags & wire::FLAG_END != 0,
            remote_end: false,
            response_begun: false,
            informational: 0,
            upgrade: flags & wire::FLAG_UPGRADE != 0,
            websocket: flags & wire::FLAG_WEBSOCKET != 0,
            accepted: false,
            inbox: false,
            keeps_inbox: false,
            upgraded: false,
            sent_at,
        }
    }

    pub(crate) fn closed(&self) -> bool {
        self.local_end && self.remote_end
    }

    fn register(&mut self, cx: &Context<'_>) {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(crate) fn push(&mut self, event: Incoming) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream {
    /// Name of the worker, for logs.
    pub fn worker(&self) -> &str {
        &self.link.worker().name
    }

    /// The next thing the worker said. Body bytes must be given back with [`Stream::consumed`].
    pub fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut state = self.state.borrow_mut();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(event);
        }
        state.register(cx);
        Poll::Pending
    }

    /// Says that body bytes have left the front, so that the worker may send more. Grants are gathered:
    /// a CREDIT leaves when half of the window is used.
    pub fn consumed(&self, bytes: usize) {
        let mut state = self.state.borrow_mut();
        state.consumed = state.consumed.saturating_add(bytes as u32);
        if state.consumed >= INITIAL_CREDIT / 2 && !state.remote_end {
            let grant = std::mem::take(&mut state.consumed);
            state.receive_credit += grant;
            drop(state);
            self.link.queue(|out| wire::put_credit(out, self.id, grant));
        }
    }

    /// Body bytes that may be sent now. 0 means: wait until [`Stream::poll_send_credit`] is ready.
    pub fn send_credit(&self) -> usize {
        self.state.borrow().send_credit as usize
    }

    /// Registers for a wake-up when the worker grants more, and returns what may be sent now.
    pub fn poll_send_credit(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut state = self.state.borrow_mut();
        if state.send_credit > 0 {
            return Poll::Ready(state.send_credit as usize);
        }
        state.register(cx);
        Poll::Pending
    }

    /// Sends body bytes, at most as many as [`Stream::send_credit`] allows.
    pub fn send_data(&self, bytes: &[u8], end: bool) {
        {
            let mut state = self.state.borrow_mut();
            if state.local_end {
                return;
            }
            debug_assert!(bytes.len() <= state.send_credit as usize);
            state.send_credit = state.send_credit.saturating_sub(bytes.len() as u32);
            state.local_end = end;
        }
        let flags = if end { wire::FLAG_END } else { 0 };
        self.link.queue(|out| wire::put_frame(out, wire::Kind::Data, flags, 0, self.id, bytes));
        self.link.forget_if_closed(self);
    }

    /// Ends the request with trailer fields, which have passed the front's limits.
    pub fn send_trailers<'f>(&self, fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone) {
        if std::mem::replace(&mut self.state.borrow_mut().local_end, true) {
            return;
        }
        self.link.queue(|out| {
            let written = wire::put_field_list(out, wire::Kind::Trailers, wire::FLAG_END, 0, self.id, fields);
            if written.is_err() {
                wire::put_frame(out, wire::Kind::Data, wire::FLAG_END, 0, self.id, &[]);
            }
        });
        self.link.forget_if_closed(self);
    }

    /// Payload bytes that a WS_MESSAGE may carry now; 0 means: wait until [`Stream::poll_message_room`] is ready.
    pub fn message_room(&self) -> usize {
        self.state.borrow().send_credit.saturating_sub(wire::MESSAGE_COST) as usize
    }

    /// Registers for a wake-up when the worker grants more, and returns what a WS_MESSAGE may carry now.
    pub fn poll_message_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match self.message_room() {
            0 => {
                self.state.borrow_mut().register(cx);
                Poll::Pending
            }
            room => Poll::Ready(room),
        }
    }

    /// Sends a message or a piece of one, at most as many bytes as [`Stream::message_room`] allows.
    pub fn send_message(&self, bytes: &[u8], text: bool, end: bool) {
        {
            let mut state = self.state.borrow_mut();
            if state.local_end {
                return;
            }
            let cost = bytes.len() as u32 + wire::MESSAGE_COST;
            debug_assert!(cost <= state.send_credit);
            state.send_credit = state.send_credit.saturating_sub(cost);
        }
        let flags = if end { wire::FLAG_END } else { 0 } | if text { wire::FLAG_TEXT } else { 0 };
        self.link.queue(|out| wire::put_frame(out, wire::Kind::WsMessage, flags, 0, self.id, bytes));
    }

    /// Says that the WebSocket is closed, which ends the stream in both directions. The reason is cut to
    /// [`wire::CLOSE_REASON_MAX`] bytes.
    pub fn close_websocket(&self, code: u16, reason: &str) {
        {
            let mut state = self.state.borrow_mut();
            if state.local_end {
                return;
            }
            state.local_end = true;
            state.remote_end = true;
        }
        let reason = &reason.as_bytes()[..reason.floor_char_boundary(wire::CLOSE_REASON_MAX)];
        self.link.queue(|out| wire::put_frame(out, wire::Kind::WsClose, wire::FLAG_END, code, self.id, reason));
        self.link.forget_if_closed(self);
    }

    /// The worker and the stream's number on this link.
    pub fn key(&self) -> (crate::WorkerId, u32) {
        (self.link.worker().id, self.id)
    }

    /// Whether [`Link::open_inbox`] has been called for it.
    pub fn has_inbox(&self) -> bool {
        self.state.borrow().inbox
    }

    /// The inbox does not end with the link, but when whoever holds the stream says so.
    pub fn keep_inbox(&self) {
        self.state.borrow_mut().keeps_inbox = true;
    }

    /// The inbox is another stream's from now on.
    pub fn give_inbox(&self, to: &Stream) {
        if std::mem::take(&mut self.state.borrow_mut().inbox) {
            to.state.borrow_mut().inbox = true;
        }
    }

    /// Whether the worker is to stop: its link takes no new streams and waits for the open ones to end. Streams that have
    /// no end of their own, WebSockets, are woken when that begins.
    pub fn is_retired(&self) -> bool {
        self.link.is_retired()
    }

    /// Whether the request's half is over: sent to its end, or not wanted any more.
    pub fn local_ended(&self) -> bool {
        self.state.borrow().local_end
    }

    /// Ends the stream at once, in both directions.
    pub fn reset(&self, code: ResetCode, text: &str) {
        {
            let mut state = self.state.borrow_mut();
            if state.closed() {
                return;
            }
            state.local_end = true;
            state.remote_end = true;
        }
        self.link.queue(|out| wire::put_reset(out, self.id, code, text));
        self.link.forget_if_closed(self);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reset(ResetCode::Cancelled, "");
    }
}
