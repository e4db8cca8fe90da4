//! Values as JSON, for people and shells. What JSON cannot say becomes an object with one key that begins with `$`
//! (`docs/commands.md` lists them).

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::number::{Element, Number, Tensor};
use crate::value::{Moment, Text, Value};

/// Bytes of an integer up to which it is written in decimal digits, for which the work is quadratic.
const DECIMAL_BYTES_MAX: usize = 1024;

/// One line of JSON.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value);
    out
}

fn put(out: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Undefined => out.push_str("null"),
        Value::Boolean(boolean) => out.push_str(if *boolean { "true" } else { "false" }),
        Value::Integer(integer) => put_display(out, integer),
        Value::BigInteger { negative, magnitude } => put_big(out, *negative, magnitude),
        Value::Float(number) => put_float(out, *number),
        Value::Text(text) => put_text(out, text),
        Value::Bytes(bytes) => put_form(out, "bytes", &STANDARD.encode(bytes)),
        Value::Array(items) => put_list(out, items, put),
        Value::Object(entries) if is_form(entries) => {
            // Told apart from what it looks like.
            let pairs: Vec<(Value, Value)> =
                entries.iter().map(|(key, value)| (Value::Text(key.clone()), value.clone())).collect();
            put(out, &Value::Map(pairs));
        }
        Value::Object(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                put_text(out, key);
                out.push(':');
                put(out, value);
            }
            out.push('}');
        }
        Value::Map(entries) => {
            out.push_str("{\"$map\":");
            put_list(out, entries, |out, (key, value)| {
                out.push('[');
                put(out, key);
                out.push(',');
                put(out, value);
                out.push(']');
            });
            out.push('}');
        }
        Value::Set(items) => {
            out.push_str("{\"$set\":");
            put_list(out, items, put);
            out.push('}');
        }
        Value::Moment(moment) => put_form(out, "moment", &moment_text(moment)),
        Value::Date(day) => put_form(out, "date", day),
        Value::Local { kind, text } => put_form(out, kind, text),
        Value::Decimal(number) => put_form(out, "decimal", number),
        Value::Uuid(bytes) => put_form(out, "uuid", &uuid_text(bytes)),
        Value::Numbers(element, bytes) => put_numbers(out, *element, false, &[bytes.len() / element.size()], bytes),
        Value::Tensor(tensor) => put_tensor(out, tensor),
        Value::Arrow(stream) => put_form(out, "arrow", &STANDARD.encode(stream)),
        Value::Reference(reference) => put_form(out, &reference.kind, &reference.name),
        Value::Own(handle) => put_form(out, "own", &handle.to_string()),
        Value::Error(error) => put_form(out, "error", &error.to_string()),
        Value::Pattern(source) => put_form(out, "pattern", &source.to_lossy()),
    }
}

/// Whether an object would be read as one of the forms.
fn is_form(entries: &[(Text, Value)]) -> bool {
    matches!(entries, [(key, _)] if key.as_bytes().starts_with(b"$"))
}

fn put_form(out: &mut String, name: &str, text: &str) {
    put_display(out, &format_args!("{{\"${name}\":"));
    put_text(out, &text.into());
    out.push('}');
}

fn put_display(out: &mut String, value: &impl fmt::Display) {
    write!(out, "{value}").expect("a String takes everything");
}

fn put_list<T>(out: &mut String, items: &[T], mut item: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (at, one) in items.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        item(out, one);
    }
    out.push(']');
}

fn put_float(out: &mut String, number: f64) {
    match number {
        _ if number.is_nan() => put_form(out, "float", "NaN"),
        f64::INFINITY => put_form(out, "float", "Infinity"),
        f64::NEG_INFINITY => put_form(out, "float", "-Infinity"),
        // `Debug` writes the shortest digits that read back, and `1.0` for a whole number.
        finite => put_display(out, &format_args!("{finite:?}")),
    }
}

