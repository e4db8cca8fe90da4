//! How a record looks: text for people, JSON, and the combined format of Apache and nginx.
//!
//! Whatever a client sends, a record is one line of ASCII or UTF-8, and no field can be mistaken for another.

use super::record::{Decoded, Version};
use crate::date::Civil;
use config::AccessFormat;
use std::io::Write;

/// Appends one record as a line.
pub(super) fn line(format: AccessFormat, decoded: &Decoded<'_>, out: &mut Vec<u8>) {
    match format {
        AccessFormat::Off => {}
        AccessFormat::Text => text(decoded, out),
        AccessFormat::Json => json(decoded, out),
        AccessFormat::Combined => combined(decoded, out),
    }
}

/// `2026-11-22T21:37:07.123Z 203.0.113.7 GET /a?b=c 200 2326B 1.234ms ml#2 7m2k…`
fn text(decoded: &Decoded<'_>, out: &mut Vec<u8>) {
    let record = &decoded.record;
    rfc3339(decoded.began_us, out);
    for field in [record.client, record.method, record.target] {
        out.push(b' ');
        word(field, out);
    }
    put(out, format_args!(" {} {}B ", record.status, record.bytes));
    put(out, format_args!("{}.{:03}ms ", record.duration_us / 1000, record.duration_us % 1000));
    word(if record.worker.is_empty() { record.service } else { record.worker }, out);
    out.push(b' ');
    word(record.request_id, out);
    out.push(b'\n');
}

fn json(decoded: &Decoded<'_>, out: &mut Vec<u8>) {
    let record = &decoded.record;
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(decoded.began_us, out);
    out.push(b'"');
    json_text("client", record.client, out);
    json_text("method", record.method, out);
    json_text("target", record.target, out);
    json_text("host", record.host, out);
    put(out, format_args!(",\"version\":\"{}\"", Version::name(decoded.version)));
    put(out, format_args!(",\"status\":{},\"bytes\":{},\"duration_us\":{}", record.status, record.bytes, record.duration_us));
    json_text("service", record.service, out);
    json_text("worker", record.worker, out);
    json_text("request_id", record.request_id, out);
    json_text("referer", record.referer, out);
    json_text("user_agent", record.user_agent, out);
    out.extend_from_slice(b"}\n");
}

/// `203.0.113.7 - - [22/Nov/2026:21:37:07 +0000] "GET /a?b=c HTTP/1.1" 200 2326 "referer" "agent"`
fn combined(decoded: &Decoded<'_>, out: &mut Vec<u8>) {
    let record = &decoded.record;
    let time = Civil::from_unix(decoded.began_us / 1_000_000);
    word(record.client, out);
    put(out, format_args!(" - - [{:02}/", time.day));
    out.extend_from_slice(time.month_name());
    put(out, format_args!("/{}:{:02}:{:02}:{:02} +0000] \"", time.year, time.hour, time.minute, time.second));
    quoted(record.method, out);
    out.push(b' ');
    quoted(record.target, out);
    put(out, format_args!(" {}\" {} {} \"", Version::name(decoded.version), record.status, record.bytes));
    quoted(record.referer, out);
    out.extend_from_slice(b"\" \"");
    quoted(record.user_agent, out);
    out.extend_from_slice(b"\"\n");
}

