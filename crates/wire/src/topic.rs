//! The frames of topics: their payload begins with the topic's name.

use crate::{HEADER_LEN, Kind, PAYLOAD_MAX, WireError, put_header};

/// Longest name of a topic, in bytes.
pub const TOPIC_MAX: usize = 256;
/// Longest name under which a socket joins a topic, in bytes.
pub const MEMBER_NAME_MAX: usize = 256;
/// What a worker may publish on a data link before it is granted more: payloads, and [`crate::MESSAGE_COST`] for each.
pub const PUBLISH_CREDIT: u32 = 2 << 20;
/// On SUBSCRIBE and UNSUBSCRIBE of a worker: for the coming and going of sockets, not for messages.
pub const FLAG_PRESENCE: u8 = 0x04;
/// On PRESENCE: the socket has joined; without, it has left.
pub const FLAG_JOINED: u8 = 0x01;

/// The data link, of `links`, on which everything about a topic travels: FNV-1a of its name.
pub fn topic_link(topic: &[u8], links: usize) -> usize {
    let hash = topic.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash as usize % links.max(1)
}

/// Splits the payload of SUBSCRIBE, UNSUBSCRIBE, PUBLISH, MESSAGE or PRESENCE into the topic and the rest.
pub fn topic(kind: Kind, payload: &[u8]) -> Result<(&str, &[u8]), WireError> {
    let (length, rest) = payload.split_first_chunk::<2>().ok_or(WireError::Truncated(kind))?;
    let length = u16::from_le_bytes(*length) as usize;
    if length == 0 || length > TOPIC_MAX {
        return Err(WireError::Invalid(kind, "a topic's name takes 1 to 256 bytes"));
    }
    let (name, rest) = rest.split_at_checked(length).ok_or(WireError::Truncated(kind))?;
    let name = std::str::from_utf8(name).map_err(|_| WireError::Invalid(kind, "a topic's name that is not UTF-8"))?;
    Ok((name, rest))
}

/// Appends SUBSCRIBE, UNSUBSCRIBE, PUBLISH or MESSAGE. On an error nothing is appended.
pub fn put_topic(
    out: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    aux: u16,
    stream: u32,
    topic: &str,
    rest: &[u8],
) -> Result<(), WireError> {
    if topic.is_empty() || topic.len() > TOPIC_MAX {
        return Err(WireError::Invalid(kind, "a topic's name takes 1 to 256 bytes"));
    }
    let length = 2 + topic.len() + rest.len();
    if length > PAYLOAD_MAX {
        return Err(WireError::Invalid(kind, "the payload would pass the maximum"));
    }
    out.reserve(HEADER_LEN + length);
    put_header(out, kind, flags, aux, stream, length);
    put_name(out, topic);
    out.extend_from_slice(rest);
    Ok(())
}

/// Appends a PRESENCE: a socket that calls itself `name` has come or gone, and `members` are there now.
pub fn put_presence(out: &mut Vec<u8>, joined: bool, topic: &str, members: u32, name: &[u8]) {
    let flags = if joined { FLAG_JOINED } else { 0 };
    put_header(out, Kind::Presence, flags, 0, 0, 2 + topic.len() + 4 + name.len());
    put_name(out, topic);
    out.extend_from_slice(&members.to_le_bytes());
    out.extend_from_slice(name);
}

/// Appends one topic to the payload of an ANSWER.
pub fn put_answer_entry(out: &mut Vec<u8>, topic: &str, sockets: u32, workers: u32) {
    put_name(out, topic);
    out.extend_from_slice(&sockets.to_le_bytes());
    out.extend_from_slice(&workers.to_le_bytes());
}

fn put_name(out: &mut Vec<u8>, topic: &str) {
    out.extend_from_slice(&(topic.len() as u16).to_le_bytes());
    out.extend_from_slice(topic.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_to_one_link() {
        // FNV-1a's published test vectors.
        assert_eq!(topic_link(b"", usize::MAX), 0x811c_9dc5);
        assert_eq!(topic_link(b"foobar", usize::MAX), 0xbf9c_f968);
        assert!((0..100).all(|i| topic_link(format!("room {i}").as_bytes(), 3) < 3));
    }

    #[test]
    fn names_out_of_bounds_are_refused_both_ways() {
        for name in [String::new(), "x".repeat(TOPIC_MAX + 1)] {
            let mut out = Vec::new();
            assert!(put_topic(&mut out, Kind::Publish, 0, 0, 0, &name, b"").is_err());
            assert!(out.is_empty());
            let mut payload = (name.len() as u16).to_le_bytes().to_vec();
            payload.extend_from_slice(name.as_bytes());
            assert!(topic(Kind::Publish, &payload).is_err());
        }
        assert!(topic(Kind::Publish, b"\x02\x00\xff\xff").is_err());
        assert!(topic(Kind::Publish, b"\x05\x00abc").is_err());
        assert!(topic(Kind::Publish, b"\x05").is_err());
    }
}
