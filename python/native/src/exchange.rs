//! One request and its response: what `receive` and `send` of an ASGI application do.
//!
//! Pure state and encoding; when the socket is read and written is `asgi`'s business.

use crate::asgi::AsgiLink;
use crate::awaitables::{self, Receive, SendStep};
use crate::cell::Cell;
use crate::channel::Channel;
use crate::fields::Fields;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use wire::{FILE_PATH_MAX, FLAG_END, INITIAL_CREDIT, Kind, PAYLOAD_MAX, ResetCode};

pyo3::create_exception!(
    bireme._native,
    ClientDisconnected,
    PyOSError,
    "The client has gone; raised by send() as ASGI's HTTP spec 2.4 demands."
);

/// Body bytes the application has taken before the front is told: half a window, so that the front
/// never runs dry and a CREDIT goes out only now and then.
const CREDIT_STEP: u32 = INITIAL_CREDIT / 2;
/// Futures kept before cancelled ones are swept out.
const WAITERS_SWEEP: usize = 8;

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing sent.
    Before,
    /// `http.response.start` has come; its head waits for the first body event, as the spec demands.
    Started,
    /// The head has been encoded.
    Streaming,
    /// The body has ended; trailers are to come.
    Trailers,
    /// The sender's half has ended.
    Complete,
    /// RESET was sent or received, or the link is gone.
    Closed,
}

struct Head {
    status: u16,
    fields: Fields,
}

struct State {
    phase: Phase,
    head: Option<Head>,
    promised_trailers: bool,
    sent_trailers: Option<Fields>,
    body_left: Option<u64>,
    /// Body bytes the front will still take.
    credit: u64,
    /// A body that waits for credit: the bytes, how many have left, and whether it is the last.
    waiting: Option<(Py<PyBytes>, usize, bool)>,
    send_waiters: Vec<Py<PyAny>>,
    received: VecDeque<Py<PyBytes>>,
    receive_ended: bool,
    /// The last `http.request` was handed over.
    receive_finished: bool,
    receive_waiters: Vec<Py<PyAny>>,
    /// Body bytes the front may still send.
    grant: u32,
    /// Body bytes taken by the application and not granted anew yet.
    taken: u32,
    disconnected: bool,
    task: Option<Py<PyAny>>,
}

/// The two callables of one request.
#[pyclass(frozen, module = "bireme._native")]
pub struct Exchange {
    link: Py<AsgiLink>,
    pub stream: u32,
    is_head: bool,
    state: Cell<State>,
}

impl Exchange {
    /// `body` is what came with the REQUEST; `ended` whether that is all of it.
    pub fn new(py: Python<'_>, link: Py<AsgiLink>, stream: u32, is_head: bool, body: &[u8], ended: bool) -> Exchange {
        let mut received = VecDeque::new();
        if !body.is_empty() {
            received.push_back(PyBytes::new(py, body).unbind());
        }
        Exchange {
            link,
            stream,
            is_head,
            state: Cell::new(State {
                phase: Phase::Before,
                head: None,
                promised_trailers: false,
                sent_trailers: None,
                body_left: None,
                credit: u64::from(INITIAL_CREDIT),
                waiting: None,
                send_waiters: Vec::new(),
                received,
                receive_ended: ended,
                receive_finished: false,
                receive_waiters: Vec::new(),
                grant: INITIAL_CREDIT.saturating_sub(body.len() as u32),
                taken: 0,
                disconnected: false,
                task: None,
            }),
        }
    }

    /// Keeps the task alive: asyncio itself holds tasks only weakly.
    pub fn keep(&self, task: Py<PyAny>) -> PyResult<()> {
        self.state.get()?.task = Some(task);
        Ok(())
    }

