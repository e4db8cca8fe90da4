//! From a request's head to what is to be done with it: the route is found and the request is encoded for its
//! service, or answered on the spot. Knows no HTTP version.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;
use wire::{FLAG_END, FLAG_UPGRADE, FLAG_WEBSOCKET, RequestHead, RequestParts};

use crate::access_log::{Record, Version};
use crate::active::{ActiveRoute, ActiveTarget};
use crate::fault::{Code, Fault, Side};
use crate::forwarded::{self, Scheme};
use crate::head::{BodyLength, Field, Head, is_hop_by_hop, is_idempotent, list_members};
use crate::pool::Pool;
use crate::request_id;
use crate::shadow;
use crate::static_files::{self, Answer};
use crate::sticky::Preference;
use crate::thread::Thread;
use crate::upstream::Upstream;

/// Body bytes that travel in the same frame as the request's head.
pub const INLINE_BODY_MAX: usize = 64 * 1024;

/// The client's connection, as requests see it.
#[derive(Debug)]
pub struct Peer {
    /// The other end.
    pub forwarded: forwarded::Peer,
    /// Address of our end as text; empty over a Unix socket.
    pub local_addr: String,
    /// Port of our end.
    pub local_port: u16,
}

/// What is to be done.
#[derive(Debug)]
pub enum Plan {
    /// A worker answers.
    Service(Box<Request>),
    /// The front answers.
    Reply(Reply),
    /// A file answers.
    Static(Rc<ActiveRoute>, static_files::Response),
    /// A file answers when the disk has been waited for.
    Lookup(Box<Lookup>),
}

/// A request for a file that is not in memory: what [`Root::get`] needs, on its own.
#[derive(Debug)]
pub struct Lookup {
    /// The route it took.
    pub route: Rc<ActiveRoute>,
    /// The request's id.
    pub id: request_id::RequestId,
    began: Option<Instant>,
    version: u8,
    client: String,
    method: Vec<u8>,
    target: Vec<u8>,
    host: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Lookup {
    fn new(thread: &Thread, peer: &Peer, head: &Head<'_>, route: Rc<ActiveRoute>, id: request_id::RequestId) -> Lookup {
        Lookup {
            route,
            id,
            began: thread.request_began(),
            version: head.version,
            client: peer.forwarded.address().to_string(),
            method: head.method.to_vec(),
            target: head.target.to_vec(),
            host: head.host.to_vec(),
            fields: head.fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        }
    }

    /// Waits for the answer.
    pub async fn answer(&self) -> Answer {
        let ActiveTarget::Static(root) = &self.route.target else {
            return Answer::Refusal { code: Code::Internal, fields: Vec::new() };
        };
        let fields: Vec<Field<'_>> = self.fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        let (path, query) = split_target(&self.target);
        let request = static_files::Request { method: &self.method, path, query, fields: &fields, now: Instant::now() };
        root.get(&request).await
    }

    /// The request's method.
    pub fn method(&self) -> &[u8] {
        &self.method
    }

    /// The client's version.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value.as_slice())
    }

    /// Counts the request and writes it into the access log.
    pub fn record(&self, thread: &Thread, status: u16, bytes: u64) {
        thread.count(status, bytes, self.began);
        let Some(log) = thread.access_log() else { return };
        log.record(&Record {
            client: self.client.as_bytes(),
            method: &self.method,
            target: &self.target,
            host: &self.host,
            version: log_version(self.version),
            status,
            bytes,
            duration_us: elapsed_us(self.began),
            request_id: self.id.as_bytes(),
            service: b"",
            worker: b"",
            referer: self.get("referer").unwrap_or_default(),
            user_agent: self.get("user-agent").unwrap_or_default(),
        });
    }
}

/// Counts a request that the front answered itself and writes it, from its head, into the access log.
pub fn record_head(thread: &Thread, peer: &Peer, head: &Head<'_>, id: &str, status: u16, bytes: u64) {
    thread.count(status, bytes, None);
    let Some(log) = thread.access_log() else { return };
    log.record(&Record {
        client: peer.forwarded.address().as_bytes(),
        method: head.method,
        target: head.target,
        host: head.host,
        version: log_version(head.version),
        status,
        bytes,
        duration_us: 0,
        request_id: id.as_bytes(),
        service: b"",
        worker: b"",
        referer: head.get("referer").unwrap_or_default(),
        user_agent: head.get("user-agent").unwrap_or_default(),
    });
}

fn log_version(version: u8) -> Version {
    match version {
        10 => Version::Http10,
        20 => Version::Http2,
        _ => Version::Http11,
    }
}

