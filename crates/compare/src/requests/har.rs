//! HTTP archives (HAR 1.2), as browsers save them.

use serde::Deserialize;

use super::Plain;

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
}

/// Reads all entries, by time.
///
/// # Errors
/// What is wrong, and at which entry.
pub fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let archive: Archive = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| format!("it is no HTTP archive: {error}"))?;
    let mut found: Vec<Entry> = Vec::new();
    for (number, raw) in archive.log.entries.into_iter().enumerate() {
        let place = |error: String| format!("entry {}: {error}", number + 1);
        let started: jiff::Timestamp = raw
            .started_date_time
            .parse()
            .map_err(|error| place(format!("startedDateTime {:?}: {error}", raw.started_date_time)))?;
        let plain = Plain::checked(&raw.request.method, &raw.request.url).map_err(place)?;
        let pairs = |fields: Vec<Field>| fields.into_iter().map(|field| (field.name, field.value)).collect::<Vec<_>>();
        let fields: Vec<(String, String)> = pairs(raw.request.headers);
        let cookie = fields.iter().find(|field| field.0.eq_ignore_ascii_case("cookie")).map(|field| field.1.clone());
        found.push(Entry {
            request: Plain { fields, body: raw.request.post_data.map_or(Vec::new(), |data| data.text.into_bytes()), ..plain },
            session: raw.pageref.or(cookie).unwrap_or_default(),
            at_ms: started.as_microsecond() as f64 / 1e3,
            status: raw.response.status,
            response_fields: pairs(raw.response.headers),
            response_text: raw.response.content.text,
        });
    }
    found.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    let first = found.first().map_or(0.0, |entry| entry.at_ms);
    found.iter_mut().for_each(|entry| entry.at_ms -= first);
    Ok(found)
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
        let found = entries(text).unwrap();
        assert_eq!((found[0].request.name().as_str(), found[0].session.as_str(), found[0].at_ms), ("POST /a?x=1", "p", 0.0));
        assert_eq!((found[1].request.name().as_str(), found[1].at_ms), ("GET /b", 500.0));
    }

    #[test]
    fn a_malformed_archive_is_said() {
        for (text, expected) in [
            ("[]", "it is no HTTP archive"),
            ("{\"log\":", "it is no HTTP archive"),
            (r#"{"log":{"entries":[{"startedDateTime":"x","request":{"method":"GET","url":"/"}}]}}"#, "entry 1: startedDateTime"),
            (r#"{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"get","url":"/"}}]}}"#, "entry 1: \"get\" is no method"),
        ] {
            let error = entries(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
