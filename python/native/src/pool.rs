//! The threads of a WSGI worker, and how requests reach them.
//!
//! A thread that holds the GIL serves one queued request after the other without giving it away in
//! between, and reads the links itself when none is left, so that under load a request costs no switch
//! of threads. Others are woken only when requests wait and nobody takes one, that is when the running
//! ones are blocked: an application that computes then runs on few threads that don't fight over the GIL,
//! and one that waits for a database spreads over all of them. `watch` is the thread that notices, and
//! that reads while all others are busy.

use crate::environ::EnvironBuilder;
use crate::exchange::ClientDisconnected;
use crate::input::Input;
use crate::pubsub::WsgiTopics;
use crate::reader::{DataLink, Job, Reader, ring};
use crate::response::{ContractError, Response};
use crate::socket;
use crate::stream::lock;
use crate::topics::Mailbox;
use pyo3::exceptions::{PyConnectionError, PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};
use wire::{RequestHead, ResetCode};

/// Requests that wait for a thread; what comes beyond is refused, so that the front can ask another
/// worker. Far above what a front that limits requests in flight will send.
const QUEUE_REQUESTS_MAX: usize = 8192;
/// How long requests wait before a second thread helps: much longer than a quick request takes, much
/// shorter than anything that blocks.
const GRACE: Duration = Duration::from_micros(200);
const GRACE_MIN: Duration = Duration::from_micros(50);
const GRACE_MAX: Duration = Duration::from_millis(50);
/// How long the watcher sleeps between two looks, at most. It looks less and less often while all goes
/// well, since each look takes a core from someone, and after each grace once a thread has blocked.
const TICK_MAX: Duration = Duration::from_millis(2);
/// Ticks in which a thread of the pool waits for the links before the watcher goes to sleep.
const QUIET_TICKS: u32 = 16;
/// A woken thread that waited longer than this for the GIL shows that the others compute.
const GIL_IS_BUSY: Duration = Duration::from_millis(1);
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Parked threads, the last to park on top: it has the warmest caches.
    idle: Vec<(Thread, Arc<AtomicBool>)>,
    /// Threads that are not parked.
    active: usize,
    /// Those of them that were found blocked, and are still in the same request.
    stuck: usize,
    /// Counts the times that threads were found blocked; tells who is one of `stuck`.
    stuck_epoch: u64,
    /// A thread was woken because the others seemed blocked, and has not got the GIL yet.
    helper_woken: Option<Instant>,
    /// How long requests wait for a thread that seems busy; adapts to the application.
    grace: Duration,
    /// Requests taken so far.
    taken: u64,
    stopping: bool,
}

impl Queue {
    /// A parked thread to be woken, counted as active from now on.
    fn take_idle(&mut self) -> Option<(Thread, Arc<AtomicBool>)> {
        self.idle.pop().inspect(|_| self.active += 1)
    }

    /// A thread that was woken to help has got the GIL: quickly if the others are really blocked.
    fn helper_arrived(&mut self) {
        let Some(woken) = self.helper_woken.take() else { return };
        if woken.elapsed() > GIL_IS_BUSY {
            self.grace = (self.grace * 4).min(GRACE_MAX);
            self.stuck = 0;
            self.stuck_epoch += 1;
        } else {
            self.grace = (self.grace / 2).max(GRACE_MIN);
        }
    }
}

struct Shared {
    queue: Mutex<Queue>,
    links: Vec<Arc<DataLink>>,
    /// Held by whoever reads.
    reader: Mutex<Reader>,
    /// A thread of the pool waits for the links.
    polling: AtomicBool,
    watcher: OnceLock<Thread>,
    watcher_sleeps: AtomicBool,
    stop: AtomicBool,
    wake: UnixStream,
}

/// What a WSGI worker serves with.
#[pyclass(frozen, module = "bireme._native")]
pub struct WsgiPool {
    app: Py<PyAny>,
    environs: EnvironBuilder,
    on_error: Py<PyAny>,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
}

