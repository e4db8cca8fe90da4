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
        Kind::Subscribe | Kind::Unsubscribe | Kind::Publish | Kind::Message | Kind::Presence => check_topic(frame, encoded),
        _ => {}
    }
}

fn check_topic(frame: &Frame<'_>, encoded: &[u8]) {
    let Ok((topic, rest)) = wire::topic(frame.kind, frame.payload) else { return };
    let mut out = Vec::new();
    wire::put_topic(&mut out, frame.kind, frame.flags, frame.aux, frame.stream, topic, rest).expect("a decoded topic fits");
    assert_eq!(out, encoded);
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
    let texts: Vec<_> = wire::take_over_texts(head.body).collect();
    let (subprotocol, topics) = texts.split_first().map_or((&b""[..], &[][..]), |(first, rest)| (*first, rest));
    let topics = topics.chunks_exact(2).filter_map(|pair| Some((std::str::from_utf8(pair[0]).ok()?, pair[1])));
    let before = out.len();
    wire::mark_taken_over(&mut out, subprotocol, topics);
    assert!(out.len() <= before + wire::TAKE_OVER_BODY_MAX && wire::decode_frame(&out).is_ok());
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
