//! The items of a stream on their way out: within the credit, those that are ready together in one frame.

use super::incoming::answer_error;
use super::link::CallLink;
use super::pool::{CallPool, Job};
use crate::asgi::exception;
use crate::awaitables::wake;
use crate::cell::Cell;
use crate::values::Encoder;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use std::time::{Duration, Instant};
use wire::{FLAG_END, INITIAL_CREDIT, Kind};

/// Items that come faster than this travel together; later ones leave at once.
const GATHER: Duration = Duration::from_micros(200);

/// One stream of items that answers a call.
#[pyclass(frozen, module = "bireme._native")]
pub struct Sending {
    link: Py<CallLink>,
    stream: u32,
    /// What a thread iterates over, and in which context; None: a task on the loop does.
    iterator: Option<(Py<PyAny>, Py<PyAny>)>,
    state: Cell<State>,
}

struct State {
    credit: i64,
    /// An item that waits for credit.
    waiting: Option<Vec<u8>>,
    /// The iterator waits for credit in no thread.
    parked: bool,
    room: Option<Py<PyAny>>,
    task: Option<Py<PyAny>>,
    scratch: Vec<u8>,
    flushed: Instant,
    over: bool,
}

#[pymethods]
impl Sending {
    /// Sends an item. False: it waits for the consumer; await `room()` before the next one. Raises CannotCross.
    fn put(slf: &Bound<'_, Sending>, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let this = slf.get();
        let link = this.link.bind(slf.py());
        let mut bytes = std::mem::take(&mut this.state.get()?.scratch);
        bytes.clear();
        let mut encoder = Encoder::new(&mut bytes, link);
        let encoded = encoder.item(item);
        let passed = std::mem::take(&mut encoder.passed);
        let max = link.get().message_bytes_max();
        let too_large = bytes.len() > max;
        if encoded.is_err() || too_large {
            link.get().take_back(passed)?;
            encoded?;
            return Err(super::link::too_large_error(slf.py(), "item", bytes.len(), max));
        }
        let now = Instant::now();
        let flush = {
            let mut state = this.state.get()?;
            if state.over {
                // Whoever iterates is being cancelled, and must come to where it can be: at `room()`.
                return Ok(false);
            }
            if !state.has_room(bytes.len()) {
                state.waiting = Some(bytes);
                return Ok(false);
            }
            state.credit -= bytes.len() as i64;
            let flush = now.duration_since(state.flushed) > GATHER;
            if flush {
                state.flushed = now;
            }
            flush
        };
        CallLink::append_item(link, this.stream, &bytes, flush)?;
        this.state.get()?.scratch = bytes;
        Ok(true)
    }

    /// A future that ends when the item that waited has left; never, if the consumer wants no more.
    fn room<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let link = self.link.bind(py).get();
        let room = link.event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
        let mut state = self.state.get()?;
        if state.waiting.is_some() || state.over {
            let before = state.room.replace(room.clone().unbind());
            drop(state);
            drop(before);
        } else {
            drop(state);
            wake(&room)?;
        }
        Ok(room)
    }

    /// The stream is over.
    fn end(slf: &Bound<'_, Sending>) -> PyResult<()> {
        if slf.get().finish(slf.py())? {
            let stream = slf.get().stream;
            let link = slf.get().link.bind(slf.py());
            CallLink::append(link, |out| wire::put_frame(out, Kind::Item, FLAG_END, 0, stream, b""))?;
            CallLink::close_if_idle(link)?;
        }
        Ok(())
    }

    /// Iterates until the stream is over; true: it waits for credit.
    fn pump(slf: &Bound<'_, Sending>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let Some((iterator, _)) = &this.iterator else {
            return Err(PyRuntimeError::new_err("a stream without an iterator"));
        };
        let iterator = iterator.bind(py);
        loop {
            {
                let state = this.state.get()?;
                if state.over {
                    break;
                }
                if state.waiting.is_some() {
                    return Ok(true);
                }
            }
            let item = match iterator.call_method0(intern!(py, "__next__")) {
                Ok(item) => item,
                Err(error) if error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) => {
                    Sending::end(slf)?;
                    break;
                }
                Err(error) => {
                    Sending::fail(slf, &exception(py, &error))?;
                    break;
                }
            };
            if let Err(error) = Sending::put(slf, &item) {
                Sending::fail(slf, &exception(py, &error))?;
                break;
            }
        }
        // A generator that is not exhausted runs its `finally` now, in a thread that may wait.
        if let Some(close) = iterator.getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        Ok(false)
    }

    /// The stream is over, with an exception.
    #[pyo3(name = "fail")]
    fn fail_with(slf: &Bound<'_, Sending>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        Sending::fail(slf, error)
    }
}

