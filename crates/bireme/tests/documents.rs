//! What the documents point at is there: files by their names, links, and headings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file and folder of the repository, relative to it, without what is built or installed.
fn tree(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if matches!(&*name, "target" | "node_modules" | "__pycache__") || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            found.insert(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

fn documents(tree: &BTreeSet<String>) -> Vec<&str> {
    tree.iter().map(String::as_str).filter(|path| path.ends_with(".md") && !path.starts_with("examples/")).collect()
}

/// `a/{b,c}.js` names two files.
fn expanded(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (choices, after))) => choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect(),
        None => vec![name.to_owned()],
    }
}

/// What stands between backticks and looks like the path of a file of the repository.
fn names(text: &str) -> Vec<String> {
    let is_path = |word: &&str| {
        word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-{,}".contains(c))
            && [".rs", ".js", ".cjs", ".py"].iter().any(|ending| word.ends_with(ending))
            && !word.starts_with('.')
    };
    text.split('`').skip(1).step_by(2).filter(is_path).flat_map(expanded).collect()
}

#[test]
fn files_that_documents_name_exist() {
    let root = repository();
    let tree = tree(&root);
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/limits.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let names = names(&text);
        assert!(names.len() > 3, "{document}: {names:?}");
        for name in names {
            let tail = format!("/{name}");
            assert!(
                tree.iter().any(|path| *path == name || path.ends_with(&tail)),
                "{document} names {name}, and there is no such file"
            );
        }
    }
    // The map's folders.
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let cells = map.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next()).collect::<Vec<_>>();
    assert!(cells.len() > 10, "{cells:?}");
    for name in cells.iter().flat_map(|cell| cell.split('`').step_by(2)).filter(|name| !name.trim().is_empty()) {
        assert!(tree.contains(name), "ARCHITECTURE.md's map names {name}, and there is no such folder");
    }
    for folder in std::fs::read_dir(root.join("crates")).unwrap() {
        let name = format!("`crates/{}`", folder.unwrap().file_name().to_str().unwrap());
        assert!(map.contains(&name), "ARCHITECTURE.md's map lacks {name}");
    }
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = repository();
    let tree = tree(&root);
    let mut links = 0;
    for document in documents(&tree) {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let folder = root.join(document).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.contains(' ') || target.starts_with("mailto:") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { root.join(document) } else { folder.join(path) };
            assert!(file.exists(), "{document} links to {target}, and there is no such file");
            if !fragment.is_empty() && file.extension().is_some_and(|ending| ending == "md") {
                let linked = std::fs::read_to_string(&file).unwrap();
                let mut headings = linked.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
                assert!(headings.any(|heading| anchor(heading) == fragment), "{document} links to {target}: no such heading");
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}
