//! The same requests to two launches of each side, before anything is timed.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use super::Routes;
use crate::Cancel;
use crate::document::{Equality, Settings, Side};
use crate::equality::{Answer, Comparer};
use crate::load::connection::{Connection, Request, Response};
use crate::server::Server;

/// Answers compared, where there is time for so many: what is wrong once in 500 then shows in all but one of 400 runs.
const ANSWERS_WANTED: usize = 1_500;
/// Time for it, in launches.
const LAUNCHES: f64 = 2.0;
/// What differs for reasons of framing and software, and not of the answer.
const FIELDS_PASSED_OVER: [&str; 10] = [
    "date",
    "server",
    "x-powered-by",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "x-request-id",
    "etag",
    "alt-svc",
];

/// Compares them; what the services say of their interpreters goes to `sides`.
pub fn compare(routes: &Routes, settings: &Settings, sides: &mut [Side], cancel: &Cancel) -> Result<Equality, String> {
    let mut servers = Vec::new();
    for launcher in [0, 0, 1, 1] {
        servers.push(Server::start(&routes.subject.launchers[launcher], cancel)?);
    }
    for ((side, service), server) in sides.iter_mut().zip(&routes.services).zip([&servers[0], &servers[2]]) {
        describe(side, service, &server.printed());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let mut comparer = Comparer::of_traffic(routes.likeness.clone());
    let limit = (settings.launch_seconds * LAUNCHES).max(2.0);
    let began = Instant::now();
    let (mut rounds, mut compared) = (0, 0);
    let mut connections: Vec<Option<Connection>> = servers.iter().map(|_| None).collect();
    while compared == 0 || (compared < ANSWERS_WANTED && began.elapsed().as_secs_f64() < limit) {
        for (index, request) in routes.requests.iter().enumerate() {
            if cancel.is_cancelled() {
                return Err("interrupted".to_owned());
            }
            let mut answers = Vec::new();
            for (server, connection) in servers.iter().zip(&mut connections) {
                let response = runtime.block_on(async {
                    let ask = ask(server.address, connection, request);
                    tokio::time::timeout(routes.timeout, ask).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
                });
                let decoded = response.map(|mut response| {
                    response.decode();
                    response
                });
                answers.push(answer(decoded, routes.status_alone.contains(&index)));
            }
            comparer.add(&request.name, [&answers[0], &answers[1]], [&answers[2], &answers[3]]);
            compared += 1;
            // Even the first round ends when it takes too long: what is compared then is said.
            if began.elapsed().as_secs_f64() > 4.0 * limit {
                break;
            }
        }
        rounds += 1;
    }
    Ok(comparer.finish(compared.min(routes.requests.len()) as u64, rounds, settings.confidence))
}

/// From the line `ml: python 3.11.2 at /usr/bin/python3 (why), asgi, 2 workers` of the log.
pub fn describe(side: &mut Side, service: &str, log: &str) {
    let start = format!("{service}: {} ", side.language);
    let Some((_, rest)) = log.lines().find_map(|line| line.split_once(start.as_str())) else { return };
    let Some((version, rest)) = rest.split_once(" at ") else { return };
    side.version = Some(version.to_owned());
    if let Some((interpreter, rest)) = rest.split_once(" (") {
        side.interpreter = Some(interpreter.to_owned());
        let kind = rest.split_once("), ").and_then(|(_, rest)| rest.split_once(','));
        side.facts.extend(kind.map(|(kind, _)| kind.to_owned()));
    }
}

/// Over the connection that is kept, once more over a new one if the kept one has been closed meanwhile.
pub async fn ask(address: std::net::SocketAddr, kept: &mut Option<Connection>, request: &Request) -> Result<Response, String> {
    if let Some(mut connection) = kept.take()
        && let Ok((response, again)) = connection.exchange(request, true).await
    {
        *kept = again.then_some(connection);
        return Ok(response);
    }
    let mut connection = Connection::open(address).await.map_err(|error| format!("no connection: {error}"))?;
    let (response, again) = connection.exchange(request, true).await?;
    *kept = again.then_some(connection);
    Ok(response)
}

/// What is compared of a response, its content coding undone.
pub fn answer(response: Result<Response, String>, status_alone: bool) -> Answer {
    let response = match response {
        Ok(response) => response,
        Err(why) => return Answer { parts: vec![("answer".to_owned(), why.into())], json: None },
    };
    if status_alone {
        return Answer { parts: vec![("status".to_owned(), response.status.into())], json: None };
    }
    of_parts(response.status, &response.fields, &response.body)
}

/// What is compared of an HTTP response; names of fields in lower case, the body's content coding undone.
pub fn of_parts(status: u16, fields: &[(String, Vec<u8>)], body: &[u8]) -> Answer {
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut is_json = false;
    for (name, value) in fields {
        if FIELDS_PASSED_OVER.contains(&name.as_str()) {
            continue;
        }
        let mut value = text_of(value);
        if name == "content-type" {
            value = media_type(&value);
            is_json = value == "application/json" || value.ends_with("+json");
        }
        if name == "set-cookie" {
            // Values are secrets, and new each time.
            value = value.split('=').next().unwrap_or_default().to_owned();
        }
        texts.entry(name).or_default().push(value);
    }
    // Cookies may be set in any order (RFC 6265 §4.1.1).
    texts.entry("set-cookie").or_default().sort();
    let mut parts = vec![("status".to_owned(), Value::from(status))];
    // Fields of one name are one list (RFC 9110 §5.3), all of whose members count.
    let present = texts.into_iter().filter(|(_, values)| !values.is_empty());
    parts.extend(present.map(|(name, values)| (format!("header {name}"), Value::from(values.join(", ")))));
    let json = if is_json { serde_json::from_slice(body).ok() } else { None };
    if json.is_none() {
        parts.push(("body".to_owned(), text_of(body).into()));
    }
    Answer { parts, json }
}

/// A body as it is compared and shown. What is no UTF-8 is escaped: replaced by one character, different images would be equal.
pub fn text_of(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
}

/// In lower case and without spaces; JSON has no charset (RFC 8259 §11), so naming one says nothing.
fn media_type(value: &str) -> String {
    let plain: String = value.to_ascii_lowercase().split_whitespace().collect();
    match plain.strip_suffix(";charset=utf-8") {
        Some(json) if json.ends_with("json") => json.to_owned(),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let fields: Vec<(String, Vec<u8>)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        of_parts(200, &fields, body)
    }

    #[test]
    fn every_field_and_byte_counts() {
        let both = answered(&[("set-cookie", "a=1"), ("set-cookie", "b=1")], b"");
        assert_eq!(both, answered(&[("set-cookie", "b=2"), ("set-cookie", "a=2")], b""));
        assert_ne!(both, answered(&[("set-cookie", "a=1")], b""), "the second cookie is missing");
        assert_eq!(answered(&[("vary", "a"), ("vary", "b")], b""), answered(&[("vary", "a, b")], b""));
        assert_ne!(answered(&[], b"\x89PNG\x80"), answered(&[], b"\x89PNG\x81"), "one image is not another");
    }
}
