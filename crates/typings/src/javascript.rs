//! JavaScript and TypeScript files: which Python they import, and what their exports are for Python. Types come from
//! annotations and JSDoc; what neither says is `Any`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use oxc_allocator::Allocator;
use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use oxc_parser::{Parser, ParserReturn};
use oxc_span::{GetSpan, SourceType, Span};

use crate::stub::Stub;

/// Whether a file is one of those that Node or a bundler runs, by its name; declarations are not.
pub fn is_program(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let declares = name.ends_with(".d.ts") || name.ends_with(".d.mts") || name.ends_with(".d.cts") || name.contains(".d.py.");
    !declares && ["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"].iter().any(|end| path.extension().is_some_and(|e| e == *end))
}

/// The Python files that a file imports, as it writes them: `./model.py`.
pub fn python_imports(path: &Path, text: &str) -> Vec<String> {
    // Most files import none, and need not be parsed.
    if !text.contains(".py") {
        return Vec::new();
    }
    let allocator = Allocator::default();
    let mut imports = Imports(Vec::new());
    imports.visit_program(&parse(&allocator, path, text).program);
    imports.0
}

fn parse<'a>(allocator: &'a Allocator, path: &Path, text: &'a str) -> ParserReturn<'a> {
    // JSX in a .js file is for a bundler, but no reason to understand less of it.
    let kind = SourceType::from_path(path).unwrap_or_default();
    let kind = if kind.is_javascript() { kind.with_jsx(true) } else { kind };
    Parser::new(allocator, text, kind).parse()
}

struct Imports(Vec<String>);

impl Imports {
    fn add(&mut self, source: &str) {
        if source.ends_with(".py") && (source.starts_with("./") || source.starts_with("../")) && !self.0.iter().any(|s| s == source) {
            self.0.push(source.to_owned());
        }
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        self.add(&it.source.value);
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        self.add(&it.source.value);
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        self.add(&it.source.value);
    }

    fn visit_import_expression(&mut self, it: &ImportExpression<'a>) {
        if let Expression::StringLiteral(source) = &it.source {
            self.add(&source.value);
        }
        walk::walk_import_expression(self, it);
    }

    fn visit_ts_import_type(&mut self, it: &TSImportType<'a>) {
        self.add(&it.source.value);
        walk::walk_ts_import_type(self, it);
    }

    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        if let (Expression::Identifier(callee), [Argument::StringLiteral(source)]) = (&it.callee, &it.arguments[..])
            && callee.name == "require"
        {
            self.add(&source.value);
        }
        walk::walk_call_expression(self, it);
    }
}

/// What a file exports, for Python.
///
/// # Errors
/// When it cannot be parsed: where and why.
pub fn stub(path: &Path, text: &str) -> Result<Stub, String> {
    let allocator = Allocator::default();
    let parsed = parse(&allocator, path, text);
    if parsed.panicked {
        return Err(format!("{}: it cannot be parsed", path.display()));
    }
    let program = &parsed.program;
    let mut writer = Writer {
        allocator: &allocator,
        program,
        local: HashMap::new(),
        stub: Stub::default(),
        named: HashSet::new(),
        objects: HashMap::new(),
    };
    writer.collect();
    for statement in &program.body {
        writer.statement(statement);
    }
    Ok(writer.stub)
}

/// From whom to whom a value goes: what Python gets may be narrower than what it may give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToPython,
    FromPython,
}

/// Something that a name of the file stands for.
#[derive(Clone, Copy)]
enum Local<'p> {
    Function(&'p Function<'p>, Span),
    Arrow(&'p ArrowFunctionExpression<'p>, Span),
    Class(&'p Class<'p>, Span),
    Interface(&'p TSInterfaceDeclaration<'p>),
    Alias(&'p TSTypeAliasDeclaration<'p>),
    Enum(&'p TSEnumDeclaration<'p>),
    /// A variable: its type and its value.
    Variable(Option<&'p TSType<'p>>, Option<&'p Expression<'p>>, Span),
}

struct Writer<'p> {
    allocator: &'p Allocator,
    program: &'p Program<'p>,
    local: HashMap<String, Local<'p>>,
    stub: Stub,
    /// Types that are declared, or being so.
    named: HashSet<String>,
    /// Objects' types without a name, by their text: the names that they were given.
    objects: HashMap<String, String>,
}

