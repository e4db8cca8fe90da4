//! Frames to bytes. Everything appends to a `Vec<u8>`, so that many frames leave in one write.

use crate::{FLAG_END, FLAG_FILE, FLAG_TAKE_OVER, HEADER_LEN, Kind, PAYLOAD_MAX, RESET_TEXT_MAX, ResetCode, WireError};

/// Appends a frame's header.
pub fn put_header(out: &mut Vec<u8>, kind: Kind, flags: u8, aux: u16, stream: u32, length: usize) {
    debug_assert!(length <= PAYLOAD_MAX);
    let mut header = [0u8; HEADER_LEN];
    header[0..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[4..8].copy_from_slice(&stream.to_le_bytes());
    header[8] = kind as u8;
    header[9] = flags;
    header[10..12].copy_from_slice(&aux.to_le_bytes());
    out.extend_from_slice(&header);
}

/// Appends a whole frame. `payload` holds at most [`PAYLOAD_MAX`] bytes.
pub fn put_frame(out: &mut Vec<u8>, kind: Kind, flags: u8, aux: u16, stream: u32, payload: &[u8]) {
    put_header(out, kind, flags, aux, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a CREDIT that grants `bytes`.
pub fn put_credit(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    put_frame(out, Kind::Credit, 0, 0, stream, &bytes.to_le_bytes());
}

/// Appends a RESET; the text is cut to [`RESET_TEXT_MAX`] bytes at a character's border.
pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: ResetCode, text: &str) {
    let end = text.floor_char_boundary(RESET_TEXT_MAX);
    put_frame(out, Kind::Reset, 0, code as u16, stream, &text.as_bytes()[..end]);
}

/// Makes the encoded REQUEST of a WebSocket's handshake one that asks another worker to take the socket over: sets
/// [`FLAG_TAKE_OVER`], and says in the body which subprotocol was agreed on and which topics the socket has joined, by
/// which names; as many as [`TAKE_OVER_BODY_MAX`] and the frame hold. [`crate::take_over_texts`] reads it.
pub fn mark_taken_over<'a>(frame: &mut Vec<u8>, subprotocol: &[u8], topics: impl Iterator<Item = (&'a str, &'a [u8])>) {
    let body_max = TAKE_OVER_BODY_MAX.min((HEADER_LEN + PAYLOAD_MAX).saturating_sub(frame.len()));
    let body_start = frame.len();
    let put = |frame: &mut Vec<u8>, texts: &[&[u8]]| {
        let length: usize = texts.iter().map(|text| 2 + text.len()).sum();
        let fits = frame.len() - body_start + length <= body_max;
        if fits {
            for text in texts {
                frame.extend_from_slice(&(text.len() as u16).to_le_bytes());
                frame.extend_from_slice(text);
            }
        }
        fits
    };
    // The first text is the subprotocol; without it there are none.
    if put(frame, &[subprotocol]) {
        for (topic, name) in topics {
            put(frame, &[topic.as_bytes(), name]);
        }
    }
    frame[9] |= FLAG_TAKE_OVER;
    let length = (frame.len() - HEADER_LEN) as u32;
    frame[0..4].copy_from_slice(&length.to_le_bytes());
}

/// Longest body of a REQUEST that asks a worker to take over, in bytes.
pub const TAKE_OVER_BODY_MAX: usize = 128 * 1024;

/// What a REQUEST says beside its fields and body; see [`crate::RequestHead`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each field is described at RequestHead")]
pub struct RequestParts<'a> {
    pub version: u8,
    pub https: bool,
    pub remote_port: u16,
    pub local_port: u16,
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub remote_addr: &'a [u8],
    pub local_addr: &'a [u8],
    pub prefix: &'a [u8],
    pub request_id: &'a [u8],
}

impl<'a> RequestParts<'a> {
    fn strings(&self) -> [(&'static str, &'a [u8]); 6] {
        [
            ("the method", self.method),
            ("the request target", self.target),
            ("the remote address", self.remote_addr),
            ("the local address", self.local_addr),
            ("the route's prefix", self.prefix),
            ("the request id", self.request_id),
        ]
    }
}