#[pymethods]
impl WsgiPool {
    /// Connects one link for each HELLO text in `hellos` to the front's socket at `path`.
    ///
    /// `constants` are environ's unchanging entries. `on_error(line, exception)` is told what no stream
    /// can carry. Raises ConnectionError when the front can't be reached.
    #[new]
    #[pyo3(signature = (path, hellos, app, constants, on_error))]
    fn new(
        py: Python<'_>,
        path: &str,
        hellos: Vec<String>,
        app: Py<PyAny>,
        constants: &Bound<'_, PyDict>,
        on_error: Py<PyAny>,
    ) -> PyResult<WsgiPool> {
        type Opened = (Vec<Arc<DataLink>>, Arc<Mailbox>, UnixStream, UnixStream);
        let open = || -> std::io::Result<Opened> {
            let (bell, wake) = UnixStream::pair()?;
            bell.set_nonblocking(true)?;
            wake.set_nonblocking(true)?;
            let mut links = Vec::new();
            let mailbox = Arc::new(Mailbox::default());
            for hello in &hellos {
                let socket = socket::connect(path, hello)?;
                socket.set_nonblocking(true)?;
                links.push(Arc::new(DataLink::new(socket, wake.try_clone()?, Arc::clone(&mailbox))));
            }
            Ok((links, mailbox, bell, wake))
        };
        let (links, mailbox, bell, wake) =
            open().map_err(|error| PyConnectionError::new_err(format!("the front's socket {path}: {error}")))?;
        let queue = Queue { grace: GRACE, ..Queue::default() };
        let reader = Mutex::new(Reader::new(bell, &links));
        Ok(WsgiPool {
            app,
            environs: EnvironBuilder::new(py, constants)?,
            on_error,
            mailbox,
            shared: Arc::new(Shared {
                queue: Mutex::new(queue),
                links,
                reader,
                polling: AtomicBool::new(false),
                watcher: OnceLock::new(),
                watcher_sleeps: AtomicBool::new(false),
                stop: AtomicBool::new(false),
                wake,
            }),
        })
    }

    /// Begins to watch over the threads that call `serve`.
    fn open(&self) -> PyResult<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("bireme-watch".into()).spawn(move || watch(&shared))?;
        self.shared.watcher.set(thread.thread().clone()).map_err(|_| PyRuntimeError::new_err("the pool is open already"))
    }

    /// What topics need of the links.
    fn topics(&self) -> WsgiTopics {
        WsgiTopics::new(self.shared.links.clone(), Arc::clone(&self.mailbox))
    }

    /// The links' descriptors, for a forked child to let go of.
    fn filenos(&self) -> Vec<i32> {
        self.shared.links.iter().map(|link| link.fd()).collect()
    }

    /// Serves requests on the calling thread until `stop`.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        let flag = Arc::new(AtomicBool::new(false));
        lock(&self.shared.queue).active += 1;
        while let Some(next) = self.next_job(py, &flag) {
            if next.flush_first {
                // This one may take long; what is finished must not wait for it.
                self.flush_all();
            }
            let outcome = self.run(py, &next.job);
            {
                let mut queue = lock(&self.shared.queue);
                if next.stuck_epoch < queue.stuck_epoch {
                    queue.stuck = queue.stuck.saturating_sub(1);
                }
            }
            outcome?;
        }
        Ok(())
    }

    /// Lets the threads end after their current request.
    fn stop(&self) {
        let parked = {
            let mut queue = lock(&self.shared.queue);
            queue.stopping = true;
            let parked = std::mem::take(&mut queue.idle);
            queue.active += parked.len();
            parked
        };
        self.mailbox.close();
        self.shared.stop.store(true, Ordering::SeqCst);
        ring(&self.shared.wake);
        if let Some(watcher) = self.shared.watcher.get() {
            watcher.unpark();
        }
        for (thread, flag) in parked {
            flag.store(true, Ordering::Release);
            thread.unpark();
        }
    }
}

impl WsgiPool {
    /// The next request. Waits, without the GIL, while there is none. `None`: stop.
    fn next_job(&self, py: Python<'_>, flag: &Arc<AtomicBool>) -> Option<Next> {
        let shared = &*self.shared;
        loop {
            {
                let mut queue = lock(&shared.queue);
                queue.helper_arrived();
                if let Some(job) = queue.jobs.pop_front() {
                    queue.taken += 1;
                    // Finished responses wait for more to leave with only while this is the one thread
                    // that serves and others are left to notice if it blocks.
                    let flush_first = queue.jobs.is_empty() || queue.active > 1 || queue.idle.is_empty();
                    return Some(Next { job, flush_first, stuck_epoch: queue.stuck_epoch });
                }
                if queue.stopping {
                    queue.active -= 1;
                    return None;
                }
            }
            self.flush_all();
            // Under load there is something to read already, and the GIL can be kept.
            if shared.read_what_is_there() {
                continue;
            }
            py.detach(|| shared.wait_for_jobs(flag));
        }
    }

