//! What a recorded session holds that belongs to its own time: cookies and tokens against forgery. Pure.
//!
//! A replayed request gets the values that the live server gave in their place.

use std::collections::BTreeMap;

use crate::load::connection::Response;
use crate::redact::{REDACTED, VALUE_LENGTH_MIN, decoded};
use crate::requests::{Entry, Plain};

/// One session as it lives now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    cookies: BTreeMap<String, String>,
    /// Recorded values, and what the live server gave in their place.
    tokens: Vec<(String, String)>,
}

impl Session {
    /// A recorded request with the values of now.
    pub fn prepare(&mut self, recorded: &Plain) -> Plain {
        let mut request = recorded.clone();
        // A recording may begin when its cookies had long been set.
        for (name, value) in
            recorded.fields.iter().filter(|field| field.0.eq_ignore_ascii_case("cookie")).flat_map(|field| pairs(&field.1))
        {
            if let Some(live) = self.cookies.get(name).cloned() {
                self.pair(value, &live);
            }
        }
        for (name, value) in &mut request.fields {
            if name.eq_ignore_ascii_case("cookie") {
                *value = self.cookie(value);
            }
            *value = self.replaced(value);
        }
        let has_cookie = request.fields.iter().any(|field| field.0.eq_ignore_ascii_case("cookie"));
        if !has_cookie && !self.cookies.is_empty() {
            request.fields.push(("cookie".to_owned(), self.cookie("")));
        }
        request.target = self.replaced(&request.target);
        if let Ok(text) = std::str::from_utf8(&request.body) {
            request.body = self.replaced(text).into_bytes();
        }
        request
    }

    /// Takes what a live response set, and pairs its tokens with the recorded ones of the same names.
    pub fn learn(&mut self, recorded: &Entry, live: &Response) {
        for (_, value) in live.fields.iter().filter(|field| field.0 == "set-cookie") {
            let text = String::from_utf8_lossy(value);
            match set_cookie(&text) {
                Some((name, Some(value))) => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
                Some((name, None)) => drop(self.cookies.remove(name)),
                None => {}
            }
        }
        // Scripts send a cookie's value again as a field (Angular, Django, Laravel).
        for (_, value) in recorded.response_fields.iter().filter(|field| field.0.eq_ignore_ascii_case("set-cookie")) {
            for line in value.lines() {
                if let Some((name, Some(value))) = set_cookie(line)
                    && let Some(live) = self.cookies.get(name).cloned()
                {
                    self.pair(value, &live);
                }
            }
        }
        let fields: Vec<(String, String)> =
            live.fields.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned())).collect();
        let now = tokens(&fields, &String::from_utf8_lossy(&live.body));
        for (name, value) in tokens(&recorded.response_fields, &recorded.response_text) {
            if let Some(live) = now.get(&name) {
                self.pair(&value, live);
            }
        }
    }

    /// From now on `live` stands in place of `recorded`, as it is and without percent-encoding.
    fn pair(&mut self, recorded: &str, live: &str) {
        for (recorded, live) in [(recorded.to_owned(), live.to_owned()), (decoded(recorded), decoded(live))] {
            if recorded.len() >= VALUE_LENGTH_MIN && live.len() >= VALUE_LENGTH_MIN {
                self.tokens.retain(|known| known.0 != recorded);
                self.tokens.push((recorded, live));
            }
        }
    }

    /// A text without the tokens of now.
    pub fn redact(&self, text: &str) -> String {
        let cookies = self.cookies.values().flat_map(|value| [value.clone(), decoded(value)]);
        let values = self.tokens.iter().map(|token| token.1.clone()).chain(cookies);
        let mut values: Vec<String> = values.filter(|value| value.len() >= VALUE_LENGTH_MIN).collect();
        // Longer ones first: a shorter one may be a part of them.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), REDACTED))
    }

    /// The recorded names with values of now, and what the live server has set besides.
    fn cookie(&self, recorded: &str) -> String {
        let mut all: BTreeMap<&str, &str> = pairs(recorded).collect();
        all.extend(self.cookies.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn replaced(&self, text: &str) -> String {
        self.tokens.iter().fold(text.to_owned(), |text, (recorded, live)| text.replace(recorded.as_str(), live))
    }
}

/// Names and values of a `cookie` field.
fn pairs(field: &str) -> impl Iterator<Item = (&str, &str)> {
    field.split(';').filter_map(|pair| pair.trim().split_once('='))
}

/// Name and value of a `set-cookie` field; no value if it takes the cookie back (RFC 6265 §3.1).
fn set_cookie(field: &str) -> Option<(&str, Option<&str>)> {
    let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
    let (name, value) = pair.split_once('=')?;
    let attributes = attributes.to_ascii_lowercase();
    let taken_back = attributes.split(';').any(|attribute| {
        let attribute = attribute.trim();
        attribute.strip_prefix("max-age=").is_some_and(|age| age.trim().parse::<i64>().is_ok_and(|age| age <= 0))
            || (attribute.starts_with("expires=") && attribute.contains("1970"))
    });
    Some((name.trim(), (!taken_back).then_some(value.trim())))
}

/// Names that frameworks give to tokens against forgery: Django, Rails, Laravel, ASP.NET, Angular, Express.
fn is_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("csrf")
        || name.contains("xsrf")
        || ["authenticity_token", "_token", "__requestverificationtoken"].contains(&name.as_str())
}