/// Appends a REQUEST. On an error nothing is appended.
pub fn put_request<'f>(
    out: &mut Vec<u8>,
    stream: u32,
    flags: u8,
    parts: &RequestParts<'_>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    body: &[u8],
) -> Result<(), WireError> {
    let start = out.len();
    let written = (|| {
        put_header(out, Kind::Request, flags, 0, stream, 0);
        out.push(parts.version);
        out.push(u8::from(parts.https));
        out.extend_from_slice(&parts.remote_port.to_le_bytes());
        out.extend_from_slice(&parts.local_port.to_le_bytes());
        let count_at = out.len();
        out.extend_from_slice(&[0, 0]);
        for (what, string) in parts.strings() {
            put_length(out, string, what)?;
        }
        let count = put_field_lengths(out, fields.clone())?;
        out[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
        for (_, string) in parts.strings() {
            out.extend_from_slice(string);
        }
        put_field_strings(out, fields);
        out.extend_from_slice(body);
        Ok(())
    })();
    finish(out, start, Kind::Request, written)
}

/// Bytes that [`put_request`] would append, without the body.
pub fn request_len<'f>(parts: &RequestParts<'_>, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> usize {
    HEADER_LEN
        + 20
        + parts.strings().iter().map(|(_, s)| s.len()).sum::<usize>()
        + fields.map(|(n, v)| 4 + n.len() + v.len()).sum::<usize>()
}

/// Appends a RESPONSE. On an error nothing is appended.
pub fn put_response<'f>(
    out: &mut Vec<u8>,
    stream: u32,
    status: u16,
    reason: &[u8],
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    body: &[u8],
    end: bool,
) -> Result<(), WireError> {
    put_response_frame(out, (stream, if end { FLAG_END } else { 0 }, status), reason, fields, body)
}

/// Appends a RESPONSE whose body is the content of the file at this absolute path. On an error nothing is appended.
pub fn put_file_response<'f>(
    out: &mut Vec<u8>,
    stream: u32,
    status: u16,
    reason: &[u8],
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    path: &[u8],
) -> Result<(), WireError> {
    put_response_frame(out, (stream, FLAG_END | FLAG_FILE, status), reason, fields, path)
}

fn put_response_frame<'f>(
    out: &mut Vec<u8>,
    (stream, flags, status): (u32, u8, u16),
    reason: &[u8],
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    rest: &[u8],
) -> Result<(), WireError> {
    let start = out.len();
    let written = (|| {
        put_header(out, Kind::Response, flags, status, stream, 0);
        put_length(out, reason, "the reason phrase")?;
        let count_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let count = put_field_lengths(out, fields.clone())?;
        out[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
        out.extend_from_slice(reason);
        put_field_strings(out, fields);
        out.extend_from_slice(rest);
        Ok(())
    })();
    finish(out, start, Kind::Response, written)
}

/// Appends a frame whose payload is a field list: TRAILERS (with [`FLAG_END`]), INFORMATIONAL or WS_ACCEPT. On an
/// error nothing is appended.
pub fn put_field_list<'f>(
    out: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    aux: u16,
    stream: u32,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
) -> Result<(), WireError> {
    let start = out.len();
    let written = (|| {
        put_header(out, kind, flags, aux, stream, 0);
        let count_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let count = put_field_lengths(out, fields.clone())?;
        out[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
        put_field_strings(out, fields);
        Ok(())
    })();
    finish(out, start, kind, written)
}

/// Puts another stream id into an encoded frame, for a request that is sent again.
pub fn set_stream(frame: &mut [u8], stream: u32) {
    frame[4..8].copy_from_slice(&stream.to_le_bytes());
}

fn put_length(out: &mut Vec<u8>, string: &[u8], what: &'static str) -> Result<(), WireError> {
    let length = u16::try_from(string.len()).map_err(|_| WireError::StringTooLong(what))?;
    out.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

fn put_field_lengths<'f>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Result<u16, WireError> {
    let mut count: u16 = 0;
    for (name, value) in fields {
        put_length(out, name, "a field name")?;
        put_length(out, value, "a field value")?;
        count = count.checked_add(1).ok_or(WireError::StringTooLong("the list of fields"))?;
    }
    Ok(count)
}

fn put_field_strings<'f>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
    for (name, value) in fields {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
}

/// Writes the payload's length into the header at `start`, or takes the whole frame back.
fn finish(out: &mut Vec<u8>, start: usize, kind: Kind, written: Result<(), WireError>) -> Result<(), WireError> {
    let length = out.len() - start - HEADER_LEN.min(out.len() - start);
    let result = written.and(if length > PAYLOAD_MAX {
        Err(WireError::Invalid(kind, "the payload would pass the maximum"))
    } else {
        Ok(())
    });
    match result {
        Ok(()) => out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes()),
        Err(_) => out.truncate(start),
    }
    result
}
