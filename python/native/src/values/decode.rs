//! CBOR to Python objects. Everything here checks before it believes: the bytes come from another process.

use super::{DEPTH_MAX, Handles, cannot_cross, rare, tags};
use crate::memory::Memory;
use ::memory::{Address, BorrowError, Reference, Violation};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PySet, PyString, PyTuple};

/// Why bytes did not become a value.
#[derive(Debug)]
pub enum DecodeError {
    /// They are none; the link ends.
    Malformed(String),
    /// They are one that this process cannot make, for want of a package or because it cannot be hashed.
    Unusable(PyErr),
}

impl DecodeError {
    /// As an exception.
    pub fn into_py_err(self) -> PyErr {
        match self {
            DecodeError::Malformed(what) => PyValueError::new_err(what),
            DecodeError::Unusable(error) => error,
        }
    }
}

type Decoded<T> = Result<T, DecodeError>;

fn malformed<T>(what: &str) -> Decoded<T> {
    Err(DecodeError::Malformed(what.to_owned()))
}

/// Of what Python raises, that which says that the value is wrong, and that which says that it cannot be made here.
fn judged(py: Python<'_>, error: PyErr) -> DecodeError {
    if error.is_instance_of::<PyValueError>(py) {
        DecodeError::Malformed(error.value(py).to_string())
    } else {
        DecodeError::Unusable(error)
    }
}

/// Reads values from bytes, one after the other.
pub struct Decoder<'a, 'py> {
    py: Python<'py>,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Byte strings become the memory of arrays, which may be written to.
    writable: bool,
    handles: &'a dyn Handles,
}

impl<'a, 'py> Decoder<'a, 'py> {
    pub fn new(py: Python<'py>, bytes: &'a [u8], handles: &'a dyn Handles) -> Decoder<'a, 'py> {
        Decoder { py, bytes, at: 0, depth: 0, writable: false, handles }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether all has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Nothing may follow.
    pub fn end(&self) -> Decoded<()> {
        if self.is_at_end() { Ok(()) } else { malformed("bytes after the value") }
    }

    /// The array of a call's arguments.
    pub fn arguments(&mut self) -> Decoded<Bound<'py, PyTuple>> {
        let (major, count) = self.head()?;
        if major != 4 {
            return malformed("a call's arguments are not an array");
        }
        let items = self.nested(|decoder| decoder.items(count))?;
        PyTuple::new(self.py, items).map_err(DecodeError::Unusable)
    }

