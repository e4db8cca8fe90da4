//! What a client reads when the front answers in the application's place.
//!
//! Problem details as JSON (RFC 9457), a small page for browsers, or plain text, by the client's `accept`.
//! `problem` knows nothing of the failure but the words it is given, and those must be safe to publish.

use crate::accept::media_quality;
use std::fmt::Write;

/// Content type and body of an error answer. `detail` is one sentence that the client may read;
/// `request_id` lets its reader find the request in the log.
pub fn page(status: u16, accept: Option<&[u8]>, request_id: &str, detail: &str) -> (&'static str, Vec<u8>) {
    page_with_code(status, None, accept, request_id, detail)
}

/// As [`page`], with the stable error code of `docs/errors.md`.
pub fn page_with_code(
    status: u16,
    code: Option<&str>,
    accept: Option<&[u8]>,
    request_id: &str,
    detail: &str,
) -> (&'static str, Vec<u8>) {
    let problem = Problem { status, code, title: reason(status), detail, request_id };
    match Form::preferred(accept) {
        Form::Json => ("application/problem+json", problem.json()),
        Form::Html => ("text/html; charset=utf-8", problem.html()),
        Form::Text => ("text/plain; charset=utf-8", problem.text()),
    }
}

/// The standard phrase of a status (RFC 9110 §15, RFC 6585, RFC 8297); empty for those without one.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Text,
}

impl Form {
    /// JSON unless the client likes HTML, or at least text, better. A client that accepts none of the three
    /// gets JSON too: an answer it can't show beats one without a reason (RFC 9110 §12.5.1 leaves the choice).
    fn preferred(accept: Option<&[u8]>) -> Form {
        let quality = |kind: &[u8], subtype: &[u8]| media_quality(accept, kind, subtype).unwrap_or(0);
        let json = quality(b"application", b"problem+json").max(quality(b"application", b"json"));
        let html = quality(b"text", b"html");
        let text = quality(b"text", b"plain");
        if html > json && html >= text {
            Form::Html
        } else if text > json {
            Form::Text
        } else {
            Form::Json
        }
    }
}

struct Problem<'a> {
    status: u16,
    code: Option<&'a str>,
    title: &'a str,
    detail: &'a str,
    request_id: &'a str,
}

impl Problem<'_> {
    fn json(&self) -> Vec<u8> {
        // "about:blank" says that the problem is what the status says (RFC 9457 §4.2.1); the code tells
        // problems of the same status apart.
        let mut problem = serde_json::Map::new();
        problem.insert("type".into(), "about:blank".into());
        problem.insert("title".into(), self.title.into());
        problem.insert("status".into(), self.status.into());
        problem.insert("detail".into(), self.detail.into());
        if let Some(code) = self.code {
            problem.insert("code".into(), code.into());
        }
        if !self.request_id.is_empty() {
            problem.insert("request_id".into(), self.request_id.into());
        }
        let mut body = serde_json::Value::Object(problem).to_string().into_bytes();
        body.push(b'\n');
        body
    }

    fn html(&self) -> Vec<u8> {
        let (status, title) = (self.status, Escaped(self.title));
        // What follows the first line is a log's, with its stack.
        let (sentence, rest) = self.detail.split_once('\n').unwrap_or((self.detail, ""));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{status} {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <p class=\"status\">{status}</p>\n<h1>{title}</h1>\n<p>{}</p>\n",
            Escaped(sentence)
        );
        if !rest.trim().is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "<pre>{}</pre>", Escaped(rest.trim_end()));
        }
        if !self.request_id.is_empty() {
            let _ = writeln!(page, "<p class=\"id\">Request <code>{}</code></p>", Escaped(self.request_id));
        }
        page.push_str("</main>\n</body>\n</html>\n");
        page.into_bytes()
    }

    fn text(&self) -> Vec<u8> {
        let mut text = format!("{} {}\n{}\n", self.status, self.title, self.detail);
        if !self.request_id.is_empty() {
            let _ = writeln!(text, "request {}", self.request_id);
        }
        text.into_bytes()
    }
}

const STYLE: &str = ":root{color-scheme:light dark}\
body{margin:0;min-height:100vh;display:grid;place-items:center;\
font:1rem/1.5 system-ui,sans-serif;background:Canvas;color:CanvasText}\
main{max-width:34rem;padding:2rem}\
main:has(pre){max-width:min(90vw,70rem)}\
pre{overflow:auto;padding:1rem;font-size:.85rem;background:color-mix(in srgb,CanvasText 6%,Canvas)}\
.status{margin:0;font-size:4rem;line-height:1;font-weight:200;opacity:.5}\
h1{margin:.5rem 0 1rem;font-size:1.5rem;font-weight:600}\
.id{margin-top:2rem;font-size:.85rem;opacity:.6}";

/// Text as HTML may hold it, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_type(accept: Option<&str>, expected: &str) {
        let (kind, body) = page(404, accept.map(str::as_bytes), "abc", "There is nothing here.");
        assert_eq!(kind, expected, "{accept:?}");
        let body = String::from_utf8(body).unwrap();
        for part in ["404", "Not Found", "There is nothing here.", "abc"] {
            assert!(body.contains(part), "{part:?} is missing in {body}");
        }
    }

    #[test]
    fn the_form_follows_accept() {
        let (json, html, text) = ("application/problem+json", "text/html; charset=utf-8", "text/plain; charset=utf-8");
        check_type(None, json);
        check_type(Some("*/*"), json);
        check_type(Some("application/json"), json);
        check_type(Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), html);
        check_type(Some("text/*"), html);
        check_type(Some("text/html;q=0.5, application/json"), json);
        check_type(Some("text/html;q=0, */*"), json);
        check_type(Some("text/plain"), text);
        check_type(Some("text/plain, text/html;q=0.5"), text);
        check_type(Some("image/png"), json);
    }

    #[test]
    fn json_holds_the_members_of_the_standard() {
        let (_, body) = page_with_code(503, Some("queue_full"), None, "a\"b", "Too \"busy\".");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Service Unavailable", "status": 503,
            "detail": "Too \"busy\".", "code": "queue_full", "request_id": "a\"b",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn html_escapes_what_it_is_given() {
        let (_, body) = page(400, Some(b"text/html"), "<i>&'", "<script>alert(\"1\")</script>");
        let body = String::from_utf8(body).unwrap();
        assert!(!body.contains("<script>") && !body.contains("<i>"));
        assert!(body.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"));
    }
}
