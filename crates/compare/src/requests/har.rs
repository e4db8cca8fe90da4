//! HTTP archives (HAR 1.2), as browsers save them.

use serde::Deserialize;

use super::{Plain, Read, Wanted, checked};

/// A recorded request and what a replay needs of its response.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The request.
    pub request: Plain,
    /// The page or connection it belongs to: requests of one session are replayed in order.
    pub session: String,
    /// Milliseconds since the first entry.
    pub at_ms: f64,
    /// Status of the recorded response.
    pub status: u16,
    /// Fields of the recorded response.
    pub response_fields: Vec<(String, String)>,
    /// Its text, where the archive holds it.
    pub response_text: String,
}

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    pageref: Option<String>,
    started_date_time: String,
    request: RawRequest,
    #[serde(default)]
    response: RawResponse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Field>,
    #[serde(default)]
    post_data: Option<PostData>,
}

#[derive(Default, Deserialize)]
struct RawResponse {
    #[serde(default)]
    status: u16,
    #[serde(default)]
    headers: Vec<Field>,
    #[serde(default)]
    content: Content,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    text: String,
    #[serde(default)]
    encoding: String,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: String,
    #[serde(default)]
    params: Vec<Parameter>,
}

/// A form's field; archives have these or the text.
#[derive(Deserialize)]
struct Parameter {
    name: String,
    #[serde(default)]
    value: String,
}

impl AsRef<Plain> for Entry {
    fn as_ref(&self) -> &Plain {
        &self.request
    }
}

/// Reads the entries that are wanted and can be sent to one server, by time. A page's requests go to other hosts too; those of the
/// first wanted entry's host are kept.
///
/// # Errors
/// What is wrong, and at which entry.
pub fn entries(text: &str, wanted: Wanted) -> Result<Read<Entry>, String> {
    let archive: Archive =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| format!("it is no HTTP archive: {error}"))?;
    let mut found: Vec<(String, Entry)> = Vec::new();
    let mut unsent = 0;
    for (number, raw) in archive.log.entries.into_iter().enumerate() {
        let url = raw.request.url.clone();
        let (scheme, rest) = url.split_once(':').unwrap_or(("", &url));
        // Sockets, and what never left the browser.
        if raw.response.status == 101 || !["", "http", "https"].contains(&scheme) && !url.starts_with('/') {
            unsent += 1;
            continue;
        }
        let host = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
        // A name and a password may stand before it, and hosts are written.
        let host = host.rsplit('@').next().unwrap_or_default();
        let host = if url.starts_with('/') { String::new() } else { host.to_ascii_lowercase() };
        found.push((host, entry(raw).map_err(|error| format!("entry {}: {error}", number + 1))?));
    }
    found.sort_by(|a, b| a.1.at_ms.total_cmp(&b.1.at_ms));
    let mut left_out = Vec::new();
    if unsent > 0 {
        left_out.push(format!("{unsent} entries are sockets or were never sent, and were left out"));
    }
    if let Some(host) = found.iter().find(|(_, entry)| wanted(&entry.request)).map(|(host, _)| host.clone()) {
        let others: std::collections::BTreeSet<String> =
            found.iter().map(|(other, _)| other.clone()).filter(|other| *other != host).collect();
        let all = found.len();
        found.retain(|(other, _)| *other == host);
        if found.len() < all {
            let others = others.into_iter().collect::<Vec<_>>().join(", ");
            left_out.push(format!(
                "{} of {all} entries are for other hosts than {host} and were left out: {others}",
                all - found.len()
            ));
        }
    }
    let mut read = checked(found.into_iter().map(|(_, entry)| entry).collect(), left_out, wanted)?;
    let first = read.requests.first().map_or(0.0, |entry: &Entry| entry.at_ms);
    read.requests.iter_mut().for_each(|entry| entry.at_ms -= first);
    Ok(read)
}

