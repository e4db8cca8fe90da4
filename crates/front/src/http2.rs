//! HTTP/2 (RFC 9113) on the crate `h2`: one task a connection, one task a request.

mod websocket;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue};
use link::Incoming;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::ResetCode;

use crate::active::ActiveRoute;
use crate::compress::Encoder;
use crate::deadline::Deadline;
use crate::dispatch::{Peer, Plan, Reply, Request, plan, record_head};
use crate::fault::{Code, Fault};
use crate::head::{BodyLength, Field, Head, is_forbidden_trailer, parse_content_length};
use crate::http1::{HeadLimits, Io, is_host};
use crate::pool::Unavailable;
use crate::response::{announced_left, encode, may_have_body, prepare};
use crate::static_files::Answer;
use crate::thread::Thread;
use crate::upstream::Event;

/// What a client may send on one stream before the worker has taken it, in bytes; as on a link.
const STREAM_WINDOW: u32 = wire::INITIAL_CREDIT;
/// What a client may send on all streams of a connection before workers have taken it, in bytes.
const CONNECTION_WINDOW: u32 = 4 * wire::INITIAL_CREDIT;
/// Response bytes that `h2` buffers for one stream.
const SEND_BUFFER: usize = 256 * 1024;
/// Streams that a client may open and reset in quick succession (CVE-2023-44487) before it is cut off.
const PENDING_RESETS_MAX: usize = 50;

