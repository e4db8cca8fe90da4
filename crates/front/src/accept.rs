//! What a client accepts: quality values of `accept` and `accept-encoding` (RFC 9110 §12.4.2, §12.5).
//!
//! Pure, without allocation; knows nothing of what the server has to offer.

use config::Encoding;

/// A weight in thousandths: 0 (not acceptable) to 1000.
pub type Quality = u16;

/// The registered name of a coding, as `content-encoding` carries it.
pub fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Brotli => "br",
        Encoding::Zstd => "zstd",
        Encoding::Gzip => "gzip",
    }
}

/// What an `accept-encoding` field allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptEncoding {
    brotli: Quality,
    zstd: Quality,
    gzip: Quality,
    identity: Quality,
}

impl AcceptEncoding {
    /// Reads the field's value. No field means that the client said nothing: it gets the plain
    /// representation, since a client that can decode says so.
    pub fn parse(value: Option<&[u8]>) -> AcceptEncoding {
        let (mut brotli, mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None, None);
        for (name, _, quality) in members(value.unwrap_or_default()) {
            let slot = if name.eq_ignore_ascii_case(b"br") {
                &mut brotli
            } else if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
                &mut gzip
            } else if name.eq_ignore_ascii_case(b"zstd") {
                &mut zstd
            } else if name.eq_ignore_ascii_case(b"identity") {
                &mut identity
            } else if name == b"*" {
                &mut any
            } else {
                continue;
            };
            *slot = Some(quality);
        }
        let others = any.unwrap_or(0);
        AcceptEncoding {
            brotli: brotli.unwrap_or(others),
            zstd: zstd.unwrap_or(others),
            gzip: gzip.unwrap_or(others),
            // §12.5.3: identity is acceptable unless excluded, by name or by "*;q=0". Unnamed, it ranks
            // below every coding the client does name.
            identity: identity.unwrap_or(if any == Some(0) { 0 } else { 1 }),
        }
    }

    /// The weight of one coding.
    pub fn quality(&self, encoding: Encoding) -> Quality {
        match encoding {
            Encoding::Brotli => self.brotli,
            Encoding::Zstd => self.zstd,
            Encoding::Gzip => self.gzip,
        }
    }

    /// The best of the codings on offer; `None` when the plain representation suits the client better. What
    /// the client weighs alike is decided by the order of `offered`.
    pub fn choose(&self, offered: impl IntoIterator<Item = Encoding>) -> Option<Encoding> {
        let mut best: Option<(Quality, Encoding)> = None;
        for encoding in offered {
            let quality = self.quality(encoding);
            if quality > 0 && quality >= self.identity && best.is_none_or(|(other, _)| quality > other) {
                best = Some((quality, encoding));
            }
        }
        best.map(|(_, encoding)| encoding)
    }
}

/// The weight that an `accept` field gives to a media type: the most specific range that covers it decides
/// (§12.5.1). `None` for a type that no range covers, or without a field.
pub fn media_quality(accept: Option<&[u8]>, kind: &[u8], subtype: &[u8]) -> Option<Quality> {
    let mut best: Option<(u8, Quality)> = None;
    for (range, has_parameters, quality) in members(accept?) {
        let Some(slash) = range.iter().position(|&b| b == b'/') else { continue };
        let (range_kind, range_subtype) = (&range[..slash], &range[slash + 1..]);
        let specificity = if range_kind == b"*" && range_subtype == b"*" {
            0
        } else if !range_kind.eq_ignore_ascii_case(kind) {
            continue;
        } else if range_subtype == b"*" {
            1
        } else if range_subtype.eq_ignore_ascii_case(subtype) && !has_parameters {
            2
        } else {
            continue;
        };
        if best.is_none_or(|(other, _)| specificity > other) {
            best = Some((specificity, quality));
        }
    }
    best.map(|(_, quality)| quality)
}

/// The members of a list with weights: name, whether it has parameters other than the weight, and the
/// weight. A malformed weight counts as 0: what the client may not have meant is not used.
fn members(value: &[u8]) -> impl Iterator<Item = (&[u8], bool, Quality)> {
    value.split(|&b| b == b',').filter_map(|member| {
        let mut parts = member.split(|&b| b == b';');
        let name = parts.next()?.trim_ascii();
        if name.is_empty() {
            return None;
        }
        let (mut quality, mut has_parameters) = (1000, false);
        for parameter in parts {
            match parameter.trim_ascii() {
                [b'q' | b'Q', b'=', weight @ ..] => {
                    quality = parse_quality(weight).unwrap_or(0);
                    break;
                }
                b"" => {}
                _ => has_parameters = true,
            }
        }
        Some((name, has_parameters, quality))
    })
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn parse_quality(text: &[u8]) -> Option<Quality> {
    let (&whole, rest) = text.split_first()?;
    let fraction = match rest {
        [] => &[],
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        thousandths = thousandths * 10 + fraction.get(place).map_or(0, |&digit| Quality::from(digit - b'0'));
    }
    match (whole, thousandths) {
        (b'0', _) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: Option<&str>, expected: Option<Encoding>) {
        let accepted = AcceptEncoding::parse(field.map(str::as_bytes));
        assert_eq!(accepted.choose([Encoding::Brotli, Encoding::Zstd, Encoding::Gzip]), expected, "{field:?}");
    }

    #[test]
    fn encodings_are_chosen_by_weight() {
        check(None, None);
        check(Some(""), None);
        check(Some("gzip, deflate, br, zstd"), Some(Encoding::Brotli));
        check(Some("gzip"), Some(Encoding::Gzip));
        check(Some("GZIP;q=0.9, BR;Q=0.5"), Some(Encoding::Gzip));
        check(Some("br;q=0, gzip;q=0.001"), Some(Encoding::Gzip));
        check(Some("*"), Some(Encoding::Brotli));
        check(Some("*;q=0"), None);
        check(Some("br;q=0, *;q=0.5"), Some(Encoding::Zstd));
        check(Some("identity, gzip;q=0.5"), None);
        check(Some("identity;q=0, gzip;q=0.5"), Some(Encoding::Gzip));
        check(Some("deflate"), None);
        check(Some(" x-gzip ; q=1.000 "), Some(Encoding::Gzip));
    }

    #[test]
    fn malformed_weights_do_not_count() {
        for weight in ["", "2", "1.001", "0.1234", "-1", "0,5", "nan", "1.", "0."] {
            let field = format!("br;q={weight}");
            let quality = AcceptEncoding::parse(Some(field.as_bytes())).quality(Encoding::Brotli);
            assert_eq!(quality, if weight == "1." { 1000 } else { 0 }, "{weight}");
        }
    }

    #[test]
    fn the_most_specific_media_range_decides() {
        let accept = b"text/*;q=0.3, text/html;q=0.7, text/html;level=1, */*;q=0.5";
        assert_eq!(media_quality(Some(accept), b"text", b"html"), Some(700));
        assert_eq!(media_quality(Some(accept), b"text", b"plain"), Some(300));
        assert_eq!(media_quality(Some(accept), b"image", b"png"), Some(500));
        assert_eq!(media_quality(Some(b"image/png"), b"text", b"html"), None);
        assert_eq!(media_quality(None, b"text", b"html"), None);
    }
}