/// Its time is since the epoch.
fn entry(raw: Raw) -> Result<Entry, String> {
    let started: jiff::Timestamp =
        raw.started_date_time.parse().map_err(|error| format!("startedDateTime {:?}: {error}", raw.started_date_time))?;
    let plain = Plain::checked(&raw.request.method, &raw.request.url)?;
    let pairs = |fields: Vec<Field>| fields.into_iter().map(|field| (field.name, field.value)).collect::<Vec<_>>();
    let fields: Vec<(String, String)> = pairs(raw.request.headers);
    let cookie = fields.iter().find(|field| field.0.eq_ignore_ascii_case("cookie")).map(|field| field.1.clone());
    let content = raw.response.content;
    let decoded = || base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &content.text).ok();
    let text = match content.encoding.as_str() {
        "base64" => decoded().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
        _ => content.text,
    };
    Ok(Entry {
        request: Plain { fields, body: raw.request.post_data.map_or(Vec::new(), PostData::bytes), ..plain },
        session: raw.pageref.or(cookie).unwrap_or_default(),
        at_ms: started.as_microsecond() as f64 / 1e3,
        status: raw.response.status,
        response_fields: pairs(raw.response.headers),
        response_text: text,
    })
}

impl PostData {
    fn bytes(self) -> Vec<u8> {
        if !self.text.is_empty() || self.params.is_empty() {
            return self.text.into_bytes();
        }
        // Names and values of parameters are already encoded, where the archive has them from a form.
        let pairs = self.params.iter().map(|parameter| format!("{}={}", parameter.name, parameter.value));
        pairs.collect::<Vec<_>>().join("&").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_in_order_of_time() {
        let text = r#"{"log": {"entries": [
            {"startedDateTime": "2026-01-01T00:00:01.000Z", "request": {"method": "GET", "url": "http://h/b", "headers": []}, "response": {"status": 200}},
            {"startedDateTime": "2026-01-01T00:00:00.500Z", "pageref": "p", "request": {"method": "POST", "url": "http://h/a?x=1",
              "headers": [{"name": "A", "value": "b"}], "postData": {"text": "z"}}}
        ]}}"#;
        let found = entries(text, &|_| true).unwrap().requests;
        assert_eq!((found[0].request.name().as_str(), found[0].session.as_str(), found[0].at_ms), ("POST /a?x=1", "p", 0.0));
        assert_eq!((found[1].request.name().as_str(), found[1].at_ms), ("GET /b", 500.0));
    }

    #[test]
    fn a_malformed_archive_is_said() {
        for (text, expected) in [
            ("[]", "it is no HTTP archive"),
            ("{\"log\":", "it is no HTTP archive"),
            (r#"{"log":{"entries":[{"startedDateTime":"x","request":{"method":"GET","url":"/"}}]}}"#, "entry 1: startedDateTime"),
            (
                r#"{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"get","url":"/"}}]}}"#,
                "entry 1: \"get\" is no method",
            ),
        ] {
            let error = entries(text, &|_| true).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_is_not_for_this_server_is_left_out_and_said() {
        let entry = |url: &str, more: &str| {
            format!(
                r#"{{"startedDateTime": "2026-01-01T00:00:00Z", "request": {{"method": "GET", "url": "{url}"{more}}}, "response": {{"status": 200}}}}"#
            )
        };
        let urls = [
            "https://shop.example/",
            "https://SHOP.example/a",
            "https://me:hunter2@cdn.example/b.js",
            "wss://shop.example/live",
            "data:text/plain,x",
        ];
        let text = format!(r#"{{"log": {{"entries": [{}]}}}}"#, urls.map(|url| entry(url, "")).join(","));
        let names = |read: &Read<Entry>| read.requests.iter().map(|entry| entry.request.name()).collect::<Vec<_>>();
        let all = entries(&text, &|_| true).unwrap();
        assert_eq!(names(&all), ["GET /", "GET /a"]);
        assert_eq!(
            all.left_out,
            [
                "2 entries are sockets or were never sent, and were left out",
                "1 of 3 entries are for other hosts than shop.example and were left out: cdn.example"
            ]
        );
        let some = entries(&text, &|request| request.target == "/b.js").unwrap();
        assert_eq!(names(&some), ["GET /b.js"], "the host is that of the first entry for the route");
        let none = entries(&text, &|_| false).unwrap_err();
        assert!(none.contains("3 of 3 requests are for other routes"), "{none}");
        let form = format!(
            r#"{{"log": {{"entries": [{}]}}}}"#,
            entry("/a", r#", "postData": {"params": [{"name": "a", "value": "b"}, {"name": "c"}]}"#)
        );
        assert_eq!(entries(&form, &|_| true).unwrap().requests[0].request.body, b"a=b&c=");
    }
}