    fn flush_all(&self) {
        for link in &self.shared.links {
            link.flush();
        }
    }

    /// Serves one request. An error is one that must end the process, like SystemExit.
    fn run(&self, py: Python<'_>, job: &Job) -> PyResult<()> {
        let (link, stream) = (&job.link, &job.stream);
        if stream.is_closed() {
            link.forget(stream);
            return Ok(());
        }
        let mut fatal = None;
        match self.call(py, job) {
            Ok(()) if stream.has_received_all() || stream.is_closed() => {}
            Ok(()) => link.send(|out| wire::put_reset(out, stream.id, ResetCode::NoError, "")),
            // The client went away, and the application stopped for that reason.
            Err((error, _)) if stream.is_closed() && error.is_instance_of::<ClientDisconnected>(py) => {}
            Err((error, ended)) => {
                if ended || stream.is_closed() {
                    self.report(py, "the application raised after its response, or after the client had gone", &error);
                } else {
                    let contract = error.is_instance_of::<ContractError>(py);
                    let code = if contract { ResetCode::Protocol } else { ResetCode::Internal };
                    let text = crate::asgi::traceback(py, &error);
                    link.send(|out| wire::put_reset(out, stream.id, code, &text));
                }
                if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
                    fatal = Some(error);
                }
            }
        }
        stream.close();
        link.forget(stream);
        fatal.map_or(Ok(()), Err)
    }

    /// Calls the application and sends what it returns. An error says whether the response had ended.
    fn call(&self, py: Python<'_>, job: &Job) -> Result<(), (PyErr, bool)> {
        let not_ended = |error: PyErr| (error, false);
        let head = RequestHead::parse(&job.request).map_err(|error| not_ended(PyRuntimeError::new_err(error.to_string())))?;
        let input = Input::new(Arc::clone(&job.link), Arc::clone(&job.stream), head.body.to_vec());
        let input = Bound::new(py, input).map_err(not_ended)?;
        let response = Response::new(Arc::clone(&job.link), Arc::clone(&job.stream), head.method == b"HEAD");
        let response = Bound::new(py, response).map_err(not_ended)?;
        let start = response.getattr(intern!(py, "start")).map_err(not_ended)?;
        let environ = self.environs.build(py, &head, input.as_any()).map_err(not_ended)?;
        let result = self.app.bind(py).call1((environ, start)).map_err(not_ended)?;
        let sent = response.get().send_all(py, &result);
        // PEP 3333: close() is called however the iteration ended.
        let closed = match result.getattr_opt(intern!(py, "close")) {
            Ok(Some(close)) => close.call0().map(|_| ()),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        sent.and(closed).map_err(|error| (error, response.get().has_ended()))
    }

    fn report(&self, py: Python<'_>, line: &str, error: &PyErr) {
        if let Err(failure) = self.on_error.bind(py).call1((line, crate::asgi::exception(py, error))) {
            failure.write_unraisable(py, None);
        }
    }
}

/// A request for a thread.
struct Next {
    job: Job,
    /// Responses that are finished should leave before this request is served.
    flush_first: bool,
    /// [`Queue::stuck_epoch`] when it was taken.
    stuck_epoch: u64,
}

impl Shared {
    /// Reads without waiting, unless someone else is reading. Whether requests are queued now.
    fn read_what_is_there(&self) -> bool {
        let Ok(mut reader) = self.reader.try_lock() else { return false };
        reader.read_what_is_there(|jobs| {
            self.enqueue(jobs, Wake::Nobody);
            true
        })
    }

    /// Waits for the links, or, while another does, until woken. Called without the GIL.
    fn wait_for_jobs(&self, flag: &Arc<AtomicBool>) {
        if let Ok(mut reader) = self.reader.try_lock() {
            self.polling.store(true, Ordering::SeqCst);
            if !self.stop.load(Ordering::SeqCst) {
                reader.turn(None, |jobs| self.enqueue(jobs, Wake::Nobody));
            }
            drop(reader);
            self.polling.store(false, Ordering::SeqCst);
            if self.watcher_sleeps.swap(false, Ordering::SeqCst)
                && let Some(watcher) = self.watcher.get()
            {
                watcher.unpark();
            }
            return;
        }
        {
            let mut queue = lock(&self.queue);
            if !queue.jobs.is_empty() || queue.stopping {
                return;
            }
            flag.store(false, Ordering::Relaxed);
            queue.idle.push((std::thread::current(), Arc::clone(flag)));
            queue.active -= 1;
        }
        while !flag.load(Ordering::Acquire) {
            std::thread::park();
        }
    }

