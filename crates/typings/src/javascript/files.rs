//! Parsed files of JavaScript and TypeScript: what their names stand for, what they export, and where their imports lead.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use oxc_allocator::Allocator;
use oxc_ast::ast::*;
use oxc_parser::{Parser, ParserReturn};
use oxc_span::{GetSpan, SourceType, Span};

use super::jsdoc::Documented;

/// Longest way from a name through exports of other files to its declaration.
const STEPS_MAX: usize = 16;
/// Endings under which a file that is imported without one is looked for, TypeScript's first.
const ENDINGS: [&str; 11] = [".ts", ".tsx", ".mts", ".cts", ".d.ts", ".d.mts", ".d.cts", ".js", ".mjs", ".cjs", ".jsx"];

pub fn parse<'a>(allocator: &'a Allocator, path: &Path, text: &'a str) -> ParserReturn<'a> {
    // JSX in a .js file is for a bundler, but no reason to understand less of it.
    let kind = SourceType::from_path(path).unwrap_or_default();
    let kind = if kind.is_javascript() { kind.with_jsx(true) } else { kind };
    Parser::new(allocator, text, kind).parse()
}

/// Something that a name of a file stands for.
#[derive(Clone, Copy)]
pub enum Local<'p> {
    Function(&'p Function<'p>, Span),
    Arrow(&'p ArrowFunctionExpression<'p>, Span),
    Class(&'p Class<'p>, Span),
    Interface(&'p TSInterfaceDeclaration<'p>),
    Alias(&'p TSTypeAliasDeclaration<'p>),
    Enum(&'p TSEnumDeclaration<'p>),
    /// A variable: its type and its value.
    Variable(Option<&'p TSType<'p>>, Option<&'p Expression<'p>>, Span),
}

/// What an import takes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    Name(String),
    All,
}

/// What an exported name leads to.
#[derive(Clone)]
pub enum Exported<'p> {
    Local(Local<'p>),
    /// A name of the file, which may be imported itself.
    Named(String),
    From(String, Imported),
}

/// A parsed file.
pub struct File<'p> {
    pub path: PathBuf,
    pub program: &'p Program<'p>,
    pub local: HashMap<String, Local<'p>>,
    /// Functions that are declared several times: each form that callers see.
    pub overloads: HashMap<String, Vec<(&'p Function<'p>, Span)>>,
    imports: HashMap<String, (String, Imported)>,
    /// In order; a later one of the same name replaces an earlier one.
    pub exports: Vec<(String, Exported<'p>)>,
    /// Files all of whose names are exported.
    pub stars: Vec<String>,
    /// It exports what cannot be told from its text.
    pub open: bool,
}

/// The files that have been read.
pub struct Files<'p, 'r> {
    allocator: &'p Allocator,
    read: &'r dyn Fn(&Path) -> Option<String>,
    known: HashMap<PathBuf, Option<Rc<File<'p>>>>,
}

impl<'p, 'r> Files<'p, 'r> {
    pub fn new(allocator: &'p Allocator, read: &'r dyn Fn(&Path) -> Option<String>) -> Files<'p, 'r> {
        Files { allocator, read, known: HashMap::new() }
    }

