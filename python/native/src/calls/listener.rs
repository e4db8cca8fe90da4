//! The socket on which a worker takes call links. Knows nothing of calls, so that a worker nobody calls pays for a socket alone.

use crate::socket;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};

/// The listening socket.
#[pyclass(frozen, module = "bireme._native")]
pub struct CallListener(UnixListener);

#[pymethods]
impl CallListener {
    /// Listens at `path`. Raises OSError.
    #[new]
    fn new(path: &str) -> PyResult<CallListener> {
        let listen = || {
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true).map(|()| listener)
        };
        listen().map(CallListener).map_err(|error: std::io::Error| PyOSError::new_err(format!("can't listen at {path}: {error}")))
    }

    /// The descriptor, for a loop to watch and a forked child to let go of.
    fn fileno(&self) -> i32 {
        socket::fd(&self.0)
    }
}

impl CallListener {
    /// A connection that waits, if one does.
    pub fn accept(&self) -> PyResult<Option<UnixStream>> {
        match self.0.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
