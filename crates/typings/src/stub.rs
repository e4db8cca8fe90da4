//! Python stubs: text for one JavaScript module, and the package `bireme` that leads to all of them.

use std::collections::BTreeMap;
use std::path::Path;

/// One JavaScript or TypeScript module, as Python sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stub {
    /// Declarations of the types that its functions use.
    pub types: Vec<String>,
    /// Lines of the class that stands for the module.
    pub members: Vec<String>,
    /// Names may be missing: it exports what another module has.
    pub open: bool,
}

impl Stub {
    /// The whole file.
    pub fn text(&self, source: &Path) -> String {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let mut text = format!(
            "# {} from {name}; do not edit.\n\nimport datetime\nimport decimal\nimport re\nimport uuid\n\
             from collections.abc import AsyncIterable, Callable, Mapping, Sequence\n\
             from typing import Any, Literal\n\nfrom typing_extensions import NotRequired, TypedDict\n\n\
             from bireme import JsFunction, JsObject, JsStream, JsValue, js_function, js_stream\n",
            crate::MARK
        );
        for declaration in &self.types {
            text += &format!("\n{declaration}");
        }
        text += "\nclass Module:\n";
        for member in &self.members {
            text += member;
        }
        if self.open {
            text += "    def __getattr__(self, name: str) -> Any: ...\n";
        }
        if self.members.is_empty() && !self.open {
            text += "    pass\n";
        }
        text
    }
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
        let name: String =
            letters.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
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
    let other = "def node(name: str, *, service: str | None = ...) -> Any:\n    \"\"\"A module of JavaScript: a file, as seen from the file that asks, or a package's name.\"\"\"\n";
    let node = if overloads.is_empty() { other.to_owned() } else { format!("{overloads}@overload\n{other}") };
    let text = include_str!("bireme.pyi").replace("# node\n", &node);
    text.replace("\n_P = ParamSpec", &format!("{imports}\n_P = ParamSpec"))
}
