//! Whole sessions: what a client could send, cut anywhere, and what a server answers.

use std::rc::Rc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;
use websocket::{Agreed, CloseCode, Limits, Pool, Receiver, Sender, Step, Violation};

const LIMITS: Limits = Limits { message_bytes_max: 1 << 20 };
const NO_TAKEOVER: Agreed =
    Agreed { server_no_context_takeover: true, client_no_context_takeover: true, server_max_window_bits: None };
const TAKEOVER: Agreed =
    Agreed { server_no_context_takeover: false, client_no_context_takeover: false, server_max_window_bits: None };

/// What a session came to.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseCode, String),
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    out
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::new(6), false);
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    state.compress_vec(bytes, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

/// Feeds `bytes` in reads of `read` bytes with room for `room`.
fn check_session(mut receiver: Receiver, bytes: &[u8], read: usize, room: usize) -> Result<Vec<Seen>, Violation> {
    let mut seen = Vec::new();
    let mut message = Vec::new();
    let mut waiting = Vec::new();
    let mut inflated = [0; 64];
    for chunk in bytes.chunks(read.max(1)) {
        waiting.extend_from_slice(chunk);
        loop {
            let (taken, step) = receiver.next(&mut waiting, &mut inflated, room)?;
            let more = match step {
                Step::More => false,
                Step::Blocked => panic!("blocked with room"),
                Step::Data { text, bytes, end } => {
                    assert!(bytes.len() <= room);
                    message.extend_from_slice(bytes);
                    if end {
                        let whole = std::mem::take(&mut message);
                        seen.push(if text { Seen::Text(String::from_utf8(whole).unwrap()) } else { Seen::Binary(whole) });
                    }
                    true
                }
                Step::Ping(payload) => {
                    seen.push(Seen::Ping(payload.to_vec()));
                    true
                }
                Step::Pong(payload) => {
                    seen.push(Seen::Pong(payload.to_vec()));
                    true
                }
                Step::Close(code, reason) => {
                    seen.push(Seen::Close(code, reason.to_owned()));
                    return Ok(seen);
                }
            };
            waiting.drain(..taken);
            if !more {
                break;
            }
        }
    }
    assert!(message.is_empty(), "a message is incomplete");
    Ok(seen)
}

fn plain(bytes: &[u8]) -> Result<Vec<Seen>, Violation> {
    let whole = check_session(Receiver::plain(LIMITS), bytes, usize::MAX, usize::MAX);
    assert_eq!(check_session(Receiver::plain(LIMITS), bytes, 1, 3), whole, "cut into bytes it reads differently");
    whole
}

fn inflating(agreed: Agreed, bytes: &[u8]) -> Result<Vec<Seen>, Violation> {
    let receiver = || Receiver::inflating(LIMITS, agreed, Rc::new(Pool::new(6, 4)));
    let whole = check_session(receiver(), bytes, usize::MAX, usize::MAX);
    assert_eq!(check_session(receiver(), bytes, 1, 3), whole, "cut into bytes it reads differently");
    whole
}

fn code_of(result: Result<Vec<Seen>, Violation>) -> u16 {
    result.expect_err("a violation").code.0
}

#[test]
fn messages_fragments_and_control_frames_between_them() {
    let bytes = [
        frame(0x01, b"Hel"),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x80, b"lo"),
        frame(0x82, b""),
        frame(0x8a, b"unasked"),
        frame(0x88, b"\x03\xe8bye"),
    ];
    let seen = [
        Seen::Ping(b"between".to_vec()),
        Seen::Text("Hello".into()),
        Seen::Binary(Vec::new()),
        Seen::Pong(b"unasked".to_vec()),
        Seen::Close(CloseCode::NORMAL, "bye".into()),
    ];
    assert_eq!(plain(&bytes.concat()), Ok(seen.to_vec()));
}

#[test]
fn what_breaks_the_protocol() {
    let unmasked = [0x81, 2, b'h', b'i'];
    assert_eq!(code_of(plain(&unmasked)), 1002);
    for (first, payload) in [
        (0x91, &b""[..]),
        (0xc1, b""),
        (0x83, b""),
        (0x8b, b""),
        (0x09, b"fragmented ping"),
        (0x80, b"continues nothing"),
        (0x89, &[0; 126]),
        (0x88, b"\x03"),
        (0x88, b"\x03\xed"),
    ] {
        assert_eq!(code_of(plain(&frame(first, payload))), 1002, "{first:x} {payload:?}");
    }
    assert_eq!(code_of(plain(&[frame(0x01, b"a"), frame(0x81, b"b")].concat())), 1002);
    let long_form = [&[0x82, 0xfe, 0, 5][..], &[0; 9]].concat();
    assert_eq!(code_of(plain(&long_form)), 1002);
}

