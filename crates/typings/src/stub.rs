//! Python stubs: text for one JavaScript module, and the package `bireme` that leads to all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the package `bireme` declares itself.
const PACKAGE: &str = include_str!("../../../python/src/bireme/__init__.pyi");
/// The line of it that overloads stand before.
const NODE: &str = "def node(name: str, *, service: str | None = ...) -> Any:\n";

/// One JavaScript or TypeScript module, as Python sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stub {
    /// Declarations of the types that its functions use.
    pub types: Vec<String>,
    /// Type variables: names, and what declares them.
    pub variables: BTreeMap<String, String>,
    /// Names of the class that stands for the module, and their lines.
    pub members: Vec<(String, String)>,
    /// Names may be missing: it exports what another module has.
    pub open: bool,
}

impl Stub {
    /// The whole file.
    pub fn text(&self, source: &Path) -> String {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let mut body = String::new();
        for (name, declaration) in &self.variables {
            body += &format!("{name} = {declaration}\n");
        }
        for declaration in &self.types {
            body += &format!("\n{declaration}");
        }
        body += "\nclass Module:\n";
        for (_, member) in &self.members {
            body += member;
        }
        if self.open {
            body += "    def __getattr__(self, name: str) -> Any: ...\n";
        }
        if self.members.is_empty() && !self.open {
            body += "    pass\n";
        }
        format!("# {} from {name}; do not edit.\n\n{}{body}", crate::MARK, imports_of(&body))
    }
}

/// What stubs may need: whole modules, and names of modules.
const IMPORTS: [(&str, &[&str]); 11] = [
    ("array", &[]),
    ("datetime", &[]),
    ("decimal", &[]),
    ("re", &[]),
    ("uuid", &[]),
    ("collections.abc", &["AsyncIterable", "Awaitable", "Callable", "Iterable", "Iterator", "Mapping", "Sequence"]),
    ("typing", &["Any", "Generic", "Literal", "TypeVar", "overload"]),
    ("numpy as np", &[]),
    ("numpy.typing", &["NDArray"]),
    ("typing_extensions", &["Never", "NotRequired", "TypedDict"]),
    ("bireme", &["JsFunction", "JsObject", "JsStream", "JsValue", "js_function", "js_stream"]),
];

/// The imports that a stub needs, and no others: strict checkers say so, and NumPy may be missing.
fn imports_of(body: &str) -> String {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words: BTreeSet<&str> = body.split(|letter| !is_part(letter)).collect();
    let mut imports = String::new();
    for (module, names) in IMPORTS {
        let used: Vec<&str> = names.iter().filter(|name| words.contains(*name)).copied().collect();
        if !used.is_empty() {
            imports += &format!("from {module} import {}\n", used.join(", "));
        } else if names.is_empty() && body.contains(&format!("{}.", module.rsplit(' ').next().unwrap_or(module))) {
            imports += &format!("import {module}\n");
        }
    }
    if imports.is_empty() { imports } else { imports + "\n" }
}

/// Where the stub of a module is in the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name below `bireme.js`.
    pub name: String,
}

impl Module {
    /// `web_render_js` for `web/render.js`.
    pub fn of(path: &Path) -> Module {
        let letters = path.to_string_lossy();
        let name: String = letters.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
        Module { name: if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name } }
    }
}

/// The package's `__init__.pyi`: `node("./render.js")` leads to the module that the literal names. One that means several
/// modules, in several folders, may be any of them.
pub fn package(modules: &BTreeMap<String, Vec<Module>>) -> String {
    let mut imports = String::new();
    let mut overloads = String::new();
    let mut known: Vec<&str> = Vec::new();
    for (literal, meant) in modules {
        let mut types = Vec::new();
        for Module { name } in meant {
            let at = known.iter().position(|one| *one == name).unwrap_or_else(|| {
                imports += &format!("from .js.{name} import Module as _Module{}\n", known.len());
                known.push(name);
                known.len() - 1
            });
            types.push(format!("_Module{at}"));
        }
        let quoted = serde_json::Value::from(literal.as_str());
        overloads += &format!(
            "@overload\ndef node(name: Literal[{quoted}], *, service: str | None = ...) -> {}: ...\n",
            types.join(" | ")
        );
    }
    let node = if overloads.is_empty() { NODE.to_owned() } else { format!("{overloads}@overload\n{NODE}") };
    let head =
        "# Written by `bireme types`; do not edit. What the package bireme offers inside of Python programs that Bireme runs.\n";
    let text = PACKAGE.split_once('\n').map_or(PACKAGE, |(_, text)| text).replace(NODE, &node);
    format!("{head}{}", text.replace("\n_P = ParamSpec", &format!("{imports}\n_P = ParamSpec")))
}
