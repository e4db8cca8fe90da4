//! The language of path patterns.
//!
//! | pattern | matches | does not match |
//! |---|---|---|
//! | `/about` | `/about` | `/about/`, `/about/us` |
//! | `/api/*` | `/api`, `/api/`, `/api/x/y` | `/apis` |
//! | `/*` | everything | |
//! | `/users/{id}` | `/users/7` | `/users`, `/users/`, `/users/7/posts` |
//! | `/files/{*path}` | what `/files/*` does, and gives the rest a name | |
//!
//! `*` and `{*name}` stand at the end only. A parameter is a whole segment, and never an empty one. Patterns may be
//! written with or without escapes (`/Größe`, `/Gr%C3%B6%C3%9Fe`): both sides are compared in normal form.

use std::borrow::Cow;
use std::fmt;

use crate::normal;

/// Why a rule cannot be used. Says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Index of the rule.
    pub rule: usize,
    /// The text that is wrong.
    pub text: String,
    /// What is wrong with it, and what to do.
    pub why: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\": {}", self.text, self.why)
    }
}

impl std::error::Error for Error {}

/// Parameters of a match: name and value, as it stands in the path (escapes included).
pub type Params<'t, 'p> = Vec<(&'t str, Cow<'p, [u8]>)>;

/// A path pattern that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// The whole path.
    Exact(Box<[u8]>),
    /// The path itself or anything below; without a slash at the end, so empty for `/*`.
    Below(Box<[u8]>),
    /// Anything with parameters.
    Segments { segments: Box<[Segment]>, rest: Rest },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<[u8]>),
    Param(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rest {
    None,
    Unnamed,
    Named(Box<str>),
}

impl Pattern {
    /// Reads a pattern. The error says what is wrong and what to do.
    pub fn parse(text: &str) -> Result<Pattern, &'static str> {
        let Some(body) = text.strip_prefix('/') else {
            return Err("a path pattern begins with a slash");
        };
        if text.contains(['?', '#']) {
            return Err("a path pattern has no query or fragment; only the path is matched");
        }
        let mut segments = Vec::new();
        let mut rest = Rest::None;
        let mut named: Vec<&str> = Vec::new();
        let parts: Vec<&str> = body.split('/').collect();
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            match read_segment(part)? {
                Part::Rest(name) if last => {
                    rest = name.map_or(Rest::Unnamed, |name| Rest::Named(name.into()));
                    named.extend(name);
                }
                Part::Rest(_) => return Err("\"*\" and \"{*name}\" stand only at the end"),
                Part::Param(name) => {
                    named.push(name);
                    segments.push(Segment::Param(name.into()));
                }
                Part::Literal("" | "." | "..") if !last => {
                    return Err("a pattern has no empty or dot segments; paths are matched without them");
                }
                Part::Literal("." | "..") => {
                    return Err("a pattern has no dot segments; paths are matched without them");
                }
                Part::Literal(text) => segments.push(Segment::Literal(normal_segment(text)?)),
            }
        }
        named.sort_unstable();
        if named.windows(2).any(|two| two[0] == two[1]) {
            return Err("a parameter's name stands twice");
        }
        Ok(Pattern { shape: Shape::of(segments, rest) })
    }

    /// The literal prefix of `/prefix/*` and `/prefix/{*name}` (empty for `/*`), in normal form; `None` for patterns of another shape.
    pub fn literal_prefix(&self) -> Option<&[u8]> {
        match &self.shape {
            Shape::Below(prefix) => Some(prefix),
            Shape::Segments { segments, rest: Rest::Named(_) } if segments.is_empty() => Some(b""),
            _ => None,
        }
    }

    /// Names of the parameters, in the order of the path.
    pub fn names(&self) -> Vec<&str> {
        let Shape::Segments { segments, rest } = &self.shape else { return Vec::new() };
        let params = segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(&**name),
            Segment::Literal(_) => None,
        });
        let rest = if let Rest::Named(name) = rest { Some(&**name) } else { None };
        params.chain(rest).collect()
    }

    /// Whether a path in normal form matches. Allocates only for parameters.
    #[inline]
    pub(crate) fn matches<'t, 'p>(&'t self, path: &'p [u8]) -> Option<Params<'t, 'p>> {
        match &self.shape {
            Shape::Exact(whole) => (**whole == *path).then(Vec::new),
            Shape::Below(prefix) => is_below(path, prefix).then(Vec::new),
            Shape::Segments { segments, rest } => match_segments(segments, rest, path),
        }
    }

    /// Whether every path that `other` matches is matched by `self` too.
    pub(crate) fn covers(&self, other: &Pattern) -> bool {
        let (mine, my_rest) = self.parts();
        let (theirs, their_rest) = other.parts();
        let open = my_rest != Rest::None;
        if open && theirs.len() == 1 && theirs[0] == Segment::Literal(Box::default()) && mine.is_empty() {
            return true;
        }
        // `/a/*` also covers `/a` itself, so a pattern that ends where the rest begins is covered as well.
        let enough = if open { theirs.len() >= mine.len() } else { theirs.len() == mine.len() };
        if !enough || (!open && their_rest != Rest::None) {
            return false;
        }
        mine.iter().zip(&theirs).all(|pair| match pair {
            (Segment::Literal(mine), Segment::Literal(theirs)) => mine == theirs,
            (Segment::Literal(_), Segment::Param(_)) => false,
            (Segment::Param(_), Segment::Literal(theirs)) => !theirs.is_empty(),
            (Segment::Param(_), Segment::Param(_)) => true,
        })
    }

    fn parts(&self) -> (Vec<Segment>, Rest) {
        let split = |path: &[u8]| -> Vec<Segment> {
            path.split(|&byte| byte == b'/').skip(1).map(|part| Segment::Literal(part.into())).collect()
        };
        match &self.shape {
            Shape::Exact(whole) => (split(whole), Rest::None),
            Shape::Below(prefix) => (split(prefix), Rest::Unnamed),
            Shape::Segments { segments, rest } => (segments.to_vec(), rest.clone()),
        }
    }
}

