//! A REQUEST's head as a WSGI environment (PEP 3333, "environ Variables").

use crate::scope::{latin1, percent_decoded, split_target};
use crate::stream::lock;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::sync::Mutex;
use wire::RequestHead;

/// Header fields kept for reuse, as in `scope`.
const FIELDS: usize = 512;
/// Longest name and value together that is kept, in bytes.
const FIELD_BYTES_MAX: usize = 256;

/// Makes environments; one for each worker.
pub struct EnvironBuilder {
    template: Py<PyDict>,
    reuse: Mutex<Vec<Option<Field>>>,
}

struct Field {
    name: Box<[u8]>,
    value: Box<[u8]>,
    key: Py<PyString>,
    text: Py<PyString>,
}

impl EnvironBuilder {
    /// `constants` are the entries that are the same for every request.
    pub fn new(py: Python<'_>, constants: &Bound<'_, PyDict>) -> PyResult<EnvironBuilder> {
        let template = PyDict::new(py);
        for key in [
            "REQUEST_METHOD",
            "SCRIPT_NAME",
            "PATH_INFO",
            "QUERY_STRING",
            "REQUEST_URI",
            "RAW_URI",
            "SERVER_PROTOCOL",
            "SERVER_NAME",
            "SERVER_PORT",
            "REMOTE_ADDR",
            "REMOTE_PORT",
            "wsgi.url_scheme",
            "wsgi.input",
        ] {
            template.set_item(PyString::intern(py, key), "")?;
        }
        template.update(constants.as_mapping())?;
        let mut reuse = Vec::new();
        reuse.resize_with(FIELDS, || None);
        Ok(EnvironBuilder { template: template.unbind(), reuse: Mutex::new(reuse) })
    }

    /// The environment of one request.
    pub fn build<'py>(&self, py: Python<'py>, head: &RequestHead<'_>, input: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.template.bind(py).copy()?;
        let (path, query) = split_target(head.target);
        environ.set_item(intern!(py, "REQUEST_METHOD"), method(py, head.method))?;
        if !head.prefix.is_empty() {
            environ.set_item(intern!(py, "SCRIPT_NAME"), decoded(py, head.prefix))?;
        }
        environ.set_item(intern!(py, "PATH_INFO"), decoded(py, path))?;
        if !query.is_empty() {
            environ.set_item(intern!(py, "QUERY_STRING"), latin1(py, query))?;
        }
        let uri = if head.prefix.is_empty() { latin1(py, head.target) } else { latin1(py, &[head.prefix, head.target].concat()) };
        environ.set_item(intern!(py, "REQUEST_URI"), &uri)?;
        environ.set_item(intern!(py, "RAW_URI"), uri)?;
        let protocol = match head.version {
            10 => intern!(py, "HTTP/1.0"),
            20 => intern!(py, "HTTP/2"),
            _ => intern!(py, "HTTP/1.1"),
        };
        environ.set_item(intern!(py, "SERVER_PROTOCOL"), protocol)?;
        let scheme = if head.https { intern!(py, "https") } else { intern!(py, "http") };
        environ.set_item(intern!(py, "wsgi.url_scheme"), scheme)?;
        environ.set_item(intern!(py, "wsgi.input"), input)?;
        self.set_fields(py, head, &environ)?;
        set_addresses(py, head, &environ)?;
        Ok(environ)
    }

    fn set_fields(&self, py: Python<'_>, head: &RequestHead<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        let template_size = self.template.bind(py).len();
        let mut count = 0;
        for (name, value) in head.fields.iter() {
            // `X_Y` and `X-Y` would become the same variable, so that a client could forge what a proxy
            // in front sets; like nginx and gunicorn, the underscore loses. `Proxy` would become
            // HTTP_PROXY, which HTTP clients take for their proxy (CVE-2016-5385).
            if name.contains(&b'_') || name.eq_ignore_ascii_case(b"proxy") {
                continue;
            }
            let (key, text) = self.field(py, name, value)?;
            environ.set_item(&key, &text)?;
            count += 1;
            if environ.len() != template_size + count {
                // The key was there already: a repeated field. Its values are joined (RFC 9110 §5.3),
                // except those of cookies, which have a separator of their own (RFC 6265 §5.4).
                count -= 1;
                let separator = if name.eq_ignore_ascii_case(b"cookie") { "; " } else { "," };
                let joined = self.joined(head, name, separator);
                environ.set_item(key, latin1(py, &joined))?;
            }
        }
        Ok(())
    }

    fn joined(&self, head: &RequestHead<'_>, name: &[u8], separator: &str) -> Vec<u8> {
        let values: Vec<&[u8]> =
            head.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
        values.join(separator.as_bytes())
    }

    fn field<'py>(&self, py: Python<'py>, name: &[u8], value: &[u8]) -> PyResult<(Bound<'py, PyString>, Bound<'py, PyString>)> {
        if name.len() + value.len() > FIELD_BYTES_MAX || crate::scope::is_secret(name) {
            return Ok((key(py, name), latin1(py, value)));
        }
        let slot = (crate::scope::hash(name, value) as usize) % FIELDS;
        if let Some(field) = &lock(&self.reuse)[slot]
            && *field.value == *value
            && *field.name == *name
        {
            return Ok((field.key.bind(py).clone(), field.text.bind(py).clone()));
        }
        let (key, text) = (key(py, name), latin1(py, value));
        let kept = Field { name: name.into(), value: value.into(), key: key.clone().unbind(), text: text.clone().unbind() };
        let previous = lock(&self.reuse)[slot].replace(kept);
        drop(previous);
        Ok((key, text))
    }
}

