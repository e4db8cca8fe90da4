//! A handshake's REQUEST as it goes to the worker that is to take the socket over.

use wire::{FLAG_END, FLAG_TAKE_OVER, FLAG_UPGRADE, FLAG_WEBSOCKET, Kind, RequestHead, RequestParts};

fn handshake() -> Vec<u8> {
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
    let fields = [(&b"host"[..], &b"h"[..])];
    let flags = FLAG_END | FLAG_UPGRADE | FLAG_WEBSOCKET;
    wire::put_request(&mut frame, 7, flags, &parts, fields.into_iter(), b"").unwrap();
    frame
}

fn texts(mut body: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<2>() {
        let (text, rest) = rest.split_at(u16::from_le_bytes(*length) as usize);
        texts.push(text);
        body = rest;
    }
    texts
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