impl<'p> Writer<'p> {
    fn collect(&mut self) {
        let program = self.program;
        for statement in &program.body {
            match statement {
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
                    _ => {}
                },
                other => {
                    if let Some(declaration) = other.as_declaration() {
                        self.declare(declaration, other.span());
                    }
                }
            }
        }
    }

    fn declare(&mut self, declaration: &'p Declaration<'p>, span: Span) {
        match declaration {
            Declaration::FunctionDeclaration(function) => {
                if let Some(id) = &function.id {
                    // Of overloads the first is what callers see.
                    self.local.entry(id.name.to_string()).or_insert(Local::Function(function, span));
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

    fn value_of(&self, expression: &'p Expression<'p>, span: Span) -> Local<'p> {
        match expression {
            Expression::ArrowFunctionExpression(arrow) => Local::Arrow(arrow, span),
            Expression::FunctionExpression(function) => Local::Function(function, span),
            Expression::ClassExpression(class) => Local::Class(class, span),
            Expression::Identifier(name) => {
                self.local.get(name.name.as_str()).copied().unwrap_or(Local::Variable(None, Some(expression), span))
            }
            Expression::ParenthesizedExpression(inner) => self.value_of(&inner.expression, span),
            _ => Local::Variable(None, Some(expression), span),
        }
    }

    // Exports

    fn statement(&mut self, statement: &'p Statement<'p>) {
        match statement {
            Statement::ExportDeclaration(export) => self.exported_declaration(&export.declaration),
            Statement::ExportNamedDeclaration(export) => {
                for specifier in &export.specifiers {
                    let (local, exported) = (specifier.local.name(), specifier.exported.name());
                    match self.local.get(local.as_str()).copied() {
                        Some(local) => self.export(&exported, local),
                        None => self.stub.open = true,
                    }
                }
            }
            Statement::ExportFromDeclaration(_) | Statement::ExportAllDeclaration(_) => self.stub.open = true,
            Statement::ExportDefaultDeclaration(export) => {
                let local = match &export.declaration {
                    ExportDefaultDeclarationKind::FunctionDeclaration(function) => Some(Local::Function(function, export.span)),
                    ExportDefaultDeclarationKind::ClassDeclaration(class) => Some(Local::Class(class, export.span)),
                    other => other.as_expression().map(|value| self.value_of(value, export.span)),
                };
                if let Some(local) = local {
                    self.export("default", local);
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

    fn exported_declaration(&mut self, declaration: &'p Declaration<'p>) {
        let names: Vec<String> = match declaration {
            Declaration::VariableDeclaration(variables) => {
                let names = variables.declarations.iter().flat_map(|variable| variable.id.get_binding_identifiers());
                names.map(|id| id.name.to_string()).collect()
            }
            Declaration::FunctionDeclaration(function) => function.id.iter().map(|id| id.name.to_string()).collect(),
            Declaration::ClassDeclaration(class) => class.id.iter().map(|id| id.name.to_string()).collect(),
            Declaration::TSEnumDeclaration(declared) => vec![declared.id.name.to_string()],
            _ => Vec::new(),
        };
        for name in names {
            let local = self.local.get(&name).copied();
            self.export(&name, local.unwrap_or(Local::Variable(None, None, Span::default())));
        }
    }

    /// `module.exports = …`, `exports.name = …`.
    fn commonjs(&mut self, assignment: &'p AssignmentExpression<'p>, span: Span) {
        let Some(target) = assignment.left.as_member_expression() else { return };
        let MemberExpression::StaticMemberExpression(member) = target else { return };
        let is_exports = |expression: &Expression<'_>| match expression {
            Expression::Identifier(name) => name.name == "exports",
            Expression::StaticMemberExpression(inner) => {
                inner.property.name == "exports" && matches!(&inner.object, Expression::Identifier(name) if name.name == "module")
            }
            _ => false,
        };
        if is_exports(&member.object) {
            let local = self.value_of(&assignment.right, span);
            return self.export(&member.property.name, local);
        }
        if member.property.name != "exports" || !matches!(&member.object, Expression::Identifier(name) if name.name == "module") {
            return;
        }
        match &assignment.right {
            Expression::ObjectExpression(object) => {
                for property in &object.properties {
                    match property {
                        ObjectPropertyKind::ObjectProperty(property) => {
                            if let Some(name) = property.key.static_name() {
                                let local = self.value_of(&property.value, property.span);
                                self.export(&name, local);
                            }
                        }
                        ObjectPropertyKind::SpreadProperty(_) => self.stub.open = true,
                    }
                }
            }
            other => {
                let local = self.value_of(other, span);
                self.export("default", local);
            }
        }
    }

    fn export(&mut self, name: &str, local: Local<'p>) {
        if !is_identifier(name) {
            return;
        }
        let member = match local {
            Local::Function(function, span) => self.function(name, &Signature::of(function), span),
            Local::Arrow(arrow, span) => self.function(name, &Signature::of_arrow(arrow), span),
            Local::Class(class, span) => self.class(name, class, span),
            Local::Interface(_) | Local::Alias(_) => return,
            Local::Enum(_) => format!("    {name}: JsValue[Any]\n"),
            Local::Variable(annotation, value, span) => self.variable(name, annotation, value, span),
        };
        let heads = [format!("    {name}:"), format!("    def {name}(")];
        self.stub.members.retain(|known| !heads.iter().any(|head| known.contains(head.as_str())));
        self.stub.members.push(member);
    }

    fn variable(&mut self, name: &str, annotation: Option<&'p TSType<'p>>, value: Option<&'p Expression<'p>>, span: Span) -> String {
        if let Some(TSType::TSFunctionType(function)) = annotation {
            let signature = Signature {
                params: &function.params,
                returns: Some(&function.return_type.type_annotation),
                generator: false,
                body: None,
            };
            return self.function(name, &signature, span);
        }
        let documented = Documented::of(self.comment_before(span));
        let kind = match (annotation, value) {
            (Some(annotation), _) => self.kind(annotation, Way::ToPython),
            (None, Some(value)) => match value {
                Expression::StringLiteral(_) | Expression::TemplateLiteral(_) => "str".to_owned(),
                Expression::NumericLiteral(_) => "float".to_owned(),
                Expression::BooleanLiteral(_) => "bool".to_owned(),
                _ => match &documented.kind {
                    Some(kind) => self.documented(kind, Way::ToPython),
                    // It may be a function as well.
                    None => return format!("    {name}: Any\n"),
                },
            },
            (None, None) => return format!("    {name}: Any\n"),
        };
        format!("    {name}: JsValue[{kind}]\n")
    }

    fn class(&mut self, name: &str, class: &'p Class<'p>, span: Span) -> String {
        let own = class.id.as_ref().map_or_else(|| name.to_owned(), |id| id.name.to_string());
        let own = if is_identifier(&own) { own } else { name.to_owned() };
        self.instance(&own, class);
        let mut constructor = "    @js_function\n    @staticmethod\n    def new() -> {}: ...\n".replace("{}", &own);
        let mut statics = String::new();
        for element in &class.body.body {
            let ClassElement::MethodDefinition(method) = element else { continue };
            if method.kind == MethodDefinitionKind::Constructor {
                let signature = Signature { returns: None, ..Signature::of(&method.value) };
                let text = self.function("new", &signature, method.span);
                constructor = text.rsplit_once(" -> ").map_or(text.clone(), |(head, rest)| {
                    let tail = rest.split_once(':').map_or("", |(_, tail)| tail);
                    format!("{head} -> {own}:{tail}")
                });
            } else if method.r#static
                && let Some(name) = method.key.static_name().filter(|name| is_identifier(name))
            {
                statics += &self.function(&name, &Signature::of(&method.value), method.span);
            }
        }
        let about = documentation(&Documented::of(self.comment_before(span)).about, "    ");
        let text = format!("class {own}Class:\n{about}{constructor}{statics}");
        if self.named.insert(format!("{own}Class")) {
            self.stub.types.push(text);
        }
        format!("    {name}: {own}Class\n")
    }

    /// A class's instances, which stay in JavaScript.
    fn instance(&mut self, name: &str, class: &'p Class<'p>) {
        if !self.named.insert(name.to_owned()) {
            return;
        }
        let mut body = String::new();
        for element in &class.body.body {
            match element {
                ClassElement::MethodDefinition(method) if !method.r#static => {
                    let Some(name) = method.key.static_name().filter(|name| is_identifier(name)) else { continue };
                    body += &match method.kind {
                        MethodDefinitionKind::Method => self.function(&name, &Signature::of(&method.value), method.span),
                        MethodDefinitionKind::Get => {
                            let returns = method.value.return_type.as_ref().map(|annotation| &annotation.type_annotation);
                            let kind = returns.map_or_else(|| "Any".to_owned(), |kind| self.kind(kind, Way::ToPython));
                            format!("    {name}: JsValue[{kind}]\n")
                        }
                        _ => continue,
                    };
                }
                ClassElement::PropertyDefinition(property) if !property.r#static => {
                    let Some(name) = property.key.static_name().filter(|name| is_identifier(name)) else { continue };
                    let annotation = property.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
                    body += &self.variable(&name, annotation, property.value.as_ref(), property.span);
                }
                _ => {}
            }
        }
        if body.is_empty() {
            body.push_str("    pass\n");
        }
        self.stub.types.push(format!("class {name}(JsObject):\n{body}"));
    }

    fn function(&mut self, name: &str, signature: &Signature<'p>, span: Span) -> String {
        let documented = Documented::of(self.comment_before(span));
        let mut params = Vec::new();
        let mut optional = false;
        for (at, param) in signature.params.items.iter().enumerate() {
            let (label, default) = match &param.pattern {
                BindingPattern::BindingIdentifier(id) => (id.name.to_string(), false),
                BindingPattern::AssignmentPattern(pattern) => {
                    let label = match &pattern.left {
                        BindingPattern::BindingIdentifier(id) => id.name.to_string(),
                        _ => format!("arg{at}"),
                    };
                    (label, true)
                }
                _ => (format!("arg{at}"), false),
            };
            let said = documented.params.iter().find(|said| said.name == label).or_else(|| {
                // Of a destructured argument the comment chooses the name.
                documented.params.get(at).filter(|_| label.starts_with("arg"))
            });
            let kind = match (&param.type_annotation, said) {
                (Some(annotation), _) => self.kind(&annotation.type_annotation, Way::FromPython),
                (None, Some(said)) => self.documented(&said.kind, Way::FromPython),
                (None, None) => "Any".to_owned(),
            };
            optional |= default || param.optional || param.initializer.is_some() || said.is_some_and(|said| said.optional);
            params.push(format!("{}: {kind}{}", identifier(&label), if optional { " = ..." } else { "" }));
        }
        if !params.is_empty() {
            params.push("/".to_owned());
        }
        if let Some(rest) = &signature.params.rest {
            let label = match &rest.rest.argument {
                BindingPattern::BindingIdentifier(id) => id.name.to_string(),
                _ => "args".to_owned(),
            };
            let annotation = rest.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
            let kind = match annotation {
                Some(TSType::TSArrayType(array)) => self.kind(&array.element_type, Way::FromPython),
                _ => "Any".to_owned(),
            };
            params.push(format!("*{}: {kind}", identifier(&label)));
        }
        let (stream, result) = self.returned(signature, &documented);
        let decorator = if stream { "js_stream" } else { "js_function" };
        let about = documentation(&documented.about, "        ");
        let end = if about.is_empty() { " ...\n".to_owned() } else { format!("\n{about}") };
        // Static, since what Python calls takes no `self`.
        format!("    @{decorator}\n    @staticmethod\n    def {name}({}) -> {result}:{end}", params.join(", "))
    }

    /// Whether items come one by one, and the type of an item or of the result.
    fn returned(&mut self, signature: &Signature<'p>, documented: &Documented) -> (bool, String) {
        let said = match (&signature.returns, &documented.returns) {
            (Some(returns), _) => Some(*returns),
            (None, Some(text)) => self.parse_type(text),
            (None, None) => None,
        };
        if let Some(returns) = said {
            if let Some(item) = stream_item(returns) {
                return (true, item.map_or_else(|| "Any".to_owned(), |item| self.kind(item, Way::ToPython)));
            }
            return (signature.generator, self.kind(returns, Way::ToPython));
        }
        if signature.generator {
            return (true, "Any".to_owned());
        }
        let nothing = signature.body.is_some_and(|body| !gives(body));
        (false, if nothing { "None".to_owned() } else { "Any".to_owned() })
    }

    // Types

    fn documented(&mut self, text: &str, way: Way) -> String {
        match self.parse_type(text) {
            Some(kind) => self.kind(kind, way),
            None => "Any".to_owned(),
        }
    }

    /// JSDoc's types are TypeScript's, but for a few old forms.
    fn parse_type(&self, text: &str) -> Option<&'p TSType<'p>> {
        let text = text.trim().trim_end_matches('=').trim_start_matches("...");
        let text = if text == "*" || text == "?" { "any" } else { text };
        let source = self.allocator.alloc_str(&format!("type T = {text};"));
        let parsed = Parser::new(self.allocator, source, SourceType::ts()).parse();
        if parsed.panicked || !parsed.diagnostics.is_empty() {
            return None;
        }
        let program: &'p Program<'p> = self.allocator.alloc(parsed.program);
        match program.body.first() {
            Some(Statement::TSTypeAliasDeclaration(alias)) => Some(&alias.type_annotation),
            _ => None,
        }
    }

    fn kind(&mut self, kind: &'p TSType<'p>, way: Way) -> String {
        let list = |item: String| if way == Way::FromPython { format!("Sequence[{item}]") } else { format!("list[{item}]") };
        match kind {
            TSType::TSStringKeyword(_) | TSType::TSTemplateLiteralType(_) => "str".to_owned(),
            TSType::TSNumberKeyword(_) => "float".to_owned(),
            TSType::TSBooleanKeyword(_) | TSType::TSTypePredicate(_) => "bool".to_owned(),
            TSType::TSBigIntKeyword(_) => "int".to_owned(),
            TSType::TSNullKeyword(_) | TSType::TSUndefinedKeyword(_) | TSType::TSVoidKeyword(_) => "None".to_owned(),
            TSType::TSArrayType(array) => list(self.kind(&array.element_type, way)),
            TSType::TSTupleType(tuple) => {
                let items = tuple.element_types.iter();
                let items: Vec<String> =
                    items.map(|item| item.as_ts_type().map_or_else(|| "Any".to_owned(), |item| self.kind(item, way))).collect();
                if way == Way::FromPython && !items.is_empty() {
                    format!("tuple[{}] | list[Any]", items.join(", "))
                } else {
                    list(union(items))
                }
            }
            TSType::TSUnionType(parts) => union(parts.types.iter().map(|part| self.kind(part, way)).collect()),
            TSType::TSParenthesizedType(inner) => self.kind(&inner.type_annotation, way),
            TSType::JSDocNullableType(inner) => union(vec![self.kind(&inner.type_annotation, way), "None".to_owned()]),
            TSType::JSDocNonNullableType(inner) => self.kind(&inner.type_annotation, way),
            TSType::TSTypeOperatorType(inner) => self.kind(&inner.type_annotation, way),
            TSType::TSLiteralType(literal) => match &literal.literal {
                TSLiteral::StringLiteral(text) => format!("Literal[{}]", serde_json::Value::from(text.value.as_str())),
                TSLiteral::NumericLiteral(number) if number.value.fract() == 0.0 && number.value.abs() < 1e15 => {
                    format!("Literal[{}]", number.value)
                }
                TSLiteral::NumericLiteral(_) | TSLiteral::UnaryExpression(_) => "float".to_owned(),
                TSLiteral::BooleanLiteral(boolean) => format!("Literal[{}]", if boolean.value { "True" } else { "False" }),
                TSLiteral::BigIntLiteral(_) => "int".to_owned(),
                TSLiteral::TemplateLiteral(_) => "str".to_owned(),
            },
            TSType::TSFunctionType(_) => "Callable[..., Any]".to_owned(),
            TSType::TSTypeLiteral(literal) => self.object(&literal.members, way),
            TSType::TSTypeReference(reference) => self.reference(reference, way),
            _ => "Any".to_owned(),
        }
    }

    fn reference(&mut self, reference: &'p TSTypeReference<'p>, way: Way) -> String {
        let TSTypeName::IdentifierReference(id) = &reference.type_name else { return "Any".to_owned() };
        let name = id.name.as_str();
        let arguments: &'p [TSType<'p>] = reference.type_arguments.as_ref().map_or(&[], |arguments| &arguments.params);
        if let Some(local) = self.local.get(name).copied() {
            return self.local_type(name, local, way);
        }
        let mut argument = |at: usize| arguments.get(at).map_or_else(|| "Any".to_owned(), |kind| self.kind(kind, way));
        let to_python = way == Way::ToPython;
        match name {
            "Promise" | "PromiseLike" | "Awaited" | "Readonly" | "NonNullable" => argument(0),
            "Array" | "ReadonlyArray" if to_python => format!("list[{}]", argument(0)),
            "Array" | "ReadonlyArray" => format!("Sequence[{}]", argument(0)),
            "Record" | "Object" if to_python => format!("dict[{}, {}]", key(argument(0)), argument(1)),
            "Record" | "Object" => format!("Mapping[{}, {}]", key(argument(0)), argument(1)),
            "Map" | "ReadonlyMap" if to_python => format!("dict[{}, {}]", argument(0), argument(1)),
            "Map" | "ReadonlyMap" => format!("Mapping[{}, {}]", argument(0), argument(1)),
            "Set" | "ReadonlySet" => format!("set[{}]", argument(0)),
            "AsyncIterable" | "AsyncIterableIterator" | "AsyncGenerator" | "Iterable" | "Generator" => {
                format!("AsyncIterable[{}]", argument(0))
            }
            "Date" | "ZonedDate" | "PlainDateTime" => "datetime.datetime".to_owned(),
            "PlainDate" => "datetime.date".to_owned(),
            "PlainTime" => "datetime.time".to_owned(),
            "Duration" => "datetime.timedelta".to_owned(),
            "Decimal" => "decimal.Decimal".to_owned(),
            "Uuid" => "uuid.UUID".to_owned(),
            "RegExp" => "re.Pattern[str]".to_owned(),
            "Error" | "TypeError" | "RangeError" => "BaseException".to_owned(),
            "Buffer" | "Uint8Array" | "ArrayBuffer" => "bytes".to_owned(),
            "Function" => "Callable[..., Any]".to_owned(),
            // JSDoc's other spellings.
            "String" => "str".to_owned(),
            "Number" => "float".to_owned(),
            "Boolean" => "bool".to_owned(),
            _ => "Any".to_owned(),
        }
    }

    fn local_type(&mut self, name: &str, local: Local<'p>, way: Way) -> String {
        match local {
            Local::Interface(interface) => {
                let whole = interface.type_parameters.is_none() && interface.extends.iter().all(|parent| {
                    matches!(&parent.type_name, TSTypeName::IdentifierReference(id) if matches!(self.local.get(id.name.as_str()), Some(Local::Interface(_))))
                });
                if !whole {
                    return "Any".to_owned();
                }
                let parents = interface.extends.iter().filter_map(|parent| match &parent.type_name {
                    TSTypeName::IdentifierReference(id) => Some(id.name.to_string()),
                    _ => None,
                });
                let parents: Vec<String> = parents.collect();
                for parent in &parents {
                    if let Some(local) = self.local.get(parent).copied() {
                        self.local_type(parent, local, way);
                    }
                }
                self.typed_dict(name, &parents, &interface.body.body)
            }
            Local::Alias(alias) if alias.type_parameters.is_none() => match &alias.type_annotation {
                TSType::TSTypeLiteral(literal) => self.typed_dict(name, &[], &literal.members),
                // A type that leads to itself is cut here.
                other if self.named.insert(format!("alias {name}")) => {
                    let text = self.kind(other, way);
                    self.named.remove(&format!("alias {name}"));
                    text
                }
                _ => "Any".to_owned(),
            },
            Local::Enum(declared) => {
                let values = declared.body.members.iter().map(|member| match &member.initializer {
                    Some(Expression::StringLiteral(text)) => {
                        Some(format!("Literal[{}]", serde_json::Value::from(text.value.as_str())))
                    }
                    _ => None,
                });
                values.collect::<Option<Vec<_>>>().map_or_else(|| "int | str".to_owned(), union)
            }
            Local::Class(class, _) => {
                self.instance(name, class);
                name.to_owned()
            }
            _ => "Any".to_owned(),
        }
    }

    fn typed_dict(&mut self, name: &str, parents: &[String], members: &'p [TSSignature<'p>]) -> String {
        let Some(mut fields) = fields(members) else { return self.object(members, Way::ToPython) };
        if !self.named.insert(name.to_owned()) {
            return name.to_owned();
        }
        let simple = fields.iter().all(|(field, ..)| is_identifier(field));
        if !simple {
            // Without a class there are no bases.
            let inherited: Vec<Field<'p>> = parents.iter().flat_map(|parent| self.fields_of(parent)).collect();
            fields.splice(0..0, inherited);
        }
        let mut body = String::new();
        let mut pairs = Vec::new();
        for (field, optional, kind) in &fields {
            let kind = kind.map_or_else(|| "Any".to_owned(), |kind| self.kind(kind, Way::ToPython));
            let kind = if *optional { format!("NotRequired[{kind}]") } else { kind };
            body += &format!("    {field}: {kind}\n");
            pairs.push(format!("{}: {kind}", serde_json::Value::from(field.as_str())));
        }
        if body.is_empty() {
            body.push_str("    pass\n");
        }
        self.stub.types.push(if simple {
            let bases = if parents.is_empty() { "TypedDict".to_owned() } else { parents.join(", ") };
            format!("class {name}({bases}):\n{body}")
        } else {
            format!("{name} = TypedDict(\"{name}\", {{{}}})\n", pairs.join(", "))
        });
        name.to_owned()
    }

    /// Those of an interface and of what it extends.
    fn fields_of(&self, name: &str) -> Vec<Field<'p>> {
        let Some(Local::Interface(interface)) = self.local.get(name) else { return Vec::new() };
        let parents = interface.extends.iter().filter_map(|parent| match &parent.type_name {
            TSTypeName::IdentifierReference(id) if id.name != name => Some(self.fields_of(&id.name)),
            _ => None,
        });
        parents.flatten().chain(fields(&interface.body.body).unwrap_or_default()).collect()
    }

    /// An object's type without a name.
    fn object(&mut self, members: &'p [TSSignature<'p>], way: Way) -> String {
        if let [TSSignature::TSIndexSignature(index)] = members {
            let value = self.kind(&index.type_annotation.type_annotation, way);
            return if way == Way::ToPython { format!("dict[str, {value}]") } else { format!("Mapping[str, {value}]") };
        }
        if fields(members).is_none_or(|fields| fields.is_empty()) {
            return "Any".to_owned();
        }
        let mut number = 1;
        while self.named.contains(&format!("Object{number}")) || self.local.contains_key(&format!("Object{number}")) {
            number += 1;
        }
        let name = format!("Object{number}");
        self.typed_dict(&name, &[], members);
        // The same object again has the name that it had.
        let made = self.stub.types.last().map(|made| made.replace(&name, "Object"));
        let same = made.and_then(|made| self.objects.get(&made).cloned().or_else(|| {
            self.objects.insert(made, name.clone());
            None
        }));
        match same {
            Some(same) => {
                self.stub.types.pop();
                self.named.remove(&name);
                same
            }
            None => name,
        }
    }

    /// The text of the JSDoc comment that ends where the span begins.
    fn comment_before(&self, span: Span) -> Option<&'p str> {
        let comment = self.program.comments.iter().rev().find(|comment| comment.is_jsdoc() && comment.span.end <= span.start)?;
        let between = self.program.source_text.get(comment.span.end as usize..span.start as usize)?;
        between.trim().is_empty().then(|| comment.content_span().source_text(self.program.source_text))
    }
}

