//! Secrets, kept out of everything that is written: by their names, and by the values that requests hold. Pure.
//!
//! It does not know a secret that has neither a telling name nor was sent as one, such as a key within a path.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Outcome;
use crate::requests::Plain;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";
/// Characters from a secret's name within which its HTML element ends.
const ELEMENT_CHARACTERS_MAX: usize = 4_096;
/// What a text that was shortened ends with.
pub const SHORTENED: char = '…';
/// Names that hold one of these have secrets as values.
const PARTS: [&str; 14] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "session",
    "apikey",
    "api_key",
    "api-key",
    "signature",
    "csrf",
    "xsrf",
    "credential",
    "jwt",
    "sessid",
];
/// Words of names, as in `X-Auth-Key` or `userAuth`, that say the same; parts would be found in `author`.
const WORDS: [&str; 9] = ["auth", "authorization", "authentication", "cookie", "sid", "pwd", "sig", "otp", "pin"];
/// Fields whose value goes on after its first word: further cookies, and credentials after a scheme.
const LISTS: [&str; 4] = ["cookie", "set-cookie", "authorization", "proxy-authorization"];
/// Counts rather than secrets.
const COUNTS: [&str; 2] = ["tokens", "sessions"];
/// Shortest value that is looked for everywhere: a shorter one would be found in places that do not mean it.
pub const VALUE_LENGTH_MIN: usize = 8;

/// Whether a field, parameter or member of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if COUNTS.iter().any(|count| lower.ends_with(count)) {
        return false;
    }
    PARTS.iter().any(|part| lower.contains(part)) || words(name).iter().any(|word| WORDS.contains(&word.as_str()))
}

/// Whether a member of this name and value does: `tokens` is a count, unless it holds texts.
fn is_secret_member(name: &str, value: &Value) -> bool {
    let holds_texts = match value {
        Value::Array(items) => items.iter().any(Value::is_string),
        other => other.is_string(),
    };
    is_secret(name) || (holds_texts && name.to_ascii_lowercase().ends_with("tokens"))
}

/// `userAuth`, `user-auth` and `user_auth` are `user` and `auth`.
fn words(name: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut lower_before = false;
    for letter in name.chars() {
        let new = !letter.is_alphanumeric() || (letter.is_uppercase() && lower_before);
        lower_before = letter.is_lowercase();
        if new && found.last().is_some_and(|word| !word.is_empty()) {
            found.push(String::new());
        }
        if let Some(word) = found.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    found
}

/// A target, or any URL: `/login?token=[redacted]`.
pub fn target(target: &str) -> String {
    // A fragment may hold pairs too, as OAuth's does (RFC 6749 §4.2.2).
    match target.find(['?', '#']) {
        Some(at) => format!("{}{}", &target[..=at], form(&target[at + 1..])),
        None => target.to_owned(),
    }
}

/// Pairs as in a query or a form.
fn form(pairs: &str) -> String {
    let shown = pairs.split_inclusive(['&', '#']).map(|part| {
        let pair = part.trim_end_matches(['&', '#']);
        match pair.split_once('=') {
            Some((name, _)) if is_secret(&decoded(name)) => format!("{name}={REDACTED}{}", &part[pair.len()..]),
            _ => part.to_owned(),
        }
    });
    shown.collect()
}

/// What was found at a place of an answer, such as `$.user.token`, `header location` or `body`.
pub fn value(place: &str, value: &Value) -> Value {
    let field = place.strip_prefix("header ");
    // The names of a JSON path, without its indexes.
    let mut names = place.strip_prefix('$').unwrap_or_default().split(['.', '[', ']', '"']);
    match (field, value) {
        (Some("location" | "content-location" | "referer"), Value::String(text)) => self::target(text).into(),
        (Some(name), _) if is_secret(name) => REDACTED.into(),
        _ if names.any(|name| is_secret_member(name, value)) => below_secret(value),
        _ => within(value),
    }
}

fn within(value: &Value) -> Value {
    match value {
        Value::String(string) => text(string).into(),
        Value::Array(items) => items.iter().map(within).collect(),
        Value::Object(members) => {
            let shown = |(name, member): (&String, &Value)| {
                (name.clone(), if is_secret_member(name, member) { below_secret(member) } else { within(member) })
            };
            Value::Object(members.iter().map(shown).collect())
        }
        other => other.clone(),
    }
}

fn below_secret(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Number(_) => REDACTED.into(),
        Value::Array(items) => items.iter().map(below_secret).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, member)| (name.clone(), below_secret(member))).collect())
        }
        other => other.clone(),
    }
}

