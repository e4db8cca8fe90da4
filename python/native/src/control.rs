//! The control link: life and death of the worker.
//!
//! A thread of its own reads it, because a front that is gone must end the worker even while the
//! application holds the interpreter. Everything else that the front says is left for the main thread,
//! so that a PONG proves that the application's loop still turns.

use crate::socket;
use pyo3::exceptions::{PyConnectionError, PyValueError};
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::Kind;

/// The longest payload that a PING may carry, in bytes (protocol/README.md).
const PING_MAX: usize = 64;
/// PINGs kept for a main thread that is busy. The front sends one and waits for its PONG, so more than
/// this is a front gone wild, and forgetting the oldest loses nothing.
const PINGS_MAX: usize = 16;
/// Exit status when the front is gone or breaks the protocol: nobody is left to read it.
const ORPHAN_STATUS: i32 = 1;

#[derive(Default)]
struct Inbox {
    pings: VecDeque<Vec<u8>>,
    drain: bool,
}

struct Shared {
    inbox: Mutex<Inbox>,
    wake: UnixStream,
}

/// The worker's end of the control link.
#[pyclass(frozen, module = "bireme._native")]
pub struct Control {
    socket: Mutex<UnixStream>,
    shared: Arc<Shared>,
    bell: UnixStream,
    reader_fd: i32,
    announced: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Control {
    /// Connects to the front's socket at `path` and says HELLO with the JSON text `hello`.
    ///
    /// Raises ConnectionError when the front can't be reached.
    #[new]
    fn new(path: &str, hello: &str) -> PyResult<Control> {
        let open = || -> std::io::Result<Control> {
            let socket = socket::connect(path, hello)?;
            let (bell, wake) = UnixStream::pair()?;
            bell.set_nonblocking(true)?;
            wake.set_nonblocking(true)?;
            let shared = Arc::new(Shared { inbox: Mutex::default(), wake });
            let reader = socket.try_clone()?;
            let reader_fd = socket::fd(&reader);
            let inbox = Arc::clone(&shared);
            std::thread::Builder::new().name("bireme-control".into()).spawn(move || read_until_front_is_gone(reader, &inbox))?;
            Ok(Control { socket: Mutex::new(socket), shared, bell, reader_fd, announced: AtomicBool::new(false) })
        };
        open().map_err(|error| PyConnectionError::new_err(format!("the front's socket {path}: {error}")))
    }

    /// A descriptor that turns readable when `answer_pings` has something to do.
    fn fileno(&self) -> i32 {
        socket::fd(&self.bell)
    }

    /// Answers the PINGs that have arrived. True once the front has said DRAIN.
    fn answer_pings(&self) -> PyResult<bool> {
        let mut rung = [0u8; 64];
        while matches!((&self.bell).read(&mut rung), Ok(n) if n == rung.len()) {}
        let (pings, drain) = {
            let mut inbox = lock(&self.shared.inbox);
            (std::mem::take(&mut inbox.pings), inbox.drain)
        };
        for payload in pings {
            self.send(Kind::Pong, &payload)?;
        }
        Ok(drain)
    }

    /// Sends READY with a JSON text.
    fn ready(&self, json: &str) -> PyResult<()> {
        self.announced.store(true, Ordering::Relaxed);
        self.send_json(Kind::Ready, json)
    }

    /// Sends FAILED with a JSON text.
    fn failed(&self, json: &str) -> PyResult<()> {
        self.send_json(Kind::Failed, json)
    }

    /// Whether READY has been sent.
    #[getter]
    fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Relaxed)
    }

    /// The descriptors of the link, for a forked child to let go of.
    fn link_filenos(&self) -> [i32; 2] {
        [socket::fd(&*lock(&self.socket)), self.reader_fd]
    }
}

impl Control {
    fn send_json(&self, kind: Kind, json: &str) -> PyResult<()> {
        if json.len() > wire::PAYLOAD_MAX {
            return Err(PyValueError::new_err(format!("a control message of {} bytes is too long", json.len())));
        }
        self.send(kind, json.as_bytes())
    }

    fn send(&self, kind: Kind, payload: &[u8]) -> PyResult<()> {
        let mut frame = Vec::with_capacity(wire::HEADER_LEN + payload.len());
        wire::put_frame(&mut frame, kind, 0, 0, 0, payload);
        lock(&self.socket).write_all(&frame).map_err(|error| PyConnectionError::new_err(error.to_string()))
    }
}

fn read_until_front_is_gone(mut socket: UnixStream, shared: &Shared) {
    let mut pending: Vec<u8> = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => exit_now(),
            Ok(n) => pending.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => exit_now(),
        }
        let mut decoded = 0;
        loop {
            match wire::decode_frame(&pending[decoded..]) {
                Ok(Some(frame)) => {
                    decoded += frame.encoded_len();
                    match frame.kind {
                        Kind::Ping if frame.payload.len() <= PING_MAX => {
                            let mut inbox = lock(&shared.inbox);
                            if inbox.pings.len() == PINGS_MAX {
                                inbox.pings.pop_front();
                            }
                            inbox.pings.push_back(frame.payload.to_vec());
                        }
                        Kind::Drain => lock(&shared.inbox).drain = true,
                        kind => {
                            say(&format!("the front sent a {kind:?} frame that a control link may not carry"));
                            exit_now();
                        }
                    }
                    // A full pipe has rung already.
                    let _ = (&shared.wake).write(&[1]);
                }
                Ok(None) => break,
                Err(error) => {
                    say(&format!("the front broke the protocol on the control link: {error}"));
                    exit_now();
                }
            }
        }
        pending.drain(..decoded);
    }
}

/// Writes a line to the worker's log, from a thread without Python. Unlike `eprintln!`, it does not panic
/// when nobody reads the log any more.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "bireme: {line}");
}

/// Ends the process without running the application's exit handlers: they could wait for ever.
fn exit_now() -> ! {
    // SAFETY: `_exit` takes any status and touches no memory of ours.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(ORPHAN_STATUS)
    }
}
