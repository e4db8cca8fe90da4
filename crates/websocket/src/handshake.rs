//! The opening handshake (RFC 6455 §4.2), without the rules that HTTP's own parser has checked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The only version there is (§4.1).
pub const VERSION: &str = "13";
/// §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Subprotocols that a client may offer; each is compared with all others, so this bounds the work.
const PROTOCOLS_MAX: usize = 64;

/// Why a request that asks for a WebSocket gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method is not GET (§4.2.1).
    Method,
    /// `sec-websocket-version` is not 13; the answer is 426 and names [`VERSION`] (§4.4).
    Version,
    /// `sec-websocket-key` is missing, repeated, or not 16 bytes of base 64.
    Key,
    /// An offer of extensions that cannot be read (§9.1).
    Extensions,
    /// A subprotocol that is not a token, or offered twice (§4.1).
    Protocols,
}

impl Refusal {
    /// One line for the log.
    pub fn what(self) -> &'static str {
        match self {
            Refusal::Method => "a WebSocket handshake needs the method GET",
            Refusal::Version => "the only WebSocket version known here is 13",
            Refusal::Key => "sec-websocket-key is not one value of 16 bytes in base 64",
            Refusal::Extensions => "sec-websocket-extensions cannot be read",
            Refusal::Protocols => "sec-websocket-protocol is not a list of different tokens",
        }
    }
}

/// Checks what a client sent over HTTP/1.1. Gives the key, for [`accept`].
///
/// # Errors
/// Says which rule of §4.2.1 the request breaks.
pub fn check<'a>(method: &[u8], fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Result<&'a [u8], Refusal> {
    if method != b"GET" {
        return Err(Refusal::Method);
    }
    check_common(fields.clone())?;
    let key = only(fields, "sec-websocket-key").ok_or(Refusal::Key)?;
    if STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) { Ok(key) } else { Err(Refusal::Key) }
}

/// Checks what a client sent with an extended CONNECT (RFC 8441 §5), which has neither key nor accept value.
///
/// # Errors
/// Says which rule the request breaks.
pub fn check_http2<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Result<(), Refusal> {
    check_common(fields)
}

fn check_common<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Result<(), Refusal> {
    if only(fields.clone(), "sec-websocket-version").is_none_or(|version| version != VERSION.as_bytes()) {
        return Err(Refusal::Version);
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for protocol in protocols(fields.clone()) {
        if !crate::deflate::is_token(protocol) || seen.len() == PROTOCOLS_MAX || seen.contains(&protocol) {
            return Err(Refusal::Protocols);
        }
        seen.push(protocol);
    }
    if crate::deflate::offers(values(fields, "sec-websocket-extensions")).is_none() {
        return Err(Refusal::Extensions);
    }
    Ok(())
}

/// The subprotocols that a client offers, its favourite first.
pub fn protocols<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> impl Iterator<Item = &'a [u8]> {
    values(fields, "sec-websocket-protocol")
        .flat_map(|value| value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|protocol| !protocol.is_empty())
}

/// The values of a field, in order.
pub fn values<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields.filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

fn only<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &'static str) -> Option<&'a [u8]> {
    let mut found = values(fields, name);
    let first = found.next()?;
    found.next().is_none().then(|| first.trim_ascii())
}

/// The value of `sec-websocket-accept` for a key (§4.2.2).
pub fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// A key for a handshake that the server makes up, where the client's HTTP version has none. It is not secret: it
/// proves nothing but that the other end speaks WebSocket.
pub const MADE_UP_KEY: &str = "YmlyZW1lLWgyLWNsaWVudA==";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 2] = [("Sec-WebSocket-Version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

    fn check_fields(method: &str, fields: &[(&str, &str)]) -> Result<(), Refusal> {
        check(method.as_bytes(), fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()))).map(drop)
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(check_fields("GET", &GOOD), Ok(()));
        assert!(STANDARD.decode(MADE_UP_KEY).is_ok_and(|nonce| nonce.len() == 16));
    }

    #[test]
    fn what_the_rfc_refuses() {
        assert_eq!(check_fields("POST", &GOOD), Err(Refusal::Method));
        assert_eq!(check_fields("GET", &GOOD[1..]), Err(Refusal::Version));
        assert_eq!(check_fields("GET", &[("sec-websocket-version", "8"), GOOD[1]]), Err(Refusal::Version));
        assert_eq!(check_fields("GET", &GOOD[..1]), Err(Refusal::Key));
        assert_eq!(check_fields("GET", &[GOOD[0], GOOD[1], GOOD[1]]), Err(Refusal::Key));
        assert_eq!(check_fields("GET", &[GOOD[0], ("sec-websocket-key", "c2hvcnQ=")]), Err(Refusal::Key));
        let with = |name, value| check_fields("GET", &[GOOD[0], GOOD[1], (name, value)]);
        assert_eq!(with("sec-websocket-protocol", "chat, chat"), Err(Refusal::Protocols));
        assert_eq!(with("sec-websocket-protocol", "two words"), Err(Refusal::Protocols));
        assert_eq!(with("sec-websocket-protocol", "chat, superchat"), Ok(()));
        assert_eq!(with("sec-websocket-extensions", "permessage-deflate; =8"), Err(Refusal::Extensions));
        assert_eq!(with("sec-websocket-extensions", "x-unknown; a=\"b\", permessage-deflate"), Ok(()));
    }
}
