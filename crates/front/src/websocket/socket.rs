//! One socket: messages between a client's frames and a worker's stream, pings, closing.
//!
//! Nothing here reads or writes a connection. The caller feeds what the client sent ([`Socket::feed`]), fetches what the
//! worker sent ([`Socket::poll_worker`]), writes what has gathered in `out`, and keeps the time ([`Socket::wait`],
//! [`Socket::on_time`]).

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use link::{Incoming, Stream};
use websocket::{Agreed, CloseCode, Limits, Pool, Receiver, Sender, Step, put_close, put_ping, put_pong};

use super::outbox::{Outbox, Piece, Pushed};
use super::{Survival, Workshop};
use crate::deadline::now_ms;
use crate::topics::{Inbox, Topics};

/// Pieces of a message below this go to the worker together, in bytes; larger ones are not copied once more.
const GATHER_BELOW: usize = 4 * 1024;
/// Gathered pieces go to the worker when they come to this, in bytes.
const GATHERED_MAX: usize = 64 * 1024;

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    receiver: Receiver,
    sender: Sender,
    times: Times,
    out_max: usize,
    /// Messages of the worker for which `out` had no room.
    outbox: Outbox,
    /// When the last byte came from the client.
    heard_at: u64,
    /// When the last message passed, either way.
    message_at: u64,
    pinged_at: Option<u64>,
    /// The client does not read its messages' answers, or the worker takes no more: nothing is read, so nothing is heard.
    held: bool,
    closing: Closing,
    /// What the worker sent and the client has not been given, in credit.
    unreported: usize,
    /// What topics have for the client, once it has joined one.
    inbox: Option<Rc<Inbox>>,
    /// The worker has the beginning of a message from the client.
    in_message: bool,
    /// How another worker takes over, if its service says so.
    survival: Option<Box<Survival>>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    ping_interval: Option<Duration>,
    ping_timeout: Duration,
    idle_timeout: Option<Duration>,
    close_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Not yet.
    Open,
    /// Our Close frame is out; the client's own is awaited until then.
    Awaiting(u64),
    /// Nothing more is to come.
    Over(Over),
}

/// How the connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Both have said so: write what waits and close.
    Clean,
    /// The client broke a rule and may still be sending: write what waits, and let it read that.
    Broken,
    /// Now.
    Cut,
}

/// How far the client's bytes were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// All but the beginning of a frame; more bytes are wanted.
    More,
    /// Data for which the worker gives no credit.
    Blocked,
    /// The answers to it fill the client's buffer.
    Full,
}

impl Socket {
    /// A socket that a worker has just accepted on `stream`.
    pub fn new(
        stream: Stream,
        settings: &config::WebSocket,
        agreed: Option<Agreed>,
        pool: &Rc<Pool>,
        survival: Option<Survival>,
    ) -> Socket {
        if survival.is_some() {
            stream.keep_inbox();
        }
        let limits = Limits { message_bytes_max: settings.message_bytes_max };
        let (receiver, sender) = match agreed {
            None => (Receiver::plain(limits), Sender::plain()),
            Some(agreed) => {
                let bytes_min = settings.compression.map_or(0, |compression| compression.bytes_min);
                (Receiver::inflating(limits, agreed, pool.clone()), Sender::deflating(agreed, pool.clone(), bytes_min))
            }
        };
        let now = now_ms();
        Socket {
            stream,
            receiver,
            sender,
            times: Times {
                ping_interval: settings.ping_interval,
                ping_timeout: settings.ping_timeout,
                idle_timeout: settings.idle_timeout,
                close_timeout: settings.close_timeout,
            },
            out_max: settings.send_buffer_bytes_max,
            outbox: Outbox::new(settings.send_queue_bytes_max, settings.send_queue_full),
            heard_at: now,
            message_at: now,
            pinged_at: None,
            held: false,
            closing: Closing::Open,
            unreported: 0,
            inbox: None,
            in_message: false,
            survival: survival.map(Box::new),
        }
    }

    /// Whether, and how, the connection is to end.
    pub fn over(&self) -> Option<Over> {
        match self.closing {
            Closing::Over(over) => Some(over),
            _ => None,
        }
    }

