//! docs/node-vs-python.md says what docs/node-vs-python.json holds: its table is that of the data, and each interval in its prose is one
//! of theirs. `cargo xtask article` writes data and table; the prose is a person's.

use std::collections::BTreeSet;
use std::path::Path;

use compare::document::Document;
use compare::report::summary;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// `[2.9, 3.3]` wherever it stands; links and other brackets hold no two numbers.
fn intervals(text: &str) -> BTreeSet<String> {
    let inside = text.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
    let is_pair = |text: &&str| text.split(", ").count() == 2 && text.split(", ").all(|number| number.parse::<f64>().is_ok());
    inside.filter(is_pair).map(|pair| format!("[{pair}]")).collect()
}

#[test]
fn the_article_quotes_its_data() {
    let article = read("node-vs-python.md");
    let quoted = intervals(&article);
    assert!(!quoted.is_empty(), "the article quotes intervals");
    let document: Document = serde_json::from_str(&read("node-vs-python.json")).unwrap();
    assert!(
        article.contains(summary::render(&document).trim_end()),
        "the table is not that of the data; run `cargo xtask article --from …`"
    );
    let measured: BTreeSet<String> =
        document.comparisons.iter().flat_map(|comparison| &comparison.measures).filter_map(summary::interval).collect();
    let unknown: Vec<&String> = quoted.difference(&measured).collect();
    assert!(unknown.is_empty(), "the prose quotes intervals that the data do not hold: {unknown:?}");
}

#[test]
fn intervals_are_found_in_prose() {
    let text = "Node 3.1× [2.9, 3.3] faster, and [as said](x.md) [1.31, 3.0]; see [a, b] and [1] too";
    assert_eq!(intervals(text).into_iter().collect::<Vec<_>>(), ["[1.31, 3.0]", "[2.9, 3.3]"]);
}
