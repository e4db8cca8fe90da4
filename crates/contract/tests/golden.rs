//! What `protocol/golden/calls.json` says, which Python and JavaScript are tested against as well.

use contract::{RemoteError, Target, Value, decode, encode, from_json};
use serde_json::Value as Json;

fn golden(part: &str) -> Vec<Json> {
    let golden: Json = serde_json::from_str(include_str!("../../../protocol/golden/calls.json")).unwrap();
    let entries = golden[part].as_array().unwrap().clone();
    assert!(!entries.is_empty());
    entries
}

fn bytes(entry: &Json) -> Vec<u8> {
    let hex = entry["hex"].as_str().unwrap();
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn values_and_references_read_and_write_alike() {
    for entry in golden("values").iter().chain(&golden("references")) {
        let bytes = bytes(entry);
        let value = decode(&bytes).unwrap_or_else(|error| panic!("{}: {error}", entry["name"]));
        assert_eq!(encode(&value), bytes, "{}: {value:?}", entry["name"]);
    }
}

#[test]
fn errors_read_and_write_alike() {
    for entry in golden("errors") {
        let error = RemoteError::from_value(decode(&bytes(&entry)).unwrap()).expect("an error");
        let text = |key: &str| entry[key].as_str().unwrap();
        assert_eq!((&*error.language, &*error.kind, &*error.message), (text("language"), text("type"), text("message")));
        assert_eq!((error.code.as_deref(), &*error.text), (entry["code"].as_str(), text("text")));
        assert_eq!(error.cause.as_ref().map(|cause| &*cause.message), entry["cause"]["message"].as_str());
        let frames = entry["frames"].as_array().unwrap();
        assert_eq!(error.frames.len(), frames.len());
        for (frame, expected) in error.frames.iter().zip(frames) {
            let shown = serde_json::json!([frame.file, frame.line, frame.column, frame.function, frame.source, frame.language]);
            assert_eq!(shown, *expected);
        }
        let mut tagged = vec![0xd9, 0x98, 0x5f];
        tagged.extend(bytes(&entry));
        assert_eq!(encode(&Value::Error(Box::new(error))), tagged, "{}", entry["name"]);
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for entry in golden("refused") {
        assert!(decode(&bytes(&entry)).is_err(), "{}", entry["name"]);
    }
}

#[test]
fn payloads_are_those_of_the_protocol() {
    let payload = |entry: &Json| bytes(entry)[12..].to_vec();
    let number = |entry: &Json, key: &str| u32::try_from(entry[key].as_u64().unwrap()).unwrap();
    for entry in golden("frames") {
        let kind = entry["kind"].as_str().unwrap();
        if kind == "BIND" {
            let place = entry["file"].as_str().map(|file| Target::File(file.to_owned()));
            let target = place.unwrap_or_else(|| Target::Module(entry["module"].as_str().unwrap().to_owned()));
            let made = contract::bind(number(&entry, "number"), &target, entry["attribute"].as_str().unwrap());
            assert_eq!(made, payload(&entry), "{}", entry["name"]);
        }
        if kind == "CALL" && entry["member"] == "" {
            let Ok(Value::Array(args)) = from_json(&entry["args"].to_string()) else { panic!("arguments") };
            let kwargs = entry.get("kwargs").map(|kwargs| match from_json(&kwargs.to_string()) {
                Ok(Value::Object(kwargs)) => kwargs,
                other => panic!("{other:?}"),
            });
            let made = contract::call(number(&entry, "target"), number(&entry, "timeout_ms"), args, kwargs);
            assert_eq!(made, payload(&entry), "{}", entry["name"]);
        }
    }
}
