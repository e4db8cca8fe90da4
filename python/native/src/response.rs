//! The response of a WSGI application: `start_response`, `write` and the iterable it returns (PEP 3333).

use crate::exchange::ClientDisconnected;
use crate::fields;
use crate::reader::DataLink;
use crate::stream::{Gone, Stream, lock};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::sync::{Arc, Mutex};
use wire::{FLAG_END, Kind, PAYLOAD_MAX};

pyo3::create_exception!(
    bireme._native,
    ContractError,
    PyRuntimeError,
    "The application broke PEP 3333 in a way that no response can be made of."
);

/// What `start_response` was called with, checked.
struct Head {
    status: u16,
    reason: Vec<u8>,
    text: Vec<u8>,
    /// Where each name begins, its value begins, and that ends, in `text`.
    spans: Vec<(usize, usize, usize)>,
    content_length: Option<u64>,
}

impl Head {
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.spans.iter().map(|(name, value, end)| (&self.text[*name..*value], &self.text[*value..*end]))
    }
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    started: bool,
    head_sent: bool,
    ended: bool,
    body_left: Option<u64>,
}

/// `start_response` of one request, and the callable that it returns.
#[pyclass(frozen, module = "bireme._native")]
pub struct Response {
    link: Arc<DataLink>,
    stream: Arc<Stream>,
    is_head: bool,
    state: Mutex<State>,
}

impl Response {
    pub fn new(link: Arc<DataLink>, stream: Arc<Stream>, is_head: bool) -> Response {
        Response { link, stream, is_head, state: Mutex::default() }
    }

    /// Sends what the application returned, and ends the stream. Blocks, without the GIL, while the
    /// client does not read.
    pub fn send_all(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<()> {
        let single = if let Ok(list) = result.cast_exact::<PyList>() {
            (list.len() == 1).then(|| list.get_item(0)).transpose()?
        } else if let Ok(tuple) = result.cast_exact::<PyTuple>() {
            (tuple.len() == 1).then(|| tuple.get_item(0)).transpose()?
        } else {
            None
        };
        if let Some(chunk) = single {
            return self.send_chunk(py, chunk_bytes(&chunk)?, true);
        }
        for chunk in result.try_iter()? {
            let chunk = chunk?;
            let bytes = chunk_bytes(&chunk)?;
            if !bytes.is_empty() {
                self.send_chunk(py, bytes, false)?;
            }
        }
        self.send_chunk(py, b"", true)
    }

    /// Whether all of the response has been sent.
    pub fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    fn send_chunk(&self, py: Python<'_>, bytes: &[u8], last: bool) -> PyResult<()> {
        let head = {
            let mut state = lock(&self.state);
            if !state.started {
                return Err(ContractError::new_err("the application sent a body without calling start_response"));
            }
            if let Some(left) = state.body_left {
                match left.checked_sub(bytes.len() as u64) {
                    None => return Err(ContractError::new_err("the response's body is longer than its Content-Length")),
                    Some(left @ 1..) if last => {
                        return Err(ContractError::new_err(format!(
                            "the response's body ended {left} bytes short of its Content-Length"
                        )));
                    }
                    left => state.body_left = left,
                }
            }
            state.head_sent = true;
            state.head.take()
        };
        let mut sent = 0;
        if let Some(head) = &head {
            let room = PAYLOAD_MAX
                .saturating_sub(4 + head.reason.len() + head.fields().map(|(n, v)| 4 + n.len() + v.len()).sum::<usize>());
            sent = self.credit(bytes.len().min(room))?;
            let end = last && sent == bytes.len();
            let encode = |out: &mut Vec<u8>| {
                wire::put_response(out, self.stream.id, head.status, &head.reason, head.fields(), &bytes[..sent], end)
            };
            // A whole response can wait for others to leave with; a part must not.
            let encoded = if end { self.link.queue(encode) } else { self.link.send(encode) };
            encoded.map_err(|error| ContractError::new_err(error.to_string()))?;
            if end {
                lock(&self.state).ended = true;
                return Ok(());
            }
        }
        self.send_rest(py, &bytes[sent..], last)?;
        lock(&self.state).ended = last;
        Ok(())
    }

    fn send_rest(&self, py: Python<'_>, mut bytes: &[u8], last: bool) -> PyResult<()> {
        while !bytes.is_empty() {
            let n = self.credit(bytes.len().min(PAYLOAD_MAX))?;
            if n == 0 {
                if self.is_head {
                    // The front drops the body of a response to HEAD, and need not grant anything for it.
                    break;
                }
                py.detach(|| self.stream.wait_for_credit()).map_err(gone)?;
                continue;
            }
            let flags = if last && n == bytes.len() { FLAG_END } else { 0 };
            self.link.send(|out| wire::put_frame(out, Kind::Data, flags, 0, self.stream.id, &bytes[..n]));
            if flags == FLAG_END {
                return Ok(());
            }
            bytes = &bytes[n..];
        }
        if last {
            self.link.send(|out| wire::put_frame(out, Kind::Data, FLAG_END, 0, self.stream.id, b""));
        }
        Ok(())
    }

    fn credit(&self, wanted: usize) -> PyResult<usize> {
        self.stream.take_credit(wanted).map_err(gone)
    }
}

#[pymethods]
impl Response {
    /// PEP 3333's `start_response`. Returns `write`.
    #[pyo3(signature = (status, headers, exc_info = None, /))]
    fn start<'py>(
        slf: &Bound<'py, Response>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let (started, head_sent) = {
            let state = lock(&this.state);
            (state.started, state.head_sent)
        };
        match exc_info {
            Some(exc_info) if head_sent => {
                // Too late for another response: the error is the caller's again.
                let error = exc_info.get_item(1)?;
                return Err(PyErr::from_value(error));
            }
            None if started => return Err(PyAssertionError::new_err("start_response was called twice without exc_info")),
            _ => {}
        }
        let head = read_head(status, headers)?;
        let mut state = lock(&this.state);
        // A response to HEAD and a 304 may announce a length that nobody sends (RFC 9110 §8.6).
        state.body_left = if this.is_head || matches!(head.status, 204 | 304) { None } else { head.content_length };
        state.started = true;
        let replaced = state.head.replace(head);
        drop(state);
        drop(replaced);
        slf.getattr(intern!(slf.py(), "write"))
    }

    /// Sends body bytes at once (PEP 3333, "The write() Callable").
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = chunk_bytes(data)?;
        if bytes.is_empty() { Ok(()) } else { self.send_chunk(py, bytes, false) }
    }
}

