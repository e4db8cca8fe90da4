//! From when to when a certificate is valid (RFC 5280 §4.1.2.5): the one thing we read of it ourselves.

use crate::date::seconds_of_civil;

/// Seconds since the Unix epoch; earlier times are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub not_before_s: u64,
    pub not_after_s: u64,
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

impl Validity {
    /// Reads a certificate in DER; `None` when it is not one.
    pub fn read(certificate: &[u8]) -> Option<Validity> {
        let mut outer = expect(&mut &certificate[..], SEQUENCE)?;
        let mut tbs = expect(&mut outer, SEQUENCE)?;
        if tbs.first() == Some(&VERSION) {
            element(&mut tbs)?;
        }
        expect(&mut tbs, INTEGER)?; // serial number
        expect(&mut tbs, SEQUENCE)?; // signature algorithm
        expect(&mut tbs, SEQUENCE)?; // issuer
        let mut validity = expect(&mut tbs, SEQUENCE)?;
        let not_before_s = time(element(&mut validity)?)?;
        let not_after_s = time(element(&mut validity)?)?;
        Some(Validity { not_before_s, not_after_s })
    }
}

/// Takes one element off: its tag and content.
fn element<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], mut rest) = der.split_first_chunk::<2>()?;
    let len = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        rest = after;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit))
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *der = rest;
    Some((tag, content))
}

fn expect<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(der).filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`; years below 50 of the short form are in this century.
fn time((tag, text): (u8, &[u8])) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        digits.get(range).map(|part| part.iter().fold(0_u32, |n, &digit| n * 10 + u32::from(digit - b'0')))
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(0..2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (number(0..4)?, 4),
        _ => return None,
    };
    let part = |index: usize| number(rest + 2 * index..rest + 2 * index + 2);
    seconds_of_civil(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(tag: u8, text: &str, expected: Option<u64>) {
        assert_eq!(time((tag, text.as_bytes())), expected, "{text}");
    }

    #[test]
    fn both_forms_of_time_are_read() {
        check(UTC_TIME, "941106084937Z", Some(784_111_777));
        check(GENERALIZED_TIME, "19941106084937Z", Some(784_111_777));
        check(GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400));
        check(UTC_TIME, "500101000000Z", Some(0));
        for rubbish in ["", "Z", "941106084937", "9411060849Z", "941306084937Z", "940006084937Z", "94110608493xZ"] {
            check(UTC_TIME, rubbish, None);
        }
    }

    #[test]
    fn a_real_certificate_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(1994, 11, 6);
        parameters.not_after = rcgen::date_time_ymd(2100, 3, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        let validity = Validity::read(certificate.der()).unwrap();
        assert_eq!(validity, Validity { not_before_s: 784_080_000, not_after_s: 4_107_542_400 });
    }

    proptest! {
        #[test]
        fn rubbish_is_not_read(der in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Validity::read(&der).is_none());
        }
    }
}