/// A function of either form.
struct Signature<'p> {
    params: &'p FormalParameters<'p>,
    returns: Option<&'p TSType<'p>>,
    generator: bool,
    body: Option<&'p FunctionBody<'p>>,
}

impl<'p> Signature<'p> {
    fn of(function: &'p Function<'p>) -> Signature<'p> {
        Signature {
            params: &function.params,
            returns: function.return_type.as_ref().map(|annotation| &annotation.type_annotation),
            generator: function.generator,
            body: function.body.as_deref(),
        }
    }

    fn of_arrow(arrow: &'p ArrowFunctionExpression<'p>) -> Signature<'p> {
        Signature {
            params: &arrow.params,
            returns: arrow.return_type.as_ref().map(|annotation| &annotation.type_annotation),
            generator: false,
            body: match &arrow.body {
                ArrowFunctionBody::FunctionBody(body) => Some(body),
                _ => None,
            },
        }
    }
}

/// Whether anything is returned with a value; functions within do not count.
fn gives(body: &FunctionBody<'_>) -> bool {
    struct Returns(bool);
    impl<'a> Visit<'a> for Returns {
        fn visit_return_statement(&mut self, it: &ReturnStatement<'a>) {
            self.0 |= it.argument.is_some();
        }
        fn visit_function_body(&mut self, _: &FunctionBody<'a>) {}
    }
    let mut returns = Returns(false);
    walk::walk_function_body(&mut returns, body);
    returns.0
}

/// The item's type of a result that is a stream; `Some(None)` if the type does not say it.
fn stream_item<'p>(kind: &'p TSType<'p>) -> Option<Option<&'p TSType<'p>>> {
    let TSType::TSTypeReference(reference) = kind else { return None };
    let TSTypeName::IdentifierReference(id) = &reference.type_name else { return None };
    let first = reference.type_arguments.as_ref().and_then(|arguments| arguments.params.first());
    match id.name.as_str() {
        "AsyncIterable" | "AsyncIterableIterator" | "AsyncGenerator" | "AsyncIterator" | "Generator" | "IterableIterator" => Some(first),
        "Promise" => first.and_then(stream_item),
        _ => None,
    }
}