    /// The file, unless it cannot be read or parsed.
    pub fn load(&mut self, path: &Path) -> Option<Rc<File<'p>>> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let file = (self.read)(path).and_then(|text| {
            let text = self.allocator.alloc_str(&text);
            let parsed = parse(self.allocator, path, text);
            (!parsed.panicked).then(|| self.allocator.alloc(parsed.program) as &'p Program<'p>)
        });
        let file = file.map(|program| {
            let mut file = File::of(path, program);
            for comment in program.comments.iter().filter(|comment| comment.is_jsdoc()) {
                for (name, text) in Documented::of(Some(comment.content_span().source_text(program.source_text))).types {
                    if let Some(alias) = self.parse_alias(&name, &text) {
                        file.local.entry(name).or_insert(Local::Alias(alias));
                    }
                }
            }
            Rc::new(file)
        });
        self.known.insert(path.to_path_buf(), file.clone());
        file
    }

    /// A type of a comment.
    pub fn parse_type(&self, text: &str) -> Option<&'p TSType<'p>> {
        let text = text.trim().trim_end_matches('=').trim_start_matches("...");
        self.parse_alias("T", if text == "*" || text == "?" { "any" } else { text }).map(|alias| &alias.type_annotation)
    }

    fn parse_alias(&self, name: &str, text: &str) -> Option<&'p TSTypeAliasDeclaration<'p>> {
        let source = self.allocator.alloc_str(&format!("type {name} = {text};"));
        let parsed = Parser::new(self.allocator, source, SourceType::ts()).parse();
        if parsed.panicked || !parsed.diagnostics.is_empty() {
            return None;
        }
        let program: &'p Program<'p> = self.allocator.alloc(parsed.program);
        match program.body.first() {
            Some(Statement::TSTypeAliasDeclaration(alias)) => Some(alias),
            _ => None,
        }
    }

    /// The file that another one imports as `./types`.
    pub fn imported(&mut self, from: &Path, source: &str) -> Option<Rc<File<'p>>> {
        if !source.starts_with("./") && !source.starts_with("../") && source != "." && source != ".." {
            return None;
        }
        let whole = normal(&from.parent()?.join(source));
        let text = whole.to_str()?;
        // `./types.js` stands for types.ts as well, which says more.
        let typed = [
            (".js", ".ts"),
            (".js", ".tsx"),
            (".mjs", ".mts"),
            (".cjs", ".cts"),
            (".js", ".d.ts"),
            (".mjs", ".d.mts"),
            (".cjs", ".d.cts"),
        ];
        let typed = typed.iter().filter_map(|(end, other)| Some(format!("{}{other}", text.strip_suffix(end)?)));
        let ended = ENDINGS.iter().map(|end| format!("{text}{end}"));
        let index = ENDINGS.iter().map(|end| format!("{text}/index{end}"));
        let named = whole.extension().is_some().then(|| text.to_owned());
        let candidates: Vec<String> = typed.chain(named).chain(ended).chain(index).collect();
        candidates.iter().find_map(|path| self.load(Path::new(path)))
    }

    /// What a name means in a file, through its imports.
    pub fn find(&mut self, file: &Rc<File<'p>>, name: &str) -> Option<(Rc<File<'p>>, Local<'p>)> {
        self.find_within(file, name, 0)
    }

    fn find_within(&mut self, file: &Rc<File<'p>>, name: &str, steps: usize) -> Option<(Rc<File<'p>>, Local<'p>)> {
        if let Some(local) = file.local.get(name) {
            return Some((file.clone(), *local));
        }
        match file.imports.get(name)? {
            (source, Imported::Name(imported)) => {
                let origin = self.imported(&file.path, source)?;
                self.exported(&origin, imported, steps + 1)
            }
            (_, Imported::All) => None,
        }
    }

    /// What a file exports under a name.
    pub fn exported(&mut self, file: &Rc<File<'p>>, name: &str, steps: usize) -> Option<(Rc<File<'p>>, Local<'p>)> {
        if steps > STEPS_MAX {
            return None;
        }
        match file.exports.iter().rev().find(|(exported, _)| exported == name) {
            Some((_, Exported::Local(local))) => return Some((file.clone(), *local)),
            Some((_, Exported::Named(local))) => return self.find_within(file, local, steps + 1),
            Some((_, Exported::From(source, Imported::Name(imported)))) => {
                let origin = self.imported(&file.path, source)?;
                return self.exported(&origin, imported, steps + 1);
            }
            Some((_, Exported::From(_, Imported::All))) => return None,
            None => {}
        }
        // A type of a comment is everybody's.
        if let Some(local @ Local::Alias(_)) = file.local.get(name) {
            return Some((file.clone(), *local));
        }
        let stars = file.stars.clone();
        stars.iter().find_map(|source| {
            let origin = self.imported(&file.path, source)?;
            self.exported(&origin, name, steps + 1)
        })
    }

    /// The file that a name of `import * as name` stands for.
    pub fn namespace(&mut self, file: &Rc<File<'p>>, name: &str) -> Option<Rc<File<'p>>> {
        match file.imports.get(name)? {
            (source, Imported::All) => self.imported(&file.path, source),
            _ => None,
        }
    }
}

/// Without `.` and `..`; nothing is looked up.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