    /// The task that runs the application, while it is suspended.
    pub fn task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.state.get()?.task.as_ref().map(|task| task.clone_ref(py)))
    }

    /// Whether nothing more will happen here: the application is done and all it sent has left.
    pub fn is_over(&self) -> PyResult<bool> {
        let state = self.state.get()?;
        Ok(state.task.is_none() && state.waiting.is_none())
    }

    /// The application is done, with this exception or none. Sees to it that the stream ends.
    pub fn finish(&self, py: Python<'_>, error: Option<PyErr>) -> PyResult<()> {
        let task = {
            let mut state = self.state.get()?;
            state.received.clear();
            state.task.take()
        };
        drop(task);
        let (phase, disconnected, unread, waiting) = {
            let state = self.state.get()?;
            (state.phase, state.disconnected, !state.receive_ended, state.waiting.is_some())
        };
        match (phase, error) {
            (Phase::Closed, None) => Ok(()),
            (Phase::Complete, None) => {
                if unread && !waiting {
                    self.reset(py, ResetCode::NoError, "")?;
                }
                Ok(())
            }
            (_, None) if waiting => Ok(()),
            (Phase::Before | Phase::Started, None) => {
                self.reset(py, ResetCode::Protocol, "the application returned without sending a response")
            }
            (_, None) => self.reset(py, ResetCode::Protocol, "the application returned before its response was complete"),
            (_, Some(error)) if disconnected && error.is_instance_of::<ClientDisconnected>(py) => Ok(()),
            (Phase::Complete | Phase::Closed, Some(error)) => {
                // The stream can't carry the traceback any more, as with a background task that fails.
                self.link.get().report(py, "the application raised after its response", &error);
                if phase == Phase::Complete && unread {
                    self.reset(py, ResetCode::NoError, "")?;
                }
                Ok(())
            }
            (_, Some(error)) => {
                let text = crate::asgi::traceback(py, &error);
                self.reset(py, ResetCode::Internal, &text)
            }
        }
    }

    fn reset(&self, py: Python<'_>, code: ResetCode, text: &str) -> PyResult<()> {
        AsgiLink::encode(self.link.bind(py), |out| wire::put_reset(out, self.stream, code, text))?;
        self.close(py)
    }

    /// The stream is over: the client has gone, or the link has.
    pub fn disconnect(&self, py: Python<'_>) -> PyResult<()> {
        self.state.get()?.disconnected = true;
        self.close(py)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let (receivers, senders, held) = {
            let mut state = self.state.get()?;
            state.phase = Phase::Closed;
            let held = (state.waiting.take(), state.head.take(), std::mem::take(&mut state.received));
            (std::mem::take(&mut state.receive_waiters), std::mem::take(&mut state.send_waiters), held)
        };
        drop(held);
        for waiter in receivers.into_iter().chain(senders) {
            awaitables::wake(waiter.bind(py))?;
        }
        Ok(())
    }

    /// Body bytes have arrived. `Err` says how the front broke the protocol.
    pub fn deliver(&self, py: Python<'_>, body: &[u8], ended: bool) -> PyResult<Result<(), &'static str>> {
        let chunk = if body.is_empty() { None } else { Some(PyBytes::new(py, body).unbind()) };
        let waiters = {
            let mut state = self.state.get()?;
            if state.receive_ended {
                return Ok(Err("DATA after the end of a request"));
            }
            let Some(grant) = state.grant.checked_sub(body.len() as u32) else {
                return Ok(Err("more body bytes than granted"));
            };
            state.grant = grant;
            state.receive_ended = ended;
            if state.phase == Phase::Closed {
                return Ok(Ok(()));
            }
            if let Some(chunk) = chunk {
                state.received.push_back(chunk);
            } else if !ended {
                return Ok(Ok(()));
            }
            std::mem::take(&mut state.receive_waiters)
        };
        for waiter in waiters {
            awaitables::wake(waiter.bind(py))?;
        }
        Ok(Ok(()))
    }

    /// The front takes `bytes` more.
    pub fn grant(&self, py: Python<'_>, bytes: u32) -> PyResult<()> {
        let waiters = {
            let mut state = self.state.get()?;
            state.credit = state.credit.saturating_add(u64::from(bytes));
            if !self.pump(py, &mut state)? {
                return Ok(());
            }
            std::mem::take(&mut state.send_waiters)
        };
        for waiter in waiters {
            awaitables::wake(waiter.bind(py))?;
        }
        Ok(())
    }

    /// The next message for the application, or `None` if it has to wait.
    pub fn take_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut state = self.state.get()?;
        if state.disconnected || matches!(state.phase, Phase::Complete | Phase::Closed) {
            drop(state);
            let message = PyDict::new(py);
            message.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
            return Ok(Some(message));
        }
        if state.receive_finished {
            return Ok(None);
        }
        let chunk = state.received.pop_front();
        if chunk.is_none() && !state.receive_ended {
            return Ok(None);
        }
        let more = !state.receive_ended || !state.received.is_empty();
        state.receive_finished = !more;
        let mut granted = 0;
        if let Some(chunk) = &chunk {
            state.taken += chunk.as_bytes(py).len() as u32;
            if !state.receive_ended && state.taken >= CREDIT_STEP {
                granted = std::mem::take(&mut state.taken);
                state.grant += granted;
            }
        }
        drop(state);
        if granted > 0 {
            AsgiLink::encode(self.link.bind(py), |out| wire::put_credit(out, self.stream, granted))?;
        }
        let message = PyDict::new(py);
        message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
        match chunk {
            Some(chunk) => message.set_item(intern!(py, "body"), chunk)?,
            None => message.set_item(intern!(py, "body"), PyBytes::new(py, b""))?,
        }
        message.set_item(intern!(py, "more_body"), more)?;
        Ok(Some(message))
    }

    /// A future that ends when there may be a message.
    pub fn wait_for_message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = awaitables::future(self.link.get().event_loop(py))?;
        enlist(py, &self.state, &future, |state| &mut state.receive_waiters)?;
        Ok(future)
    }

    /// A future that ends when what waits for credit has left.
    pub fn wait_for_credit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = awaitables::future(self.link.get().event_loop(py))?;
        enlist(py, &self.state, &future, |state| &mut state.send_waiters)?;
        Ok(future)
    }

    /// Whether what was accepted has left.
    pub fn send_state(&self) -> PyResult<SendStep> {
        let state = self.state.get()?;
        if state.phase == Phase::Closed && state.disconnected {
            return Err(gone());
        }
        Ok(if state.waiting.is_some() { SendStep::Waiting } else { SendStep::Sent })
    }

    /// Takes a message of the application. An error leaves the stream reset where the message broke the
    /// ASGI contract.
    pub fn send_message(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<SendStep> {
        {
            let state = self.state.get()?;
            if state.disconnected {
                return Err(gone());
            }
            if state.waiting.is_some() {
                return Ok(SendStep::Behind);
            }
        }
        let outcome = self.take_event(py, message);
        if let Err(error) = &outcome {
            self.break_contract(py, error)?;
        }
        outcome
    }

    fn take_event(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<SendStep> {
        let message = &as_dict(message)?;
        let Some(kind) = message.get_item(intern!(py, "type"))? else {
            return Err(PyRuntimeError::new_err("an ASGI message without a type"));
        };
        let kind = kind.cast::<PyString>()?;
        match kind.to_str()? {
            "http.response.body" => self.body(py, message),
            "http.response.start" => self.start(py, message),
            "http.response.pathsend" => self.path(py, message),
            "http.response.trailers" => self.trailers(py, message),
            "http.response.early_hint" => self.early_hint(py, message),
            other => Err(PyRuntimeError::new_err(format!("the ASGI message \"{other}\" does not belong to an HTTP request"))),
        }
    }

    /// Resets the stream, unless the response has already ended and nobody would hear.
    fn break_contract(&self, py: Python<'_>, error: &PyErr) -> PyResult<()> {
        if matches!(self.state.get()?.phase, Phase::Complete | Phase::Closed) {
            return Ok(());
        }
        let text = error.value(py).str().map(|text| text.to_string_lossy().into_owned());
        self.reset(py, ResetCode::Protocol, &text.unwrap_or_default())
    }

    fn start(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        let Some(status) = message.get_item(intern!(py, "status"))? else {
            return Err(PyRuntimeError::new_err("http.response.start without a status"));
        };
        let status: u16 = match status.extract() {
            Ok(status @ 200..=599) => status,
            _ => {
                let shown = status.repr()?;
                return Err(PyRuntimeError::new_err(format!(
                    "http.response.start with the status {shown}; 200 to 599 are possible"
                )));
            }
        };
        let fields = Fields::of_message(py, message)?;
        let trailers = match message.get_item(intern!(py, "trailers"))? {
            Some(value) => value.is_truthy()?,
            None => false,
        };
        let mut state = self.state.get()?;
        if state.phase != Phase::Before {
            drop(state);
            return Err(out_of_order("http.response.start", "the response has already started"));
        }
        // A response to HEAD, a 204 and a 304 may announce a length that nobody sends (RFC 9110 §8.6).
        state.body_left = if self.is_head || matches!(status, 204 | 304) { None } else { fields.content_length };
        state.promised_trailers = trailers;
        state.head = Some(Head { status, fields });
        state.phase = Phase::Started;
        Ok(SendStep::Sent)
    }

    fn body(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        let body = match message.get_item(intern!(py, "body"))? {
            Some(body) => match body.cast_into::<PyBytes>() {
                Ok(bytes) => Some(bytes),
                Err(error) => Some(to_bytes(&error.into_inner(), "http.response.body")?),
            },
            None => None,
        };
        let more = match message.get_item(intern!(py, "more_body"))? {
            Some(more) => more.is_truthy()?,
            None => false,
        };
        let bytes = body.as_ref().map(|body| body.as_bytes()).unwrap_or_default();
        let mut state = self.state.get()?;
        match state.phase {
            Phase::Started | Phase::Streaming => {}
            Phase::Before => {
                drop(state);
                return Err(out_of_order("http.response.body", "http.response.start has not been sent"));
            }
            // Reset by us, because of an earlier message.
            Phase::Closed => {
                drop(state);
                return Err(out_of_order("http.response.body", "the stream has been reset"));
            }
            Phase::Trailers | Phase::Complete => {
                drop(state);
                return Err(out_of_order("http.response.body", "the response is already complete"));
            }
        }
        if let Some(left) = state.body_left {
            let short = left.checked_sub(bytes.len() as u64);
            match short {
                None => {
                    drop(state);
                    return Err(PyRuntimeError::new_err("the response's body is longer than its content-length"));
                }
                Some(left @ 1..) if !more => {
                    drop(state);
                    return Err(PyRuntimeError::new_err(format!(
                        "the response's body ended {left} bytes short of its content-length"
                    )));
                }
                left => state.body_left = left,
            }
        }
        let last = !more && !state.promised_trailers;
        let sent = self.put_body(py, &mut state, bytes, last)?;
        state.phase = match (more, state.promised_trailers) {
            (true, _) => Phase::Streaming,
            (false, true) => Phase::Trailers,
            (false, false) => Phase::Complete,
        };
        if sent == bytes.len() {
            drop(state);
            return Ok(SendStep::Sent);
        }
        // `body` is there, or there would be nothing left to send.
        if let Some(body) = &body {
            state.waiting = Some((body.clone().unbind(), sent, last));
        }
        Ok(SendStep::Waiting)
    }

    /// The body is a file's content, which the front reads.
    fn path(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        const KIND: &str = "http.response.pathsend";
        let Some(path) = message.get_item(intern!(py, "path"))? else {
            return Err(PyRuntimeError::new_err("http.response.pathsend without a path"));
        };
        let path = absolute(path.extract()?)?;
        let mut state = self.state.get()?;
        if state.phase != Phase::Started {
            let why = match state.phase {
                Phase::Before => "http.response.start has not been sent",
                Phase::Streaming => "a part of the body has been sent",
                _ => "the response is already complete",
            };
            drop(state);
            return Err(out_of_order(KIND, why));
        }
        if state.promised_trailers {
            drop(state);
            return Err(out_of_order(KIND, "trailers cannot follow a file"));
        }
        let Some(head) = state.head.take() else { return Err(out_of_order(KIND, "the response is already complete")) };
        state.phase = Phase::Complete;
        drop(state);
        let fields = head.fields.iter(py);
        AsgiLink::encode(self.link.bind(py), |out| {
            if self.is_head {
                wire::put_response(out, self.stream, head.status, b"", fields, b"", true)
            } else {
                wire::put_file_response(out, self.stream, head.status, b"", fields, path.as_os_str().as_bytes())
            }
        })?
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(SendStep::Sent)
    }

    /// Encodes as much of `body` as the credit allows; END goes with its last byte if `last`.
    fn put_body(&self, py: Python<'_>, state: &mut State, body: &[u8], last: bool) -> PyResult<usize> {
        let mut sent = 0;
        if let Some(head) = state.head.take() {
            // The first bytes share a frame with the head, which must fit, too.
            let room = PAYLOAD_MAX.saturating_sub(4 + head.fields.iter(py).map(|(n, v)| 4 + n.len() + v.len()).sum::<usize>());
            sent = body.len().min(state.credit as usize).min(room);
            let end = last && sent == body.len();
            let fields = head.fields.iter(py);
            AsgiLink::encode(self.link.bind(py), |out| {
                wire::put_response(out, self.stream, head.status, b"", fields, &body[..sent], end)
            })?
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            state.credit -= sent as u64;
            if end || (body.is_empty() && !last) {
                return Ok(sent);
            }
        } else if body.is_empty() {
            if last {
                AsgiLink::encode(self.link.bind(py), |out| wire::put_frame(out, Kind::Data, FLAG_END, 0, self.stream, b""))?;
            }
            return Ok(0);
        }
        while sent < body.len() && state.credit > 0 {
            let n = (body.len() - sent).min(state.credit as usize).min(PAYLOAD_MAX);
            let flags = if last && sent + n == body.len() { FLAG_END } else { 0 };
            let chunk = &body[sent..sent + n];
            AsgiLink::encode(self.link.bind(py), |out| wire::put_frame(out, Kind::Data, flags, 0, self.stream, chunk))?;
            sent += n;
            state.credit -= n as u64;
        }
        if self.is_head && sent < body.len() {
            // The front drops the body of a response to HEAD; nothing would come of waiting for credit.
            if last {
                AsgiLink::encode(self.link.bind(py), |out| wire::put_frame(out, Kind::Data, FLAG_END, 0, self.stream, b""))?;
            }
            return Ok(body.len());
        }
        Ok(sent)
    }

    /// Sends what waited for credit. `true`: nothing waits any more.
    fn pump(&self, py: Python<'_>, state: &mut State) -> PyResult<bool> {
        let Some((body, sent, last)) = state.waiting.take() else {
            return Ok(false);
        };
        let bytes = body.as_bytes(py);
        let sent = sent + self.put_body(py, state, &bytes[sent..], last)?;
        if sent < bytes.len() {
            state.waiting = Some((body, sent, last));
            return Ok(false);
        }
        // The application may have returned without awaiting its last send.
        if last && state.task.is_none() && !state.receive_ended {
            AsgiLink::encode(self.link.bind(py), |out| wire::put_reset(out, self.stream, ResetCode::NoError, ""))?;
            state.phase = Phase::Closed;
        }
        Ok(true)
    }

    fn trailers(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        let mut fields = Fields::of_message(py, message)?;
        let more = match message.get_item(intern!(py, "more_trailers"))? {
            Some(more) => more.is_truthy()?,
            None => false,
        };
        let mut state = self.state.get()?;
        if state.phase != Phase::Trailers {
            drop(state);
            return Err(out_of_order(
                "http.response.trailers",
                "trailers follow the end of a body whose start had trailers=True",
            ));
        }
        if let Some(mut earlier) = state.sent_trailers.take() {
            earlier.append(fields);
            fields = earlier;
        }
        if more {
            state.sent_trailers = Some(fields);
            return Ok(SendStep::Sent);
        }
        state.phase = Phase::Complete;
        drop(state);
        let pairs = fields.iter(py);
        AsgiLink::encode(self.link.bind(py), |out| wire::put_field_list(out, Kind::Trailers, FLAG_END, 0, self.stream, pairs))?
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(SendStep::Sent)
    }

    fn early_hint(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        if self.state.get()?.phase != Phase::Before {
            return Err(out_of_order("http.response.early_hint", "the response has already started"));
        }
        let mut fields = Fields::default();
        if let Some(links) = message.get_item(intern!(py, "links"))? {
            for link in links.try_iter()? {
                let value = link?;
                fields.push_checked(PyBytes::new(py, b"link"), value)?;
            }
        }
        let pairs = fields.iter(py);
        AsgiLink::encode(self.link.bind(py), |out| wire::put_field_list(out, Kind::Informational, 0, 103, self.stream, pairs))?
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(SendStep::Sent)
    }
}

#[pymethods]
impl Exchange {
    /// ASGI's `receive`.
    fn receive(slf: Py<Exchange>) -> Receive {
        Receive { channel: Channel::Http(slf) }
    }

    /// ASGI's `send`. Raises RuntimeError for a message that breaks the contract, and OSError once the
    /// client has gone.
    #[pyo3(signature = (message, /))]
    fn send<'py>(slf: &Bound<'py, Exchange>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let step = slf.get().send_message(slf.py(), message)?;
        awaitables::sending(slf.py(), step, || Channel::Http(slf.clone().unbind()), message)
    }

    /// Called with the application's task when it ends after having been suspended.
    #[pyo3(signature = (task, /))]
    fn task_done(slf: &Bound<'_, Exchange>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let exchange = slf.get();
        exchange.finish(py, crate::asgi::error_of(task)?)?;
        exchange.link.get().forget_if_over(exchange.stream, exchange.is_over()?)
    }
}

