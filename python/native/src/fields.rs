//! Header fields: from an application's message to checked byte strings, and what the checks are.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

/// Names and values that an application sends, checked.
#[derive(Default)]
pub struct Fields {
    pairs: Vec<(Py<PyBytes>, Py<PyBytes>)>,
    /// What `content-length` announces.
    pub content_length: Option<u64>,
}

impl Fields {
    /// Reads an iterable of pairs of bytes. An error says which field breaks which rule.
    pub fn read(headers: &Bound<'_, PyAny>) -> PyResult<Fields> {
        let mut fields = Fields::default();
        if let Ok(list) = headers.cast_exact::<PyList>() {
            fields.pairs.reserve(list.len());
            for pair in list.iter() {
                fields.push(&pair)?;
            }
        } else {
            for pair in headers.try_iter()? {
                fields.push(&pair?)?;
            }
        }
        Ok(fields)
    }

    /// The field `headers` of an ASGI message, or nothing if it has none.
    pub fn of_message(py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<Fields> {
        match message.get_item(intern!(py, "headers"))? {
            Some(headers) if !headers.is_none() => Fields::read(&headers),
            _ => Ok(Fields::default()),
        }
    }

    fn push(&mut self, pair: &Bound<'_, PyAny>) -> PyResult<()> {
        let (name, value) = if let Ok(tuple) = pair.cast_exact::<PyTuple>()
            && tuple.len() == 2
        {
            (tuple.get_item(0)?, tuple.get_item(1)?)
        } else if let Ok(list) = pair.cast_exact::<PyList>()
            && list.len() == 2
        {
            (list.get_item(0)?, list.get_item(1)?)
        } else {
            pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?
        };
        self.push_checked(byte_string(name, "header name")?, value)
    }

    /// Adds one field after checking it.
    pub fn push_checked(&mut self, name: Bound<'_, PyBytes>, value: Bound<'_, PyAny>) -> PyResult<()> {
        let value = byte_string(value, "header value")?;
        check(name.as_bytes(), value.as_bytes()).map_err(PyRuntimeError::new_err)?;
        if is_content_length(name.as_bytes()) {
            self.content_length = Some(parse_length(value.as_bytes()).ok_or_else(|| {
                PyRuntimeError::new_err(format!("the header content-length: {} is not a number", value.as_bytes().escape_ascii()))
            })?);
        }
        self.pairs.push((name.unbind(), value.unbind()));
        Ok(())
    }

    /// The fields for the encoder.
    pub fn iter<'a>(&'a self, py: Python<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        self.pairs.iter().map(move |(name, value)| (name.as_bytes(py), value.as_bytes(py)))
    }

    /// Adds the fields of a later message.
    pub fn append(&mut self, mut later: Fields) {
        self.pairs.append(&mut later.pairs);
    }
}

fn byte_string<'py>(object: Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyBytes>> {
    match object.cast_into_exact::<PyBytes>() {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let object = error.into_inner();
            if let Ok(bytes) = object.cast::<PyBytes>() {
                return Ok(bytes.clone());
            }
            Err(PyRuntimeError::new_err(format!("a {what} must be bytes, not {}", object.get_type().name()?)))
        }
    }
}

/// Bytes that a field name may consist of (RFC 9110 §5.6.2, `tchar`).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

/// Checks a field by RFC 9110 §5.1 and §5.5. A value with CR, LF or NUL could smuggle another response.
pub fn check(name: &[u8], value: &[u8]) -> Result<(), String> {
    if name.is_empty() || !name.iter().all(|b| TOKEN[*b as usize]) {
        return Err(format!("the header name \"{}\" is not a token (RFC 9110 §5.1)", name.escape_ascii()));
    }
    if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(format!(
            "the header {} holds CR, LF or NUL: \"{}\" (RFC 9110 §5.5)",
            name.escape_ascii(),
            value[..value.len().min(200)].escape_ascii()
        ));
    }
    if name.len() > u16::MAX as usize || value.len() > u16::MAX as usize {
        return Err(format!("the header {} is longer than 65,535 bytes", name[..name.len().min(100)].escape_ascii()));
    }
    Ok(())
}

/// Whether a field is `content-length`.
pub fn is_content_length(name: &[u8]) -> bool {
    name.len() == 14 && name.eq_ignore_ascii_case(b"content-length")
}

/// The number a `content-length` announces.
pub fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
