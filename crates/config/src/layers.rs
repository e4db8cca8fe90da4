//! What the environment and the command line say, laid over the file's tree.

use crate::App;
use crate::document::{Item, Table, Value};
use crate::error::{Errors, Mistake, Place, nearest};
use crate::keys::{KEYS, Key, Section};
use crate::resolve::{Flag, Flags};
use crate::section::Folders;
use crate::target::{self, Target};

/// Environment variables over the file.
pub(crate) fn overlay_environment(tree: &mut Table, environment: &[(String, String)], warnings: &mut Vec<Mistake>) {
    for (name, text) in environment {
        if !name.starts_with("BIREME_") || text.is_empty() {
            continue;
        }
        let place = Place::Environment(name.clone());
        let Some(key) = KEYS.iter().find(|key| key.variable().as_ref() == Some(name)) else {
            warnings.extend(unknown_variable(name, place));
            continue;
        };
        set(tree, key, Item { value: Value::Text(text.clone()), place });
    }
}

/// Variables that are not settings: Bireme's own, and those that a worker passes on to its children.
const OTHER_VARIABLES: [&str; 14] = [
    "BIREME_BIN",
    "BIREME_CONFIG",
    "BIREME_RUNTIME",
    "BIREME_SERVICE",
    "BIREME_WORKER",
    "BIREME_LINK",
    "BIREME_LINKS",
    "BIREME_TOKEN",
    "BIREME_OPTIONS",
    "BIREME_FAULTS",
    "BIREME_BROKER",
    "BIREME_BROKER_TOKEN",
    "BIREME_CALLS",
    "BIREME_SELF",
];

/// What workloads of `suite/` are told.
const SUITE_VARIABLES: &str = "BIREME_SUITE_";

/// A warning, not an error: Kubernetes gives every container variables such as `BIREME_PORT` when a Service is called bireme.
fn unknown_variable(name: &str, place: Place) -> Option<Mistake> {
    if OTHER_VARIABLES.contains(&name) || name.starts_with(SUITE_VARIABLES) {
        return None;
    }
    let known: Vec<String> = KEYS.iter().filter_map(Key::variable).collect();
    let hint = nearest(name, known.iter().map(String::as_str)).map(|near| format!("; did you mean {near}?"));
    let what = format!("no setting has this name, so it is passed over{}", hint.unwrap_or_default());
    Some(Mistake { place: Some(place), what })
}

fn set(tree: &mut Table, key: &Key, item: Item) {
    let table = match key.section {
        Section::Top => Some(&mut *tree),
        section => tree.table_mut(section.key(), &item.place),
    };
    // Where the file has something else in the table's place, reading the file says so.
    if let Some(table) = table {
        table.set(key.name, item);
    }
}

/// Flags over both.
pub(crate) fn overlay_flags(tree: &mut Table, flags: &[Flag], errors: &mut Errors) {
    for flag in flags {
        let place = Place::Flag(flag.name.clone());
        let mut items: Vec<Item> =
            flag.values.iter().map(|text| Item { value: Value::Text(text.clone()), place: place.clone() }).collect();
        let item = match items.len() {
            1 => items.remove(0),
            _ => Item { value: Value::List(items), place: place.clone() },
        };
        if let Some(key) = KEYS.iter().find(|key| key.section.is_single() && key.path() == flag.key) {
            set(tree, key, item);
            continue;
        }
        let service = flag.key.strip_prefix("service.").and_then(|rest| rest.split_once('.'));
        let service = service.filter(|(_, key)| Section::Service.keys().any(|known| known.name == *key));
        let Some((name, key)) = service else {
            let paths: Vec<String> = KEYS.iter().map(Key::path).collect();
            let hint = nearest(&flag.key, paths.iter().map(String::as_str));
            let hint = match hint {
                // Which route would be meant?
                _ if flag.key.starts_with("route.") => {
                    "; routes are written in the file, or as --route PATTERN=SERVICE".to_owned()
                }
                Some(near) => format!("; did you mean \"{near}\"?"),
                None => String::new(),
            };
            errors.add(&place, format!("no key \"{}\"{hint}", flag.key));
            continue;
        };
        let services = tree.table_mut("service", &place);
        if let Some(table) = services.and_then(|services| services.table_mut(name, &place)) {
            table.set(key, item);
        }
    }
}

/// Applications of the command line, in place of those of the file that have their names.
pub(crate) fn overlay_targets(tree: &mut Table, flags: &Flags, folders: Folders<'_>, errors: &mut Errors) {
    let mut named: Vec<(String, &String)> = Vec::new();
    for text in &flags.targets {
        let place = Place::Flag(format!("argument \"{text}\""));
        let Target { name, app } = match target::read(text, folders.current) {
            Ok(target) => target,
            Err(what) => {
                errors.add(&place, what);
                continue;
            }
        };
        if let Some((_, other)) = named.iter().find(|(known, _)| *known == name) {
            errors.add(
                &place,
                format!("a service \"{name}\" was named by \"{other}\" already; name both, as in \"{name}2={text}\""),
            );
            continue;
        }
        let Some(service) = tree.table_mut("service", &place).and_then(|services| services.table_mut(&name, &place)) else {
            continue;
        };
        named.push((name, text));
        service.take("node");
        service.take("python");
        let (key, value) = match app {
            App::Node { entry } => ("node", entry.to_string_lossy().into_owned()),
            App::Python { target } => ("python", target),
        };
        let item = |value| Item { value, place: place.clone() };
        service.set(key, item(Value::Text(value)));
        // A program named on the command line runs where the command line is.
        if service.get("cwd").is_none() {
            service.set("cwd", item(Value::Text(folders.current.to_string_lossy().into_owned())));
        }
        if !flags.args.is_empty() {
            let args = flags.args.iter().map(|arg| item(Value::Text(arg.clone()))).collect();
            service.set("args", item(Value::List(args)));
        }
    }
    if !flags.args.is_empty() && flags.targets.len() != 1 {
        errors.add_anywhere(format!(
            "arguments after \"--\" are for one application, and {} were named; write them in bireme.toml as \
             service.NAME.args",
            flags.targets.len()
        ));
    }
}
