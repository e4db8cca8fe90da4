//! Functions: their parameters, keywords and results.

use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use oxc_span::Span;

use super::jsdoc::Documented;
use super::records::{Field, FieldKind};
use super::text::{capitalised, documentation, identifier, is_identifier, used};
use super::{Meaning, Scope, Way, Writer, value_type};

/// A function of any form.
#[derive(Clone, Copy)]
pub struct Signature<'p> {
    pub params: &'p FormalParameters<'p>,
    pub returns: Option<&'p TSType<'p>>,
    pub type_parameters: Option<&'p TSTypeParameterDeclaration<'p>>,
    pub generator: bool,
    pub body: Option<&'p FunctionBody<'p>>,
    /// Where its comment ends.
    pub span: Span,
}

impl<'p> Signature<'p> {
    pub fn of(function: &'p Function<'p>, span: Span) -> Signature<'p> {
        Signature {
            params: &function.params,
            returns: function.return_type.as_ref().map(|annotation| &annotation.type_annotation),
            type_parameters: function.type_parameters.as_deref(),
            generator: function.generator,
            body: function.body.as_deref(),
            span,
        }
    }

    pub fn of_arrow(arrow: &'p ArrowFunctionExpression<'p>, span: Span) -> Signature<'p> {
        Signature {
            params: &arrow.params,
            returns: arrow.return_type.as_ref().map(|annotation| &annotation.type_annotation),
            type_parameters: arrow.type_parameters.as_deref(),
            generator: false,
            body: match &arrow.body {
                ArrowFunctionBody::FunctionBody(body) => Some(body),
                _ => None,
            },
            span,
        }
    }

    pub fn of_type(function: &'p TSFunctionType<'p>, span: Span) -> Signature<'p> {
        Signature {
            params: &function.params,
            returns: Some(&function.return_type.type_annotation),
            type_parameters: function.type_parameters.as_deref(),
            generator: false,
            body: None,
            span,
        }
    }

    pub fn of_method(method: &'p TSMethodSignature<'p>) -> Signature<'p> {
        Signature {
            params: &method.params,
            returns: method.return_type.as_ref().map(|annotation| &annotation.type_annotation),
            type_parameters: method.type_parameters.as_deref(),
            generator: false,
            body: None,
            span: method.span,
        }
    }
}

/// A function as Python sees it.
struct Written {
    /// Parameter lists, one for each way in which it may be called.
    forms: Vec<Vec<String>>,
    generic: bool,
    stream: bool,
    result: String,
    about: String,
}

struct Parameter<'p> {
    label: String,
    kind: String,
    optional: bool,
    /// Its own annotation, and the scope of that.
    said: Option<&'p TSType<'p>>,
    /// Of a pattern in braces: its names.
    fields: Option<Vec<Field<'p>>>,
}

