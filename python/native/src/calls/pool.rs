//! The threads that run plain functions, so that they don't stop the event loop.
//!
//! As many as `threads_max` run at once; what comes beyond waits in a bounded queue. A thread that waits for a call of its own
//! is not counted: calls that call back would otherwise use the threads up and wait for each other.

use super::call_soon_threadsafe;
use super::incoming::{self, Target};
use super::items::Sending;
use super::link::CallLink;
use super::raise;
use crate::asgi::exception;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use wire::Kind;

/// Threads that wait for calls of their own, at most: so deep may calls of plain functions be nested.
const BLOCKED_MAX: usize = 1024;
/// Calls that have waited so long are told so, in seconds: after it, the caller knows that they have not begun.
const TELL_QUEUED_AFTER_S: f64 = 0.01;

/// Something to run.
pub enum Job {
    Call {
        link: Py<CallLink>,
        stream: u32,
        target: Py<Target>,
        args: Py<PyTuple>,
        kwargs: Option<Py<PyDict>>,
        context: Py<PyAny>,
        /// The caller has been told that it waits.
        told: bool,
    },
    /// Goes on with a stream.
    Pump(Py<Sending>),
    /// Anything else, for `run`.
    Function { callable: Py<PyAny>, args: Py<PyTuple>, settle: Py<PyAny>, event_loop: Py<PyAny> },
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Those with a job, of which `blocked` wait for a call of their own.
    running: usize,
    blocked: usize,
    /// An idle thread has been woken, and has not taken a job yet.
    waking: bool,
    /// `tell_queued` will be called.
    telling: bool,
}

/// The pool of a process.
#[pyclass(frozen, module = "bireme._native")]
pub struct CallPool {
    state: Mutex<State>,
    changed: Condvar,
    threads_max: usize,
    queue_max: usize,
    /// Starts a thread that calls `work`.
    spawn: Py<PyAny>,
}

thread_local! {
    /// The pool that this thread belongs to.
    static POOL: RefCell<Option<Py<CallPool>>> = const { RefCell::new(None) };
}

#[pymethods]
impl CallPool {
    /// `spawn(pool)` starts a thread that calls `pool.work()`.
    #[new]
    fn new(threads_max: usize, queue_max: usize, spawn: Py<PyAny>) -> CallPool {
        CallPool { state: Mutex::default(), changed: Condvar::new(), threads_max, queue_max, spawn }
    }

    /// Runs jobs; returns when the thread is not needed any more.
    fn work(slf: &Bound<'_, CallPool>) {
        let py = slf.py();
        POOL.with(|pool| *pool.borrow_mut() = Some(slf.clone().unbind()));
        while let Some(job) = slf.get().next(py) {
            if let Err(error) = run(job, py) {
                error.write_unraisable(py, None);
            }
            slf.get().lock().running -= 1;
        }
        POOL.with(|pool| pool.borrow_mut().take());
    }

    /// Runs `callable(*args)` in a thread and calls `settle(result, error)` in the loop's own. Raises ServiceBusy.
    fn run<'py>(
        slf: &Bound<'py, CallPool>,
        callable: Py<PyAny>,
        args: Py<PyTuple>,
        settle: Py<PyAny>,
        event_loop: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let job = Job::Function { callable, args, settle, event_loop: event_loop.clone().unbind() };
        CallPool::submit(slf, job, event_loop)?.map_err(|message| raise(slf.py(), "ServiceBusy", &message))
    }

    /// Tells the callers of what waits that it has not begun.
    fn tell_queued(&self, py: Python<'_>) -> PyResult<()> {
        let waiting: Vec<(Py<CallLink>, u32)> = {
            let mut state = self.lock();
            state.telling = false;
            let untold = state.jobs.iter_mut().filter_map(|job| match job {
                Job::Call { link, stream, told, .. } if !*told => {
                    *told = true;
                    Some((link.clone_ref(py), *stream))
                }
                _ => None,
            });
            untold.collect()
        };
        for (link, stream) in waiting {
            CallLink::append(link.bind(py), |out| wire::put_frame(out, Kind::Queued, 0, 0, stream, b""))?;
        }
        Ok(())
    }

    /// `(threads, running, of those waiting for calls of their own, jobs that wait)`.
    fn counts(&self) -> (usize, usize, usize, usize) {
        let state = self.lock();
        (state.threads, state.running, state.blocked, state.jobs.len())
    }
}

