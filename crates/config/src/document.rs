//! `bireme.toml` as a tree in which every value knows its line.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Errors, Place};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub value: Value,
    pub place: Place,
}

/// A value as it was written. Flags and the environment write text only; what it means is up to the key.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Item>),
    Table(Table),
    /// A number with a point, as written.
    Fraction(String),
    /// What no key takes: "a date".
    Other(&'static str),
}

/// Keys in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    /// Where the key stands; the value may begin on a later line.
    pub place: Place,
    pub item: Item,
}

impl Table {
    /// Sets a key, in place of what it held.
    pub(crate) fn set(&mut self, key: &str, item: Item) {
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => (entry.place, entry.item) = (item.place.clone(), item),
            None => self.entries.push(Entry { key: key.to_owned(), place: item.place.clone(), item }),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.item)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// The table below a key, made if there is none; `None` if something else stands there.
    pub(crate) fn table_mut(&mut self, key: &str, place: &Place) -> Option<&mut Table> {
        let at = match self.entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None => {
                let item = Item { value: Value::Table(Table::default()), place: place.clone() };
                self.entries.push(Entry { key: key.to_owned(), place: place.clone(), item });
                self.entries.len() - 1
            }
        };
        match &mut self.entries[at].item.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// Reads a file's text. `name` is what messages call the file.
pub(crate) fn parse(text: &str, name: &Arc<str>) -> Result<Table, Errors> {
    let lines = Lines::new(text, name);
    match DeTable::parse(text) {
        Ok(table) => Ok(lines.table(table.into_inner())),
        Err(error) => {
            let mut errors = Errors::default();
            let at = error.span().map_or(0, |span| span.start);
            let what = error.message().lines().collect::<Vec<_>>().join("; ");
            errors.add(&lines.place(at), format!("this is not TOML: {what}"));
            Err(errors)
        }
    }
}

struct Lines<'n> {
    starts: Vec<usize>,
    name: &'n Arc<str>,
}

impl<'n> Lines<'n> {
    fn new(text: &str, name: &'n Arc<str>) -> Lines<'n> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines { starts: std::iter::once(0).chain(ends).collect(), name }
    }

    fn place(&self, at: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= at);
        Place::File { name: self.name.clone(), line }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(key, value)| {
                let at = key.span().start;
                (at, Entry { key: key.into_inner().into_owned(), place: self.place(at), item: self.item(value) })
            })
            .collect();
        entries.sort_by_key(|(at, _)| *at);
        Table { entries: entries.into_iter().map(|(_, entry)| entry).collect() }
    }

    fn item(&self, value: Spanned<DeValue<'_>>) -> Item {
        let place = self.place(value.span().start);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number beyond 64 bits"), Value::Integer),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Float(number) => Value::Fraction(number.as_str().to_owned()),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.item(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Item { value, place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_know_their_lines_and_keep_their_order() {
        let text = "zebra = 1\n\n[service.web]\nnode = \"a\"\n[service.api]\nargs = [\n  \"x\",\n  \"y\",\n]\n";
        let table = parse(text, &"b.toml".into()).unwrap();
        assert_eq!(table.entries[0].place.to_string(), "b.toml:1");
        let Some(Item { value: Value::Table(services), .. }) = table.get("service") else { panic!("no services") };
        let names: Vec<_> = services.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(names, ["web", "api"]);
        let Value::Table(api) = &services.entries[1].item.value else { panic!("no table") };
        let Value::List(args) = &api.entries[0].item.value else { panic!("no list") };
        assert_eq!(args[1].place.to_string(), "b.toml:8");
    }

    #[test]
    fn what_is_not_toml_is_said_with_its_line() {
        let errors = parse("a = 1\nb = \n", &"b.toml".into()).unwrap_err();
        assert!(errors.to_string().starts_with("b.toml:2: this is not TOML: "), "{errors}");
        let errors = parse("a = 1\na = 2\n", &"b.toml".into()).unwrap_err();
        assert!(errors.to_string().starts_with("b.toml:2: this is not TOML: duplicate key"), "{errors}");
    }
}
