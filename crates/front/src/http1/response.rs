//! Writes HTTP/1 response heads and bodies (RFC 9112 §4–7).

use crate::date;
use crate::head::Field;
use crate::static_files::Response;

/// How the body that follows a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body; `content-length` is sent if the worker announced one (HEAD, 304).
    Empty(Option<u64>),
    /// `content-length`.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// The end of the connection (HTTP/1.0).
    Close,
}

/// What a head says beside its fields.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The client's version: 10 or 11.
    pub version: u8,
    /// 100–599.
    pub status: u16,
    /// The application's phrase, or empty for the standard one.
    pub reason: &'a [u8],
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// Whether to add `date` (RFC 9110 §6.6.1).
    pub add_date: bool,
    /// Value of `server`.
    pub server: Option<&'a str>,
}

/// Appends a final response's head.
pub fn put_head<'f>(out: &mut Vec<u8>, line: Line<'_>, fields: impl Iterator<Item = Field<'f>>, framing: Framing) {
    put_status_line(out, line.status, line.reason);
    match framing {
        Framing::Length(n) | Framing::Empty(Some(n)) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Empty(None) | Framing::Close => {}
    }
    put_head_end(out, line, fields);
}

fn put_head_end<'f>(out: &mut Vec<u8>, line: Line<'_>, fields: impl Iterator<Item = Field<'f>>) {
    put_fields(out, fields);
    if let Some(server) = line.server {
        put_field(out, b"server", server.as_bytes());
    }
    if line.add_date {
        put_field(out, b"date", &date::now());
    }
    if !line.keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if line.version == 10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a static file's answer, whose fields, framing included, stand ready as lines; `set` are
/// put in place of those of the same name.
pub fn put_static_head(out: &mut Vec<u8>, line: Line<'_>, response: &Response, set: &[(String, String)]) {
    put_status_line(out, line.status, line.reason);
    if set.is_empty() {
        out.extend_from_slice(&response.head);
        return put_head_end(out, line, std::iter::empty());
    }
    let replaced = |name: &[u8]| set.iter().any(|(other, _)| name.eq_ignore_ascii_case(other.as_bytes()));
    put_fields(out, response.fields().filter(|(name, _)| !replaced(name)));
    put_head_end(out, line, set.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
}

/// Appends a 1xx response.
pub fn put_informational<'f>(out: &mut Vec<u8>, status: u16, fields: impl Iterator<Item = Field<'f>>) {
    put_status_line(out, status, b"");
    put_fields(out, fields);
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk; nothing for no bytes, which would end the body.
pub fn put_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    put_hex(out, bytes.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body.
pub fn put_last_chunk<'f>(out: &mut Vec<u8>, trailers: impl Iterator<Item = Field<'f>>) {
    out.extend_from_slice(b"0\r\n");
    put_fields(out, trailers);
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    if status == 200 && reason.is_empty() {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    let standard = crate::problem::reason(status).as_bytes();
    out.extend_from_slice(if reason.is_empty() { standard } else { reason });
    out.extend_from_slice(b"\r\n");
}

fn put_fields<'f>(out: &mut Vec<u8>, fields: impl Iterator<Item = Field<'f>>) {
    for (name, value) in fields {
        put_field(out, name, value);
    }
}

fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_hex(out: &mut Vec<u8>, mut n: usize) {
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[n & 15];
        n >>= 4;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
