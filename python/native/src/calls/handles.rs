//! What stays where it is: the objects that were given a number on a link, and the stand-ins for the other side's.

use super::link::CallLink;
use super::{NumberMap, raise};
use crate::calls::function::{Function, RemoteObject, RemoteStream};
use crate::memory::Account;
use crate::values::{Handles, Reference};
use pyo3::prelude::*;
use std::sync::Arc;

/// Objects of ours that the other side holds, by number.
#[derive(Default)]
pub struct Given {
    objects: NumberMap<u32, Entry>,
    by_address: NumberMap<usize, u32>,
    newest: u32,
}

/// An object and its target.
type Dropped = (Py<PyAny>, Option<Py<PyAny>>);

struct Entry {
    object: Py<PyAny>,
    /// What a call of it does, once it has been asked for.
    target: Option<Py<PyAny>>,
    is_instance: bool,
    times: u32,
}

impl Given {
    /// Gives the object a number, or counts one more use of it.
    pub fn give(&mut self, object: &Bound<'_, PyAny>, is_instance: bool) -> u32 {
        let address = object.as_ptr() as usize;
        let number = *self.by_address.entry(address).or_insert_with(|| {
            self.newest += 1;
            self.newest
        });
        let entry = self.objects.entry(number).or_insert_with(|| Entry {
            object: object.clone().unbind(),
            target: None,
            is_instance,
            times: 0,
        });
        entry.times += 1;
        number
    }

    /// The number of an instance that was given before, counted once more.
    pub fn give_again(&mut self, object: &Bound<'_, PyAny>) -> Option<u32> {
        let number = *self.by_address.get(&(object.as_ptr() as usize))?;
        let entry = self.objects.get_mut(&number).filter(|entry| entry.is_instance)?;
        entry.times += 1;
        Some(number)
    }

    /// The object, and its target if it is known.
    pub fn get(&self, py: Python<'_>, number: u32) -> Option<(Py<PyAny>, Option<Py<PyAny>>)> {
        let entry = self.objects.get(&number)?;
        Some((entry.object.clone_ref(py), entry.target.as_ref().map(|target| target.clone_ref(py))))
    }

    /// Remembers what a call of the object does.
    pub fn set_target(&mut self, number: u32, target: Py<PyAny>) -> Option<Py<PyAny>> {
        self.objects.get_mut(&number)?.target.replace(target)
    }

    /// The other side lets go of it as often as `times`. What has to be dropped, outside of any lock; `Err`: it never had it.
    pub fn release(&mut self, number: u32, times: u32) -> Result<Option<Dropped>, ()> {
        let entry = self.objects.get_mut(&number).ok_or(())?;
        entry.times = entry.times.checked_sub(times).ok_or(())?;
        if entry.times > 0 {
            return Ok(None);
        }
        let entry = self.objects.remove(&number).ok_or(())?;
        self.by_address.remove(&(entry.object.as_ptr() as usize));
        Ok(Some((entry.object, entry.target)))
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }
}

/// The stand-in's hold on an object of the other side; shared by what was made from it.
pub struct Handle {
    pub link: Py<CallLink>,
    pub number: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // An interpreter that ends drops what it holds without us.
        Python::try_attach(|py| self.link.get().let_go(py, &self.link, self.number));
    }
}

impl Handles for Bound<'_, CallLink> {
    fn memory(&self) -> Option<&Account> {
        Some(self.get().memory())
    }

    fn known(&self, object: &Bound<'_, PyAny>) -> PyResult<Option<Reference>> {
        let handle = match object.cast::<RemoteObject>() {
            Ok(object) => Some(object.get().handle()),
            Err(_) => object.cast::<Function>().ok().and_then(|function| function.get().whole_handle()),
        };
        if let Some(handle) = handle {
            if handle.link.is(self) {
                return Ok(Some(Reference::Theirs(handle.number)));
            }
            return Ok(None);
        }
        let number = self.get().state()?.given.give_again(object);
        Ok(number
            .map(|number| Reference::Given(number, object.get_type().name().map(|name| name.to_string()).unwrap_or_default())))
    }

    fn give(&self, object: &Bound<'_, PyAny>, kind: &str) -> PyResult<u32> {
        Ok(self.get().state()?.given.give(object, kind == "object"))
    }

    fn stand_in<'py>(&self, py: Python<'py>, handle: u32, kind: &str, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.get().hold()?;
        let handle = Arc::new(Handle { link: self.clone().unbind(), number: handle });
        Ok(match kind {
            "function" => Bound::new(py, Function::of_handle(handle, "", name))?.into_any(),
            "stream" => Bound::new(py, RemoteStream::new(handle, name))?.into_any(),
            _ => Bound::new(py, RemoteObject::new(handle, name))?.into_any(),
        })
    }

    fn own<'py>(&self, py: Python<'py>, handle: u32) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.get().state()?.given.get(py, handle).map(|(object, _)| object.into_bound(py)))
    }
}

/// The object of a handle that a call names.
pub fn given_target<'py>(link: &Bound<'py, CallLink>, number: u32) -> PyResult<(Bound<'py, PyAny>, Option<Py<PyAny>>)> {
    let py = link.py();
    match link.get().state()?.given.get(py, number) {
        Some((object, target)) => Ok((object.into_bound(py), target)),
        None => Err(raise(py, "Released", "the called object has been released")),
    }
}
