//! Preconditions (RFC 9110 §13) and validators (§8.8). Pure.

use crate::date::parse_http_date;

/// Validators of a representation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// An entity tag, quotes included, without `W/`. Where strong comparison is asked for it must be a strong one.
    pub etag: &'a [u8],
    /// Last modification, in seconds since the Unix epoch.
    pub modified_s: u64,
}

/// The fields that decide, as they came; empty lists and `None` when they did not.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions<'a> {
    pub if_match: Vec<&'a [u8]>,
    pub if_none_match: Vec<&'a [u8]>,
    pub if_modified_since: Option<&'a [u8]>,
    pub if_unmodified_since: Option<&'a [u8]>,
    pub if_range: Option<&'a [u8]>,
}

/// What the preconditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Conditions<'_> {
    /// Evaluates in the order of §13.2.2, for GET and HEAD.
    pub fn evaluate(&self, current: Validators<'_>) -> Verdict {
        if !self.if_match.is_empty() {
            if !any_tag(&self.if_match, |tag| tag == b"*" || tag == current.etag) {
                return Verdict::Failed;
            }
        } else if self.if_unmodified_since.and_then(parse_http_date).is_some_and(|t| current.modified_s > t) {
            return Verdict::Failed;
        }
        if !self.if_none_match.is_empty() {
            // Weak comparison: the prefix does not count.
            let same = |tag: &[u8]| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == current.etag;
            if any_tag(&self.if_none_match, same) {
                return Verdict::NotModified;
            }
        } else if self.if_modified_since.and_then(parse_http_date).is_some_and(|t| current.modified_s <= t) {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether `range` applies: no `if-range`, or one that names the current representation by strong
    /// comparison (§13.1.5). A date is strong only when the file was not changed in the second before `now_s`.
    pub fn range_applies(&self, current: Validators<'_>, now_s: u64) -> bool {
        let Some(value) = self.if_range.map(<[u8]>::trim_ascii) else { return true };
        if value.starts_with(b"\"") || value.starts_with(b"W/") {
            return value == current.etag;
        }
        parse_http_date(value) == Some(current.modified_s) && now_s > current.modified_s
    }
}

/// Whether one of the entity tags of a list matches. Commas may stand inside a tag.
fn any_tag(fields: &[&[u8]], matches: impl Fn(&[u8]) -> bool) -> bool {
    fields.iter().any(|field| {
        let mut rest = field.trim_ascii();
        while !rest.is_empty() {
            let start = if rest.starts_with(b"W/\"") { 3 } else { usize::from(rest[0] == b'"') };
            let end = if start == 0 {
                rest.iter().position(|&b| b == b',').unwrap_or(rest.len())
            } else {
                match rest[start..].iter().position(|&b| b == b'"') {
                    Some(close) => start + close + 1,
                    None => return false,
                }
            };
            if matches(rest[..end].trim_ascii()) {
                return true;
            }
            let tail = rest[end..].trim_ascii_start();
            rest = tail.strip_prefix(b",").unwrap_or(tail).trim_ascii_start();
            // Text between a tag and its comma: the list is malformed.
            if !tail.is_empty() && tail[0] != b',' {
                return false;
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Validators<'static> = Validators { etag: b"\"abc\"", modified_s: 784_111_777 };
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn check(fields: &[(&str, &'static str)], expected: Verdict) {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            let value = value.as_bytes();
            match *name {
                "if-match" => conditions.if_match.push(value),
                "if-none-match" => conditions.if_none_match.push(value),
                "if-modified-since" => conditions.if_modified_since = Some(value),
                "if-unmodified-since" => conditions.if_unmodified_since = Some(value),
                other => panic!("{other}"),
            }
        }
        assert_eq!(conditions.evaluate(NOW), expected, "{fields:?}");
    }

    #[test]
    fn each_condition_alone() {
        use Verdict::*;
        check(&[], Proceed);
        check(&[("if-none-match", "\"abc\"")], NotModified);
        check(&[("if-none-match", "W/\"abc\"")], NotModified);
        check(&[("if-none-match", "\"x,y\" , W/\"z\",\"abc\"")], NotModified);
        check(&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], NotModified);
        check(&[("if-none-match", "*")], NotModified);
        check(&[("if-none-match", "\"other\"")], Proceed);
        check(&[("if-none-match", "abc")], Proceed);
        check(&[("if-none-match", "\"abc")], Proceed);
        check(&[("if-none-match", "\"a\"junk, \"abc\"")], Proceed);
        check(&[("if-match", "\"abc\"")], Proceed);
        check(&[("if-match", "*")], Proceed);
        check(&[("if-match", "W/\"abc\"")], Failed);
        check(&[("if-match", "\"other\"")], Failed);
        check(&[("if-modified-since", SAME)], NotModified);
        check(&[("if-modified-since", EARLIER)], Proceed);
        check(&[("if-modified-since", "rubbish")], Proceed);
        check(&[("if-unmodified-since", SAME)], Proceed);
        check(&[("if-unmodified-since", EARLIER)], Failed);
        check(&[("if-unmodified-since", "rubbish")], Proceed);
    }

    #[test]
    fn tags_win_over_dates_and_match_over_none_match() {
        use Verdict::*;
        check(&[("if-none-match", "\"other\""), ("if-modified-since", SAME)], Proceed);
        check(&[("if-match", "\"abc\""), ("if-unmodified-since", EARLIER)], Proceed);
        check(&[("if-match", "\"other\""), ("if-none-match", "\"abc\"")], Failed);
        check(&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], NotModified);
    }

    #[test]
    fn if_range_compares_strongly() {
        let applies = |value: Option<&'static str>, now_s| {
            let conditions = Conditions { if_range: value.map(str::as_bytes), ..Conditions::default() };
            conditions.range_applies(NOW, now_s)
        };
        let later = NOW.modified_s + 10;
        assert!(applies(None, later));
        assert!(applies(Some("\"abc\""), later));
        assert!(!applies(Some("W/\"abc\""), later));
        assert!(!applies(Some("\"other\""), later));
        assert!(applies(Some(SAME), later));
        assert!(!applies(Some(SAME), NOW.modified_s));
        assert!(!applies(Some(EARLIER), later));
        assert!(!applies(Some("rubbish"), later));
    }
}