type Field<'p> = (String, bool, Option<&'p TSType<'p>>);

/// An object's fields; `None` when it has anything else.
fn fields<'p>(members: &'p [TSSignature<'p>]) -> Option<Vec<Field<'p>>> {
    let field = |member: &'p TSSignature<'p>| match member {
        TSSignature::TSPropertySignature(property) => {
            let kind = property.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
            Some((property.key.static_name()?.into_owned(), property.optional, kind))
        }
        _ => None,
    };
    members.iter().map(field).collect()
}

fn union(parts: Vec<String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut literals: Vec<String> = Vec::new();
    for part in parts {
        if part == "Any" {
            return part;
        }
        let literal = part.strip_prefix("Literal[").and_then(|rest| rest.strip_suffix(']'));
        let (list, part) = match literal.filter(|_| !part.contains("] | ")) {
            Some(literal) => (&mut literals, literal.to_owned()),
            None => (&mut kept, part),
        };
        if !list.contains(&part) {
            list.push(part);
        }
    }
    if !literals.is_empty() {
        kept.insert(0, format!("Literal[{}]", literals.join(", ")));
    }
    if kept.is_empty() { "Any".to_owned() } else { kept.join(" | ") }
}

fn key(kind: String) -> String {
    if kind == "float" { "str".to_owned() } else { kind }
}

const PYTHON_WORDS: [&str; 33] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while",
];

