//! A cell for state that many callers of one thread share.

use pyo3::PyResult;
use pyo3::exceptions::PyRuntimeError;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// State that is only touched while holding the GIL, and never while Python code runs.
///
/// The lock is therefore free whenever it is asked for, with one exception: a finalizer that the
/// interpreter runs in the middle of an allocation and that calls back into us. That caller gets a Python
/// error, where blocking would be a deadlock.
pub struct Cell<T>(Mutex<T>);

impl<T> Cell<T> {
    pub fn new(value: T) -> Cell<T> {
        Cell(Mutex::new(value))
    }

    /// The state. Let go of it before calling Python.
    pub fn get(&self) -> PyResult<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(PyRuntimeError::new_err("bireme: called again from a finalizer while handling a call"))
            }
        }
    }
}
