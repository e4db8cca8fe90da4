//! Resolved values as they are written, each with the place it came from.

use std::fmt;

use crate::error::Place;
use crate::keys::Key;
use crate::section::Typed;
use crate::units;

/// A key that holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `[limits]`, `[service.ml]`, `[[route]]`; empty at the top level.
    pub heading: String,
    /// The key.
    pub key: &'static str,
    /// The value as TOML.
    pub value: String,
    /// Where it came from.
    pub place: Place,
}

impl Shown {
    pub(crate) fn new(heading: &str, key: &'static Key, value: &Typed, place: &Place) -> Shown {
        Shown { heading: heading.to_owned(), key: key.name, value: toml(value), place: place.clone() }
    }
}

/// The settings as a file that gives the same again, with places as comments.
pub fn show(shown: &[Shown], out: &mut dyn fmt::Write) -> fmt::Result {
    let mut heading = "";
    let mut first_key = None;
    for one in shown {
        // `[[route]]` begins anew with each route: when its first key comes round again.
        let begins = one.heading != heading || (one.heading.starts_with("[[") && first_key == Some(one.key));
        if begins {
            heading = &one.heading;
            first_key = Some(one.key);
            write!(out, "\n{heading}\n")?;
        }
        writeln!(out, "{} = {}  # {}", one.key, one.value, one.place)?;
    }
    Ok(())
}

fn toml(value: &Typed) -> String {
    match value {
        Typed::Text(text) => quote(text),
        Typed::Path(path) => quote(&path.to_string_lossy()),
        Typed::Boolean(value) => value.to_string(),
        Typed::Count(number) => number.to_string(),
        Typed::Duration(value) => quote(&units::show_duration(*value)),
        Typed::Bytes(value) => quote(&units::show_bytes(*value)),
        Typed::Part(millionths) => (f64::from(*millionths) / 1e6).to_string(),
        Typed::Texts(texts) => {
            let quoted: Vec<String> = texts.iter().map(|(text, _)| quote(text)).collect();
            format!("[{}]", quoted.join(", "))
        }
        Typed::Map(entries) => {
            let pairs: Vec<String> = entries.iter().map(|(name, value)| format!("{} = {}", quote(name), quote(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Typed::Off => "\"off\"".to_owned(),
    }
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
