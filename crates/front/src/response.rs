//! What a worker may say in a response, checked and compressed once for all HTTP versions.

use std::borrow::Cow;

use smallvec::SmallVec;
use wire::ResponseHead;

use crate::active::ActiveRoute;
use crate::compress::{Candidate, Compressor, Decision, Encoder, Rewrite, VARY};
use crate::dispatch::Request;
use crate::fault::{Code, Fault};
use crate::head::{Field, is_field_value, is_token, list_members, parse_content_length};

/// A response head that is safe to send.
#[derive(Debug)]
struct Checked<'a> {
    /// Fields to send on, without those that frame the message or concern a connection.
    fields: SmallVec<[Field<'a>; 24]>,
    /// What the worker announced.
    content_length: Option<u64>,
    /// The worker wants the client's connection closed.
    close: bool,
    /// The worker set its own `date`.
    has_date: bool,
}

/// Checks a response's fields: names are tokens, values end no line (RFC 9110 §5.5), one content-length.
fn check<'a>(head: &ResponseHead<'a>) -> Result<Checked<'a>, Fault> {
    let broken = |what: String| Fault::new(Code::AppBrokeHttp, what);
    let mut checked = Checked { fields: SmallVec::new(), content_length: None, close: false, has_date: false };
    if !is_field_value(head.reason) {
        return Err(broken("the reason phrase holds a line break".into()));
    }
    for (name, value) in head.fields.iter() {
        if !is_token(name) {
            return Err(broken(format!("{:?} is not a field name", String::from_utf8_lossy(name))));
        }
        if !is_field_value(value) {
            return Err(broken(format!("the value of {} holds a line break or NUL", String::from_utf8_lossy(name))));
        }
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"date") => checked.has_date = true,
            7 if is(b"upgrade") => continue,
            10 if is(b"keep-alive") => continue,
            10 if is(b"connection") => {
                checked.close |= list_members(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                continue;
            }
            14 if is(b"content-length") => {
                let length = parse_content_length(value.trim_ascii());
                if length.is_none() || checked.content_length.is_some_and(|other| Some(other) != length) {
                    return Err(broken(format!("content-length {:?} is not one number", String::from_utf8_lossy(value))));
                }
                checked.content_length = length;
                continue;
            }
            16 if is(b"proxy-connection") => continue,
            17 if is(b"transfer-encoding") => continue,
            _ => {}
        }
        checked.fields.push((name, value));
    }
    Ok(checked)
}

/// Whether a response to this request has a body at all (RFC 9110 §6.4.1).
pub fn may_have_body(is_head: bool, status: u16) -> bool {
    !is_head && status != 204 && status != 304 && status >= 200
}

/// Replaces or adds the fields that a route sets on its responses.
fn set_fields<'a>(fields: &mut SmallVec<[Field<'a>; 24]>, set: &'a [(String, String)]) {
    for (name, value) in set {
        fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
        fields.push((name.as_bytes(), value.as_bytes()));
    }
}

/// A response head as the client gets it, and the first bytes of its body.
pub struct Prepared<'a> {
    /// The application's phrase, or empty.
    pub reason: &'a [u8],
    /// To be sent, beside date and framing.
    pub fields: SmallVec<[Field<'a>; 24]>,
    /// Close the client's connection afterwards.
    pub close: bool,
    /// The worker sent no date.
    pub add_date: bool,
    /// The response has a body, even if it is empty.
    pub has_body: bool,
    /// Body bytes that the worker must still send, if it announced a length.
    pub left: Option<u64>,
    /// Length to announce to the client, if it is known.
    pub length: Option<u64>,
    /// Body bytes as the worker sent them, which its credit is counted in.
    pub arrived: usize,
    /// First body bytes for the client.
    pub body: Cow<'a, [u8]>,
    /// For the body bytes that follow.
    pub encoder: Option<Encoder>,
}