fn gone(_: Gone) -> PyErr {
    ClientDisconnected::new_err("the client has gone")
}

fn chunk_bytes<'a>(chunk: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    match chunk.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => {
            Err(ContractError::new_err(format!("the application's body must be made of bytes, not {}", chunk.get_type().name()?)))
        }
    }
}

fn read_head(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Head> {
    let Ok(status) = status.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!("the status must be a str like \"200 OK\", not {}", status.repr()?)));
    };
    let mut reason = Vec::new();
    push_latin1(&mut reason, status, "status")?;
    let code = reason
        .get(..3)
        .filter(|code| code.iter().all(u8::is_ascii_digit) && matches!(reason.get(3), None | Some(b' ')))
        .map(|code| code.iter().fold(0u16, |n, digit| n * 10 + u16::from(digit - b'0')))
        .filter(|code| (200..=599).contains(code));
    let Some(code) = code else {
        return Err(ContractError::new_err(format!("the status {} is not like \"200 OK\", from 200 to 599", status.repr()?)));
    };
    reason.drain(..reason.len().min(4));
    if reason.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(ContractError::new_err("the status holds CR, LF or NUL"));
    }
    let mut head = Head { status: code, reason, text: Vec::with_capacity(128), spans: Vec::new(), content_length: None };
    if let Ok(list) = headers.cast_exact::<PyList>() {
        head.spans.reserve(list.len());
        for pair in list.iter() {
            push_field(&mut head, &pair)?;
        }
    } else {
        for pair in headers.try_iter()? {
            push_field(&mut head, &pair?)?;
        }
    }
    Ok(head)
}

fn push_field(head: &mut Head, pair: &Bound<'_, PyAny>) -> PyResult<()> {
    let (name, value) = match pair.cast_exact::<PyTuple>() {
        Ok(tuple) if tuple.len() == 2 => (tuple.get_item(0)?, tuple.get_item(1)?),
        _ => pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?,
    };
    let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyString>()) else {
        return Err(PyTypeError::new_err(format!("a header must be a pair of str, not {}", pair.repr()?)));
    };
    let name_at = head.text.len();
    push_latin1(&mut head.text, name, "header name")?;
    let value_at = head.text.len();
    push_latin1(&mut head.text, value, "header value")?;
    let (name, value) = (&head.text[name_at..value_at], &head.text[value_at..]);
    fields::check(name, value).map_err(ContractError::new_err)?;
    if fields::is_content_length(name) {
        let length = fields::parse_length(value).ok_or_else(|| {
            ContractError::new_err(format!("the header Content-Length: {} is not a number", value.escape_ascii()))
        })?;
        head.content_length = Some(length);
    }
    head.spans.push((name_at, value_at, head.text.len()));
    Ok(())
}

/// Appends a native string of PEP 3333: text in which each character is a byte.
fn push_latin1(out: &mut Vec<u8>, text: &Bound<'_, PyString>, what: &str) -> PyResult<()> {
    if let Ok(text) = text.to_str() {
        if text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let start = out.len();
        for character in text.chars() {
            match u8::try_from(u32::from(character)) {
                Ok(byte) => out.push(byte),
                Err(_) => {
                    out.truncate(start);
                    return Err(ContractError::new_err(format!(
                        "the {what} holds {character:?}, which is not Latin-1 (PEP 3333, \"Unicode Issues\")"
                    )));
                }
            }
        }
        return Ok(());
    }
    Err(ContractError::new_err(format!("the {what} is not Latin-1 (PEP 3333, \"Unicode Issues\")")))
}
