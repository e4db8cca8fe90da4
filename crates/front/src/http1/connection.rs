//! One client connection: a state machine that is polled as one task.
//!
//! Reads go into a buffer that all connections of the thread share, so an idle connection holds no buffer;
//! what is left over from a read is kept in `input`.

mod exchange;
mod tunnel;
mod websocket;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use link::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::chunked::Chunked;
use super::parse::{Parsed, parse};
use super::response::{Framing, Line, put_head, put_informational, put_static_head};
use crate::active::ActiveRoute;
use crate::compress::Encoder;
use crate::deadline::Deadline;
use crate::dispatch::{INLINE_BODY_MAX, Lookup, Peer, Plan, Reply, Request, plan, record_head};
use crate::fault::{Code, Fault};
use crate::head::{BodyLength, Head, list_members};
use crate::response::may_have_body;
use crate::static_files::{Answer, Body};
use crate::thread::{SCRATCH, Thread};
use crate::wait::Wait;
use crate::websocket::Socket;

/// Response bytes that wait for a slow client before the worker's credit is held back.
const OUT_HIGH: usize = 128 * 1024;
/// What an idle connection's buffers may keep, in bytes.
const KEEP_CAPACITY: usize = 2 * 1024;
/// Request bytes that are read and dropped after an early answer, so that the client can read it
/// (RFC 9112 §9.6).
const LINGER_BYTES_MAX: usize = 1 << 20;
/// Unread request bytes that are dropped for the sake of keeping the connection.
const DISCARD_BYTES_MAX: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);
/// What the access log says of a client that left before there was a status.
const CLIENT_CLOSED: u16 = 499;
/// HTTP/2's connection preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client's byte stream.
pub trait Io: AsyncRead + AsyncWrite + Unpin {
    /// The plain TCP socket, if it is one: files go to it without passing through our memory.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Io for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Io for UnixStream {}
impl Io for TlsStream<TcpStream> {}

/// How a connection ended.
#[derive(Debug)]
pub enum Outcome<I> {
    /// It is closed.
    Closed,
    /// The client speaks HTTP/2 with prior knowledge; these bytes have been read.
    Http2(I, Peer, Vec<u8>),
}

/// A client connection that speaks HTTP/1.
#[derive(Debug)]
pub struct Connection<I> {
    thread: Rc<Thread>,
    io: I,
    peer: Peer,
    /// Bytes read and not yet understood.
    input: Vec<u8>,
    /// Bytes to be written; those before `written` have been.
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    state: State,
    deadline: Deadline,
    phase: Phase,
    requests: u64,
    keep_alive: bool,
}

#[derive(Debug)]
enum State {
    /// Between requests, or reading a head.
    Head,
    Exchange(Box<Exchange>),
    Tunnel(Box<Tunnel>),
    WebSocket(Box<Socket>),
    /// Wait for a disk, outside of the state machine.
    Lookup(Box<Lookup>, After),
    /// Send what waits and then a file, outside of the state machine.
    File(Box<(Body, After)>),
    /// Write what is left, then go on or close.
    Flush { then: After },
    /// The answer is out and the application left the request's body unread: drop it, at most this much, and go on.
    Discard { body: RequestBody, left: usize },
    /// The answer is out, the request is not read: drop this much of it, then close.
    Linger { left: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    NextRequest,
    Linger,
    Close,
}

/// What the deadline stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Header,
    Exchange(Wait),
    WebSocket,
    Linger,
    Unbounded,
}

/// A request that is with a service.
#[derive(Debug)]
struct Exchange {
    request: Request,
    body: RequestBody,
    body_bytes: u64,
    expect_continue: bool,
    accepts_trailers: bool,
    is_head: bool,
    version: u8,
    sent: bool,
    response: ResponseBody,
    /// Response bytes handed to the client's buffer for which no credit has been given back.
    unreported: usize,
    /// Body bytes that the worker announced and has not sent yet.
    left: Option<u64>,
    encoder: Option<Encoder>,
    /// What the access log says.
    status: u16,
    body_sent: u64,
}

#[derive(Debug)]
enum RequestBody {
    Done,
    Length(u64),
    Chunked(Box<Chunked>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseBody {
    NotBegun,
    /// Nothing may follow the head; what the worker sends is dropped.
    Empty,
    /// The bytes themselves.
    Plain,
    Chunked,
    Done,
}

/// An upgraded connection.
#[derive(Debug)]
struct Tunnel {
    stream: Stream,
    client_done: bool,
    worker_done: bool,
    unreported: usize,
}

/// What an exchange means for its connection.
enum Step {
    Next(State),
    /// The connection can't be used any more.
    Abort,
}

impl<I: Io> Connection<I> {
    /// A fresh connection; `input` holds what has already been read from it.
    pub fn new(thread: Rc<Thread>, io: I, peer: Peer, input: Vec<u8>) -> Connection<I> {
        let deadline = thread.deadlines.register();
        let connection = Connection {
            thread,
            io,
            peer,
            input,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            state: State::Head,
            deadline,
            phase: Phase::Unbounded,
            requests: 0,
            keep_alive: true,
        };
        // A connection that never sends a byte has as long as one that sends its header slowly.
        connection.deadline.arm(Some(connection.thread.active().settings.timeouts.header));
        connection
    }

    /// Serves until the connection ends.
    pub async fn run(mut self) -> Outcome<I> {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                End::Closed => return Outcome::Closed,
                End::Http2 => return Outcome::Http2(self.io, self.peer, self.input),
                // Boxed, so that connections without files do not carry room for them.
                End::Lookup(lookup, after) => {
                    let answer = Box::pin(lookup.answer()).await;
                    let is_head = lookup.method() == b"HEAD";
                    let accept = lookup.get("accept");
                    let (status, bytes, body) =
                        self.put_answer(answer, &lookup.route, lookup.version(), is_head, accept, lookup.id.as_str());
                    lookup.record(&self.thread, status, bytes);
                    self.state = State::Flush { then: after };
                    if let Some(body) = body {
                        self.state = State::File(Box::new((body, after)));
                    }
                }
                End::File(body, after) => match Box::pin(self.send_file(body)).await {
                    Ok(()) => self.state = State::Flush { then: after },
                    // A response that stops short can only be told by closing the connection.
                    Err(error) => {
                        tracing::debug!(client = self.peer.forwarded.address(), %error, "a file could not be sent to its end");
                        return Outcome::Closed;
                    }
                },
            }
        }
    }

