//! Reads an HTTP/1 request head and decides its body's framing, strictly: what two servers could read in two
//! ways is refused (RFC 9112 §6.3, §11.2).

use std::mem::MaybeUninit;

use smallvec::SmallVec;

use crate::fault::{Code, Fault};
use crate::head::{BodyLength, Head, is_token, list_members, parse_content_length};

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the header section.
    pub header_bytes_max: usize,
    /// Fields.
    pub fields_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
}

/// Fields that the parser itself can take; the setting may only be lower.
pub const FIELDS_MAX: usize = 256;
/// Bytes for the method, the version and the spaces of a request line.
const REQUEST_LINE_SLACK: usize = 64;

/// What the bytes hold.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned; a box would cost an allocation a request")]
pub enum Parsed<'a> {
    /// Not a whole head yet.
    Partial,
    /// A head, and how many bytes it took.
    Complete {
        /// The head.
        head: Head<'a>,
        /// Its length.
        length: usize,
        /// The client allows another request on this connection (RFC 9112 §9.3).
        keep_alive: bool,
    },
    /// The client is told this, and the connection closes.
    Refused(Fault),
}

fn refuse<'a>(code: Code, detail: &'static str) -> Parsed<'a> {
    Parsed::Refused(Fault::new(code, detail))
}

/// Reads the head at the start of `bytes`.
pub fn parse(bytes: &[u8], limits: HeadLimits) -> Parsed<'_> {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return partial(bytes, limits),
        Err(httparse::Error::TooManyHeaders) => return refuse(Code::HeaderTooLarge, "too many header fields"),
        Err(httparse::Error::Version) => {
            return refuse(Code::VersionNotSupported, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here");
        }
        Err(httparse::Error::Token) => return refuse(Code::RequestMalformed, "the request line is not valid HTTP"),
        Err(httparse::Error::HeaderName) => return refuse(Code::RequestMalformed, "a header field's name is not valid"),
        Err(httparse::Error::HeaderValue) => return refuse(Code::RequestMalformed, "a header field's value is not valid"),
        Err(_) => return refuse(Code::RequestMalformed, "the request head is not valid HTTP"),
    };
    if has_bare_lf(&bytes[..length]) {
        return refuse(Code::RequestMalformed, "a line of the request head does not end with CR LF");
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return refuse(Code::RequestMalformed, "the request line is not valid HTTP");
    };
    if target.len() > limits.target_bytes_max {
        return refuse(Code::TargetTooLong, "the request target is too long");
    }
    if request.headers.len() > limits.fields_max {
        return refuse(Code::HeaderTooLarge, "too many header fields");
    }
    if length > limits.header_bytes_max + target.len() + REQUEST_LINE_SLACK {
        return refuse(Code::HeaderTooLarge, "the header section is too long");
    }
    match check(method, target.as_bytes(), minor, request.headers) {
        Ok((head, keep_alive)) => Parsed::Complete { head, length, keep_alive },
        Err(fault) => Parsed::Refused(fault),
    }
}

/// RFC 9112 §2.2 allows to take a lone LF for the end of a line, and the parser does. A proxy before us may take it for part of
/// a value.
fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// An incomplete head is refused as soon as it is too long, not when it ends.
fn partial<'a>(bytes: &[u8], limits: HeadLimits) -> Parsed<'a> {
    let line_end = memchr::memchr(b'\n', bytes);
    match line_end {
        None if bytes.len() > limits.target_bytes_max + REQUEST_LINE_SLACK => {
            refuse(Code::TargetTooLong, "the request target is too long")
        }
        Some(end) if bytes.len() - end > limits.header_bytes_max => {
            refuse(Code::HeaderTooLarge, "the header section is too long")
        }
        _ => Parsed::Partial,
    }
}

fn check<'a>(method: &'a str, target: &'a [u8], minor: u8, fields: &[httparse::Header<'a>]) -> Result<(Head<'a>, bool), Fault> {
    let fail = |code, detail| Err(Fault::new(code, detail));
    let mut head = Head {
        version: if minor == 0 { 10 } else { 11 },
        method: method.as_bytes(),
        target,
        host: b"",
        fields: SmallVec::new(),
        body: BodyLength::Empty,
        upgrade: false,
        expect_continue: false,
        connection_options: false,
    };
    let mut hosts = 0;
    let mut content_length = None;
    let mut chunked = false;
    let mut close = false;
    let mut keep = false;
    let mut wants_upgrade = false;
    let mut upgrade_field = false;
    for field in fields {
        let name = field.name.as_bytes();
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"host") => {
                hosts += 1;
                head.host = field.value;
            }
            6 if is(b"expect") => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return fail(Code::ExpectationFailed, "the only expectation known here is 100-continue");
                }
                head.expect_continue = minor == 1;
            }
            7 if is(b"upgrade") => upgrade_field = !field.value.eq_ignore_ascii_case(b"h2c"),
            10 if is(b"connection") => {
                for option in list_members(field.value) {
                    if option.eq_ignore_ascii_case(b"close") {
                        close = true;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        keep = true;
                    } else if option.eq_ignore_ascii_case(b"upgrade") {
                        wants_upgrade = true;
                    } else {
                        head.connection_options = true;
                    }
                }
            }
            14 if is(b"content-length") => {
                // One field, one number: lists and repetitions are how requests are smuggled.
                let value = parse_content_length(field.value);
                if content_length.is_some() || value.is_none() {
                    return fail(Code::RequestMalformed, "content-length is not one number");
                }
                content_length = value;
            }
            17 if is(b"transfer-encoding") => {
                if minor == 0 {
                    return fail(Code::RequestMalformed, "transfer-encoding does not exist in HTTP/1.0");
                }
                if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return fail(Code::NotImplemented, "the only transfer coding known here is chunked");
                }
                chunked = true;
            }
            _ => {}
        }
        head.fields.push((name, field.value));
    }
    if !is_token(head.method) {
        return fail(Code::RequestMalformed, "the method is not valid");
    }
    if hosts > 1 || (hosts == 0 && minor == 1) {
        return fail(Code::HostInvalid, "exactly one host field is needed");
    }
    if chunked && content_length.is_some() {
        return fail(Code::RequestMalformed, "content-length and transfer-encoding exclude each other");
    }
    read_target(&mut head)?;
    if !is_host(head.host) {
        return fail(Code::HostInvalid, "the host is not valid");
    }
    head.body = match (chunked, content_length) {
        (true, _) => BodyLength::Unknown,
        (false, None | Some(0)) => BodyLength::Empty,
        (false, Some(n)) => BodyLength::Known(n),
    };
    head.upgrade = wants_upgrade && upgrade_field && minor == 1 && head.body == BodyLength::Empty;
    head.expect_continue &= head.body != BodyLength::Empty;
    let keep_alive = !close && (minor == 1 || keep);
    Ok((head, keep_alive))
}

