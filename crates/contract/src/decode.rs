//! Bytes to values. Whatever the bytes are, the answer is a value or [`Malformed`], and no more memory is taken than
//! the bytes themselves account for.

use std::fmt;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::error::RemoteError;
use crate::number::{Element, Tensor};
use crate::value::{Moment, Reference, Text, Value};

/// How deep values lie in one another at most, tags counted.
pub const DEPTH_MAX: usize = 200;

/// Bytes that are no value: which byte, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where.
    pub position: usize,
    /// What.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no value at byte {}: {}", self.position, self.what)
    }
}

impl std::error::Error for Malformed {}

/// Reads one value that takes all the bytes.
///
/// # Errors
/// When the bytes are not exactly one value.
pub fn decode(bytes: &[u8]) -> Result<Value, Malformed> {
    let mut reader = Reader { cbor: Decoder::new(bytes) };
    let value = reader.value(0)?;
    if reader.cbor.position() < bytes.len() { Err(reader.fault("more bytes than the value's")) } else { Ok(value) }
}

/// Reads values that follow each other (RFC 8742).
///
/// # Errors
/// When the bytes are anything else.
pub fn decode_sequence(bytes: &[u8]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader { cbor: Decoder::new(bytes) };
    let mut values = Vec::new();
    while reader.cbor.position() < bytes.len() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'b> {
    cbor: Decoder<'b>,
}

impl Reader<'_> {
    fn fault(&self, what: impl Into<String>) -> Malformed {
        Malformed { position: self.cbor.position(), what: what.into() }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Malformed> {
        if depth > DEPTH_MAX {
            return Err(self.fault(format!("more than {DEPTH_MAX} values in one another")));
        }
        let kind = self.cbor.datatype().map_err(|error| self.wrong(&error))?;
        let read = match kind {
            Type::Null => self.cbor.null().map(|()| Value::Null),
            Type::Undefined => self.cbor.undefined().map(|()| Value::Undefined),
            Type::Bool => self.cbor.bool().map(Value::Boolean),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
                self.cbor.int().map(|integer| Value::Integer(integer.into()))
            }
            Type::F64 => self.cbor.f64().map(Value::Float),
            Type::String => self.cbor.str().map(Value::from),
            Type::Bytes => self.cbor.bytes().map(|bytes| Value::Bytes(bytes.to_vec())),
            Type::Array => return self.items(depth).map(Value::Array),
            Type::Map => return self.object(depth),
            Type::Tag => return self.tagged(depth),
            other => return Err(self.fault(format!("{other} is none"))),
        };
        read.map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &minicbor::decode::Error) -> Malformed {
        self.fault(error.to_string())
    }

    /// A definite length that the rest of the bytes can hold, each item being at least one byte.
    fn length(&mut self, length: Result<Option<u64>, minicbor::decode::Error>) -> Result<usize, Malformed> {
        let length = length.map_err(|error| self.wrong(&error))?;
        let left = self.cbor.input().len() - self.cbor.position();
        let length = length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= left);
        length.ok_or_else(|| self.fault("a length that is indefinite or beyond the end"))
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, Malformed> {
        let length = self.cbor.array();
        let length = self.length(length)?;
        (0..length).map(|_| self.value(depth + 1)).collect()
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, Malformed> {
        let length = self.cbor.map();
        let length = self.length(length)?;
        (0..length).map(|_| Ok((self.value(depth + 1)?, self.value(depth + 1)?))).collect()
    }

    fn object(&mut self, depth: usize) -> Result<Value, Malformed> {
        let pairs = self.pairs(depth)?;
        let entry = |(key, value)| match key {
            Value::Text(key) => Ok((key, value)),
            _ => Err(self.fault("a key that is no text")),
        };
        pairs.into_iter().map(entry).collect::<Result<_, _>>().map(Value::Object)
    }

    fn tagged(&mut self, depth: usize) -> Result<Value, Malformed> {
        let tag = self.cbor.tag().map_err(|error| self.wrong(&error))?.as_u64();
        // The two tags whose maps have other keys than text.
        if matches!(tag, 259 | 1001) {
            if self.cbor.datatype().ok() != Some(Type::Map) {
                return Err(self.fault(format!("tag {tag} without a map")));
            }
            let pairs = self.pairs(depth + 1)?;
            return match tag {
                259 => Ok(Value::Map(pairs)),
                _ => moment(&pairs).map(Value::Moment).ok_or_else(|| self.fault("no point in time")),
            };
        }
        let inner = self.value(depth + 1)?;
        interpret(tag, inner).ok_or_else(|| self.fault(format!("tag {tag} is unknown, or has another content")))
    }
}