/// Lone surrogates are escaped, which JSON allows (RFC 8259 §8.2).
fn put_text(out: &mut String, text: &Text) {
    if let Some(text) = text.as_str() {
        return put_display(out, &Json::from(text));
    }
    out.push('"');
    for unit in text.units() {
        match unit {
            Ok(letter) => {
                let quoted = Json::from(letter.to_string()).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Err(surrogate) => put_display(out, &format_args!("\\u{surrogate:04x}")),
        }
    }
    out.push('"');
}

fn put_big(out: &mut String, negative: bool, magnitude: &[u8]) {
    let mut bytes = magnitude.to_vec();
    if negative {
        // −1 − n: the magnitude of the number is n + 1.
        let carry = bytes.iter_mut().rev().all(|byte| {
            *byte = byte.wrapping_add(1);
            *byte == 0
        });
        if carry {
            bytes.insert(0, 1);
        }
        out.push('-');
    }
    if bytes.len() > DECIMAL_BYTES_MAX {
        out.truncate(out.len() - usize::from(negative));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        return put_form(out, "integer", &format!("{}0x{hex}", if negative { "-" } else { "" }));
    }
    let mut digits = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut bytes {
            rest = rest << 8 | u32::from(*byte);
            // Below 10 · 256, so the quotient fits.
            *byte = (rest / 10) as u8;
            rest %= 10;
        }
        digits.push(char::from_digit(rest, 10).unwrap_or('0'));
    }
    if digits.is_empty() {
        digits.push('0');
    }
    out.extend(digits.iter().rev());
}

/// RFC 9557: the instant in UTC, and its zone in brackets unless that is UTC.
fn moment_text(moment: &Moment) -> String {
    let nanoseconds = i32::try_from(moment.microseconds * 1000).unwrap_or(0);
    let instant = match jiff::Timestamp::new(moment.seconds, nanoseconds) {
        Ok(timestamp) => timestamp.to_string(),
        // Beyond the year 9999.
        Err(_) => format!("@{}.{:06}", moment.seconds, moment.microseconds),
    };
    if moment.zone == "UTC" { instant } else { format!("{instant}[{}]", moment.zone) }
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        text.push_str(if [4, 6, 8, 10].contains(&at) { "-" } else { "" });
        put_display(&mut text, &format_args!("{byte:02x}"));
    }
    text
}

/// Numbers as lists in lists; other arrays as they are.
fn put_tensor(out: &mut String, tensor: &Tensor) {
    let shape: Option<Vec<usize>> = tensor.shape.iter().map(|length| usize::try_from(*length).ok()).collect();
    // Empty dimensions would nest lists that no data bounds.
    if let (Some((element, big_endian)), Some(shape)) = (tensor.element(), shape)
        && !tensor.data.is_empty()
    {
        if tensor.dtype == "|b1" {
            return put_nested(out, &shape, &tensor.data, 1, &mut |out, byte| {
                out.push_str(if byte == [0] { "false" } else { "true" });
            });
        }
        return put_numbers(out, element, big_endian, &shape, &tensor.data);
    }
    put_display(out, &format_args!("{{\"$array\":{{\"dtype\":{},\"shape\":", Json::from(&*tensor.dtype)));
    put_list(out, &tensor.shape, put_display);
    put_display(out, &format_args!(",\"data\":\"{}\"}}}}", STANDARD.encode(&tensor.data)));
}

fn put_numbers(out: &mut String, element: Element, big_endian: bool, shape: &[usize], data: &[u8]) {
    put_nested(out, shape, data, element.size(), &mut |out, bytes| match element.read(bytes, big_endian) {
        Number::Integer(integer) => put_display(out, &integer),
        // The shortest digits that read back as 32 bits.
        Number::Float(number) if element == Element::F32 && number.is_finite() => {
            put_display(out, &format_args!("{:?}", number as f32));
        }
        Number::Float(number) => put_float(out, number),
    });
}

