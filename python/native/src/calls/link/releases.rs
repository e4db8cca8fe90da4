//! Objects and memory of the other side that we hold, and that finalizers let go of: at any time, on any thread.

use super::super::call_soon_threadsafe;
use super::CallLink;
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use wire::Kind;

impl CallLink {
    /// A stand-in for an object of theirs has come to be.
    pub fn hold(&self) -> PyResult<()> {
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A stand-in is gone. May be called by a finalizer, at any time and from any thread.
    pub fn let_go(&self, py: Python<'_>, slf: &Py<CallLink>, number: u32) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.released.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.release_soon(py, slf.bind(py));
    }

    pub(super) fn release_soon(&self, py: Python<'_>, slf: &Bound<'_, CallLink>) {
        let scheduled = self.release_scheduled.swap(true, Ordering::Relaxed);
        // The turn that runs writes it at its end, with what else came of it.
        let at_turn_end = || self.is_own_thread() && self.state.get().is_ok_and(|state| state.in_turn);
        if !scheduled && !at_turn_end() {
            let schedule = || call_soon_threadsafe(self.event_loop.bind(py), (slf.getattr(intern!(py, "flush"))?,));
            // A loop that has ended took the link with it.
            let _ = schedule();
        }
    }

    pub(super) fn collect_released(&self) -> PyResult<()> {
        if self.release_scheduled.swap(false, Ordering::Relaxed) {
            let released = std::mem::take(&mut *self.released.lock().unwrap_or_else(PoisonError::into_inner));
            let mut state = self.state.get()?;
            state.open_items = None;
            for number in released {
                let payload = [number.to_le_bytes(), 1u32.to_le_bytes()].concat();
                state.put(|out| wire::put_frame(out, Kind::Release, 0, 0, 0, &payload));
            }
            if let Some(leases) = self.memory.link().returns() {
                state.put(|out| wire::put_frame(out, Kind::Return, 0, 0, 0, &leases));
            }
        }
        Ok(())
    }
}