/// Checks a RESPONSE and decides about its compression. `etag` is memory for a rewritten tag.
pub fn prepare<'a>(
    compressor: &Compressor,
    request: &Request,
    route: &'a ActiveRoute,
    is_head: bool,
    (status, payload, end): (u16, &'a [u8], bool),
    etag: &'a mut Vec<u8>,
) -> Result<Prepared<'a>, Fault> {
    let head = ResponseHead::parse(payload).map_err(|error| Fault::new(Code::AppBrokeHttp, error.to_string()))?;
    let mut checked = check(&head)?;
    let has_body = may_have_body(is_head, status);
    let arrived = head.body.len() as u64;
    let left = if has_body { announced_left(checked.content_length, arrived, end)? } else { None };
    set_fields(&mut checked.fields, &route.response_fields);
    let length = match checked.content_length {
        Some(length) if has_body || status != 204 => Some(length),
        None if has_body && end => Some(arrived),
        _ => None,
    };
    let mut prepared = Prepared {
        reason: head.reason,
        fields: checked.fields,
        close: checked.close,
        add_date: !checked.has_date,
        has_body,
        left,
        length,
        arrived: head.body.len(),
        body: Cow::Borrowed(if has_body { head.body } else { b"" }),
        encoder: None,
    };
    // Most responses are small: they are not worth a look at what the client accepts.
    if compressor.wants(length) {
        compress(compressor, request, (status, is_head, end), &mut prepared, etag)?;
    }
    Ok(prepared)
}

/// What a worker that announced `announced` bytes must still send after `arrived`.
pub fn announced_left(announced: Option<u64>, arrived: u64, end: bool) -> Result<Option<u64>, Fault> {
    match announced.map(|announced| announced.checked_sub(arrived)) {
        None => Ok(None),
        Some(Some(left)) if left == 0 || !end => Ok(Some(left)),
        Some(Some(left)) => Err(Fault::new(Code::AppBrokeHttp, format!("the body ended {left} bytes before its content-length"))),
        Some(None) => Err(Fault::new(Code::AppBrokeHttp, "the body is longer than its content-length")),
    }
}

fn compress<'a>(
    compressor: &Compressor,
    request: &Request,
    (status, is_head, end): (u16, bool, bool),
    prepared: &mut Prepared<'a>,
    etag: &'a mut Vec<u8>,
) -> Result<(), Fault> {
    let head = request.head();
    let candidate = Candidate {
        accept_encoding: head.as_ref().and_then(|head| head.fields.get("accept-encoding")),
        is_head,
        status,
        body_len: prepared.length,
        fields: &prepared.fields,
    };
    let encoding = match compressor.decide(&candidate) {
        Decision::Leave => return Ok(()),
        Decision::Vary => {
            prepared.fields.push((VARY.0.as_bytes(), VARY.1.as_bytes()));
            return Ok(());
        }
        Decision::Encode(encoding) => encoding,
    };
    let internal = |error: std::io::Error| Fault::new(Code::Internal, format!("compression failed: {error}"));
    let mut encoder = compressor.encoder(encoding).map_err(internal)?;
    let mut weak = false;
    prepared.fields.retain(|(name, value)| match Rewrite::of(name, value) {
        Rewrite::Keep => true,
        Rewrite::Drop => false,
        Rewrite::Weaken => {
            if !std::mem::replace(&mut weak, true) {
                etag.extend_from_slice(b"W/");
                etag.extend_from_slice(value);
            }
            false
        }
    });
    if weak {
        prepared.fields.push((b"etag", etag));
    }
    prepared.fields.extend(Rewrite::added(encoding).map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let mut body = encoder.push(&prepared.body, !end).map_err(internal)?.to_vec();
    if end {
        body.extend_from_slice(&encoder.finish().map_err(internal)?);
        prepared.length = Some(body.len() as u64);
    } else {
        prepared.length = None;
        prepared.encoder = Some(encoder);
    }
    prepared.body = Cow::Owned(body);
    Ok(())
}

/// Body bytes on their way through an encoder, if there is one.
pub fn encode<'b>(encoder: &mut Option<Encoder>, bytes: &'b [u8], end: bool) -> Result<Cow<'b, [u8]>, Fault> {
    let internal = |error: std::io::Error| Fault::new(Code::Internal, format!("compression failed: {error}"));
    let Some(running) = encoder else { return Ok(Cow::Borrowed(bytes)) };
    let mut out = running.push(bytes, !end && !bytes.is_empty()).map_err(internal)?.to_vec();
    if end && let Some(encoder) = encoder.take() {
        out.extend_from_slice(&encoder.finish().map_err(internal)?);
    }
    Ok(Cow::Owned(out))
}
