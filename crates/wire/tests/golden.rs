//! The frames of `protocol/golden/`, read and written by this crate.

use serde_json::Value;
use wire::{Frame, Kind, RequestHead, RequestParts, ResetCode, ResponseHead, WireError, decode_frame};

fn golden() -> Value {
    read_golden("frames.json")
}

fn read_golden(file: &str) -> Value {
    let path = format!("{}/../../protocol/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn latin1(value: &Value) -> Vec<u8> {
    value.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn fields_of(value: &Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    value.as_array().unwrap().iter().map(|pair| (latin1(&pair[0]), latin1(&pair[1]))).collect()
}

fn borrowed(fields: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice()))
}

fn owned<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
}

/// Encodes what the description says and decodes what the bytes say; both must agree.
fn check_frame(description: &Value) {
    let name = description["name"].as_str().unwrap();
    let bytes = bytes_of(description["hex"].as_str().unwrap());
    let frame = decode_frame(&bytes).unwrap().expect(name);
    assert_eq!(frame.encoded_len(), bytes.len(), "{name}");
    assert_eq!(format!("{:?}", frame.kind).to_uppercase(), description["kind"].as_str().unwrap(), "{name}");
    assert_eq!(u64::from(frame.stream), description["stream"].as_u64().unwrap(), "{name}");
    assert_eq!(u64::from(frame.flags), description["flags"].as_u64().unwrap(), "{name}");
    assert_eq!(u64::from(frame.aux), description["aux"].as_u64().unwrap(), "{name}");
    let mut again = Vec::new();
    encode(&mut again, &frame, description);
    assert_eq!(again, bytes, "{name}");
}

fn encode(out: &mut Vec<u8>, frame: &Frame<'_>, description: &Value) {
    if let Some(expected) = description.get("request") {
        let head = RequestHead::parse(frame.payload).unwrap();
        let fields = fields_of(&expected["fields"]);
        assert_eq!(owned(head.fields.iter()), fields);
        assert_eq!(head.body, latin1(&expected["body"]));
        let text = |key: &str| latin1(&expected[key]);
        let number = |key: &str| u16::try_from(expected[key].as_u64().unwrap()).unwrap();
        let (method, target, remote, local) = (text("method"), text("target"), text("remote_addr"), text("local_addr"));
        let (prefix, id) = (text("prefix"), text("request_id"));
        let parts = RequestParts {
            version: number("version") as u8,
            https: expected["scheme"] == "https",
            remote_port: number("remote_port"),
            local_port: number("local_port"),
            method: &method,
            target: &target,
            remote_addr: &remote,
            local_addr: &local,
            prefix: &prefix,
            request_id: &id,
        };
        assert_eq!((head.method, head.target, head.prefix), (parts.method, parts.target, parts.prefix));
        assert_eq!((head.remote_addr, head.local_addr), (parts.remote_addr, parts.local_addr));
        assert_eq!((head.https, head.version, head.request_id), (parts.https, parts.version, parts.request_id));
        let body = text("body");
        if let Some(open) = description.get("take_over") {
            let flags = frame.flags & !wire::FLAG_TAKE_OVER;
            wire::put_request(out, frame.stream, flags, &parts, borrowed(&fields), b"").unwrap();
            let topics = open["topics"].as_array().unwrap().iter();
            let topics = topics.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap().as_bytes()));
            wire::mark_taken_over(out, open["subprotocol"].as_str().unwrap().as_bytes(), topics);
            return;
        }
        wire::put_request(out, frame.stream, frame.flags, &parts, borrowed(&fields), &body).unwrap();
        assert_eq!(out.len(), wire::request_len(&parts, borrowed(&fields)) + body.len());
    } else if let Some(expected) = description.get("response") {
        let head = ResponseHead::parse(frame.payload).unwrap();
        let fields = fields_of(&expected["fields"]);
        let (reason, body) = (latin1(&expected["reason"]), latin1(&expected["body"]));
        assert_eq!(owned(head.fields.iter()), fields);
        assert_eq!((head.reason, head.body), (reason.as_slice(), body.as_slice()));
        if frame.flags & wire::FLAG_FILE != 0 {
            wire::put_file_response(out, frame.stream, frame.aux, &reason, borrowed(&fields), &body).unwrap();
        } else {
            wire::put_response(out, frame.stream, frame.aux, &reason, borrowed(&fields), &body, frame.ends()).unwrap();
        }
    } else if let Some(expected) = description.get("fields") {
        let fields = fields_of(expected);
        assert_eq!(owned(wire::field_list(frame.kind, frame.payload).unwrap().iter()), fields);
        wire::put_field_list(out, frame.kind, frame.flags, frame.aux, frame.stream, borrowed(&fields)).unwrap();
    } else if let Some(expected) = description.get("topic") {
        let (topic, rest) = wire::topic(frame.kind, frame.payload).unwrap();
        assert_eq!((topic, rest), (expected.as_str().unwrap(), latin1(&description["rest"]).as_slice()));
        match frame.kind {
            Kind::Presence => {
                let (members, name) = rest.split_first_chunk::<4>().unwrap();
                wire::put_presence(out, frame.flags & wire::FLAG_JOINED != 0, topic, u32::from_le_bytes(*members), name);
            }
            kind => wire::put_topic(out, kind, frame.flags, frame.aux, frame.stream, topic, rest).unwrap(),
        }
    } else if let Some(expected) = description.get("credit") {
        let granted = wire::credit(frame.payload).unwrap();
        assert_eq!(u64::from(granted), expected.as_u64().unwrap());
        wire::put_credit(out, frame.stream, granted);
    } else if frame.kind == Kind::Reset {
        let text = std::str::from_utf8(frame.payload).unwrap();
        wire::put_reset(out, frame.stream, ResetCode::from_code(frame.aux), text);
    } else {
        assert_eq!(frame.payload, latin1(&description["payload"]));
        wire::put_frame(out, frame.kind, frame.flags, frame.aux, frame.stream, frame.payload);
    }
}

