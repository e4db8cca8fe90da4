//! Topics for `python/src/bireme/pubsub.py`: what it publishes and asks, and what comes for it.

use crate::exchange::to_bytes;
use crate::reader::DataLink;
use crate::topics::{Mailbox, Publication, Published};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::sync::Arc;
use wire::Kind;

/// The links of a WSGI worker, used from any thread.
#[pyclass(frozen, module = "bireme._native")]
pub struct WsgiTopics {
    links: Vec<Arc<DataLink>>,
    mailbox: Arc<Mailbox>,
}

impl WsgiTopics {
    /// For these links, whose frames about topics come into the mailbox.
    pub fn new(links: Vec<Arc<DataLink>>, mailbox: Arc<Mailbox>) -> WsgiTopics {
        WsgiTopics { links, mailbox }
    }
}

#[pymethods]
impl WsgiTopics {
    /// Publishes on a link; see `AsgiLink.publish`.
    #[pyo3(signature = (link, topic, data, stream, home, /))]
    fn publish(&self, link: usize, topic: &str, data: &Bound<'_, PyAny>, stream: u32, home: u16) -> PyResult<Option<bool>> {
        let link = self.link(link)?;
        with_bytes(data, |data, text| {
            let published = link.publish(&Publication { topic, data, text, except: (stream, home) });
            match published.map_err(|error| PyValueError::new_err(error.to_string()))? {
                Published::Sent => Ok(Some(true)),
                Published::Waiting => Ok(Some(false)),
                Published::Refused => Ok(None),
            }
        })
    }

    /// Sends SUBSCRIBE, UNSUBSCRIBE or QUERY.
    #[pyo3(signature = (link, kind, flags, aux, stream, payload, /))]
    fn topic_frame(&self, link: usize, kind: u8, flags: u8, aux: u16, stream: u32, payload: &[u8]) -> PyResult<()> {
        let kind = sendable(kind)?;
        self.link(link)?.send(|out| wire::put_frame(out, kind, flags, aux, stream, payload));
        Ok(())
    }

    /// Waits, without the GIL, for what the front says about topics: its type, flags and payload. None: the worker stops.
    fn next(&self, py: Python<'_>) -> Option<(u8, u8, Py<PyBytes>)> {
        let letter = py.detach(|| self.mailbox.take())?;
        Some((letter.kind as u8, letter.flags, PyBytes::new(py, &letter.payload).unbind()))
    }
}

impl WsgiTopics {
    fn link(&self, number: usize) -> PyResult<&DataLink> {
        self.links.get(number).map(|link| &**link).ok_or_else(|| PyValueError::new_err(format!("there is no link {number}")))
    }
}

/// The data link, of `links`, on which everything about a topic travels.
#[pyfunction]
#[pyo3(signature = (topic, links, /))]
pub fn topic_link(topic: &str, links: usize) -> usize {
    wire::topic_link(topic.as_bytes(), links)
}

/// Calls `f` with the bytes of a message, and whether they are text.
pub fn with_bytes<R>(data: &Bound<'_, PyAny>, f: impl FnOnce(&[u8], bool) -> PyResult<R>) -> PyResult<R> {
    if let Ok(text) = data.cast::<PyString>() {
        return f(text.to_str()?.as_bytes(), true);
    }
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return f(bytes.as_bytes(), false);
    }
    if data.is_none() {
        return Err(PyTypeError::new_err("a message is text or bytes, not None"));
    }
    f(to_bytes(data, "a topic's message")?.as_bytes(), false)
}

/// The type of a frame about topics that a worker may send as it is.
pub fn sendable(kind: u8) -> PyResult<Kind> {
    [Kind::Subscribe, Kind::Unsubscribe, Kind::Query]
        .into_iter()
        .find(|known| *known as u8 == kind)
        .ok_or_else(|| PyValueError::new_err(format!("frame type {kind}")))
}
