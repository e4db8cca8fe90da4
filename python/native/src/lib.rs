//! What a Python worker does too often for Python: reading and writing frames, and turning them into
//! ASGI and WSGI calls and back.
//!
//! It never loads an application, never chooses an event loop and never reads the environment; that is
//! the Python side's work, in `python/src/bireme`.

mod asgi;
mod awaitables;
mod calls;
mod cell;
mod channel;
mod control;
mod environ;
mod exchange;
mod fields;
mod input;
mod memory;
mod pool;
mod pubsub;
mod reader;
mod response;
mod scope;
mod socket;
mod stream;
mod task;
mod topics;
mod values;
mod websocket;

use pyo3::prelude::*;

/// The module `bireme._native`.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<asgi::AsgiLink>()?;
    module.add_class::<awaitables::Done>()?;
    module.add_class::<awaitables::Receive>()?;
    module.add_class::<awaitables::Send>()?;
    module.add_class::<calls::link::CallLink>()?;
    module.add_class::<calls::listener::CallListener>()?;
    module.add_class::<calls::call::Call>()?;
    module.add_class::<calls::call::Items>()?;
    module.add_class::<calls::call::NextItem>()?;
    module.add_class::<calls::function::Function>()?;
    module.add_class::<calls::function::RemoteObject>()?;
    module.add_class::<calls::function::RemoteStream>()?;
    module.add_class::<calls::function::Route>()?;
    module.add_class::<calls::incoming::Target>()?;
    module.add_class::<calls::pool::CallPool>()?;
    module.add_class::<control::Control>()?;
    module.add_class::<exchange::Exchange>()?;
    module.add("ClientDisconnected", module.py().get_type::<exchange::ClientDisconnected>())?;
    module.add_class::<input::Input>()?;
    module.add_class::<memory::Memory>()?;
    module.add_function(wrap_pyfunction!(memory::configure_memory, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_sample, module)?)?;
    module.add_class::<pool::WsgiPool>()?;
    module.add_class::<pubsub::WsgiTopics>()?;
    module.add_function(wrap_pyfunction!(pubsub::topic_link, module)?)?;
    module.add_class::<websocket::WebSocket>()?;
    module.add_class::<response::Response>()?;
    module.add("ContractError", module.py().get_type::<response::ContractError>())?;
    module.add_function(wrap_pyfunction!(values::encode_value, module)?)?;
    module.add_function(wrap_pyfunction!(values::decode_value, module)?)?;
    module.add("PROTOCOL_VERSION", wire::PROTOCOL_VERSION)?;
    Ok(())
}