impl<'p> File<'p> {
    fn of(path: &Path, program: &'p Program<'p>) -> File<'p> {
        let mut file = File {
            path: path.to_path_buf(),
            program,
            local: HashMap::new(),
            overloads: HashMap::new(),
            imports: HashMap::new(),
            exports: Vec::new(),
            stars: Vec::new(),
            open: false,
        };
        for statement in &program.body {
            file.collect(statement);
        }
        for statement in &program.body {
            file.export_statement(statement);
        }
        file
    }

    fn collect(&mut self, statement: &'p Statement<'p>) {
        match statement {
            Statement::ImportDeclaration(import) => self.import(import),
            Statement::ExportDeclaration(export) => self.declare(&export.declaration, export.span),
            Statement::ExportDefaultDeclaration(export) => match &export.declaration {
                ExportDefaultDeclarationKind::ClassDeclaration(class) => {
                    if let Some(id) = &class.id {
                        self.local.insert(id.name.to_string(), Local::Class(class, export.span));
                    }
                }
                ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
                    if let Some(id) = &function.id {
                        self.local.insert(id.name.to_string(), Local::Function(function, export.span));
                    }
                }
                ExportDefaultDeclarationKind::TSInterfaceDeclaration(interface) => {
                    self.local.insert(interface.id.name.to_string(), Local::Interface(interface));
                }
                _ => {}
            },
            other => {
                if let Some(declaration) = other.as_declaration() {
                    self.declare(declaration, other.span());
                }
            }
        }
    }

    fn import(&mut self, import: &'p ImportDeclaration<'p>) {
        let source = import.source.value.to_string();
        for specifier in import.specifiers.iter().flatten() {
            let (local, imported) = match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(one) => (&one.local, Imported::Name(one.imported.name().to_string())),
                ImportDeclarationSpecifier::ImportDefaultSpecifier(one) => (&one.local, Imported::Name("default".to_owned())),
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(one) => (&one.local, Imported::All),
            };
            self.imports.insert(local.name.to_string(), (source.clone(), imported));
        }
    }

    fn declare(&mut self, declaration: &'p Declaration<'p>, span: Span) {
        match declaration {
            Declaration::FunctionDeclaration(function) => {
                if let Some(id) = &function.id {
                    let name = id.name.to_string();
                    if function.body.is_none() {
                        self.overloads.entry(name.clone()).or_default().push((function, span));
                    }
                    self.local.entry(name).or_insert(Local::Function(function, span));
                }
            }
            Declaration::ClassDeclaration(class) => {
                if let Some(id) = &class.id {
                    self.local.insert(id.name.to_string(), Local::Class(class, span));
                }
            }
            Declaration::TSInterfaceDeclaration(interface) => {
                self.local.insert(interface.id.name.to_string(), Local::Interface(interface));
            }
            Declaration::TSTypeAliasDeclaration(alias) => {
                self.local.insert(alias.id.name.to_string(), Local::Alias(alias));
            }
            Declaration::TSEnumDeclaration(declared) => {
                self.local.insert(declared.id.name.to_string(), Local::Enum(declared));
            }
            Declaration::VariableDeclaration(variables) => {
                for variable in &variables.declarations {
                    if let BindingPattern::BindingIdentifier(id) = &variable.id {
                        let annotation = variable.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
                        let local = match (annotation, &variable.init) {
                            (None, Some(init)) => self.value_of(init, span),
                            (annotation, init) => Local::Variable(annotation, init.as_ref(), span),
                        };
                        self.local.insert(id.name.to_string(), local);
                    }
                }
            }
            _ => {}
        }
    }

    /// What an expression stands for.
    pub fn value_of(&self, expression: &'p Expression<'p>, span: Span) -> Local<'p> {
        match plain(expression) {
            Expression::ArrowFunctionExpression(arrow) => Local::Arrow(arrow, span),
            Expression::FunctionExpression(function) => Local::Function(function, span),
            Expression::ClassExpression(class) => Local::Class(class, span),
            Expression::Identifier(name) => {
                self.local.get(name.name.as_str()).copied().unwrap_or(Local::Variable(None, Some(expression), span))
            }
            expression => Local::Variable(None, Some(expression), span),
        }
    }

    fn export_statement(&mut self, statement: &'p Statement<'p>) {
        match statement {
            Statement::ExportDeclaration(export) => {
                for name in declared_names(&export.declaration) {
                    self.exports.push((name.clone(), Exported::Named(name)));
                }
            }
            Statement::ExportNamedDeclaration(export) => {
                for specifier in &export.specifiers {
                    let local = specifier.local.name().to_string();
                    self.exports.push((specifier.exported.name().to_string(), Exported::Named(local)));
                }
            }
            Statement::ExportFromDeclaration(export) => {
                for specifier in &export.specifiers {
                    let imported = Imported::Name(specifier.local.name().to_string());
                    let from = Exported::From(export.source.value.to_string(), imported);
                    self.exports.push((specifier.exported.name().to_string(), from));
                }
            }
            Statement::ExportAllDeclaration(export) => {
                let source = export.source.value.to_string();
                match &export.exported {
                    Some(name) => self.exports.push((name.name().to_string(), Exported::From(source, Imported::All))),
                    None => self.stars.push(source),
                }
            }
            Statement::ExportDefaultDeclaration(export) => {
                let local = match &export.declaration {
                    ExportDefaultDeclarationKind::FunctionDeclaration(function) => Some(Local::Function(function, export.span)),
                    ExportDefaultDeclarationKind::ClassDeclaration(class) => Some(Local::Class(class, export.span)),
                    ExportDefaultDeclarationKind::TSInterfaceDeclaration(interface) => Some(Local::Interface(interface)),
                    other => other.as_expression().map(|value| self.value_of(value, export.span)),
                };
                if let Some(local) = local {
                    self.exports.push(("default".to_owned(), Exported::Local(local)));
                }
            }
            Statement::ExpressionStatement(statement) => {
                if let Expression::AssignmentExpression(assignment) = &statement.expression {
                    self.commonjs(assignment, statement.span);
                }
            }
            _ => {}
        }
    }

    /// `module.exports = …`, `exports.name = …`.
    fn commonjs(&mut self, assignment: &'p AssignmentExpression<'p>, span: Span) {
        let Some(target) = assignment.left.as_member_expression() else { return };
        let MemberExpression::StaticMemberExpression(member) = target else { return };
        let is_module = |expression: &Expression<'_>| matches!(expression, Expression::Identifier(name) if name.name == "module");
        let is_exports = |expression: &Expression<'_>| match expression {
            Expression::Identifier(name) => name.name == "exports",
            Expression::StaticMemberExpression(inner) => inner.property.name == "exports" && is_module(&inner.object),
            _ => false,
        };
        if is_exports(&member.object) {
            let local = self.value_of(&assignment.right, span);
            return self.exports.push((member.property.name.to_string(), Exported::Local(local)));
        }
        if member.property.name != "exports" || !is_module(&member.object) {
            return;
        }
        match &assignment.right {
            Expression::ObjectExpression(object) => {
                for property in &object.properties {
                    match property {
                        ObjectPropertyKind::ObjectProperty(property) => {
                            if let Some(name) = property.key.static_name() {
                                let local = self.value_of(&property.value, property.span);
                                self.exports.push((name.into_owned(), Exported::Local(local)));
                            }
                        }
                        ObjectPropertyKind::SpreadProperty(spread) => self.star(&spread.argument),
                    }
                }
            }
            other if required(other).is_some() => self.star(other),
            other => {
                let local = self.value_of(other, span);
                self.exports.push(("default".to_owned(), Exported::Local(local)));
            }
        }
    }

    fn star(&mut self, expression: &Expression<'_>) {
        match required(expression) {
            Some(source) => self.stars.push(source),
            None => self.open = true,
        }
    }

    /// The text of the JSDoc comment that ends where the span begins.
    pub fn comment_before(&self, span: Span) -> Option<&'p str> {
        let comment = self.program.comments.iter().rev().find(|comment| comment.is_jsdoc() && comment.span.end <= span.start)?;
        let between = self.program.source_text.get(comment.span.end as usize..span.start as usize)?;
        between.trim().is_empty().then(|| comment.content_span().source_text(self.program.source_text))
    }
}