/// Serves a connection whose client speaks HTTP/2; `read` has been read from it already.
pub async fn serve<I: Io + 'static>(thread: Rc<Thread>, io: I, peer: Peer, read: Vec<u8>) {
    let active = thread.active();
    let timeouts = active.settings.timeouts.clone();
    let limits = &active.settings.limits;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .enable_connect_protocol();
    let handshake = builder.handshake::<_, Bytes>(Prefixed { read: Bytes::from(read), io });
    let Ok(Ok(mut connection)) = tokio::time::timeout(timeouts.header, handshake).await else { return };
    let peer = Rc::new(RefCell::new(peer));
    let open = Rc::new(Open::default());
    let deadline = thread.deadlines.register();
    let mut requests = 0;
    let mut closing = false;
    loop {
        // An idle connection is closed; one with requests is bounded by their own deadlines. A client that does not take what
        // is left of them, or the goodbye, is not waited for any longer than for any other that does not read.
        let patience = if closing { timeouts.client_write_idle } else { timeouts.keep_alive };
        let mut armed = None;
        let accepted = std::future::poll_fn(|cx| {
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(Some(accepted));
            }
            let idle = open.is_zero(cx);
            if armed != Some(idle) {
                armed = Some(idle);
                deadline.arm(idle.then_some(patience));
            }
            let idle_for_long = deadline.poll(cx).is_ready();
            if idle_for_long || (!closing && thread.draining()) { Poll::Ready(None) } else { Poll::Pending }
        });
        match accepted.await {
            Some(Some(Ok((request, respond)))) => {
                requests += 1;
                if !closing && limits.requests_per_connection_max.is_some_and(|most| requests >= most) {
                    closing = true;
                    connection.graceful_shutdown();
                }
                let exchange = exchange(thread.clone(), peer.clone(), request, respond);
                let open = open.clone();
                open.begin();
                tokio::task::spawn_local(async move {
                    exchange.await;
                    open.end();
                });
            }
            Some(_) => return,
            None if closing => return,
            None => {
                closing = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Requests of a connection that are under way.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    connection: RefCell<Option<Waker>>,
}

impl Open {
    fn begin(&self) {
        self.count.set(self.count.get() + 1);
    }

    fn end(&self) {
        self.count.set(self.count.get() - 1);
        if self.count.get() == 0
            && let Some(connection) = self.connection.take()
        {
            connection.wake();
        }
    }

    /// Whether there is none; wakes the task when the last one ends.
    fn is_zero(&self, cx: &Context<'_>) -> bool {
        if self.count.get() > 0 {
            *self.connection.borrow_mut() = Some(cx.waker().clone());
        }
        self.count.get() == 0
    }
}

async fn exchange(
    thread: Rc<Thread>,
    peer: Rc<RefCell<Peer>>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (parts, mut body) = request.into_parts();
    let cookies = join_cookies(&parts.headers);
    let limits = thread.active().head_limits;
    let (planned, is_head, expect_continue) = match read_head(&parts, &body, cookies.as_deref(), limits) {
        Ok(head) => {
            let complete = head.body == BodyLength::Empty;
            let is_head = head.method == b"HEAD";
            let (planned, id) = plan(&thread, &mut peer.borrow_mut(), &head, &[], complete, Vec::new());
            let answered = match &planned {
                Plan::Reply(reply) => Some((reply.status, reply.body.len() as u64)),
                Plan::Static(_, Answer::Response(response)) => Some((response.status, response.body.len())),
                Plan::Static(_, Answer::Refusal { code, .. }) => Some((code.status(), 0)),
                Plan::Service(_) | Plan::Lookup(_) => None,
            };
            if let Some((status, bytes)) = answered {
                record_head(&thread, &peer.borrow(), &head, id.as_str(), status, bytes);
            }
            (planned, is_head, head.expect_continue)
        }
        Err(fault) => {
            let id = thread.next_request_id();
            let unread = Head { version: 20, ..Head::unread() };
            record_head(&thread, &peer.borrow(), &unread, id.as_str(), fault.status(), 0);
            (Plan::Reply(Reply::fault(fault, accept(&parts), id.as_str())), parts.method == http::Method::HEAD, false)
        }
    };
    match planned {
        Plan::Reply(reply) => send_reply(&thread, &mut respond, &reply, is_head),
        Plan::Static(route, answer) => send_answer(&thread, &mut respond, &route, answer, accept(&parts), is_head).await,
        Plan::Lookup(lookup) => {
            let answer = lookup.answer().await;
            let (status, bytes) = match &answer {
                Answer::Response(response) => (response.status, response.body.len()),
                Answer::Refusal { code, .. } => (code.status(), 0),
            };
            lookup.record(&thread, status, bytes);
            send_answer(&thread, &mut respond, &lookup.route, answer, accept(&parts), is_head).await;
        }
        Plan::Service(request) => {
            // A WebSocket's bytes are no body: they wait until it is accepted.
            let websocket = request.head().is_some_and(|head| head.fields.get("upgrade").is_some());
            let body_done = websocket || body.is_end_stream();
            let exchange = Exchange {
                deadline: thread.deadlines.register(),
                thread,
                request: *request,
                respond,
                body: &mut body,
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
                phase: Phase::None,
            };
            exchange.run().await;
        }
    }
}

fn accept(parts: &http::request::Parts) -> Option<&[u8]> {
    parts.headers.get("accept").map(HeaderValue::as_bytes)
}

/// Sends a static file, piece by piece as the client takes it.
async fn send_answer(
    thread: &Thread,
    respond: &mut SendResponse<Bytes>,
    route: &ActiveRoute,
    answer: Answer,
    accept: Option<&[u8]>,
    is_head: bool,
) {
    let response = match answer {
        Answer::Response(response) => response,
        Answer::Refusal { code, fields } => {
            let id = thread.next_request_id();
            let mut reply = Reply::fault(code.into(), accept, id.as_str());
            reply.fields.extend(fields.into_iter().map(|(name, value)| (name.into(), value.into_bytes())));
            return send_reply(thread, respond, &reply, is_head);
        }
    };
    let set = &route.response_fields;
    let kept = response.fields().filter(|(name, _)| {
        !set.iter().any(|(other, _)| name.eq_ignore_ascii_case(other.as_bytes()))
    });
    let fields = kept.chain(set.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let Some(head) = response_head(thread, response.status, fields, None, true) else { return };
    let empty = response.body.is_empty();
    let Ok(mut stream) = respond.send_response(head, empty) else { return };
    let mut left = response.body.len();
    let mut reader = response.body.into_reader();
    let idle = thread.active().settings.timeouts.client_write_idle;
    while left > 0 {
        stream.reserve_capacity(usize::try_from(left).unwrap_or(usize::MAX).min(SEND_BUFFER));
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Ok(Some(Ok(room))) = tokio::time::timeout(idle, room).await else {
            return stream.send_reset(Reason::CANCEL);
        };
        let Ok(Some(piece)) = reader.next(room).await else { return stream.send_reset(Reason::INTERNAL_ERROR) };
        left -= piece.len() as u64;
        if stream.send_data(piece, left == 0).is_err() {
            return;
        }
    }
}

/// A client may split its cookies over many fields; applications expect one (RFC 9113 §8.2.3).
fn join_cookies(headers: &http::HeaderMap) -> Option<Vec<u8>> {
    let mut cookies = headers.get_all("cookie").iter();
    let (first, second) = (cookies.next()?, cookies.next()?);
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    Some(joined)
}

fn read_head<'a>(
    parts: &'a http::request::Parts,
    body: &RecvStream,
    cookies: Option<&'a [u8]>,
    limits: HeadLimits,
) -> Result<Head<'a>, Fault> {
    let connect = parts.method == http::Method::CONNECT;
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let websocket = connect && protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    if connect && !websocket {
        return Err(Fault::new(Code::NotImplemented, "CONNECT"));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let field = parts.headers.get("host").map(HeaderValue::as_bytes);
    // RFC 9113 §8.3.1: :authority and host, where both are sent, must agree.
    if let (Some(authority), Some(field)) = (authority, field)
        && !authority.eq_ignore_ascii_case(field)
    {
        return Err(Fault::new(Code::HostInvalid, ":authority and host differ"));
    }
    let host = authority.or(field).unwrap_or_default();
    if host.is_empty() || !is_host(host) || host.contains(&b'@') {
        return Err(Code::HostInvalid.into());
    }
    let target = parts.uri.path_and_query().map_or(b"/".as_slice(), |target| target.as_str().as_bytes());
    if !(target.first() == Some(&b'/') || (target == b"*" && parts.method == http::Method::OPTIONS)) {
        return Err(Code::TargetInvalid.into());
    }
    // `h2` has bounded the bytes of the whole.
    if target.len() > limits.target_bytes_max {
        return Err(Code::TargetTooLong.into());
    }
    if parts.headers.len() > limits.fields_max {
        return Err(Fault::new(Code::HeaderTooLarge, "too many header fields"));
    }
    let expectation = parts.headers.get("expect").map(HeaderValue::as_bytes);
    if expectation.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Code::ExpectationFailed.into());
    }
    let mut lengths = parts.headers.get_all("content-length").iter();
    let length = lengths.next().and_then(|value| parse_content_length(value.as_bytes()));
    if lengths.next().is_some() {
        return Err(Fault::new(Code::RequestMalformed, "content-length is not one number"));
    }
    let mut fields: SmallVec<[Field<'a>; 32]> = SmallVec::new();
    fields.push((b"host", host));
    if websocket {
        // As over HTTP/1.1, where the key would be the client's own: RFC 8441 §5 has none.
        fields.push((b"upgrade", b"websocket"));
        fields.push((b"sec-websocket-key", ::websocket::handshake::MADE_UP_KEY.as_bytes()));
    }
    let mut cookie_sent = false;
    for (name, value) in &parts.headers {
        match name.as_str() {
            "host" => {}
            "upgrade" | "sec-websocket-key" if websocket => {}
            "cookie" => {
                if let Some(cookies) = cookies {
                    if !std::mem::replace(&mut cookie_sent, true) {
                        fields.push((b"cookie", cookies));
                    }
                } else {
                    fields.push((b"cookie", value.as_bytes()));
                }
            }
            name => fields.push((name.as_bytes(), value.as_bytes())),
        }
    }
    let body = match length {
        _ if websocket || body.is_end_stream() => BodyLength::Empty,
        Some(n) => BodyLength::Known(n),
        None => BodyLength::Unknown,
    };
    Ok(Head {
        version: 20,
        method: if websocket { b"GET" } else { parts.method.as_str().as_bytes() },
        target,
        host,
        fields,
        body,
        upgrade: websocket,
        expect_continue: expectation.is_some() && body != BodyLength::Empty,
        connection_options: false,
    })
}

