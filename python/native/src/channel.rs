//! What a stream of a data link is to the application: a request or a WebSocket.

use crate::awaitables::SendStep;
use crate::exchange::Exchange;
use crate::websocket::WebSocket;
use pyo3::prelude::*;

/// One of the two.
pub enum Channel {
    /// An `http` scope.
    Http(Py<Exchange>),
    /// A `websocket` scope.
    WebSocket(Py<WebSocket>),
}

/// Calls the method of the same name of whichever it is.
macro_rules! either {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        match $self {
            Channel::Http(exchange) => exchange.get().$method($($argument),*),
            Channel::WebSocket(socket) => socket.get().$method($($argument),*),
        }
    };
}

impl Channel {
    /// Another reference to the same.
    pub fn clone_ref(&self, py: Python<'_>) -> Channel {
        match self {
            Channel::Http(exchange) => Channel::Http(exchange.clone_ref(py)),
            Channel::WebSocket(socket) => Channel::WebSocket(socket.clone_ref(py)),
        }
    }

    /// The callables' owner, as a Python object with `receive`, `send` and `task_done`.
    pub fn object<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        match self {
            Channel::Http(exchange) => exchange.bind(py).as_any(),
            Channel::WebSocket(socket) => socket.bind(py).as_any(),
        }
    }

    /// Keeps the task alive: asyncio itself holds tasks only weakly.
    pub fn keep(&self, task: Py<PyAny>) -> PyResult<()> {
        either!(self.keep(task))
    }

    /// The task that runs the application, while it is suspended.
    pub fn task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        either!(self.task(py))
    }

    /// Whether nothing more will happen here: the application is done and all it sent has left.
    pub fn is_over(&self) -> PyResult<bool> {
        either!(self.is_over())
    }

    /// The application is done, with this exception or none.
    pub fn finish(&self, py: Python<'_>, error: Option<PyErr>) -> PyResult<()> {
        either!(self.finish(py, error))
    }

    /// The front takes `bytes` more.
    pub fn grant(&self, py: Python<'_>, bytes: u32) -> PyResult<()> {
        either!(self.grant(py, bytes))
    }

    /// The stream is over: the client has gone, or the link has.
    pub fn disconnect(&self, py: Python<'_>) -> PyResult<()> {
        either!(self.disconnect(py))
    }

    /// Body bytes have arrived. `Err` says how the front broke the protocol.
    pub fn deliver(&self, py: Python<'_>, body: &[u8], ended: bool) -> PyResult<Result<(), &'static str>> {
        match self {
            Channel::Http(exchange) => exchange.get().deliver(py, body, ended),
            Channel::WebSocket(_) => Ok(Err("body bytes on a WebSocket")),
        }
    }

    /// The next message for the application, or `None` if it has to wait.
    pub fn take_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, pyo3::types::PyDict>>> {
        either!(self.take_message(py))
    }

    /// A future that ends when there may be a message.
    pub fn wait_for_message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        either!(self.wait_for_message(py))
    }

    /// Takes a message of the application.
    pub fn send_message(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<SendStep> {
        either!(self.send_message(py, message))
    }

    /// Whether what was accepted has left.
    pub fn send_state(&self) -> PyResult<SendStep> {
        either!(self.send_state())
    }

    /// A future that ends when what waits for credit has left.
    pub fn wait_for_credit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        either!(self.wait_for_credit(py))
    }
}
