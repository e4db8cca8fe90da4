//! One data link: reads and writes frames, keeps the table of streams, counts credit.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use rustc_hash::FxHashMap;
use tokio::net::UnixStream;
use wire::{FLAG_END, HEADER_LEN, Kind, ResetCode};

use crate::pool::{Closed, Worker};
use crate::stream::{Incoming, State, Stream};
use crate::traffic::Traffic;
use crate::unread::{UNREAD_BYTES_MAX, Unread};

/// Read at most this much before other tasks of the thread get their turn, in bytes.
const READ_BUDGET: usize = 1 << 20;
/// Read at most this much from a worker that is already gone, in bytes: more than the kernel keeps in a socket.
const LAST_WORDS_MAX: usize = 16 << 20;
/// Largest payload that is copied out of the read buffer, in bytes.
const COPY_MAX: usize = 4096;
const READ_CHUNK: usize = 64 * 1024;
/// Informational responses of one request that are passed on. They cost no credit and are advice, so a worker that sends more is not
/// wrong: the rest is dropped.
const INFORMATIONAL_MAX: u16 = 256;
/// Requests that a worker is given on all its links: whoever looks after it replaces it then. Streams are numbered by a u32 on each link
/// and no number is used again; what is left of them is enough for the time that the replacement takes.
pub const WORKER_STREAMS_MAX: u64 = 4_000_000_000;
/// What an outgoing buffer may keep when it is empty, in bytes.
const KEEP_CAPACITY: usize = 256 * 1024;

/// A data link to one worker, held by one front thread.
#[derive(Debug)]
pub struct Link {
    worker: Arc<Worker>,
    socket: UnixStream,
    out: RefCell<Outgoing>,
    streams: RefCell<FxHashMap<u32, Rc<RefCell<State>>>>,
    /// Streams that are WebSockets or tunnels.
    upgraded: Cell<usize>,
    next_stream: Cell<u32>,
    driver: RefCell<Option<Waker>>,
    retired: Cell<bool>,
    condemned: Cell<bool>,
    /// The worker does not read what it is told of topics.
    overrun: Cell<bool>,
    /// Called when a request is no longer in flight, so that a waiting one may take its place.
    on_stream_end: RefCell<Option<OnStreamEnd>>,
    topics: RefCell<Option<Rc<dyn TopicFrames>>>,
    traffic: Rc<Traffic>,
}

/// What understands the frames of topics.
pub trait TopicFrames: std::fmt::Debug {
    /// A frame has come. `Err` says how the worker broke the protocol.
    fn on_frame(&self, link: &Link, frame: TopicFrame) -> Result<(), String>;
    /// A stream with an inbox is over.
    fn on_inbox_end(&self, link: &Link, stream: u32);
}

/// A frame of the worker about topics.
#[derive(Debug)]
pub struct TopicFrame {
    /// SUBSCRIBE, UNSUBSCRIBE, PUBLISH or QUERY.
    pub kind: Kind,
    /// As they came.
    pub flags: u8,
    /// As it came.
    pub aux: u16,
    /// As it came.
    pub stream: u32,
    /// As it came.
    pub payload: Bytes,
}

#[derive(Clone)]
struct OnStreamEnd(Rc<dyn Fn()>);

impl std::fmt::Debug for OnStreamEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnStreamEnd")
    }
}

#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// How much of `bytes` has been written.
    written: usize,
    /// Bytes of earlier, now discarded contents of `bytes`.
    total_before: u64,
    /// Let go when all of `bytes` has been written.
    held: Vec<Arc<dyn std::any::Any + Send + Sync>>,
    unread: Unread,
}

impl Outgoing {
    /// Appends a frame that no credit bounds; says how many bytes of such frames wait.
    fn put_unpaid(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let start = self.total_before + self.bytes.len() as u64;
        put(&mut self.bytes);
        let end = self.total_before + self.bytes.len() as u64;
        self.unread.add(start..end, self.total_before + self.written as u64)
    }

    /// Lets go of what has been written, once that is most of it: with a worker that is always a little behind, the buffer is
    /// never empty, and would grow for ever.
    fn drop_written(&mut self) {
        if self.written >= KEEP_CAPACITY && self.written * 2 >= self.bytes.len() {
            self.bytes.drain(..self.written);
            self.total_before += self.written as u64;
            self.written = 0;
        }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({} bytes)", self.bytes.len() - self.written)
    }
}

