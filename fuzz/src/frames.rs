//! Feeds arbitrary bytes to the codec as if a peer had sent them. Nothing may panic, read past its input or
//! loop; whatever is accepted must encode to the very same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Frame, Kind, RequestHead, RequestParts, ResponseHead};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    // Every frame takes at least its header, so this ends.
    while let Ok(Some(frame)) = wire::decode_frame(rest) {
        let (encoded, tail) = rest.split_at(frame.encoded_len());
        rest = tail;
        check(&frame, encoded);
    }
});

fn check(frame: &Frame<'_>, encoded: &[u8]) {
    let mut again = Vec::new();
    wire::put_frame(&mut again, frame.kind, frame.flags, frame.aux, frame.stream, frame.payload);
    assert_eq!(again, encoded, "a frame changed on its way through the codec");
    match frame.kind {
        Kind::Request => {
            if let Ok(head) = RequestHead::parse(frame.payload) {
                check_request(frame, &head);
            }
        }
        Kind::Response => {
            if let Ok(head) = ResponseHead::parse(frame.payload) {
                check_response(frame, &head);
            }
        }
        Kind::Trailers | Kind::Informational => {
            if let Ok(fields) = wire::field_list(frame.kind, frame.payload) {
                let mut out = Vec::new();
                wire::put_field_list(&mut out, frame.kind, frame.flags, frame.aux, frame.stream, fields.iter())
                    .expect("decoded fields fit");
                assert_eq!(out, encoded);
            }
        }
        Kind::Credit => {
            if let Ok(granted) = wire::credit(frame.payload) {
                let mut out = Vec::new();
                wire::put_credit(&mut out, frame.stream, granted);
                assert_eq!(&out[wire::HEADER_LEN..], frame.payload);
            }
        }
        _ => {}
    }
}

fn check_request(frame: &Frame<'_>, head: &RequestHead<'_>) {
    let _ = (head.fields.get("host"), head.fields.len(), head.fields.is_empty());
    let parts = RequestParts {
        version: head.version,
        https: head.https,
        remote_port: head.remote_port,
        local_port: head.local_port,
        method: head.method,
        target: head.target,
        remote_addr: head.remote_addr,
        local_addr: head.local_addr,
        prefix: head.prefix,
        request_id: head.request_id,
    };
    let mut out = Vec::new();
    wire::put_request(&mut out, frame.stream, frame.flags, &parts, head.fields.iter(), head.body)
        .expect("a decoded request fits");
    assert_eq!(&out[wire::HEADER_LEN..], frame.payload);
    assert_eq!(wire::request_len(&parts, head.fields.iter()) + head.body.len(), frame.encoded_len());
}

fn check_response(frame: &Frame<'_>, head: &ResponseHead<'_>) {
    let mut out = Vec::new();
    let written = wire::put_response(
        &mut out,
        frame.stream,
        frame.aux,
        head.reason,
        head.fields.iter(),
        head.body,
        frame.ends(),
    );
    written.expect("a decoded response fits");
    assert_eq!(&out[wire::HEADER_LEN..], frame.payload);
}
