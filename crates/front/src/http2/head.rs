//! Heads of requests and responses between `h2` and the rest of the front.

use h2::RecvStream;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::fault::{Code, Fault};
use crate::head::{BodyLength, Field, Head, parse_content_length};
use crate::http1::{HeadLimits, is_host};
use crate::thread::Thread;

/// A client may split its cookies over many fields; applications expect one (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &http::HeaderMap) -> Option<Vec<u8>> {
    let mut cookies = headers.get_all("cookie").iter();
    let (first, second) = (cookies.next()?, cookies.next()?);
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    Some(joined)
}

pub(super) fn read_head<'a>(
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

pub(super) fn response_head<'f>(
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

pub(super) fn response_head_bare<'f>(status: u16, fields: impl Iterator<Item = Field<'f>>) -> Option<http::Response<()>> {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).ok()?;
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

pub(super) fn accept(parts: &http::request::Parts) -> Option<&[u8]> {
    parts.headers.get("accept").map(HeaderValue::as_bytes)
}