/// A text of any kind, such as HTML, a form or a line of a log: what follows a secret's name as its value.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_secret = false;
    while let Some(start) = rest.find(is_of_name) {
        let end = rest[start..].find(|letter| !is_of_name(letter)).map_or(rest.len(), |length| start + length);
        let (before, name) = (&rest[..start], &rest[start..end]);
        out.push_str(before);
        out.push_str(name);
        rest = &rest[end..];
        let scheme = name.eq_ignore_ascii_case("bearer") || (after_secret && is_scheme(name));
        after_secret = is_secret(name);
        let gap = match scheme {
            true => rest.starts_with(' ').then_some(1),
            false => after_secret.then(|| gap_to_value(rest)).flatten(),
        };
        if let Some(gap) = gap {
            let length = value_length(name, &rest[..gap], &rest[gap..]);
            if length > 0 && !is_scheme(&rest[gap..gap + length]) {
                out.push_str(&rest[..gap]);
                out.push_str(REDACTED);
                rest = &rest[gap + length..];
            }
        }
    }
    out + rest
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

/// `authorization: Bearer …`: the secret comes after the scheme, whose name is looked at by itself.
fn is_scheme(word: &str) -> bool {
    ["bearer", "basic"].contains(&word.to_ascii_lowercase().as_str())
}

/// Bytes between a name and its value: `="`, `": "`, or `" value="` of an HTML element.
fn gap_to_value(after: &str) -> Option<usize> {
    let sign = after.find(|letter: char| !"\"' \t\\".contains(letter))?;
    let at = match after[sign..].chars().next()? {
        '=' | ':' => sign + 1,
        _ => {
            // Looking further would take a time that rises with the square of a long text.
            let mut near = after.char_indices().take(ELEMENT_CHARACTERS_MAX);
            let element = &after[..near.find(|(_, letter)| ['<', '>'].contains(letter))?.0];
            ["value=", "content="].iter().find_map(|name| element.find(name).map(|at| at + name.len()))?
        }
    };
    Some(at + after[at..].find(|letter: char| !"\"' \t\\".contains(letter))?)
}

/// Bytes of the value of `name`, which `gap` keeps apart from it: to the quote, bracket or line that ends it, or of one word.
fn value_length(name: &str, gap: &str, value: &str) -> usize {
    let opening = gap.rsplit(['=', ':']).next().unwrap_or_default();
    let mut quotes = opening.chars().filter(|letter| ['"', '\''].contains(letter));
    if let (Some(quote), None) = (quotes.next(), quotes.next()) {
        return quoted_length(value, quote, opening.contains('\\'));
    }
    if value.starts_with(['{', '[']) {
        return bracketed_length(value);
    }
    let is_end = |letter: char| letter.is_whitespace() || "\"'&;,<>}])".contains(letter);
    let word = value.find(is_end).unwrap_or(value.len());
    let is_list = LISTS.contains(&name.to_ascii_lowercase().as_str()) && gap.contains(':');
    if is_list && !is_scheme(&value[..word]) {
        return value.find(['\r', '\n', '<']).unwrap_or(value.len());
    }
    word
}

/// To the closing quote; to the end of the line if there is none. `within_text`: the quotes themselves are escaped.
fn quoted_length(value: &str, quote: char, within_text: bool) -> usize {
    let mut escaped = false;
    for (at, letter) in value.char_indices() {
        match letter {
            _ if letter == quote && within_text => return value[..at].trim_end_matches('\\').len(),
            _ if letter == quote && !escaped => return at,
            _ => escaped = letter == '\\' && !escaped,
        }
    }
    value.find(['\r', '\n']).unwrap_or(value.len())
}

