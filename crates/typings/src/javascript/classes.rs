//! Classes: what calls and constructs them, and their instances, which stay in JavaScript.

use oxc_ast::ast::*;
use oxc_span::Span;

use super::files::Local;
use super::functions::Signature;
use super::jsdoc::Documented;
use super::text::{documentation, is_identifier};
use super::{Scope, Way, Writer};

/// Longest chain of classes that a constructor is inherited along.
const BASES_MAX: usize = 16;

impl<'p> Writer<'p, '_> {
    /// The line of a class: `Counter: CounterClass`, whose `new` constructs.
    pub fn class(&mut self, name: &str, scope: &Scope<'p>, class: &'p Class<'p>, span: Span) -> String {
        let own = class.id.as_ref().map_or(name, |id| id.name.as_str());
        let key = (scope.file.path.clone(), format!("class {own}"));
        if let Some(known) = self.names.get(&key) {
            return format!("    {name}: {known}\n");
        }
        let instance = self.instance(scope, own, class);
        let inner = self.with_variables(scope, class.type_parameters.as_deref());
        let made = self.applied(&instance, &self.variables_of(&inner, class.type_parameters.as_deref()));
        let class_name = self.unique(&format!("{instance}Class"));
        self.names.insert(key, class_name.clone());
        let mut body = documentation(&Documented::of(scope.file.comment_before(span)).about, "    ");
        body += &self.constructor(scope, class, &made);
        for (method, signatures) in methods(class, true) {
            body += &self.function(&method, scope, &signatures);
        }
        self.stub.types.push(format!("class {class_name}:\n{body}"));
        format!("    {name}: {class_name}\n")
    }

    fn constructor(&mut self, scope: &Scope<'p>, class: &'p Class<'p>, made: &str) -> String {
        let mut home = scope.clone();
        let mut of = class;
        let mut signatures = Vec::new();
        for _ in 0..BASES_MAX {
            signatures = constructors(of);
            if !signatures.is_empty() {
                break;
            }
            let Some((base, parent)) = self.base(&home, of) else { break };
            (home, of) = (base, parent);
        }
        // Its type variables are those of the class that is constructed.
        for signature in &mut signatures {
            signature.type_parameters = class.type_parameters.as_deref();
        }
        if signatures.is_empty() {
            // No argument says what its type variables are.
            let made = match (made.split_once('['), &class.type_parameters) {
                (Some((name, _)), Some(variables)) => format!("{name}[{}]", vec!["Any"; variables.params.len()].join(", ")),
                _ => made.to_owned(),
            };
            let params = if class.heritage.is_some() { "*args: Any" } else { "" };
            return format!("    @js_function\n    @staticmethod\n    def new({params}) -> {made}: ...\n");
        }
        self.made = Some(made.to_owned());
        let text = self.function("new", &home, &signatures);
        self.made = None;
        text
    }

    /// The class that another one extends, where it can be found.
    fn base(&mut self, scope: &Scope<'p>, class: &'p Class<'p>) -> Option<(Scope<'p>, &'p Class<'p>)> {
        let Expression::Identifier(name) = &class.heritage.as_ref()?.expression else { return None };
        match self.files.find(&scope.file, &name.name)? {
            (file, Local::Class(base, _)) => Some((Scope::of(&file), base)),
            _ => None,
        }
    }

    fn applied(&self, name: &str, variables: &[String]) -> String {
        if variables.is_empty() { name.to_owned() } else { format!("{name}[{}]", variables.join(", ")) }
    }

    /// The name of a class's instances.
    pub fn instance(&mut self, scope: &Scope<'p>, name: &str, class: &'p Class<'p>) -> String {
        let key = (scope.file.path.clone(), name.to_owned());
        if let Some(known) = self.names.get(&key) {
            return known.clone();
        }
        let own = self.unique(name);
        self.names.insert(key, own.clone());
        let inner = self.with_variables(scope, class.type_parameters.as_deref());
        let mut bases = Vec::new();
        let mut body = String::new();
        if let Some(heritage) = &class.heritage {
            match self.base(scope, class) {
                Some((home, base)) => {
                    let named = base.id.as_ref().map_or("Base", |id| id.name.as_str()).to_owned();
                    let parent = self.instance(&home, &named, base);
                    let count = base.type_parameters.as_ref().map_or(0, |parameters| parameters.params.len());
                    let arguments = heritage.type_arguments.as_ref().map_or(&[][..], |arguments| &arguments.params);
                    let arguments: Vec<String> = (0..count)
                        .map(|at| {
                            arguments.get(at).map_or_else(|| "Any".to_owned(), |kind| self.kind(&inner, kind, Way::ToPython))
                        })
                        .collect();
                    bases.push(self.applied(&parent, &arguments));
                }
                None => {
                    bases.push("JsObject".to_owned());
                    // Its names are those of a class that is not known here, too.
                    body += "    def __getattr__(self, name: str) -> Any: ...\n";
                }
            }
        } else {
            bases.push("JsObject".to_owned());
        }
        let variables = self.variables_of(&inner, class.type_parameters.as_deref());
        if !variables.is_empty() {
            bases.push(format!("Generic[{}]", variables.join(", ")));
        }
        body += &self.properties(&inner, class);
        for (method, signatures) in methods(class, false) {
            body += &self.function(&method, &inner, &signatures);
        }
        if body.is_empty() {
            body.push_str("    pass\n");
        }
        self.stub.types.push(format!("class {own}({}):\n{body}", bases.join(", ")));
        own
    }

    fn properties(&mut self, scope: &Scope<'p>, class: &'p Class<'p>) -> String {
        let mut body = String::new();
        for element in &class.body.body {
            match element {
                ClassElement::PropertyDefinition(property) if !property.r#static && is_public(property.accessibility) => {
                    let Some(name) = property.key.static_name().filter(|name| is_identifier(name)) else { continue };
                    let annotation = property.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
                    let local = match (annotation, &property.value) {
                        (None, Some(value)) => scope.file.value_of(value, property.span),
                        (annotation, value) => Local::Variable(annotation, value.as_ref(), property.span),
                    };
                    body += &self.member(&name, scope, local).unwrap_or_default();
                }
                ClassElement::MethodDefinition(method) if !method.r#static && is_public(method.accessibility) => {
                    if method.kind == MethodDefinitionKind::Get
                        && let Some(name) = method.key.static_name().filter(|name| is_identifier(name))
                    {
                        let documented = Documented::of(scope.file.comment_before(method.span));
                        let returns = method.value.return_type.as_ref().map(|annotation| &annotation.type_annotation);
                        let said = documented.kind.or(documented.returns);
                        let returns = returns.or_else(|| said.and_then(|said| self.files.parse_type(&said)));
                        let kind = returns.map_or_else(|| "Any".to_owned(), |kind| self.kind(scope, kind, Way::ToPython));
                        body += &format!("    {name}: JsValue[{kind}]\n");
                    }
                    if method.kind == MethodDefinitionKind::Constructor {
                        for param in
                            method.value.params.items.iter().filter(|param| param.accessibility.is_some() || param.readonly)
                        {
                            if let (BindingPattern::BindingIdentifier(id), true) =
                                (&param.pattern, is_public(param.accessibility))
                            {
                                let annotation = param.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
                                body += &self.variable(&id.name, scope, annotation, None, param.span);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        body
    }
}

fn is_public(accessibility: Option<TSAccessibility>) -> bool {
    matches!(accessibility, None | Some(TSAccessibility::Public))
}

/// Methods by name, each with its overloads or else alone.
fn methods<'p>(class: &'p Class<'p>, statics: bool) -> Vec<(String, Vec<Signature<'p>>)> {
    let mut found: Vec<(String, Vec<Signature<'p>>)> = Vec::new();
    for element in &class.body.body {
        let ClassElement::MethodDefinition(method) = element else { continue };
        if method.kind != MethodDefinitionKind::Method || method.r#static != statics || !is_public(method.accessibility) {
            continue;
        }
        let Some(name) = method.key.static_name().filter(|name| is_identifier(name)) else { continue };
        let signature = Signature::of(&method.value, method.span);
        match found.iter_mut().find(|(known, _)| *known == name) {
            // What implements overloads is none of them.
            Some((_, known)) if signature.body.is_none() => known.push(signature),
            Some(_) => {}
            None => found.push((name.into_owned(), vec![signature])),
        }
    }
    found
}

fn constructors<'p>(class: &'p Class<'p>) -> Vec<Signature<'p>> {
    let mut found = Vec::new();
    for element in &class.body.body {
        if let ClassElement::MethodDefinition(method) = element
            && method.kind == MethodDefinitionKind::Constructor
        {
            let signature = Signature { returns: None, ..Signature::of(&method.value, method.span) };
            if found.is_empty() || signature.body.is_none() {
                found.push(signature);
            }
        }
    }
    found
}
