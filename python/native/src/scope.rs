//! A REQUEST's head as an ASGI connection scope (ASGI 3, HTTP & WebSocket spec 2.5, "HTTP connection scope").

use crate::cell::Cell;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use wire::RequestHead;

/// The ASGI version that scopes announce, and the version of its HTTP part.
pub const ASGI_VERSION: &str = "3.0";
/// From 2.4 on, a `send` after the client has gone raises OSError.
pub const ASGI_SPEC_VERSION: &str = "2.5";

/// Header pairs kept for reuse. Browsers and load balancers send the same names and values with nearly
/// every request, and finding a tuple is cheaper than making two byte strings and a tuple.
const PAIRS: usize = 512;
/// Longest name and value together that is kept, in bytes: this bounds the cache to 128 KiB of text.
const PAIR_BYTES_MAX: usize = 256;

/// Makes scopes; one for each link.
pub struct ScopeBuilder {
    template: Py<PyDict>,
    extensions: Py<PyDict>,
    state: Option<Py<PyDict>>,
    link: u16,
    reuse: Cell<Reuse>,
}

struct Reuse {
    pairs: Vec<Option<Pair>>,
    server: Option<(Box<[u8]>, u16, Py<PyTuple>)>,
}

struct Pair {
    name: Box<[u8]>,
    value: Box<[u8]>,
    tuple: Py<PyTuple>,
}

impl ScopeBuilder {
    /// `state` is the lifespan's state, copied into each scope; `None` when the application has no
    /// lifespan. `link` is the number of the data link.
    pub fn new(py: Python<'_>, state: Option<Py<PyDict>>, link: u16) -> PyResult<ScopeBuilder> {
        let asgi = PyDict::new(py);
        asgi.set_item("version", ASGI_VERSION)?;
        asgi.set_item("spec_version", ASGI_SPEC_VERSION)?;
        let template = PyDict::new(py);
        // Every key is present from the start, so that filling in a copy never resizes it.
        template.set_item(intern!(py, "type"), intern!(py, "http"))?;
        template.set_item(intern!(py, "asgi"), asgi)?;
        template.set_item(intern!(py, "http_version"), intern!(py, "1.1"))?;
        template.set_item(intern!(py, "method"), intern!(py, "GET"))?;
        template.set_item(intern!(py, "scheme"), intern!(py, "http"))?;
        template.set_item(intern!(py, "path"), py.None())?;
        template.set_item(intern!(py, "raw_path"), py.None())?;
        template.set_item(intern!(py, "query_string"), PyBytes::new(py, b""))?;
        template.set_item(intern!(py, "root_path"), intern!(py, ""))?;
        template.set_item(intern!(py, "headers"), py.None())?;
        template.set_item(intern!(py, "client"), py.None())?;
        template.set_item(intern!(py, "server"), py.None())?;
        template.set_item(intern!(py, "extensions"), py.None())?;
        if state.is_some() {
            template.set_item(intern!(py, "state"), py.None())?;
        }
        let extensions = PyDict::new(py);
        extensions.set_item("http.response.trailers", PyDict::new(py))?;
        extensions.set_item("http.response.early_hint", PyDict::new(py))?;
        extensions.set_item("http.response.pathsend", PyDict::new(py))?;
        let mut pairs = Vec::new();
        pairs.resize_with(PAIRS, || None);
        Ok(ScopeBuilder {
            template: template.unbind(),
            extensions: extensions.unbind(),
            state,
            link,
            reuse: Cell::new(Reuse { pairs, server: None }),
        })
    }

