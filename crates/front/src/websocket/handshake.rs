//! What the front says to a request that asks for a WebSocket, and to the worker that accepts it.

use smallvec::SmallVec;
use websocket::handshake::{self, Refusal};
use websocket::{Agreed, Policy, negotiate};

use crate::active::ActiveRoute;
use crate::dispatch::{Reply, Request};
use crate::fault::{Code, Fault};
use crate::head::{Field, Head, is_field_value, is_token};

/// The answer to a handshake that RFC 6455 §4.2.1 refuses; `None` if it is sound.
pub fn refusal(head: &Head<'_>, request_id: &str) -> Option<Reply> {
    let fields = head.fields.iter().copied();
    let refusal = handshake::check(head.method, fields).err()?;
    let code = if refusal == Refusal::Version { Code::UpgradeRequired } else { Code::RequestMalformed };
    let fault = Fault::new(code, refusal.what());
    tracing::debug!(target: "bireme::request", request_id, "{fault}");
    let mut reply = Reply::fault(fault, head.get("accept"), request_id);
    if refusal == Refusal::Version {
        reply.fields.push(("upgrade".into(), b"websocket".to_vec()));
        reply.fields.push(("sec-websocket-version".into(), handshake::VERSION.into()));
    }
    Some(reply)
}

/// What the client is told when a worker accepts.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// The response's fields, without those that only HTTP/1.1 has.
    pub fields: SmallVec<[Field<'a>; 16]>,
    /// Compression.
    pub agreed: Option<Agreed>,
}

impl Accepted<'_> {
    /// The subprotocol that the worker chose.
    pub fn subprotocol(&self) -> Option<&[u8]> {
        self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-protocol")).map(|(_, value)| *value)
    }
}

/// Checks a WS_ACCEPT: names are tokens, values end no line, the subprotocol is one that was offered; and negotiates
/// compression.
///
/// # Errors
/// Says how the application broke the rules.
pub fn accept<'a>(
    request: &Request,
    payload: &'a [u8],
    route: &'a ActiveRoute,
    compression: Option<config::WebSocketCompression>,
) -> Result<Accepted<'a>, Fault> {
    let broken = |what: String| Fault::new(Code::AppBrokeHttp, what);
    let head = request.head().ok_or(Fault::from(Code::Internal))?;
    let sent = wire::field_list(wire::Kind::WsAccept, payload).map_err(|error| broken(error.to_string()))?;
    let mut fields: SmallVec<[Field<'a>; 16]> = SmallVec::new();
    let mut subprotocol = false;
    for (name, value) in sent.iter() {
        if !is_token(name) || !is_field_value(value) {
            return Err(broken(format!("{:?} is not a sound field to accept a WebSocket with", String::from_utf8_lossy(name))));
        }
        if name.eq_ignore_ascii_case(b"sec-websocket-protocol") {
            let offered = handshake::protocols(head.fields.iter()).any(|protocol| protocol == value);
            if subprotocol || !offered {
                let value = String::from_utf8_lossy(value);
                return Err(broken(format!("the client did not offer the one subprotocol {value:?}")));
            }
            subprotocol = true;
        } else if is_ours(name) {
            continue;
        }
        fields.push((name, value));
    }
    for (name, value) in &route.response_fields {
        fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
        fields.push((name.as_bytes(), value.as_bytes()));
    }
    let agreed = compression.and_then(|compression| {
        let policy = Policy { context_takeover: compression.context_takeover, window_bits_max: compression.window_bits_max };
        negotiate(handshake::values(head.fields.iter(), "sec-websocket-extensions"), policy)
    });
    Ok(Accepted { fields, agreed })
}

/// The value of `sec-websocket-accept` for the request.
pub fn accept_value(request: &Request) -> String {
    let head = request.head();
    handshake::accept(head.as_ref().and_then(|head| head.fields.get("sec-websocket-key")).unwrap_or_default())
}

/// Fields that are the front's to send.
fn is_ours(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 11] = [
        b"upgrade",
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"content-length",
        b"transfer-encoding",
        b"keep-alive",
        b"date",
        b"trailer",
    ];
    NAMES.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}
