//! Python objects to CBOR.

use super::{DEPTH_MAX, Handles, Reference, cannot_cross, rare, tags};
use crate::memory::{Crossing, Memory};
use pyo3::exceptions::PyRecursionError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};
use std::fmt::Write;

/// Appends values to a message.
///
/// After an error the message is of no use, and what [`Encoder::passed`] lists has to be taken back.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    handles: &'a dyn Handles,
    /// The containers that are being encoded, outermost first, by address.
    within: Vec<usize>,
    /// The way to the value that could not be encoded, innermost step first.
    path: Vec<String>,
    /// What the message passes to the other side.
    pub passed: Passed,
}

/// What stays ours and the other side may use.
#[derive(Default)]
pub struct Passed {
    /// Handles that were given, or counted once more.
    pub handles: Vec<u32>,
    /// Leases of shared memory.
    pub leases: Vec<u32>,
}

/// Why a value was not encoded: an error that is to be raised as it is, or a type that cannot cross.
enum Refusal {
    Type(String),
    Error(PyErr),
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Refusal {
        Refusal::Error(error)
    }
}

type Encoded = Result<(), Refusal>;

impl<'a> Encoder<'a> {
    pub fn new(out: &'a mut Vec<u8>, handles: &'a dyn Handles) -> Encoder<'a> {
        Encoder { out, handles, within: Vec::new(), path: Vec::new(), passed: Passed::default() }
    }

    /// Appends one value. Raises CannotCross with the path to what cannot cross.
    pub fn value(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.rooted(value.py(), "result", |encoder| encoder.any(value))
    }

    /// Appends one item of a stream.
    pub fn item(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.rooted(value.py(), "item", |encoder| encoder.any(value))
    }

    /// Appends the arguments of a call, and its keyword arguments if there are any.
    pub fn arguments(&mut self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        self.rooted(args.py(), "args", |encoder| encoder.array(args.iter(), args.len()))?;
        match kwargs {
            Some(kwargs) => self.rooted(args.py(), "kwargs", |encoder| encoder.dict(kwargs)),
            None => Ok(()),
        }
    }

    /// Appends the number of an instance that stays here.
    pub fn object(&mut self, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        self.rooted(instance.py(), "result", |encoder| {
            let name = instance.get_type().name()?.to_string();
            encoder.handle(instance, "object", &name)
        })
    }

    fn rooted(&mut self, py: Python<'_>, root: &str, encode: impl FnOnce(&mut Self) -> Encoded) -> PyResult<()> {
        self.within.clear();
        self.path.clear();
        match encode(self) {
            Ok(()) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::Type(what)) => {
                let steps: String = self.path.iter().rev().map(String::as_str).collect();
                Err(cannot_cross(py, &format!("{root}{steps}: {what}")))
            }
        }
    }

    fn any(&mut self, value: &Bound<'_, PyAny>) -> Encoded {
        if let Ok(text) = value.cast_exact::<PyString>() {
            self.text(text)
        } else if let Ok(number) = value.cast_exact::<PyInt>() {
            self.integer(number)
        } else if value.is_none() {
            self.out.push(0xf6);
            Ok(())
        } else if let Ok(number) = value.cast_exact::<PyFloat>() {
            self.float(number.value());
            Ok(())
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            self.out.push(if truth.is_true() { 0xf5 } else { 0xf4 });
            Ok(())
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.nested(value, |encoder| encoder.dict(dict))
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.nested(value, |encoder| encoder.array(list.iter(), list.len()))
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.nested(value, |encoder| encoder.array(tuple.iter(), tuple.len()))
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.bytes(bytes.as_bytes());
            Ok(())
        } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
            self.bytes(&bytes.to_vec());
            Ok(())
        } else if let Ok(set) = value.cast_exact::<PySet>() {
            let items: Vec<_> = set.iter().collect();
            self.set(value, items)
        } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            let items: Vec<_> = set.iter().collect();
            self.set(value, items)
        } else {
            self.uncommon(value)
        }
    }

    /// Types that `bireme.values` knows, and what stays here and crosses as a number.
    fn uncommon(&mut self, value: &Bound<'_, PyAny>) -> Encoded {
        let py = value.py();
        if let Ok(memory) = value.cast_exact::<Memory>() {
            self.memory(memory.get());
            return Ok(());
        }
        match self.handles.known(value)? {
            Some(Reference::Given(number, name)) => {
                self.passed.handles.push(number);
                return self.reference(number, "object", &name);
            }
            Some(Reference::Theirs(number)) => {
                self.head(6, tags::OWN_HANDLE);
                self.head(4, 1);
                self.head(0, u64::from(number));
                return Ok(());
            }
            None => {}
        }
        self.nested(value, |encoder| {
            let form = rare(py)?.reduce.bind(py).call1((value,))?;
            if form.is_none() {
                return Err(Refusal::Type(format!("{} cannot cross", type_name(value))));
            }
            let form = form.cast_into::<PyTuple>().map_err(PyErr::from)?;
            let (first, rest) = (form.get_item(0)?, form.get_item(1)?);
            if first.is_none() {
                return encoder.any(&rest);
            }
            if let Ok(kind) = first.cast::<PyString>() {
                let name = rest.extract::<String>()?;
                return encoder.handle(value, kind.to_str()?, &name);
            }
            let tag: u64 = first.extract()?;
            encoder.head(6, tag);
            match rest.cast_exact::<PyDict>() {
                // The one tag whose map is written as it is, whatever its keys.
                Ok(map) => encoder.pairs(map.iter().collect()),
                Err(_) => encoder.any(&rest),
            }
        })
    }

    fn handle(&mut self, object: &Bound<'_, PyAny>, kind: &str, name: &str) -> Encoded {
        let number = self.handles.give(object, kind)?;
        self.passed.handles.push(number);
        self.reference(number, kind, name)
    }

    fn reference(&mut self, number: u32, kind: &str, name: &str) -> Encoded {
        self.head(6, tags::HANDLE);
        self.head(4, 3);
        self.head(0, u64::from(number));
        self.string(kind);
        self.string(name);
        Ok(())
    }

    /// Guards against cycles and depth while a container is encoded.
    fn nested(&mut self, container: &Bound<'_, PyAny>, encode: impl FnOnce(&mut Self) -> Encoded) -> Encoded {
        if self.within.len() >= DEPTH_MAX {
            let address = container.as_ptr() as usize;
            let what = if self.within.contains(&address) { "a cycle" } else { "more than 200 values in one another" };
            return Err(Refusal::Type(format!("{what} cannot cross")));
        }
        self.within.push(container.as_ptr() as usize);
        let encoded = encode(self);
        self.within.pop();
        match encoded {
            // Raised by an object's own code, such as a property, in a cycle that we can't see.
            Err(Refusal::Error(error)) if error.is_instance_of::<PyRecursionError>(container.py()) => {
                Err(Refusal::Type(format!("{} cannot cross: {error}", type_name(container))))
            }
            other => other,
        }
    }

    fn array<'py>(&mut self, items: impl Iterator<Item = Bound<'py, PyAny>>, length: usize) -> Encoded {
        self.head(4, length as u64);
        let mut encoded = 0;
        for item in items {
            if let Err(refusal) = self.any(&item) {
                self.step(&refusal, || format!("[{encoded}]"));
                return Err(refusal);
            }
            encoded += 1;
        }
        unchanged(encoded == length)
    }

    fn set(&mut self, set: &Bound<'_, PyAny>, items: Vec<Bound<'_, PyAny>>) -> Encoded {
        self.head(6, tags::SET);
        let length = items.len();
        self.nested(set, |encoder| encoder.array(items.into_iter(), length))
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>) -> Encoded {
        // Collected first: while values are encoded, code of their types may run and change the dict.
        let pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = dict.iter().collect();
        if !pairs.iter().all(|(key, _)| key.is_instance_of::<PyString>()) {
            self.head(6, tags::MAP);
        }
        self.pairs(pairs)
    }

    fn pairs(&mut self, pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>) -> Encoded {
        self.head(5, pairs.len() as u64);
        for (key, value) in pairs {
            if let Err(refusal) = self.any(&key) {
                self.step(&refusal, || format!("{{key {}}}", shown(&key)));
                return Err(refusal);
            }
            if let Err(refusal) = self.any(&value) {
                self.step(&refusal, || step_of_key(&key));
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn step(&mut self, refusal: &Refusal, step: impl FnOnce() -> String) {
        if matches!(refusal, Refusal::Type(_)) {
            self.path.push(step());
        }
    }

    fn text(&mut self, text: &Bound<'_, PyString>) -> Encoded {
        if let Ok(text) = text.to_str() {
            self.string(text);
            return Ok(());
        }
        // A lone surrogate: WTF-8 is UTF-8 that has a form for those, too.
        let encoded = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
        self.head(6, tags::WTF8);
        self.octets(encoded.cast_into::<PyBytes>().map_err(PyErr::from)?.as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Bytes of the application: in shared memory, if that is worth it.
    fn bytes(&mut self, bytes: &[u8]) {
        match self.handles.memory().and_then(|account| account.copy(bytes)) {
            Some(reference) => self.crossing(&Crossing::Lent(reference)),
            None => self.octets(bytes),
        }
    }

    fn memory(&mut self, memory: &Memory) {
        match self.handles.memory().and_then(|account| account.lend(memory)) {
            Some(crossing) => self.crossing(&crossing),
            None => self.octets(&memory.to_vec()),
        }
    }

    fn crossing(&mut self, crossing: &Crossing) {
        self.head(6, tags::MEMORY);
        match crossing {
            Crossing::Home(numbers) => {
                self.head(4, 3);
                numbers.iter().for_each(|number| self.head(0, *number));
            }
            Crossing::Lent(reference) => {
                self.passed.leases.push(reference.lease);
                let address = reference.address;
                self.head(4, 8);
                for number in [reference.lease, address.pid, address.descriptor] {
                    self.head(0, u64::from(number));
                }
                for number in [address.id, address.bytes, reference.offset, reference.bytes] {
                    self.head(0, number);
                }
                self.out.push(if reference.shared { 0xf5 } else { 0xf4 });
            }
        }
    }

    fn octets(&mut self, bytes: &[u8]) {
        self.head(2, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn float(&mut self, number: f64) {
        let number = if number.is_nan() { f64::from_bits(0x7ff8 << 48) } else { number };
        self.out.push(0xfb);
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    fn integer(&mut self, number: &Bound<'_, PyInt>) -> Encoded {
        match number.extract::<i64>() {
            Ok(number) if number >= 0 => self.head(0, number as u64),
            Ok(number) => self.head(1, !number as u64),
            Err(_) => return self.long_integer(number),
        }
        Ok(())
    }

    fn long_integer(&mut self, number: &Bound<'_, PyInt>) -> Encoded {
        let negative = number.lt(0)?;
        let magnitude = if negative { number.call_method0("__invert__")? } else { number.clone().into_any() };
        if let Ok(magnitude) = magnitude.extract::<u64>() {
            self.head(u8::from(negative), magnitude);
            return Ok(());
        }
        let bits: usize = magnitude.call_method0("bit_length")?.extract()?;
        let bytes = magnitude.call_method1("to_bytes", (bits.div_ceil(8), "big"))?;
        self.head(6, if negative { tags::NEGATIVE_BIGNUM } else { tags::BIGNUM });
        self.octets(bytes.cast_into::<PyBytes>().map_err(PyErr::from)?.as_bytes());
        Ok(())
    }

    /// Major type and argument in the shortest form.
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        if argument < 24 {
            self.out.push(major | argument as u8);
        } else if let Ok(argument) = u8::try_from(argument) {
            self.out.extend_from_slice(&[major | 24, argument]);
        } else if let Ok(argument) = u16::try_from(argument) {
            self.out.push(major | 25);
            self.out.extend_from_slice(&argument.to_be_bytes());
        } else if let Ok(argument) = u32::try_from(argument) {
            self.out.push(major | 26);
            self.out.extend_from_slice(&argument.to_be_bytes());
        } else {
            self.out.push(major | 27);
            self.out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

fn unchanged(is: bool) -> Encoded {
    if is { Ok(()) } else { Err(Refusal::Type("a list that changes while it is sent cannot cross".to_owned())) }
}

/// `_thread.lock`, or `int` for what needs no module.
fn type_name(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type();
    let name = kind.qualname().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
    match kind.module() {
        Ok(module) if module != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}

/// `.name` for a key that is one, else `["the key"]`.
fn step_of_key(key: &Bound<'_, PyAny>) -> String {
    if let Ok(text) = key.extract::<&str>()
        && !text.is_empty()
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_numeric())
    {
        return format!(".{text}");
    }
    format!("[{}]", shown(key))
}

/// A key as it would be written; strings with the quotes that both languages know.
fn shown(key: &Bound<'_, PyAny>) -> String {
    let mut shown = String::new();
    let text = match key.extract::<&str>() {
        Ok(text) => format!("{text:?}"),
        Err(_) => key.repr().map_or_else(|_| "…".to_owned(), |repr| repr.to_string_lossy().into_owned()),
    };
    let _ = write!(shown, "{}", text.chars().take(40).collect::<String>());
    shown
}