    /// Understands what the client sent: `input` begins with what was left before. Appends answers to `out` and says how
    /// many bytes were taken.
    pub fn feed(&mut self, workshop: &Workshop, input: &mut [u8], out: &mut Vec<u8>) -> (usize, Fed) {
        let mut inflated = workshop.inflated.borrow_mut();
        let mut gathered = workshop.gathered.borrow_mut();
        gathered.clear();
        let mut gathered_text = false;
        let mut taken = 0;
        let fed = loop {
            if out.len() >= self.out_max {
                break Fed::Full;
            }
            let open = self.closing == Closing::Open;
            // What comes after our Close frame is read for the client's own, and dropped.
            let room = match open {
                // The next worker gets it.
                true if self.is_between_workers() => 0,
                true => self.stream.message_room().saturating_sub(gathered.len()),
                false => usize::MAX,
            };
            let (n, step) = match self.receiver.next(&mut input[taken..], &mut inflated, room) {
                Ok(next) => next,
                Err(violation) => {
                    gathered.clear();
                    self.fail(out, violation.code, violation.what);
                    break Fed::More;
                }
            };
            taken += n;
            match step {
                Step::More => break Fed::More,
                Step::Blocked => break Fed::Blocked,
                Step::Data { text, bytes, end } if open => {
                    self.in_message = !end;
                    if gathered.is_empty() && (end || bytes.len() >= GATHER_BELOW) {
                        self.stream.send_message(bytes, text, end);
                    } else {
                        gathered.extend_from_slice(bytes);
                        gathered_text = text;
                        if end || gathered.len() >= GATHERED_MAX {
                            self.stream.send_message(&gathered, text, end);
                            gathered.clear();
                        }
                    }
                    if end {
                        self.message_at = self.heard_at;
                    }
                }
                Step::Ping(payload) if open => put_pong(out, payload),
                Step::Close(code, reason) => {
                    if open {
                        put_close(out, code, "");
                    }
                    self.stream.close_websocket(code.0, reason);
                    self.closing = Closing::Over(Over::Clean);
                    break Fed::More;
                }
                Step::Data { .. } | Step::Ping(_) | Step::Pong(_) => {}
            }
        };
        // Pieces are handed on as they come: a message may take its time.
        if !gathered.is_empty() && self.closing == Closing::Open {
            self.stream.send_message(&gathered, gathered_text, false);
        }
        self.held = fed != Fed::More;
        (taken, fed)
    }

    /// Notes that bytes have come from the client.
    pub fn heard(&mut self) {
        self.heard_at = now_ms();
        self.pinged_at = None;
    }

