//! From a request's path to a path below the root. Pure.

use crate::fault::Code;
use std::borrow::Cow;

/// What follows the route's prefix, decoded once and without dot segments: `/css/site.css`, `/docs/` for a
/// folder, or empty when the request named the prefix itself without a slash.
///
/// # Errors
/// [`Code::TargetInvalid`] for a path that no client should send (broken percent-encoding, NUL, a backslash,
/// more `..` than folders), [`Code::NotFound`] for one that can name no file here.
pub(super) fn below<'a>(path: &'a [u8], prefix: &[u8], dotfiles: bool) -> Result<Cow<'a, [u8]>, Code> {
    if is_plain(path) {
        return strip(path, prefix).map(Cow::Borrowed).ok_or(Code::NotFound);
    }
    let normal = normalise(path)?;
    let rest = strip(&normal, prefix).ok_or(Code::NotFound)?;
    if !dotfiles && has_dotfile(rest) {
        return Err(Code::NotFound);
    }
    Ok(Cow::Owned(rest.to_vec()))
}

/// The path as the `location` of a redirect: one leading slash, so that it can't be read as another host,
/// and every byte escaped that is not plain (RFC 3986 §3.3).
pub(super) fn folder_location(path: &[u8], query: Option<&[u8]>) -> Result<String, Code> {
    let mut location = String::with_capacity(path.len() + 1);
    for &b in &normalise(path)? {
        if b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&b) {
            location.push(char::from(b));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            location.push('%');
            location.push(char::from(HEX[usize::from(b >> 4)]));
            location.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
    if !location.ends_with('/') {
        location.push('/');
    }
    if let Some(query) = query.filter(|query| query.iter().all(|b| b.is_ascii_graphic())) {
        location.push('?');
        location.extend(query.iter().map(|&b| char::from(b)));
    }
    Ok(location)
}

/// Whether the path is its own normal form and names no dotfile: what nearly all requests send.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    path.first() == Some(&b'/')
        && path.iter().all(|&b| {
            let fine = !(matches!(b, b'%' | b'\\' | 0) || previous == b'/' && matches!(b, b'/' | b'.'));
            previous = b;
            fine
        })
}

fn normalise(path: &[u8]) -> Result<Vec<u8>, Code> {
    let mut segments: Vec<Cow<'_, [u8]>> = Vec::new();
    let mut folder = true;
    for segment in path.strip_prefix(b"/").ok_or(Code::TargetInvalid)?.split(|&b| b == b'/') {
        let segment = decode(segment)?;
        folder = true;
        match &segment[..] {
            b"" | b"." => {}
            b".." => {
                segments.pop().ok_or(Code::TargetInvalid)?;
            }
            name if name.contains(&0) || name.contains(&b'\\') => return Err(Code::TargetInvalid),
            // An encoded slash is part of a name, and no file's name can hold one.
            name if name.contains(&b'/') => return Err(Code::NotFound),
            _ => {
                folder = false;
                segments.push(segment);
            }
        }
    }
    let mut normal = Vec::with_capacity(path.len());
    for segment in &segments {
        normal.push(b'/');
        normal.extend_from_slice(segment);
    }
    if folder {
        normal.push(b'/');
    }
    Ok(normal)
}

/// Percent-decoding (RFC 3986 §2.1), once: what it yields is never decoded again.
fn decode(segment: &[u8]) -> Result<Cow<'_, [u8]>, Code> {
    if !segment.contains(&b'%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        if b != b'%' {
            out.push(b);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(Code::TargetInvalid)?;
        let digit = |b: u8| char::from(b).to_digit(16).ok_or(Code::TargetInvalid);
        // Two hexadecimal digits fit a byte.
        out.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = tail;
    }
    Ok(Cow::Owned(out))
}

fn strip<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest[0] == b'/')
}

