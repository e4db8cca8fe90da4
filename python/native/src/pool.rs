//! The threads of a WSGI worker, and the thread that feeds them.
//!
//! One thread of ours does all reading, and never needs the GIL. A thread that holds the GIL serves one
//! queued request after the other without giving it away in between. Another is woken only when requests
//! wait and nobody has taken one for a moment, that is when the running ones are blocked: an application
//! that computes then runs on few threads that don't fight over the GIL, and one that waits for a
//! database spreads over all of them.

use crate::environ::EnvironBuilder;
use crate::exchange::ClientDisconnected;
use crate::input::Input;
use crate::response::{ContractError, Response};
use crate::socket::{self, Output, ReadOutcome};
use crate::stream::{Stream, lock};
use pyo3::exceptions::{PyConnectionError, PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::{Duration, Instant};
use wire::{Kind, RequestHead, ResetCode};

/// Requests that wait for a thread; what comes beyond is refused, so that the front can ask another
/// worker. Far above what a front that limits requests in flight will send.
const QUEUE_REQUESTS_MAX: usize = 8192;
/// How long requests wait before a second thread helps: much longer than a quick request takes, much
/// shorter than anything that blocks.
const GRACE: Duration = Duration::from_micros(200);
const GRACE_MIN: Duration = Duration::from_micros(50);
const GRACE_MAX: Duration = Duration::from_millis(50);
/// A woken thread that waited longer than this for the GIL shows that the others compute.
const GIL_IS_BUSY: Duration = Duration::from_millis(1);
/// Finished responses that leave together while more requests wait.
const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_RESPONSES: usize = 8;

/// One data link, shared by the threads.
pub struct DataLink {
    socket: UnixStream,
    output: Mutex<LinkOutput>,
    streams: Mutex<HashMap<u32, Arc<Stream>>>,
    wake: UnixStream,
}

#[derive(Default)]
struct LinkOutput {
    output: Output,
    responses: usize,
    /// The socket took no more; the I/O thread goes on when it does.
    blocked: bool,
    closed: bool,
}

impl DataLink {
    /// Appends frames that leave with the next `send` or `flush`.
    pub fn queue<R>(&self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut guard = lock(&self.output);
        let result = encode(guard.output.frames());
        guard.responses += 1;
        if guard.closed {
            guard.output.clear();
        } else if guard.responses >= FLUSH_RESPONSES || guard.output.len() >= FLUSH_BYTES {
            self.write(&mut guard);
        }
        result
    }

    /// Appends frames and writes what the socket takes.
    pub fn send<R>(&self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut guard = lock(&self.output);
        let result = encode(guard.output.frames());
        self.write(&mut guard);
        result
    }

    fn flush(&self) {
        self.write(&mut lock(&self.output));
    }

    fn write(&self, guard: &mut LinkOutput) {
        guard.responses = 0;
        if guard.closed {
            guard.output.clear();
        } else if guard.output.len() > 0 && !guard.blocked {
            match guard.output.flush(&self.socket) {
                Ok(true) => {}
                Ok(false) => {
                    guard.blocked = true;
                    ring(&self.wake);
                }
                // The I/O thread finds the same and ends the link.
                Err(_) => guard.output.clear(),
            }
        }
    }
}

/// Wakes the I/O thread. A full pipe has woken it already.
fn ring(mut wake: &UnixStream) {
    let _ = wake.write(&[1]);
}

struct Job {
    link: Arc<DataLink>,
    stream: Arc<Stream>,
    /// The REQUEST's payload.
    request: Vec<u8>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Parked threads, the last to park on top: it has the warmest caches.
    idle: Vec<(Thread, Arc<AtomicBool>)>,
    /// Threads that are not parked.
    active: usize,
    /// A thread was woken because the others seemed blocked, and has not got the GIL yet.
    helper_woken: Option<Instant>,
    grace: Duration,
    taken: u64,
    stopping: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    links: Vec<Arc<DataLink>>,
    stop: AtomicBool,
    wake: UnixStream,
}

/// What a WSGI worker serves with.
#[pyclass(frozen, module = "bireme._native")]
pub struct WsgiPool {
    app: Py<PyAny>,
    environs: EnvironBuilder,
    on_error: Py<PyAny>,
    shared: Arc<Shared>,
    bell: Mutex<Option<UnixStream>>,
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
        let open = || -> std::io::Result<(Vec<Arc<DataLink>>, UnixStream, UnixStream)> {
            let (bell, wake) = UnixStream::pair()?;
            bell.set_nonblocking(true)?;
            wake.set_nonblocking(true)?;
            let mut links = Vec::new();
            for hello in &hellos {
                let socket = socket::connect(path, hello)?;
                socket.set_nonblocking(true)?;
                links.push(Arc::new(DataLink {
                    socket,
                    output: Mutex::default(),
                    streams: Mutex::default(),
                    wake: wake.try_clone()?,
                }));
            }
            Ok((links, bell, wake))
        };
        let (links, bell, wake) =
            open().map_err(|error| PyConnectionError::new_err(format!("the front's socket {path}: {error}")))?;
        let queue = Queue { grace: GRACE, ..Queue::default() };
        Ok(WsgiPool {
            app,
            environs: EnvironBuilder::new(py, constants)?,
            on_error,
            shared: Arc::new(Shared { queue: Mutex::new(queue), links, stop: AtomicBool::new(false), wake }),
            bell: Mutex::new(Some(bell)),
        })
    }

    /// Begins to read, on a thread that never needs the GIL.
    fn open(&self) -> PyResult<()> {
        let Some(bell) = lock(&self.bell).take() else {
            return Err(PyRuntimeError::new_err("the pool is open already"));
        };
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new().name("bireme-link".into()).spawn(move || Feeder::new(shared, bell).run())?;
        Ok(())
    }

    /// The links' descriptors, for a forked child to let go of.
    fn filenos(&self) -> Vec<i32> {
        self.shared.links.iter().map(|link| socket::fd(&link.socket)).collect()
    }

    /// Serves requests on the calling thread until `stop`.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        let flag = Arc::new(AtomicBool::new(false));
        lock(&self.shared.queue).active += 1;
        while let Some((job, flush_first)) = self.next_job(py, &flag) {
            if flush_first {
                // The next one may take long; what is finished must not wait for it.
                self.flush_all();
            }
            self.run(py, &job)?;
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
        self.shared.stop.store(true, Ordering::Release);
        ring(&self.shared.wake);
        for (thread, flag) in parked {
            flag.store(true, Ordering::Release);
            thread.unpark();
        }
    }
}

