//! The values that can cross, as `protocol/calls.md` lists them.

use std::borrow::Cow;
use std::fmt;

use crate::error::RemoteError;
use crate::number::{Element, Tensor};

/// A value. Two are equal when they encode alike, so that NaN equals itself.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `None`.
    Null,
    /// JavaScript's `undefined`.
    Undefined,
    /// A truth value.
    Boolean(bool),
    /// An integer from −2⁶⁴ to 2⁶⁴ − 1.
    Integer(i128),
    /// Any other integer: `magnitude`, or −1 − `magnitude` if `negative`; big-endian.
    BigInteger {
        /// Whether it is below zero.
        negative: bool,
        /// Its bytes.
        magnitude: Vec<u8>,
    },
    /// A number of 64 bits.
    Float(f64),
    /// A string.
    Text(Text),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// An object, a `dict` with strings as keys; in order.
    Object(Vec<(Text, Value)>),
    /// A `Map`, a `dict` with other keys; in order.
    Map(Vec<(Value, Value)>),
    /// A set; in order.
    Set(Vec<Value>),
    /// A point in time.
    Moment(Moment),
    /// A day of the calendar, `2026-11-24`.
    Date(String),
    /// A date and time without a zone, a time of day or a duration, in ISO 8601's words.
    Local {
        /// `datetime`, `time` or `duration`.
        kind: String,
        /// `2026-11-24T10:00:00`, `10:00:00`, `PT36000S`.
        text: String,
    },
    /// A decimal number.
    Decimal(String),
    /// A UUID.
    Uuid([u8; 16]),
    /// A typed array: its elements, little-endian.
    Numbers(Element, Vec<u8>),
    /// A NumPy array of any other shape or type.
    Tensor(Tensor),
    /// An Arrow IPC stream.
    Arrow(Vec<u8>),
    /// Something that stays where it is.
    Reference(Reference),
    /// Something of the receiver's own that comes home; its handle.
    Own(u32),
    /// An error as a value.
    Error(Box<RemoteError>),
    /// A regular expression's source.
    Pattern(Text),
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        crate::encode(self) == crate::encode(other)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

/// A string of either language: any code points, lone surrogates included (WTF-8).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Vec<u8>);

impl Text {
    /// From WTF-8; `None` if it is none.
    pub fn from_wtf8(bytes: Vec<u8>) -> Option<Text> {
        is_wtf8(&bytes).then_some(Text(bytes))
    }

    /// As Rust knows strings; `None` with a lone surrogate.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// With U+FFFD in place of lone surrogates.
    pub fn to_lossy(&self) -> Cow<'_, str> {
        match self.as_str() {
            Some(text) => text.into(),
            None => self.units().map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into(),
        }
    }

    /// The WTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Characters, and lone surrogates as errors.
    pub(crate) fn units(&self) -> impl Iterator<Item = Result<char, u16>> + '_ {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (unit, length) = first_unit(rest)?;
            rest = &rest[length..];
            Some(unit)
        })
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text.into_bytes())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_lossy())
    }
}

/// The first code point and how many bytes it takes; `None` at the end, and where the bytes are not even generalized UTF-8.
fn first_unit(bytes: &[u8]) -> Option<(Result<char, u16>, usize)> {
    let length = match bytes.first()? {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let unit = bytes.get(..length)?;
    if let Ok(text) = std::str::from_utf8(unit) {
        return text.chars().next().map(|letter| (Ok(letter), length));
    }
    match unit {
        [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf] => {
            Some((Err(0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f)), length))
        }
        _ => None,
    }
}

/// A pair of surrogates would be a character, which has an encoding of its own.
fn is_wtf8(mut bytes: &[u8]) -> bool {
    let mut after_high = false;
    while !bytes.is_empty() {
        let Some((unit, length)) = first_unit(bytes) else { return false };
        if after_high && matches!(unit, Err(0xdc00..=0xdfff)) {
            return false;
        }
        after_high = matches!(unit, Err(0xd800..=0xdbff));
        bytes = &bytes[length..];
    }
    true
}

/// A point in time, and the zone it was said in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// 0 to 999,999.
    pub microseconds: u32,
    /// `UTC`, an IANA name, or `+02:00`.
    pub zone: String,
}

/// Names something that stays with its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The owner's number for it.
    pub handle: u32,
    /// `function`, `stream` or `object`.
    pub kind: String,
    /// What its owner calls it, for people.
    pub name: String,
}
