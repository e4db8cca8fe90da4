//! One WebSocket: what `receive` and `send` of an ASGI `websocket` scope do (ASGI's HTTP & WebSocket spec 2.5,
//! "WebSocket").
//!
//! The front speaks the protocol; what arrives here are messages, cut into pieces, and how the socket ended.

use crate::asgi::AsgiLink;
use crate::awaitables::{self, SendStep};
use crate::cell::Cell;
use crate::channel::Channel;
use crate::exchange::{ClientDisconnected, Exchange, as_dict, enlist, to_bytes};
use crate::fields::Fields;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::collections::VecDeque;
use wire::{CLOSE_REASON_MAX, FLAG_END, FLAG_TEXT, INITIAL_CREDIT, Kind, MESSAGE_COST, PAYLOAD_MAX, ResetCode};

/// Credit that messages have used before the front is granted it anew.
const CREDIT_STEP: u32 = INITIAL_CREDIT / 2;
/// RFC 6455 §7.4.1.
const NORMAL: u16 = 1000;
const ABNORMAL: u16 = 1006;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Neither accepted nor refused.
    Connecting,
    Open,
    /// Another response is being sent in place of a WebSocket.
    Denied,
    /// The application has closed or refused it, or broken the contract.
    Closed,
}

/// A message from the client.
struct Message {
    payload: Py<PyAny>,
    text: bool,
    /// Credit that is granted anew when the application has taken it.
    cost: u32,
}

/// The beginning of a message.
struct Partial {
    bytes: Vec<u8>,
    text: bool,
    cost: u32,
}

/// A message of the application that waits for credit.
struct Waiting {
    payload: Py<PyAny>,
    text: bool,
    sent: usize,
}

struct State {
    phase: Phase,
    /// `websocket.connect` was handed over.
    connected: bool,
    /// Credit that the front has given.
    credit: u64,
    waiting: Option<Waiting>,
    send_waiters: Vec<Py<PyAny>>,
    received: VecDeque<Message>,
    partial: Option<Partial>,
    receive_waiters: Vec<Py<PyAny>>,
    /// Credit that the front has left.
    grant: u32,
    /// Credit that it has used and that is to be granted anew.
    taken: u32,
    /// How the socket ended.
    ended: Option<(u16, String)>,
    denial: Option<Py<Exchange>>,
    task: Option<Py<PyAny>>,
}

/// The two callables of one WebSocket.
#[pyclass(frozen, module = "bireme._native")]
pub struct WebSocket {
    link: Py<AsgiLink>,
    pub stream: u32,
    subprotocols: Vec<String>,
    state: Cell<State>,
}

impl WebSocket {
    /// A handshake that waits for an answer. `subprotocols` are those that the client offers.
    pub fn new(link: Py<AsgiLink>, stream: u32, subprotocols: Vec<String>) -> WebSocket {
        WebSocket {
            link,
            stream,
            subprotocols,
            state: Cell::new(State {
                phase: Phase::Connecting,
                connected: false,
                credit: u64::from(INITIAL_CREDIT),
                waiting: None,
                send_waiters: Vec::new(),
                received: VecDeque::new(),
                partial: None,
                receive_waiters: Vec::new(),
                grant: INITIAL_CREDIT,
                taken: 0,
                ended: None,
                denial: None,
                task: None,
            }),
        }
    }

    /// See [`Channel::keep`].
    pub fn keep(&self, task: Py<PyAny>) -> PyResult<()> {
        self.state.get()?.task = Some(task);
        Ok(())
    }