impl WsgiPool {
    /// The next request, and whether finished responses should leave before it is served. Parks, without
    /// the GIL, while there is none. `None`: stop.
    fn next_job(&self, py: Python<'_>, flag: &Arc<AtomicBool>) -> Option<(Job, bool)> {
        loop {
            {
                let mut queue = lock(&self.shared.queue);
                if let Some(woken) = queue.helper_woken.take() {
                    queue.grace = next_grace(queue.grace, woken.elapsed());
                }
                if let Some(job) = queue.jobs.pop_front() {
                    queue.taken += 1;
                    // Finished responses wait for more only while this is the one thread that serves and
                    // the I/O thread watches over it.
                    let flush_first = queue.jobs.is_empty() || queue.active > 1 || queue.idle.is_empty();
                    return Some((job, flush_first));
                }
                if queue.stopping {
                    queue.active -= 1;
                    return None;
                }
            }
            self.flush_all();
            py.detach(|| {
                {
                    let mut queue = lock(&self.shared.queue);
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
            });
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
            lock(&link.streams).remove(&stream.id);
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
        lock(&link.streams).remove(&stream.id);
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
        if let Err(failure) = self.on_error.bind(py).call1((line, error.value(py))) {
            failure.write_unraisable(py, None);
        }
    }
}

/// How long to wait the next time before a thread is woken to help, after one that took `acquired` from
/// its waking to the GIL.
fn next_grace(grace: Duration, acquired: Duration) -> Duration {
    if acquired > GIL_IS_BUSY { (grace * 4).min(GRACE_MAX) } else { (grace / 2).max(GRACE_MIN) }
}

/// The thread that reads.
struct Feeder {
    shared: Arc<Shared>,
    bell: UnixStream,
    inputs: Vec<LinkInput>,
    /// When requests were last seen waiting without anybody taking one, and how many had been taken.
    stalled_since: Option<(Instant, u64)>,
}

struct LinkInput {
    link: Arc<DataLink>,
    input: socket::Input,
    newest: u32,
    open: bool,
}

impl Feeder {
    fn new(shared: Arc<Shared>, bell: UnixStream) -> Feeder {
        let inputs = shared
            .links
            .iter()
            .map(|link| LinkInput { link: Arc::clone(link), input: socket::Input::default(), newest: 0, open: true })
            .collect();
        Feeder { shared, bell, inputs, stalled_since: None }
    }

    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let ready = self.wait();
            let mut rung = [0u8; 64];
            while matches!((&self.bell).read(&mut rung), Ok(n) if n == rung.len()) {}
            for (index, (readable, writable)) in ready.into_iter().enumerate() {
                if writable {
                    let link = &self.inputs[index].link;
                    let mut guard = lock(&link.output);
                    guard.blocked = false;
                    link.write(&mut guard);
                }
                if readable {
                    self.read(index);
                }
            }
            self.help_if_stalled();
        }
    }