#[test]
fn text_is_checked_as_it_arrives() {
    assert_eq!(code_of(plain(&frame(0x81, b"\xff"))), 1007);
    assert_eq!(code_of(plain(&frame(0x81, "é".as_bytes().split_at(1).0))), 1007);
    // The message has not ended, but can't be saved any more.
    assert_eq!(code_of(plain(&frame(0x01, b"\xf4\x90"))), 1007);
    let cut = [frame(0x01, b"\xe2\x82"), frame(0x80, b"\xac")].concat();
    assert_eq!(plain(&cut), Ok(vec![Seen::Text("€".into())]));
    assert!(plain(&frame(0x82, b"\xff")).is_ok());
}

#[test]
fn a_message_has_a_largest_size_whole_or_in_pieces() {
    let limits = Limits { message_bytes_max: 10 };
    let check = |bytes: &[u8]| check_session(Receiver::plain(limits), bytes, usize::MAX, usize::MAX);
    assert!(check(&frame(0x82, &[0; 10])).is_ok());
    assert_eq!(code_of(check(&frame(0x82, &[0; 11]))), 1009);
    assert_eq!(code_of(check(&[frame(0x02, &[0; 6]), frame(0x80, &[0; 5])].concat())), 1009);
    // Found by the header, before any of the payload.
    assert_eq!(code_of(check(&[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0])), 1009);
}

#[test]
fn empty_fragments_come_to_an_end() {
    let mut bytes = frame(0x01, b"");
    for _ in 0..2000 {
        bytes.extend(frame(0x00, b""));
    }
    assert_eq!(code_of(check_session(Receiver::plain(LIMITS), &bytes, usize::MAX, 1)), 1008);
}

#[test]
fn compressed_messages_of_every_shape() {
    let text = "compress me, compress me, compress me, ".repeat(40);
    let packed = deflated(text.as_bytes());
    let (head, tail) = packed.split_at(packed.len() / 2);
    let bytes = [
        frame(0xc1, &packed),
        frame(0x41, head),
        frame(0x89, b"between"),
        frame(0x80, tail),
        frame(0x41, &packed),
        frame(0x80, b""),
        frame(0x81, b"not compressed"),
        frame(0xc2, &[0]),
    ];
    let seen = [
        Seen::Text(text.clone()),
        Seen::Ping(b"between".to_vec()),
        Seen::Text(text.clone()),
        Seen::Text(text),
        Seen::Text("not compressed".into()),
        Seen::Binary(Vec::new()),
    ];
    assert_eq!(inflating(NO_TAKEOVER, &bytes.concat()), Ok(seen.to_vec()));
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 7692 §7.2.3.1 to §7.2.3.5: one block, with a context, as it is, a final block, two blocks.
    let hello = vec![Seen::Text("Hello".into())];
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        assert_eq!(inflating(NO_TAKEOVER, &frame(0xc1, payload)), Ok(hello.clone()), "{payload:x?}");
    }
    let twice = [frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), frame(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00])];
    assert_eq!(inflating(TAKEOVER, &twice.concat()), Ok([hello.clone(), hello].concat()));
}

#[test]
fn bombs_and_rubbish_are_found_out() {
    // 64 MiB of zeros in 64 KiB.
    let bomb = frame(0xc2, &deflated(&vec![0; 64 << 20]));
    let receiver = Receiver::inflating(LIMITS, NO_TAKEOVER, Rc::new(Pool::new(6, 4)));
    assert_eq!(code_of(check_session(receiver, &bomb, usize::MAX, usize::MAX)), 1009);
    // Blocks that hold nothing.
    let nothing = frame(0xc2, &[0x00, 0x00, 0x00, 0xff, 0xff].repeat((1 << 20) / 4));
    let receiver = Receiver::inflating(LIMITS, NO_TAKEOVER, Rc::new(Pool::new(6, 4)));
    assert_eq!(code_of(check_session(receiver, &nothing, usize::MAX, usize::MAX)), 1009);
    assert_eq!(code_of(inflating(NO_TAKEOVER, &frame(0xc1, b"\xff\xff\xff"))), 1007);
    assert_eq!(code_of(inflating(NO_TAKEOVER, &frame(0xc1, &deflated(b"\xff")))), 1007);
    // Bits that no agreement allows.
    assert_eq!(code_of(inflating(NO_TAKEOVER, &[frame(0x41, &[0]), frame(0xc0, &[0])].concat())), 1002);
}

