//! Types of TypeScript as annotations of Python.

use oxc_ast::ast::*;
use oxc_span::Span;

use super::files::Local;
use super::functions::Signature;
use super::text::{quoted, union};
use super::{Meaning, Scope, Way, Writer};

/// Typed arrays, the types of NumPy that they are, and the kind of number in them.
const ARRAYS: [(&str, &str, &str); 10] = [
    ("Int8Array", "int8", "int"),
    ("Uint8ClampedArray", "uint8", "int"),
    ("Int16Array", "int16", "int"),
    ("Uint16Array", "uint16", "int"),
    ("Int32Array", "int32", "int"),
    ("Uint32Array", "uint32", "int"),
    ("BigInt64Array", "int64", "int"),
    ("BigUint64Array", "uint64", "int"),
    ("Float32Array", "float32", "float"),
    ("Float64Array", "float64", "float"),
];

impl<'p> Writer<'p, '_> {
    /// A type in Python; `Any` where it is unknown.
    pub fn kind(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>, way: Way) -> String {
        match kind {
            TSType::TSStringKeyword(_) | TSType::TSTemplateLiteralType(_) => "str".to_owned(),
            TSType::TSNumberKeyword(_) => "float".to_owned(),
            TSType::TSBooleanKeyword(_) | TSType::TSTypePredicate(_) => "bool".to_owned(),
            TSType::TSBigIntKeyword(_) => "int".to_owned(),
            TSType::TSNullKeyword(_) | TSType::TSUndefinedKeyword(_) | TSType::TSVoidKeyword(_) => "None".to_owned(),
            TSType::TSUnknownKeyword(_) if way == Way::FromPython => "object".to_owned(),
            TSType::TSObjectKeyword(_) => mapping("str", "Any", way),
            TSType::TSNeverKeyword(_) => "Never".to_owned(),
            TSType::TSArrayType(array) => list(&self.kind(scope, &array.element_type, way), way),
            TSType::TSTupleType(tuple) => self.tuple(scope, tuple, way),
            TSType::TSUnionType(parts) => union(parts.types.iter().map(|part| self.kind(scope, part, way)).collect()),
            TSType::TSParenthesizedType(inner) => self.kind(scope, &inner.type_annotation, way),
            TSType::TSNamedTupleMember(inner) => {
                inner.element_type.as_ts_type().map_or_else(|| "Any".to_owned(), |kind| self.kind(scope, kind, way))
            }
            TSType::JSDocNullableType(inner) => union(vec![self.kind(scope, &inner.type_annotation, way), "None".to_owned()]),
            TSType::JSDocNonNullableType(inner) => self.kind(scope, &inner.type_annotation, way),
            TSType::TSTypeOperatorType(inner) => match inner.operator {
                TSTypeOperatorOperator::Readonly => self.kind(scope, &inner.type_annotation, way),
                TSTypeOperatorOperator::Keyof => self.keys(scope, &inner.type_annotation),
                TSTypeOperatorOperator::Unique => "Any".to_owned(),
            },
            TSType::TSIndexedAccessType(access) => self.indexed(scope, access, way),
            TSType::TSLiteralType(literal) => literal_type(&literal.literal),
            TSType::TSFunctionType(function) => {
                self.callable(scope, &function.params, Some(&function.return_type.type_annotation), way)
            }
            TSType::TSTypeLiteral(literal) => self.literal(scope, kind, literal, way),
            TSType::TSIntersectionType(_) => self.anonymous(scope, kind),
            TSType::TSTypeReference(reference) => self.reference(scope, kind, reference, way),
            TSType::TSImportType(import) => self.import_type(scope, import, way),
            _ => "Any".to_owned(),
        }
    }

    fn anonymous(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>) -> String {
        match self.fields_of(scope, kind) {
            Some(fields) => self.object(scope, &fields),
            None => "Any".to_owned(),
        }
    }

    fn tuple(&mut self, scope: &Scope<'p>, tuple: &'p TSTupleType<'p>, way: Way) -> String {
        let item = |item: &'p TSTupleElement<'p>| match item {
            TSTupleElement::TSOptionalType(inner) => Some(&inner.type_annotation),
            other => other.as_ts_type(),
        };
        let items: Vec<String> = tuple
            .element_types
            .iter()
            .map(|one| item(one).map_or_else(|| "Any".to_owned(), |one| self.kind(scope, one, way)))
            .collect();
        if way == Way::FromPython && !items.is_empty() {
            format!("tuple[{}] | list[Any]", items.join(", "))
        } else {
            list(&union(items), way)
        }
    }

    /// `keyof T`.
    fn keys(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>) -> String {
        match self.fields_of(scope, kind) {
            Some(fields) if !fields.is_empty() => {
                union(fields.iter().map(|field| format!("Literal[{}]", quoted(&field.name))).collect())
            }
            _ => "str".to_owned(),
        }
    }

    /// `T['name']`, `T[number]` of an array.
    fn indexed(&mut self, scope: &Scope<'p>, access: &'p TSIndexedAccessType<'p>, way: Way) -> String {
        match (&access.object_type, &access.index_type) {
            (TSType::TSArrayType(array), TSType::TSNumberKeyword(_)) => self.kind(scope, &array.element_type, way),
            (object, TSType::TSLiteralType(index)) => {
                let TSLiteral::StringLiteral(name) = &index.literal else { return "Any".to_owned() };
                let field = self
                    .fields_of(scope, object)
                    .and_then(|fields| fields.into_iter().find(|field| field.name == name.value.as_str()));
                field.map_or_else(|| "Any".to_owned(), |field| self.field_kind(&field))
            }
            _ => "Any".to_owned(),
        }
    }

    /// An object's type without a name: a dict if it has an index, a function if it is called, else its fields.
    fn literal(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>, literal: &'p TSTypeLiteral<'p>, way: Way) -> String {
        match &literal.members[..] {
            [TSSignature::TSIndexSignature(index)] => {
                mapping("str", &self.kind(scope, &index.type_annotation.type_annotation, way), way)
            }
            [TSSignature::TSCallSignatureDeclaration(call)] => {
                let returns = call.return_type.as_ref().map(|annotation| &annotation.type_annotation);
                self.callable(scope, &call.params, returns, way)
            }
            _ => self.anonymous(scope, kind),
        }
    }

    /// A function that is passed on. One of JavaScript's is awaited; one of Python's may be a coroutine function or not.
    pub fn callable(
        &mut self,
        scope: &Scope<'p>,
        params: &'p FormalParameters<'p>,
        returns: Option<&'p TSType<'p>>,
        way: Way,
    ) -> String {
        let (given, got) = if way == Way::ToPython { (Way::FromPython, Way::ToPython) } else { (Way::ToPython, Way::FromPython) };
        let exact = params.rest.is_none() && params.items.iter().all(|param| !param.optional && param.initializer.is_none());
        let arguments: Vec<String> = params
            .items
            .iter()
            .map(|param| {
                param
                    .type_annotation
                    .as_ref()
                    .map_or_else(|| "Any".to_owned(), |kind| self.kind(scope, &kind.type_annotation, given))
            })
            .collect();
        let result = match returns {
            None => "Any".to_owned(),
            Some(TSType::TSVoidKeyword(_)) if way != Way::ToPython => "object".to_owned(),
            Some(returns) => self.kind(scope, returns, got),
        };
        let result = match (way, &*result) {
            (Way::ToPython, _) => format!("Awaitable[{result}]"),
            (_, "Any" | "object") => result,
            _ => format!("{result} | Awaitable[{result}]"),
        };
        let arguments = if exact { format!("[{}]", arguments.join(", ")) } else { "...".to_owned() };
        format!("Callable[{arguments}, {result}]")
    }

    fn reference(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>, reference: &'p TSTypeReference<'p>, way: Way) -> String {
        let arguments: &'p [TSType<'p>] = reference.type_arguments.as_ref().map_or(&[], |arguments| &arguments.params);
        if let TSTypeName::IdentifierReference(id) = &reference.type_name {
            match scope.variables.get(id.name.as_str()).cloned() {
                Some(Meaning::Variable(name)) => return name,
                Some(Meaning::Type(kind, home)) => return self.kind(&home, kind, way),
                Some(Meaning::Unknown) => return "Any".to_owned(),
                None => {}
            }
        }
        if let Some((home, name, local)) = self.resolve(scope, &reference.type_name) {
            return self.local_type(&home, &name, local, scope, arguments, way);
        }
        match &reference.type_name {
            TSTypeName::IdentifierReference(id) => match id.name.as_str() {
                "Partial" | "Required" | "Pick" | "Omit" => self.anonymous(scope, kind),
                name => self.known(scope, name, arguments, way),
            },
            _ => "Any".to_owned(),
        }
    }

    /// Names of JavaScript itself, of TypeScript and of the module `bireme`.
    fn known(&mut self, scope: &Scope<'p>, name: &str, arguments: &'p [TSType<'p>], way: Way) -> String {
        let mut argument = |at: usize| arguments.get(at).map_or_else(|| "Any".to_owned(), |kind| self.kind(scope, kind, way));
        match name {
            "Promise" | "PromiseLike" | "Awaited" | "Readonly" | "NonNullable" => argument(0),
            "Array" | "ReadonlyArray" => list(&argument(0), way),
            // The keys of objects are strings, whatever is written.
            "Record" | "Object" => {
                mapping(&if argument(0) == "float" { "str".to_owned() } else { argument(0) }, &argument(1), way)
            }
            "Map" | "ReadonlyMap" => mapping(&argument(0), &argument(1), way),
            "Set" | "ReadonlySet" => format!("set[{}]", argument(0)),
            "Iterable" if way == Way::FromPython => format!("Iterable[{}]", argument(0)),
            "AsyncIterable" | "AsyncIterableIterator" | "AsyncGenerator" | "AsyncIterator" | "ReadableStream"
                if way == Way::FromPython =>
            {
                let item = argument(0);
                format!("AsyncIterable[{item}] | Iterator[{item}]")
            }
            "AsyncIterable"
            | "AsyncIterableIterator"
            | "AsyncGenerator"
            | "AsyncIterator"
            | "ReadableStream"
            | "Generator"
            | "Iterator"
            | "IterableIterator" => format!("AsyncIterable[{}]", argument(0)),
            "Date" | "ZonedDate" | "PlainDateTime" => "datetime.datetime".to_owned(),
            "PlainDate" => "datetime.date".to_owned(),
            "PlainTime" => "datetime.time".to_owned(),
            "Duration" => "datetime.timedelta".to_owned(),
            "Decimal" => "decimal.Decimal".to_owned(),
            "Uuid" => "uuid.UUID".to_owned(),
            "RegExp" => "re.Pattern[str]".to_owned(),
            "Error" | "TypeError" | "RangeError" | "SyntaxError" | "AggregateError" => "BaseException".to_owned(),
            "Buffer" | "Uint8Array" | "ArrayBuffer" if way == Way::FromPython => "bytes | bytearray | memoryview".to_owned(),
            "Buffer" | "Uint8Array" | "ArrayBuffer" => "bytes".to_owned(),
            "NdArray" if self.numpy => "NDArray[Any]".to_owned(),
            "Function" => "Callable[..., Any]".to_owned(),
            // JSDoc's other spellings.
            "String" => "str".to_owned(),
            "Number" => "float".to_owned(),
            "Boolean" => "bool".to_owned(),
            "object" => mapping("str", "Any", way),
            _ => self.array(name, way),
        }
    }

    /// A typed array is one of NumPy where that is installed.
    fn array(&self, name: &str, way: Way) -> String {
        let Some((_, dtype, number)) = ARRAYS.iter().find(|(array, ..)| *array == name) else { return "Any".to_owned() };
        let (numpy, plain) = (format!("NDArray[np.{dtype}]"), format!("array.array[{number}]"));
        match (self.numpy, way) {
            (true, Way::FromPython) => format!("{numpy} | {plain}"),
            (true, _) => numpy,
            (false, _) => plain,
        }
    }

    /// What a name of types leads to, with the file that has it and its name there.
    pub fn resolve(&mut self, scope: &Scope<'p>, name: &'p TSTypeName<'p>) -> Option<(Scope<'p>, String, Local<'p>)> {
        let (file, local) = match name {
            TSTypeName::IdentifierReference(id) => self.files.find(&scope.file, &id.name)?,
            TSTypeName::QualifiedName(qualified) => {
                let TSTypeName::IdentifierReference(left) = &qualified.left else { return None };
                let origin = self.files.namespace(&scope.file, &left.name)?;
                self.files.exported(&origin, &qualified.right.name, 0)?
            }
            TSTypeName::ThisExpression(_) => return None,
        };
        let named = match local {
            Local::Interface(interface) => interface.id.name.to_string(),
            Local::Alias(alias) => alias.id.name.to_string(),
            Local::Class(class, _) => class.id.as_ref()?.name.to_string(),
            Local::Enum(declared) => declared.id.name.to_string(),
            _ => return None,
        };
        Some((Scope::of(&file), named, local))
    }

    fn import_type(&mut self, scope: &Scope<'p>, import: &'p TSImportType<'p>, way: Way) -> String {
        let arguments: &'p [TSType<'p>] = import.type_arguments.as_ref().map_or(&[], |arguments| &arguments.params);
        match self.imported_type(scope, import) {
            Some((home, name, local)) => self.local_type(&home, &name, local, scope, arguments, way),
            None => "Any".to_owned(),
        }
    }

    /// What `import('./types').Name` leads to.
    pub fn imported_type(&mut self, scope: &Scope<'p>, import: &'p TSImportType<'p>) -> Option<(Scope<'p>, String, Local<'p>)> {
        let Some(TSImportTypeQualifier::Identifier(name)) = &import.qualifier else { return None };
        let origin = self.files.imported(&scope.file.path, &import.source.value)?;
        let (file, local) = self.files.exported(&origin, &name.name, 0)?;
        Some((Scope::of(&file), name.name.to_string(), local))
    }

    fn local_type(
        &mut self,
        home: &Scope<'p>,
        name: &str,
        local: Local<'p>,
        scope: &Scope<'p>,
        arguments: &'p [TSType<'p>],
        way: Way,
    ) -> String {
        match local {
            Local::Interface(interface) => {
                if let [TSSignature::TSIndexSignature(index)] = &interface.body.body[..] {
                    return mapping("str", &self.kind(home, &index.type_annotation.type_annotation, way), way);
                }
                let texts: Vec<String> = arguments.iter().map(|kind| self.kind(scope, kind, Way::Both)).collect();
                let fields = |writer: &mut Self, inner: &Scope<'p>| writer.fields_of_interface(inner, interface);
                self.record(home, name, interface.type_parameters.as_deref(), &texts, fields).unwrap_or_else(|| "Any".to_owned())
            }
            Local::Alias(alias) => self.alias(home, name, alias, scope, arguments, way),
            Local::Enum(declared) => union(enum_members(declared).into_iter().map(|(_, kind)| kind).collect()),
            Local::Class(class, _) => {
                let instance = self.instance(home, name, class);
                let count = class.type_parameters.as_ref().map_or(0, |parameters| parameters.params.len());
                let texts: Vec<String> = (0..count)
                    .map(|at| arguments.get(at).map_or_else(|| "Any".to_owned(), |kind| self.kind(scope, kind, Way::Both)))
                    .collect();
                if texts.is_empty() { instance } else { format!("{instance}[{}]", texts.join(", ")) }
            }
            _ => "Any".to_owned(),
        }
    }

    fn alias(
        &mut self,
        home: &Scope<'p>,
        name: &str,
        alias: &'p TSTypeAliasDeclaration<'p>,
        scope: &Scope<'p>,
        arguments: &'p [TSType<'p>],
        way: Way,
    ) -> String {
        let is_object = matches!(&alias.type_annotation, TSType::TSTypeLiteral(_) | TSType::TSIntersectionType(_));
        if is_object {
            let texts: Vec<String> = arguments.iter().map(|kind| self.kind(scope, kind, Way::Both)).collect();
            let fields = |writer: &mut Self, inner: &Scope<'p>| writer.fields_of(inner, &alias.type_annotation);
            if let Some(record) = self.record(home, name, alias.type_parameters.as_deref(), &texts, fields) {
                return record;
            }
        }
        let key = (home.file.path.clone(), name.to_owned());
        if !self.busy.insert(key.clone()) {
            return "Any".to_owned();
        }
        let inner = self.substituted(home, alias.type_parameters.as_deref(), arguments, scope);
        let text = self.kind(&inner, &alias.type_annotation, way);
        self.busy.remove(&key);
        text
    }

    /// The function that a type is, if it is one.
    pub fn as_function(&mut self, scope: &Scope<'p>, kind: &'p TSType<'p>, span: Span) -> Option<(Signature<'p>, Scope<'p>)> {
        match kind {
            TSType::TSFunctionType(function) => Some((Signature::of_type(function, span), scope.clone())),
            TSType::TSParenthesizedType(inner) => self.as_function(scope, &inner.type_annotation, span),
            TSType::TSTypeReference(reference) => {
                let (home, _, Local::Alias(alias)) = self.resolve(scope, &reference.type_name)? else { return None };
                let TSType::TSFunctionType(function) = &alias.type_annotation else { return None };
                let arguments: &'p [TSType<'p>] = reference.type_arguments.as_ref().map_or(&[], |arguments| &arguments.params);
                let inner = self.substituted(&home, alias.type_parameters.as_deref(), arguments, scope);
                Some((Signature::of_type(function, span), inner))
            }
            _ => None,
        }
    }

    // Type variables

    /// The scope in which a declaration's type variables are what its arguments are.
    pub fn substituted(
        &self,
        home: &Scope<'p>,
        parameters: Option<&'p TSTypeParameterDeclaration<'p>>,
        arguments: &'p [TSType<'p>],
        scope: &Scope<'p>,
    ) -> Scope<'p> {
        let parameters = parameters.into_iter().flat_map(|parameters| parameters.params.iter()).enumerate();
        home.within(parameters.map(|(at, parameter)| {
            let meaning = match (arguments.get(at), &parameter.default) {
                (Some(argument), _) => Meaning::Type(argument, scope.clone()),
                (None, Some(default)) => Meaning::Type(default, home.clone()),
                (None, None) => Meaning::Unknown,
            };
            (parameter.name.name.to_string(), meaning)
        }))
    }

    /// The scope in which a declaration's type variables are variables of Python's.
    pub fn with_variables(&mut self, scope: &Scope<'p>, parameters: Option<&'p TSTypeParameterDeclaration<'p>>) -> Scope<'p> {
        let mut inner = scope.clone();
        for parameter in parameters.into_iter().flat_map(|parameters| parameters.params.iter()) {
            let bound = parameter.constraint.as_ref().map(|bound| self.kind(&inner, bound, Way::ToPython));
            // A bound that mentions other variables is more than Python can say.
            let bound = bound.filter(|bound| bound != "Any" && inner.free().iter().all(|name| !bound.contains(name)));
            let declared = self.declare_variable(&parameter.name.name, bound);
            inner = inner.within([(parameter.name.name.to_string(), Meaning::Variable(declared))]);
        }
        inner
    }

    /// Their names in Python.
    pub fn variables_of(&self, scope: &Scope<'p>, parameters: Option<&'p TSTypeParameterDeclaration<'p>>) -> Vec<String> {
        let names = parameters.into_iter().flat_map(|parameters| parameters.params.iter()).filter_map(|parameter| {
            match scope.variables.get(parameter.name.name.as_str()) {
                Some(Meaning::Variable(name)) => Some(name.clone()),
                _ => None,
            }
        });
        names.collect()
    }

    /// The name of a variable of Python's; one for each name and bound.
    pub fn declare_variable(&mut self, name: &str, bound: Option<String>) -> String {
        let bound = bound.map_or_else(String::new, |bound| format!(", bound={bound}"));
        let mut number = 1;
        loop {
            let declared = if number == 1 { format!("_{name}") } else { format!("_{name}{number}") };
            let text = format!("TypeVar(\"{declared}\"{bound})");
            match self.stub.variables.get(&declared) {
                Some(known) if *known != text => number += 1,
                Some(_) => return declared,
                None => {
                    self.stub.variables.insert(declared.clone(), text);
                    return declared;
                }
            }
        }
    }
}

