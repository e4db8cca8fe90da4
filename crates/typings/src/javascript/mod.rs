//! JavaScript and TypeScript files: which Python they import, and what their exports are for Python. Types come from
//! annotations and JSDoc, also those of other files of the project; what neither says is `Any`.

mod classes;
mod files;
mod functions;
mod imports;
mod jsdoc;
mod records;
mod text;
mod types;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use oxc_allocator::Allocator;
use oxc_ast::ast::*;
use oxc_span::Span;

use crate::stub::Stub;
use files::{Exported, File, Files, Imported, Local, plain};
use functions::Signature;
use jsdoc::Documented;
use text::{capitalised, documentation, is_identifier};

pub use imports::python_imports;

/// Whether a file is one of those that Node or a bundler runs, by its name; declarations are not.
pub fn is_program(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let declares = name.ends_with(".d.ts") || name.ends_with(".d.mts") || name.ends_with(".d.cts") || name.contains(".d.py.");
    !declares
        && ["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"].iter().any(|end| path.extension().is_some_and(|e| e == *end))
}

/// What a file exports, for Python. `read` gives the texts of it and of what it imports; `numpy` says whether the Python that
/// calls it has NumPy, which is what typed arrays are there.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn stub(path: &Path, read: &dyn Fn(&Path) -> Option<String>, numpy: bool) -> Result<Stub, String> {
    let allocator = Allocator::default();
    let mut files = Files::new(&allocator, read);
    let file = files.load(path).ok_or_else(|| format!("{}: it cannot be read and parsed", path.display()))?;
    let mut writer = Writer {
        files,
        numpy,
        stub: Stub::default(),
        names: HashMap::new(),
        taken: ["Module", "Any", "Literal", "TypedDict", "Generic"].map(str::to_owned).into(),
        objects: HashMap::new(),
        busy: HashSet::new(),
        made: None,
    };
    writer.module(&file, &mut HashSet::new());
    Ok(writer.stub)
}

/// From whom to whom a value goes: what Python gets may be narrower than what it may give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToPython,
    FromPython,
    /// Within an object that has one type for both ways.
    Both,
}

/// What a type variable means where a type stands.
#[derive(Clone)]
enum Meaning<'p> {
    /// A variable of Python's.
    Variable(String),
    Type(&'p TSType<'p>, Scope<'p>),
    Unknown,
}

/// Where a type stands: its file, and what type variables mean there.
#[derive(Clone)]
struct Scope<'p> {
    file: Rc<File<'p>>,
    variables: Rc<BTreeMap<String, Meaning<'p>>>,
}

