//! A handshake's REQUEST as it goes to the worker that is to take the socket over.

use proptest::collection::vec;
use proptest::prelude::*;
use wire::{FLAG_END, FLAG_TAKE_OVER, FLAG_UPGRADE, FLAG_WEBSOCKET, Kind, RequestHead, RequestParts};

fn handshake() -> Vec<u8> {
    handshake_with(b"h")
}

/// With a value of the field Cookie.
fn handshake_with(cookie: &[u8]) -> Vec<u8> {
    let parts = RequestParts {
        version: 11,
        https: false,
        remote_port: 1,
        local_port: 2,
        method: b"GET",
        target: b"/room",
        remote_addr: b"127.0.0.1",
        local_addr: b"127.0.0.1",
        prefix: b"",
        request_id: b"the-id",
    };
    let mut frame = Vec::new();
    let fields = [(&b"cookie"[..], cookie); 17];
    let flags = FLAG_END | FLAG_UPGRADE | FLAG_WEBSOCKET;
    wire::put_request(&mut frame, 7, flags, &parts, fields.into_iter(), b"").unwrap();
    frame
}

fn texts(body: &[u8]) -> Vec<&[u8]> {
    wire::take_over_texts(body).collect()
}

#[test]
fn the_request_is_the_same_and_says_what_is_known_of_the_socket() {
    let mut frame = handshake();
    wire::mark_taken_over(&mut frame, b"chat", [("a", &b"Ada"[..]), ("b", b"")].into_iter());
    let decoded = wire::decode_frame(&frame).unwrap().unwrap();
    assert_eq!((decoded.kind, decoded.stream, decoded.encoded_len()), (Kind::Request, 7, frame.len()));
    assert_eq!(decoded.flags, FLAG_END | FLAG_UPGRADE | FLAG_WEBSOCKET | FLAG_TAKE_OVER);
    let head = RequestHead::parse(decoded.payload).unwrap();
    assert_eq!((head.target, head.request_id), (&b"/room"[..], &b"the-id"[..]));
    assert_eq!(texts(head.body), [&b"chat"[..], b"a", b"Ada", b"b", b""]);
}

#[test]
fn topics_that_do_not_fit_are_left_out_whole() {
    let mut frame = handshake();
    let name = "n".repeat(wire::MEMBER_NAME_MAX);
    let topics: Vec<String> = (0..1024).map(|number| format!("{number:0256}")).collect();
    wire::mark_taken_over(&mut frame, b"", topics.iter().map(|topic| (topic.as_str(), name.as_bytes())));
    let decoded = wire::decode_frame(&frame).unwrap().unwrap();
    let body = RequestHead::parse(decoded.payload).unwrap().body;
    assert!(body.len() <= wire::TAKE_OVER_BODY_MAX && body.len() > wire::TAKE_OVER_BODY_MAX - 1024);
    let found = texts(body);
    assert_eq!(found.len() % 2, 1);
    assert!(found[1..].chunks(2).zip(&topics).all(|(pair, topic)| pair == [topic.as_bytes(), name.as_bytes()]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_known_the_frame_stays_within_its_bounds(
        cookie in prop_oneof![0usize..61_660, 61_600usize..61_660], subprotocol in 0usize..300, lengths in vec((1usize..=256, 0usize..=256), 0..800),
    ) {
        let mut frame = handshake_with(&vec![b'x'; cookie]);
        let before = frame.len();
        let subprotocol = "s".repeat(subprotocol);
        let topics: Vec<_> = lengths.iter().map(|(topic, name)| ("t".repeat(*topic), "n".repeat(*name).into_bytes())).collect();
        wire::mark_taken_over(&mut frame, subprotocol.as_bytes(), topics.iter().map(|(topic, name)| (topic.as_str(), &name[..])));
        let decoded = wire::decode_frame(&frame).unwrap().unwrap();
        prop_assert_eq!(decoded.encoded_len(), frame.len());
        let body = RequestHead::parse(decoded.payload).unwrap().body;
        prop_assert_eq!(body.len(), frame.len() - before);
        prop_assert!(body.len() <= wire::TAKE_OVER_BODY_MAX);
        let found = texts(body);
        prop_assert_eq!(found.iter().map(|text| 2 + text.len()).sum::<usize>(), body.len());
        if let Some((first, pairs)) = found.split_first() {
            prop_assert_eq!(*first, subprotocol.as_bytes());
            // All of them that fit, each with its name, in order.
            let mut known = topics.iter();
            for pair in pairs.chunks(2) {
                prop_assert!(known.any(|(topic, name)| pair == [topic.as_bytes(), &name[..]]));
            }
        }
    }

    #[test]
    fn no_body_makes_a_reader_panic(body in vec(any::<u8>(), 0..300)) {
        let read: usize = texts(&body).iter().map(|text| 2 + text.len()).sum();
        prop_assert!(read <= body.len());
    }
}
