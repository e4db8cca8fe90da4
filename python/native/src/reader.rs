//! The data links of a WSGI worker: what arrives becomes jobs and events of streams, what is sent leaves
//! in as few writes as possible. Never touches Python; which thread reads is `pool`'s business.

use crate::control::say;
use crate::socket::{self, Output, ReadOutcome};
use crate::stream::{Stream, lock};
use crate::topics::{Letter, Mailbox, Publication, Published, Publisher};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::{Kind, RequestHead};

/// Finished responses that leave together while more requests wait.
const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_RESPONSES: usize = 8;

/// One data link, shared by the threads.
pub struct DataLink {
    socket: UnixStream,
    output: Mutex<LinkOutput>,
    streams: Mutex<HashMap<u32, Arc<Stream>>>,
    mailbox: Arc<Mailbox>,
    wake: UnixStream,
}

#[derive(Default)]
struct LinkOutput {
    output: Output,
    publisher: Publisher,
    responses: usize,
    /// The socket took no more; whoever reads goes on when it does.
    blocked: bool,
    closed: bool,
}

impl DataLink {
    /// `wake` rings for whoever reads. What the front says about topics goes into the mailbox.
    pub fn new(socket: UnixStream, wake: UnixStream, mailbox: Arc<Mailbox>) -> DataLink {
        DataLink { socket, output: Mutex::default(), streams: Mutex::default(), mailbox, wake }
    }

    /// The descriptor.
    pub fn fd(&self) -> i32 {
        socket::fd(&self.socket)
    }

    /// Forgets a stream that is over.
    pub fn forget(&self, stream: &Stream) {
        lock(&self.streams).remove(&stream.id);
    }

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

    /// Publishes a message, and writes what the socket takes.
    pub fn publish(&self, message: &Publication<'_>) -> Result<Published, wire::WireError> {
        let mut guard = lock(&self.output);
        if guard.closed {
            return Ok(Published::Sent);
        }
        let LinkOutput { output, publisher, .. } = &mut *guard;
        let published = publisher.publish(output.frames(), message);
        self.write(&mut guard);
        published
    }

    fn on_link_frame(&self, frame: &wire::Frame<'_>) -> Result<(), String> {
        if frame.kind == Kind::Credit {
            let bytes = wire::credit(frame.payload).map_err(|error| error.to_string())?;
            let mut guard = lock(&self.output);
            let LinkOutput { output, publisher, .. } = &mut *guard;
            publisher.grant(output.frames(), bytes);
            self.write(&mut guard);
            return Ok(());
        }
        let letter = Letter::of(frame).ok_or_else(|| format!("{:?} frame for the link itself", frame.kind))?;
        self.mailbox.put(letter);
        Ok(())
    }

    /// Writes what the socket takes.
    pub fn flush(&self) {
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
                // Whoever reads finds the same and ends the link.
                Err(_) => guard.output.clear(),
            }
        }
    }
}

/// Wakes whoever reads. A full pipe has woken him already.
pub fn ring(mut wake: &UnixStream) {
    let _ = wake.write(&[1]);
}

/// A request that has arrived.
pub struct Job {
    pub link: Arc<DataLink>,
    pub stream: Arc<Stream>,
    /// The REQUEST's payload.
    pub request: Vec<u8>,
}

/// What is read from; only one thread does at a time.
pub struct Reader {
    bell: UnixStream,
    inputs: Vec<LinkInput>,
}

struct LinkInput {
    link: Arc<DataLink>,
    input: socket::Input,
    newest: u32,
    open: bool,
}

impl Reader {
    /// `bell` turns readable when another thread rings.
    pub fn new(bell: UnixStream, links: &[Arc<DataLink>]) -> Reader {
        Reader { bell, inputs: links.iter().map(LinkInput::new).collect() }
    }

    /// Waits for the links, then reads, handing requests to `enqueue`. Whether that ever said `true`.
    pub fn turn(&mut self, timeout: Option<Duration>, mut enqueue: impl FnMut(Vec<Job>) -> bool) -> bool {
        let ready = self.wait(timeout);
        let mut rung = [0u8; 64];
        while matches!((&self.bell).read(&mut rung), Ok(n) if n == rung.len()) {}
        let mut enqueued = false;
        for (input, (readable, writable)) in self.inputs.iter_mut().zip(ready) {
            if writable {
                let mut guard = lock(&input.link.output);
                guard.blocked = false;
                input.link.write(&mut guard);
            }
            if readable {
                enqueued |= input.read_into(&mut enqueue);
            }
        }
        enqueued
    }

    /// Reads without waiting. Whether `enqueue` ever said `true`.
    pub fn read_what_is_there(&mut self, mut enqueue: impl FnMut(Vec<Job>) -> bool) -> bool {
        let mut enqueued = false;
        for input in &mut self.inputs {
            enqueued |= input.read_into(&mut enqueue);
        }
        enqueued
    }

    /// Which links are readable and writable.
    fn wait(&self, timeout: Option<Duration>) -> Vec<(bool, bool)> {
        let timeout = timeout.map(|timeout| Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() });
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        for input in self.inputs.iter().filter(|input| input.open) {
            let mut interest = PollFlags::IN;
            if lock(&input.link.output).blocked {
                interest |= PollFlags::OUT;
            }
            fds.push(PollFd::new(&input.link.socket, interest));
        }
        // An error here is EINTR: nothing is ready then, and the caller comes again.
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
}

impl LinkInput {
    fn new(link: &Arc<DataLink>) -> LinkInput {
        LinkInput { link: Arc::clone(link), input: socket::Input::default(), newest: 0, open: true }
    }

    fn read_into(&mut self, enqueue: &mut impl FnMut(Vec<Job>) -> bool) -> bool {
        let (jobs, outcome) = self.read();
        let enqueued = !jobs.is_empty() && enqueue(jobs);
        if outcome == ReadOutcome::Closed {
            self.close();
        }
        enqueued
    }

    /// Reads once; what it finds, and whether the link is still open.
    fn read(&mut self) -> (Vec<Job>, ReadOutcome) {
        let mut jobs = Vec::new();
        if !self.open {
            return (jobs, ReadOutcome::Drained);
        }
        let outcome = self.input.fill(&self.link.socket).unwrap_or(ReadOutcome::Closed);
        if let Some(fault) = self.decode(&mut jobs) {
            say(&format!("a data link is over: the front broke the protocol: {fault}"));
            return (jobs, ReadOutcome::Closed);
        }
        (jobs, outcome)
    }

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
    if frame.stream == 0 {
        return link.on_link_frame(frame);
    }
    if frame.stream > *newest {
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
