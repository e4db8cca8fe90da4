//! Names of requests, for logs and for the application.
//!
//! An id is unique, not secret: who has seen one can guess its neighbours.

use std::hash::{BuildHasher, RandomState};

/// Bytes of an id made here.
pub const REQUEST_ID_LEN: usize = 20;
/// Longest id that a trusted proxy may give, in bytes; longer ones are replaced.
pub const INCOMING_LEN_MAX: usize = 128;

/// Crockford's base 32: no letters that people mistake for digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const PREFIX_LEN: usize = 12;
const COUNTER_BITS: u32 = 5 * (REQUEST_ID_LEN - PREFIX_LEN) as u32;

/// An id: 20 lower-case letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId([u8; REQUEST_ID_LEN]);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id as bytes, all of them ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes the ids of one thread: 60 random bits drawn at start, then a counter of 40 bits that begins
/// anywhere. Two threads or two servers collide when both parts do, which no log will live to see.
#[derive(Debug)]
pub struct Generator {
    prefix: [u8; PREFIX_LEN],
    next: u64,
    left: u64,
}

impl Generator {
    /// A generator unlike any other.
    pub fn new() -> Generator {
        // The standard library seeds its hashers from the system's random source; no second one is needed
        // for ids that are not secret.
        let random = RandomState::new();
        let (prefix_bits, next) = (random.hash_one(0_u8), random.hash_one(1_u8));
        let mut prefix = [0; PREFIX_LEN];
        encode(prefix_bits, &mut prefix);
        Generator { prefix, next, left: 1 << COUNTER_BITS }
    }

    /// The next id.
    pub fn next_id(&mut self) -> RequestId {
        if self.left == 0 {
            *self = Generator::new();
        }
        let mut id = [0; REQUEST_ID_LEN];
        id[..PREFIX_LEN].copy_from_slice(&self.prefix);
        encode(self.next, &mut id[PREFIX_LEN..]);
        self.next = self.next.wrapping_add(1);
        self.left -= 1;
        RequestId(id)
    }
}

impl Default for Generator {
    fn default() -> Generator {
        Generator::new()
    }
}

/// Whether an incoming `x-request-id` may be taken over: from a trusted proxy, not empty, not too long, and
/// made of characters that neither a log nor a header needs to escape.
pub fn acceptable(value: &[u8], from_trusted_proxy: bool) -> bool {
    from_trusted_proxy
        && (1..=INCOMING_LEN_MAX).contains(&value.len())
        && value.iter().all(|&b| b.is_ascii_alphanumeric() || b"-_.~:+/=@".contains(&b))
}

fn encode(mut bits: u64, out: &mut [u8]) {
    for byte in out.iter_mut().rev() {
        *byte = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_across_generators_and_well_formed() {
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let mut generator = Generator::new();
            for _ in 0..1000 {
                let id = generator.next_id();
                assert_eq!(id.as_str().len(), REQUEST_ID_LEN);
                assert!(acceptable(id.as_bytes(), true));
                assert!(seen.insert(id), "{id:?} came twice");
            }
        }
    }

    #[test]
    fn a_spent_counter_starts_a_new_prefix() {
        let mut generator = Generator::new();
        let before = generator.prefix;
        generator.left = 0;
        generator.next_id();
        assert_ne!(generator.prefix, before);
    }

    #[test]
    fn incoming_ids_are_taken_only_from_trusted_proxies_and_when_harmless() {
        assert!(acceptable(b"4bf92f35-77b3:a_b.c", true));
        assert!(!acceptable(b"4bf92f35", false));
        assert!(!acceptable(b"", true));
        assert!(!acceptable(&[b'a'; INCOMING_LEN_MAX + 1], true));
        for bad in ["a b", "a\"b", "a\nb", "a,b", "a;b", "a\\b", "é"] {
            assert!(!acceptable(bad.as_bytes(), true), "{bad:?}");
        }
    }
}
