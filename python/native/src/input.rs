//! `wsgi.input`: the request's body as a file (PEP 3333, "Input and Error Streams").

use crate::exchange::ClientDisconnected;
use crate::reader::DataLink;
use crate::stream::{Chunk, Gone, Stream, lock};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::{Arc, Mutex};

/// The body of one request. Reading waits without the GIL, and makes the front send more.
#[pyclass(frozen, module = "bireme._native")]
pub struct Input {
    link: Arc<DataLink>,
    stream: Arc<Stream>,
    buffer: Mutex<Buffer>,
}

/// What has been taken from the stream and not read yet.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    ended: bool,
}

impl Buffer {
    fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn push(&mut self, chunk: Vec<u8>) {
        if self.start == self.bytes.len() {
            self.bytes = chunk;
            self.start = 0;
        } else {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.extend_from_slice(&chunk);
        }
    }

    fn take<'py>(&mut self, py: Python<'py>, n: usize) -> Bound<'py, PyBytes> {
        let n = n.min(self.pending().len());
        let taken = PyBytes::new(py, &self.bytes[self.start..self.start + n]);
        self.start += n;
        taken
    }
}

impl Input {
    /// `first` is what came with the REQUEST.
    pub fn new(link: Arc<DataLink>, stream: Arc<Stream>, first: Vec<u8>) -> Input {
        Input { link, stream, buffer: Mutex::new(Buffer { bytes: first, start: 0, ended: false }) }
    }

    /// Gets another chunk; `false` at the body's end.
    fn fill(&self, py: Python<'_>) -> PyResult<bool> {
        if lock(&self.buffer).ended {
            return Ok(false);
        }
        let next = match self.stream.ready_chunk() {
            Some(next) => next,
            None => py.detach(|| self.stream.next_chunk()),
        };
        match next {
            Ok(Some(Chunk { bytes, grant })) => {
                if grant > 0 {
                    self.link.send(|out| wire::put_credit(out, self.stream.id, grant));
                }
                lock(&self.buffer).push(bytes);
                Ok(true)
            }
            Ok(None) => {
                lock(&self.buffer).ended = true;
                Ok(false)
            }
            Err(Gone) => Err(ClientDisconnected::new_err("the client went away while sending the request's body")),
        }
    }

    fn line<'py>(&self, py: Python<'py>, limit: Option<usize>) -> PyResult<Bound<'py, PyBytes>> {
        let mut searched = 0;
        loop {
            {
                let mut buffer = lock(&self.buffer);
                let pending = buffer.pending();
                if let Some(at) = pending[searched..].iter().position(|b| *b == b'\n') {
                    let n = searched + at + 1;
                    return Ok(buffer.take(py, limit.map_or(n, |limit| n.min(limit))));
                }
                searched = pending.len();
                if let Some(limit) = limit
                    && searched >= limit
                {
                    return Ok(buffer.take(py, limit));
                }
            }
            if !self.fill(py)? {
                return Ok(lock(&self.buffer).take(py, usize::MAX));
            }
        }
    }
}

#[pymethods]
impl Input {
    /// Up to `size` bytes, fewer only at the end; all of them without a size.
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let wanted = wanted(size);
        while lock(&self.buffer).pending().len() < wanted {
            if !self.fill(py)? {
                break;
            }
        }
        Ok(lock(&self.buffer).take(py, wanted))
    }

    /// Up to `size` bytes from what is there, waiting only for the first.
    #[pyo3(signature = (size = None, /))]
    fn read1<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let wanted = wanted(size);
        if wanted > 0 && lock(&self.buffer).pending().is_empty() {
            self.fill(py)?;
        }
        Ok(lock(&self.buffer).take(py, wanted))
    }

    /// A line with its newline, or up to `size` bytes of it.
    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.line(py, size.and_then(|size| usize::try_from(size).ok()))
    }

    /// All lines, or as many as reach `hint` bytes.
    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let hint = match hint {
            Some(hint) if hint > 0 => hint as usize,
            _ => usize::MAX,
        };
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < hint {
            let line = self.line(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Input>) -> Py<Input> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.line(py, None)?;
        Ok(if line.as_bytes().is_empty() { None } else { Some(line) })
    }

    fn readable(&self) -> bool {
        true
    }

    fn close(&self) {}
}

fn wanted(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}