    /// Queues requests. Whether a thread was woken for them.
    fn enqueue(&self, jobs: Vec<Job>, wake: Wake) -> bool {
        if jobs.is_empty() {
            return false;
        }
        let mut refused = Vec::new();
        let woken = {
            let mut queue = lock(&self.queue);
            for job in jobs {
                if queue.jobs.len() < QUEUE_REQUESTS_MAX && !queue.stopping {
                    queue.jobs.push_back(job);
                } else {
                    refused.push(job);
                }
            }
            // All that run are blocked, as far as is known, so nobody will come for these.
            let nobody_comes = wake == Wake::IfNobodyComes && queue.active <= queue.stuck;
            if nobody_comes && !queue.jobs.is_empty() { queue.take_idle() } else { None }
        };
        for job in refused {
            job.link.forget(&job.stream);
            job.link.send(|out| wire::put_reset(out, job.stream.id, ResetCode::Refused, "the worker's queue is full"));
        }
        unpark(woken)
    }

    /// Wakes another thread when requests have waited for the grace and nobody has taken one.
    fn help_if_stalled(&self, stall: &mut Option<(Instant, u64)>) {
        let now = Instant::now();
        let helper = {
            let mut queue = lock(&self.queue);
            match *stall {
                Some((since, taken)) if taken == queue.taken => {
                    if now.duration_since(since) < queue.grace || queue.helper_woken.is_some() {
                        return;
                    }
                    *stall = Some((now, queue.taken));
                    queue.stuck = queue.active;
                    queue.stuck_epoch += 1;
                    let helper = if queue.jobs.is_empty() { None } else { queue.take_idle() };
                    if helper.is_some() {
                        queue.helper_woken = Some(now);
                    }
                    helper
                }
                _ => {
                    *stall = Some((now, queue.taken));
                    return;
                }
            }
        };
        unpark(helper);
        // What is finished leaves, too: the thread that would write it is blocked.
        for link in &self.links {
            link.flush();
        }
    }
}

fn unpark(woken: Option<(Thread, Arc<AtomicBool>)>) -> bool {
    let Some((thread, flag)) = woken else { return false };
    flag.store(true, Ordering::Release);
    thread.unpark();
    true
}

/// Whom to wake for requests that have been read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The reader serves them itself.
    Nobody,
    /// A parked thread, if the others are blocked or parked, too.
    IfNobodyComes,
}

/// The thread that watches over those of the pool. It sleeps while one of them waits for the links, and
/// looks now and then while they serve. When nobody has taken a request for a while, it reads for them,
/// and wakes more of them for what waits.
fn watch(shared: &Shared) {
    let mut taken_before = None;
    let mut quiet_ticks = 0;
    let mut tick = GRACE;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.polling.load(Ordering::SeqCst) {
            taken_before = None;
            quiet_ticks += 1;
            if quiet_ticks >= QUIET_TICKS {
                shared.watcher_sleeps.store(true, Ordering::SeqCst);
                if shared.polling.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                shared.watcher_sleeps.store(false, Ordering::SeqCst);
                quiet_ticks = 0;
            }
        } else {
            quiet_ticks = 0;
            let (taken, grace) = {
                let queue = lock(&shared.queue);
                (queue.taken, queue.grace)
            };
            if taken_before == Some(taken) {
                let since = Instant::now().checked_sub(tick).unwrap_or_else(Instant::now);
                read_for_busy_threads(shared, Some((since, taken)));
                taken_before = None;
                tick = grace.min(TICK_MAX);
                continue;
            }
            taken_before = Some(taken);
            tick = (tick * 2).min(TICK_MAX);
        }
        std::thread::park_timeout(tick);
    }
}

/// Reads until a thread of the pool has been woken, which then reads itself.
fn read_for_busy_threads(shared: &Shared, mut stall: Option<(Instant, u64)>) {
    let Ok(mut reader) = shared.reader.try_lock() else { return };
    while !shared.stop.load(Ordering::SeqCst) {
        shared.help_if_stalled(&mut stall);
        let timeout = {
            let queue = lock(&shared.queue);
            let can_help = !queue.jobs.is_empty() && !queue.idle.is_empty();
            // Responses that are finished wait in a link while requests wait; see `next_job`.
            can_help.then_some(queue.grace)
        };
        if reader.turn(timeout, |jobs| shared.enqueue(jobs, Wake::IfNobodyComes)) {
            return;
        }
    }
}