fn list(item: &str, way: Way) -> String {
    if way == Way::FromPython { format!("Sequence[{item}]") } else { format!("list[{item}]") }
}

fn mapping(key: &str, value: &str, way: Way) -> String {
    if way == Way::FromPython { format!("Mapping[{key}, {value}]") } else { format!("dict[{key}, {value}]") }
}

fn literal_type(literal: &TSLiteral<'_>) -> String {
    match literal {
        TSLiteral::StringLiteral(text) => format!("Literal[{}]", quoted(&text.value)),
        TSLiteral::NumericLiteral(number) => number_type(number.value),
        TSLiteral::UnaryExpression(unary) => match &unary.argument {
            Expression::NumericLiteral(number) if unary.operator == UnaryOperator::UnaryNegation => number_type(-number.value),
            _ => "float".to_owned(),
        },
        TSLiteral::BooleanLiteral(boolean) => format!("Literal[{}]", if boolean.value { "True" } else { "False" }),
        TSLiteral::BigIntLiteral(_) => "int".to_owned(),
        TSLiteral::TemplateLiteral(_) => "str".to_owned(),
    }
}

/// Whole numbers are literals; others Python has no literal type for.
fn number_type(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("Literal[{number}]") } else { "float".to_owned() }
}

/// An enum's members and the types of their values: a number counts on from the one before it.
pub fn enum_members(declared: &TSEnumDeclaration<'_>) -> Vec<(String, String)> {
    let mut next = Some(0.0);
    let member = |member: &TSEnumMember<'_>| {
        let negative = |unary: &UnaryExpression<'_>| match &unary.argument {
            Expression::NumericLiteral(number) if unary.operator == UnaryOperator::UnaryNegation => Some(-number.value),
            _ => None,
        };
        let (kind, number) = match &member.initializer {
            None => (next.map_or_else(|| "int".to_owned(), number_type), next),
            Some(Expression::NumericLiteral(number)) => (number_type(number.value), Some(number.value)),
            Some(Expression::UnaryExpression(unary)) => {
                (negative(unary).map_or_else(|| "float".to_owned(), number_type), negative(unary))
            }
            Some(Expression::StringLiteral(text)) => (format!("Literal[{}]", quoted(&text.value)), None),
            Some(_) => ("int | str".to_owned(), None),
        };
        next = number.map(|number| number + 1.0);
        let name = match &member.id {
            TSEnumMemberName::ComputedTemplateString(_) => String::new(),
            name => name.static_name().to_string(),
        };
        (name, kind)
    };
    declared.body.members.iter().map(member).collect()
}
