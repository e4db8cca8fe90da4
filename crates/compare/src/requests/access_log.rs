//! Access logs in the common or combined format, or Bireme's own text and JSON: their GETs, since they hold no bodies.
//!
//! Logs of the open internet hold lines that are no requests; these are passed over, as long as others remain.

use super::Plain;

/// The GETs, and what was left out.
pub fn read(text: &str) -> Result<(Vec<Plain>, Vec<String>), String> {
    let (mut requests, mut others) = (Vec::new(), 0);
    let mut unreadable: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let found = if line.starts_with('{') { json(line) } else { combined(line).or_else(|| plain(line)) };
        match found.map(|(method, target)| (method == "GET", Plain::checked(&method, &target))) {
            Some((true, Ok(request))) => requests.push(request),
            Some((false, _)) => others += 1,
            Some((true, Err(why))) => unreadable.push((number + 1, why)),
            None => unreadable.push((number + 1, "no request is found".to_owned())),
        }
    }
    let first = unreadable.first().map(|(number, why)| format!("line {number}: {why}"));
    if let (true, 0, Some(first)) = (requests.is_empty(), others, &first) {
        return Err(format!(
            "{first}; access logs in the formats common, combined, text and JSON are read, and files named .http and .har"
        ));
    }
    let mut left_out = Vec::new();
    if others > 0 {
        left_out.push(format!("{others} requests are no GETs, and an access log holds no bodies"));
    }
    left_out
        .extend(first.map(|first| format!("{} lines hold no request that can be sent, the first: {first}", unreadable.len())));
    Ok((requests, left_out))
}

/// `… "GET /path HTTP/1.1" 200 …`
fn combined(line: &str) -> Option<(String, String)> {
    let request = line.split('"').nth(1)?;
    let mut words = request.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    version.starts_with("HTTP/").then(|| (method.to_owned(), target.to_owned()))
}

/// Bireme's own for people: time, client, method, target, status.
fn plain(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let (time, method, target, status) = (words.next()?, words.nth(1)?, words.next()?, words.next()?);
    let is = time.ends_with('Z') && time.contains('T') && status.parse::<u16>().is_ok();
    is.then(|| (method.to_owned(), target.replace("\\x20", "%20")))
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

    fn names(text: &str) -> (Vec<String>, Vec<String>) {
        let (requests, left_out) = read(text).unwrap();
        (requests.iter().map(Plain::name).collect(), left_out)
    }

    #[test]
    fn gets_are_taken() {
        let text = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET /a?b=1 HTTP/1.1\" 200 23 \"-\" \"curl\"\n\
                    1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"POST /a HTTP/1.1\" 200 23\n\
                    {\"method\":\"GET\",\"path\":\"/c\",\"query\":\"d=1\"}\n\
                    2026-11-22T21:37:07.123Z 203.0.113.7 GET /e?f=g 200 2326B 1.234ms ml#2 7m2k0x3vq9d1r8b5t6n0\n";
        let (found, left_out) = names(text);
        assert_eq!(found, ["GET /a?b=1", "GET /c?d=1", "GET /e?f=g"]);
        assert_eq!(left_out, ["1 requests are no GETs, and an access log holds no bodies"]);
        assert!(read("hello\n").unwrap_err().starts_with("line 1: no request"));
    }

    #[test]
    fn what_is_no_request_is_passed_over() {
        let text = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"-\" 408 0\n\
                    1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"\\x16\\x03\\x01\" 400 0\n\
                    1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET /a HTTP/1.1\" 200 1\n";
        let (found, left_out) = names(text);
        assert_eq!(found, ["GET /a"]);
        assert_eq!(left_out, ["2 lines hold no request that can be sent, the first: line 1: no request is found"]);
    }
}
