//! What a source file imports; pure but for [`Import::local_file`], which looks whether a file is there.

use std::path::{Path, PathBuf};

use tree_sitter::Node;

use crate::Fault;
use crate::syntax::{Language, children, parse, text};

/// One import, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `./tone.js`, `@scope/name/part`, `package.module`, `.sibling`.
    pub name: String,
    /// Names taken from a Python module, which may be modules themselves.
    pub members: Vec<String>,
    python: bool,
}

/// Imports anywhere in a file, in no particular order; only those whose name is written out.
pub fn imports(file: &Path, source: &str) -> Result<Vec<Import>, Fault> {
    let (language, tree) = parse(file, source)?;
    let mut found = Vec::new();
    let mut waiting = vec![tree.root_node()];
    while let Some(node) = waiting.pop() {
        match language {
            Language::Python => python_import(node, source, &mut found),
            _ => javascript_import(node, source, &mut found),
        }
        waiting.extend(children(node));
    }
    Ok(found)
}

impl Import {
    /// The name under which a package would be installed: `@scope/name`, or what stands before the first slash or dot.
    pub fn package(&self) -> &str {
        let end = match (self.python, self.name.starts_with('@')) {
            (true, _) => self.name.find('.'),
            (false, true) => self.name.match_indices('/').nth(1).map(|(at, _)| at),
            (false, false) => self.name.find('/'),
        };
        &self.name[..end.unwrap_or(self.name.len())]
    }

    /// The file of the program itself that this names, if there is one: beside `file`, or for Python also below `root`.
    pub fn local_file(&self, file: &Path, root: &Path) -> Option<PathBuf> {
        let folder = file.parent()?;
        if self.python { self.python_file(folder, root) } else { self.javascript_file(folder) }
    }

    fn javascript_file(&self, folder: &Path) -> Option<PathBuf> {
        if !self.name.starts_with("./") && !self.name.starts_with("../") {
            return None;
        }
        let base = folder.join(&self.name);
        let with_extension = |extension: &str| {
            let mut name = base.clone().into_os_string();
            name.push(extension);
            PathBuf::from(name)
        };
        let endings = [".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx"];
        // TypeScript's sources name the file that will be made of them.
        let typescript = base.extension().is_some_and(|e| e == "js").then(|| base.with_extension("ts"));
        [base.clone()]
            .into_iter()
            .chain(typescript)
            .chain(endings.map(with_extension))
            .chain(endings.map(|ending| base.join(format!("index{ending}"))))
            .find(|path| Language::of(path).is_ok() && path.is_file())
            .map(|path| tidy(&path))
    }

    fn python_file(&self, folder: &Path, root: &Path) -> Option<PathBuf> {
        let dots = self.name.bytes().take_while(|byte| *byte == b'.').count();
        let rest = &self.name[dots..];
        let bases = match dots {
            0 => vec![root, folder],
            _ => vec![folder.ancestors().nth(dots - 1)?],
        };
        bases.into_iter().find_map(|base| {
            let path = rest.split('.').filter(|part| !part.is_empty()).fold(base.to_owned(), |path, part| path.join(part));
            let members =
                self.members.iter().flat_map(|member| [path.join(format!("{member}.py")), path.join(member).join("__init__.py")]);
            members
                .chain([path.with_extension("py"), path.join("__init__.py")])
                .find(|path| path.is_file())
                .map(|path| tidy(&path))
        })
    }
}

/// The path without `.` and `..`, so that a file has one name.
fn tidy(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn javascript_import(node: Node<'_>, source: &str, found: &mut Vec<Import>) {
    let named = match node.kind() {
        "import_statement" | "export_statement" => node.child_by_field_name("source"),
        "call_expression" => {
            let callee = node.child_by_field_name("function").map_or("", |callee| text(callee, source));
            let first = node.child_by_field_name("arguments").and_then(|arguments| arguments.named_child(0));
            first.filter(|first| matches!(callee, "require" | "import") && first.kind() == "string")
        }
        _ => None,
    };
    let Some(named) = named else { return };
    let name = text(named, source).trim_matches(['"', '\'']);
    if !name.is_empty() && !name.starts_with("node:") {
        found.push(Import { name: name.to_owned(), members: Vec::new(), python: false });
    }
}

fn python_import(node: Node<'_>, source: &str, found: &mut Vec<Import>) {
    let plain = |name: Node<'_>| {
        let name = if name.kind() == "aliased_import" { name.child_by_field_name("name").unwrap_or(name) } else { name };
        text(name, source).to_owned()
    };
    let names: Vec<String> = node.children_by_field_name("name", &mut node.walk()).map(plain).collect();
    match node.kind() {
        "import_statement" => {
            found.extend(names.into_iter().map(|name| Import { name, members: Vec::new(), python: true }));
        }
        "import_from_statement" => {
            let module = node.child_by_field_name("module_name").map_or("", |module| text(module, source));
            if module.starts_with('.') && !names.is_empty() {
                // Each name may be a module of its own.
                found.extend(names.into_iter().map(|name| Import { name: module.to_owned(), members: vec![name], python: true }));
            } else {
                found.push(Import { name: module.to_owned(), members: names, python: true });
            }
        }
        _ => {}
    }
}