impl CallPool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a thread run the job. The inner error says that the queue is full.
    pub fn submit<'py>(slf: &Bound<'py, CallPool>, job: Job, event_loop: &Bound<'py, PyAny>) -> PyResult<Result<(), String>> {
        let this = slf.get();
        let (waiting, free) = {
            let state = this.lock();
            (state.jobs.len(), this.threads_max.saturating_sub(state.running.saturating_sub(state.blocked)))
        };
        if waiting >= this.queue_max + free {
            // Dropped here, outside of the lock: what it holds may have finalizers.
            drop(job);
            return Ok(Err(format!("{} calls wait for a thread already", this.queue_max)));
        }
        CallPool::go_on(slf, job)?;
        let tell = {
            let mut state = this.lock();
            let tell = !state.telling && state.jobs.len() > state.idle;
            state.telling |= tell;
            tell
        };
        if tell {
            let py = slf.py();
            event_loop
                .call_method1(intern!(py, "call_later"), (TELL_QUEUED_AFTER_S, slf.getattr(intern!(py, "tell_queued"))?))?;
        }
        Ok(Ok(()))
    }

    /// The same for what was admitted before.
    pub fn go_on(slf: &Bound<'_, CallPool>, job: Job) -> PyResult<()> {
        slf.get().lock().jobs.push_back(job);
        CallPool::see_to_it(slf)
    }

    /// Wakes or starts a thread when jobs wait for one.
    fn see_to_it(slf: &Bound<'_, CallPool>) -> PyResult<()> {
        let this = slf.get();
        {
            let mut state = this.lock();
            if state.jobs.is_empty() {
                return Ok(());
            }
            if state.idle > 0 && !state.waking {
                // One at a time: it wakes the next if more is to do. All at once would only queue at the GIL.
                state.waking = true;
                this.changed.notify_one();
            }
            if state.jobs.len() <= state.idle || state.threads - state.blocked.min(state.threads) >= this.threads_max {
                return Ok(());
            }
            state.threads += 1;
        }
        if let Err(error) = this.spawn.bind(slf.py()).call1((slf,)) {
            this.lock().threads -= 1;
            return Err(error);
        }
        Ok(())
    }

    /// The next job. Waits without the GIL. `None`: there are more threads than needed.
    fn next(&self, py: Python<'_>) -> Option<Job> {
        loop {
            {
                let mut state = self.lock();
                if state.threads - state.blocked.min(state.threads) > self.threads_max {
                    state.threads -= 1;
                    return None;
                }
                if let Some(job) = state.jobs.pop_front() {
                    state.running += 1;
                    if !state.jobs.is_empty() && state.idle > 0 && !state.waking {
                        state.waking = true;
                        self.changed.notify_one();
                    }
                    return Some(job);
                }
            }
            py.detach(|| {
                let mut state = self.lock();
                state.idle += 1;
                while state.jobs.is_empty() {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    // Another may have been quicker: whoever comes next has to wake someone again.
                    state.waking = false;
                }
                state.idle -= 1;
            });
        }
    }
}

fn run(job: Job, py: Python<'_>) -> PyResult<()> {
    match job {
        Job::Call { link, stream, target, args, kwargs, context, told } => {
            let link = link.bind(py);
            if !incoming::is_wanted(link, stream)? {
                return Ok(());
            }
            if told {
                CallLink::append(link, |out| wire::put_frame(out, Kind::Started, 0, 0, stream, b""))?;
            }
            let kwargs = kwargs.as_ref().map(|kwargs| kwargs.bind(py));
            match target.bind(py).get().call(py, Some(context.bind(py)), args.bind(py), kwargs) {
                Ok(value) => incoming::deliver(link, stream, &value, Some(context.bind(py))),
                Err(error) => incoming::finish_error(link, stream, &error),
            }
        }
        Job::Pump(sending) => Sending::go_on(sending.bind(py)),
        Job::Function { callable, args, settle, event_loop } => {
            let (result, error) = match callable.bind(py).call1(args.bind(py)) {
                Ok(result) => (result.unbind(), py.None()),
                Err(error) => (py.None(), exception(py, &error).unbind()),
            };
            // A loop that has ended waits for nothing.
            let _ = call_soon_threadsafe(event_loop.bind(py), (settle, result, error));
            Ok(())
        }
    }
}

/// While this thread waits for a call of its own, another of its pool may run.
pub struct Blocked(Option<Py<CallPool>>);

impl Blocked {
    /// Raises ServiceBusy when too many wait already.
    pub fn enter(py: Python<'_>) -> PyResult<Blocked> {
        let pool = POOL.with(|pool| pool.borrow().as_ref().map(|pool| pool.clone_ref(py)));
        if let Some(pool) = &pool {
            let pool = pool.bind(py);
            {
                let mut state = pool.get().lock();
                if state.blocked >= BLOCKED_MAX {
                    return Err(raise(
                        py,
                        "ServiceBusy",
                        &format!("calls of plain functions are nested more than {BLOCKED_MAX} deep"),
                    ));
                }
                state.blocked += 1;
            }
            CallPool::see_to_it(pool)?;
        }
        Ok(Blocked(pool))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            Python::attach(|py| pool.bind(py).get().lock().blocked -= 1);
        }
    }
}