    /// The map of a call's keyword arguments.
    pub fn keywords(&mut self) -> Decoded<Bound<'py, PyDict>> {
        let (major, count) = self.head()?;
        if major != 5 {
            return malformed("a call's keyword arguments are not a map");
        }
        self.nested(|decoder| decoder.map(count, true))
    }

    /// The next value.
    pub fn value(&mut self) -> Decoded<Bound<'py, PyAny>> {
        let py = self.py;
        let Some(&first) = self.bytes.get(self.at) else { return malformed("the value ends early") };
        match first {
            0x00..=0x17 => {
                self.at += 1;
                Ok(PyInt::new(py, first).into_any())
            }
            0xf4 | 0xf5 => {
                self.at += 1;
                Ok(PyBool::new(py, first == 0xf5).to_owned().into_any())
            }
            0xf6 | 0xf7 => {
                self.at += 1;
                Ok(py.None().into_bound(py))
            }
            0xfb => {
                self.at += 1;
                let number = f64::from_be_bytes(*self.chunk::<8>()?);
                Ok(PyFloat::new(py, number).into_any())
            }
            0xe0.. => malformed("a simple value or a float that is not sent"),
            _ => self.headed(),
        }
    }

    fn headed(&mut self) -> Decoded<Bound<'py, PyAny>> {
        let py = self.py;
        let (major, argument) = self.head()?;
        Ok(match major {
            0 => PyInt::new(py, argument).into_any(),
            1 => match i64::try_from(argument) {
                Ok(argument) => PyInt::new(py, -1 - argument).into_any(),
                Err(_) => PyInt::new(py, -1 - i128::from(argument)).into_any(),
            },
            2 if self.writable => PyByteArray::new(py, self.take(argument)?).into_any(),
            2 => PyBytes::new(py, self.take(argument)?).into_any(),
            3 => self.text(argument)?.into_any(),
            4 => {
                let items = self.nested(|decoder| decoder.items(argument))?;
                PyList::new(py, items).map_err(DecodeError::Unusable)?.into_any()
            }
            5 => self.nested(|decoder| decoder.map(argument, true))?.into_any(),
            _ => self.nested(|decoder| decoder.tagged(argument))?,
        })
    }

    fn nested<T>(&mut self, decode: impl FnOnce(&mut Self) -> Decoded<T>) -> Decoded<T> {
        if self.depth == DEPTH_MAX {
            return malformed("more than 200 values in one another");
        }
        self.depth += 1;
        let decoded = decode(self);
        self.depth -= 1;
        decoded
    }

    fn items(&mut self, count: u64) -> Decoded<Vec<Bound<'py, PyAny>>> {
        let count = self.count(count, 1)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.value()?);
        }
        Ok(items)
    }

    /// `text_keys`: whether other keys are refused, as in all maps but those of some tags.
    fn map(&mut self, count: u64, text_keys: bool) -> Decoded<Bound<'py, PyDict>> {
        let count = self.count(count, 2)?;
        let dict = PyDict::new(self.py);
        for _ in 0..count {
            let key = self.value()?;
            if text_keys && !key.is_instance_of::<PyString>() {
                return malformed("a plain map with a key that is no text");
            }
            let value = self.value()?;
            dict.set_item(key, value).map_err(DecodeError::Unusable)?;
        }
        Ok(dict)
    }

    fn tagged(&mut self, tag: u64) -> Decoded<Bound<'py, PyAny>> {
        let py = self.py;
        let inner = match tag {
            tags::BIGNUM | tags::NEGATIVE_BIGNUM => {
                let bytes = self.bytes_of("a bignum")?;
                return bignum(py, bytes, tag == tags::NEGATIVE_BIGNUM).map_err(DecodeError::Unusable);
            }
            tags::WTF8 => {
                let bytes = self.bytes_of("a string with lone surrogates")?;
                let text = PyBytes::new(py, bytes).call_method1("decode", ("utf-8", "surrogatepass"));
                return text.map_err(|error| judged(py, error));
            }
            tags::MAP => {
                let count = self.head_of(5, "tag 259 without a map")?;
                return Ok(self.map(count, false)?.into_any());
            }
            tags::SET => {
                let count = self.head_of(4, "tag 258 without an array")?;
                let items = self.items(count)?;
                return Ok(PySet::new(py, items).map_err(DecodeError::Unusable)?.into_any());
            }
            tags::HANDLE => return self.handle(),
            tags::OWN_HANDLE => {
                let handle = self.handle_number(1)?;
                return match self.handles.own(py, handle).map_err(DecodeError::Unusable)? {
                    Some(object) => Ok(object),
                    None => Err(DecodeError::Unusable(released(py))),
                };
            }
            tags::MEMORY => {
                let memory = self.memory()?;
                if self.writable {
                    return Ok(Bound::new(py, memory).map_err(DecodeError::Unusable)?.into_any());
                }
                if !memory.is_shared() {
                    return Ok(PyBytes::new(py, &memory.to_vec()).into_any());
                }
                Bound::new(py, memory).map_err(DecodeError::Unusable)?.into_any()
            }
            tags::TYPED_FIRST..=tags::TYPED_LAST | tags::ND_ARRAY | tags::ARROW => {
                self.writable = true;
                let inner = self.value();
                self.writable = false;
                inner?
            }
            _ if self.bytes.get(self.at).is_some_and(|first| first >> 5 == 5) => {
                let count = self.head()?.1;
                self.map(count, false)?.into_any()
            }
            _ => self.value()?,
        };
        let restore = rare(py).map_err(DecodeError::Unusable)?.restore.bind(py);
        restore.call1((tag, inner)).map_err(|error| judged(py, error))
    }

    /// The memory that a reference names.
    fn memory(&mut self) -> Decoded<Memory> {
        let (major, count) = self.head()?;
        if major != 4 || (count != 3 && count != 8) {
            return malformed("a reference to memory that is none");
        }
        let mut numbers = [0; 7];
        for number in &mut numbers[..(count as usize).min(7)] {
            *number = self.head_of(0, "a reference to memory that is no number")?;
        }
        let small = |number: u64| u32::try_from(number).or_else(|_| malformed("a reference to memory beyond 32 bits"));
        let lease = small(numbers[0])?;
        let Some(account) = self.handles.memory() else { return malformed("a reference to memory where none can be") };
        if count == 3 {
            let home = account.home(lease, numbers[1], numbers[2]);
            return home.map_or_else(|| malformed("a reference to memory that is not lent"), Ok);
        }
        let shared = match self.chunk::<1>()? {
            [0xf5] => true,
            [0xf4] => false,
            _ => return malformed("a reference to memory that is neither shared nor not"),
        };
        let address = Address { pid: small(numbers[1])?, descriptor: small(numbers[2])?, id: numbers[3], bytes: numbers[4] };
        let reference = Reference { lease, address, offset: numbers[5], bytes: numbers[6], shared };
        match account.borrow(reference) {
            Ok(memory) => Ok(memory),
            Err(BorrowError::Violation(Violation(what))) => malformed(what),
            Err(gone) => Err(DecodeError::Unusable(cannot_cross(self.py, &format!("an array cannot be had: {gone}")))),
        }
    }

    fn handle(&mut self) -> Decoded<Bound<'py, PyAny>> {
        let number = self.handle_number(3)?;
        let kind = self.plain_text()?;
        let name = self.plain_text()?;
        if !matches!(kind, "function" | "stream" | "object") {
            return malformed("a handle of an unknown kind");
        }
        self.handles.stand_in(self.py, number, kind, name).map_err(DecodeError::Unusable)
    }

    fn handle_number(&mut self, length: u64) -> Decoded<u32> {
        if self.head()? != (4, length) {
            return malformed("a handle that is no array of the right length");
        }
        let number = self.head_of(0, "a handle that is no number")?;
        u32::try_from(number).or_else(|_| malformed("a handle beyond 32 bits"))
    }

    fn plain_text(&mut self) -> Decoded<&'a str> {
        let length = self.head_of(3, "a handle whose kind or name is no text")?;
        std::str::from_utf8(self.take(length)?).or_else(|_| malformed("text that is not UTF-8"))
    }

    fn text(&mut self, length: u64) -> Decoded<Bound<'py, PyString>> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(PyString::new(self.py, text)),
            Err(_) => malformed("text that is not UTF-8"),
        }
    }

    fn bytes_of(&mut self, what: &str) -> Decoded<&'a [u8]> {
        let (major, length) = self.head()?;
        if major != 2 {
            return malformed(&format!("{what} that is no byte string"));
        }
        self.take(length)
    }

    fn head_of(&mut self, wanted: u8, what: &str) -> Decoded<u64> {
        let (major, argument) = self.head()?;
        if major == wanted { Ok(argument) } else { malformed(what) }
    }

    /// Major type and argument.
    fn head(&mut self) -> Decoded<(u8, u64)> {
        let [first] = *self.chunk::<1>()?;
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            24 => u64::from(self.chunk::<1>()?[0]),
            25 => u64::from(u16::from_be_bytes(*self.chunk::<2>()?)),
            26 => u64::from(u32::from_be_bytes(*self.chunk::<4>()?)),
            27 => u64::from_be_bytes(*self.chunk::<8>()?),
            _ => return malformed("a value of indefinite length, or a reserved form"),
        };
        Ok((first >> 5, argument))
    }

    /// A number of items, each of at least `least` bytes, that can be there.
    fn count(&self, count: u64, least: usize) -> Decoded<usize> {
        match usize::try_from(count) {
            Ok(count) if count <= (self.bytes.len() - self.at) / least => Ok(count),
            _ => malformed("more items than bytes"),
        }
    }

    fn take(&mut self, length: u64) -> Decoded<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => malformed("the value ends early"),
        }
    }

    fn chunk<const N: usize>(&mut self) -> Decoded<&'a [u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(chunk)
            }
            None => malformed("the value ends early"),
        }
    }
}

fn bignum<'py>(py: Python<'py>, bytes: &[u8], negative: bool) -> PyResult<Bound<'py, PyAny>> {
    let number = py.get_type::<PyInt>().call_method1("from_bytes", (PyBytes::new(py, bytes), "big"))?;
    if negative { number.call_method0("__invert__") } else { Ok(number) }
}

fn released(py: Python<'_>) -> PyErr {
    let raise = || py.import("bireme.errors")?.getattr("Released")?.call1(("the object has been released",));
    raise().map_or_else(|error| error, PyErr::from_value)
}