impl<'p> Scope<'p> {
    fn of(file: &Rc<File<'p>>) -> Scope<'p> {
        Scope { file: file.clone(), variables: Rc::default() }
    }

    fn within(&self, more: impl IntoIterator<Item = (String, Meaning<'p>)>) -> Scope<'p> {
        let mut variables = (*self.variables).clone();
        variables.extend(more);
        Scope { file: self.file.clone(), variables: Rc::new(variables) }
    }

    /// Variables of Python's that types here may use.
    fn free(&self) -> Vec<&str> {
        let names = self.variables.values().filter_map(|meaning| match meaning {
            Meaning::Variable(name) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }
}

struct Writer<'p, 'r> {
    files: Files<'p, 'r>,
    numpy: bool,
    stub: Stub,
    /// Names in the stub of what files declare.
    names: HashMap<(PathBuf, String), String>,
    taken: HashSet<String>,
    /// Objects' types without a name, by their text: the names that they were given.
    objects: HashMap<String, String>,
    /// Aliases that are being followed: a type that leads to itself ends there.
    busy: HashSet<(PathBuf, String)>,
    /// While a constructor is written: what it makes.
    made: Option<String>,
}

impl<'p> Writer<'p, '_> {
    /// Everything that a file exports, and what it exports of other files.
    fn module(&mut self, file: &Rc<File<'p>>, seen: &mut HashSet<PathBuf>) {
        if !seen.insert(file.path.clone()) {
            return;
        }
        self.stub.open |= file.open;
        // Names of its own hide those of the others.
        for source in &file.stars {
            match self.files.imported(&file.path, source) {
                Some(origin) => {
                    let default = self.stub.members.iter().position(|(name, _)| name == "default");
                    let default = default.map(|at| self.stub.members.remove(at));
                    self.module(&origin, seen);
                    self.stub.members.retain(|(name, _)| name != "default");
                    self.stub.members.extend(default);
                }
                None => self.stub.open = true,
            }
        }
        for (at, (name, exported)) in file.exports.iter().enumerate() {
            // Overloads are exported one by one, and CommonJS may assign a name again.
            if file.exports[at + 1..].iter().any(|(later, _)| later == name) {
                continue;
            }
            let found = match exported {
                Exported::Local(local) => Some((file.clone(), *local)),
                Exported::Named(local) => self.files.find(file, local),
                Exported::From(source, Imported::Name(imported)) => {
                    let origin = self.files.imported(&file.path, source);
                    origin.and_then(|origin| self.files.exported(&origin, imported, 0))
                }
                Exported::From(_, Imported::All) => None,
            };
            match found {
                Some((home, local)) => self.export(name, &Scope::of(&home), local),
                None => self.add(name, format!("    {name}: Any\n")),
            }
        }
    }

    fn export(&mut self, name: &str, scope: &Scope<'p>, local: Local<'p>) {
        if let Some(member) = is_identifier(name).then(|| self.member(name, scope, local)).flatten() {
            self.add(name, member);
        }
    }

    fn add(&mut self, name: &str, member: String) {
        if is_identifier(name) {
            self.stub.members.retain(|(known, _)| known != name);
            self.stub.members.push((name.to_owned(), member));
        }
    }

    /// The lines of one name of a module, a class or an object; none for types.
    fn member(&mut self, name: &str, scope: &Scope<'p>, local: Local<'p>) -> Option<String> {
        Some(match local {
            Local::Function(function, span) => {
                let own = function.id.as_ref().map_or(name, |id| id.name.as_str());
                let overloads = scope.file.overloads.get(own).cloned().unwrap_or_else(|| vec![(function, span)]);
                let signatures: Vec<_> = overloads.iter().map(|(function, span)| Signature::of(function, *span)).collect();
                self.function(name, scope, &signatures)
            }
            Local::Arrow(arrow, span) => self.function(name, scope, &[Signature::of_arrow(arrow, span)]),
            Local::Class(class, span) => self.class(name, scope, class, span),
            Local::Interface(_) | Local::Alias(_) => return None,
            Local::Enum(declared) => self.enumeration(name, declared),
            Local::Variable(annotation, value, span) => self.variable(name, scope, annotation, value, span),
        })
    }

    fn variable(
        &mut self,
        name: &str,
        scope: &Scope<'p>,
        annotation: Option<&'p TSType<'p>>,
        value: Option<&'p Expression<'p>>,
        span: Span,
    ) -> String {
        let documented = Documented::of(scope.file.comment_before(span));
        let said = annotation.or_else(|| documented.kind.as_ref().and_then(|kind| self.files.parse_type(kind)));
        if let Some(said) = said {
            if let Some((signature, home)) = self.as_function(scope, said, span) {
                return self.function(name, &home, &[signature]);
            }
            return format!("    {name}: JsValue[{}]\n", self.kind(scope, said, Way::ToPython));
        }
        match value.map(plain) {
            Some(Expression::ObjectExpression(object)) => self.namespace(name, scope, object, span),
            // It may be a function as well.
            other => match other.and_then(value_type) {
                Some(kind) => format!("    {name}: JsValue[{kind}]\n"),
                None => format!("    {name}: Any\n"),
            },
        }
    }

    /// An object that is written out: its names lead further, `module.api.v1.page`.
    fn namespace(&mut self, name: &str, scope: &Scope<'p>, object: &'p ObjectExpression<'p>, span: Span) -> String {
        let class = self.unique(&format!("{}Object", capitalised(name)));
        let mut body = documentation(&Documented::of(scope.file.comment_before(span)).about, "    ");
        let mut open = false;
        for property in &object.properties {
            let named = match property {
                ObjectPropertyKind::ObjectProperty(property) => property.key.static_name().map(|name| (name, property)),
                ObjectPropertyKind::SpreadProperty(_) => None,
            };
            match named {
                Some((name, property)) if is_identifier(&name) => {
                    let local = scope.file.value_of(&property.value, property.span);
                    body += &self.member(&name, scope, local).unwrap_or_default();
                }
                Some(_) => {}
                None => open = true,
            }
        }
        if open {
            body += "    def __getattr__(self, name: str) -> Any: ...\n";
        }
        if body.is_empty() {
            body += "    pass\n";
        }
        self.stub.types.push(format!("class {class}(JsValue[dict[str, Any]]):\n{body}"));
        format!("    {name}: {class}\n")
    }

    /// An `enum` of TypeScript: an object with the values.
    fn enumeration(&mut self, name: &str, declared: &'p TSEnumDeclaration<'p>) -> String {
        let class = self.unique(&format!("{}Enum", capitalised(name)));
        let mut body = String::new();
        for (member, kind) in types::enum_members(declared) {
            if is_identifier(&member) {
                body += &format!("    {member}: JsValue[{kind}]\n");
            }
        }
        self.stub.types.push(format!("class {class}(JsValue[dict[str, Any]]):\n{body}"));
        format!("    {name}: {class}\n")
    }

    /// A name that nothing else in the stub has.
    fn unique(&mut self, wanted: &str) -> String {
        let wanted = if is_identifier(wanted) { wanted.to_owned() } else { format!("{wanted}_") };
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{wanted}{number}");
            number += 1;
        }
        name
    }
}

/// The type of a value that is written out.
fn value_type(value: &Expression<'_>) -> Option<&'static str> {
    match value {
        Expression::StringLiteral(_) | Expression::TemplateLiteral(_) => Some("str"),
        Expression::NumericLiteral(_) => Some("float"),
        Expression::BigIntLiteral(_) => Some("int"),
        Expression::BooleanLiteral(_) => Some("bool"),
        Expression::UnaryExpression(unary) if unary.operator == UnaryOperator::UnaryNegation => value_type(&unary.argument),
        _ => None,
    }
}