/// To the bracket that closes the first one.
fn bracketed_length(value: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in value.char_indices() {
        match letter {
            '{' | '[' => depth += 1,
            '}' | ']' if depth <= 1 => return at + 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
    }
    value.len()
}

/// What keeps the parts of a multipart body apart (RFC 2046 §5.1.1), if these are fields of such a request.
fn multipart_boundary(fields: &[(String, String)]) -> Option<&str> {
    let (_, value) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
    let (kind, parameters) = value.split_once(';')?;
    kind.trim().eq_ignore_ascii_case("multipart/form-data").then_some(())?;
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// Values that requests sent as secrets: wherever an answer repeats one, it is not shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Those of requests' fields, queries and bodies.
    pub fn of<'a>(requests: impl IntoIterator<Item = &'a Plain>) -> Secrets {
        let mut secrets = Secrets::default();
        for request in requests {
            for (name, value) in &request.fields {
                secrets.field(name, value);
            }
            secrets.form(request.target.split_once('?').map_or("", |(_, query)| query));
            let body = String::from_utf8_lossy(&request.body);
            match (serde_json::from_str(&body), multipart_boundary(&request.fields)) {
                (Ok(json), _) => secrets.json(&json, false),
                (_, Some(boundary)) => secrets.multipart(&body, boundary),
                _ => secrets.form(&body),
            }
        }
        secrets
    }

    /// Takes a field of a request.
    pub fn field(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            // Each cookie by itself: only one of them may be repeated. Whatever its name, it may be a session's.
            "cookie" => value.split(';').filter_map(|pair| pair.split_once('=')).for_each(|(_, value)| self.value(value)),
            "authorization" | "proxy-authorization" => {
                let (scheme, credentials) = value.split_once(' ').unwrap_or(("", value));
                self.value(credentials);
                if scheme.eq_ignore_ascii_case("basic") {
                    self.basic(credentials);
                }
            }
            name if is_secret(name) => self.value(value),
            _ => {}
        }
    }

    /// Takes pairs as in a query or a form.
    pub fn form(&mut self, pairs: &str) {
        let pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| is_secret(&decoded(name))).for_each(|(_, value)| self.value(value));
    }

    /// The password in credentials of RFC 7617.
    fn basic(&mut self, credentials: &str) {
        let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, credentials.trim()).unwrap_or_default();
        if let Some((_, password)) = String::from_utf8_lossy(&decoded).split_once(':') {
            self.value(password);
        }
    }

    /// Takes the parts of a form (RFC 7578).
    fn multipart(&mut self, body: &str, boundary: &str) {
        for part in body.split(&format!("--{boundary}")) {
            let Some((head, value)) = part.split_once("\r\n\r\n") else { continue };
            let name = head.split([';', '\r', '\n']).find_map(|parameter| parameter.trim().strip_prefix("name="));
            if name.is_some_and(|name| is_secret(name.trim_matches('"'))) {
                self.value(value);
            }
        }
    }

    fn json(&mut self, value: &Value, secret: bool) {
        match value {
            Value::String(text) if secret => self.value(text),
            Value::Number(number) if secret => self.value(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.json(item, secret)),
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| self.json(member, secret || is_secret_member(name, member)))
            }
            _ => {}
        }
    }

    /// As it was sent, and as an application may have read it.
    fn value(&mut self, value: &str) {
        let value = value.trim().trim_matches('"');
        for form in [value.to_owned(), decoded(value)] {
            if form.len() >= VALUE_LENGTH_MIN {
                self.0.insert(form);
            }
        }
    }

    /// An outcome without them, wherever it holds a text that comes from what was measured.
    pub fn cleaned(&self, mut outcome: Outcome) -> Outcome {
        let comparison = &mut outcome.comparison;
        for difference in &mut comparison.equality.differences {
            difference.path = self.clean(&difference.path);
            for example in &mut difference.examples {
                example.case = self.clean(&example.case);
                example.path = self.clean(&example.path);
                for said in [&mut example.left, &mut example.right].into_iter().flatten() {
                    if let Value::String(text) = said {
                        *text = self.clean(text);
                    }
                }
            }
        }
        let errors = comparison.errors.iter_mut().flat_map(|error| [&mut error.answer, &mut error.remark]).flatten();
        for text in errors.chain(&mut comparison.remarks) {
            *text = self.clean(text);
        }
        // What a service printed last is in it, after the service's name, which may be one such as `auth`.
        let starts: Vec<String> = outcome.comparison.sides.iter().map(|side| format!("{}: ", side.name)).collect();
        outcome.stopped = outcome.stopped.map(|why| {
            let start = starts.iter().find(|start| why.starts_with(start.as_str())).map_or("", |start| start.as_str());
            format!("{start}{}", self.clean(&text(&why[start.len()..])))
        });
        outcome
    }

    /// A text without them.
    pub fn clean(&self, text: &str) -> String {
        // Longer ones first: a shorter one may be a part of them.
        let mut values: Vec<&String> = self.0.iter().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let clean = values.into_iter().fold(text.to_owned(), |text, value| {
            if text.contains(value.as_str()) { text.replace(value.as_str(), REDACTED) } else { text }
        });
        match clean.strip_suffix(SHORTENED) {
            Some(shown) => self.without_beginning(shown),
            None => clean,
        }
    }

    /// A text that was shortened, which may have been within one of them.
    fn without_beginning(&self, shown: &str) -> String {
        let begins = |value: &String| {
            let end = value.char_indices().map(|(at, _)| at).find(|at| *at >= VALUE_LENGTH_MIN).unwrap_or(value.len());
            shown.match_indices(&value[..end]).map(|(at, _)| at).find(|at| value.starts_with(&shown[*at..]))
        };
        match self.0.iter().filter_map(begins).min() {
            Some(at) => format!("{}{REDACTED}{SHORTENED}", &shown[..at]),
            None => format!("{shown}{SHORTENED}"),
        }
    }
}