fn response_head<'f>(
    thread: &Thread,
    status: u16,
    fields: impl Iterator<Item = Field<'f>>,
    length: Option<u64>,
    add_date: bool,
) -> Option<http::Response<()>> {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    for (name, value) in fields {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { continue };
        headers.append(name, value);
    }
    if let Some(length) = length {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if add_date && let Ok(value) = HeaderValue::from_bytes(&crate::date::now()) {
        headers.insert(http::header::DATE, value);
    }
    if let Some(server) = &thread.active().settings.server_header
        && let Ok(value) = HeaderValue::from_str(server)
    {
        headers.insert(http::header::SERVER, value);
    }
    Some(response)
}

fn send_reply(thread: &Thread, respond: &mut SendResponse<Bytes>, reply: &Reply, is_head: bool) {
    let fields = reply.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
    let has_body = may_have_body(is_head, reply.status) && !reply.body.is_empty();
    let Some(head) = response_head(thread, reply.status, fields, Some(reply.body.len() as u64), true) else { return };
    // An error means that the client has gone.
    if let Ok(mut stream) = respond.send_response(head, !has_body)
        && has_body
    {
        let _ = stream.send_data(reply.body.clone(), true);
    }
}

/// A request that is with a service.
struct Exchange<'b> {
    thread: Rc<Thread>,
    request: Request,
    respond: SendResponse<Bytes>,
    body: &'b mut RecvStream,
    body_done: bool,
    body_bytes: u64,
    is_head: bool,
    /// The client waits for a 100 before it sends its body.
    expect_continue: bool,
    /// The request asks for a WebSocket.
    websocket: bool,
    upgraded: Option<websocket::Upgraded>,
    /// The beginning of the application's own answer to an upgrade.
    tunnel_head: Option<Vec<u8>>,
    out: Option<SendStream<Bytes>>,
    /// Response bytes that wait for the client's window.
    pending: Bytes,
    pending_end: bool,
    trailers: Option<http::HeaderMap>,
    /// Body bytes that the worker announced and has not sent yet.
    left: Option<u64>,
    /// Body bytes from the worker for which no credit has been given back.
    arrived: usize,
    encoder: Option<Encoder>,
    has_body: bool,
    /// What the access log says.
    status: u16,
    body_sent: u64,
    begun: bool,
    done: bool,
    deadline: Deadline,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    None,
    Queue,
    Response,
    ResponseIdle,
    BodyIdle,
    ClientWrite,
}

