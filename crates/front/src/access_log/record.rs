//! One request as the log keeps it, and its raw form between a front thread and the writer.

use crate::date::wall_us;

/// Longest text that is kept of one field, in bytes; the rest is cut. A hostile client thus writes at most
/// nine times this a request.
pub const FIELD_LEN_MAX: usize = 4096;

const TEXTS: usize = 9;
const FIXED_LEN: usize = 8 + 8 + 8 + 2 + 1;
const HEAD_LEN: usize = FIXED_LEN + 2 * TEXTS;

/// HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10 = 10,
    Http11 = 11,
    Http2 = 20,
}

impl Version {
    /// As a request line has it.
    pub(super) fn name(code: u8) -> &'static str {
        match code {
            10 => "HTTP/1.0",
            20 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }
}

/// One finished request. Texts are raw bytes as the client sent them; empty means "none".
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Address of the client: that of the peer, or what a trusted proxy said.
    pub client: &'a [u8],
    /// Method.
    pub method: &'a [u8],
    /// Target with its query.
    pub target: &'a [u8],
    /// Host that was asked for.
    pub host: &'a [u8],
    /// Version of the request.
    pub version: Version,
    /// Status of the response; 499 when the client left before there was one.
    pub status: u16,
    /// Bytes of the response's body that were sent.
    pub bytes: u64,
    /// From the request's first byte to the response's last, in microseconds.
    pub duration_us: u64,
    /// Request id.
    pub request_id: &'a [u8],
    /// Name of the service.
    pub service: &'a [u8],
    /// Name of the worker, `ml#2`.
    pub worker: &'a [u8],
    /// Value of `referer`.
    pub referer: &'a [u8],
    /// Value of `user-agent`.
    pub user_agent: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the raw form, with the time at which the request began.
    #[inline]
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let texts = [
            self.client,
            self.method,
            self.target,
            self.host,
            self.request_id,
            self.service,
            self.worker,
            self.referer,
            self.user_agent,
        ]
        .map(|text| &text[..text.len().min(FIELD_LEN_MAX)]);
        let began_us = wall_us().saturating_sub(self.duration_us);
        let mut head = [0; HEAD_LEN];
        head[0..8].copy_from_slice(&began_us.to_le_bytes());
        head[8..16].copy_from_slice(&self.duration_us.to_le_bytes());
        head[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        head[24..26].copy_from_slice(&self.status.to_le_bytes());
        head[26] = self.version as u8;
        for (slot, text) in head[FIXED_LEN..].chunks_exact_mut(2).zip(texts) {
            slot.copy_from_slice(&(text.len() as u16).to_le_bytes());
        }
        out.reserve(HEAD_LEN + texts.iter().map(|text| text.len()).sum::<usize>());
        out.extend_from_slice(&head);
        for text in texts {
            out.extend_from_slice(text);
        }
    }
}

/// A record on the writer's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoded<'a> {
    /// When the request began, in microseconds since the Unix epoch.
    pub began_us: u64,
    pub version: u8,
    pub record: Record<'a>,
}

/// Takes the next record off `bytes`; `None` at the end.
pub(super) fn decode<'a>(bytes: &mut &'a [u8]) -> Option<Decoded<'a>> {
    let (head, mut rest) = bytes.split_at_checked(HEAD_LEN)?;
    let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let mut texts = [&[][..]; TEXTS];
    for (text, len) in texts.iter_mut().zip(head[FIXED_LEN..].chunks_exact(2)) {
        (*text, rest) = rest.split_at_checked(u16::from_le_bytes([len[0], len[1]]).into())?;
    }
    let [client, method, target, host, request_id, service, worker, referer, user_agent] = texts;
    *bytes = rest;
    Some(Decoded {
        began_us: u64_at(0),
        version: head[26],
        record: Record {
            client,
            method,
            target,
            host,
            version: Version::Http11,
            status: u16::from_le_bytes([head[24], head[25]]),
            bytes: u64_at(16),
            duration_us: u64_at(8),
            request_id,
            service,
            worker,
            referer,
            user_agent,
        },
    })
}

#[cfg(test)]
pub(super) fn sample() -> Record<'static> {
    Record {
        client: b"203.0.113.7",
        method: b"GET",
        target: b"/a?b=c",
        host: b"site.example",
        version: Version::Http2,
        status: 200,
        bytes: 2326,
        duration_us: 1234,
        request_id: b"7m2k0abcd",
        service: b"ml",
        worker: b"ml#2",
        referer: b"https://site.example/",
        user_agent: b"curl/8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_long_texts_are_cut() {
        let long = vec![b'x'; FIELD_LEN_MAX + 100];
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        Record { target: &long, user_agent: b"", ..sample() }.encode(&mut bytes);
        let mut rest = &bytes[..];
        let first = decode(&mut rest).unwrap();
        assert_eq!(first.record.target, b"/a?b=c");
        assert_eq!(first.record.user_agent, b"curl/8");
        assert_eq!((first.record.status, first.record.bytes, first.record.duration_us), (200, 2326, 1234));
        assert_eq!(Version::name(first.version), "HTTP/2.0");
        assert!(wall_us().abs_diff(first.began_us) < 60_000_000);
        let second = decode(&mut rest).unwrap();
        assert_eq!(second.record.target.len(), FIELD_LEN_MAX);
        assert_eq!(second.record.client, b"203.0.113.7");
        assert!(decode(&mut rest).is_none() && rest.is_empty());
    }
}