impl<'p> Writer<'p, '_> {
    /// The lines of a function, with its overloads.
    pub fn function(&mut self, name: &str, scope: &Scope<'p>, signatures: &[Signature<'p>]) -> String {
        let written: Vec<Written> = signatures.iter().map(|signature| self.written(scope, signature)).collect();
        if let [Written { forms, generic: false, stream, result, about }] = &written[..]
            && let [params] = &forms[..]
        {
            let decorator = if *stream { "js_stream" } else { "js_function" };
            let about = documentation(about, "        ");
            let end = if about.is_empty() { " ...\n".to_owned() } else { format!("\n{about}") };
            // Static, since what Python calls takes no `self`.
            return format!("    @{decorator}\n    @staticmethod\n    def {name}({}) -> {result}:{end}", params.join(", "));
        }
        // A decorator would lose overloads and type variables, so a class has them.
        let mut body =
            written.iter().find(|one| !one.about.is_empty()).map_or_else(String::new, |one| documentation(&one.about, "    "));
        let count: usize = written.iter().map(|one| one.forms.len()).sum();
        let overload = if count > 1 { "    @overload\n" } else { "" };
        for method in ["__call__", "sync"] {
            for Written { forms, stream, result, .. } in &written {
                let given = match (method, stream) {
                    ("__call__", false) => format!("Awaitable[{result}]"),
                    ("__call__", true) => format!("JsStream[{result}]"),
                    (_, false) => result.clone(),
                    (_, true) => format!("Iterator[{result}]"),
                };
                for params in forms {
                    let params: Vec<&str> = std::iter::once("self").chain(params.iter().map(String::as_str)).collect();
                    body += &format!("{overload}    def {method}({}) -> {given}: ...\n", params.join(", "));
                }
            }
        }
        let class = self.unique(&format!("{}Function", capitalised(name)));
        let free = scope.free();
        let outer = used(&free, &body);
        let (head, reference) = match &outer[..] {
            [] => (String::new(), class.clone()),
            names => (format!("(Generic[{}])", names.join(", ")), format!("{class}[{}]", names.join(", "))),
        };
        body +=
            &format!("    def with_(self, *, timeout: float | None = ..., idempotent: bool | None = ...) -> {reference}: ...\n");
        self.stub.types.push(format!("class {class}{head}:\n{body}"));
        format!("    {name}: {reference}\n")
    }

    fn written(&mut self, outer: &Scope<'p>, signature: &Signature<'p>) -> Written {
        let documented = Documented::of(outer.file.comment_before(signature.span));
        let mut scope = self.with_variables(outer, signature.type_parameters);
        for variable in &documented.variables {
            let declared = self.declare_variable(variable, None);
            scope = scope.within([(variable.clone(), Meaning::Variable(declared))]);
        }
        let parameters: Vec<Parameter<'p>> =
            signature.params.items.iter().enumerate().map(|(at, param)| self.parameter(&scope, param, at, &documented)).collect();
        let (stream, result) = self.returned(&scope, signature, &documented);
        let mut params = positional(&parameters, false);
        if !params.is_empty() {
            params.push("/".to_owned());
        }
        let mut forms = vec![params];
        match &signature.params.rest {
            Some(rest) => {
                let label = match &rest.rest.argument {
                    BindingPattern::BindingIdentifier(id) => id.name.to_string(),
                    _ => "args".to_owned(),
                };
                let kind = match rest.type_annotation.as_ref().map(|annotation| &annotation.type_annotation) {
                    Some(TSType::TSArrayType(array)) => self.kind(&scope, &array.element_type, Way::FromPython),
                    _ => "Any".to_owned(),
                };
                forms[0].push(format!("*{}: {kind}", identifier(&label)));
            }
            None => forms.extend(self.by_keywords(&scope, &parameters)),
        }
        let generic = signature.type_parameters.is_some() || !documented.variables.is_empty();
        Written { forms, generic, stream, result, about: documented.about }
    }

    fn parameter(
        &mut self,
        scope: &Scope<'p>,
        param: &'p FormalParameter<'p>,
        at: usize,
        documented: &Documented,
    ) -> Parameter<'p> {
        let (pattern, default) = match &param.pattern {
            BindingPattern::AssignmentPattern(pattern) => (&pattern.left, Some(&pattern.right)),
            pattern => (pattern, param.initializer.as_deref()),
        };
        let label = match pattern {
            BindingPattern::BindingIdentifier(id) => id.name.to_string(),
            _ => format!("arg{at}"),
        };
        let said = documented.params.iter().find(|said| said.name == label).or_else(|| {
            // Of a destructured argument the comment chooses the name.
            documented.params.get(at).filter(|_| label.starts_with("arg"))
        });
        let annotation = param.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
        let annotation = annotation.or_else(|| said.and_then(|said| self.files.parse_type(&said.kind)));
        let fields = if annotation.is_none() { pattern_fields(scope, pattern) } else { None };
        let kind = match (annotation, &fields, default.and_then(value_type)) {
            (Some(annotation), ..) => self.kind(scope, annotation, Way::FromPython),
            (None, Some(fields), _) => self.object(scope, fields),
            (None, None, Some(kind)) => kind.to_owned(),
            (None, None, None) => "Any".to_owned(),
        };
        let optional = default.is_some() || param.optional || said.is_some_and(|said| said.optional);
        Parameter { label, kind, optional, said: annotation, fields }
    }

    /// Keyword arguments reach JavaScript as a last object: where that is what the last parameter is, its fields are keywords.
    fn by_keywords(&mut self, scope: &Scope<'p>, parameters: &[Parameter<'p>]) -> Option<Vec<String>> {
        let (last, before) = parameters.split_last()?;
        let fields = match (&last.fields, last.said) {
            (Some(fields), _) => fields.clone(),
            (None, Some(said)) => self.fields_of(scope, said)?,
            (None, None) => return None,
        };
        if fields.is_empty() || !fields.iter().all(|field| is_identifier(&field.name)) {
            return None;
        }
        // All before it must be given, or the object would take the place of one of them.
        let mut params = positional(before, true);
        if !params.is_empty() {
            params.push("/".to_owned());
        }
        params.push("*".to_owned());
        for field in &fields {
            let kind = self.field_kind(field);
            params.push(format!("{}: {kind}{}", field.name, if field.optional { " = ..." } else { "" }));
        }
        Some(params)
    }

    /// Whether items come one by one, and the type of an item or of the result.
    fn returned(&mut self, scope: &Scope<'p>, signature: &Signature<'p>, documented: &Documented) -> (bool, String) {
        if let Some(made) = &self.made {
            return (false, made.clone());
        }
        let said = match (signature.returns, &documented.returns) {
            (Some(returns), _) => Some(returns),
            (None, Some(text)) => self.files.parse_type(text),
            (None, None) => None,
        };
        if let Some(returns) = said {
            if let Some(item) = stream_item(returns) {
                return (true, item.map_or_else(|| "Any".to_owned(), |item| self.kind(scope, item, Way::ToPython)));
            }
            return (signature.generator, self.kind(scope, returns, Way::ToPython));
        }
        if signature.generator {
            return (true, "Any".to_owned());
        }
        let nothing = signature.body.is_some_and(|body| !gives(body));
        (false, if nothing { "None".to_owned() } else { "Any".to_owned() })
    }
}

