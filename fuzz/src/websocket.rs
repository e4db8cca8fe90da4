//! Feeds arbitrary bytes to the WebSocket receiver as if a client had sent them, compressed data included. Nothing may
//! panic, loop, or give more of a message than the limit.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use websocket::{Agreed, Limits, Policy, Pool, Receiver, Sender, Step, handshake, negotiate};

const MESSAGE_BYTES_MAX: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[setup, room, read], bytes)) = bytes.split_first_chunk::<3>() else { return };
    let field = [(&b"sec-websocket-extensions"[..], bytes)];
    let _ = handshake::check(b"GET", field.iter().copied());
    let policy = Policy { context_takeover: setup & 1 != 0, window_bits_max: 9 + (setup >> 4) % 7 };
    let _ = negotiate([bytes].into_iter(), policy);
    let pool = Rc::new(Pool::new(1, 1));
    let agreed = Agreed {
        server_no_context_takeover: setup & 1 != 0,
        client_no_context_takeover: setup & 2 != 0,
        server_max_window_bits: Some(policy.window_bits_max),
    };
    let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX };
    let mut receiver = match setup & 4 {
        0 => Receiver::plain(limits),
        _ => Receiver::inflating(limits, agreed, pool.clone()),
    };
    let mut sender = Sender::deflating(agreed, pool, 8);
    let (mut waiting, mut inflated, mut echoed) = (Vec::new(), [0; 512], Vec::new());
    let mut message: u64 = 0;
    for chunk in bytes.chunks(1 + read as usize) {
        waiting.extend_from_slice(chunk);
        loop {
            let Ok((taken, step)) = receiver.next(&mut waiting, &mut inflated, room as usize) else { return };
            match step {
                Step::Close(..) => return,
                Step::More | Step::Blocked => {
                    waiting.drain(..taken);
                    break;
                }
                Step::Data { text, bytes, end } => {
                    assert!(bytes.len() <= room as usize);
                    message += bytes.len() as u64;
                    assert!(message <= MESSAGE_BYTES_MAX);
                    sender.put(&mut echoed, bytes, text, end);
                    if end {
                        message = 0;
                    }
                }
                Step::Ping(_) | Step::Pong(_) => {}
            }
            waiting.drain(..taken);
        }
    }
});