#[test]
fn without_room_data_waits_and_control_frames_do_not() {
    let mut receiver = Receiver::plain(LIMITS);
    let mut bytes = [frame(0x89, b"p"), frame(0x82, b"data")].concat();
    let mut inflated = [0; 8];
    let (taken, step) = receiver.next(&mut bytes, &mut inflated, 0).unwrap();
    assert_eq!(step, Step::Ping(b"p"));
    bytes.drain(..taken);
    let (taken, step) = receiver.next(&mut bytes, &mut inflated, 0).unwrap();
    assert_eq!(step, Step::Blocked);
    bytes.drain(..taken);
    let (_, step) = receiver.next(&mut bytes, &mut inflated, 10).unwrap();
    assert_eq!(step, Step::Data { text: false, bytes: b"data", end: true });
}

/// Reads a server's frames back: opcode with bits, payload.
fn server_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!(second & 0x80, 0, "a server's frame is not masked");
        let (length, rest) = match second {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            short => (*short as usize, rest),
        };
        frames.push((*first, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    frames
}

/// What a client reads of a sender's messages, sent whole and in pieces.
fn check_sent(agreed: Agreed, messages: &[Vec<Vec<u8>>]) {
    let pool = Rc::new(Pool::new(6, 2));
    let mut sender = Sender::deflating(agreed, pool, 0);
    let mut out = Vec::new();
    for message in messages {
        for (at, piece) in message.iter().enumerate() {
            sender.put(&mut out, piece, false, at + 1 == message.len());
        }
        assert!(!sender.in_message());
    }
    let mut frames = server_frames(&out).into_iter();
    let bits = agreed.server_max_window_bits.unwrap_or(15);
    let mut state = Decompress::new_with_window_bits(false, bits);
    for message in messages {
        let mut packed = Vec::new();
        for at in 0..message.len() {
            let (first, payload) = frames.next().unwrap();
            let fin = if at + 1 == message.len() { 0x80 } else { 0 };
            assert_eq!(first, fin | if at == 0 { 0x42 } else { 0 });
            assert!(!payload.is_empty() || fin == 0);
            packed.extend(payload);
        }
        packed.extend([0, 0, 0xff, 0xff]);
        if agreed.server_no_context_takeover {
            state = Decompress::new_with_window_bits(false, bits);
        }
        let whole = message.concat();
        let mut unpacked = Vec::with_capacity(whole.len() + 64);
        state.decompress_vec(&packed, &mut unpacked, FlushDecompress::Sync).unwrap();
        assert_eq!(unpacked, whole);
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_is_read(
        messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(0u8..4, 0..300), 1..4), 1..6),
        takeover: bool,
        bits in prop::option::of(9u8..=15),
    ) {
        let agreed = Agreed { server_max_window_bits: bits, ..if takeover { TAKEOVER } else { NO_TAKEOVER } };
        check_sent(agreed, &messages);
    }

    #[test]
    fn reads_may_be_cut_anywhere(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..5),
        packed: bool, read in 1usize..500, room in 1usize..500,
    ) {
        let first = if packed { 0xc2 } else { 0x82 };
        let payload = |message: &Vec<u8>| if packed { deflated(message) } else { message.clone() };
        let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(first, &payload(message))).collect();
        let receiver = Receiver::inflating(LIMITS, NO_TAKEOVER, Rc::new(Pool::new(1, 1)));
        let seen = check_session(receiver, &bytes, read, room).unwrap();
        prop_assert_eq!(seen, messages.into_iter().map(Seen::Binary).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_make_it_panic_or_hang(bytes: Vec<u8>, masked: bool, room in 0usize..50) {
        let bytes = if masked && bytes.len() > 1 { frame(bytes[0], &bytes[1..]) } else { bytes };
        let mut receiver = Receiver::inflating(LIMITS, TAKEOVER, Rc::new(Pool::new(1, 1)));
        let (mut waiting, mut inflated) = (bytes, [0; 16]);
        for _ in 0..2000 {
            match receiver.next(&mut waiting, &mut inflated, room) {
                Ok((_, Step::More | Step::Blocked | Step::Close(..))) | Err(_) => return Ok(()),
                Ok((taken, _)) => drop(waiting.drain(..taken)),
            }
        }
        prop_assert!(false, "it goes on and on");
    }
}
