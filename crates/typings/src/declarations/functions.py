"""Functions, classes as they are called, and values: what a file gives to those who import it."""

import ast
import itertools
from collections import namedtuple

from .annotations import PARAMETER, RESULT, STREAMS, parsed
from .classes import RECORDS, Classes, called, is_alias, value_type
from .files import Scope
from .text import array_of, comment, docstring, documented_types, label, property_name, split_union

# Of a name whose value only running the file would tell: it may be a function as well.
ANYTHING = "PythonFunction<any[], any, PythonStream<any> & Promise<any>> & PythonValue<any>"
# Signatures that type variables of plain types are written out as.
OVERLOADS_MAX = 8
# What type checkers alone know.
VARIABLES = ("TypeVar", "ParamSpec", "TypeVarTuple")
# Positional arguments as a tuple's text, keywords as an object's, whether a keyword must be given, and the result.
Signature = namedtuple("Signature", "places keywords required result")


class Functions(Classes):
    """Functions and what else a file exports."""

    def signature(self, scope, node, skip, batch=False):
        documented = documented_types(ast.get_docstring(node) or "")
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        only = len(arguments.posonlyargs)
        first_default = len(positional) - len(arguments.defaults)
        places, keywords, required = [], [], False

        def kind(argument):
            annotation = argument.annotation
            if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
                annotation = parsed(annotation.value)
            if batch and isinstance(annotation, ast.Subscript):
                annotation = annotation.slice
            if annotation is not None:
                return self.type(scope, annotation, PARAMETER)
            return self.parsed(scope, documented[argument.arg], PARAMETER) if argument.arg in documented else "any"

        for at, argument in enumerate(positional):
            if at < skip:
                continue
            text, optional = kind(argument), "?" if at >= first_default else ""
            places.append(f"{label(argument.arg)}{optional}: {text}")
            if at >= only:
                keywords.append(f"{property_name(argument.arg)}?: {text}")
        if arguments.vararg:
            places.append(f"...{label(arguments.vararg.arg)}: {array_of(kind(arguments.vararg))}")
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
            required = required or default is None
            keywords.append(f"{property_name(argument.arg)}{'' if default is None else '?'}: {kind(argument)}")
        if arguments.kwarg:
            more, must = self.more_keywords(scope, arguments.kwarg.annotation, not keywords)
            keywords += more
            required = required or must
        return Signature(f"[{', '.join(places)}]", keywords_of(keywords), required, self.returned(scope, node, batch))

    def more_keywords(self, scope, annotation, alone):
        """What `**kwargs` takes: the keys of `Unpack[…]` of a TypedDict, or any; whether one of them must be given."""
        if isinstance(annotation, ast.Subscript) and scope.module.short(annotation.value) == "Unpack":
            found = self.files.find(scope.module, annotation.slice)
            if found and isinstance(found[1], ast.ClassDef):
                fields = self.fields(Scope(found[0]), found[1])
                lines = [f"{property_name(n)}{'?' if f.absent else ''}: {self.type(f.scope, f.annotation, PARAMETER)}" for n, f in fields.items()]
                return lines, not all(field.absent for field in fields.values())
        # Beside other keywords an index would have to hold for those, too.
        return [f"[name: string]: {self.type(scope, annotation, PARAMETER) if alone else 'any'}"], False

    def function(self, scope, node, skip=0):
        """The type of a function, with its overloads and type variables."""
        batch = any(scope.module.dotted(called(mark)) == "bireme.batch" for mark in node.decorator_list)
        # Overloads stand beside what they are of: at the top level, or in its class.
        signatures = []
        for one in self.overloads(scope, node) or [node]:
            for inner, variables in self.meanings(scope, one):
                wide = scope.within({**inner.variables, **self.bound(variables, None)})
                generics = self.generics(variables)
                signatures.append((generics, self.signature(inner, one, skip, batch), self.signature(wide, one, skip, batch)))
        if len(signatures) == 1 and not signatures[0][0]:
            return self.simple(scope, node, signatures[0][1])
        calls = [f"({generics}(...args: {exact.places}) => {exact.result})" for generics, exact, _ in signatures if not exact.required]
        keywords = " | ".join(dict.fromkeys(wide.keywords for _, _, wide in signatures))
        results = " | ".join(dict.fromkeys(wide.result for _, _, wide in signatures))
        return " & ".join([f"PythonOptions<{keywords}, PythonFunction<any[], {keywords}, {results}>>", *calls])

    def meanings(self, scope, node):
        """The scopes in which a function is written, each with its type variables. One that may be a few plain types is
        each of these in turn: TypeScript would take the literal `2` for it and expect that back."""
        variables = self.variables_of(scope, node, [*(one.annotation for one in ast.walk(node.args) if isinstance(one, ast.arg)), node.returns])
        plain = {name: limits for name, limits in variables.items() if limits and all(is_plain(limit(PARAMETER)) for limit in limits)}
        free = {name: limits for name, limits in variables.items() if name not in plain}
        choices = list(itertools.product(*plain.values()))
        if len(choices) > OVERLOADS_MAX:
            plain, free, choices = {}, variables, [()]
        return [(scope.within({**self.as_themselves(free), **dict(zip(plain, choice))}), free) for choice in choices]

    def overloads(self, scope, node):
        if scope.module.local.get(node.name) is node:
            return scope.module.overloads.get(node.name)
        return self.class_overloads.get((scope.module.path, id(node)))

    def simple(self, scope, node, signature):
        parts = f"{signature.places}, {signature.keywords}"
        if signature.required:
            return f"PythonKeywordFunction<{parts}, {signature.result}>"
        instance = self.made_instance(scope, node)
        return f"PythonFactory<{parts}, {instance}>" if instance else f"PythonFunction<{parts}, {signature.result}>"

    def made_instance(self, scope, node):
        """The interface of the object that a function gives, if that cannot cross but by `new`; else None."""
        gives = node.returns
        if isinstance(gives, ast.Constant) and isinstance(gives.value, str):
            gives = parsed(gives.value)
        if isinstance(gives, ast.Name) and scope.module.short(gives) == "Self" and "Self" in scope.variables:
            return scope.variables["Self"](RESULT)
        found = self.files.find(scope.module, gives.value if isinstance(gives, ast.Subscript) else gives)
        if found and isinstance(found[1], ast.ClassDef) and self.kind(Scope(found[0]), found[1]) in ("class", "unknown"):
            return self.type(scope, gives, RESULT)
        return None

    def returned(self, scope, node, batch=False):
        gives = node.returns
        if isinstance(gives, ast.Constant) and isinstance(gives.value, str):
            gives = parsed(gives.value)
        name = scope.module.short(gives.value if isinstance(gives, ast.Subscript) else gives)
        if yields(node) or name in STREAMS:
            items = gives.slice.elts[0] if isinstance(getattr(gives, "slice", None), ast.Tuple) else getattr(gives, "slice", None)
            return f"PythonStream<{self.type(scope, items, RESULT)}>"
        if batch and isinstance(gives, ast.Subscript):
            gives = gives.slice
        if gives is None:
            documented = documented_types(ast.get_docstring(node) or "").get("return")
            if documented:
                return f"Promise<{self.parsed(scope, documented, RESULT)}>"
            return "Promise<null>" if returns_nothing(node) else "Promise<any>"
        return f"Promise<{self.type(scope, gives, RESULT)}>"

    # What is exported

    def export(self, name):
        """(type, documentation) of an exported name; None for a type alias, which is a type alone."""
        found = self.files.named(self.module, name)
        if found is None:
            return ANYTHING, None
        module, definition = found
        scope = Scope(module)
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return self.function(scope, definition), docstring(definition)
        if isinstance(definition, ast.ClassDef):
            return self.exported_class(scope, definition), docstring(definition)
        kind = scope.module.short(called(getattr(definition, "value", None)))
        if kind in VARIABLES and isinstance(definition.value, ast.Call):
            return None
        if is_alias(scope, definition) or kind in ("NewType", "TypeAliasType") and isinstance(definition.value, ast.Call):
            variables = self.variables_of(scope, definition, [definition.value])
            text = self.alias(scope, definition, RESULT, list(self.as_themselves(variables).values()))
            self.interfaces[name] = f"export type {name}{self.generics(variables)} = {text};\n"
            return None
        annotation, value = getattr(definition, "annotation", None), getattr(definition, "value", None)
        if annotation is not None and scope.module.short(annotation) != "Final":
            return f"PythonValue<{self.type(scope, annotation, RESULT)}>", None
        plain = isinstance(getattr(definition, "targets", [None])[0], ast.Name) or annotation is not None
        text = value_type(value) if plain else "any"
        return (ANYTHING if text == "any" else f"PythonValue<{text}>"), None

    def exported_class(self, scope, node):
        kind = self.kind(scope, node)
        if kind == "enum":
            name = self.name_of(scope.module, node)
            members = "".join(f"  readonly {property_name(one)}: PythonValue<{value or 'any'}>;\n" for one, value in self.members_of(scope, node))
            self.interfaces[name] = f"export type {name} = {self.enum(scope, node)};\n"
            return f"{{\n{members}}}"
        if kind in RECORDS:
            return self.exported_record(scope, node, kind)
        if kind == "error":
            return "PythonFunction<any[], any, Promise<Error>>"
        if kind not in ("class", "unknown"):
            return f"PythonFunction<any[], any, Promise<{self.of_class(scope, node, RESULT)}>>"
        return self.constructor(scope, node)

    def exported_record(self, scope, node, kind):
        """A class whose instances cross by value: calling it gives one. Dataclasses and named tuples take positions, too."""
        wide = scope.within(self.bound(self.class_variables(scope, node), None))
        fields = {name: field for name, field in self.fields(wide, node).items() if field.given}
        result = f"Promise<{self.of_class(scope, node, RESULT)}>"
        texts = {name: self.type(field.scope, field.annotation, PARAMETER) for name, field in fields.items()}
        texts = {fields[name].alias or name: text for name, text in texts.items()}
        optional = {field.alias or name: "?" if field.default or field.absent else "" for name, field in fields.items()}
        places = ", ".join(f"{label(name)}{optional[name]}: {text}" for name, text in texts.items())
        if kind in ("dataclass", "NamedTuple") and not is_keyword_only(scope, node) and in_order(optional.values()):
            keywords = keywords_of([f"{property_name(name)}?: {text}" for name, text in texts.items()])
            return f"PythonFunction<[{places}], {keywords}, {result}>"
        keywords = keywords_of([f"{property_name(name)}{optional[name]}: {text}" for name, text in texts.items()])
        kind = "PythonFunction" if all(optional.values()) else "PythonKeywordFunction"
        return f"{kind}<[], {keywords}, {result}>"

    def constructor(self, scope, node):
        variables = self.class_variables(scope, node)
        exact, wide = scope.within(self.as_themselves(variables)), scope.within(self.bound(variables, None))
        name = self.instance(scope, node)
        texts = []
        for one in (exact, wide):
            home, init = self.members(one, node).get("__init__", (None, None))
            texts.append(self.signature(home, init, 1)[:2] if isinstance(init, ast.FunctionDef) else ("[]", "{}"))
        statics = []
        for method, (home, statement) in self.members(wide, node).items():
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and not method.startswith("_"):
                marks = {home.module.short(mark) for mark in statement.decorator_list}
                if marks & {"classmethod", "staticmethod"}:
                    inside = home.within({"Self": lambda way: self.of_class(scope, node, way)})
                    text = self.function(inside, statement, skip=int("classmethod" in marks))
                    statics.append(f"{comment(docstring(statement), '  ')}  {property_name(method)}: {text};\n")
        own = f"PythonClass<{texts[1][0]}, {texts[1][1]}, {self.of_class(scope, node, RESULT)}>"
        if variables:
            made = f"{name}<{', '.join(variables)}>"
            own = f"PythonOptions<{texts[1][1]}, {own}> & (new {self.generics(variables)}(...args: {texts[0][0]}) => Promise<{made}>)"
        return f"{own} & {{\n{''.join(statics)}}}" if statics else own