/// Without brackets, `as const`, `satisfies …` and `Object.freeze(…)`.
pub fn plain<'p>(expression: &'p Expression<'p>) -> &'p Expression<'p> {
    match expression {
        Expression::ParenthesizedExpression(inner) => plain(&inner.expression),
        Expression::TSSatisfiesExpression(inner) => plain(&inner.expression),
        Expression::TSAsExpression(inner) if is_const(&inner.type_annotation) => plain(&inner.expression),
        Expression::CallExpression(call) => match (&call.callee, &call.arguments[..]) {
            (Expression::StaticMemberExpression(callee), [argument])
                if callee.property.name == "freeze"
                    && matches!(&callee.object, Expression::Identifier(name) if name.name == "Object") =>
            {
                argument.as_expression().map_or(expression, plain)
            }
            _ => expression,
        },
        _ => expression,
    }
}

fn is_const(kind: &TSType<'_>) -> bool {
    let TSType::TSTypeReference(reference) = kind else { return false };
    matches!(&reference.type_name, TSTypeName::IdentifierReference(id) if id.name == "const")
}

/// What `require("./b.js")` names.
fn required(expression: &Expression<'_>) -> Option<String> {
    let Expression::CallExpression(call) = expression else { return None };
    match (&call.callee, &call.arguments[..]) {
        (Expression::Identifier(callee), [Argument::StringLiteral(source)]) if callee.name == "require" => {
            Some(source.value.to_string())
        }
        _ => None,
    }
}

fn declared_names(declaration: &Declaration<'_>) -> Vec<String> {
    match declaration {
        Declaration::VariableDeclaration(variables) => {
            let names = variables.declarations.iter().flat_map(|variable| variable.id.get_binding_identifiers());
            names.map(|id| id.name.to_string()).collect()
        }
        Declaration::FunctionDeclaration(function) => function.id.iter().map(|id| id.name.to_string()).collect(),
        Declaration::ClassDeclaration(class) => class.id.iter().map(|id| id.name.to_string()).collect(),
        Declaration::TSEnumDeclaration(declared) => vec![declared.id.name.to_string()],
        Declaration::TSInterfaceDeclaration(interface) => vec![interface.id.name.to_string()],
        Declaration::TSTypeAliasDeclaration(alias) => vec![alias.id.name.to_string()],
        _ => Vec::new(),
    }
}