fn positional(parameters: &[Parameter<'_>], all: bool) -> Vec<String> {
    let mut optional = false;
    let text = |parameter: &Parameter<'_>| {
        optional |= parameter.optional && !all;
        format!("{}: {}{}", identifier(&parameter.label), parameter.kind, if optional { " = ..." } else { "" })
    };
    parameters.iter().map(text).collect()
}

/// The names that `{ a, b = 1 }` takes. None of them need be given; with `...rest` there may be more.
fn pattern_fields<'p>(scope: &Scope<'p>, pattern: &'p BindingPattern<'p>) -> Option<Vec<Field<'p>>> {
    let BindingPattern::ObjectPattern(object) = pattern else { return None };
    if object.rest.is_some() || object.properties.is_empty() {
        return None;
    }
    let field = |property: &'p BindingProperty<'p>| {
        let kind = match &property.value {
            BindingPattern::AssignmentPattern(pattern) => value_type(&pattern.right),
            _ => None,
        };
        let kind = FieldKind::Text(kind.unwrap_or("Any"));
        Some(Field { name: property.key.static_name()?.into_owned(), optional: true, kind, scope: scope.clone() })
    };
    object.properties.iter().map(field).collect()
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
        "AsyncIterable"
        | "AsyncIterableIterator"
        | "AsyncGenerator"
        | "AsyncIterator"
        | "AsyncIteratorObject"
        | "Generator"
        | "IterableIterator"
        | "Iterator"
        | "IteratorObject"
        | "ReadableStream" => Some(first),
        "Promise" => first.and_then(stream_item),
        _ => None,
    }
}