/// Tokens of a response by name: in fields, in JSON, in hidden inputs and meta elements of HTML.
fn tokens(fields: &[(String, String)], text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in fields.iter().filter(|field| is_token(&field.0)) {
        found.insert(name.to_ascii_lowercase(), value.clone());
    }
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        in_json(&json, &mut found);
    } else {
        for element in text.split('<').filter(|element| element.starts_with("input") || element.starts_with("meta")) {
            let element = element.split('>').next().unwrap_or_default();
            let value = attribute(element, "value").or_else(|| attribute(element, "content"));
            if let (Some(name), Some(value)) = (attribute(element, "name").filter(|name| is_token(name)), value) {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    found.retain(|_, value| value.len() >= VALUE_LENGTH_MIN);
    found
}

fn in_json(value: &serde_json::Value, found: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match member {
                    serde_json::Value::String(text) if is_token(name) => {
                        found.insert(name.clone(), text.clone());
                    }
                    other => in_json(other, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| in_json(item, found)),
        _ => {}
    }
}

/// Value of an attribute in quotes.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = element;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].trim_start();
        if before.is_none_or(char::is_whitespace)
            && let Some(quoted) = after.strip_prefix('=').map(str::trim_start)
            && let Some(quote) = quoted.chars().next().filter(|quote| ['"', '\''].contains(quote))
        {
            return quoted[1..].split(quote).next();
        }
        rest = &rest[at + name.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(fields: &[(&str, &str)], body: &str) -> Response {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Response { status: 200, fields, body: body.as_bytes().to_vec(), ..Response::default() }
    }

    fn entry(text: &str) -> Entry {
        Entry {
            request: Plain::default(),
            session: String::new(),
            at_ms: 0.0,
            status: 200,
            response_fields: Vec::new(),
            response_text: text.to_owned(),
        }
    }

    #[test]
    fn cookies_are_those_of_now() {
        let mut session = Session::default();
        session.learn(&entry(""), &response(&[("set-cookie", "sid=live-one; Path=/; HttpOnly")], ""));
        let recorded = Plain { fields: vec![("Cookie".into(), "sid=old; theme=dark".into())], ..Plain::default() };
        assert_eq!(session.prepare(&recorded).fields[0].1, "sid=live-one; theme=dark");
        assert_eq!(session.prepare(&Plain::default()).fields, [("cookie".to_owned(), "sid=live-one".to_owned())]);
    }

    #[test]
    fn tokens_are_rebound_wherever_they_stood() {
        for (old, new) in [
            (
                r#"<form><input type="hidden" name="csrfmiddlewaretoken" value="recorded-1">"#,
                "<input value='live-value' name='csrfmiddlewaretoken'>",
            ),
            (r#"<meta name="csrf-token" content="recorded-1" />"#, r#"<meta content="live-value" name="csrf-token">"#),
            (r#"{"a":[{"xsrfToken":"recorded-1"}]}"#, r#"{"a":[{"xsrfToken":"live-value"}]}"#),
        ] {
            let mut session = Session::default();
            session.learn(&entry(old), &response(&[], new));
            let recorded = Plain {
                target: "/save?t=recorded-1".into(),
                fields: vec![("x-csrf-token".into(), "recorded-1".into())],
                body: b"token=recorded-1&x=1".to_vec(),
                ..Plain::default()
            };
            let sent = session.prepare(&recorded);
            assert_eq!((sent.target.as_str(), sent.fields[0].1.as_str()), ("/save?t=live-value", "live-value"), "{old}");
            assert_eq!(sent.body, b"token=live-value&x=1");
            assert_eq!(session.redact("is live-value here"), "is [redacted] here");
        }
    }

    #[test]
    fn a_cookie_that_is_sent_again_as_a_field_is_rebound() {
        // Laravel's cookie is percent-encoded, and scripts send it decoded.
        let mut session = Session::default();
        let mut recorded = entry("");
        recorded.response_fields = vec![("Set-Cookie".into(), "XSRF-TOKEN=recorded%3Dvalue; Path=/".into())];
        session.learn(&recorded, &response(&[("set-cookie", "XSRF-TOKEN=live%3Dvalue; Path=/")], ""));
        let plain = Plain { fields: vec![("X-XSRF-TOKEN".into(), "recorded=value".into())], ..Plain::default() };
        assert_eq!(session.prepare(&plain).fields[0].1, "live=value");
        // The recording began when the cookie was there already.
        let mut session = Session::default();
        session.learn(&entry(""), &response(&[("set-cookie", "csrftoken=live-value-1; Path=/")], ""));
        let fields = [("cookie", "csrftoken=recorded-value"), ("x-csrftoken", "recorded-value")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        let sent = session.prepare(&Plain { fields: fields.into(), ..Plain::default() });
        assert_eq!((sent.fields[0].1.as_str(), sent.fields[1].1.as_str()), ("csrftoken=live-value-1", "live-value-1"));
    }

    #[test]
    fn cookies_of_now_are_redacted_whole_and_as_applications_read_them() {
        let mut session = Session::default();
        session.learn(&entry(""), &response(&[("set-cookie", "a=live-value")], ""));
        session.learn(&entry(""), &response(&[("set-cookie", "sid=live-value%3Asigned")], ""));
        assert_eq!(session.redact("live-value%3Asigned live-value:signed live-value"), "[redacted] [redacted] [redacted]");
    }

    #[test]
    fn a_cookie_that_was_taken_back_is_sent_no_more() {
        for attribute in ["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"] {
            let mut session = Session::default();
            session.learn(&entry(""), &response(&[("set-cookie", "sid=live-one")], ""));
            session.learn(&entry(""), &response(&[("set-cookie", &format!("sid=; {attribute}"))], ""));
            assert_eq!(session.prepare(&Plain::default()).fields, [], "{attribute}");
        }
    }
}