    /// See [`Channel::task`].
    pub fn task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.state.get()?.task.as_ref().map(|task| task.clone_ref(py)))
    }

    /// See [`Channel::is_over`].
    pub fn is_over(&self) -> PyResult<bool> {
        let state = self.state.get()?;
        if state.task.is_some() || state.waiting.is_some() {
            return Ok(false);
        }
        match &state.denial {
            Some(denial) => denial.get().is_over(),
            None => Ok(true),
        }
    }

    /// See [`Channel::finish`]: a socket left open is closed with 1000, one with an error is reset.
    pub fn finish(&self, py: Python<'_>, error: Option<PyErr>) -> PyResult<()> {
        let (task, received, denial, phase, ended, waiting) = {
            let mut state = self.state.get()?;
            let received = std::mem::take(&mut state.received);
            let denial = state.denial.as_ref().map(|denial| denial.clone_ref(py));
            (state.task.take(), received, denial, state.phase, state.ended.is_some(), state.waiting.is_some())
        };
        drop((task, received));
        if let Some(denial) = denial {
            return denial.get().finish(py, error);
        }
        match (phase, error) {
            (Phase::Closed, None) => Ok(()),
            (_, None) if ended => Ok(()),
            (_, Some(error)) if ended && error.is_instance_of::<ClientDisconnected>(py) => Ok(()),
            (_, Some(error)) if ended || phase == Phase::Closed => {
                self.link.get().report(py, "the application raised after its WebSocket had closed", &error);
                Ok(())
            }
            (_, Some(error)) => {
                let text = crate::asgi::traceback(py, &error);
                self.reset(py, ResetCode::Internal, &text)
            }
            (Phase::Connecting, None) => {
                self.reset(py, ResetCode::Protocol, "the application returned without accepting or closing the WebSocket")
            }
            // What waits goes out first.
            (_, None) if waiting => Ok(()),
            (_, None) => self.put_close(py, NORMAL, ""),
        }
    }

    fn reset(&self, py: Python<'_>, code: ResetCode, text: &str) -> PyResult<()> {
        AsgiLink::encode(self.link.bind(py), |out| wire::put_reset(out, self.stream, code, text))?;
        self.end(py, ABNORMAL, "")
    }

    fn put_close(&self, py: Python<'_>, code: u16, reason: &str) -> PyResult<()> {
        self.state.get()?.phase = Phase::Closed;
        let reason = &reason.as_bytes()[..reason.floor_char_boundary(CLOSE_REASON_MAX)];
        AsgiLink::encode(self.link.bind(py), |out| {
            wire::put_frame(out, Kind::WsClose, FLAG_END, code, self.stream, reason);
        })
    }

    /// See [`Channel::disconnect`].
    pub fn disconnect(&self, py: Python<'_>) -> PyResult<()> {
        let denial = self.state.get()?.denial.as_ref().map(|denial| denial.clone_ref(py));
        if let Some(denial) = denial {
            denial.get().disconnect(py)?;
        }
        self.end(py, ABNORMAL, "")
    }

    /// The socket is closed, as the front says.
    pub fn closed(&self, py: Python<'_>, code: u16, reason: &[u8]) -> PyResult<()> {
        self.end(py, code, &String::from_utf8_lossy(reason))
    }

    fn end(&self, py: Python<'_>, code: u16, reason: &str) -> PyResult<()> {
        let (waiters, held) = {
            let mut state = self.state.get()?;
            if state.ended.is_none() {
                state.ended = Some((code, reason.to_owned()));
            }
            state.phase = Phase::Closed;
            let mut waiters = std::mem::take(&mut state.receive_waiters);
            waiters.append(&mut state.send_waiters);
            (waiters, state.waiting.take())
        };
        drop(held);
        for waiter in waiters {
            awaitables::wake(waiter.bind(py))?;
        }
        Ok(())
    }

    /// A message, or a piece of one, has arrived. `Err` says how the front broke the protocol.
    pub fn deliver_message(&self, py: Python<'_>, bytes: &[u8], text: bool, last: bool) -> PyResult<Result<(), &'static str>> {
        let cost = bytes.len() as u32 + MESSAGE_COST;
        let (waiters, granted) = {
            let mut state = self.state.get()?;
            let Some(grant) = state.grant.checked_sub(cost) else {
                return Ok(Err("a message beyond the credit"));
            };
            state.grant = grant;
            if state.task.is_none() && state.connected && state.ended.is_some() {
                return Ok(Ok(()));
            }
            match (state.partial.take(), last) {
                (None, true) => {
                    let Some(payload) = payload_of(py, bytes, text) else { return Ok(Err("text that is not UTF-8")) };
                    state.received.push_back(Message { payload, text, cost });
                }
                (Some(mut partial), true) => {
                    partial.bytes.extend_from_slice(bytes);
                    let Some(payload) = payload_of(py, &partial.bytes, partial.text) else {
                        return Ok(Err("text that is not UTF-8"));
                    };
                    state.received.push_back(Message { payload, text: partial.text, cost: partial.cost + cost });
                }
                (partial, false) => {
                    let mut partial = partial.unwrap_or(Partial { bytes: Vec::new(), text, cost: 0 });
                    partial.bytes.extend_from_slice(bytes);
                    partial.cost += cost;
                    state.partial = Some(partial);
                }
            }
            let granted = state.regrant();
            let waiters = if last { std::mem::take(&mut state.receive_waiters) } else { Vec::new() };
            (waiters, granted)
        };
        self.put_credit(py, granted)?;
        for waiter in waiters {
            awaitables::wake(waiter.bind(py))?;
        }
        Ok(Ok(()))
    }

    fn put_credit(&self, py: Python<'_>, granted: u32) -> PyResult<()> {
        if granted == 0 {
            return Ok(());
        }
        AsgiLink::encode(self.link.bind(py), |out| wire::put_credit(out, self.stream, granted))
    }

    /// See [`Channel::grant`].
    pub fn grant(&self, py: Python<'_>, bytes: u32) -> PyResult<()> {
        let (waiters, denial, close) = {
            let mut state = self.state.get()?;
            let denial = state.denial.as_ref().map(|denial| denial.clone_ref(py));
            state.credit = state.credit.saturating_add(u64::from(bytes));
            if denial.is_some() || !self.pump(py, &mut state)? {
                (Vec::new(), denial, false)
            } else {
                // The application may have returned without awaiting its last send.
                let close = state.task.is_none() && state.phase == Phase::Open;
                (std::mem::take(&mut state.send_waiters), None, close)
            }
        };
        if let Some(denial) = denial {
            denial.get().grant(py, bytes)?;
        }
        if close {
            self.put_close(py, NORMAL, "")?;
        }
        for waiter in waiters {
            awaitables::wake(waiter.bind(py))?;
        }
        Ok(())
    }

    /// See [`Channel::take_message`].
    pub fn take_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut state = self.state.get()?;
        if !state.connected {
            state.connected = true;
            drop(state);
            return event(py, intern!(py, "websocket.connect")).map(Some);
        }
        if let Some(message) = state.received.pop_front() {
            state.taken += message.cost;
            let granted = if state.ended.is_none() { state.regrant() } else { 0 };
            drop(state);
            self.put_credit(py, granted)?;
            let dict = event(py, intern!(py, "websocket.receive"))?;
            // Both keys, for applications that look them up without a default.
            let (text, bytes) = if message.text { (Some(message.payload), None) } else { (None, Some(message.payload)) };
            dict.set_item(intern!(py, "text"), text)?;
            dict.set_item(intern!(py, "bytes"), bytes)?;
            return Ok(Some(dict));
        }
        let Some((code, reason)) = state.ended.clone() else { return Ok(None) };
        drop(state);
        let dict = event(py, intern!(py, "websocket.disconnect"))?;
        dict.set_item(intern!(py, "code"), code)?;
        dict.set_item(intern!(py, "reason"), reason)?;
        Ok(Some(dict))
    }

    /// See [`Channel::wait_for_message`].
    pub fn wait_for_message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = awaitables::future(self.link.get().event_loop(py))?;
        enlist(py, &self.state, &future, |state| &mut state.receive_waiters)?;
        Ok(future)
    }

    /// See [`Channel::wait_for_credit`].
    pub fn wait_for_credit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let denial = self.state.get()?.denial.as_ref().map(|denial| denial.clone_ref(py));
        if let Some(denial) = denial {
            return denial.get().wait_for_credit(py);
        }
        let future = awaitables::future(self.link.get().event_loop(py))?;
        enlist(py, &self.state, &future, |state| &mut state.send_waiters)?;
        Ok(future)
    }

    /// See [`Channel::send_state`].
    pub fn send_state(&self) -> PyResult<SendStep> {
        let state = self.state.get()?;
        if let Some(denial) = &state.denial {
            return denial.get().send_state();
        }
        if state.ended.is_some() {
            return Err(gone());
        }
        Ok(if state.waiting.is_some() { SendStep::Waiting } else { SendStep::Sent })
    }

    /// See [`Channel::send_message`].
    pub fn send_message(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<SendStep> {
        {
            let state = self.state.get()?;
            if state.ended.is_some() {
                return Err(gone());
            }
            if state.waiting.is_some() {
                return Ok(SendStep::Behind);
            }
        }
        let outcome = self.take_event(py, message);
        if let Err(error) = &outcome
            && !matches!(self.state.get()?.phase, Phase::Closed | Phase::Denied)
        {
            let text = error.value(py).str().map(|text| text.to_string_lossy().into_owned());
            self.reset(py, ResetCode::Protocol, &text.unwrap_or_default())?;
        }
        outcome
    }

    fn take_event(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<SendStep> {
        let message = as_dict(message)?;
        let Some(kind) = message.get_item(intern!(py, "type"))? else {
            return Err(PyRuntimeError::new_err("an ASGI message without a type"));
        };
        let kind = kind.cast::<PyString>()?;
        let phase = self.state.get()?.phase;
        match (kind.to_str()?, phase) {
            ("websocket.send", Phase::Open) => self.message(py, &message),
            ("websocket.accept", Phase::Connecting) => self.accept(py, &message),
            ("websocket.close", Phase::Connecting | Phase::Open) => self.close(py, &message),
            (kind @ "websocket.http.response.start", Phase::Connecting) => {
                let exchange = Exchange::new(py, self.link.clone_ref(py), self.stream, false, b"", true);
                {
                    let mut state = self.state.get()?;
                    state.denial = Some(Py::new(py, exchange)?);
                    state.phase = Phase::Denied;
                }
                self.deny(py, &message, kind)
            }
            (kind @ "websocket.http.response.body", Phase::Denied) => self.deny(py, &message, kind),
            (kind, phase) => {
                let why = match phase {
                    Phase::Connecting => "the WebSocket has not been accepted",
                    Phase::Open => "the WebSocket is open",
                    Phase::Denied => "the WebSocket has been refused with another response",
                    Phase::Closed => "the WebSocket has been closed",
                };
                Err(PyRuntimeError::new_err(format!("unexpected ASGI message {kind}: {why}")))
            }
        }
    }

    /// Hands a part of another response to what sends responses.
    fn deny(&self, py: Python<'_>, message: &Bound<'_, PyDict>, kind: &str) -> PyResult<SendStep> {
        let message = message.copy()?;
        message.set_item(intern!(py, "type"), kind.trim_start_matches("websocket."))?;
        let denial = self.state.get()?.denial.as_ref().map(|denial| denial.clone_ref(py));
        match denial {
            Some(denial) => denial.get().send_message(py, message.as_any()),
            None => Ok(SendStep::Sent),
        }
    }

    fn accept(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        let mut fields = Fields::of_message(py, message)?;
        if fields.iter(py).any(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-protocol")) {
            return Err(PyRuntimeError::new_err(
                "websocket.accept with the header sec-websocket-protocol; the key subprotocol says it",
            ));
        }
        if let Some(subprotocol) = message.get_item(intern!(py, "subprotocol"))?.filter(|value| !value.is_none()) {
            let subprotocol = subprotocol.cast::<PyString>()?.to_str()?.to_owned();
            if !self.subprotocols.contains(&subprotocol) {
                return Err(PyRuntimeError::new_err(format!(
                    "websocket.accept with the subprotocol {subprotocol:?}, which the client did not offer"
                )));
            }
            let value = PyBytes::new(py, subprotocol.as_bytes()).into_any();
            fields.push_checked(PyBytes::new(py, b"sec-websocket-protocol"), value)?;
        }
        let pairs = fields.iter(py);
        AsgiLink::encode(self.link.bind(py), |out| wire::put_field_list(out, Kind::WsAccept, 0, 0, self.stream, pairs))?
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        self.state.get()?.phase = Phase::Open;
        Ok(SendStep::Sent)
    }

    fn close(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        if self.state.get()?.phase == Phase::Connecting {
            // "If this is sent before the socket is accepted, the server must close with a HTTP 403."
            let empty = std::iter::empty();
            AsgiLink::encode(self.link.bind(py), |out| wire::put_response(out, self.stream, 403, b"", empty, b"", true))?
                .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            self.end(py, ABNORMAL, "")?;
            return Ok(SendStep::Sent);
        }
        let code = match message.get_item(intern!(py, "code"))?.filter(|code| !code.is_none()) {
            None => NORMAL,
            Some(code) => match code.extract::<u16>() {
                Ok(code @ (1000..=1003 | 1007..=1014 | 3000..=4999)) => code,
                _ => {
                    return Err(PyRuntimeError::new_err(format!(
                        "websocket.close with the code {}; 1000 to 1003, 1007 to 1014 and 3000 to 4999 may be sent (RFC 6455 §7.4)",
                        code.repr()?
                    )));
                }
            },
        };
        let reason = match message.get_item(intern!(py, "reason"))?.filter(|reason| !reason.is_none()) {
            None => String::new(),
            Some(reason) => reason.cast::<PyString>()?.to_str()?.to_owned(),
        };
        self.put_close(py, code, &reason)?;
        Ok(SendStep::Sent)
    }

    fn message(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<SendStep> {
        let given = |key| -> PyResult<_> { Ok(message.get_item(key)?.filter(|value: &Bound<'_, PyAny>| !value.is_none())) };
        let (payload, text) = match (given(intern!(py, "text"))?, given(intern!(py, "bytes"))?) {
            (Some(text), None) => {
                // Says here what cannot be encoded.
                text.cast::<PyString>()?.to_str()?;
                (text, true)
            }
            (None, Some(bytes)) => match bytes.cast_into::<PyBytes>() {
                Ok(bytes) => (bytes.into_any(), false),
                Err(error) => (to_bytes(&error.into_inner(), "websocket.send")?.into_any(), false),
            },
            _ => return Err(PyRuntimeError::new_err("websocket.send needs either text or bytes")),
        };
        let mut state = self.state.get()?;
        let mut waiting = Waiting { payload: payload.unbind(), text, sent: 0 };
        if self.put_message(py, &mut state, &mut waiting)? {
            return Ok(SendStep::Sent);
        }
        state.waiting = Some(waiting);
        Ok(SendStep::Waiting)
    }

    /// Encodes as much of a message as the credit allows. Says whether that was all.
    fn put_message(&self, py: Python<'_>, state: &mut State, waiting: &mut Waiting) -> PyResult<bool> {
        let payload = waiting.payload.bind(py);
        let bytes = match payload.cast::<PyString>() {
            Ok(text) => text.to_str()?.as_bytes(),
            Err(_) => payload.cast::<PyBytes>()?.as_bytes(),
        };
        let text = if waiting.text { FLAG_TEXT } else { 0 };
        loop {
            let left = bytes.len() - waiting.sent;
            let room = state.credit.saturating_sub(u64::from(MESSAGE_COST)) as usize;
            // A piece that holds nothing would go nowhere; an empty message needs no more than its cost.
            if room < left.min(1) || state.credit < u64::from(MESSAGE_COST) {
                return Ok(false);
            }
            let n = left.min(room).min(PAYLOAD_MAX);
            let flags = text | if n == left { FLAG_END } else { 0 };
            let piece = &bytes[waiting.sent..waiting.sent + n];
            AsgiLink::encode(self.link.bind(py), |out| {
                wire::put_frame(out, Kind::WsMessage, flags, 0, self.stream, piece);
            })?;
            state.credit -= n as u64 + u64::from(MESSAGE_COST);
            waiting.sent += n;
            if n == left {
                return Ok(true);
            }
        }
    }

    /// Sends what waited for credit. `true`: nothing waits any more.
    fn pump(&self, py: Python<'_>, state: &mut State) -> PyResult<bool> {
        let Some(mut waiting) = state.waiting.take() else { return Ok(false) };
        if self.put_message(py, state, &mut waiting)? {
            return Ok(true);
        }
        state.waiting = Some(waiting);
        Ok(false)
    }
}

impl State {
    /// Credit to be granted now. That of a message whose turn it is is granted before the message is whole: the
    /// application cannot take it earlier.
    fn regrant(&mut self) -> u32 {
        if self.received.is_empty()
            && let Some(partial) = &mut self.partial
        {
            self.taken += std::mem::take(&mut partial.cost);
        }
        if self.taken < CREDIT_STEP {
            return 0;
        }
        let granted = std::mem::take(&mut self.taken);
        self.grant += granted;
        granted
    }
}

#[pymethods]
impl WebSocket {
    /// ASGI's `receive`.
    fn receive(slf: Py<WebSocket>) -> awaitables::Receive {
        awaitables::Receive { channel: Channel::WebSocket(slf) }
    }

    /// ASGI's `send`. Raises RuntimeError for a message that breaks the contract, and OSError once the client has gone.
    #[pyo3(signature = (message, /))]
    fn send<'py>(slf: &Bound<'py, WebSocket>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let step = slf.get().send_message(slf.py(), message)?;
        awaitables::sending(slf.py(), step, || Channel::WebSocket(slf.clone().unbind()), message)
    }

    /// Called with the application's task when it ends after having been suspended.
    #[pyo3(signature = (task, /))]
    fn task_done(slf: &Bound<'_, WebSocket>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let socket = slf.get();
        socket.finish(slf.py(), crate::asgi::error_of(task)?)?;
        socket.link.get().forget_if_over(socket.stream, socket.is_over()?)
    }
}

fn event<'py>(py: Python<'py>, kind: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyDict>> {
    let event = PyDict::new(py);
    event.set_item(intern!(py, "type"), kind)?;
    Ok(event)
}

/// `None`: text that is not UTF-8, which the front never sends.
fn payload_of(py: Python<'_>, bytes: &[u8], text: bool) -> Option<Py<PyAny>> {
    if !text {
        return Some(PyBytes::new(py, bytes).into_any().unbind());
    }
    let text = std::str::from_utf8(bytes).ok()?;
    Some(PyString::new(py, text).into_any().unbind())
}

fn gone() -> PyErr {
    ClientDisconnected::new_err("the WebSocket is closed")
}
