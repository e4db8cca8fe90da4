//! Values to bytes, with the shortest heads.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Error;

use crate::error::RemoteError;
use crate::value::{Text, Value};

/// The value's bytes.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut Encoder::new(&mut out), value).expect("a Vec takes everything");
    out
}

type Out<'o> = Encoder<&'o mut Vec<u8>>;
type Written = Result<(), Error<Infallible>>;

fn put(out: &mut Out<'_>, value: &Value) -> Written {
    match value {
        Value::Null => out.null()?,
        Value::Undefined => out.undefined()?,
        Value::Boolean(boolean) => out.bool(*boolean)?,
        Value::Integer(integer) => return put_integer(out, *integer),
        Value::BigInteger { negative, magnitude } => out.tag(Tag::new(2 + u64::from(*negative)))?.bytes(magnitude)?,
        Value::Float(number) => out.f64(*number)?,
        Value::Text(text) => return put_text(out, text),
        Value::Bytes(bytes) => out.bytes(bytes)?,
        Value::Array(items) => return put_items(out, items),
        Value::Object(entries) => {
            out.map(entries.len() as u64)?;
            return entries.iter().try_for_each(|(key, value)| put_text(out, key).and_then(|()| put(out, value)));
        }
        Value::Map(entries) => {
            out.tag(Tag::new(259))?.map(entries.len() as u64)?;
            return entries.iter().try_for_each(|(key, value)| put(out, key).and_then(|()| put(out, value)));
        }
        Value::Set(items) => {
            out.tag(Tag::new(258))?;
            return put_items(out, items);
        }
        Value::Moment(moment) => {
            out.tag(Tag::new(1001))?.map(3)?.u8(1)?.i64(moment.seconds)?;
            out.i8(-6)?.u32(moment.microseconds)?.i8(-10)?.str(&moment.zone)?
        }
        Value::Date(day) => out.tag(Tag::new(1004))?.str(day)?,
        Value::Local { kind, text } => out.tag(Tag::new(39001))?.array(2)?.str(kind)?.str(text)?,
        Value::Decimal(number) => out.tag(Tag::new(39002))?.str(number)?,
        Value::Uuid(bytes) => out.tag(Tag::new(37))?.bytes(bytes)?,
        Value::Numbers(element, bytes) => out.tag(Tag::new(element.tag()))?.bytes(bytes)?,
        Value::Tensor(tensor) => {
            out.tag(Tag::new(39003))?.array(3)?.str(&tensor.dtype)?.array(tensor.shape.len() as u64)?;
            for length in &tensor.shape {
                out.u64(*length)?;
            }
            out.bytes(&tensor.data)?
        }
        Value::Arrow(stream) => out.tag(Tag::new(39005))?.bytes(stream)?,
        Value::Reference(reference) => {
            out.tag(Tag::new(39006))?.array(3)?.u32(reference.handle)?.str(&reference.kind)?.str(&reference.name)?
        }
        Value::Own(handle) => out.tag(Tag::new(39008))?.array(1)?.u32(*handle)?,
        Value::Error(error) => {
            out.tag(Tag::new(39007))?;
            return put_error(out, error);
        }
        Value::Pattern(source) => {
            out.tag(Tag::new(35))?;
            return put_text(out, source);
        }
    };
    Ok(())
}

fn put_items(out: &mut Out<'_>, items: &[Value]) -> Written {
    out.array(items.len() as u64)?;
    items.iter().try_for_each(|item| put(out, item))
}

/// What is outside of 64 bits becomes a bignum, so that no number is lost.
fn put_integer(out: &mut Out<'_>, integer: i128) -> Written {
    if let Ok(integer) = minicbor::data::Int::try_from(integer) {
        out.int(integer)?;
        return Ok(());
    }
    let magnitude = if integer < 0 { -1 - integer } else { integer };
    let magnitude: Vec<u8> = magnitude.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    put(out, &Value::BigInteger { negative: integer < 0, magnitude })
}

fn put_text(out: &mut Out<'_>, text: &Text) -> Written {
    match text.as_str() {
        Some(text) => out.str(text)?,
        None => out.tag(Tag::new(273))?.bytes(text.as_bytes())?,
    };
    Ok(())
}

fn put_error(out: &mut Out<'_>, error: &RemoteError) -> Written {
    out.map(8 + u64::from(error.code.is_some()) + u64::from(error.cause.is_some()))?;
    for (key, text) in [("language", &error.language), ("type", &error.kind), ("message", &error.message)] {
        out.str(key)?.str(text)?;
    }
    if let Some(code) = &error.code {
        out.str("code")?.str(code)?;
    }
    out.str("frames")?.array(error.frames.len() as u64)?;
    for frame in &error.frames {
        out.array(6)?.str(&frame.file)?.u32(frame.line)?.u32(frame.column)?;
        out.str(&frame.function)?.str(&frame.source)?.str(&frame.language)?;
    }
    out.str("text")?.str(&error.text)?;
    if let Some(cause) = &error.cause {
        out.str("cause")?;
        put_error(out, cause)?;
    }
    out.str("suppressed")?.array(error.suppressed.len() as u64)?;
    error.suppressed.iter().try_for_each(|error| put_error(out, error))?;
    out.str("notes")?.array(error.notes.len() as u64)?;
    for note in &error.notes {
        out.str(note)?;
    }
    out.str("properties")?.map(error.properties.len() as u64)?;
    error.properties.iter().try_for_each(|(key, value)| put_text(out, key).and_then(|()| put(out, value)))
}
