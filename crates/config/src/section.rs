//! One table of the tree, read by the table of keys: unknown keys and wrong values are found here, defaults filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::document::{Item, Table, Value};
use crate::error::{Errors, Place, nearest};
use crate::keys::{Default, Key, Kind, Section};
use crate::units;

/// A value as its key's kind understands it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Typed {
    Text(String),
    Path(PathBuf),
    Boolean(bool),
    Count(u64),
    Duration(Duration),
    Bytes(u64),
    /// In millionths.
    Part(u32),
    Texts(Vec<(String, Place)>),
    Map(Vec<(String, String)>),
    /// `"off"`
    Off,
}

/// Values of one table, by key; a key without value and default is absent.
pub(crate) struct Values {
    section: Section,
    found: Vec<(&'static Key, Typed, Place)>,
}

/// Reads one table. `heading` is what messages call it; `folders` says what paths are relative to.
pub(crate) fn read(section: Section, table: Table, heading: &str, folders: Folders<'_>, errors: &mut Errors) -> Values {
    let mut found = Vec::new();
    for entry in table.entries {
        let Some(key) = section.keys().find(|key| key.name == entry.key) else {
            errors.add(&entry.place, unknown(&entry.key, heading, section));
            continue;
        };
        let place = entry.item.place.clone();
        match typed(key.kind, entry.item, folders) {
            Ok(value) => found.push((key, value, place)),
            Err((place, what)) => {
                let name = if section.is_single() { key.path() } else { key.name.to_owned() };
                errors.add_value(&place, &name, &what);
            }
        }
    }
    for key in section.keys() {
        if let Default::Is(text) = key.default
            && !found.iter().any(|(present, ..)| present.name == key.name)
        {
            let item = Item { value: Value::Text(text.to_owned()), place: Place::Default };
            let value = typed(key.kind, item, folders);
            found.push((key, value.expect("defaults in the table of keys are valid; a test reads each"), Place::Default));
        }
    }
    Values { section, found }
}

/// What paths are relative to.
#[derive(Clone, Copy)]
pub(crate) struct Folders<'f> {
    /// Of the config file; the current one if there is none.
    pub file: &'f Path,
    /// The current folder, for flags and the environment.
    pub current: &'f Path,
}

impl Folders<'_> {
    pub(crate) fn of(&self, place: &Place) -> &Path {
        if matches!(place, Place::File { .. }) { self.file } else { self.current }
    }
}

fn unknown(name: &str, heading: &str, section: Section) -> String {
    let names = section.keys().map(|key| key.name);
    let tables = [Section::Tls, Section::Limits, Section::Timeouts, Section::AccessLog, Section::Compression];
    let tables =
        tables.iter().map(|section| section.key()).chain(["websocket", "calls", "static_cache", "dev", "service", "route"]);
    let known: Vec<&str> = if section == Section::Top { names.chain(tables).collect() } else { names.collect() };
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown key \"{name}\" {heading}; did you mean \"{near}\"?"),
        None => format!("unknown key \"{name}\" {heading}; known are {}", known.join(", ")),
    }
}

type Wrong = (Place, String);