fn elapsed_us(began: Option<Instant>) -> u64 {
    began.map_or(0, |began| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
}

fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// A request bound for a service.
#[derive(Debug)]
pub struct Request {
    /// On its way.
    pub upstream: Upstream,
    /// The route it took.
    pub route: Rc<ActiveRoute>,
    /// Most body bytes, if bounded.
    pub body_bytes_max: Option<u64>,
    /// From the end of the header until the response begins.
    pub response_timeout: Option<Duration>,
    began: Option<Instant>,
}

impl Request {
    /// The request as it was encoded, for pages and logs.
    pub fn head(&self) -> Option<wire::RequestHead<'_>> {
        wire::RequestHead::parse(self.upstream.frame().get(wire::HEADER_LEN..)?).ok()
    }

    /// Name of the service.
    pub fn service(&self) -> String {
        self.upstream.pool().service.to_string()
    }

    /// The service, and why its workers do not start.
    pub fn failing(&self) -> String {
        let pool = self.upstream.pool();
        match pool.failing() {
            Some(why) => format!("{}: {why}", pool.service),
            None => self.service(),
        }
    }

    /// Name of the worker that has it, or of the service while none has.
    pub fn worker(&self) -> String {
        self.upstream.stream().map_or_else(|| self.service(), |stream| stream.worker().to_string())
    }

    /// Counts the request and writes it into the access log.
    pub fn record(&self, thread: &Thread, status: u16, bytes: u64) {
        if let Some(counters) = &self.upstream.pool().counters {
            counters.count(status, bytes, self.began);
        }
        let (Some(log), Some(head)) = (thread.access_log(), self.head()) else { return };
        let target: Cow<'_, [u8]> = match head.prefix {
            b"" => Cow::Borrowed(head.target),
            prefix => Cow::Owned([prefix, head.target].concat()),
        };
        log.record(&Record {
            client: head.remote_addr,
            method: head.method,
            target: &target,
            host: head.fields.get("host").unwrap_or_default(),
            version: log_version(head.version),
            status,
            bytes,
            duration_us: elapsed_us(self.began),
            request_id: head.request_id,
            service: self.upstream.pool().service.as_bytes(),
            worker: self.upstream.stream().map_or("", link::Stream::worker).as_bytes(),
            referer: head.fields.get("referer").unwrap_or_default(),
            user_agent: head.fields.get("user-agent").unwrap_or_default(),
        });
    }

    /// Says in the log who failed, at what, and how often the request was sent again.
    pub fn log(&self, fault: &Fault) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (method, target, id) =
            self.head().map(|head| (text(head.method), text(head.target), text(head.request_id))).unwrap_or_default();
        let retries = self.upstream.retries();
        if fault.side() == Side::Client {
            tracing::debug!(target: "bireme::request", request_id = id, "{method} {target}: {fault}");
        } else {
            tracing::warn!(target: "bireme::request", request_id = id, retries, "{method} {target}: {fault}");
        }
    }
}

/// A complete answer of the front's own.
#[derive(Debug)]
pub struct Reply {
    /// 200–599.
    pub status: u16,
    /// Beside those that frame the message.
    pub fields: Vec<(Cow<'static, str>, Vec<u8>)>,
    /// The content.
    pub body: Bytes,
}

impl Reply {
    /// The page for a fault, in the form the client accepts.
    pub fn fault(fault: Fault, accept: Option<&[u8]>, request_id: &str) -> Reply {
        let page = fault.page(accept, request_id);
        Reply::with_page(&fault, page)
    }