/// Percent-encoding undone, with `+` for a space; what is no encoding stays.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        let pair = rest.as_slice().get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_known_by_their_names() {
        let secret = [
            "token",
            "access_token",
            "X-Api-Key",
            "apiKey",
            "Authorization",
            "userAuth",
            "password",
            "PHPSESSID",
            "connect.sid",
            "csrfmiddlewaretoken",
            "client_secret",
            "x-amz-signature",
            "Cookie",
            "sessionId",
        ];
        for name in secret {
            assert!(is_secret(name), "{name}");
        }
        for name in ["author", "total_tokens", "sessions", "key", "id", "design", "residence", "spin", "pinned"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn values_at_secret_places_are_not_shown() {
        for (place, found, shown) in [
            ("$.user.token", json!("abc"), json!(REDACTED)),
            ("$.session.id", json!(17), json!(REDACTED)),
            ("$.tokens[0]", json!("abc"), json!(REDACTED)),
            ("$.usage.tokens", json!(17), json!(17)),
            ("$.items[3].name", json!("abc"), json!("abc")),
            (
                "$",
                json!({ "a": [{ "password": "x", "ok": true }], "n": 1 }),
                json!({ "a": [{ "password": REDACTED, "ok": true }], "n": 1 }),
            ),
            ("header x-auth-token", json!("abc"), json!(REDACTED)),
            ("header location", json!("https://a/b?code=1&access_token=2"), json!("https://a/b?code=1&access_token=[redacted]")),
            ("header location", json!("/a?b=1#sid=2&c=3"), json!("/a?b=1#sid=[redacted]&c=3")),
            ("header vary", json!("authorization, cookie"), json!("authorization, cookie")),
            ("$[\"api key\"][\"x-token\"]", json!("abc"), json!(REDACTED)),
        ] {
            assert_eq!(value(place, &found), shown, "{place}");
        }
    }

    #[test]
    fn texts_are_shown_without_their_secrets() {
        for (found, shown) in [
            ("a=1&access_token=abc&b=2", "a=1&access_token=[redacted]&b=2"),
            (r#"{"token": "abc", "n": 1}"#, r#"{"token": "[redacted]", "n": 1}"#),
            (
                r#"<input type="hidden" name="csrf_token" value="abc"><p>"#,
                r#"<input type="hidden" name="csrf_token" value="[redacted]"><p>"#,
            ),
            (r#"<meta name='csrf-token' content='abc'/>"#, r#"<meta name='csrf-token' content='[redacted]'/>"#),
            ("authorization: Bearer abc.def", "authorization: Bearer [redacted]"),
            ("authorization: Token abc, def\nhost: a", "authorization: [redacted]\nhost: a"),
            ("Cookie: theme=dark; uid=abc\nhost: a", "Cookie: [redacted]\nhost: a"),
            (r#"{"password": "two \"words\"", "n": 1}"#, r#"{"password": "[redacted]", "n": 1}"#),
            (r#"{\"token\":\"a b\",\"n\":1}"#, r#"{\"token\":\"[redacted]\",\"n\":1}"#),
            (r#"{"token": "", "n": 1}"#, r#"{"token": "", "n": 1}"#),
            (r#"{"session": {"id": "abc", "of": [1]}, "n": 1}"#, r#"{"session": [redacted], "n": 1}"#),
            ("token=[redacted]&n=1", "token=[redacted]&n=1"),
            ("your password was wrong", "your password was wrong"),
            ("the author: me", "the author: me"),
            ("naïve token=ünlesbar!", "naïve token=[redacted]"),
        ] {
            assert_eq!(text(found), shown);
        }
    }

    #[test]
    fn what_requests_sent_as_secrets_is_not_repeated() {
        let plain = Plain {
            target: "/a?q=visible-value&api_key=key%2Bvalue-1".into(),
            fields: [
                ("Cookie", "sid=cookie-value-1; theme=dark"),
                ("authorization", "Bearer bearer-value-1"),
                ("Accept", "visible-value"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            body: br#"{"user":{"password":"hunter2-hunter2"},"text":"visible-value"}"#.to_vec(),
            ..Plain::default()
        };
        let secrets = Secrets::of([&plain]);
        let said = "cookie-value-1 bearer-value-1 hunter2-hunter2 key%2Bvalue-1 key+value-1 visible-value dark";
        assert_eq!(secrets.clean(said), "[redacted] [redacted] [redacted] [redacted] [redacted] visible-value dark");
        assert_eq!(secrets.clean("it was cookie-val…"), "it was [redacted]…", "shortened within a secret");
        assert_eq!(secrets.clean("it was cook…"), "it was cook…");
        assert_eq!(target(&plain.target), "/a?q=visible-value&api_key=[redacted]");
    }

    #[test]
    fn secrets_within_encodings_are_known() {
        let plain = |fields: &[(&str, &str)], body: &str| Plain {
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.as_bytes().to_vec(),
            ..Plain::default()
        };
        let form = "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nform-value-1\r\n\
            --x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nvisible-value\r\n--x--\r\n";
        for (request, said, shown) in [
            // ada:basic-value-1
            (plain(&[("Authorization", "Basic YWRhOmJhc2ljLXZhbHVlLTE=")], ""), "ada basic-value-1", "ada [redacted]"),
            (
                plain(&[("content-type", "multipart/form-data; boundary=x")], form),
                "form-value-1 visible-value",
                "[redacted] visible-value",
            ),
            (
                plain(&[], r#"{"pin": 12345678, "tokens": ["list-value-1"], "total_tokens": 87654321}"#),
                "12345678 list-value-1 87654321",
                "[redacted] [redacted] 87654321",
            ),
        ] {
            assert_eq!(Secrets::of([&request]).clean(said), shown);
        }
        let found = json!({ "tokens": ["abc"], "total_tokens": 17, "sessions": [{ "title": "abc" }] });
        let shown = json!({ "tokens": [REDACTED], "total_tokens": 17, "sessions": [{ "title": "abc" }] });
        assert_eq!(value("$", &found), shown);
    }

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decoded("a%3Db+c%zz%4"), "a=b c%zz%4");
    }
}