/// Reduces the four forms of a request target (RFC 9112 §3.2) to origin form or `*`.
fn read_target(head: &mut Head<'_>) -> Result<(), Fault> {
    let target = head.target;
    if head.method == b"CONNECT" {
        return Err(Fault::new(Code::NotImplemented, "CONNECT is not served here"));
    }
    if target.first() == Some(&b'/') {
        if memchr::memchr(b'#', target).is_some() {
            return Err(Fault::new(Code::TargetInvalid, "the request target holds a fragment"));
        }
        return Ok(());
    }
    if target == b"*" && head.method == b"OPTIONS" {
        return Ok(());
    }
    // Absolute form: its authority overrides the host field (§3.2.2).
    let rest = strip_scheme(target).ok_or(Fault::new(Code::TargetInvalid, "the request target is not valid"))?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || memchr::memchr(b'@', authority).is_some() || !matches!(path.first(), None | Some(b'/')) {
        return Err(Fault::new(Code::TargetInvalid, "the request target is not valid"));
    }
    head.host = authority;
    head.target = if path.is_empty() { b"/" } else { path };
    Ok(())
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    for scheme in [b"http://".as_slice(), b"https://"] {
        if target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme) {
            return Some(&target[scheme.len()..]);
        }
    }
    None
}

/// Characters of a host and port (RFC 3986 §3.2.2), without checking more than that nothing else hides in it.
pub fn is_host(host: &[u8]) -> bool {
    host.iter().all(|b| {
        b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b':'
                    | b'['
                    | b']'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
    })
}

/// The value of the first `accept` field of what is not a readable head: to choose the form of the page that says so, and for nothing
/// else.
pub fn accept_line(bytes: &[u8]) -> Option<&[u8]> {
    let lines = bytes.split(|&b| b == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut fields = lines.take_while(|line| !line.is_empty());
    fields.find_map(|line| {
        let (name, value) = line.split_at_checked(b"accept:".len())?;
        name.eq_ignore_ascii_case(b"accept:").then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_unreadable_head_accepts() {
        let head = b"GET /\0 HTTP/1.1\r\nHost: a\r\naccept-language: de\r\nAccept: text/html \r\n\r\naccept: body";
        assert_eq!(accept_line(head), Some(&b"text/html"[..]));
        assert_eq!(accept_line(b"GET / HTTP/1.1\r\nHost: a\r\n\r\naccept: body"), None);
        assert_eq!(accept_line(b"accept: text/html"), None);
        assert_eq!(accept_line(b""), None);
    }

    const LIMITS: HeadLimits = HeadLimits { header_bytes_max: 1024, fields_max: 16, target_bytes_max: 100 };

    #[track_caller]
    fn check_refused(request: &str, status: u16) {
        match parse(request.as_bytes(), LIMITS) {
            Parsed::Refused(fault) => assert_eq!(fault.status(), status, "{fault:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_accepted(request: &str) -> (Head<'_>, bool) {
        match parse(request.as_bytes(), LIMITS) {
            Parsed::Complete { head, length, keep_alive } => {
                assert_eq!(length, request.len());
                (head, keep_alive)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn framing_that_two_servers_could_read_differently_is_refused() {
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400);
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", 400);
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", 400);
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501);
        check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
        check_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n", 400);
        check_refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400);
        check_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
        check_refused("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400);
        check_refused("GET / HTTP/1.0\n\n", 400);
        check_refused("GET / HTTP/1.1\r\n\r\n", 400);
        check_refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
        check_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    }

    #[test]
    fn limits_name_themselves_before_the_head_is_complete() {
        check_refused(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(101)), 414);
        check_refused(&format!("GET /{}", "x".repeat(300)), 414);
        check_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(2000)), 431);
        check_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(17)), 431);
        check_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(300)), 431);
    }

    #[test]
    fn targets_are_reduced_to_origin_form() {
        let (head, _) = check_accepted("GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.target, head.host), (b"/x?y".as_slice(), b"b.example".as_slice()));
        let (head, _) = check_accepted("GET http://b.example HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(head.target, b"/");
        check_accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        check_refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400);
        check_refused("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
        check_refused("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    }

    #[test]
    fn persistence_follows_version_and_options() {
        assert!(check_accepted("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1);
        assert!(!check_accepted("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n").1);
        assert!(!check_accepted("GET / HTTP/1.0\r\n\r\n").1);
        assert!(check_accepted("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").1);
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        assert!(check_accepted("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n").0.upgrade);
        assert!(!check_accepted("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").0.upgrade);
        assert!(!check_accepted("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").0.upgrade);
    }
}