/// Reads a frame as far as its kind allows.
fn read(bytes: &[u8]) -> Result<(), WireError> {
    let Some(frame) = decode_frame(bytes)? else { panic!("incomplete") };
    match frame.kind {
        Kind::Request => RequestHead::parse(frame.payload).map(drop),
        Kind::Response => ResponseHead::parse(frame.payload).map(drop),
        Kind::Credit => wire::credit(frame.payload).map(drop),
        _ => Ok(()),
    }
}

#[test]
fn golden_frames_encode_and_decode() {
    let golden = golden();
    let frames = golden["frames"].as_array().unwrap();
    assert!(frames.len() >= 20);
    frames.iter().for_each(check_frame);
}

/// Their payloads are the business of `contract` and `memory`.
#[test]
fn golden_frames_of_calls_have_their_headers() {
    let golden = read_golden("calls.json");
    for description in golden["frames"].as_array().unwrap() {
        let name = description["name"].as_str().unwrap();
        let bytes = bytes_of(description["hex"].as_str().unwrap());
        let frame = decode_frame(&bytes).unwrap().expect(name);
        assert_eq!(frame.encoded_len(), bytes.len(), "{name}");
        assert_eq!(format!("{:?}", frame.kind).to_uppercase(), description["kind"].as_str().unwrap(), "{name}");
        let number = |key: &str| description[key].as_u64().unwrap();
        let found = (u64::from(frame.stream), u64::from(frame.flags), u64::from(frame.aux));
        assert_eq!(found, (number("stream"), number("flags"), number("aux")), "{name}");
        let mut again = Vec::new();
        wire::put_frame(&mut again, frame.kind, frame.flags, frame.aux, frame.stream, frame.payload);
        assert_eq!(again, bytes, "{name}");
    }
}

#[test]
fn golden_refusals_are_refused() {
    for refused in golden()["refused"].as_array().unwrap() {
        let bytes = bytes_of(refused["hex"].as_str().unwrap());
        assert!(read(&bytes).is_err(), "{}", refused["name"]);
    }
}

#[test]
fn an_incomplete_frame_is_none_at_every_length() {
    for description in golden()["frames"].as_array().unwrap() {
        let bytes = bytes_of(description["hex"].as_str().unwrap());
        for end in 0..bytes.len() {
            assert_eq!(decode_frame(&bytes[..end]), Ok(None), "{}", description["name"]);
        }
    }
}