/// A message as a dict; other mappings are copied into one.
pub fn as_dict<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    match message.cast::<PyDict>() {
        Ok(dict) => Ok(dict.clone()),
        Err(_) => Ok(message.py().get_type::<PyDict>().call1((message,))?.cast_into::<PyDict>()?),
    }
}

/// Adds a future to a list of those that wait. Applications that poll (`await wait_for(receive(), 0.1)`) leave a cancelled
/// future each time; they are swept out, or the list would grow for as long as the request lives.
pub fn enlist<S>(
    py: Python<'_>,
    state: &Cell<S>,
    future: &Bound<'_, PyAny>,
    list: impl Fn(&mut S) -> &mut Vec<Py<PyAny>>,
) -> PyResult<()> {
    let mut waiters = std::mem::take(list(&mut *state.get()?));
    if waiters.len() >= WAITERS_SWEEP {
        let mut alive = Vec::new();
        for waiter in waiters {
            if !waiter.bind(py).call_method0(intern!(py, "done"))?.is_truthy()? {
                alive.push(waiter);
            }
        }
        waiters = alive;
    }
    waiters.push(future.clone().unbind());
    *list(&mut *state.get()?) = waiters;
    Ok(())
}

/// The path as the front, whose folder is another one, finds it.
fn absolute(path: PathBuf) -> PyResult<PathBuf> {
    let path = std::path::absolute(path)?;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > FILE_PATH_MAX || bytes.contains(&0) {
        let length = bytes.len();
        return Err(PyRuntimeError::new_err(format!(
            "http.response.pathsend with a path of {length} bytes; at most {FILE_PATH_MAX} are possible, and no NUL"
        )));
    }
    Ok(path)
}

fn gone() -> PyErr {
    ClientDisconnected::new_err("the client has gone")
}

fn out_of_order(kind: &str, why: &str) -> PyErr {
    PyRuntimeError::new_err(format!("unexpected ASGI message {kind}: {why}"))
}

/// A body that is not bytes, like a bytearray or a memoryview, copied.
pub fn to_bytes<'py>(body: &Bound<'py, PyAny>, kind_of_message: &str) -> PyResult<Bound<'py, PyBytes>> {
    let py = body.py();
    let kind = body.get_type();
    if body.is_none() {
        return Ok(PyBytes::new(py, b""));
    }
    // bytes(5) would be five zeros, and bytes("x") an error about encodings.
    let bytes_like = kind.is(py.get_type::<pyo3::types::PyByteArray>()) || kind.name()? == "memoryview";
    if !bytes_like {
        return Err(PyRuntimeError::new_err(format!("the bytes of {kind_of_message} must be bytes, not {}", kind.name()?)));
    }
    Ok(py.get_type::<PyBytes>().call1((body,))?.cast_into()?)
}
