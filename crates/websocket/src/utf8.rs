//! UTF-8 checked piece by piece (RFC 6455 §8.1): a bad byte is found as soon as it arrives, wherever the pieces are cut.

/// What has been seen of a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validator {
    /// The beginning of a character whose end has not arrived.
    partial: [u8; 4],
    length: u8,
}

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl Validator {
    /// Looks at the next piece.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Invalid> {
        // At most three bytes finish a character.
        while self.length > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            self.partial[self.length as usize] = byte;
            self.length += 1;
            bytes = rest;
            match std::str::from_utf8(&self.partial[..self.length as usize]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Invalid),
            }
        }
        let Err(error) = std::str::from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Invalid);
        }
        let tail = &bytes[error.valid_up_to()..];
        self.partial[..tail.len()].copy_from_slice(tail);
        self.length = tail.len() as u8;
        Ok(())
    }

    /// Whether the text may end here.
    pub fn is_complete(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> bool {
        let mut validator = Validator::default();
        pieces.iter().all(|piece| validator.push(piece).is_ok()) && validator.is_complete()
    }

    proptest! {
        #[test]
        fn pieces_judge_as_the_whole_does(bytes: Vec<u8>, cuts: [u8; 3]) {
            let mut cuts = cuts.map(|cut| cut as usize % (bytes.len() + 1));
            cuts.sort_unstable();
            let pieces = [&bytes[..cuts[0]], &bytes[cuts[0]..cuts[1]], &bytes[cuts[1]..cuts[2]], &bytes[cuts[2]..]];
            prop_assert_eq!(check(&pieces), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn text_passes_byte_by_byte(text: String) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            prop_assert!(check(&pieces));
        }
    }

    #[test]
    fn a_bad_byte_is_found_before_the_character_ends() {
        let mut validator = Validator::default();
        assert_eq!(validator.push(b"\xf4"), Ok(()));
        assert_eq!(validator.push(b"\x90"), Err(Invalid));
    }
}