/// Whether Python can write it after a dot.
fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
        && !PYTHON_WORDS.contains(&name)
        && !["with", "yield"].contains(&name)
}

fn identifier(name: &str) -> String {
    let name: String = name.chars().map(|letter| if letter == '$' { '_' } else { letter }).collect();
    if is_identifier(&name) { name } else { format!("{name}_") }
}

fn documentation(about: &str, indent: &str) -> String {
    if about.is_empty() {
        return String::new();
    }
    let about = about.replace('\\', "\\\\").replace("\"\"\"", "'''");
    let lines: Vec<&str> = about.lines().collect();
    match lines[..] {
        [line] => format!("{indent}\"\"\"{line}\"\"\"\n"),
        _ => format!("{indent}\"\"\"{}\n{indent}\"\"\"\n", lines.join(&format!("\n{indent}"))),
    }
}

/// What a JSDoc comment says.
#[derive(Debug, Default)]
struct Documented {
    about: String,
    params: Vec<Param>,
    returns: Option<String>,
    kind: Option<String>,
}

#[derive(Debug)]
struct Param {
    name: String,
    kind: String,
    optional: bool,
}

impl Documented {
    fn of(comment: Option<&str>) -> Documented {
        let mut documented = Documented::default();
        let lines = comment.unwrap_or_default().trim_start_matches('*').lines();
        let lines: Vec<&str> = lines.map(|line| line.trim().trim_start_matches('*').trim()).collect();
        let text = lines.join("\n");
        let (about, tags) = text.find("\n@").or_else(|| text.starts_with('@').then_some(0)).map_or((&*text, ""), |at| text.split_at(at));
        documented.about = about.trim().to_owned();
        for tag in tags.split("\n@").map(|tag| tag.trim_start_matches('@')) {
            let (word, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
            let Some((kind, rest)) = braced(rest.trim_start()) else { continue };
            match word {
                "param" | "arg" | "argument" => {
                    let name = rest.trim_start();
                    let bracketed = name.starts_with('[');
                    let name: String =
                        name.trim_start_matches('[').chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '.')).collect();
                    // `options.top` describes a part of an argument.
                    if !name.contains('.') {
                        let optional = bracketed || kind.ends_with('=');
                        documented.params.push(Param { name, kind: kind.to_owned(), optional });
                    }
                }
                "returns" | "return" => documented.returns = Some(kind.to_owned()),
                "yields" | "yield" => documented.returns = Some(format!("AsyncGenerator<{kind}>")),
                "type" => documented.kind = Some(kind.to_owned()),
                _ => {}
            }
        }
        documented
    }
}

/// `{…}` at the beginning, with braces within: what it holds, and what follows.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