fn typed(kind: Kind, item: Item, folders: Folders<'_>) -> Result<Typed, Wrong> {
    let place = item.place.clone();
    let wrong = |what: String| (place.clone(), what);
    // Flags, the environment and defaults write text only, and commas between the items of a list.
    let loose = !matches!(place, Place::File { .. });
    if let Value::Text(text) = &item.value
        && text == "off"
        && matches!(kind, Kind::Count { off: true, .. } | Kind::Duration { off: true, .. } | Kind::Bytes { off: true, .. })
    {
        return Ok(Typed::Off);
    }
    match (kind, item.value) {
        (Kind::Text, Value::Text(text)) if text.is_empty() => Err(wrong("it is empty; leave the key out instead".into())),
        (Kind::Text | Kind::Content | Kind::BooleanOrText, Value::Text(text)) if !loose || kind != Kind::BooleanOrText => {
            Ok(Typed::Text(text))
        }
        (Kind::Path, Value::Text(text)) if text.is_empty() => Err(wrong("it is empty; leave the key out instead".into())),
        (Kind::Path, Value::Text(text)) => Ok(Typed::Path(folders.of(&place).join(text).components().collect())),
        (Kind::Boolean | Kind::BooleanOrText, Value::Boolean(value)) => Ok(Typed::Boolean(value)),
        (Kind::Boolean | Kind::BooleanOrText, Value::Text(text)) if loose => match text.as_str() {
            "true" | "1" | "yes" | "on" => Ok(Typed::Boolean(true)),
            "false" | "0" | "no" | "off" => Ok(Typed::Boolean(false)),
            _ if kind == Kind::BooleanOrText => Ok(Typed::Text(text)),
            _ => Err(wrong(format!("\"{text}\" is neither true nor false"))),
        },
        (Kind::Count { min, max, .. }, Value::Integer(number)) => match u64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Ok(Typed::Count(number)),
            _ => Err(wrong(format!("{number} is not between {min} and {max}"))),
        },
        (Kind::Count { min, max, .. }, Value::Text(text)) if loose => match text.trim().parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Typed::Count(number)),
            _ => Err(wrong(format!("\"{text}\" is not a whole number between {min} and {max}"))),
        },
        (Kind::Duration { zero, .. }, Value::Text(text)) => {
            let value = units::duration(&text).map_err(wrong)?;
            let zero = zero || value > Duration::ZERO;
            zero.then_some(Typed::Duration(value)).ok_or_else(|| (place, "it cannot be zero".to_owned()))
        }
        (Kind::Bytes { min, max, .. }, Value::Text(text)) => within(units::bytes(&text).map_err(wrong)?, min, max).map_err(wrong),
        (Kind::Bytes { min, max, .. }, Value::Integer(number)) => match u64::try_from(number) {
            Ok(number) => within(number, min, max).map_err(wrong),
            Err(_) => Err(wrong(format!("{number} is below zero"))),
        },
        (Kind::Part, Value::Fraction(text)) => part(&text).map_err(wrong),
        (Kind::Part, Value::Integer(number)) => part(&number.to_string()).map_err(wrong),
        (Kind::Part, Value::Text(text)) if loose => part(text.trim()).map_err(wrong),
        (Kind::Choice(words), Value::Text(text)) => choose(words, text).map(Typed::Text).map_err(wrong),
        (Kind::Choices(words), value @ (Value::Text(_) | Value::List(_))) => {
            let texts = texts(value, &place, loose)?;
            let chosen = texts.into_iter().map(|(text, place)| match choose(words, text) {
                Ok(word) => Ok((word, place)),
                Err(what) => Err((place, what)),
            });
            Ok(Typed::Texts(chosen.collect::<Result<_, _>>()?))
        }
        (Kind::Texts, value @ (Value::Text(_) | Value::List(_))) => Ok(Typed::Texts(texts(value, &place, loose)?)),
        (Kind::Paths, value @ (Value::Text(_) | Value::List(_))) => {
            let paths = texts(value, &place, loose)?.into_iter().map(|(text, place)| {
                if text.is_empty() {
                    return Err((place, "a path is empty".to_owned()));
                }
                let path: PathBuf = folders.of(&place).join(text).components().collect();
                Ok((path.to_string_lossy().into_owned(), place))
            });
            Ok(Typed::Texts(paths.collect::<Result<_, _>>()?))
        }
        (Kind::Map, Value::Table(table)) => {
            let entries = table.entries.into_iter().map(|entry| match entry.item.value {
                Value::Text(text) => Ok((entry.key, text)),
                Value::Integer(number) => Ok((entry.key, number.to_string())),
                Value::Boolean(value) => Ok((entry.key, value.to_string())),
                _ => Err((entry.item.place, format!("{} takes a text", entry.key))),
            });
            Ok(Typed::Map(entries.collect::<Result<_, _>>()?))
        }
        (kind, value) => Err(wrong(format!("it takes {}, not {}", expectation(kind), describe(&value)))),
    }
}

fn within(value: u64, min: u64, max: u64) -> Result<Typed, String> {
    let shown = units::show_bytes;
    if value < min {
        return Err(format!("{} is below the least, {}", shown(value), shown(min)));
    }
    if value > max {
        return Err(format!("{} is above the most, {}", shown(value), shown(max)));
    }
    Ok(Typed::Bytes(value))
}

/// From above 0 to 1.
fn part(text: &str) -> Result<Typed, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(Typed::Part(((value * 1e6).round() as u32).max(1))),
        _ => Err(format!("{text} is no part; write a number above 0 and up to 1, such as 0.05")),
    }
}

