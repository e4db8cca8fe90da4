//! Any value survives the way there and back, and no bytes make the decoder panic.

use contract::{
    Element, Frame, Moment, Reference, RemoteError, Tensor, Text, Value, decode, decode_sequence, encode, from_json, to_json,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Strings with lone surrogates now and then.
fn text() -> impl Strategy<Value = Text> {
    let units = vec(prop_oneof![4 => any::<char>().prop_map(|c| c as u32), 1 => 0xd800_u32..0xe000], 0..8);
    units.prop_map(|units| {
        let mut utf16 = Vec::new();
        for unit in units {
            match char::from_u32(unit) {
                Some(letter) => utf16.extend_from_slice(letter.encode_utf16(&mut [0; 2])),
                None => utf16.push(unit as u16),
            }
        }
        let wtf8 = char::decode_utf16(utf16).flat_map(|unit| match unit {
            Ok(letter) => letter.to_string().into_bytes(),
            Err(lone) => {
                let lone = u32::from(lone.unpaired_surrogate());
                vec![0xed, (0x80 | lone >> 6 & 0x3f) as u8, (0x80 | lone & 0x3f) as u8]
            }
        });
        Text::from_wtf8(wtf8.collect()).expect("pairs have been joined")
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

/// Bignums in their one form: beyond 64 bits, without leading zeros.
fn integer() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(|n| Value::Integer(n.into())),
        (-(1_i128 << 64)..1 << 64).prop_map(Value::Integer),
        (any::<bool>(), 1_u8.., vec(any::<u8>(), 8..40)).prop_map(|(negative, first, mut magnitude)| {
            magnitude.insert(0, first);
            Value::BigInteger { negative, magnitude }
        }),
    ]
}

fn number_array() -> impl Strategy<Value = Value> {
    (prop::sample::select(Element::ALL.to_vec()), bytes()).prop_map(|(element, mut bytes)| {
        bytes.truncate(bytes.len() / element.size() * element.size());
        Value::Numbers(element, bytes)
    })
}

fn tensor() -> impl Strategy<Value = Value> {
    let dtype = prop::sample::select(vec![("<f8", 8), (">i2", 2), ("|b1", 1), ("<U2", 8), ("<M8[s]", 8), ("<c16", 16)]);
    (dtype, vec(0_u64..4, 0..4)).prop_map(|((dtype, size), shape)| {
        let length = shape.iter().product::<u64>() as usize * size;
        Value::Tensor(Tensor { dtype: dtype.to_owned(), shape, data: vec![1; length] })
    })
}

fn moment() -> impl Strategy<Value = Value> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "+05:30"]);
    (-60_000_000_000_i64..200_000_000_000, 0_u32..1_000_000, zone)
        .prop_map(|(seconds, microseconds, zone)| Value::Moment(Moment { seconds, microseconds, zone: zone.to_owned() }))
}

/// What JSON reads back as it was.
fn plain() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(|n| Value::Integer(n.into())),
        any::<f64>().prop_filter("one NaN", |n| !n.is_nan()).prop_map(Value::Float),
        Just(Value::Float(f64::NAN)),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        bytes().prop_map(Value::Bytes),
        moment(),
        Just(Value::Date("2024-02-29".to_owned())),
        "[0-9]{1,20}\\.[0-9]{1,5}".prop_map(Value::Decimal),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any::<String>().prop_map(|text| Value::Pattern(text.into())),
        (prop::sample::select(vec!["datetime", "time", "duration"]), any::<String>())
            .prop_map(|(kind, text)| Value::Local { kind: kind.to_owned(), text }),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["function", "stream", "object"]);
    prop_oneof![
        4 => plain(),
        1 => Just(Value::Undefined),
        1 => integer(),
        1 => text().prop_map(Value::Text),
        1 => number_array(),
        1 => tensor(),
        1 => bytes().prop_map(Value::Arrow),
        1 => any::<u32>().prop_map(Value::Own),
        1 => (any::<u32>(), kind, any::<String>())
            .prop_map(|(handle, kind, name)| Value::Reference(Reference { handle, kind: kind.to_owned(), name })),
    ]
}

fn nested(
    leaf: impl Strategy<Value = Value> + 'static,
    key: impl Strategy<Value = Text> + Clone + 'static,
) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec(inner.clone(), 0..4).prop_map(Value::Set),
            vec((key.clone(), inner.clone()), 0..6).prop_map(Value::Object),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    nested(leaf(), text().boxed())
}

fn error() -> impl Strategy<Value = RemoteError> {
    let text = any::<String>;
    let frame = (text(), any::<u32>(), any::<u32>(), text(), text()).prop_map(|(file, line, column, function, source)| Frame {
        file,
        line,
        column,
        function,
        source,
        language: "python".to_owned(),
    });
    let properties = vec((text().prop_map(Text::from), leaf()), 0..3);
    let flat = (text(), text(), prop::option::of(text()), vec(frame, 0..3), vec(text(), 0..2), properties);
    let flat = flat.prop_map(|(kind, message, code, frames, notes, properties)| RemoteError {
        language: "javascript".to_owned(),
        kind,
        message,
        code,
        frames,
        notes,
        properties,
        ..RemoteError::default()
    });
    flat.prop_recursive(3, 8, 2, |inner| {
        (inner.clone(), prop::option::of(inner.clone()), vec(inner, 0..2)).prop_map(|(error, cause, suppressed)| RemoteError {
            cause: cause.map(Box::new),
            suppressed,
            ..error
        })
    })
}

/// A form that JSON would take for another: an object with one key that begins with a dollar.
fn has_dollar(value: &Value) -> bool {
    match value {
        Value::Object(entries) => {
            matches!(&entries[..], [(key, _)] if key.as_bytes().starts_with(b"$")) || entries.iter().any(|(_, v)| has_dollar(v))
        }
        Value::Array(items) | Value::Set(items) => items.iter().any(has_dollar),
        Value::Map(entries) => entries.iter().any(|(k, v)| has_dollar(k) || has_dollar(v)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn values_survive(values in vec(any_value(), 0..4)) {
        let mut sequence = Vec::new();
        for value in &values {
            let bytes = encode(value);
            prop_assert_eq!(&decode(&bytes).unwrap(), value);
            prop_assert!(decode(&bytes[..bytes.len() - 1]).is_err(), "a value that is cut is none");
            sequence.extend(bytes);
        }
        prop_assert_eq!(decode_sequence(&sequence).unwrap(), values);
    }

    #[test]
    fn errors_survive(error in error()) {
        let value = Value::Error(Box::new(error));
        prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn any_value_is_json(value in any_value()) {
        let json = to_json(&value);
        // Lone surrogates are JSON, but not serde_json's.
        if !json.contains("\\ud") {
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert!(!json.contains('\n'), "{}", read);
        }
    }

    #[test]
    fn what_json_can_say_reads_back(value in nested(plain(), any::<String>().prop_map(Text::from).boxed())) {
        prop_assume!(!has_dollar(&value));
        prop_assert_eq!(from_json(&to_json(&value)).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
        }
    }
}
