//! Masking (RFC 6455 §5.3).

/// Unmasks in place. `offset` is the position of the first byte in its frame's payload.
pub fn unmask(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let mut key = u32::from_ne_bytes(key);
    // Turned so that its first byte is the one for the first byte here.
    let turn = 8 * (offset % 4) as u32;
    key = if cfg!(target_endian = "little") { key.rotate_right(turn) } else { key.rotate_left(turn) };
    let wide = u64::from(key) | u64::from(key) << 32;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_rule_of_the_rfc(bytes: Vec<u8>, key: [u8; 4], offset in 0u64..1000) {
            let mut fast = bytes.clone();
            unmask(&mut fast, key, offset);
            let slow: Vec<u8> = bytes.iter().zip(offset..).map(|(byte, at)| byte ^ key[(at % 4) as usize]).collect();
            prop_assert_eq!(fast, slow);
        }
    }
}
