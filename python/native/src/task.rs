//! Starting a coroutine as a task of asyncio, its first step taken at once: without a trip through the loop's queue, a coroutine
//! that never suspends is done when this returns.

use crate::cell::Cell;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How a task's first step is run.
enum Start {
    /// `asyncio.Task(…, eager_start=True)`, CPython 3.12 and later.
    Eager,
    /// Before: the task is created while the loop's `call_soon` is ours for a moment, and the step that
    /// it would have queued is called at once. It is the same step in the same context.
    Captured,
}

/// Starts tasks on one loop.
#[pyclass(frozen, module = "bireme._native")]
pub struct TaskStarter {
    loop_dict: Py<PyDict>,
    task_type: Py<PyAny>,
    options: Py<PyDict>,
    start: Start,
    captured: Cell<Option<(Py<PyAny>, Py<PyAny>)>>,
}

#[pymethods]
impl TaskStarter {
    /// Stands in for the loop's `call_soon` while a task is created, see [`Start::Captured`].
    #[pyo3(signature = (step, *, context))]
    fn capture(&self, step: Py<PyAny>, context: Py<PyAny>) -> PyResult<()> {
        *self.captured.get()? = Some((step, context));
        Ok(())
    }
}

impl TaskStarter {
    pub fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<TaskStarter> {
        let py = event_loop.py();
        let options = PyDict::new(py);
        options.set_item("loop", event_loop)?;
        let start = if py.version_info() >= (3, 12) {
            options.set_item("eager_start", true)?;
            Start::Eager
        } else {
            Start::Captured
        };
        Ok(TaskStarter {
            loop_dict: event_loop.getattr("__dict__")?.cast_into::<PyDict>()?.unbind(),
            task_type: py.import("asyncio")?.getattr("Task")?.unbind(),
            options: options.unbind(),
            start,
            captured: Cell::new(None),
        })
    }

    /// A task for the coroutine, its first step already taken.
    pub fn run<'py>(slf: &Bound<'py, TaskStarter>, coroutine: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let options = this.options.bind(py);
        let task_type = this.task_type.bind(py);
        if let Start::Eager = this.start {
            return task_type.call((coroutine,), Some(options));
        }
        let loop_dict = this.loop_dict.bind(py);
        let call_soon = intern!(py, "call_soon");
        let shadowed = loop_dict.get_item(call_soon)?;
        loop_dict.set_item(call_soon, slf.getattr(intern!(py, "capture"))?)?;
        let task = task_type.call((coroutine,), Some(options));
        match shadowed {
            Some(patched) => loop_dict.set_item(call_soon, patched)?,
            None => loop_dict.del_item(call_soon)?,
        }
        let task = task?;
        let captured = this.captured.get()?.take();
        let Some((step, context)) = captured else {
            return Err(PyRuntimeError::new_err("asyncio.Task did not schedule its first step; is asyncio patched?"));
        };
        context.bind(py).call_method1(intern!(py, "run"), (step,))?;
        Ok(task)
    }
}