def is_plain(text):
    return all(part in ("string", "number", "bigint", "boolean", "Uint8Array", "ArrayBuffer") for part in split_union(text))


def keywords_of(parts):
    return f"{{ {'; '.join(parts)} }}" if parts else "{}"


def in_order(optional):
    """Whether no field without a default follows one with: then they have positions."""
    return "".join("1" if one else "0" for one in optional).find("10") < 0


def is_keyword_only(scope, node):
    marks = [mark for mark in node.decorator_list if isinstance(mark, ast.Call)]
    named = [k for mark in marks for k in mark.keywords if k.arg == "kw_only"]
    by_mark = any(isinstance(one, ast.AnnAssign) and scope.module.short(one.annotation) == "KW_ONLY" for one in node.body)
    return by_mark or any(isinstance(k.value, ast.Constant) and k.value.value for k in named)


def own_nodes(node):
    """Everything in a function but what is in functions within it."""
    todo = list(node.body)
    while todo:
        one = todo.pop()
        yield one
        if not isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(one))


def yields(node):
    return any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in own_nodes(node))


def returns_nothing(node):
    """Certain only without decorators, and where something is done."""
    if node.decorator_list or all(isinstance(s, (ast.Raise, ast.Pass)) or isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in node.body):
        return False
    return not any(isinstance(one, ast.Return) and one.value is not None for one in own_nodes(node))