impl Exchange<'_> {
    async fn run(mut self) {
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
                self.phase = Phase::None;
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
        let prepared =
            prepare(&active.compressor, &self.request, &route, self.is_head, (status, payload, end), &mut etag);
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

    fn break_off(&mut self, fault: Fault) {
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
        let active = self.thread.active();
        let timeouts = &active.settings.timeouts;
        let stream = self.request.upstream.stream();
        let body_awaited = !self.body_done && stream.is_some_and(|s| !s.local_ended() && s.send_credit() > 0);
        let (phase, wait): (Phase, Option<Duration>) = if !self.pending.is_empty() {
            (Phase::ClientWrite, Some(timeouts.client_write_idle))
        } else if !self.begun && stream.is_none() {
            (Phase::Queue, Some(self.request.upstream.pool().limits().queue_timeout))
        } else if body_awaited {
            (Phase::BodyIdle, Some(timeouts.body_idle))
        } else if !self.begun {
            (Phase::Response, self.request.response_timeout)
        } else {
            (Phase::ResponseIdle, timeouts.response_idle)
        };
        if self.phase != phase {
            self.phase = phase;
            self.deadline.arm(wait);
        }
    }

    fn timed_out(&mut self) {
        let (code, reset) = match self.phase {
            Phase::Queue => (Code::QueueTimeout, ResetCode::Cancelled),
            Phase::BodyIdle => (Code::BodyTimeout, ResetCode::Cancelled),
            Phase::ClientWrite => (Code::ClientStalled, ResetCode::Cancelled),
            Phase::ResponseIdle => (Code::ResponseStalled, ResetCode::Deadline),
            _ => (Code::ResponseTimeout, ResetCode::Deadline),
        };
        if let Some(stream) = self.request.upstream.stream() {
            stream.reset(reset, code.client_message());
        }
        self.deadline.arm(None);
        self.fail(Fault::new(code, self.worker()));
    }
}

/// `SETTINGS_MAX_FRAME_SIZE` as it is by default (RFC 9113 §6.5.2).
const MAX_FRAME: usize = 16_384;

fn response_head_bare<'f>(status: u16, fields: impl Iterator<Item = Field<'f>>) -> Option<http::Response<()>> {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).ok()?;
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

/// A byte stream whose first bytes have been read already.
struct Prefixed<I> {
    read: Bytes,
    io: I,
}

impl<I: AsyncRead + Unpin> AsyncRead for Prefixed<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let n = buffer.remaining().min(self.read.len());
        buffer.put_slice(&self.read[..n]);
        self.read.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Prefixed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