fn has_dotfile(path: &[u8]) -> bool {
    path.split(|&b| b == b'/')
        .filter(|segment| !segment.is_empty())
        .enumerate()
        // `/.well-known/` is meant to be public (RFC 8615).
        .any(|(index, segment)| segment[0] == b'.' && !(index == 0 && segment == b".well-known"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expected: Result<&str, Code>) {
        for prefix in ["", "/assets"] {
            let full = format!("{prefix}{path}");
            let found = below(full.as_bytes(), prefix.as_bytes(), false);
            assert_eq!(found.map(|p| String::from_utf8(p.to_vec()).unwrap()), expected.map(str::to_owned), "{full}");
        }
    }

    #[test]
    fn plain_and_encoded_paths() {
        check("/a.js", Ok("/a.js"));
        check("/", Ok("/"));
        check("/css/", Ok("/css/"));
        check("/a%20b.js", Ok("/a b.js"));
        check("/%61.js", Ok("/a.js"));
        check("//a//b.js", Ok("/a/b.js"));
        check("/a/./b/../c", Ok("/a/c"));
        check("/a/.", Ok("/a/"));
        check("/a/b/..", Ok("/a/"));
        check("/caf%C3%A9", Ok("/café"));
        check("/%2561", Ok("/%61"));
        check("/a..b/c...", Ok("/a..b/c..."));
    }

    #[test]
    fn traversal_and_rubbish_are_refused() {
        assert_eq!(below(b"/..", b"", false), Err(Code::TargetInvalid));
        assert_eq!(below(b"/a/../../etc/passwd", b"", false), Err(Code::TargetInvalid));
        assert_eq!(below(b"/%2e%2e/etc/passwd", b"", false), Err(Code::TargetInvalid));
        assert_eq!(below(b"/assets/../api", b"/assets", false), Err(Code::NotFound));
        assert_eq!(below(b"/assets2/x", b"/assets", false), Err(Code::NotFound));
        assert_eq!(below(b"*", b"", false), Err(Code::TargetInvalid));
        check("/a%00b", Err(Code::TargetInvalid));
        check("/a\\b", Err(Code::TargetInvalid));
        check("/a%5cb", Err(Code::TargetInvalid));
        check("/%5c..%5cb", Err(Code::TargetInvalid));
        check("/%", Err(Code::TargetInvalid));
        check("/%4", Err(Code::TargetInvalid));
        check("/%zz", Err(Code::TargetInvalid));
        check("/a%2fb", Err(Code::NotFound));
        check("/..%2f..%2fetc/passwd", Err(Code::NotFound));
    }

    #[test]
    fn dotfiles_are_hidden_but_for_well_known() {
        check("/.env", Err(Code::NotFound));
        check("/%2eenv", Err(Code::NotFound));
        check("/.git/config", Err(Code::NotFound));
        check("/a/.well-known/x", Err(Code::NotFound));
        check("/.well-known/security.txt", Ok("/.well-known/security.txt"));
        assert_eq!(below(b"/.env", b"", true).as_deref(), Ok(&b"/.env"[..]));
    }

    #[test]
    fn the_prefix_alone_is_the_root_without_a_slash() {
        assert_eq!(below(b"/assets", b"/assets", false).as_deref(), Ok(&b""[..]));
        assert_eq!(below(b"/%61ssets/x", b"/assets", false).as_deref(), Ok(&b"/x"[..]));
    }

    #[test]
    fn locations_stay_on_this_host() {
        let location = |path: &str, query: Option<&str>| folder_location(path.as_bytes(), query.map(str::as_bytes));
        assert_eq!(location("/docs", None).as_deref(), Ok("/docs/"));
        assert_eq!(location("/docs", Some("a=b&c")).as_deref(), Ok("/docs/?a=b&c"));
        assert_eq!(location("//evil.example/..", None).as_deref(), Ok("/"));
        assert_eq!(location("//evil.example", None).as_deref(), Ok("/evil.example/"));
        assert_eq!(location("/a b%0d%0ax:y", None).as_deref(), Ok("/a%20b%0D%0Ax:y/"));
        assert_eq!(location("/docs", Some("a\r\nb")).as_deref(), Ok("/docs/"));
    }

    proptest! {
        #[test]
        fn nothing_climbs(path in "/([a.%/\\\\]|%2e|%2f|%5c|%00|\\.\\.|/){0,30}") {
            if let Ok(found) = below(path.as_bytes(), b"", true) {
                prop_assert!(found.starts_with(b"/"));
                prop_assert!(!found.contains(&0));
                for segment in found.split(|&b| b == b'/') {
                    prop_assert!(segment != b".." && segment != b".");
                }
            }
        }
    }
}
