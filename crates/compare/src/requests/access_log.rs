//! Access logs in the common or combined format, or Bireme's own JSON: their GETs, since they hold no bodies.

use super::Plain;

pub fn read(text: &str) -> Result<Vec<Plain>, String> {
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = |error: String| format!("line {}: {error}", number + 1);
        let Some((method, target)) = (if line.starts_with('{') { json(line) } else { combined(line) }) else {
            return Err(place("no request is found; common, combined and JSON access logs are read, and files named .http and .har".to_owned()));
        };
        if method == "GET" {
            requests.push(Plain::checked(&method, &target).map_err(place)?);
        }
    }
    Ok(requests)
}

/// `… "GET /path HTTP/1.1" 200 …`
fn combined(line: &str) -> Option<(String, String)> {
    let request = line.split('"').nth(1)?;
    let mut words = request.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    version.starts_with("HTTP/").then(|| (method.to_owned(), target.to_owned()))
}

fn json(line: &str) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |names: [&str; 3]| names.iter().find_map(|name| value[*name].as_str()).map(str::to_owned);
    let path = text(["target", "path", "uri"])?;
    let query = value["query"].as_str().filter(|query| !query.is_empty() && !path.contains('?'));
    Some((text(["method", "verb", "request_method"])?, query.map_or(path.clone(), |query| format!("{path}?{query}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gets_are_taken() {
        let text = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET /a?b=1 HTTP/1.1\" 200 23 \"-\" \"curl\"\n\
                    1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"POST /a HTTP/1.1\" 200 23\n\
                    {\"method\":\"GET\",\"path\":\"/c\",\"query\":\"d=1\"}\n";
        let names: Vec<String> = read(text).unwrap().iter().map(Plain::name).collect();
        assert_eq!(names, ["GET /a?b=1", "GET /c?d=1"]);
        assert!(read("hello\n").unwrap_err().starts_with("line 1: no request"));
    }
}