impl Sending {
    pub fn new(link: Py<CallLink>, stream: u32, iterator: Option<(Py<PyAny>, Py<PyAny>)>) -> Sending {
        Sending {
            link,
            stream,
            iterator,
            state: Cell::new(State {
                credit: i64::from(INITIAL_CREDIT),
                waiting: None,
                parked: false,
                room: None,
                task: None,
                scratch: Vec::new(),
                flushed: Instant::now(),
                over: false,
            }),
        }
    }

    /// Keeps the task that iterates: asyncio itself holds tasks only weakly. If the consumer has gone during its first
    /// step, it is cancelled now.
    pub fn keep(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        {
            let mut state = self.state.get()?;
            if !state.over {
                state.task = Some(task.clone().unbind());
                return Ok(());
            }
        }
        task.call_method0(intern!(task.py(), "cancel")).map(drop)
    }

    /// It is over with an exception.
    pub fn fail(slf: &Bound<'_, Sending>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        if slf.get().finish(slf.py())? {
            let link = slf.get().link.bind(slf.py());
            answer_error(link, slf.get().stream, &PyErr::from_value(error.clone()))?;
            CallLink::close_if_idle(link)?;
        }
        Ok(())
    }

    /// Nothing more will be sent; false: that was known already.
    fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        let (task, room) = {
            let mut state = self.state.get()?;
            if state.over {
                return Ok(false);
            }
            state.over = true;
            (state.task.take(), state.room.take())
        };
        drop((task, room));
        let removed = self.link.bind(py).get().state()?.incoming.remove(&self.stream);
        let wanted = removed.is_some();
        drop(removed);
        Ok(wanted)
    }

    /// The consumer has taken items.
    pub fn grant(slf: &Bound<'_, Sending>, bytes: u32) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (item, room, parked) = {
            let mut state = this.state.get()?;
            state.credit = (state.credit + i64::from(bytes)).min(i64::from(u32::MAX));
            let Some(item) = state.waiting.take() else { return Ok(()) };
            if !state.has_room(item.len()) {
                state.waiting = Some(item);
                return Ok(());
            }
            state.credit -= item.len() as i64;
            (item, state.room.take(), std::mem::take(&mut state.parked))
        };
        CallLink::append_item(this.link.bind(py), this.stream, &item, false)?;
        if let Some(room) = room {
            wake(room.bind(py))?;
        }
        if parked { this.resume(slf) } else { Ok(()) }
    }

    /// The consumer wants no more: the iterator is closed, by whoever iterates.
    pub fn cancel(slf: &Bound<'_, Sending>) -> PyResult<()> {
        let py = slf.py();
        let (task, room, parked) = {
            let mut state = slf.get().state.get()?;
            state.over = true;
            state.waiting = None;
            (state.task.take(), state.room.take(), std::mem::take(&mut state.parked))
        };
        drop(room);
        if let Some(task) = task {
            task.call_method0(py, intern!(py, "cancel"))?;
        }
        if parked { slf.get().resume(slf) } else { Ok(()) }
    }

    fn resume(&self, slf: &Bound<'_, Sending>) -> PyResult<()> {
        CallPool::go_on(self.link.bind(slf.py()).get().pool.bind(slf.py()), Job::Pump(slf.clone().unbind()))
    }

    /// Iterates in the stream's context, in a thread of the pool.
    pub fn go_on(slf: &Bound<'_, Sending>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let Some((_, context)) = &this.iterator else {
            return Err(PyRuntimeError::new_err("a stream without an iterator"));
        };
        let pump = slf.getattr(intern!(py, "pump"))?;
        loop {
            if !context.bind(py).call_method1(intern!(py, "run"), (&pump,))?.is_truthy()? {
                return Ok(());
            }
            // Outside of the context: as soon as it is parked, another thread may enter that.
            let mut state = this.state.get()?;
            state.parked = state.waiting.is_some() && !state.over;
            if state.parked {
                drop(state);
                return CallLink::flush(this.link.bind(py));
            }
        }
    }
}

impl State {
    /// An item larger than what is left waits; one larger than the window is sent when the window is full.
    fn has_room(&self, bytes: usize) -> bool {
        self.credit >= bytes as i64 || self.credit >= i64::from(INITIAL_CREDIT)
    }
}