    /// The page for a file that is not to be had; `fields` belong to it.
    pub fn refusal(code: Code, fields: Vec<(&'static str, String)>, accept: Option<&[u8]>, request_id: &str) -> Reply {
        let mut reply = Reply::fault(code.into(), accept, request_id);
        reply.fields.extend(fields.into_iter().map(|(name, value)| (name.into(), value.into_bytes())));
        reply
    }

    /// A fault's page with what the log says, where the settings are those of development.
    pub fn fault_of_app(fault: Fault, thread: &Thread, accept: Option<&[u8]>, request_id: &str) -> Reply {
        if !thread.active().settings.dev {
            return Reply::fault(fault, accept, request_id);
        }
        let page = fault.page_in_full(accept, request_id);
        Reply::with_page(&fault, page)
    }

    fn with_page(fault: &Fault, (content_type, body): (&'static str, Vec<u8>)) -> Reply {
        let mut fields: Vec<(Cow<'static, str>, Vec<u8>)> = vec![("content-type".into(), content_type.into())];
        if fault.status() == 503 {
            fields.push(("retry-after".into(), b"1".to_vec()));
        }
        fields.push(("cache-control".into(), b"no-store".to_vec()));
        Reply { status: fault.status(), fields, body: body.into() }
    }
}

/// Decides. `inline` are the body bytes that have arrived (at most [`INLINE_BODY_MAX`]), `complete` whether
/// they are all; `frame` is memory for the encoded request. Also returns the request's id.
pub fn plan(
    thread: &Thread,
    peer: &mut Peer,
    head: &Head<'_>,
    inline: &[u8],
    complete: bool,
    frame: Vec<u8>,
) -> (Plan, request_id::RequestId) {
    let id = thread.next_request_id();
    let reply = |fault: Fault| Plan::Reply(Reply::fault(fault, head.get("accept"), id.as_str()));
    let active = thread.active();
    let path = head.path();
    let found = match active.table.find(head.method, head.host, path) {
        route::Match::Found(found) => found,
        route::Match::NotFound => return (reply(Code::NotFound.into()), id),
        route::Match::MethodNotAllowed(allowed) => {
            let mut answer = Reply::fault(Code::MethodNotAllowed.into(), head.get("accept"), id.as_str());
            answer.fields.push(("allow".into(), allowed.into_bytes()));
            return (Plan::Reply(answer), id);
        }
    };
    let Some(route) = active.routes.get(found.index) else {
        return (reply(Code::Internal.into()), id);
    };
    if let (Some(max), BodyLength::Known(n)) = (route.body_bytes_max, head.body)
        && n > max
    {
        return (reply(Fault::new(Code::BodyTooLarge, format!("{n} bytes announced, {max} allowed"))), id);
    }
    if head.asks_for_websocket()
        && matches!(route.target, ActiveTarget::Service(_))
        && let Some(reply) = crate::websocket::refusal(head, id.as_str())
    {
        return (Plan::Reply(reply), id);
    }
    let plan = match &route.target {
        ActiveTarget::Service(pool) => {
            let mut frame = frame;
            frame.clear();
            let encoded = encode(thread, peer, head, inline, complete, &id, route, &mut frame);
            match encoded {
                Ok(()) => {
                    shadow::consider(thread, route, pool, head, complete && inline.is_empty(), &frame);
                    let preference = preference(thread, route, pool, &frame);
                    Plan::Service(Box::new(Request {
                        upstream: Upstream::new(pool.clone(), frame, inline.len(), is_idempotent(head.method)).prefer(preference),
                        route: route.clone(),
                        body_bytes_max: route.body_bytes_max,
                        response_timeout: route.response_timeout,
                        began: thread.request_began(),
                    }))
                }
                Err(error) => reply(Fault::new(Code::HeaderTooLarge, error.to_string())),
            }
        }
        ActiveTarget::Static(root) => {
            let (path, query) = split_target(head.target);
            let request = static_files::Request { method: head.method, path, query, fields: &head.fields, now: Instant::now() };
            match root.get_now(&request) {
                Some(Answer::Response(response)) => Plan::Static(route.clone(), response),
                Some(Answer::Refusal { code, fields }) => {
                    Plan::Reply(Reply::refusal(code, fields, head.get("accept"), id.as_str()))
                }
                None => Plan::Lookup(Box::new(Lookup::new(thread, peer, head, route.clone(), id))),
            }
        }
        ActiveTarget::Redirect { status, location } => {
            let location = fill_location(location, head, &found);
            Plan::Reply(Reply { status: *status, fields: vec![("location".into(), location)], body: Bytes::new() })
        }
        ActiveTarget::Respond { status, content_type, body } => Plan::Reply(Reply {
            status: *status,
            fields: vec![("content-type".into(), content_type.clone().into_bytes())],
            body: body.clone(),
        }),
    };
    (plan, id)
}

/// Which worker the encoded request is to go to.
fn preference(thread: &Thread, route: &ActiveRoute, pool: &Pool, frame: &[u8]) -> Preference {
    let Some(rule) = &route.sticky else { return Preference::None };
    match RequestHead::parse(&frame[wire::HEADER_LEN..]) {
        Ok(head) => Preference::of(rule, &head, &pool.service, &thread.shared.sessions),
        Err(_) => Preference::None,
    }
}

#[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
fn encode(
    thread: &Thread,
    peer: &mut Peer,
    head: &Head<'_>,
    inline: &[u8],
    complete: bool,
    id: &request_id::RequestId,
    route: &ActiveRoute,
    frame: &mut Vec<u8>,
) -> Result<(), wire::WireError> {
    let active = thread.active();
    let trusted = peer.forwarded.trusted();
    let mut incoming = forwarded::Incoming::default();
    let mut fields: SmallVec<[Field<'_>; 40]> = SmallVec::new();
    let mut request_id = id.as_bytes();
    let mut has_host = false;
    for &(name, value) in &head.fields {
        if incoming.take(name, value, trusted) {
            continue;
        }
        if is_hop_by_hop(name) || (head.connection_options && is_connection_option(head, name)) {
            continue;
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                has_host = true;
                fields.push((name, head.host));
            }
            12 if name.eq_ignore_ascii_case(b"x-request-id") => {
                if request_id::acceptable(value, trusted) {
                    request_id = value;
                }
            }
            _ => fields.push((name, value)),
        }
    }
    if !has_host {
        fields.insert(0, (b"host", head.host));
    }
    if head.body == BodyLength::Unknown {
        fields.push((b"transfer-encoding", b"chunked"));
    }
    if head.upgrade {
        fields.push((b"connection", b"upgrade"));
        if let Some(protocol) = head.get("upgrade") {
            fields.push((b"upgrade", protocol));
        }
    }
    let path = head.path();
    let stripped = route.strip_prefix.as_deref().and_then(|prefix| {
        let rest = route::strip(path, prefix.as_bytes())?;
        Some((prefix, rest))
    });
    let target: Cow<'_, [u8]> = match &stripped {
        None => Cow::Borrowed(head.target),
        Some((_, Cow::Borrowed(rest))) => {
            // The rest of the path and the query are the end of the target; only "/" can be new.
            match head.target.len().checked_sub(rest.len() + head.target.len() - path.len()) {
                Some(at) if head.target[at..].starts_with(rest) => Cow::Borrowed(&head.target[at..]),
                _ => Cow::Owned([rest, &head.target[path.len()..]].concat()),
            }
        }
        Some((_, Cow::Owned(rest))) => Cow::Owned([rest.as_slice(), &head.target[path.len()..]].concat()),
    };
    let origin = peer.forwarded.origin(&active.trust, head.host, &incoming);
    // Bound again so that the list is dropped before what it now borrows.
    let mut fields = fields;
    for (name, value) in &origin.fields {
        if !value.is_empty() {
            fields.push((name.as_bytes(), value));
        }
    }
    fields.push((b"x-request-id", request_id));
    let parts = RequestParts {
        version: head.version,
        https: origin.scheme == Scheme::Https,
        remote_port: origin.port,
        local_port: peer.local_port,
        method: head.method,
        target: &target,
        remote_addr: origin.address.as_bytes(),
        local_addr: peer.local_addr.as_bytes(),
        prefix: stripped.as_ref().map_or("", |(prefix, _)| prefix).as_bytes(),
        request_id,
    };
    let mut flags = if complete { FLAG_END } else { 0 } | if head.upgrade { FLAG_UPGRADE } else { 0 };
    if head.asks_for_websocket() {
        flags |= FLAG_WEBSOCKET;
    }
    wire::put_request(frame, 0, flags, &parts, fields.iter().copied(), inline)
}

/// Whether some `Connection` field names this one (RFC 9110 §7.6.1).
fn is_connection_option(head: &Head<'_>, name: &[u8]) -> bool {
    head.fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(b"connection"))
        .any(|(_, value)| list_members(value).any(|option| option.eq_ignore_ascii_case(name)))
}

/// Fills `{path}`, `{query}` (with its question mark), `{host}` and the pattern's parameters into a redirect's location. What the
/// client sent has passed the head's checks and cannot hold a line break.
fn fill_location(template: &str, head: &Head<'_>, found: &route::Found<'_, '_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len() + head.target.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        let Some(close) = rest[open..].find('}') else { break };
        let name = &rest[open + 1..open + close];
        // The pattern's own parameters come first: `/old/{*path}` to `/new/{path}` means the rest, not the whole path.
        let param = found.params.iter().find(|(known, _)| *known == name);
        match (param, name) {
            (Some((_, value)), _) => out.extend_from_slice(value),
            // "//host" at the start would be a place on another server.
            (None, "path") if out.is_empty() && head.path().starts_with(b"//") => {
                out.push(b'/');
                out.extend_from_slice(without_leading_slashes(head.path()));
            }
            (None, "path") => out.extend_from_slice(head.path()),
            (None, "query") if head.query().is_empty() => {}
            (None, "query") => {
                out.push(b'?');
                out.extend_from_slice(head.query());
            }
            (None, "host") => out.extend_from_slice(head.host),
            // Names are checked when the configuration is read.
            (None, _) => {}
        }
        rest = &rest[open + close + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn without_leading_slashes(path: &[u8]) -> &[u8] {
    let first = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    &path[first..]
}
