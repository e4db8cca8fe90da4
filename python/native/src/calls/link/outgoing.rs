//! Calls of ours on a link: from their first byte to their loss. Their answers are read in `frames`.

use super::super::call::Call;
use super::super::function::{Function, Target, busy};
use super::super::{put_message, raise, worker_lost};
use super::state::Outgoing;
use super::{CallLink, NOT_WANTED, RETRIES_MAX};
use crate::values::{Encoder, Passed};
use pyo3::exceptions::PyConnectionError;
use pyo3::intern;
use pyo3::prelude::*;
use std::time::Instant;
use wire::{FLAG_HANDLE, FLAG_KWARGS, Kind};

impl CallLink {
    /// Sends a call. Raises CannotCross for arguments that cannot cross; else what happens to it is told to the call itself.
    pub fn submit(slf: &Bound<'_, CallLink>, call: &Bound<'_, Call>, default_timeout_ms: u32) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let function = call.get().function.bind(py).get();
        let mut payload = Vec::with_capacity(128);
        let flags = put_target(py, function, &mut payload)?;
        let deadline = call.get().deadline(py, default_timeout_ms)?;
        let timeout_ms = deadline.map_or(0, |deadline| {
            // Rounded up: a call that is sent at once says all of its time.
            let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            u32::try_from(left).unwrap_or(u32::MAX).max(1)
        });
        payload[4..8].copy_from_slice(&timeout_ms.to_le_bytes());
        let kwargs = call.get().kwargs(py);
        let mut encoder = Encoder::new(&mut payload, slf);
        let encoded = encoder.arguments(call.get().args(py), kwargs);
        let passed = std::mem::take(&mut encoder.passed);
        let too_large = payload.len() > this.message_bytes_max;
        if encoded.is_err() || too_large {
            this.take_back(passed)?;
            encoded?;
            return Err(too_large_error(py, "the arguments", payload.len(), this.message_bytes_max));
        }
        let flags = flags | if kwargs.is_some() { FLAG_KWARGS } else { 0 };
        let total = function.timeout_ms(default_timeout_ms);
        let stream = {
            let mut state = this.state.get()?;
            if state.closed {
                drop(state);
                return Self::closed_under(slf, call);
            }
            if state.outgoing.len() >= this.in_flight_max {
                drop(state);
                return Err(raise(py, "ServiceBusy", &busy(function.name())));
            }
            let stream = state.next_stream;
            state.next_stream =
                stream.checked_add(2).ok_or_else(|| PyConnectionError::new_err("the link has no numbers left"))?;
            state.open_items = None;
            if let Target::Bound(binding) = &function.target {
                let number = state.number_of(binding);
                payload[..4].copy_from_slice(&number.to_le_bytes());
            }
            state.put(|out| put_message(out, Kind::Call, flags, stream, &payload));
            let entry = Outgoing {
                call: call.clone().unbind(),
                partial: None,
                deadline,
                timeout_ms: total,
                end: state.appended,
                queued: false,
                streaming: false,
            };
            state.outgoing.insert(stream, entry);
            let arm = match (&state.timer, deadline) {
                (_, None) => false,
                (Some((at, _)), Some(deadline)) => deadline < *at,
                (None, Some(_)) => true,
            };
            Self::leave_soon(slf, state)?;
            if arm {
                this.on_loop(py, slf, intern!(py, "arm"))?;
            }
            stream
        };
        if !call.get().sent(slf.clone().unbind(), stream)? {
            Self::cancel(slf, stream)?;
        }
        Ok(())
    }

    /// The link ended before the call was sent.
    fn closed_under(slf: &Bound<'_, CallLink>, call: &Bound<'_, Call>) -> PyResult<()> {
        let py = slf.py();
        let name = call.get().function.bind(py).get().name().to_owned();
        if !call.get().function.bind(py).get().may_move() {
            let message = format!("{name} cannot be called any more: the worker that owns it has ended");
            return call.get().fail(py, raise(py, "Released", &message));
        }
        Self::retry(slf, call)
    }

    fn retry(slf: &Bound<'_, CallLink>, call: &Bound<'_, Call>) -> PyResult<()> {
        call.get().lost()?;
        slf.get().hub.bind(slf.py()).call_method1(intern!(slf.py(), "retry"), (call,))?;
        Ok(())
    }

    /// What a message passes that is not sent.
    pub fn take_back(&self, passed: Passed) -> PyResult<()> {
        for lease in passed.leases {
            self.memory.link().take_back(lease);
        }
        for number in passed.handles {
            let dropped = self.state.get()?.given.release(number, 1);
            drop(dropped);
        }
        Ok(())
    }

    /// The caller does not want the answer any more.
    pub fn cancel(slf: &Bound<'_, CallLink>, stream: u32) -> PyResult<()> {
        let removed = slf.get().state.get()?.outgoing.remove(&stream);
        if removed.is_some() {
            Self::append(slf, |out| wire::put_frame(out, Kind::Cancel, 0, NOT_WANTED, stream, b""))?;
            Self::close_if_idle(slf)?;
        }
        Ok(())
    }

    /// Lets the producer of a stream send more.
    pub fn grant(slf: &Bound<'_, CallLink>, stream: u32, bytes: u32) -> PyResult<()> {
        Self::append(slf, |out| wire::put_credit(out, stream, bytes))
    }

    pub(super) fn lose(slf: &Bound<'_, CallLink>, entry: Outgoing, written: u64) -> PyResult<()> {
        let py = slf.py();
        let call = entry.call.bind(py);
        let function = call.get().function.bind(py).get();
        let not_started = written < entry.end || entry.queued;
        let again = (not_started || function.is_idempotent()) && !entry.streaming && function.may_move();
        if again && call.get().attempts()? <= RETRIES_MAX {
            return Self::retry(slf, call);
        }
        let peer = &slf.get().peer;
        let (known, started) = if not_started {
            ("the call had not begun", "no")
        } else {
            ("whether the call has had effects is not known", "unknown")
        };
        let message = format!("{peer} ended before it answered {}: {known}", function.name());
        call.get().fail(py, worker_lost(py, &message, started))
    }
}

/// The fixed part of a CALL's payload: its deadline and the number of a function that may have to be bound are still zero. The flags.
fn put_target(py: Python<'_>, function: &Function, payload: &mut Vec<u8>) -> PyResult<u8> {
    let (number, flag, member) = match &function.target {
        Target::Handle(handle, member) => (handle.number, FLAG_HANDLE, &**member),
        Target::Bound(_) => (0, 0, ""),
    };
    let length = u16::try_from(member.len()).map_err(|_| raise(py, "CallTargetNotFound", "a name of more than 65,535 bytes"))?;
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(member.as_bytes());
    Ok(function.call_flags() | flag)
}

/// A CannotCross for a message beyond the limit.
pub fn too_large_error(py: Python<'_>, what: &str, bytes: usize, max: usize) -> PyErr {
    let message = format!("{what}: {bytes} bytes; at most {max} can cross at once (message_bytes_max)");
    let make = || py.import("bireme.errors")?.call_method1("too_large", (message,));
    make().map_or_else(|error| error, PyErr::from_value)
}
