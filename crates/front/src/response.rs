//! What a worker may say in a response's head, checked once for all HTTP versions.

use smallvec::SmallVec;
use wire::ResponseHead;

use crate::fault::{Code, Fault};
use crate::head::{Field, is_field_value, is_token, list_members, parse_content_length};

/// A response head that is safe to send.
#[derive(Debug)]
pub struct Checked<'a> {
    /// Fields to send on, without those that frame the message or concern a connection.
    pub fields: SmallVec<[Field<'a>; 24]>,
    /// What the worker announced.
    pub content_length: Option<u64>,
    /// The worker wants the client's connection closed.
    pub close: bool,
    /// The worker set its own `date`.
    pub has_date: bool,
}

/// Checks a response's fields: names are tokens, values end no line (RFC 9110 §5.5), one content-length.
pub fn check<'a>(head: &ResponseHead<'a>) -> Result<Checked<'a>, Fault> {
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
pub fn set_fields<'a>(fields: &mut SmallVec<[Field<'a>; 24]>, set: &'a [(String, String)]) {
    for (name, value) in set {
        fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
        fields.push((name.as_bytes(), value.as_bytes()));
    }
}