fn put_nested(out: &mut String, shape: &[usize], data: &[u8], size: usize, element: &mut impl FnMut(&mut String, &[u8])) {
    let Some((length, inner)) = shape.split_first() else { return element(out, data) };
    let part = data.len().checked_div(*length).unwrap_or(0).max(size);
    let parts: Vec<&[u8]> = data.chunks(part).collect();
    put_list(out, &parts, |out, part| put_nested(out, inner, part, size, element));
}

/// Why JSON is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// JSON as a value; the forms that [`to_json`] writes are read back, but for arrays and what stays with its owner.
///
/// # Errors
/// When it is not JSON, or a form's content is not what the form says.
pub fn from_json(text: &str) -> Result<Value, Unreadable> {
    serde_json::from_str::<Read>(text).map(|Read(value)| value).map_err(|error| Unreadable(error.to_string()))
}

/// A value that is read from JSON; objects keep their order.
struct Read(Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Read, D::Error> {
        json.deserialize_any(Reader).map(Read)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, boolean: bool) -> Result<Value, E> {
        Ok(Value::Boolean(boolean))
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Value, E> {
        Ok(Value::Integer(integer.into()))
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Value, E> {
        Ok(Value::Integer(integer.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Read(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Text, Value)> = Vec::new();
        while let Some((key, Read(value))) = map.next_entry::<String, Read>()? {
            entries.push((key.into(), value));
        }
        if !is_form(&entries) {
            return Ok(Value::Object(entries));
        }
        let wrong =
            |(key, value): &(Text, Value)| format!("{{{key:?}: {}}} is none of the forms that can be read", to_json(value));
        let wrong = entries.first().map(wrong).unwrap_or_default();
        entries.pop().and_then(|(key, content)| read_form(&key, content)).ok_or_else(|| de::Error::custom(wrong))
    }
}

fn read_form(key: &Text, content: Value) -> Option<Value> {
    match (key.as_str()?.strip_prefix('$')?, content) {
        ("set", Value::Array(items)) => Some(Value::Set(items)),
        ("map", Value::Array(pairs)) => {
            let pair = |pair: Value| match pair {
                Value::Array(pair) => <[Value; 2]>::try_from(pair).ok().map(|[key, value]| (key, value)),
                _ => None,
            };
            pairs.into_iter().map(pair).collect::<Option<_>>().map(Value::Map)
        }
        (name, Value::Text(text)) => text_form(name, text.as_str()?.to_owned()),
        _ => None,
    }
}

fn text_form(name: &str, text: String) -> Option<Value> {
    Some(match name {
        "float" => Value::Float(match &*text {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => return None,
        }),
        "bytes" => Value::Bytes(STANDARD.decode(text).ok()?),
        "moment" => Value::Moment(read_moment(&text)?),
        "date" => text.parse::<jiff::civil::Date>().ok().map(|_| Value::Date(text))?,
        "datetime" | "time" | "duration" => Value::Local { kind: name.to_owned(), text },
        "decimal" => Value::Decimal(text),
        "uuid" => {
            let digits: String = text.chars().filter(|letter| *letter != '-').collect();
            if !digits.is_ascii() {
                return None;
            }
            let bytes = (0..16).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok());
            let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
            Value::Uuid(bytes.try_into().ok().filter(|_| digits.len() == 32)?)
        }
        "pattern" => Value::Pattern(text.into()),
        _ => return None,
    })
}

fn read_moment(text: &str) -> Option<Moment> {
    let (instant, zone) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((instant, zone)) => (instant, zone),
        None => (text, "UTC"),
    };
    let timestamp: jiff::Timestamp = instant.parse().ok()?;
    let nanoseconds = timestamp.subsec_nanosecond();
    // Before 1970 both parts are negative; ours counts forward from the whole second below.
    let (seconds, nanoseconds) = match nanoseconds {
        ..0 => (timestamp.as_second() - 1, nanoseconds + 1_000_000_000),
        _ => (timestamp.as_second(), nanoseconds),
    };
    Some(Moment { seconds, microseconds: u32::try_from(nanoseconds / 1000).ok()?, zone: zone.to_owned() })
}