fn set_addresses(py: Python<'_>, head: &RequestHead<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
    environ.set_item(intern!(py, "REMOTE_ADDR"), latin1(py, head.remote_addr))?;
    environ.set_item(intern!(py, "REMOTE_PORT"), head.remote_port.to_string())?;
    if head.local_addr.is_empty() {
        // Over a Unix socket there is only what the client calls us (PEP 3333: neither may be empty).
        let host = head.fields.get("host").unwrap_or(b"localhost");
        let name = match host.iter().rposition(|b| *b == b':') {
            Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => &host[..at],
            _ => host,
        };
        let port = host[name.len()..].strip_prefix(b":").filter(|port| !port.is_empty());
        environ.set_item(intern!(py, "SERVER_NAME"), latin1(py, name))?;
        let default: &[u8] = if head.https { b"443" } else { b"80" };
        environ.set_item(intern!(py, "SERVER_PORT"), latin1(py, port.unwrap_or(default)))?;
    } else {
        environ.set_item(intern!(py, "SERVER_NAME"), latin1(py, head.local_addr))?;
        environ.set_item(intern!(py, "SERVER_PORT"), head.local_port.to_string())?;
    }
    Ok(())
}

/// The variable of a header field: `HTTP_` and the name, except for two (RFC 3875 §4.1.18).
fn key<'py>(py: Python<'py>, name: &[u8]) -> Bound<'py, PyString> {
    if name.eq_ignore_ascii_case(b"content-type") {
        return intern!(py, "CONTENT_TYPE").clone();
    }
    if name.eq_ignore_ascii_case(b"content-length") {
        return intern!(py, "CONTENT_LENGTH").clone();
    }
    if name.eq_ignore_ascii_case(b"host") {
        return intern!(py, "HTTP_HOST").clone();
    }
    let mut key = Vec::with_capacity(5 + name.len());
    key.extend_from_slice(b"HTTP_");
    key.extend(name.iter().map(|b| if *b == b'-' { b'_' } else { b.to_ascii_uppercase() }));
    latin1(py, &key)
}

fn method<'py>(py: Python<'py>, method: &[u8]) -> Bound<'py, PyString> {
    match method {
        b"GET" => intern!(py, "GET").clone(),
        b"POST" => intern!(py, "POST").clone(),
        other => latin1(py, other),
    }
}

/// A path without its percent-encoding, as the "bytes in text" that PEP 3333 asks for.
fn decoded<'py>(py: Python<'py>, path: &[u8]) -> Bound<'py, PyString> {
    if path.contains(&b'%') { latin1(py, &percent_decoded(path)) } else { latin1(py, path) }
}
