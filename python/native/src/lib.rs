//! What a Python worker does too often for Python: reading and writing frames, and turning them into
//! ASGI and WSGI calls and back.
//!
//! It never loads an application, never chooses an event loop and never reads the environment; that is
//! the Python side's work, in `python/src/bireme`.

mod asgi;
mod awaitables;
mod cell;
mod control;
mod exchange;
mod fields;
mod scope;
mod socket;

use pyo3::prelude::*;

/// The module `bireme._native`.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<asgi::AsgiLink>()?;
    module.add_class::<awaitables::Done>()?;
    module.add_class::<awaitables::Receive>()?;
    module.add_class::<awaitables::Send>()?;
    module.add_class::<control::Control>()?;
    module.add_class::<exchange::Exchange>()?;
    module.add("ClientDisconnected", module.py().get_type::<exchange::ClientDisconnected>())?;
    module.add("PROTOCOL_VERSION", wire::PROTOCOL_VERSION)?;
    Ok(())
}