    /// Ready when the worker takes more, after [`Fed::Blocked`].
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closing != Closing::Open {
            return Poll::Ready(());
        }
        if self.is_between_workers() {
            // The accepting worker wakes us.
            return Poll::Pending;
        }
        self.stream.poll_message_room(cx).map(drop)
    }

    /// Appends what the worker sent, and what topics have, to `out`, until that is full. Says whether there was anything.
    pub fn poll_worker(&mut self, cx: &mut Context<'_>, topics: &Topics, out: &mut Vec<u8>) -> bool {
        let mut progress = self.poll_survival(cx, out) | self.empty_outbox(out, self.out_max);
        while out.len() < self.out_max || self.outbox.takes() {
            let Poll::Ready(incoming) = self.stream.poll_incoming(cx) else { break };
            progress |= self.on_incoming(incoming, out);
        }
        let dropped = self.outbox.take_dropped();
        if dropped > 0 {
            tracing::debug!(worker = self.stream.worker(), dropped, "a WebSocket's client is too slow for its application");
        }
        if self.inbox.is_none() && self.stream.has_inbox() {
            self.inbox = topics.inbox(self.stream.key());
        }
        progress | self.poll_inbox(cx, out)
    }

    fn is_between_workers(&self) -> bool {
        self.survival.as_ref().is_some_and(|survival| survival.is_under_way())
    }

    /// Asks another worker to take over, if the service says so and no message is cut in two by it. `false`: it can't be.
    fn begin_survival(&mut self) -> bool {
        let whole = !self.in_message && !self.outbox.in_message() && (!self.sender.in_message() || !self.outbox.is_empty());
        match &mut self.survival {
            Some(survival) if whole => {
                if !survival.is_under_way() {
                    survival.begin(&self.stream);
                }
                true
            }
            _ => false,
        }
    }

    /// Goes on with the worker that has taken over. Says whether anything happened.
    fn poll_survival(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        let Some(survival) = &mut self.survival else { return false };
        if self.closing != Closing::Open {
            survival.abandon();
            return false;
        }
        let Poll::Ready(found) = survival.poll(cx) else { return false };
        let Some(stream) = found else {
            tracing::warn!(worker = self.stream.worker(), "a WebSocket is closed with 1012, as no worker takes it over");
            self.begin_close(out, CloseCode::RESTART, "the service restarts");
            return true;
        };
        tracing::debug!(from = self.stream.worker(), to = stream.worker(), "a WebSocket is taken over");
        survival.hand_over(&self.stream, &stream);
        stream.keep_inbox();
        let old = std::mem::replace(&mut self.stream, stream);
        old.close_websocket(CloseCode::RESTART.0, "handed over");
        self.unreported = 0;
        true
    }

    fn poll_inbox(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        let Some(inbox) = self.inbox.as_ref().filter(|_| self.closing == Closing::Open).cloned() else { return false };
        inbox.register(cx);
        let mut progress = false;
        // A message that the worker has begun must be whole before another may come.
        while out.len() < self.out_max && !self.sender.in_message() && inbox.next(|message| self.sender.put_shared(out, message))
        {
            progress = true;
        }
        if progress {
            self.message_at = now_ms();
            let dropped = inbox.take_dropped();
            if dropped > 0 {
                tracing::debug!(worker = self.stream.worker(), dropped, "a WebSocket's client is too slow for its topics");
            }
        }
        if inbox.is_overflown() {
            self.close_for_slowness(out);
            return true;
        }
        progress
    }

    /// Moves what waited for room into `out`, until that holds `most`. Says whether there was anything.
    fn empty_outbox(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        let mut progress = false;
        while out.len() < most
            && let Some(piece) = self.outbox.pop()
        {
            self.put(piece, out);
            progress = true;
        }
        progress
    }

    fn put(&mut self, piece: Piece, out: &mut Vec<u8>) {
        self.sender.put(out, &piece.bytes, piece.text, piece.end);
        if piece.end {
            self.message_at = now_ms();
        }
    }

    /// Puts a message of the worker into `out`, or, behind others or for lack of room, into the outbox. Says whether
    /// anything of that is to be seen by the client.
    fn on_message(&mut self, piece: Piece, out: &mut Vec<u8>) -> bool {
        let cost = piece.bytes.len() + wire::MESSAGE_COST as usize;
        if self.outbox.makes_wait() {
            self.unreported += cost;
        } else {
            self.stream.consumed(cost);
        }
        if self.closing != Closing::Open {
            return false;
        }
        if self.outbox.is_empty() && out.len() < self.out_max {
            self.put(piece, out);
            return true;
        }
        match self.outbox.push(piece, self.sender.in_message()) {
            Pushed::Kept => false,
            Pushed::TooSlow => {
                self.close_for_slowness(out);
                true
            }
        }
    }

    /// Says whether there is anything new for the client.
    fn on_incoming(&mut self, incoming: Incoming, out: &mut Vec<u8>) -> bool {
        let open = self.closing == Closing::Open;
        match incoming {
            Incoming::WsMessage { bytes, text, end } => return self.on_message(Piece { bytes, text, end }, out),
            Incoming::WsClose { code, reason } if open => match CloseCode(code) {
                CloseCode::ABNORMAL => {
                    self.stream.close_websocket(code, "");
                    self.closing = Closing::Over(Over::Cut);
                }
                code => self.begin_close(out, code, &reason),
            },
            Incoming::Reset { code, text } if open => {
                tracing::warn!(
                    worker = self.stream.worker(),
                    ?code,
                    "a WebSocket is closed with 1011, as its application failed: {text}"
                );
                self.begin_close(out, CloseCode::INTERNAL, "");
            }
            Incoming::Lost { .. } if open && self.begin_survival() => {}
            Incoming::Lost { .. } if open => {
                tracing::warn!(worker = self.stream.worker(), "a WebSocket is closed with 1012, as its worker is gone");
                self.begin_close(out, CloseCode::RESTART, "the service restarts");
            }
            // Kinds that a link lets through after WS_ACCEPT, once we are closing: nothing to do.
            _ => {}
        }
        true
    }

    /// Notes that everything in `out` has been written.
    pub fn flushed(&mut self) {
        if self.unreported > 0 {
            self.stream.consumed(std::mem::take(&mut self.unreported));
        }
    }

    /// The client may take its time to hear of it; the worker need not wait for that.
    fn close_for_slowness(&mut self, out: &mut Vec<u8>) {
        self.stream.close_websocket(CloseCode::POLICY.0, "too slow");
        self.begin_close(out, CloseCode::POLICY, "too slow");
    }

    /// Sends what waits, and a Close frame, after which nothing is sent.
    fn begin_close(&mut self, out: &mut Vec<u8>, code: CloseCode, reason: &str) {
        self.empty_outbox(out, usize::MAX);
        put_close(out, code, reason);
        self.closing = Closing::Awaiting(now_ms() + millis(self.times.close_timeout));
    }

    /// The client broke a rule: tells both sides.
    fn fail(&mut self, out: &mut Vec<u8>, code: CloseCode, what: &str) {
        tracing::debug!(worker = self.stream.worker(), code = code.0, "a WebSocket is closed: {what}");
        if self.closing == Closing::Open {
            put_close(out, code, what);
        }
        self.stream.close_websocket(code.0, what);
        self.closing = Closing::Over(Over::Broken);
    }

    /// The client's connection has ended.
    pub fn client_gone(&mut self) {
        self.stream.close_websocket(CloseCode::ABNORMAL.0, "");
        self.closing = Closing::Over(Over::Cut);
    }

    /// Closes the socket with 1001 if its worker or, says `draining`, the front is to stop; or has another worker take it
    /// over. Says whether it did.
    pub fn drain(&mut self, draining: bool, out: &mut Vec<u8>) -> bool {
        if self.closing != Closing::Open || !(draining || self.stream.is_retired()) {
            return false;
        }
        if !draining && self.survival.is_some() {
            // A message under way is waited for.
            return !self.is_between_workers() && self.begin_survival();
        }
        self.begin_close(out, CloseCode::GOING_AWAY, "");
        true
    }

    /// How long to wait for anything, at most.
    pub fn wait(&self) -> Option<Duration> {
        let due = match self.closing {
            Closing::Awaiting(until) => Some(until),
            Closing::Over(_) => None,
            Closing::Open => {
                let idle = self.times.idle_timeout.map(|timeout| self.message_at + millis(timeout));
                let survival = self.survival.as_ref().and_then(|survival| survival.due());
                [self.ping_due(), idle, survival].into_iter().flatten().min()
            }
        };
        due.map(|due| Duration::from_millis(due.saturating_sub(now_ms())))
    }

    /// When a ping is due, or its answer.
    fn ping_due(&self) -> Option<u64> {
        if self.held {
            return None;
        }
        match self.pinged_at {
            Some(at) => Some(at + millis(self.times.ping_timeout)),
            None => self.times.ping_interval.map(|interval| self.heard_at + millis(interval)),
        }
    }

    /// Does what is due now. Says whether that was anything.
    pub fn on_time(&mut self, out: &mut Vec<u8>) -> bool {
        let now = now_ms();
        match self.closing {
            Closing::Awaiting(until) if until <= now => self.client_gone(),
            Closing::Open if self.survival.as_ref().and_then(|survival| survival.due()).is_some_and(|due| due <= now) => {
                if !self.survival.as_mut().is_some_and(|survival| survival.on_time()) {
                    self.begin_close(out, CloseCode::RESTART, "the service restarts");
                }
            }
            Closing::Open if self.ping_due().is_some_and(|due| due <= now) => match self.pinged_at {
                Some(_) => {
                    tracing::debug!(worker = self.stream.worker(), "a WebSocket's client answers no ping and is taken for gone");
                    self.client_gone();
                }
                None => {
                    put_ping(out, b"");
                    self.pinged_at = Some(now);
                }
            },
            Closing::Open if self.times.idle_timeout.is_some_and(|timeout| self.message_at + millis(timeout) <= now) => {
                self.begin_close(out, CloseCode::GOING_AWAY, "idle");
            }
            _ => return false,
        }
        true
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // For a connection that ends in the middle of things; nothing if the stream is over.
        self.stream.close_websocket(CloseCode::ABNORMAL.0, "");
        if let Some(survival) = &self.survival {
            survival.end(&self.stream);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
