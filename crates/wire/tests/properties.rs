//! What holds for all frames, not only for the golden ones.

use proptest::collection::vec;
use proptest::prelude::*;
use wire::{Kind, RequestHead, RequestParts, ResetCode, ResponseHead, decode_frame};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields() -> impl Strategy<Value = Fields> {
    vec((vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..60)), 0..20)
}

fn borrowed(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice()))
}

proptest! {
    #[test]
    fn requests_survive_the_round_trip(
        fields in fields(), target in vec(any::<u8>(), 0..200), body in vec(any::<u8>(), 0..300), stream: u32, https: bool,
    ) {
        let parts = RequestParts {
            version: 11, https, remote_port: 1, local_port: 2, method: b"GET", target: &target,
            remote_addr: b"::1", local_addr: b"", prefix: b"/p", request_id: b"id",
        };
        let mut out = b"before".to_vec();
        wire::put_request(&mut out, stream, wire::FLAG_END, &parts, borrowed(&fields), &body).unwrap();
        let frame = decode_frame(&out[6..]).unwrap().unwrap();
        prop_assert_eq!(frame.encoded_len(), out.len() - 6);
        let head = RequestHead::parse(frame.payload).unwrap();
        prop_assert_eq!((head.target, head.body, head.https, frame.stream), (&target[..], &body[..], https, stream));
        prop_assert!(head.fields.iter().eq(borrowed(&fields)));
    }

    #[test]
    fn responses_survive_the_round_trip(fields in fields(), body in vec(any::<u8>(), 0..300), end: bool) {
        let mut out = Vec::new();
        wire::put_response(&mut out, 5, 207, b"Many", borrowed(&fields), &body, end).unwrap();
        let frame = decode_frame(&out).unwrap().unwrap();
        let head = ResponseHead::parse(frame.payload).unwrap();
        prop_assert_eq!((head.reason, head.body, frame.ends(), frame.aux), (&b"Many"[..], &body[..], end, 207));
        prop_assert!(head.fields.iter().eq(borrowed(&fields)));
    }

    #[test]
    fn frames_of_topics_survive_the_round_trip(
        topic in "\\PC{1,64}", rest in vec(any::<u8>(), 0..300), stream: u32, aux: u16, members: u32, joined: bool,
    ) {
        for kind in [Kind::Subscribe, Kind::Unsubscribe, Kind::Publish, Kind::Message] {
            let mut out = Vec::new();
            wire::put_topic(&mut out, kind, wire::FLAG_TEXT, aux, stream, &topic, &rest).unwrap();
            let frame = decode_frame(&out).unwrap().unwrap();
            prop_assert_eq!((frame.kind, frame.flags, frame.aux, frame.stream), (kind, wire::FLAG_TEXT, aux, stream));
            prop_assert_eq!(frame.encoded_len(), out.len());
            prop_assert_eq!(wire::topic(kind, frame.payload).unwrap(), (topic.as_str(), &rest[..]));
        }
        let mut out = Vec::new();
        wire::put_presence(&mut out, joined, &topic, members, &rest);
        let frame = decode_frame(&out).unwrap().unwrap();
        let (name, said) = wire::topic(Kind::Presence, frame.payload).unwrap();
        prop_assert_eq!((name, frame.flags == wire::FLAG_JOINED), (topic.as_str(), joined));
        prop_assert_eq!(said, [&members.to_le_bytes()[..], &rest].concat());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..200), kind in 0u8..0x50) {
        let mut bytes = bytes;
        if bytes.len() > 12 {
            let length = (bytes.len() - 12) as u32;
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes[8] = kind;
        }
        if let Ok(Some(frame)) = decode_frame(&bytes) {
            if let Ok(head) = RequestHead::parse(frame.payload) {
                head.fields.iter().for_each(drop);
            }
            if let Ok(head) = ResponseHead::parse(frame.payload) {
                head.fields.iter().for_each(drop);
            }
            if let Ok(list) = wire::field_list(Kind::Trailers, frame.payload) {
                list.iter().for_each(drop);
            }
            let _ = wire::credit(frame.payload);
            if let Ok((topic, rest)) = wire::topic(frame.kind, frame.payload) {
                prop_assert!((1..=wire::TOPIC_MAX).contains(&topic.len()) && 2 + topic.len() + rest.len() == frame.payload.len());
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let long = vec![b'x'; 70_000];
    let parts = RequestParts {
        version: 11,
        https: false,
        remote_port: 0,
        local_port: 0,
        method: b"GET",
        target: b"/",
        remote_addr: b"",
        local_addr: b"",
        prefix: b"",
        request_id: b"",
    };
    let mut out = b"before".to_vec();
    let fields = [(b"name".as_slice(), long.as_slice())];
    wire::put_request(&mut out, 1, 0, &parts, fields.into_iter(), b"").unwrap_err();
    assert_eq!(out, b"before");
    let huge = vec![0; wire::PAYLOAD_MAX + 1];
    wire::put_response(&mut out, 1, 200, b"", std::iter::empty(), &huge, true).unwrap_err();
    assert_eq!(out, b"before");
}

#[test]
fn a_resets_text_is_cut_at_a_characters_border() {
    let mut out = Vec::new();
    wire::put_reset(&mut out, 1, ResetCode::Internal, &"é".repeat(40_000));
    let frame = decode_frame(&out).unwrap().unwrap();
    assert!(frame.payload.len() <= wire::RESET_TEXT_MAX);
    assert!(std::str::from_utf8(frame.payload).is_ok());
}