impl Shape {
    fn of(segments: Vec<Segment>, rest: Rest) -> Shape {
        let literal: Option<Vec<u8>> = segments.iter().try_fold(Vec::new(), |mut path, segment| {
            let Segment::Literal(text) = segment else { return None };
            path.push(b'/');
            path.extend_from_slice(text);
            Some(path)
        });
        match (literal, rest) {
            (Some(path), Rest::None) => Shape::Exact(path.into()),
            (Some(path), Rest::Unnamed) => Shape::Below(path.into()),
            (_, rest) => Shape::Segments { segments: segments.into(), rest },
        }
    }
}

#[inline]
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.len() >= prefix.len()
        && path[..prefix.len()] == *prefix
        && (path.len() == prefix.len() || prefix.is_empty() || path[prefix.len()] == b'/')
}

fn match_segments<'t, 'p>(segments: &'t [Segment], rest: &'t Rest, path: &'p [u8]) -> Option<Params<'t, 'p>> {
    let mut params = Vec::new();
    let mut left = Some(path.strip_prefix(b"/")?);
    for segment in segments {
        let here = left?;
        let end = here.iter().position(|&byte| byte == b'/');
        let part = &here[..end.unwrap_or(here.len())];
        match segment {
            Segment::Literal(text) if **text != *part => return None,
            Segment::Literal(_) => {}
            Segment::Param(_) if part.is_empty() => return None,
            Segment::Param(name) => params.push((&**name, Cow::Borrowed(part))),
        }
        left = end.map(|end| &here[end + 1..]);
    }
    match rest {
        Rest::None if left.is_some() => return None,
        Rest::None | Rest::Unnamed => {}
        Rest::Named(name) => params.push((name, Cow::Borrowed(left.unwrap_or_default()))),
    }
    Some(params)
}

enum Part<'s> {
    Literal(&'s str),
    Param(&'s str),
    Rest(Option<&'s str>),
}

fn read_segment(part: &str) -> Result<Part<'_>, &'static str> {
    if part == "*" {
        return Ok(Part::Rest(None));
    }
    let Some(inner) = part.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
        return if part.contains('*') {
            Err("\"*\" is a segment of its own: write \"/name/*\"")
        } else if part.contains(['{', '}']) {
            Err("a parameter is a whole segment: write \"/{name}/\"")
        } else {
            Ok(Part::Literal(part))
        };
    };
    let (name, rest) = inner.strip_prefix('*').map_or((inner, false), |name| (name, true));
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !valid || name.as_bytes()[0].is_ascii_digit() {
        return Err("a parameter's name is made of letters, digits and \"_\", and does not begin with a digit");
    }
    Ok(if rest { Part::Rest(Some(name)) } else { Part::Param(name) })
}

fn normal_segment(text: &str) -> Result<Box<[u8]>, &'static str> {
    let normal = normal::normalise(format!("/{text}").as_bytes()).into_owned();
    let segment = normal.strip_prefix(b"/").unwrap_or(&normal);
    if segment.is_empty() && !text.is_empty() {
        return Err("a pattern has no dot segments; paths are matched without them");
    }
    Ok(segment.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            let error = Pattern::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "begins with a slash");
        check("api/*", "begins with a slash");
        check("*", "begins with a slash");
        check("/api*", "write \"/name/*\"");
        check("/*/x", "only at the end");
        check("/{*rest}/x", "only at the end");
        check("/v{n}", "a whole segment");
        check("/{}", "made of letters");
        check("/{1a}", "does not begin with a digit");
        check("/{a}/{a}", "twice");
        check("/a//b", "no empty");
        check("/a/../b", "dot segments");
        check("/%2e%2e", "dot segments");
        check("/a?b=1", "no query");
    }

    #[test]
    fn patterns_cover_one_another() {
        let check = |wide: &str, narrow: &str, expected: bool| {
            let covers = Pattern::parse(wide).unwrap().covers(&Pattern::parse(narrow).unwrap());
            assert_eq!(covers, expected, "{wide} covers {narrow}");
        };
        check("/*", "/", true);
        check("/*", "/a/{b}", true);
        check("/*", "/*", true);
        check("/{*all}", "/a/*", true);
        check("/a/*", "/a", true);
        check("/a/*", "/a/b/*", true);
        check("/a/*", "/ab", false);
        check("/a/*", "/*", false);
        check("/a", "/a/*", false);
        check("/{x}", "/a", true);
        check("/{x}", "/", false);
        check("/a", "/{x}", false);
        check("/{x}/*", "/a/b", true);
        check("/a/", "/a", false);
    }

    #[test]
    fn a_rest_pattern_has_a_literal_prefix() {
        let prefix = |text: &str| Pattern::parse(text).unwrap().literal_prefix().map(<[u8]>::to_vec);
        assert_eq!(prefix("/*").unwrap(), b"");
        assert_eq!(prefix("/a/b/*").unwrap(), b"/a/b");
        assert_eq!(prefix("/a"), None);
        assert_eq!(prefix("/{a}/*"), None);
    }
}