    /// Waits for sockets, or for as long as the grace while requests wait.
    fn wait(&self) -> Vec<(bool, bool)> {
        let timeout = self.stalled_since.map(|_| {
            let grace = lock(&self.shared.queue).grace;
            Timespec { tv_sec: 0, tv_nsec: grace.subsec_nanos().into() }
        });
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        for input in &self.inputs {
            let mut interest = PollFlags::empty();
            if input.open {
                interest |= PollFlags::IN;
                if lock(&input.link.output).blocked {
                    interest |= PollFlags::OUT;
                }
                fds.push(PollFd::new(&input.link.socket, interest));
            }
        }
        // An error here is EINTR: nothing is ready then, and the loop comes around.
        let failed = poll(&mut fds, timeout.as_ref()).is_err();
        let mut events = fds.iter().skip(1).map(|fd| if failed { PollFlags::empty() } else { fd.revents() });
        self.inputs
            .iter()
            .map(|input| {
                let revents = if input.open { events.next().unwrap_or(PollFlags::empty()) } else { PollFlags::empty() };
                let readable = revents.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
                (readable, revents.contains(PollFlags::OUT))
            })
            .collect()
    }

    fn read(&mut self, index: usize) {
        let this = &mut self.inputs[index];
        let outcome = match this.input.fill(&this.link.socket) {
            Ok(outcome) => outcome,
            Err(_) => ReadOutcome::Closed,
        };
        let mut jobs = Vec::new();
        let fault = this.decode(&mut jobs);
        if !jobs.is_empty() {
            Self::enqueue(&self.shared, jobs);
        }
        if let Some(fault) = &fault {
            eprintln!("bireme: a data link is over: the front broke the protocol: {fault}");
        }
        if fault.is_some() || outcome == ReadOutcome::Closed {
            self.inputs[index].close();
        }
    }

    fn enqueue(shared: &Shared, jobs: Vec<Job>) {
        let mut refused = Vec::new();
        let woken = {
            let mut queue = lock(&shared.queue);
            for job in jobs {
                if queue.jobs.len() < QUEUE_REQUESTS_MAX && !queue.stopping {
                    queue.jobs.push_back(job);
                } else {
                    refused.push(job);
                }
            }
            if queue.active == 0 { queue.idle.pop().inspect(|_| queue.active += 1) } else { None }
        };
        if let Some((thread, flag)) = woken {
            flag.store(true, Ordering::Release);
            thread.unpark();
        }
        for job in refused {
            lock(&job.link.streams).remove(&job.stream.id);
            job.link.send(|out| wire::put_reset(out, job.stream.id, ResetCode::Refused, "the worker's queue is full"));
        }
    }

