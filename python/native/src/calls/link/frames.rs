//! What each frame of the other side does.

use super::super::incoming;
use super::super::items::Sending;
use super::state::Named;
use super::{BINDINGS_MAX, CallLink, Fault, fault};
use crate::memory;
use crate::values::{DecodeError, Decoder, Encoder, NoHandles};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::Ordering;
use wire::{FLAG_PART, FLAG_STREAM, Frame, Kind, MARK_IDEMPOTENT};

impl CallLink {
    pub(super) fn serve_frame(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        let py = slf.py();
        if self.state.get()?.expects_hello {
            return self.hello(slf, frame);
        }
        if frame.stream == 0 {
            return match frame.kind {
                Kind::Bind => self.bind(frame.payload),
                Kind::Mark => self.on_mark(frame.payload),
                Kind::Release => self.release(slf, frame.payload),
                Kind::Memory => self.on_memory(slf, frame),
                Kind::Return => self.on_return(slf, frame.payload),
                Kind::Forget => {
                    self.memory.link().on_forget(frame.payload).map_err(|violation| Fault::Protocol(violation.0.to_owned()))
                }
                kind => fault(format!("{kind:?} on stream 0")),
            };
        }
        let theirs = frame.stream.is_multiple_of(2) == self.connector;
        if frame.kind == Kind::Call {
            let mut state = self.state.get()?;
            if !theirs || frame.stream <= state.newest_theirs {
                return fault(format!("CALL with the stream id {} after {}", frame.stream, state.newest_theirs));
            }
            state.newest_theirs = frame.stream;
            drop(state);
            return incoming::begin(slf, frame);
        }
        let opened = {
            let state = self.state.get()?;
            if theirs { frame.stream <= state.newest_theirs } else { frame.stream < state.next_stream }
        };
        if !opened {
            return fault(format!("{:?} for stream {}, which was never opened", frame.kind, frame.stream));
        }
        match (frame.kind, theirs) {
            (Kind::Cancel, true) => Ok(incoming::cancel(slf, frame.stream, frame.aux)?),
            (Kind::Credit, true) => {
                let sending = self.state.get()?.incoming.get(&frame.stream).and_then(|call| call.sending(py));
                let bytes = wire::credit(frame.payload)?;
                Ok(sending.map_or(Ok(()), |sending| Sending::grant(sending.bind(py), bytes))?)
            }
            (Kind::Data, true) => incoming::more(slf, frame),
            (Kind::Data | Kind::Result | Kind::Error, false) => self.answer(slf, frame),
            (Kind::Item, false) if frame.flags & FLAG_PART == 0 => self.items(slf, frame.stream, frame.ends(), frame.payload),
            (Kind::Item, false) => self.answer(slf, frame),
            (Kind::Queued | Kind::Started, false) => {
                if let Some(entry) = self.state.get()?.outgoing.get_mut(&frame.stream) {
                    entry.queued = frame.kind == Kind::Queued;
                }
                Ok(())
            }
            (kind, _) => fault(format!("{kind:?} in the wrong direction")),
        }
    }

    fn hello(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        if frame.kind != Kind::Hello || frame.stream != 0 {
            return fault(format!("{:?} before HELLO", frame.kind));
        }
        let text = std::str::from_utf8(frame.payload).map_err(|_| Fault::Protocol("HELLO is not UTF-8".to_owned()))?;
        let welcome = self.hub.bind(slf.py()).call_method1(intern!(slf.py(), "is_welcome"), (text, frame.aux))?;
        let Ok(hello) = welcome.cast::<PyDict>() else {
            return fault("HELLO with another version, or without the secret");
        };
        self.state.get()?.expects_hello = false;
        if let Some(sample) = hello.get_item("memory")? {
            self.put_memory(slf, &sample, memory::memory_sample(slf.py())?)?;
        }
        Ok(())
    }

    /// Says whether the other side's sample can be opened here, and where ours is.
    fn put_memory(&self, slf: &Bound<'_, CallLink>, theirs: &Bound<'_, PyAny>, ours: Option<Bound<'_, PyDict>>) -> PyResult<()> {
        let can_open = memory::sample_of(theirs).is_some_and(|sample| self.memory.link().can_open(sample));
        let mut payload = Vec::new();
        if let Some(ours) = ours {
            Encoder::new(&mut payload, &NoHandles).value(&ours)?;
        }
        Self::append(slf, |out| wire::put_frame(out, Kind::Memory, 0, u16::from(can_open), 0, &payload))
    }

    fn on_memory(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        let py = slf.py();
        self.memory.set_lends(frame.aux == 1);
        if !std::mem::take(&mut self.state.get()?.expects_memory) {
            return Ok(());
        }
        let waited = std::mem::take(&mut self.state.get()?.sets_up);
        let theirs = if frame.payload.is_empty() {
            py.None().into_bound(py)
        } else {
            match Decoder::new(py, frame.payload, &NoHandles).value() {
                Ok(theirs) => theirs,
                Err(DecodeError::Malformed(what)) => return fault(what),
                Err(DecodeError::Unusable(error)) => return Err(error.into()),
            }
        };
        self.put_memory(slf, &theirs, None)?;
        if waited {
            self.hub.bind(py).call_method1(intern!(py, "link_ready"), (slf,))?;
        }
        Ok(())
    }

