//! The documents that are made of the table of keys are as the table is now.
//!
//! `BIREME_BLESS=1 cargo test -p config` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use config::{KEYS, KeyDefault, Section, Settings, reference, schema};

#[test]
fn the_schema_is_current() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    check_document("bireme.schema.json", |_| text.clone());
}

#[test]
fn the_reference_is_current() {
    check_document("configuration.md", |old| {
        Section::ALL.iter().fold(old.to_owned(), |text, section| {
            let name = if *section == Section::Top { "top" } else { section.key() };
            let (begin, end) = (format!("<!-- keys of {name} -->\n"), "<!-- end of keys -->");
            let start = text.find(&begin).unwrap_or_else(|| panic!("docs/configuration.md lacks {begin}")) + begin.len();
            let stop = start + text[start..].find(end).expect("an end of keys");
            format!(
                "{}\n{}\n\n{}\n{}",
                &text[..start].trim_end_matches('\n'),
                section.about(),
                reference(*section),
                &text[stop..]
            )
        })
    });
}

/// Every default can be read, and is what a file that writes it out gives.
#[test]
fn defaults_can_be_written_out() {
    let service = "[service.a]\nnode = \"a.js\"\n";
    let short = Settings::from_toml(service, Path::new("/srv")).unwrap();
    let mut long = String::new();
    for section in Section::ALL {
        match section {
            Section::Top => {}
            Section::Service => long.push_str(service),
            Section::Route | Section::Tls => continue,
            section => long.push_str(&format!("[{}]\n", section.key())),
        }
        for key in KEYS.iter().filter(|key| key.section == section) {
            let python = ["interface", "factory", "lifespan", "event_loop"].contains(&key.name);
            if let (KeyDefault::Is(text), false) = (key.default, python && section == Section::Service) {
                let bare = text.parse::<u64>().is_ok() || text == "true" || text == "false";
                let list =
                    if text.contains(',') { format!("[\"{}\"]", text.replace(',', "\", \"")) } else { format!("\"{text}\"") };
                long.push_str(&format!("{} = {}\n", key.name, if bare { text.to_owned() } else { list }));
            }
        }
    }
    let mut long = Settings::from_toml(&long, Path::new("/srv")).unwrap_or_else(|errors| panic!("{errors}\nin\n{long}"));
    long.services[0].place = short.services[0].place.clone();
    long.routes[0].place = short.routes[0].place.clone();
    assert_eq!(long, short);
}

fn check_document(name: &str, make: impl Fn(&str) -> String) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = make(&old);
    if std::env::var_os("BIREME_BLESS").is_some() {
        fs::write(&path, new).unwrap();
    } else {
        assert!(old == new, "docs/{name} is not what the table of keys says; run BIREME_BLESS=1 cargo test -p config");
    }
}
