//! The form in which paths are compared (RFC 3986 §6.2.2): one spelling for paths that mean the same.
//!
//! - escapes of characters that a path may hold as they are become those characters (`%61` is `a`, `%40` is `@`);
//! - other escapes get upper-case digits, bytes that a path may not hold become escapes;
//! - dot segments are resolved (§5.2.4), escaped dots included; `..` at the root goes away;
//! - runs of slashes become one slash.
//!
//! `%2F` stays as it is, since many applications take it for data. Some take it for a slash, so a table looks at
//! such a path in both readings; see [`Table::find`](crate::Table::find).

use std::borrow::Cow;

/// Whether a path is already in normal form as far as can be told at a glance; errs on the side of "no".
#[inline]
pub(crate) fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        if after_slash && (byte == b'/' || byte == b'.') {
            return false;
        }
        if !PLAIN[byte as usize] {
            return false;
        }
        after_slash = byte == b'/';
    }
    true
}

/// A path's normal form; borrowed if it already is.
pub fn normalise(path: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(resolve(&respell(path, false))) }
}

/// The normal form of a path with its escaped slashes read as slashes, if it has any.
pub(crate) fn with_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let escaped = path.windows(3).any(|three| three[0] == b'%' && three[1] == b'2' && three[2] | 0x20 == b'f');
    escaped.then(|| resolve(&respell(path, true)))
}

/// Takes a literal prefix (`/api`, no slash at the end) off a path, and gives what remains, beginning with a slash;
/// `None` if the path is not below it. The client's own bytes remain unless the path holds dot segments or spells
/// the prefix in another way; then it is the normal form's.
pub fn strip<'p>(path: &'p [u8], prefix: &[u8]) -> Option<Cow<'p, [u8]>> {
    if (is_plain(path) || !has_dot_segments(path))
        && let Some(rest) = below(path, prefix)
    {
        return Some(Cow::Borrowed(rest));
    }
    let normal = normalise(path);
    below(&normal, prefix).map(|rest| Cow::Owned(rest.to_vec()))
}

fn below<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    match path.strip_prefix(prefix)? {
        b"" => Some(b"/"),
        rest if rest[0] == b'/' => Some(rest),
        _ => None,
    }
}

/// Rewrites escapes and bytes that are not allowed.
fn respell(path: &[u8], slashes: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 8);
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            let value = high << 4 | low;
            if PLAIN[value as usize] && (value != b'/' || slashes) {
                out.push(value);
            } else {
                escape(&mut out, value);
            }
            rest = after;
            continue;
        }
        // A percent sign that begins no escape is data: `%25`.
        if PLAIN[byte as usize] {
            out.push(byte)
        } else {
            escape(&mut out, byte)
        }
        rest = tail;
    }
    out
}

/// Resolves dot segments and runs of slashes of a respelt path.
fn resolve(path: &[u8]) -> Vec<u8> {
    if path.first() != Some(&b'/') {
        return path.to_vec();
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut folder = true;
    for segment in path[1..].split(|&byte| byte == b'/') {
        folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if folder {
        out.push(b'/');
    }
    out
}

fn has_dot_segments(path: &[u8]) -> bool {
    respell(path, true).split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Bytes that stand for themselves in a path: `pchar` without escapes, and the slash (RFC 3986 §3.3).
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/";
    let mut at = 0;
    while at < allowed.len() {
        plain[allowed[at] as usize] = true;
        at += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expected: &str) {
        let normal = normalise(path.as_bytes());
        assert_eq!(String::from_utf8_lossy(&normal), expected, "normal form of {path}");
    }

    #[test]
    fn paths_that_mean_the_same_have_one_form() {
        check("/", "/");
        check("/a/b", "/a/b");
        check("/a/../b", "/b");
        check("/a/%2e%2E/b", "/b");
        check("/a/.%2e/b", "/b");
        check("/a/./b/.", "/a/b/");
        check("/a/b/..", "/a/");
        check("/../../etc", "/etc");
        check("//a///b//", "/a/b/");
        check("/%61pi/%7Euser/%40me", "/api/~user/@me");
        check("/a%2fb", "/a%2Fb");
        check("/a%20b%c3%bc", "/a%20b%C3%BC");
        check("/a b\u{fc}", "/a%20b%C3%BC");
        check("/100%", "/100%25");
        check("/%zz%4", "/%25zz%254");
        check("/.well-known/x", "/.well-known/x");
        check("/a/...", "/a/...");
        check("*", "*");
        check("", "");
    }

    #[test]
    fn escaped_slashes_have_a_second_reading() {
        assert_eq!(with_slashes(b"/a/b"), None);
        assert_eq!(with_slashes(b"/a%20b"), None);
        assert_eq!(with_slashes(b"/a%2Fb%2fc").unwrap(), b"/a/b/c");
        assert_eq!(with_slashes(b"/a%2f..%2Fb").unwrap(), b"/b");
    }

    #[test]
    fn stripping_keeps_the_clients_bytes_where_it_can() {
        let check = |path: &str, prefix: &str, expected: Option<&str>| {
            let rest = strip(path.as_bytes(), prefix.as_bytes());
            assert_eq!(rest.as_deref(), expected.map(str::as_bytes), "{path} without {prefix}");
        };
        check("/api/x", "/api", Some("/x"));
        check("/api", "/api", Some("/"));
        check("/api/", "/api", Some("/"));
        check("/apis", "/api", None);
        check("/x", "/api", None);
        check("/api/a%20b//c%2fd", "/api", Some("/a%20b//c%2fd"));
        check("/api/%7Eme", "/api", Some("/%7Eme"));
        check("/%61pi/%7Eme", "/api", Some("/~me"));
        check("/x/../api/y", "/api", Some("/y"));
        check("/api/y/../../api/z", "/api", Some("/z"));
        check("/api/../x", "/api", None);
    }

    proptest! {
        #[test]
        fn the_normal_form_is_normal(path in path()) {
            let once = normalise(&path).into_owned();
            prop_assert_eq!(normalise(&once).into_owned(), once.clone());
            prop_assert!(!once.windows(2).any(|two| two == b"//"));
            let dots = once.split(|&byte| byte == b'/').any(|part| part == b"." || part == b"..");
            prop_assert!(!dots);
        }

        #[test]
        fn escaping_a_letter_changes_nothing(before in path(), letter in b'a'..=b'z', after in path()) {
            // Otherwise the letter would be the end of an escape, not a letter.
            prop_assume!(!before.iter().rev().take(2).any(|&byte| byte == b'%'));
            let mut escaped = before.clone();
            escape(&mut escaped, letter);
            escaped.extend_from_slice(&after);
            let plain = [&before[..], &[letter], &after[..]].concat();
            prop_assert_eq!(normalise(&escaped), normalise(&plain));
        }

        #[test]
        fn what_looks_plain_is_normal(path in path()) {
            if is_plain(&path) {
                prop_assert_eq!(resolve(&respell(&path, false)), path);
            }
        }
    }

    /// Paths made of the parts in which mistakes hide.
    fn path() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"/".to_vec()),
            Just(b".".to_vec()),
            Just(b"..".to_vec()),
            Just(b"%2e".to_vec()),
            Just(b"%2F".to_vec()),
            Just(b"%".to_vec()),
            "[a-z]{1,3}".prop_map(String::into_bytes),
            any::<u8>().prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| {
            let mut path = vec![b'/'];
            path.extend(parts.concat());
            path
        })
    }
}