    /// Sends what waits, and then a file.
    async fn send_file(&mut self, body: Body) -> io::Result<()> {
        let idle = self.thread.active().settings.timeouts.client_write_idle;
        let head = std::mem::take(&mut self.out);
        let written = std::mem::take(&mut self.written);
        if let Some(tcp) = self.io.tcp() {
            return body.send(tcp, &head[written..], idle).await;
        }
        let mut piece = Bytes::from(head).slice(written..);
        let mut reader = body.into_reader();
        loop {
            match tokio::time::timeout(idle, self.io.write_all(&piece)).await {
                Ok(result) => result?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
            match reader.next(SCRATCH).await? {
                Some(next) => piece = next,
                None => return self.io.flush().await,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let step = match std::mem::replace(&mut self.state, State::Head) {
                State::Head => match ready!(self.poll_head(cx)) {
                    Some(step) => step,
                    None => return Poll::Ready(End::Http2),
                },
                State::Exchange(mut exchange) => match self.poll_exchange(cx, &mut exchange) {
                    Poll::Ready(step) => {
                        self.finish(*exchange);
                        step
                    }
                    Poll::Pending => {
                        self.state = State::Exchange(exchange);
                        return Poll::Pending;
                    }
                },
                State::Tunnel(mut tunnel) => match self.poll_tunnel(cx, &mut tunnel) {
                    Poll::Ready(step) => step,
                    Poll::Pending => {
                        self.state = State::Tunnel(tunnel);
                        return Poll::Pending;
                    }
                },
                State::WebSocket(mut socket) => match self.poll_websocket(cx, &mut socket) {
                    Poll::Ready(step) => step,
                    Poll::Pending => {
                        self.state = State::WebSocket(socket);
                        return Poll::Pending;
                    }
                },
                State::Lookup(lookup, after) => return Poll::Ready(End::Lookup(lookup, after)),
                State::File(file) => return Poll::Ready(End::File(file.0, file.1)),
                State::Flush { then } => match self.poll_flush_state(cx, then) {
                    Poll::Ready(step) => step,
                    Poll::Pending => {
                        self.state = State::Flush { then };
                        return Poll::Pending;
                    }
                },
                State::Discard { mut body, mut left } => match self.poll_discard(cx, &mut body, &mut left) {
                    Poll::Ready(step) => step,
                    Poll::Pending => {
                        self.state = State::Discard { body, left };
                        return Poll::Pending;
                    }
                },
                State::Linger { mut left } => match self.poll_linger(cx, &mut left) {
                    Poll::Ready(step) => step,
                    Poll::Pending => {
                        self.state = State::Linger { left };
                        return Poll::Pending;
                    }
                },
            };
            match step {
                Step::Next(state) => self.state = state,
                Step::Abort => return Poll::Ready(End::Closed),
            }
        }
    }

    /// Arms the deadline when the wait is a new one, or when `renew` says that there was progress.
    fn enter(&mut self, phase: Phase, wait: Option<Duration>, renew: bool) {
        if self.phase != phase || renew {
            self.phase = phase;
            self.deadline.arm(wait);
        }
    }

    // --- heads ---

    /// `None` means that the client speaks HTTP/2.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
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

    fn keep_rest(&mut self, mut input: Vec<u8>, taken: usize) {
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
        self.refuse(Fault::new(Code::HeaderTimeout, ""), None)
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
                Begin::Step(self.refuse(fault, None), bytes.len())
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
                    _ => RequestBody::Chunked(Box::new(Chunked::new(
                        self.thread.active().settings.limits.header_bytes_max,
                    ))),
                };
                Step::Next(State::Exchange(Box::new(Exchange {
                    request: *request,
                    body,
                    body_bytes: inline.len() as u64,
                    expect_continue: head.expect_continue && rest.is_empty(),
                    accepts_trailers: head.get("te").is_some_and(|te| {
                        list_members(te).any(|member| member.eq_ignore_ascii_case(b"trailers"))
                    }),
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
            Plan::Static(route, answer) => {
                self.keep_alive &= complete;
                let is_head = head.method == b"HEAD";
                let accept = head.get("accept");
                let (status, bytes, body) = self.put_answer(answer, &route, head.version, is_head, accept, id.as_str());
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

    fn after(&self, request_read: bool) -> After {
        if !request_read {
            After::Linger
        } else if self.keep_alive {
            After::NextRequest
        } else {
            After::Close
        }
    }

    /// Answers what is not a readable request, and closes.
    fn refuse(&mut self, fault: Fault, accept: Option<&[u8]>) -> Step {
        let id = self.thread.next_request_id();
        let unread = Head::unread();
        record_head(&self.thread, &self.peer, &unread, id.as_str(), fault.status(), 0);
        tracing::debug!(target: "bireme::request", request_id = id.as_str(), client = self.peer.forwarded.address(), "{fault}");
        self.keep_alive = false;
        self.put_reply(&Reply::fault(fault, accept, id.as_str()), 11, false);
        Step::Next(State::Flush { then: After::Linger })
    }

    fn put_reply(&mut self, reply: &Reply, version: u8, is_head: bool) {
        let active = self.thread.active();
        let framing = if may_have_body(is_head, reply.status) || reply.status == 304 {
            Framing::Length(reply.body.len() as u64)
        } else if is_head {
            Framing::Empty(Some(reply.body.len() as u64))
        } else {
            Framing::Empty(None)
        };
        let line = Line {
            version,
            status: reply.status,
            reason: b"",
            keep_alive: self.keep_alive,
            add_date: true,
            server: active.settings.server_header.as_deref(),
        };
        put_head(&mut self.out, line, reply.fields.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())), framing);
        if matches!(framing, Framing::Length(_)) {
            self.out.extend_from_slice(&reply.body);
        }
    }

    /// Writes the head of a static file's answer, and its body if that is in memory. Says the status, the number of
    /// body bytes, and the body that is still to be sent.
    fn put_answer(
        &mut self,
        answer: Answer,
        route: &ActiveRoute,
        version: u8,
        is_head: bool,
        accept: Option<&[u8]>,
        id: &str,
    ) -> (u16, u64, Option<Body>) {
        let response = match answer {
            Answer::Response(response) => response,
            Answer::Refusal { code, fields } => {
                let mut reply = Reply::fault(code.into(), accept, id);
                reply.fields.extend(fields.into_iter().map(|(name, value)| (name.into(), value.into_bytes())));
                self.put_reply(&reply, version, is_head);
                return (reply.status, reply.body.len() as u64, None);
            }
        };
        let active = self.thread.active();
        let line = Line {
            version,
            status: response.status,
            reason: b"",
            keep_alive: self.keep_alive,
            add_date: true,
            server: active.settings.server_header.as_deref(),
        };
        put_static_head(&mut self.out, line, &response, &route.response_fields);
        let bytes = response.body.len();
        match response.body {
            Body::Empty => (response.status, 0, None),
            Body::Bytes(body) => {
                self.out.extend_from_slice(&body);
                (response.status, bytes, None)
            }
            body => (response.status, bytes, Some(body)),
        }
    }

    // --- endings ---

    fn poll_flush_state(&mut self, cx: &mut Context<'_>, then: After) -> Poll<Step> {
        match self.poll_write_out(cx) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Step::Abort),
            Poll::Pending => {
                let wait = self.thread.active().settings.timeouts.client_write_idle;
                self.enter(Phase::Exchange(Wait::ClientWrite), Some(wait), false);
                return self.deadline.poll(cx).map(|()| Step::Abort);
            }
        }
        Poll::Ready(match then {
            After::NextRequest => Step::Next(State::Head),
            After::Linger | After::Close => {
                let shut = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                if shut.is_ok() && then == After::Linger {
                    Step::Next(State::Linger { left: LINGER_BYTES_MAX })
                } else {
                    Step::Abort
                }
            }
        })
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>, body: &mut RequestBody, left: &mut usize) -> Poll<Step> {
        let thread = self.thread.clone();
        self.enter(Phase::Exchange(Wait::BodyIdle), Some(thread.active().settings.timeouts.body_idle), false);
        loop {
            let bytes = if self.input.is_empty() {
                let mut scratch = thread.scratch.borrow_mut();
                match self.poll_read(cx, &mut scratch) {
                    Poll::Ready(Ok(n @ 1..)) => scratch[..n].to_vec(),
                    Poll::Ready(_) => return Poll::Ready(Step::Abort),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| Step::Abort),
                }
            } else {
                std::mem::take(&mut self.input)
            };
            let taken = match body {
                RequestBody::Done => 0,
                RequestBody::Length(rest) => {
                    let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(bytes.len());
                    *rest -= taken as u64;
                    taken
                }
                RequestBody::Chunked(decoder) => match decoder.decode(&bytes, |_| {}) {
                    Ok(taken) => taken,
                    Err(_) => return Poll::Ready(Step::Abort),
                },
            };
            let over = match body {
                RequestBody::Done => true,
                RequestBody::Length(rest) => *rest == 0,
                RequestBody::Chunked(decoder) => decoder.is_done(),
            };
            if over {
                self.keep_rest(bytes, taken);
                return Poll::Ready(Step::Next(State::Head));
            }
            match left.checked_sub(taken) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Step::Next(State::Flush { then: After::Linger })),
            }
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<Step> {
        self.enter(Phase::Linger, Some(LINGER_TIME), false);
        let thread = self.thread.clone();
        let mut scratch = thread.scratch.borrow_mut();
        loop {
            match self.poll_read(cx, &mut scratch) {
                Poll::Ready(Ok(n @ 1..)) if n <= *left => *left -= n,
                Poll::Ready(_) => return Poll::Ready(Step::Abort),
                Poll::Pending => return self.deadline.poll(cx).map(|()| Step::Abort),
            }
        }
    }

    /// Makes the coming close a reset: the client learns that the response is not whole even where only the end of
    /// the connection delimits it, and the kernel keeps nothing for a client that does not read.
    fn cut(&self) {
        if let Some(tcp) = self.io.tcp() {
            // Where it can't be set, the close is an ordinary one.
            let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    // --- bytes ---

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes everything that waits. Ready when nothing is left; says whether anything was written.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while self.written < self.out.len() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.unflushed = true;
            wrote = true;
            // A slow client that takes some bytes is not stalled.
            if self.phase == Phase::Exchange(Wait::ClientWrite) {
                self.phase = Phase::Unbounded;
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        self.written = 0;
        self.out.clear();
        if self.out.capacity() > KEEP_CAPACITY {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(wrote))
    }
}

impl RequestBody {
    /// Whether what is left of it is worth dropping for the sake of keeping the connection.
    fn is_soon_read(&self) -> bool {
        match self {
            RequestBody::Done | RequestBody::Chunked(_) => true,
            RequestBody::Length(left) => *left <= DISCARD_BYTES_MAX as u64,
        }
    }
}

enum End {
    Closed,
    Http2,
    Lookup(Box<Lookup>, After),
    File(Body, After),
}

enum Begin {
    Partial,
    Http2,
    Step(Step, usize),
}