    /// The scope of one request.
    pub fn build<'py>(&self, py: Python<'py>, head: &RequestHead<'_>) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.template.bind(py).copy()?;
        match head.version {
            10 => scope.set_item(intern!(py, "http_version"), intern!(py, "1.0"))?,
            20 => scope.set_item(intern!(py, "http_version"), intern!(py, "2"))?,
            _ => {}
        }
        if head.https {
            scope.set_item(intern!(py, "scheme"), intern!(py, "https"))?;
        }
        if head.method != b"GET" {
            scope.set_item(intern!(py, "method"), method(py, head.method))?;
        }
        let (path, query) = split_target(head.target);
        if !query.is_empty() {
            scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
        }
        if head.prefix.is_empty() {
            scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, path))?;
            scope.set_item(intern!(py, "path"), decoded(py, path))?;
        } else {
            // `path` and `raw_path` begin with `root_path`: the application sees what the client asked for.
            let whole = [head.prefix, path].concat();
            scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, &whole))?;
            scope.set_item(intern!(py, "path"), decoded(py, &whole))?;
            scope.set_item(intern!(py, "root_path"), decoded(py, head.prefix))?;
        }
        scope.set_item(intern!(py, "headers"), self.headers(py, head)?)?;
        if !head.remote_addr.is_empty() {
            scope.set_item(intern!(py, "client"), address(py, head.remote_addr, head.remote_port)?)?;
        }
        if !head.local_addr.is_empty() {
            scope.set_item(intern!(py, "server"), self.server(py, head)?)?;
        }
        scope.set_item(intern!(py, "extensions"), self.extensions.bind(py).copy()?)?;
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        Ok(scope)
    }

    /// The scope of one WebSocket, and the subprotocols that the client offers ("WebSocket Connection Scope"). `resumed`:
    /// another worker has had it, and the body says what is known of it.
    pub fn build_websocket<'py>(
        &self,
        py: Python<'py>,
        stream: u32,
        head: &RequestHead<'_>,
        resumed: bool,
    ) -> PyResult<(Bound<'py, PyDict>, Vec<String>)> {
        let scope = self.build(py, head)?;
        scope.set_item(intern!(py, "type"), intern!(py, "websocket"))?;
        scope.set_item(intern!(py, "scheme"), if head.https { intern!(py, "wss") } else { intern!(py, "ws") })?;
        scope.del_item(intern!(py, "method"))?;
        let subprotocols: Vec<String> = head
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-protocol"))
            .flat_map(|(_, value)| value.split(|b| *b == b','))
            .map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned())
            .filter(|name| !name.is_empty())
            .collect();
        scope.set_item(intern!(py, "subprotocols"), PyList::new(py, &subprotocols)?)?;
        let extensions = PyDict::new(py);
        extensions.set_item(intern!(py, "websocket.http.response"), PyDict::new(py))?;
        // For `bireme.socket`.
        let bireme = PyDict::new(py);
        bireme.set_item(intern!(py, "stream"), stream)?;
        bireme.set_item(intern!(py, "link"), self.link)?;
        bireme.set_item(intern!(py, "id"), latin1(py, head.request_id))?;
        bireme.set_item(intern!(py, "resumed"), resumed)?;
        if resumed {
            let mut texts = wire::take_over_texts(head.body);
            let subprotocol = texts.next().filter(|text| !text.is_empty()).map(String::from_utf8_lossy);
            bireme.set_item(intern!(py, "subprotocol"), subprotocol)?;
            // Each topic comes with the name by which the socket has joined it.
            let topics: Vec<_> = texts.step_by(2).map(String::from_utf8_lossy).collect();
            bireme.set_item(intern!(py, "topics"), topics)?;
        }
        extensions.set_item(intern!(py, "bireme"), bireme)?;
        scope.set_item(intern!(py, "extensions"), extensions)?;
        Ok((scope, subprotocols))
    }

    fn server<'py>(&self, py: Python<'py>, head: &RequestHead<'_>) -> PyResult<Bound<'py, PyTuple>> {
        if let Some((addr, port, tuple)) = &self.reuse.get()?.server
            && **addr == *head.local_addr
            && *port == head.local_port
        {
            return Ok(tuple.bind(py).clone());
        }
        let tuple = address(py, head.local_addr, head.local_port)?;
        let previous = self.reuse.get()?.server.replace((head.local_addr.into(), head.local_port, tuple.clone().unbind()));
        drop(previous);
        Ok(tuple)
    }

    fn headers<'py>(&self, py: Python<'py>, head: &RequestHead<'_>) -> PyResult<Bound<'py, PyList>> {
        let mut pairs: Vec<Bound<'py, PyTuple>> = Vec::with_capacity(head.fields.len());
        for (name, value) in head.fields.iter() {
            pairs.push(self.pair(py, name, value)?);
        }
        PyList::new(py, pairs)
    }

    fn pair<'py>(&self, py: Python<'py>, name: &[u8], value: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
        if name.len() + value.len() > PAIR_BYTES_MAX || is_secret(name) || is_unique(name) {
            return make_pair(py, name, value);
        }
        let slot = (hash(name, value) as usize) % PAIRS;
        if let Some(pair) = &self.reuse.get()?.pairs[slot]
            && *pair.value == *value
            && *pair.name == *name
        {
            return Ok(pair.tuple.bind(py).clone());
        }
        let tuple = make_pair(py, name, value)?;
        let kept = Pair { name: name.into(), value: value.into(), tuple: tuple.clone().unbind() };
        let previous = self.reuse.get()?.pairs[slot].replace(kept);
        drop(previous);
        Ok(tuple)
    }
}

