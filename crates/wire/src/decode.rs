//! Bytes to frames. Everything here checks before it believes.

use crate::{HEADER_LEN, Kind, PAYLOAD_MAX, WireError};

/// One frame, borrowing its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// Bits such as [`crate::FLAG_END`]; what they mean depends on the kind.
    pub flags: u8,
    /// Status, reset code, close code or version, by kind.
    pub aux: u16,
    /// 0 for the link itself.
    pub stream: u32,
    /// The rest.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether the sender's half of the stream ends here.
    pub fn ends(&self) -> bool {
        self.flags & crate::FLAG_END != 0
    }

    /// Bytes the whole frame takes on the link.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }
}

/// The first frame of `bytes`, or `None` while it is incomplete. The frame takes
/// [`Frame::encoded_len`] bytes.
pub fn decode_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if length as usize > PAYLOAD_MAX {
        return Err(WireError::PayloadTooLong(length));
    }
    let kind = Kind::from_code(header[8]).ok_or(WireError::UnknownKind(header[8]))?;
    let Some(payload) = rest.get(..length as usize) else {
        return Ok(None);
    };
    Ok(Some(Frame {
        kind,
        flags: header[9],
        aux: u16::from_le_bytes([header[10], header[11]]),
        stream: u32::from_le_bytes([header[4], header[5], header[6], header[7]]),
        payload,
    }))
}

/// Names and values, in the order they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct FieldList<'a> {
    lengths: &'a [u8],
    strings: &'a [u8],
}

impl<'a> FieldList<'a> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.lengths.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let mut strings = self.strings;
        self.lengths.as_chunks::<4>().0.iter().map(move |l| {
            let (name, rest) = strings.split_at(u16::from_le_bytes([l[0], l[1]]) as usize);
            let (value, rest) = rest.split_at(u16::from_le_bytes([l[2], l[3]]) as usize);
            strings = rest;
            (name, value)
        })
    }

    /// The first value of the field `name`, compared without regard to case (RFC 9110 §5.1).
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// The head of a REQUEST.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// 10, 11 or 20.
    pub version: u8,
    /// Whether the client spoke TLS.
    pub https: bool,
    /// 0 over a Unix socket.
    pub remote_port: u16,
    /// 0 over a Unix socket.
    pub local_port: u16,
    /// `GET`, in the client's bytes.
    pub method: &'a [u8],
    /// Path and query, percent-encoding untouched, the prefix removed.
    pub target: &'a [u8],
    /// IP text, or empty.
    pub remote_addr: &'a [u8],
    /// IP text, or empty.
    pub local_addr: &'a [u8],
    /// What the route stripped from the path, or empty.
    pub prefix: &'a [u8],
    /// The id that the access log shows.
    pub request_id: &'a [u8],
    /// Header fields.
    pub fields: FieldList<'a>,
    /// First body bytes.
    pub body: &'a [u8],
}

impl<'a> RequestHead<'a> {
    /// Reads the payload of a REQUEST.
    pub fn parse(payload: &'a [u8]) -> Result<RequestHead<'a>, WireError> {
        let mut cursor = Cursor { kind: Kind::Request, rest: payload };
        let [version, scheme] = *cursor.chunk::<2>()?;
        if !matches!(version, 10 | 11 | 20) {
            return Err(WireError::Invalid(Kind::Request, "version is not 10, 11 or 20"));
        }
        if scheme > 1 {
            return Err(WireError::Invalid(Kind::Request, "scheme is not 0 or 1"));
        }
        let remote_port = cursor.u16()?;
        let local_port = cursor.u16()?;
        let count = cursor.u16()?;
        let mut lengths = [0usize; 6];
        for length in &mut lengths {
            *length = cursor.u16()? as usize;
        }
        let field_lengths = cursor.take(count as usize * 4)?;
        let mut string = |i: usize| cursor.take(lengths[i]);
        let (method, target, remote_addr) = (string(0)?, string(1)?, string(2)?);
        let (local_addr, prefix, request_id) = (string(3)?, string(4)?, string(5)?);
        let fields = cursor.fields(field_lengths)?;
        Ok(RequestHead {
            version,
            https: scheme == 1,
            remote_port,
            local_port,
            method,
            target,
            remote_addr,
            local_addr,
            prefix,
            request_id,
            fields,
            body: cursor.rest,
        })
    }
}

/// The head of a RESPONSE.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The application's reason phrase, or empty for the standard one.
    pub reason: &'a [u8],
    /// Header fields.
    pub fields: FieldList<'a>,
    /// First body bytes.
    pub body: &'a [u8],
}

impl<'a> ResponseHead<'a> {
    /// Reads the payload of a RESPONSE.
    pub fn parse(payload: &'a [u8]) -> Result<ResponseHead<'a>, WireError> {
        let mut cursor = Cursor { kind: Kind::Response, rest: payload };
        let reason_length = cursor.u16()? as usize;
        let count = cursor.u16()? as usize;
        let field_lengths = cursor.take(count * 4)?;
        let reason = cursor.take(reason_length)?;
        let fields = cursor.fields(field_lengths)?;
        Ok(ResponseHead { reason, fields, body: cursor.rest })
    }
}

/// Reads the payload of TRAILERS, INFORMATIONAL or WS_ACCEPT.
pub fn field_list(kind: Kind, payload: &[u8]) -> Result<FieldList<'_>, WireError> {
    let mut cursor = Cursor { kind, rest: payload };
    let count = cursor.u16()? as usize;
    let lengths = cursor.take(count * 4)?;
    let fields = cursor.fields(lengths)?;
    if !cursor.rest.is_empty() {
        return Err(WireError::Invalid(kind, "bytes after the field list"));
    }
    Ok(fields)
}

/// The texts in the body of a REQUEST to take over: the subprotocol, then each topic and the name by which the socket has
/// joined it. Ends where the body is cut short.
pub fn take_over_texts(mut body: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length) as usize)?;
        body = rest;
        Some(text)
    })
}

/// Reads the payload of a CREDIT: bytes granted.
pub fn credit(payload: &[u8]) -> Result<u32, WireError> {
    let bytes = payload.try_into().map_err(|_| WireError::Invalid(Kind::Credit, "payload is not 4 bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}

struct Cursor<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(WireError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(*self.chunk::<2>()?))
    }

    /// Splits the strings that `lengths` announce off the rest, so that iteration can't fail.
    fn fields(&mut self, lengths: &'a [u8]) -> Result<FieldList<'a>, WireError> {
        let total = lengths.as_chunks::<2>().0.iter().map(|l| u16::from_le_bytes(*l) as usize).sum();
        Ok(FieldList { lengths, strings: self.take(total)? })
    }
}