impl Link {
    /// Takes over a connected, non-blocking socket whose HELLO has been read; `traffic` is that of the thread. Must be called
    /// inside a tokio runtime.
    pub fn new(worker: Arc<Worker>, socket: std::os::unix::net::UnixStream, traffic: Rc<Traffic>) -> io::Result<Rc<Link>> {
        Ok(Rc::new(Link {
            worker,
            socket: UnixStream::from_std(socket)?,
            out: RefCell::default(),
            streams: RefCell::default(),
            upgraded: Cell::new(0),
            next_stream: Cell::new(1),
            driver: RefCell::new(None),
            retired: Cell::new(false),
            condemned: Cell::new(false),
            overrun: Cell::new(false),
            on_stream_end: RefCell::new(None),
            topics: RefCell::new(None),
            traffic,
        }))
    }

    /// Whose link it is.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Requests in flight on this link: its open streams without WebSockets and tunnels, which would otherwise take the
    /// places of requests for as long as their clients stay.
    pub fn requests_in_flight(&self) -> usize {
        self.streams.borrow().len() - self.upgraded.get()
    }

    /// Whether it has no number left for another stream.
    pub fn is_used_up(&self) -> bool {
        self.next_stream.get() == u32::MAX
    }

    /// Sets what is called when a stream has ended or become a WebSocket or a tunnel.
    pub fn set_on_stream_end(&self, callback: Rc<dyn Fn()>) {
        *self.on_stream_end.borrow_mut() = Some(OnStreamEnd(callback));
    }

    /// Sets what understands the frames of topics.
    pub fn set_topics(&self, topics: Rc<dyn TopicFrames>) {
        *self.topics.borrow_mut() = Some(topics);
    }

    /// Says that an open WebSocket, or one that is about to be, has an inbox from now on, and wakes whoever looks after
    /// it. `false`: there is no such stream.
    pub fn open_inbox(&self, stream: u32) -> bool {
        let Some(state) = self.streams.borrow().get(&stream).cloned() else { return false };
        let mut state = state.borrow_mut();
        if !state.websocket || (state.response_begun && !state.accepted) {
            return false;
        }
        state.inbox = true;
        if state.accepted
            && let Some(waker) = state.waker.take()
        {
            waker.wake();
        }
        true
    }

    /// Queues a frame of topics that somebody has paid for with credit: `held` is let go when it has been written.
    pub fn send_held(&self, put: impl FnOnce(&mut Vec<u8>), held: Arc<dyn std::any::Any + Send + Sync>) {
        self.out.borrow_mut().held.push(held);
        self.queue(put);
    }

    /// Queues a frame of topics that costs the worker no credit. One that leaves too much of that unread has broken the
    /// protocol: [`Link::run`] ends.
    pub fn send_unpaid(&self, put: impl FnOnce(&mut Vec<u8>)) {
        if self.overrun.get() {
            return;
        }
        let mut waiting = 0;
        self.queue_with(|out| waiting = out.put_unpaid(put));
        if waiting > UNREAD_BYTES_MAX {
            self.overrun.set(true);
            self.wake_driver();
        }
    }

    /// Opens a stream with an encoded REQUEST frame, whose stream id is filled in. `body_sent` is the
    /// number of body bytes in the frame. `None` when the link takes no more streams.
    pub fn open(self: &Rc<Self>, frame: &mut [u8], body_sent: usize) -> Option<Stream> {
        let id = self.next_stream.get();
        if self.retired.get() || self.condemned.get() || self.is_used_up() {
            return None;
        }
        self.next_stream.set(id + 1);
        wire::set_stream(frame, id);
        let flags = frame[9];
        let sent_at = {
            let out = self.out.borrow();
            out.total_before + out.bytes.len() as u64
        };
        let state = Rc::new(RefCell::new(State::new(body_sent as u32, flags, sent_at)));
        self.streams.borrow_mut().insert(id, state.clone());
        self.worker.in_flight.fetch_add(1, Ordering::Relaxed);
        self.queue(|out| out.extend_from_slice(frame));
        Some(Stream { id, link: self.clone(), state })
    }