/// Fields whose values must not outlive their request in a cache.
pub fn is_secret(name: &[u8]) -> bool {
    match name.len() {
        6 => name.eq_ignore_ascii_case(b"cookie"),
        13 => name.eq_ignore_ascii_case(b"authorization"),
        19 => name.eq_ignore_ascii_case(b"proxy-authorization"),
        _ => false,
    }
}

/// Fields that no two requests share: keeping them would only drive others out.
fn is_unique(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"x-request-id")
}

fn make_pair<'py>(py: Python<'py>, name: &[u8], value: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    let lower = PyBytes::new_with(py, name.len(), |out| {
        for (to, from) in out.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        Ok(())
    })?;
    PyTuple::new(py, [lower, PyBytes::new(py, value)])
}

/// FNV-like, eight bytes at a time. A collision costs a miss and nothing else, so that nobody gains by
/// making some.
pub fn hash(name: &[u8], value: &[u8]) -> u64 {
    const K: u64 = 0x517c_c1b7_2722_0a95;
    let mut h: u64 = name.len() as u64 ^ ((value.len() as u64) << 32);
    for part in [name, value] {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            h = (h.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(K);
        }
        for byte in rest {
            h = (h.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(K);
        }
    }
    h >> 40
}

fn address<'py>(py: Python<'py>, addr: &[u8], port: u16) -> PyResult<Bound<'py, PyTuple>> {
    (latin1(py, addr), port).into_pyobject(py)
}

fn method<'py>(py: Python<'py>, method: &[u8]) -> Bound<'py, PyString> {
    match method {
        b"GET" => intern!(py, "GET").clone(),
        b"HEAD" => intern!(py, "HEAD").clone(),
        b"POST" => intern!(py, "POST").clone(),
        b"PUT" => intern!(py, "PUT").clone(),
        b"PATCH" => intern!(py, "PATCH").clone(),
        b"DELETE" => intern!(py, "DELETE").clone(),
        b"OPTIONS" => intern!(py, "OPTIONS").clone(),
        other => latin1(py, other),
    }
}

/// The bytes as text, one character a byte.
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &bytes.iter().map(|b| char::from(*b)).collect::<String>()),
    }
}

/// The parts of a request target before and after its first `?`.
pub fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|b| *b == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

/// A path without its percent-encoding; bytes that are not UTF-8 become U+FFFD, as in other servers.
fn decoded<'py>(py: Python<'py>, path: &[u8]) -> Bound<'py, PyString> {
    if !path.contains(&b'%') {
        return PyString::new(py, &String::from_utf8_lossy(path));
    }
    PyString::new(py, &String::from_utf8_lossy(&percent_decoded(path)))
}

/// The bytes with every valid `%XX` replaced (RFC 3986 §2.1); invalid ones stay as they are.
pub fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%'
            && let Some(&[high, low]) = tail.first_chunk::<2>()
            && let (Some(high), Some(low)) = (char::from(high).to_digit(16), char::from(low).to_digit(16))
        {
            out.push((high * 16 + low) as u8);
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}