    fn on_return(&self, slf: &Bound<'_, CallLink>, payload: &[u8]) -> Result<(), Fault> {
        let memory = self.memory.link();
        memory.on_return(payload).map_err(|violation| Fault::Protocol(violation.0.to_owned()))?;
        if let Some(ids) = memory.forgets() {
            Self::append(slf, |out| wire::put_frame(out, Kind::Forget, 0, 0, 0, &ids))?;
        }
        Ok(())
    }

    fn bind(&self, payload: &[u8]) -> Result<(), Fault> {
        let Some((number, form)) = payload.split_first_chunk::<4>() else { return fault("BIND without a number") };
        let mut state = self.state.get()?;
        if state.bindings.len() >= BINDINGS_MAX {
            return fault("BIND beyond 65,536 functions");
        }
        let before = state.bindings.insert(u32::from_le_bytes(*number), Named::Form(form.to_vec()));
        drop(state);
        if before.is_some() { fault("BIND of a number in use") } else { Ok(()) }
    }

    /// What a number of the peer's stands for; and whether it had to be imported for the call of this stream, whose caller has
    /// been told that it waits.
    pub fn target_of<'py>(
        &self,
        slf: &Bound<'py, CallLink>,
        number: u32,
        stream: u32,
    ) -> Result<PyResult<(Bound<'py, PyAny>, bool)>, Fault> {
        let py = slf.py();
        let form = match self.state.get()?.bindings.get(&number) {
            Some(Named::Target(target)) => return Ok(Ok((target.clone_ref(py).into_bound(py), false))),
            Some(Named::Form(form)) => form.clone(),
            None => return fault(format!("CALL of {number}, which was never bound")),
        };
        let form = match Decoder::new(py, &form, slf).value() {
            Ok(form) => form,
            Err(DecodeError::Malformed(what)) => return fault(what),
            Err(DecodeError::Unusable(error)) => return Ok(Err(error)),
        };
        let hub = self.hub.bind(py);
        let find = || {
            let is_loaded = hub.call_method1(intern!(py, "is_loaded"), (&form,))?.is_truthy()?;
            if !is_loaded {
                self.tell(slf, Kind::Queued, stream)?;
            }
            Ok((hub.call_method1(intern!(py, "target"), (form,))?, !is_loaded))
        };
        let (target, waited) = match find() {
            Ok(found) => found,
            // A later call tries again: the file may be there then.
            Err(error) => return Ok(Err(error)),
        };
        let before = self.state.get()?.bindings.insert(number, Named::Target(target.clone().unbind()));
        drop(before);
        if target.cast::<incoming::Target>().is_ok_and(|target| target.get().idempotent) {
            self.mark(slf, number)?;
        }
        Ok(Ok((target, waited)))
    }

    /// Says QUEUED or STARTED of a call. It leaves before anything else happens here, and perhaps ends this process.
    pub fn tell(&self, slf: &Bound<'_, CallLink>, what: Kind, stream: u32) -> PyResult<()> {
        Self::append(slf, |out| wire::put_frame(out, what, 0, 0, stream, b""))?;
        self.flush_early()
    }

    /// Says that calls of what the peer has bound may be made twice. It leaves before any of it runs.
    fn mark(&self, slf: &Bound<'_, CallLink>, number: u32) -> PyResult<()> {
        let payload = [number.to_le_bytes(), MARK_IDEMPOTENT.to_le_bytes()].concat();
        Self::append(slf, |out| wire::put_frame(out, Kind::Mark, 0, 0, 0, &payload))?;
        self.flush_early()
    }

    /// What the peer says of a function that we call.
    fn on_mark(&self, payload: &[u8]) -> Result<(), Fault> {
        let &[n0, n1, n2, n3, b0, b1, b2, b3] = payload else { return fault("MARK of the wrong size") };
        let (number, bits) = (u32::from_le_bytes([n0, n1, n2, n3]), u32::from_le_bytes([b0, b1, b2, b3]));
        let state = self.state.get()?;
        let Some(binding) = number.checked_sub(1).and_then(|at| state.bound_as.get(at as usize)) else {
            return fault("MARK of what was never bound");
        };
        binding.idempotent.store(bits & MARK_IDEMPOTENT != 0, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, slf: &Bound<'_, CallLink>, payload: &[u8]) -> Result<(), Fault> {
        let (Some(number), Some(times)) = (payload.first_chunk::<4>(), payload.last_chunk::<4>()) else {
            return fault("RELEASE of the wrong size");
        };
        if payload.len() != 8 {
            return fault("RELEASE of the wrong size");
        }
        let dropped = self.state.get()?.given.release(u32::from_le_bytes(*number), u32::from_le_bytes(*times));
        match dropped {
            Ok(dropped) => drop(dropped),
            Err(()) => return fault("RELEASE of what is not held"),
        }
        Ok(Self::close_if_idle(slf)?)
    }

    /// RESULT, ERROR, or DATA after one of them.
    fn answer(&self, slf: &Bound<'_, CallLink>, frame: &Frame<'_>) -> Result<(), Fault> {
        let whole = {
            let mut state = self.state.get()?;
            // Without a call, nobody waits for it any more.
            let Some(entry) = state.outgoing.get_mut(&frame.stream) else { return Ok(()) };
            let partial = match (frame.kind, entry.partial.take()) {
                (Kind::Data, Some((kind, flags, mut bytes))) => {
                    bytes.extend_from_slice(frame.payload);
                    Some((kind, flags, bytes))
                }
                (Kind::Data, None) => return fault("DATA without a beginning"),
                (_, Some(_)) => return fault(format!("{:?} within a message", frame.kind)),
                (kind, None) if entry.streaming && !matches!(kind, Kind::Error | Kind::Item) => {
                    return fault(format!("{kind:?} within a stream"));
                }
                (_, None) if frame.ends() => None,
                (kind, None) => Some((kind, frame.flags, frame.payload.to_vec())),
            };
            if let Some((kind, flags, bytes)) = partial {
                if bytes.len() > self.message_bytes_max {
                    return fault(format!("a message of more than {} bytes", self.message_bytes_max));
                }
                if !frame.ends() {
                    entry.partial = Some((kind, flags, bytes));
                    return Ok(());
                }
                Some((kind, flags, bytes))
            } else {
                None
            }
        };
        match whole {
            Some((kind, flags, bytes)) => self.answered(slf, frame.stream, kind, flags, &bytes),
            None => self.answered(slf, frame.stream, frame.kind, frame.flags, frame.payload),
        }
    }

    fn answered(&self, slf: &Bound<'_, CallLink>, stream: u32, kind: Kind, flags: u8, payload: &[u8]) -> Result<(), Fault> {
        let py = slf.py();
        if kind == Kind::Item {
            return self.items(slf, stream, false, payload);
        }
        if kind == Kind::Result && flags & FLAG_STREAM != 0 {
            let call = {
                let mut state = self.state.get()?;
                let Some(entry) = state.outgoing.get_mut(&stream) else { return Ok(()) };
                entry.streaming = true;
                entry.call.clone_ref(py)
            };
            return Ok(call.get().begin_stream(py)?);
        }
        let mut decoder = Decoder::new(py, payload, slf);
        let value = decoder.value().and_then(|value| decoder.end().map(|()| value));
        let value = match value {
            Err(DecodeError::Malformed(what)) => return fault(what),
            Err(DecodeError::Unusable(error)) => Err(error),
            Ok(value) => Ok(value),
        };
        let value = match (kind, value) {
            (Kind::Error, Ok(form)) => Err(rebuild(py, &form)?),
            (_, value) => value,
        };
        let Some(entry) = self.state.get()?.outgoing.remove(&stream) else { return Ok(()) };
        let call = entry.call.bind(py).get();
        match value {
            Ok(value) => call.succeed(py, value.unbind())?,
            Err(error) => call.fail(py, error)?,
        }
        Ok(Self::close_if_idle(slf)?)
    }

    fn items(&self, slf: &Bound<'_, CallLink>, stream: u32, ended: bool, payload: &[u8]) -> Result<(), Fault> {
        let py = slf.py();
        let call = {
            let state = self.state.get()?;
            let Some(entry) = state.outgoing.get(&stream) else { return Ok(()) };
            if !entry.streaming {
                return fault("ITEM before a RESULT with the flag STREAM");
            }
            entry.call.clone_ref(py)
        };
        let mut items = Vec::new();
        let mut decoder = Decoder::new(py, payload, slf);
        let mut failed = None;
        while !decoder.is_at_end() {
            let begin = decoder.position();
            match decoder.value() {
                Ok(item) => items.push((item.unbind(), (decoder.position() - begin) as u32)),
                Err(DecodeError::Malformed(what)) => return fault(what),
                Err(DecodeError::Unusable(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        call.get().deliver(py, items, ended)?;
        if let Some(error) = failed {
            call.get().fail(py, error)?;
            Self::cancel(slf, stream)?;
        } else if ended {
            let removed = self.state.get()?.outgoing.remove(&stream);
            drop(removed);
            Self::close_if_idle(slf)?;
        }
        Ok(())
    }
}

/// The exception that an ERROR stands for.
fn rebuild<'py>(py: Python<'py>, form: &Bound<'py, PyAny>) -> Result<PyErr, Fault> {
    match py.import(intern!(py, "bireme.errors"))?.call_method1(intern!(py, "rebuild"), (form,)) {
        Ok(error) => Ok(PyErr::from_value(error)),
        Err(error) if error.is_instance_of::<PyValueError>(py) => fault(error.value(py).to_string()),
        Err(error) => Err(error.into()),
    }
}
