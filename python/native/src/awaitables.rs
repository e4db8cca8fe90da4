//! What `receive` and `send` return: awaitables that finish at once when they can.
//!
//! Each one is an iterator that either stops with its result or yields an asyncio future to wait for, as
//! a coroutine does. They are registered as `collections.abc.Coroutine`, so that `asyncio.create_task`,
//! `wait_for` and `gather` take them like the coroutines that other servers return.

use crate::cell::Cell;
use crate::channel::Channel;
use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// What became of a `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStep {
    /// Encoded.
    Sent,
    /// Accepted, but some of it waits for credit.
    Waiting,
    /// Not accepted: an earlier message waits for credit.
    Behind,
}

/// The result of a `send` that needed no waiting.
#[pyclass(frozen, module = "bireme._native")]
pub struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: Py<Done>) -> Py<Done> {
        slf
    }

    fn __iter__(slf: Py<Done>) -> Py<Done> {
        slf
    }

    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(thrown(error)?)
    }

    fn close(&self) {}
}

/// A `receive()`. The message is taken when it is awaited, so that one cancelled before loses nothing.
#[pyclass(frozen, module = "bireme._native")]
pub struct Receive {
    pub channel: Channel,
}

impl Receive {
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.channel.take_message(py)? {
            Some(message) => Err(PyStopIteration::new_err((message.unbind(),))),
            None => self.channel.wait_for_message(py),
        }
    }
}

#[pymethods]
impl Receive {
    fn __await__(slf: Py<Receive>) -> Py<Receive> {
        slf
    }

    fn __iter__(slf: Py<Receive>) -> Py<Receive> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(thrown(error)?)
    }

    fn close(&self) {}
}

/// A `send()` that has to wait for the client to read.
#[pyclass(frozen, module = "bireme._native")]
pub struct Send {
    pub channel: Channel,
    /// A message that could not be taken yet, because an earlier one is still waiting.
    pub message: Cell<Option<Py<PyAny>>>,
}

impl Send {
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let held = self.message.get()?.take();
        let step = match held {
            Some(message) => {
                let message = message.into_bound(py);
                let step = self.channel.send_message(py, &message)?;
                if matches!(step, SendStep::Behind) {
                    *self.message.get()? = Some(message.unbind());
                }
                step
            }
            None => self.channel.send_state()?,
        };
        match step {
            SendStep::Sent => Err(PyStopIteration::new_err(())),
            SendStep::Waiting | SendStep::Behind => self.channel.wait_for_credit(py),
        }
    }
}

#[pymethods]
impl Send {
    fn __await__(slf: Py<Send>) -> Py<Send> {
        slf
    }

    fn __iter__(slf: Py<Send>) -> Py<Send> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(thrown(error)?)
    }

    fn close(&self) {}
}

/// What `send` returns after this step.
pub fn sending<'py>(
    py: Python<'py>,
    step: SendStep,
    channel: impl FnOnce() -> Channel,
    message: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static DONE: PyOnceLock<Py<Done>> = PyOnceLock::new();
    let held = match step {
        SendStep::Sent => return Ok(DONE.get_or_try_init(py, || Py::new(py, Done))?.bind(py).clone().into_any()),
        SendStep::Waiting => None,
        SendStep::Behind => Some(message.clone().unbind()),
    };
    Ok(Bound::new(py, Send { channel: channel(), message: Cell::new(held) })?.into_any())
}

/// A new future of `event_loop`, marked as a task expects of what it is to wait for.
pub fn future<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    let future = event_loop.call_method0(intern!(py, "create_future"))?;
    future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
    Ok(future)
}

/// Wakes who waits for `future`, unless he has been cancelled meanwhile.
pub fn wake(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

/// The exception that `throw(type[, value[, traceback]])` or `throw(value)` is to raise.
pub fn thrown(error: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let kind = error.get_item(0)?;
    if let Ok(value) = error.get_item(1)
        && !value.is_none()
    {
        return Ok(PyErr::from_value(value));
    }
    Ok(PyErr::from_value(kind))
}
