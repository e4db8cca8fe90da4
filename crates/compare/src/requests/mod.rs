//! Requests to compare services by: from a `.http` file, a HAR, or an access log. Pure.
//!
//! Only what reaches the application is kept: targets, fields and bodies. `host`, `connection` and `content-length` are ours.

mod access_log;
mod har;
mod http_file;

use std::path::Path;

use crate::load::connection::Request;
use crate::redact;

pub use har::{Entry, entries};

/// Requests read from one file; more say nothing that these do not.
const REQUESTS_MAX: usize = 100_000;

/// A request before it has bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plain {
    /// Upper case.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names as written.
    pub fields: Vec<(String, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
}

/// What a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Read<T> {
    /// In its order; a HAR's in order of time.
    pub requests: Vec<T>,
    /// What was passed over and why, for people.
    pub left_out: Vec<String>,
}

/// Tells of a request whether it is for the route that is compared.
pub type Wanted<'a> = &'a dyn Fn(&Plain) -> bool;

/// Reads requests; the file's form shows in its name: `.har`, `.http` or `.rest`, and anything else is an access log.
///
/// # Errors
/// What is wrong, with the line where that is known; or that no request is left.
pub fn read(path: &Path, text: &str, wanted: Wanted) -> Result<Read<Plain>, String> {
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("har") => {
            let Read { requests, left_out } = har::entries(text, wanted)?;
            Ok(Read { requests: requests.into_iter().map(|entry| entry.request).collect(), left_out })
        }
        Some("http" | "rest") => checked(http_file::read(text)?, Vec::new(), wanted),
        _ => {
            let (requests, left_out) = access_log::read(text)?;
            checked(requests, left_out, wanted)
        }
    }
}

/// Those that are wanted, if they are some and not too many.
fn checked<T: AsRef<Plain>>(mut requests: Vec<T>, mut left_out: Vec<String>, wanted: Wanted) -> Result<Read<T>, String> {
    let all = requests.len();
    requests.retain(|request| wanted(request.as_ref()));
    if requests.len() < all {
        left_out.push(format!("{} of {all} requests are for other routes and were left out", all - requests.len()));
    }
    match requests.len() {
        0 if left_out.is_empty() => Err("it holds no request".to_owned()),
        0 => Err(format!("it holds no request to send: {}", left_out.join("; "))),
        1..=REQUESTS_MAX => Ok(Read { requests, left_out }),
        all => Err(format!("it holds {all} requests, and at most {REQUESTS_MAX} are taken; keep a part, or narrow --route")),
    }
}

impl AsRef<Plain> for Plain {
    fn as_ref(&self) -> &Plain {
        self
    }
}

impl Plain {
    /// As sent: with `host`, and `content-length` where there is or may be a body.
    pub fn to_request(&self) -> Result<Request, String> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            let ours = ["host", "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "expect"];
            if name.starts_with(':') || ours.contains(&name.to_ascii_lowercase().as_str()) {
                continue;
            }
            if !is_token(name) || value.contains(['\r', '\n', '\0']) {
                return Err(format!("{}: the field {name:?} cannot be sent", self.name()));
            }
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        Ok(Request { name: self.name(), bytes, without_body: self.method == "HEAD", error_expected: false })
    }

    /// `GET /api/quote/7`, without secrets in its query.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, redact::target(&self.target))
    }

    /// Checks a request line's parts; a URL's scheme and host are left out.
    fn checked(method: &str, url: &str) -> Result<Plain, String> {
        if !is_token(method) || method.chars().any(|c| c.is_ascii_lowercase()) {
            return Err(format!("{method:?} is no method"));
        }
        // A path's query may hold a URL of its own: `/login?next=https://shop.example/`.
        let target = match url.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?', '#'])) {
            Some((_, rest)) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
            None => url,
        };
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        if !target.starts_with('/') || target.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("{:?} is neither a path nor a URL", redact::target(url)));
        }
        Ok(Plain { method: method.to_owned(), target, ..Plain::default() })
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_follows_scheme_and_host() {
        for (url, target) in [
            ("/a?b=1#c", "/a?b=1"),
            ("http://h:1/a?b", "/a?b"),
            ("https://h", "/"),
            ("https://h?a", "/?a"),
            ("/login?next=https://shop.example/cart", "/login?next=https://shop.example/cart"),
            ("https://h/login?next=http://i/", "/login?next=http://i/"),
        ] {
            assert_eq!(Plain::checked("GET", url).unwrap().target, target, "{url}");
        }
    }

    #[test]
    fn what_is_sent_has_our_framing_alone() {
        let fields = [("Host", "a"), ("Content-Length", "9"), ("Accept", "*/*")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let plain = Plain { method: "POST".into(), target: "/a".into(), fields: fields.into(), body: b"xy".to_vec() };
        let sent = plain.to_request().unwrap();
        let expected = "POST /a HTTP/1.1\r\nhost: localhost\r\nAccept: */*\r\ncontent-length: 2\r\n\r\nxy";
        assert_eq!(String::from_utf8(sent.bytes).unwrap(), expected);
        let smuggled = Plain { fields: vec![("a".into(), "b\r\nc: d".into())], ..plain };
        assert!(smuggled.to_request().is_err());
    }
}
