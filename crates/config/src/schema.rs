//! The JSON schema of `bireme.toml`, and the reference for people: both made of the table of keys.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::keys::{Default, Key, Kind, Section};

/// The JSON schema (draft 2020-12) that editors check `bireme.toml` against.
pub fn schema() -> Value {
    let mut properties = object(Section::Top);
    for section in Section::ALL {
        let table = json!({
            "type": "object",
            "description": section.about(),
            "properties": object(section),
            "additionalProperties": false,
        });
        let value = match section {
            Section::Top => continue,
            Section::Service => json!({
                "type": "object",
                "description": "Services by name.",
                "propertyNames": { "pattern": "^[a-z][a-z0-9_-]{0,63}$" },
                "additionalProperties": with(table, "oneOf", json!([{ "required": ["node"] }, { "required": ["python"] }])),
            }),
            Section::Route => {
                let goals: Vec<Value> =
                    ["to", "static", "redirect", "respond"].iter().map(|goal| json!({ "required": ["match", goal] })).collect();
                json!({ "type": "array", "items": with(table, "oneOf", json!(goals)) })
            }
            Section::Tls => with(table, "required", json!(["certificate", "key"])),
            _ => table,
        };
        properties.insert(section.key().to_owned(), value);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bireme.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn with(mut table: Value, key: &str, value: Value) -> Value {
    table[key] = value;
    table
}

fn object(section: Section) -> Map<String, Value> {
    section.keys().map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let mut value = kind_schema(key.kind);
    value["description"] = json!(key.about);
    match key.default {
        Default::Is(text) => value["default"] = default_value(key.kind, text),
        Default::Unset(meaning) => value["description"] = json!(format!("{} Default: {meaning}.", key.about)),
    }
    value
}

fn kind_schema(kind: Kind) -> Value {
    let text = json!({ "type": "string" });
    let or_off = |value: Value, off: bool| if off { json!({ "anyOf": [value, { "const": "off" }] }) } else { value };
    match kind {
        Kind::Text | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Content => text,
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Count { min, max, off } => or_off(json!({ "type": "integer", "minimum": min, "maximum": max }), off),
        Kind::Duration { off, .. } => {
            or_off(json!({ "type": "string", "pattern": "^(\\s*[0-9]+\\s*(ms|s|m|min|h|d))+\\s*$" }), off)
        }
        Kind::Bytes { min, max, off } => {
            let units = "^\\s*[0-9]+\\s*([KkMmGgTt]?[Bb]|[KkMmGgTt]([Ii][Bb])?)?\\s*$";
            let forms =
                [json!({ "type": "integer", "minimum": min, "maximum": max }), json!({ "type": "string", "pattern": units })];
            let off = off.then(|| json!({ "const": "off" }));
            json!({ "anyOf": forms.into_iter().chain(off).collect::<Vec<_>>() })
        }
        Kind::Part => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Choices(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "array", "items": { "enum": words } }] })
        }
        Kind::Texts | Kind::Paths => json!({ "anyOf": [text.clone(), { "type": "array", "items": text }] }),
        Kind::Map => json!({ "type": "object", "additionalProperties": { "type": ["string", "integer", "boolean"] } }),
        Kind::BooleanOrText => json!({ "anyOf": [{ "type": "boolean" }, text] }),
    }
}

fn default_value(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Boolean | Kind::BooleanOrText => json!(text == "true"),
        Kind::Part => text.parse::<f64>().map_or_else(|_| json!(text), |number| json!(number)),
        Kind::Count { .. } => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
        Kind::Texts | Kind::Paths | Kind::Choices(_) => json!(text.split(',').collect::<Vec<_>>()),
        _ => json!(text),
    }
}

/// The reference's table of one section, in Markdown.
pub fn reference(section: Section) -> String {
    let single = section.is_single();
    let mut out = String::new();
    out.push_str(if single {
        "| key | takes | default | variable | |\n|---|---|---|---|---|\n"
    } else {
        "| key | takes | default | |\n|---|---|---|---|\n"
    });
    for key in section.keys() {
        let default = match key.default {
            Default::Is(text) => format!("`{text}`"),
            Default::Unset(meaning) => meaning.to_owned(),
        };
        let variable = key.variable().map_or_else(String::new, |name| format!(" `{name}` |"));
        let _ = writeln!(out, "| `{}` | {} | {default} |{variable} {} |", key.name, takes(key.kind), key.about);
    }
    out
}

fn takes(kind: Kind) -> String {
    let or_off = |text: String, off: bool| if off { format!("{text}, `off`") } else { text };
    match kind {
        Kind::Text | Kind::Content => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Count { min, max, off } if max == u64::from(u32::MAX) => or_off(format!("number ≥ {min}"), off),
        Kind::Count { min, max, off } => or_off(format!("number {min}–{max}"), off),
        Kind::Duration { off, .. } => or_off("duration".to_owned(), off),
        Kind::Bytes { off, .. } => or_off("size".to_owned(), off),
        Kind::Part => "part".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Choices(words) => {
            format!("list of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
        Kind::Texts => "list of texts".to_owned(),
        Kind::Paths => "list of paths, or one".to_owned(),
        Kind::Map => "table".to_owned(),
        Kind::BooleanOrText => "`true`, `false`, text".to_owned(),
    }
}