    /// Takes no new streams; [`Link::run`] returns [`Closed::Idle`] when the last one has ended.
    pub fn retire(&self) {
        self.retired.set(true);
        self.wake_driver();
        // A WebSocket ends when somebody ends it.
        for state in self.streams.borrow().values() {
            let mut state = state.borrow_mut();
            if state.accepted
                && let Some(waker) = state.waker.take()
            {
                waker.wake();
            }
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Ends the link and its streams now.
    pub fn condemn(&self) {
        self.condemned.set(true);
        self.wake_driver();
    }

    /// Moves frames until the link is over; every open stream has then been told.
    pub async fn run(self: Rc<Self>) -> Closed {
        let mut input = BytesMut::with_capacity(READ_CHUNK);
        let closed = std::future::poll_fn(|cx| self.poll_run(cx, &mut input)).await;
        self.condemned.set(true);
        self.lose_streams();
        closed
    }

    pub(crate) fn queue(&self, put: impl FnOnce(&mut Vec<u8>)) {
        self.queue_with(|out| put(&mut out.bytes));
    }

    fn queue_with(&self, put: impl FnOnce(&mut Outgoing)) {
        let mut out = self.out.borrow_mut();
        let was_empty = out.written == out.bytes.len();
        put(&mut out);
        drop(out);
        if was_empty {
            self.wake_driver();
        }
    }

    /// Drops a stream from the table when both halves are over.
    pub(crate) fn forget_if_closed(&self, stream: &Stream) {
        if stream.state.borrow().closed() {
            self.forget(stream.id);
        }
    }

    fn forget(&self, id: u32) {
        let Some(removed) = self.streams.borrow_mut().remove(&id) else { return };
        if removed.borrow().upgraded {
            self.upgraded.set(self.upgraded.get() - 1);
        }
        self.end_inbox(id, &removed);
        self.worker.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.worker.served.fetch_add(1, Ordering::Relaxed);
        if self.retired.get() {
            self.wake_driver();
        }
        self.tell_of_room();
    }

    fn end_inbox(&self, id: u32, state: &RefCell<State>) {
        if std::mem::take(&mut state.borrow_mut().inbox) {
            let topics = self.topics.borrow().clone();
            if let Some(topics) = topics {
                topics.on_inbox_end(self, id);
            }
        }
    }

    fn tell_of_room(&self) {
        let callback = self.on_stream_end.borrow().clone();
        if let Some(OnStreamEnd(callback)) = callback {
            callback();
        }
    }

    fn lose_streams(&self) {
        let written = {
            let out = self.out.borrow();
            out.total_before + out.written as u64
        };
        let streams: Vec<_> = self.streams.borrow_mut().drain().collect();
        self.upgraded.set(0);
        self.worker.in_flight.fetch_sub(streams.len() as u32, Ordering::Relaxed);
        for (id, state) in streams {
            if !state.borrow().keeps_inbox {
                self.end_inbox(id, &state);
            }
            let mut state = state.borrow_mut();
            state.local_end = true;
            state.remote_end = true;
            let sent = written > state.sent_at;
            state.push(Incoming::Lost { sent });
        }
    }

    fn wake_driver(&self) {
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_run(&self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<Closed> {
        if self.condemned.get() {
            self.read_last_words(input);
            return Poll::Ready(Closed::Eof);
        }
        *self.driver.borrow_mut() = Some(cx.waker().clone());
        if let Poll::Ready(closed) = self.poll_read(cx, input) {
            return Poll::Ready(closed);
        }
        if self.overrun.get() {
            let limit = UNREAD_BYTES_MAX >> 20;
            return Poll::Ready(Closed::Protocol(format!("it leaves {limit} MiB of presence events and answers unread")));
        }
        if let Poll::Ready(closed) = self.poll_write(cx) {
            return Poll::Ready(closed);
        }
        if self.retired.get() && self.streams.borrow().is_empty() && self.out.borrow().bytes.is_empty() {
            return Poll::Ready(Closed::Idle);
        }
        Poll::Pending
    }

    /// Ready only when the link is over.
    fn poll_write(&self, cx: &mut Context<'_>) -> Poll<Closed> {
        let mut out = self.out.borrow_mut();
        while out.written < out.bytes.len() {
            match self.socket.try_write(&out.bytes[out.written..]) {
                Ok(n) => {
                    out.written += n;
                    self.traffic.note(true);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    out.drop_written();
                    ready!(self.socket.poll_write_ready(cx)).ok();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(Closed::Eof),
            }
        }
        out.total_before += out.written as u64;
        out.written = 0;
        out.bytes.clear();
        out.held.clear();
        if out.bytes.capacity() > KEEP_CAPACITY {
            out.bytes = Vec::new();
        }
        Poll::Pending
    }

    /// Ready only when the link is over.
    fn poll_read(&self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<Closed> {
        let mut budget = READ_BUDGET;
        loop {
            if ready!(self.socket.poll_read_ready(cx)).is_err() {
                return Poll::Ready(Closed::Eof);
            }
            input.reserve(READ_CHUNK);
            match self.socket.try_read_buf(input) {
                Ok(0) => return Poll::Ready(Closed::Eof),
                Ok(n) => {
                    self.traffic.note(false);
                    if let Err(what) = self.dispatch_all(input) {
                        return Poll::Ready(Closed::Protocol(what));
                    }
                    if n >= budget {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    budget -= n;
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Poll::Ready(Closed::Eof),
            }
        }
    }

    /// Answers that the worker wrote before it died are still in the socket: they are not lost with it.
    fn read_last_words(&self, input: &mut BytesMut) {
        let mut budget = LAST_WORDS_MAX;
        while budget > 0 {
            input.reserve(READ_CHUNK);
            match self.socket.try_read_buf(input) {
                Ok(n @ 1..) if self.dispatch_all(input).is_ok() => budget = budget.saturating_sub(n),
                _ => return,
            }
        }
    }

    fn dispatch_all(&self, input: &mut BytesMut) -> Result<(), String> {
        loop {
            let (kind, flags, aux, stream, length) = match wire::decode_frame(input) {
                Ok(Some(f)) => (f.kind, f.flags, f.aux, f.stream, f.payload.len()),
                Ok(None) => return Ok(()),
                Err(e) => return Err(e.to_string()),
            };
            input.advance(HEADER_LEN);
            // A small payload is copied, so that the read buffer stays ours alone and is used again and again.
            let payload = if length <= COPY_MAX {
                let payload = Bytes::copy_from_slice(&input[..length]);
                input.advance(length);
                payload
            } else {
                input.split_to(length).freeze()
            };
            self.dispatch(kind, flags, aux, stream, payload)?;
        }
    }

    fn dispatch(&self, kind: Kind, flags: u8, aux: u16, id: u32, payload: Bytes) -> Result<(), String> {
        if matches!(kind, Kind::Subscribe | Kind::Unsubscribe | Kind::Publish | Kind::Query) {
            let topics = self.topics.borrow().clone().ok_or("a frame of topics on a link without them")?;
            return topics.on_frame(self, TopicFrame { kind, flags, aux, stream: id, payload });
        }
        let Some(state) = self.streams.borrow().get(&id).cloned() else {
            // A frame for a closed stream has crossed our RESET or END on the way.
            return if id != 0 && id < self.next_stream.get() {
                Ok(())
            } else {
                Err(format!("{kind:?} frame for stream {id}, which was never opened"))
            };
        };
        let mut stream = state.borrow_mut();
        let event = read_event(&mut stream, kind, flags, aux, payload).map_err(|e| format!("stream {id}: {e}"))?;
        let upgraded = matches!(event, Some(Incoming::Tunnel { .. } | Incoming::WsAccept { .. }));
        stream.upgraded |= upgraded;
        if let Some(event) = event {
            stream.push(event);
        }
        let closed = stream.closed();
        drop(stream);
        if upgraded {
            self.upgraded.set(self.upgraded.get() + 1);
            self.tell_of_room();
        }
        if closed {
            self.forget(id);
        }
        Ok(())
    }
}

/// Checks a frame against the stream's life (protocol/README.md, "Life of a stream") and makes it an event.
fn read_event(stream: &mut State, kind: Kind, flags: u8, aux: u16, payload: Bytes) -> Result<Option<Incoming>, String> {
    let end = flags & FLAG_END != 0;
    if stream.remote_end && !matches!(kind, Kind::Credit | Kind::Reset) {
        return Err(format!("{kind:?} frame after the end of the response"));
    }
    let event = match kind {
        Kind::Informational => {
            if !(100..200).contains(&aux) || aux == 101 || stream.response_begun {
                return Err(format!("informational response with status {aux} is out of place"));
            }
            wire::field_list(kind, &payload).map_err(|e| e.to_string())?;
            if stream.informational == INFORMATIONAL_MAX {
                return Ok(None);
            }
            stream.informational += 1;
            Incoming::Informational { status: aux, payload }
        }
        Kind::Response => {
            if stream.response_begun || !(200..600).contains(&aux) {
                return Err(format!("response with status {aux} is out of place"));
            }
            let body = wire::ResponseHead::parse(&payload).map_err(|e| e.to_string())?.body;
            let file = flags & wire::FLAG_FILE != 0;
            if file {
                check_file(body, end)?;
            } else {
                spend(stream, body.len())?;
            }
            stream.response_begun = true;
            stream.remote_end = end;
            if file { Incoming::File { status: aux, payload } } else { Incoming::Response { status: aux, payload, end } }
        }
        Kind::Data => {
            if !stream.response_begun || stream.accepted {
                return Err("body bytes before a response's head or on a WebSocket".into());
            }
            spend(stream, payload.len())?;
            stream.remote_end = end;
            // It says nothing and costs no credit: no number of them may wait for a slow client.
            if payload.is_empty() && !end {
                return Ok(None);
            }
            Incoming::Data { bytes: payload, end }
        }
        Kind::Tunnel => {
            if !stream.upgrade || stream.response_begun {
                return Err("tunnel for a request that asked for no upgrade".into());
            }
            spend(stream, payload.len())?;
            stream.response_begun = true;
            // The request's END was that of its body; raw bytes follow.
            stream.local_end = false;
            stream.remote_end = end;
            Incoming::Tunnel { bytes: payload, end }
        }
        Kind::WsAccept => {
            if !stream.websocket || stream.response_begun {
                return Err("WebSocket accepted for a request that asked for none".into());
            }
            wire::field_list(kind, &payload).map_err(|e| e.to_string())?;
            stream.response_begun = true;
            stream.accepted = true;
            stream.local_end = false;
            Incoming::WsAccept { payload }
        }
        Kind::WsMessage => {
            if !stream.accepted {
                return Err("message before the WebSocket is accepted".into());
            }
            spend(stream, payload.len() + wire::MESSAGE_COST as usize)?;
            Incoming::WsMessage { bytes: payload, text: flags & wire::FLAG_TEXT != 0, end }
        }
        Kind::WsClose => {
            if !stream.accepted || !is_close_code(aux) {
                return Err(format!("WebSocket closed with code {aux} is out of place"));
            }
            if payload.len() > wire::CLOSE_REASON_MAX {
                return Err(format!("close reason of {} bytes", payload.len()));
            }
            let reason = String::from_utf8(payload.into()).map_err(|_| "close reason that is not UTF-8".to_string())?;
            stream.remote_end = true;
            Incoming::WsClose { code: aux, reason }
        }
        Kind::Trailers => {
            if !stream.response_begun || stream.accepted {
                return Err("trailers before the response's head or on a WebSocket".into());
            }
            wire::field_list(kind, &payload).map_err(|e| e.to_string())?;
            stream.remote_end = true;
            Incoming::Trailers { payload }
        }
        Kind::Credit => {
            let grant = wire::credit(&payload).map_err(|e| e.to_string())?;
            stream.send_credit = stream.send_credit.checked_add(grant).ok_or("more credit than a u32 counts".to_string())?;
            if let Some(waker) = stream.waker.take() {
                waker.wake();
            }
            return Ok(None);
        }
        Kind::Reset => {
            let code = ResetCode::from_code(aux);
            stream.local_end = true;
            if code == ResetCode::NoError && stream.remote_end {
                // Only the rest of the request's body is refused; whoever sends it must look again.
                if let Some(waker) = stream.waker.take() {
                    waker.wake();
                }
                return Ok(None);
            }
            stream.remote_end = true;
            Incoming::Reset { code, text: String::from_utf8_lossy(&payload).into_owned() }
        }
        _ => return Err(format!("{kind:?} frame on a data link")),
    };
    Ok(Some(event))
}

fn check_file(path: &[u8], end: bool) -> Result<(), String> {
    if !end || path.first() != Some(&b'/') || path.len() > wire::FILE_PATH_MAX || path.contains(&0) {
        return Err(format!("a response by the file {:?} is out of place", String::from_utf8_lossy(path)));
    }
    Ok(())
}

/// RFC 6455 §7.4: codes that may be sent, and the two that stand for an empty Close frame and none at all.
fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1005..=1014 | 3000..=4999)
}

fn spend(stream: &mut State, bytes: usize) -> Result<(), String> {
    let bytes = bytes as u32;
    stream.receive_credit = stream
        .receive_credit
        .checked_sub(bytes)
        .ok_or_else(|| format!("{bytes} body bytes with a credit of {}", stream.receive_credit))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: u8 = FLAG_END | wire::FLAG_UPGRADE | wire::FLAG_WEBSOCKET;

    fn check(stream: &mut State, kind: Kind, flags: u8, aux: u16, payload: &'static [u8]) -> Result<(), String> {
        read_event(stream, kind, flags, aux, Bytes::from_static(payload)).map(drop)
    }

    /// A WebSocket that its worker has accepted.
    fn accepted() -> State {
        let mut stream = State::new(0, ASKED, 0);
        assert!(stream.local_end);
        check(&mut stream, Kind::WsAccept, 0, 0, b"\0\0").unwrap();
        stream
    }

    #[test]
    fn accepting_a_websocket_opens_the_front_s_half_again() {
        let stream = accepted();
        assert!(!stream.local_end && !stream.closed());
        let mut tunnel = State::new(0, FLAG_END | wire::FLAG_UPGRADE, 0);
        check(&mut tunnel, Kind::Tunnel, 0, 0, b"").unwrap();
        assert!(!tunnel.local_end);
    }

    #[test]
    fn a_websocket_is_accepted_once_and_only_where_one_was_asked_for() {
        let mut plain = State::new(0, FLAG_END | wire::FLAG_UPGRADE, 0);
        assert!(check(&mut plain, Kind::WsAccept, 0, 0, b"\0\0").is_err());
        assert!(check(&mut plain, Kind::WsMessage, FLAG_END, 0, b"early").is_err());
        assert!(check(&mut accepted(), Kind::WsAccept, 0, 0, b"\0\0").is_err());
        assert!(check(&mut accepted(), Kind::Data, 0, 0, b"raw").is_err());
        assert!(check(&mut accepted(), Kind::Trailers, FLAG_END, 0, b"\0\0").is_err());
    }

    #[test]
    fn a_file_is_named_absolutely_and_uses_no_credit() {
        const HEAD: &[u8] = b"\0\0\0\0";
        let answer = |flags: u8, path: &[u8]| {
            let mut stream = State::new(0, FLAG_END, 0);
            let payload = Bytes::from([HEAD, path].concat());
            read_event(&mut stream, Kind::Response, flags, 200, payload).map(|event| (event, stream))
        };
        let file = FLAG_END | wire::FLAG_FILE;
        let (event, stream) = answer(file, b"/srv/a").unwrap();
        assert!(matches!(event, Some(Incoming::File { status: 200, .. })));
        assert!(stream.closed() && stream.receive_credit == wire::INITIAL_CREDIT);
        assert!(answer(wire::FLAG_FILE, b"/srv/a").is_err());
        assert!(answer(file, b"srv/a").is_err());
        assert!(answer(file, b"/srv/\0a").is_err());
        assert!(answer(file, &[b'/'; wire::FILE_PATH_MAX + 1]).is_err());
    }

    #[test]
    fn what_costs_no_credit_does_not_gather() {
        let mut stream = State::new(0, FLAG_END, 0);
        let hint = |stream: &mut State| read_event(stream, Kind::Informational, 0, 103, Bytes::from_static(b"\0\0")).unwrap();
        for _ in 0..INFORMATIONAL_MAX {
            assert!(hint(&mut stream).is_some());
        }
        assert!(hint(&mut stream).is_none());
        check(&mut stream, Kind::Response, 0, 200, b"\0\0\0\0").unwrap();
        let data = |stream: &mut State, flags| read_event(stream, Kind::Data, flags, 0, Bytes::new()).unwrap();
        assert!(data(&mut stream, 0).is_none());
        assert!(matches!(data(&mut stream, FLAG_END), Some(Incoming::Data { end: true, .. })));
    }

    #[test]
    fn messages_use_credit_for_more_than_their_bytes() {
        let mut stream = accepted();
        let most = wire::INITIAL_CREDIT / wire::MESSAGE_COST;
        for _ in 0..most {
            check(&mut stream, Kind::WsMessage, FLAG_END, 0, b"").unwrap();
        }
        assert!(check(&mut stream, Kind::WsMessage, FLAG_END, 0, b"").is_err());
    }

    #[test]
    fn a_websocket_ends_with_a_code_that_means_something() {
        for code in [0, 999, 1004, 1015, 2999, 5000] {
            assert!(check(&mut accepted(), Kind::WsClose, FLAG_END, code, b"").is_err(), "{code}");
        }
        for code in [1000, 1005, 1006, 1012, 3000, 4999] {
            let mut stream = accepted();
            check(&mut stream, Kind::WsClose, FLAG_END, code, b"why").unwrap();
            assert!(stream.remote_end && !stream.local_end);
            assert!(check(&mut stream, Kind::WsMessage, FLAG_END, 0, b"late").is_err());
        }
        assert!(check(&mut accepted(), Kind::WsClose, FLAG_END, 1000, b"\xff").is_err());
    }
}