fn choose(words: &'static [&'static str], text: String) -> Result<String, String> {
    if words.contains(&text.as_str()) {
        return Ok(text);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    Err(match nearest(&text, words.iter().copied()) {
        Some(near) => format!("\"{text}\" is not one of {}; did you mean \"{near}\"?", quoted.join(", ")),
        None => format!("\"{text}\" is not one of {}", quoted.join(", ")),
    })
}

fn texts(value: Value, place: &Place, loose: bool) -> Result<Vec<(String, Place)>, Wrong> {
    let items = match value {
        Value::Text(text) if loose => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            return Ok(parts.map(|part| (part.to_owned(), place.clone())).collect());
        }
        Value::Text(text) => return Ok(vec![(text, place.clone())]),
        Value::List(items) => items,
        other => return Err((place.clone(), format!("it takes texts, not {}", describe(&other)))),
    };
    let items = items.into_iter().map(|item| match item.value {
        Value::Text(text) => Ok((text, item.place)),
        other => Err((item.place, format!("it takes texts, not {}", describe(&other)))),
    });
    items.collect()
}

fn expectation(kind: Kind) -> String {
    let (what, off) = match kind {
        Kind::Text | Kind::Content => ("a text".to_owned(), false),
        Kind::Path => ("a path".to_owned(), false),
        Kind::Boolean => ("true or false".to_owned(), false),
        Kind::Count { min, max, off } => (format!("a whole number between {min} and {max}"), off),
        Kind::Duration { off, .. } => ("a duration such as \"10s\"".to_owned(), off),
        Kind::Bytes { off, .. } => ("a size such as \"16MiB\"".to_owned(), off),
        Kind::Part => ("a part such as 0.05".to_owned(), false),
        Kind::Choice(words) => (format!("one of \"{}\"", words.join("\", \"")), false),
        Kind::Choices(words) => (format!("a list of \"{}\"", words.join("\", \"")), false),
        Kind::Texts => ("a text or a list of texts".to_owned(), false),
        Kind::Paths => ("a path or a list of paths".to_owned(), false),
        Kind::Map => ("a table of texts".to_owned(), false),
        Kind::BooleanOrText => ("true, false or a text".to_owned(), false),
    };
    if off { format!("{what} or \"off\"") } else { what }
}

pub(crate) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "a text",
        Value::Integer(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
        Value::Fraction(_) => "a fraction",
        Value::Other(what) => what,
    }
}

/// Accessors name a key of the section and its kind; both are the program's own, so a mismatch is a bug that the first
/// test to resolve anything meets.
impl Values {
    pub(crate) fn find(&self, name: &str) -> Option<(&Typed, &Place)> {
        debug_assert!(self.section.keys().any(|key| key.name == name), "no key {name} in {:?}", self.section);
        self.found.iter().find(|(key, ..)| key.name == name).map(|(_, value, place)| (value, place))
    }

    /// Whether the key was written anywhere.
    pub(crate) fn written(&self, name: &str) -> Option<&Place> {
        self.find(name).map(|(_, place)| place).filter(|place| **place != Place::Default)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.find(name) {
            Some((Typed::Text(text), _)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        match self.find(name) {
            Some((Typed::Path(path), _)) => Some(path.clone()),
            _ => None,
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> bool {
        matches!(self.find(name), Some((Typed::Boolean(true), _)))
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        match self.find(name) {
            Some((Typed::Count(number), _)) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.find(name) {
            Some((Typed::Duration(value), _)) => Some(*value),
            _ => None,
        }
    }

    /// `Some(None)` is `off`, `None` nothing at all.
    pub(crate) fn duration_or_off(&self, name: &str) -> Option<Option<Duration>> {
        match self.find(name) {
            Some((Typed::Duration(value), _)) => Some(Some(*value)),
            Some((Typed::Off, _)) => Some(None),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        match self.find(name) {
            Some((Typed::Bytes(value), _)) => Some(*value),
            _ => None,
        }
    }

    /// In millionths.
    pub(crate) fn part(&self, name: &str) -> Option<u32> {
        match self.find(name) {
            Some((Typed::Part(millionths), _)) => Some(*millionths),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<(String, Place)> {
        match self.find(name) {
            Some((Typed::Texts(texts), _)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn map(&self, name: &str) -> Vec<(String, String)> {
        match self.find(name) {
            Some((Typed::Map(entries), _)) => entries.clone(),
            _ => Vec::new(),
        }
    }

    /// Keys and values with their places, in the order of the table of keys.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static Key, &Typed, &Place)> {
        self.section.keys().filter_map(|key| {
            let (value, place) = self.find(key.name)?;
            Some((key, value, place))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_written() {
        // The nearest binary fractions of some lie below them.
        for (text, millionths) in [("0.0157", 15_700), ("0.05", 50_000), ("1", 1_000_000), ("0.0000001", 1)] {
            assert_eq!(part(text), Ok(Typed::Part(millionths)), "{text}");
        }
        assert!(part("0").is_err() && part("1.1").is_err() && part("NaN").is_err());
    }
}
