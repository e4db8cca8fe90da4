//! `.http` files, as editors run them: requests apart by `###`, `@name = value` and `{{name}}`, `#` and `//` comments.

use std::collections::BTreeMap;

use super::Plain;
use crate::redact;

pub fn read(text: &str) -> Result<Vec<Plain>, String> {
    let mut variables = BTreeMap::new();
    let mut requests = Vec::new();
    let mut block: Vec<(usize, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("###") {
            requests.extend(request(&block, &mut variables)?);
            block.clear();
        } else {
            block.push((number + 1, line));
        }
    }
    requests.extend(request(&block, &mut variables)?);
    Ok(requests)
}

fn request(block: &[(usize, &str)], variables: &mut BTreeMap<String, String>) -> Result<Option<Plain>, String> {
    let mut lines = block.iter().copied();
    let mut request: Option<Plain> = None;
    for (number, line) in lines.by_ref() {
        let place = |error: String| format!("line {number}: {error}");
        let trimmed = line.trim();
        match &mut request {
            None if trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with("//") => {}
            None if trimmed.starts_with('@') => {
                let (name, value) =
                    trimmed[1..].split_once('=').ok_or_else(|| place("a variable is written @name = value".to_owned()))?;
                let value = filled(value.trim(), variables).map_err(place)?;
                variables.insert(name.trim().to_owned(), value);
            }
            None => request = Some(first_line(&filled(trimmed, variables).map_err(place)?).map_err(place)?),
            Some(_) if trimmed.is_empty() => break,
            Some(_) if trimmed.starts_with('#') || trimmed.starts_with("//") => {}
            // A long query may go on in the next lines.
            Some(request) if line.starts_with([' ', '\t']) && trimmed.starts_with(['?', '&']) => {
                let target = request.target.clone() + &filled(trimmed, variables).map_err(place)?;
                request.target = Plain::checked(&request.method, &target).map_err(place)?.target;
            }
            Some(request) => {
                let field = filled(trimmed, variables).map_err(place)?;
                let (name, value) = field
                    .split_once(':')
                    .ok_or_else(|| place(format!("{:?} is no field; write Name: value", redact::text(&field))))?;
                request.fields.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    let mut body = Vec::new();
    for (number, line) in lines {
        let place = |error: String| format!("line {number}: {error}");
        if line.starts_with("< ") {
            return Err(place("bodies from files are not read; write the body itself".to_owned()));
        }
        body.push(filled(line, variables).map_err(place)?);
    }
    let body = body.join("\n").trim_end().to_owned().into_bytes();
    Ok(request.map(|request| Plain { body, ..request }))
}

/// `GET /path HTTP/1.1`, `POST http://host/path`, or a URL alone.
fn first_line(line: &str) -> Result<Plain, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [url] => Plain::checked("GET", url),
        [method, url] => Plain::checked(method, url),
        [method, url, version] if version.starts_with("HTTP/") => Plain::checked(method, url),
        _ => Err(format!("{:?} is no request; write METHOD /path", redact::text(line))),
    }
}

fn filled(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or("{{ without }}")?;
        let value = variables.get(name.trim()).ok_or_else(|| format!("the variable {:?} is not set above", name.trim()))?;
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let text = "@host = http://localhost:3000\n# first\nGET {{host}}/a?x=1\n    &y=2\nAccept: text/plain\n\n### second\nPOST /b HTTP/1.1\nContent-Type: application/json\n\n{\"a\":\n1}\n\n###\n";
        let read = read(text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].name().as_str(), read[0].fields.len()), ("GET /a?x=1&y=2", 1));
        assert_eq!((read[1].name().as_str(), read[1].body.as_slice()), ("POST /b", b"{\"a\":\n1}".as_slice()));
    }

    #[test]
    fn mistakes_have_lines() {
        for (text, expected) in [
            ("GET /a\nno field\n", "line 2: \"no field\" is no field"),
            ("\n\nfetch /a\n", "line 3: \"fetch\" is no method"),
            ("GET {{host}}/a", "line 1: the variable \"host\" is not set"),
            ("GET a b c", "line 1: "),
            ("GET /a?b=1\n  &c=2 3\n", "line 2: \"/a?b=1&c=2 3\" is neither a path nor a URL"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