/// What a tag makes of the value below it.
fn interpret(tag: u64, inner: Value) -> Option<Value> {
    Some(match (tag, inner) {
        (2 | 3, Value::Bytes(magnitude)) => Value::BigInteger { negative: tag == 3, magnitude },
        (35, Value::Text(source)) => Value::Pattern(source),
        (37, Value::Bytes(bytes)) => Value::Uuid(bytes.try_into().ok()?),
        (258, Value::Array(items)) => Value::Set(items),
        (273, Value::Bytes(bytes)) => Value::Text(Text::from_wtf8(bytes)?),
        (1004, Value::Text(day)) => Value::Date(day.as_str().filter(|day| is_day(day))?.to_owned()),
        (39001, Value::Array(parts)) => match &parts[..] {
            [Value::Text(kind), Value::Text(text)] => {
                let kind = kind.as_str().filter(|kind| ["datetime", "time", "duration"].contains(kind))?;
                Value::Local { kind: kind.to_owned(), text: text.as_str()?.to_owned() }
            }
            _ => return None,
        },
        (39002, Value::Text(number)) => Value::Decimal(number.as_str()?.to_owned()),
        (39003, Value::Array(parts)) => Value::Tensor(tensor(parts)?),
        (39005, Value::Bytes(stream)) => Value::Arrow(stream),
        (39006, Value::Array(parts)) => match &parts[..] {
            [Value::Integer(handle), Value::Text(kind), Value::Text(name)] => Value::Reference(Reference {
                handle: u32::try_from(*handle).ok()?,
                kind: kind.as_str().filter(|kind| ["function", "stream", "object"].contains(kind))?.to_owned(),
                name: name.to_lossy().into_owned(),
            }),
            _ => return None,
        },
        (39007, error) => Value::Error(Box::new(RemoteError::from_value(error)?)),
        (39008, Value::Array(parts)) => match parts[..] {
            [Value::Integer(handle)] => Value::Own(u32::try_from(handle).ok()?),
            _ => return None,
        },
        (tag, Value::Bytes(bytes)) => {
            let element = Element::from_tag(tag).filter(|element| bytes.len().is_multiple_of(element.size()))?;
            Value::Numbers(element, bytes)
        }
        _ => return None,
    })
}

/// RFC 9581's extended time, of which we know three keys.
fn moment(pairs: &[(Value, Value)]) -> Option<Moment> {
    let [
        (Value::Integer(1), Value::Integer(seconds)),
        (Value::Integer(-6), Value::Integer(microseconds)),
        (Value::Integer(-10), Value::Text(zone)),
    ] = pairs
    else {
        return None;
    };
    Some(Moment {
        seconds: i64::try_from(*seconds).ok()?,
        microseconds: u32::try_from(*microseconds).ok().filter(|micros| *micros < 1_000_000)?,
        zone: zone.as_str()?.to_owned(),
    })
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn tensor(parts: Vec<Value>) -> Option<Tensor> {
    let Ok([Value::Text(dtype), Value::Array(shape), Value::Bytes(data)]) = <[Value; 3]>::try_from(parts) else {
        return None;
    };
    let length = |length: Value| match length {
        Value::Integer(length) => u64::try_from(length).ok(),
        _ => None,
    };
    let shape = shape.into_iter().map(length).collect::<Option<_>>()?;
    Some(Tensor { dtype: dtype.as_str()?.to_owned(), shape, data }).filter(Tensor::is_sound)
}
