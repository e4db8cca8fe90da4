//! A request's head as every HTTP version's reader gives it to the rest of the front, and the rules about
//! fields that do not depend on the version.

use smallvec::SmallVec;

/// A name and a value, in the client's bytes.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// How long the request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    Empty,
    /// `content-length`, above 0.
    Known(u64),
    /// Until the client ends it.
    Unknown,
}

/// A checked request head.
#[derive(Debug)]
pub struct Head<'a> {
    /// 10, 11 or 20.
    pub version: u8,
    /// A token (RFC 9110 §9.1).
    pub method: &'a [u8],
    /// Origin form or `*` (RFC 9112 §3.2).
    pub target: &'a [u8],
    /// Host and port that the request is for; empty only in HTTP/1.0.
    pub host: &'a [u8],
    /// All fields as sent, `host` included where the client sent one.
    pub fields: SmallVec<[Field<'a>; 32]>,
    /// The body's framing.
    pub body: BodyLength,
    /// `Connection: upgrade` and an `Upgrade` field.
    pub upgrade: bool,
    /// `Expect: 100-continue`.
    pub expect_continue: bool,
    /// The options of the `Connection` fields name further fields to drop.
    pub connection_options: bool,
}

impl<'a> Head<'a> {
    /// Stands in the access log for a request that could not be read.
    pub fn unread() -> Head<'static> {
        Head {
            version: 11,
            method: b"",
            target: b"",
            host: b"",
            fields: SmallVec::new(),
            body: BodyLength::Empty,
            upgrade: false,
            expect_continue: false,
            connection_options: false,
        }
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|(n, _)| n.len() == name.len() && n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// Whether the request asks for a WebSocket (RFC 6455 §4.1); nothing else of its handshake has been looked at.
    pub fn asks_for_websocket(&self) -> bool {
        let is = |member: &[u8]| member.eq_ignore_ascii_case(b"websocket");
        self.upgrade && self.method == b"GET" && self.get("upgrade").is_some_and(|value| list_members(value).any(is))
    }

    /// Path without the query.
    pub fn path(&self) -> &'a [u8] {
        let end = memchr::memchr(b'?', self.target).unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// Query without the question mark, or empty.
    pub fn query(&self) -> &'a [u8] {
        match memchr::memchr(b'?', self.target) {
            Some(at) => &self.target[at + 1..],
            None => b"",
        }
    }
}

/// Fields that concern one connection only and are not sent on (RFC 9110 §7.6.1), and `expect`, which the
/// front answers itself.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 => is(b"te"),
        6 => is(b"expect"),
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 => is(b"http2-settings"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    }
}

/// Fields that frame, route or authenticate a message mean nothing in a trailer section, and would be
/// dangerous if merged (RFC 9110 §6.5.1).
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"content-length",
        b"host",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"authorization",
        b"trailer",
        b"set-cookie",
    ];
    is_hop_by_hop(name) || NAMES.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// RFC 9110 §9.2.2.
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

/// A token (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| TOKEN[*b as usize])
}

/// A field value without what could end the line or the string (RFC 9110 §5.5).
pub fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| !matches!(b, b'\r' | b'\n' | 0))
}

/// The comma-separated members of a list field, without white space around them (RFC 9110 §5.6.1).
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Digits only, no sign, no space (RFC 9110 §8.6).
pub fn parse_content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        i += 1;
    }
    table
};
