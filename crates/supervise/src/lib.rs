//! The life of worker processes: started, ready, replaced, stopped, and never left behind.
//!
//! [`machine`] decides, without processes, sockets, clocks or chance; the thread that [`Supervisor::start`] starts
//! carries it out. `supervise` never reads a request: it hands data links to the front's threads and hears from them
//! how a link ended.

mod backoff;
mod before_exec;
mod broker;
mod control;
mod guardian;
mod handle;
mod hello;
mod interpreter;
pub mod machine;
mod memory;
mod output;
mod process;
mod run_directory;
mod shell;
mod spec;
mod version;

pub use backoff::Backoff;
pub use before_exec::{die_with_this_thread, tie_to_this_thread};
pub use handle::{Access, Handle, ReloadError, ServiceStatus, StartError, Threads, WorkerStatus};
pub use interpreter::{Interpreter, Language, NotFound, Surroundings, find_node, find_python};
pub use machine::{Failure, Policy};
pub use run_directory::{RunDirectory, SOCKET_PATH_MAX};
pub use shell::Supervisor;
pub use spec::{CallsSpec, Plan, Purpose, ServiceSpec, SharedSpec, SpecError, WorkerSpec, find_runtime};
