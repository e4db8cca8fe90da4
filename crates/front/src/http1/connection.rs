//! One client connection: a state machine that is polled as one task.
//!
//! Reads go into a buffer that all connections of the thread share, so an idle connection holds no buffer;
//! what is left over from a read is kept in `input`.

mod ending;
mod exchange;
mod head;
mod reply;
mod tunnel;
mod websocket;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use link::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::chunked::Chunked;
use super::response::put_informational;
use crate::compress::Encoder;
use crate::deadline::Deadline;
use crate::dispatch::{Lookup, Peer, Reply, Request};
use crate::static_files::{Answer, Body};
use crate::thread::Thread;
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
    Flush {
        then: After,
    },
    /// The answer is out and the application left the request's body unread: drop it, at most this much, and go on.
    Discard {
        body: RequestBody,
        left: usize,
    },
    /// The answer is out, the request is not read: drop this much of it, then close.
    Linger {
        left: usize,
    },
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
                    let (status, bytes, body) = match Box::pin(lookup.answer()).await {
                        Answer::Response(response) => {
                            let status = response.status;
                            let (bytes, body) = self.put_static(response, &lookup.route, lookup.version());
                            (status, bytes, body)
                        }
                        Answer::Refusal { code, fields } => {
                            let reply = Reply::refusal(code, fields, lookup.get("accept"), lookup.id.as_str());
                            self.put_reply(&reply, lookup.version(), lookup.method() == b"HEAD");
                            (reply.status, reply.body.len() as u64, None)
                        }
                    };
                    lookup.record(&self.thread, status, bytes);
                    self.state = match body {
                        Some(body) => State::File(Box::new((body, after))),
                        None => State::Flush { then: after },
                    };
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

enum End {
    Closed,
    Http2,
    Lookup(Box<Lookup>, After),
    File(Body, After),
}