    /// Wakes another thread when requests have waited for the grace and nobody has taken one. What is
    /// finished leaves, too: the thread that would write it may be blocked.
    fn help_if_stalled(&mut self) {
        let now = Instant::now();
        let helper = {
            let mut queue = lock(&self.shared.queue);
            if queue.jobs.is_empty() || queue.idle.is_empty() {
                // Nothing to help with, or nobody left who could.
                self.stalled_since = None;
                return;
            }
            match self.stalled_since {
                Some((since, taken)) if taken == queue.taken => {
                    if now.duration_since(since) < queue.grace || queue.helper_woken.is_some() {
                        return;
                    }
                    self.stalled_since = Some((now, queue.taken));
                    let helper = queue.idle.pop();
                    if helper.is_some() {
                        queue.active += 1;
                        queue.helper_woken = Some(now);
                    }
                    helper
                }
                _ => {
                    self.stalled_since = Some((now, queue.taken));
                    return;
                }
            }
        };
        if let Some((thread, flag)) = helper {
            flag.store(true, Ordering::Release);
            thread.unpark();
        }
        for input in &self.inputs {
            input.link.flush();
        }
    }
}

impl LinkInput {
    /// Handles every complete frame. A text says how the front broke the protocol.
    fn decode(&mut self, jobs: &mut Vec<Job>) -> Option<String> {
        let mut decoded = 0;
        let mut fault = None;
        while fault.is_none() {
            match wire::decode_frame(&self.input.pending()[decoded..]) {
                Ok(Some(frame)) => {
                    decoded += frame.encoded_len();
                    fault = accept(&self.link, &mut self.newest, &frame, jobs).err();
                }
                Ok(None) => break,
                Err(error) => fault = Some(error.to_string()),
            }
        }
        self.input.consume(decoded);
        fault
    }

    fn close(&mut self) {
        self.open = false;
        {
            let mut guard = lock(&self.link.output);
            guard.closed = true;
            guard.output.clear();
        }
        let _ = self.link.socket.shutdown(std::net::Shutdown::Both);
        let streams: Vec<Arc<Stream>> = lock(&self.link.streams).drain().map(|(_, stream)| stream).collect();
        for stream in streams {
            stream.close();
        }
    }
}

/// Takes in one frame. `Err` says how the front broke the protocol.
fn accept(link: &Arc<DataLink>, newest: &mut u32, frame: &wire::Frame<'_>, jobs: &mut Vec<Job>) -> Result<(), String> {
    if frame.kind == Kind::Request {
        if frame.stream <= *newest {
            return Err(format!("REQUEST with the stream id {} after {newest}", frame.stream));
        }
        *newest = frame.stream;
        let head = RequestHead::parse(frame.payload).map_err(|error| error.to_string())?;
        if head.body.len() > wire::INITIAL_CREDIT as usize {
            return Err("REQUEST with more body bytes than granted".to_owned());
        }
        let stream = Arc::new(Stream::new(frame.stream, head.body.len(), frame.ends()));
        lock(&link.streams).insert(frame.stream, Arc::clone(&stream));
        jobs.push(Job { link: Arc::clone(link), stream, request: frame.payload.to_vec() });
        return Ok(());
    }
    if frame.stream == 0 || frame.stream > *newest {
        return Err(format!("{:?} frame for stream {}, which was never opened", frame.kind, frame.stream));
    }
    let stream = lock(&link.streams).get(&frame.stream).map(Arc::clone);
    // Without a stream, it crossed our END or RESET on the way.
    let Some(stream) = stream else { return Ok(()) };
    match frame.kind {
        Kind::Data => stream.deliver(frame.payload, frame.ends()).map_err(str::to_owned),
        // WSGI has no trailers for requests; what matters is that the body ends here.
        Kind::Trailers => {
            wire::field_list(frame.kind, frame.payload).map_err(|error| error.to_string())?;
            stream.deliver(b"", true).map_err(str::to_owned)
        }
        Kind::Credit => {
            stream.add_credit(wire::credit(frame.payload).map_err(|error| error.to_string())?);
            Ok(())
        }
        Kind::Reset => {
            lock(&link.streams).remove(&frame.stream);
            stream.close();
            Ok(())
        }
        kind => Err(format!("{kind:?} frame in the wrong direction")),
    }
}
