//! Byte ranges (RFC 9110 §14). Pure.

/// Most ranges answered in one response; a request for more gets the whole file, as §14.2 allows. Browsers
/// and download tools ask for one, PDF readers for a few.
pub(super) const RANGES_MAX: usize = 16;

/// Which part of a representation to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: no range, not in bytes, malformed, or not worth it.
    All,
    /// These parts, in the order asked for; at least one. First byte and length (never 0).
    Parts(Vec<(u64, u64)>),
    /// None of the ranges lies within: 416.
    Unsatisfiable,
}

/// Reads a `range` field for a representation of `size` bytes.
pub(super) fn select(field: &[u8], size: u64) -> Selection {
    let Some(equals) = field.iter().position(|&b| b == b'=') else { return Selection::All };
    if !field[..equals].eq_ignore_ascii_case(b"bytes") {
        return Selection::All;
    }
    let (mut parts, mut asked) = (Vec::new(), 0);
    for range in field[equals + 1..].split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        if range.is_empty() {
            continue;
        }
        asked += 1;
        if asked > RANGES_MAX {
            return Selection::All;
        }
        match parse(range, size) {
            Err(()) => return Selection::All,
            Ok(None) => {}
            Ok(Some(part)) => parts.push(part),
        }
    }
    if asked == 0 {
        return Selection::All;
    }
    if parts.is_empty() {
        return Selection::Unsatisfiable;
    }
    // Overlapping ranges may add up to far more than the file: an old attack (§14.2, §17.15).
    if parts.len() > 1 && parts.iter().map(|part| part.1).sum::<u64>() >= size {
        return Selection::All;
    }
    Selection::Parts(parts)
}

/// `first-last`, `first-` or `-suffix`; `None` when it lies outside.
fn parse(range: &[u8], size: u64) -> Result<Option<(u64, u64)>, ()> {
    let dash = range.iter().position(|&b| b == b'-').ok_or(())?;
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        return Ok((suffix > 0).then(|| (size - suffix, suffix)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return Err(());
    }
    Ok((first < size).then(|| (first, last.min(size - 1) - first + 1)))
}

/// Digits; a number too large for 64 bits is as good as the largest.
fn number(digits: &[u8]) -> Result<u64, ()> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    Ok(digits.iter().fold(0_u64, |n, &d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(field: &str, size: u64, expected: Selection) {
        assert_eq!(select(field.as_bytes(), size), expected, "{field} of {size}");
    }

    fn parts(parts: &[(u64, u64)]) -> Selection {
        Selection::Parts(parts.to_vec())
    }

    #[test]
    fn single_ranges() {
        check("bytes=0-499", 10_000, parts(&[(0, 500)]));
        check("bytes=500-999", 10_000, parts(&[(500, 500)]));
        check("bytes=-500", 10_000, parts(&[(9500, 500)]));
        check("bytes=9500-", 10_000, parts(&[(9500, 500)]));
        check("Bytes=0-0", 10_000, parts(&[(0, 1)]));
        check("bytes=0-99999999999999999999999", 10, parts(&[(0, 10)]));
        check("bytes=-99999999999999999999999", 10, parts(&[(0, 10)]));
    }

    #[test]
    fn several_ranges() {
        check("bytes=0-0, -1", 10_000, parts(&[(0, 1), (9999, 1)]));
        check("bytes= , 500-600 ,,601-999", 10_000, parts(&[(500, 101), (601, 399)]));
        check("bytes=0-1,99-", 50, parts(&[(0, 2)]));
        check("bytes=0-,0-", 10, Selection::All);
        check(&format!("bytes={}", ["0-0"; RANGES_MAX].join(",")), 100, parts(&[(0, 1); RANGES_MAX]));
        check(&format!("bytes={}", ["0-0"; RANGES_MAX + 1].join(",")), 100, Selection::All);
    }

    #[test]
    fn outside_is_unsatisfiable_and_malformed_is_ignored() {
        check("bytes=10-", 10, Selection::Unsatisfiable);
        check("bytes=0-", 0, Selection::Unsatisfiable);
        check("bytes=-0", 10, Selection::Unsatisfiable);
        for field in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1", "lines=1-2", "bytes=1--2", "bytes=+1-2"]
        {
            check(field, 10, Selection::All);
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within(field in "bytes=[0-9,-]{0,20}", size in 0_u64..40) {
            if let Selection::Parts(parts) = select(field.as_bytes(), size) {
                prop_assert!(!parts.is_empty());
                for (first, len) in parts {
                    prop_assert!(len > 0 && first + len <= size);
                }
            }
        }
    }
}
