//! Objects that cross by value: `TypedDict`s.

use std::collections::BTreeMap;

use oxc_ast::ast::*;

use super::files::Local;
use super::functions::Signature;
use super::text::{is_identifier, quoted, used};
use super::{Meaning, Scope, Way, Writer};

/// One property of an object's type.
#[derive(Clone)]
pub struct Field<'p> {
    pub name: String,
    pub optional: bool,
    pub kind: FieldKind<'p>,
    pub scope: Scope<'p>,
}

#[derive(Clone)]
pub enum FieldKind<'p> {
    Type(&'p TSType<'p>),
    Function(Signature<'p>),
    Text(&'static str),
}

impl<'p> Writer<'p, '_> {
    pub fn field_kind(&mut self, field: &Field<'p>) -> String {
        match &field.kind {
            FieldKind::Type(kind) => self.kind(&field.scope, kind, Way::Both),
            FieldKind::Function(signature) => self.callable(&field.scope, signature.params, signature.returns, Way::Both),
            FieldKind::Text(text) => (*text).to_owned(),
        }
    }

    /// The fields of an object's type; `None` when it is no object, or has anything but fields.
    pub fn fields_of(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>) -> Option<Vec<Field<'p>>> {
        match kind {
            TSType::TSTypeLiteral(literal) => members(scope, &literal.members),
            TSType::TSParenthesizedType(inner) => self.fields_of(scope, &inner.type_annotation),
            TSType::TSIntersectionType(parts) => {
                let mut merged = BTreeMap::new();
                for (at, part) in parts.types.iter().enumerate() {
                    for (inner, field) in self.fields_of(scope, part)?.into_iter().enumerate() {
                        let place = merged.get(&field.name).map_or((at, inner), |(place, _)| *place);
                        merged.insert(field.name.clone(), (place, field));
                    }
                }
                let mut fields: Vec<_> = merged.into_values().collect();
                fields.sort_by_key(|(place, _)| *place);
                Some(fields.into_iter().map(|(_, field)| field).collect())
            }
            TSType::TSTypeReference(reference) => self.fields_of_reference(scope, reference),
            TSType::TSImportType(import) => {
                let (home, name, local) = self.imported_type(scope, import)?;
                let arguments = import.type_arguments.as_ref().map_or(&[][..], |arguments| &arguments.params);
                self.fields_of_local(&home, name, local, scope, arguments)
            }
            _ => None,
        }
    }

    fn fields_of_reference(&mut self, scope: &Scope<'p>, reference: &'p TSTypeReference<'p>) -> Option<Vec<Field<'p>>> {
        let arguments: &'p [TSType<'p>] = reference.type_arguments.as_ref().map_or(&[], |arguments| &arguments.params);
        if let TSTypeName::IdentifierReference(id) = &reference.type_name {
            if let Some(Meaning::Type(kind, home)) = scope.variables.get(id.name.as_str()) {
                return self.fields_of(&home.clone(), kind);
            }
            let changed =
                |fields: Vec<Field<'p>>, optional| fields.into_iter().map(|field| Field { optional, ..field }).collect();
            match (id.name.as_str(), arguments) {
                ("Partial", [of]) => return Some(changed(self.fields_of(scope, of)?, true)),
                ("Required", [of]) => return Some(changed(self.fields_of(scope, of)?, false)),
                ("Readonly" | "NonNullable", [of]) => return self.fields_of(scope, of),
                ("Pick", [of, names]) => return self.chosen(scope, of, names, true),
                ("Omit", [of, names]) => return self.chosen(scope, of, names, false),
                _ => {}
            }
        }
        let (home, name, local) = self.resolve(scope, &reference.type_name)?;
        self.fields_of_local(&home, name, local, scope, arguments)
    }

    fn fields_of_local(
        &mut self,
        home: &Scope<'p>,
        name: String,
        local: Local<'p>,
        scope: &Scope<'p>,
        arguments: &'p [TSType<'p>],
    ) -> Option<Vec<Field<'p>>> {
        match local {
            Local::Interface(interface) => {
                let inner = self.substituted(home, interface.type_parameters.as_deref(), arguments, scope);
                self.fields_of_interface(&inner, interface)
            }
            Local::Alias(alias) => {
                let key = (home.file.path.clone(), name);
                if !self.busy.insert(key.clone()) {
                    return None;
                }
                let inner = self.substituted(home, alias.type_parameters.as_deref(), arguments, scope);
                let fields = self.fields_of(&inner, &alias.type_annotation);
                self.busy.remove(&key);
                fields
            }
            _ => None,
        }
    }

    /// With those of the interfaces that it extends.
    pub fn fields_of_interface(
        &mut self,
        scope: &Scope<'p>,
        interface: &'p TSInterfaceDeclaration<'p>,
    ) -> Option<Vec<Field<'p>>> {
        let own = members(scope, &interface.body.body)?;
        let key = (scope.file.path.clone(), format!("interface {}", interface.id.name));
        if !self.busy.insert(key.clone()) {
            return None;
        }
        let mut fields: Option<Vec<Field<'p>>> = Some(Vec::new());
        for parent in &interface.extends {
            let arguments: &'p [TSType<'p>] = parent.type_arguments.as_ref().map_or(&[], |arguments| &arguments.params);
            let found = self.resolve(scope, &parent.type_name);
            let inherited = found.and_then(|(home, name, local)| self.fields_of_local(&home, name, local, scope, arguments));
            fields = fields.zip(inherited).map(|(mut fields, inherited)| {
                fields.extend(inherited);
                fields
            });
        }
        self.busy.remove(&key);
        let mut fields = fields?;
        fields.retain(|field| own.iter().all(|of| of.name != field.name));
        fields.extend(own);
        Some(fields)
    }

    fn chosen(&mut self, scope: &Scope<'p>, of: &'p TSType<'p>, names: &'p TSType<'p>, kept: bool) -> Option<Vec<Field<'p>>> {
        let names = literal_names(names)?;
        let fields = self.fields_of(scope, of)?;
        Some(fields.into_iter().filter(|field| names.contains(&field.name) == kept).collect())
    }

    /// A named type, with its arguments: `Page[float]`. `None` when it is no plain object.
    pub fn record(
        &mut self,
        home: &Scope<'p>,
        name: &str,
        parameters: Option<&'p TSTypeParameterDeclaration<'p>>,
        arguments: &[String],
        fields: impl FnOnce(&mut Self, &Scope<'p>) -> Option<Vec<Field<'p>>>,
    ) -> Option<String> {
        let key = (home.file.path.clone(), name.to_owned());
        if !self.names.contains_key(&key) {
            let scope = self.with_variables(home, parameters);
            // Known before its fields: it may contain itself.
            let own = self.unique(name);
            self.names.insert(key.clone(), own.clone());
            let Some(fields) = fields(self, &scope) else {
                self.names.remove(&key);
                self.taken.remove(&own);
                return None;
            };
            let variables: Vec<String> = self.variables_of(&scope, parameters);
            let text = self.typed_dict(&own, &variables, &fields);
            self.stub.types.push(text);
        }
        let own = &self.names[&key];
        let count = parameters.map_or(0, |parameters| parameters.params.len());
        if count == 0 {
            return Some(own.clone());
        }
        let arguments: Vec<&str> = (0..count).map(|at| arguments.get(at).map_or("Any", String::as_str)).collect();
        Some(format!("{own}[{}]", arguments.join(", ")))
    }

    fn typed_dict(&mut self, name: &str, variables: &[String], fields: &[Field<'p>]) -> String {
        let mut body = String::new();
        let mut pairs = Vec::new();
        for field in fields {
            let kind = self.field_kind(field);
            let kind = if field.optional { format!("NotRequired[{kind}]") } else { kind };
            body += &format!("    {}: {kind}\n", field.name);
            pairs.push(format!("{}: {kind}", quoted(&field.name)));
        }
        if fields.iter().any(|field| !is_identifier(&field.name)) {
            return format!("{name} = TypedDict(\"{name}\", {{{}}})\n", pairs.join(", "));
        }
        let generic = if variables.is_empty() { String::new() } else { format!(", Generic[{}]", variables.join(", ")) };
        format!("class {name}(TypedDict{generic}):\n{}", if body.is_empty() { "    pass\n" } else { &body })
    }

    /// An object's type without a name; the same object again has the name that it had.
    pub fn object(&mut self, scope: &Scope<'p>, fields: &[Field<'p>]) -> String {
        if fields.is_empty() {
            return "dict[str, Any]".to_owned();
        }
        let text = self.typed_dict("Object", &[], fields);
        let free = scope.free();
        let variables: Vec<String> = used(&free, &text).into_iter().map(str::to_owned).collect();
        let name = match self.objects.get(&text) {
            Some(name) => name.clone(),
            None => {
                let mut number = 1;
                while self.taken.contains(&format!("Object{number}")) {
                    number += 1;
                }
                let name = self.unique(&format!("Object{number}"));
                let whole = self.typed_dict(&name, &variables, fields);
                self.stub.types.push(whole);
                self.objects.insert(text, name.clone());
                name
            }
        };
        if variables.is_empty() { name } else { format!("{name}[{}]", variables.join(", ")) }
    }
}

/// Fields and methods; `None` when there is anything else.
fn members<'p>(scope: &Scope<'p>, members: &'p [TSSignature<'p>]) -> Option<Vec<Field<'p>>> {
    let field = |member: &'p TSSignature<'p>| {
        let (key, optional, kind) = match member {
            TSSignature::TSPropertySignature(property) => {
                let kind = property.type_annotation.as_ref().map(|annotation| &annotation.type_annotation);
                (&property.key, property.optional, kind.map_or(FieldKind::Text("Any"), FieldKind::Type))
            }
            TSSignature::TSMethodSignature(method) if method.kind == TSMethodSignatureKind::Method => {
                (&method.key, method.optional, FieldKind::Function(Signature::of_method(method)))
            }
            _ => return None,
        };
        Some(Field { name: key.static_name()?.into_owned(), optional, kind, scope: scope.clone() })
    };
    members.iter().map(field).collect()
}

/// `'a' | 'b'`.
fn literal_names(kind: &TSType<'_>) -> Option<Vec<String>> {
    match kind {
        TSType::TSLiteralType(literal) => match &literal.literal {
            TSLiteral::StringLiteral(text) => Some(vec![text.value.to_string()]),
            _ => None,
        },
        TSType::TSUnionType(parts) => {
            let names: Option<Vec<Vec<String>>> = parts.types.iter().map(literal_names).collect();
            names.map(|names| names.concat())
        }
        _ => None,
    }
}
