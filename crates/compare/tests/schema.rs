//! The published schema and the types are one.
//!
//! `BIREME_BLESS=1 cargo test -p compare --test schema` writes the schema anew; a change that an older reader would
//! misunderstand also raises `SCHEMA_VERSION`.

use std::path::Path;

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compare.schema.json");
    let schema = format!("{:#}\n", compare::document::schema());
    if std::env::var_os("BIREME_BLESS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == schema, "docs/compare.schema.json is not that of crates/compare/src/document.rs");
}

/// `example.json` was written by `bireme compare … --quick`; what was written once must be read.
#[test]
fn an_example_is_read_whole() {
    let text = include_str!("example.json");
    let document: compare::document::Document = serde_json::from_str(text).unwrap();
    let (written, again) = (serde_json::from_str::<serde_json::Value>(text).unwrap(), serde_json::to_value(&document).unwrap());
    assert_eq!(written, again, "nothing is lost between reading and writing");
}
