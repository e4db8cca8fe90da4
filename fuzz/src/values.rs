//! Feeds arbitrary bytes to the decoder of calls' values. Nothing may panic; what is a value is the same after a way there
//! and back, and can be shown.
#![no_main]

use contract::{Value, decode, decode_sequence, encode, from_json, to_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = decode(bytes) {
        let again = encode(&value);
        assert_eq!(decode(&again).map(|value| encode(&value)), Ok(again), "{value:?}");
        to_json(&value);
        if let Value::Error(error) = &value {
            let _ = error.to_string();
        }
    }
    let _ = decode_sequence(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(value) = from_json(text)
    {
        assert!(from_json(&to_json(&value)).is_ok(), "{value:?}");
    }
});