/// `2026-11-22T21:37:07.123Z`
fn rfc3339(time_us: u64, out: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(time_us / 1_000_000);
    let ms = time_us / 1000 % 1000;
    put(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"));
}

/// A field between spaces: `-` when empty, spaces escaped.
fn word(field: &[u8], out: &mut Vec<u8>) {
    escape(field, b" \\", out);
}

/// A field between quotes, escaped as Apache does it.
fn quoted(field: &[u8], out: &mut Vec<u8>) {
    escape(field, b"\"\\", out);
}

fn escape(field: &[u8], special: &[u8], out: &mut Vec<u8>) {
    if field.is_empty() {
        out.push(b'-');
    }
    for &b in field {
        match b {
            b'"' | b'\\' if special.contains(&b) => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x20..=0x7e if !special.contains(&b) => out.push(b),
            _ => put(out, format_args!("\\x{b:02x}")),
        }
    }
}

/// One member of a JSON object; nothing when empty. Bytes that are not UTF-8 become U+FFFD.
fn json_text(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    put(out, format_args!(",\"{name}\":\""));
    for chunk in value.utf8_chunks() {
        for &b in chunk.valid().as_bytes() {
            match b {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
                // DEL is legal in JSON, and harms terminals.
                0..0x20 | 0x7f => put(out, format_args!("\\u{b:04x}")),
                _ => out.push(b),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::super::record::{Record, sample};
    use super::*;
    use proptest::prelude::*;

    fn check(format: AccessFormat, record: Record<'_>, expected: &str) {
        let decoded = Decoded { began_us: 1_795_383_427_123_456, version: 11, record };
        let mut out = Vec::new();
        line(format, &decoded, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_plain_request_in_each_format() {
        check(AccessFormat::Text, sample(), "2026-11-22T21:37:07.123Z 203.0.113.7 GET /a?b=c 200 2326B 1.234ms ml#2 7m2k0abcd\n");
        check(
            AccessFormat::Json,
            sample(),
            "{\"time\":\"2026-11-22T21:37:07.123Z\",\"client\":\"203.0.113.7\",\"method\":\"GET\",\
             \"target\":\"/a?b=c\",\"host\":\"site.example\",\"version\":\"HTTP/1.1\",\"status\":200,\
             \"bytes\":2326,\"duration_us\":1234,\"service\":\"ml\",\"worker\":\"ml#2\",\
             \"request_id\":\"7m2k0abcd\",\"referer\":\"https://site.example/\",\"user_agent\":\"curl/8\"}\n",
        );
        check(
            AccessFormat::Combined,
            sample(),
            "203.0.113.7 - - [22/Nov/2026:21:37:07 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326 \
             \"https://site.example/\" \"curl/8\"\n",
        );
        check(AccessFormat::Off, sample(), "");
    }

    #[test]
    fn what_is_missing_is_a_dash_or_left_out() {
        let record = Record { client: b"", worker: b"", service: b"", referer: b"", user_agent: b"", ..sample() };
        check(AccessFormat::Text, record, "2026-11-22T21:37:07.123Z - GET /a?b=c 200 2326B 1.234ms - 7m2k0abcd\n");
        check(
            AccessFormat::Combined,
            record,
            "- - - [22/Nov/2026:21:37:07 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326 \"-\" \"-\"\n",
        );
    }

    #[test]
    fn hostile_fields_are_escaped_as_apache_does() {
        let record = Record { referer: b"a\"b\\c\nd\xe9\x1b[2J", user_agent: b"x y", ..sample() };
        check(
            AccessFormat::Combined,
            record,
            "203.0.113.7 - - [22/Nov/2026:21:37:07 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326 \
             \"a\\\"b\\\\c\\nd\\xe9\\x1b[2J\" \"x y\"\n",
        );
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_readable_line(target in proptest::collection::vec(any::<u8>(), 0..60)) {
            let record = Record { target: &target, user_agent: &target, ..sample() };
            let decoded = Decoded { began_us: 0, version: 11, record };
            for format in [AccessFormat::Text, AccessFormat::Json, AccessFormat::Combined] {
                let mut out = Vec::new();
                line(format, &decoded, &mut out);
                let text = String::from_utf8(out).unwrap();
                prop_assert!(text.ends_with('\n'));
                prop_assert!(!text[..text.len() - 1].chars().any(|c| c.is_ascii_control()));
                match format {
                    AccessFormat::Json => {
                        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                        let told = value["target"].as_str().unwrap_or("");
                        prop_assert_eq!(told, String::from_utf8_lossy(&target));
                    }
                    AccessFormat::Text => prop_assert_eq!(text.split(' ').count(), 9),
                    _ => prop_assert!(text.is_ascii()),
                }
            }
        }
    }
}
