"""Classes and type aliases of the project: which cross by value, which stay in Python, and the interfaces of both."""

import ast
import re
from collections import namedtuple

from .annotations import PARAMETER, RESULT, Annotations, parsed
from .files import Scope, overloads_of
from .text import array_of, comment, docstring, label, literal, property_name, union_of

# Longest chain of base classes that is followed.
BASES_MAX = 16
# Types of which a class may be a kind, and as which its instances cross.
BUILTINS = {"str", "int", "float", "bytes", "bytearray", "dict", "list", "set", "frozenset", "tuple"}
DATACLASSES = {"dataclass", "pydantic.dataclasses.dataclass"}
MODELS = {"pydantic.BaseModel", "pydantic_settings.BaseSettings", "pydantic.BaseSettings", "sqlmodel.SQLModel"}
ENUMS = {"Enum", "IntEnum", "StrEnum", "ReprEnum"}
# A record's kind: whether its class is called with positions, and how its fields are described.
RECORDS = {"dataclass", "NamedTuple", "TypedDict", "model"}
# A field of a record: where its annotation stands; whether it may be left out when given, and when got; in which of both it is at all;
# the name under which it is given, if that is another.
Field = namedtuple("Field", "scope annotation default absent given got alias")
# What may stand in front of the name of an interface that a file declares itself, so that both have a name.
BIREME = (
    "PlainDateTime PlainDate PlainTime Duration Decimal Uuid NumberArray NdArray RemoteObject PythonFunction PythonFactory PythonKeywordFunction"
    " PythonClass PythonOptions PythonStream PythonValue"
).split()


class Classes(Annotations):
    """What a file's classes and aliases are in TypeScript, with those of other files that they lead to."""

    def __init__(self, files, module):
        super().__init__(files)
        self.module = module
        # Name → text of each interface and alias, in order; the names of classes by their place; what is being written.
        self.interfaces, self.names, self.busy = {}, {}, set()
        # Methods by (path, id): their overloads.
        self.class_overloads = {}

    def named(self, scope, definition, way, arguments):
        if isinstance(definition, ast.ClassDef):
            return self.of_class(scope, definition, way, arguments)
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return "any"
        return self.alias(scope, definition, way, arguments)

    # Aliases

    def alias(self, scope, definition, way, arguments):
        """`Rows = list[int]`, `type Rows = …`, `UserId = NewType(…)`. A plain constant is no type."""
        value = getattr(definition, "value", None)
        if isinstance(value, ast.Call):
            return self.made_by_call(scope, value, way)
        key = (scope.module.path, id(definition))
        if key in self.busy or value is None or isinstance(value, ast.Constant) and not is_alias(scope, definition):
            return "any"
        self.busy.add(key)
        try:
            return self.type(scope.within(self.bound(self.variables_of(scope, definition, [value]), arguments)), value, way)
        finally:
            self.busy.discard(key)

    def made_by_call(self, scope, call, way):
        name = scope.module.short(call.func)
        if name == "NewType" and len(call.args) == 2:
            return self.type(scope, call.args[1], way)
        if name == "TypeAliasType" and len(call.args) == 2:
            return self.type(scope, call.args[1], way)
        if name == "TypeVar":
            # Not bound by anything around it: as wide as it may be.
            return self.bound({"": self.limits(scope, call)}, None)[""](way)
        if name in ("pydantic.constr", "pydantic.conint", "pydantic.confloat"):
            return self.type(scope, ast.Name({"constr": "str", "conint": "int", "confloat": "float"}[name.rpartition(".")[2]], ast.Load()), way)
        return "any"

    # Type variables

    def variables_of(self, scope, definition, annotations):
        """The type variables that a definition has, its own or those that its annotations use: name → what each may be, as
        texts by way; one for a bound, several for constraints, none for anything."""
        found = {}
        for parameter in getattr(definition, "type_params", None) or []:
            if type(parameter).__name__ == "TypeVar":
                bound = parameter.bound
                limits = [] if bound is None else bound.elts if isinstance(bound, ast.Tuple) else [bound]
                found[parameter.name] = [self.later(scope, limit) for limit in limits]
        if found:
            return found
        todo = [node for node in annotations if node is not None]
        while todo:
            node = todo.pop(0)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node = parsed(node.value)
            if isinstance(node, ast.Name) and node.id not in scope.variables and node.id not in found:
                place = self.files.find(scope.module, node)
                call = getattr(place[1], "value", None) if place else None
                if isinstance(call, ast.Call) and place[0].short(call.func) == "TypeVar":
                    found[node.id] = self.limits(Scope(place[0]), call)
            if node is not None and not (isinstance(node, ast.Subscript) and scope.module.short(node.value) == "Literal"):
                todo = [*ast.iter_child_nodes(node), *todo]
        return found

    def limits(self, scope, call):
        """What a `TypeVar(…)` may be."""
        bounds = [keyword.value for keyword in call.keywords if keyword.arg == "bound"]
        return [self.later(scope, limit) for limit in [*bounds, *call.args[1:]]]

    def bound(self, variables, arguments):
        """What the variables mean where the type is used with arguments: those, or as much as they may be."""
        found = {}
        for at, (name, limits) in enumerate(variables.items()):
            if arguments is not None and at < len(arguments):
                found[name] = arguments[at]
            else:
                found[name] = lambda way, limits=limits: union_of(limit(way) for limit in limits) if limits else "any"
        return found

    def as_themselves(self, variables):
        return {name: lambda way, name=name: name for name in variables}

    def generics(self, variables):
        """`<T extends string>`, or nothing."""
        if not variables:
            return ""
        texts = [f"{name} extends {union_of(limit(PARAMETER) for limit in limits)}" if limits else name for name, limits in variables.items()]
        return f"<{', '.join(texts)}>"

    def class_variables(self, scope, node):
        """Those of a class: in the order of `Generic[…]` if there is one."""
        generic = [base for base in node.bases if isinstance(base, ast.Subscript) and scope.module.short(base.value) in ("Generic", "Protocol")]
        return self.variables_of(scope, node, generic or node.bases)

    # Classes

    def of_class(self, scope, node, way, arguments=None):
        kind = self.kind(scope, node)
        if kind == "enum":
            return self.enum(scope, node)
        if kind == "error":
            return "Error"
        if kind in BUILTINS:
            return self.type(scope, self.builtin(scope, node), way)
        if kind == "root":
            return self.root(scope, node, way, arguments)
        variables = self.class_variables(scope, node)
        if kind == "callback":
            return self.callback(scope.within(self.bound(variables, arguments)), node, way)
        name = self.record(scope, node, way) if kind in RECORDS else self.instance(scope, node)
        if not variables:
            return name
        return f"{name}<{', '.join(text(way) for text in self.bound(variables, arguments).values())}>"

    def kind(self, scope, node, depth=0):
        """What becomes of a class's instances: a kind of record, `enum`, `error`, a built-in type, `root` (of pydantic),
        `callback` (a Protocol of a function), `class` (they stay), or `unknown` (a base is of some library)."""
        if depth > BASES_MAX:
            return "unknown"
        module = scope.module
        for decorator in node.decorator_list:
            if module.short(decorator.func if isinstance(decorator, ast.Call) else decorator) in DATACLASSES:
                return "dataclass"
        own = "class"
        for base in node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            found = self.files.find(module, base)
            if found:
                parent = isinstance(found[1], ast.ClassDef) and found[1] is not node
                kind = self.kind(Scope(found[0]), found[1], depth + 1) if parent else "unknown"
            else:
                kind = self.kind_of_known(module, base, node)
            if kind not in ("class", "unknown"):
                # `class Color(str, Enum)` is an Enum.
                if kind in BUILTINS and any(self.is_enum(module, other) for other in node.bases):
                    continue
                return kind
            own = kind if kind == "unknown" else own
        return own

    def kind_of_known(self, module, base, node):
        dotted, name = module.dotted(base) or "", module.short(base)
        if name in ("TypedDict", "NamedTuple") or name in BUILTINS:
            return name
        if dotted in MODELS:
            return "model"
        if dotted == "pydantic.RootModel":
            return "root"
        if self.is_enum(module, base):
            return "enum"
        if dotted.rpartition(".")[2].endswith(("Exception", "Error", "ExceptionGroup")):
            return "error"
        if name == "Protocol" and any(isinstance(one, ast.FunctionDef) and one.name == "__call__" for one in node.body):
            return "callback"
        return "class" if name in ("object", "Generic", "Protocol", "abc.ABC") else "unknown"

    def is_enum(self, module, base):
        return module.short(base) in ENUMS | {"Flag", "IntFlag"}

    def builtin(self, scope, node):
        """The base as which instances cross: `dict[str, int]` of `class Counts(dict[str, int])`."""
        for base in node.bases:
            plain = base.value if isinstance(base, ast.Subscript) else base
            found = self.files.find(scope.module, plain)
            if found or scope.module.short(plain) in BUILTINS:
                return base
        return node.bases[0]

    def root(self, scope, node, way, arguments):
        for base in node.bases:
            if isinstance(base, ast.Subscript) and scope.module.dotted(base.value) == "pydantic.RootModel":
                inner = scope.within(self.bound(self.class_variables(scope, node), arguments))
                return self.type(inner, base.slice, way)
        annotation = next((one.annotation for one in node.body if isinstance(one, ast.AnnAssign) and getattr(one.target, "id", "") == "root"), None)
        return self.type(scope, annotation, way)

    def callback(self, scope, node, way):
        call = next(one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__call__")
        places = [*call.args.posonlyargs, *call.args.args][1:]
        first_default = len(places) - len(call.args.defaults)
        texts = [
            f"{label(one.arg)}{'?' if at >= first_default else ''}: {self.type(scope, one.annotation, 1 - way)}" for at, one in enumerate(places)
        ]
        if call.args.vararg:
            texts.append(f"...{label(call.args.vararg.arg)}: {self.type(scope, call.args.vararg.annotation, 1 - way)}[]")
        return self.arrow(", ".join(texts), self.type(scope, call.returns, way), way)

    # Enums

    def enum(self, scope, node):
        """The union of its members' values; of a Flag any number, since they are combined."""
        if any(scope.module.short(base) in ("Flag", "IntFlag") for base in node.bases):
            return "number"
        values = [value for _, value in self.members_of(scope, node)]
        return union_of(value or "any" for value in values) if values else "any"

    def members_of(self, scope, node):
        """An Enum's members: (name, literal type or None)."""
        texts = any(scope.module.short(base) == "StrEnum" for base in node.bases)
        highest = 0
        for statement in node.body:
            if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
                continue
            name, value = statement.targets[0].id, statement.value
            if name.startswith("_"):
                continue
            if isinstance(value, ast.Call) and scope.module.short(value.func) == "auto":
                value = ast.Constant(name.lower() if texts else highest + 1)
            if isinstance(value, ast.Constant) and isinstance(value.value, int):
                highest = max(highest, value.value)
            yield name, literal(value)

    def member(self, scope, definition, name):
        if isinstance(definition, ast.ClassDef) and self.kind(scope, definition) == "enum":
            return dict(self.members_of(scope, definition)).get(name)
        return None

    # Records

    def fields(self, scope, node, depth=0):
        """A record's fields by name, those of its bases first."""
        found = {}
        for base in node.bases if depth < BASES_MAX else []:
            plain = base.value if isinstance(base, ast.Subscript) else base
            parent = self.files.find(scope.module, plain)
            if parent and isinstance(parent[1], ast.ClassDef) and parent[1] is not node:
                found.update(self.fields(self.scope_of_base(scope, base, parent), parent[1], depth + 1))
        partial = any(k.arg == "total" and isinstance(k.value, ast.Constant) and k.value.value is False for k in node.keywords)
        by_name = any(getattr(one.targets[0], "id", "") == "model_config" and takes_names(one.value) for one in node.body if isinstance(one, ast.Assign))
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and any(scope.module.dotted(called(mark)) == "pydantic.computed_field" for mark in statement.decorator_list):
                found[statement.name] = Field(scope, statement.returns, False, False, False, True, None)
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            annotation, name = statement.annotation, statement.target.id
            wrapper = scope.module.short(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
            if wrapper in ("ClassVar", "KW_ONLY") or name.startswith("_") or name == "model_config":
                continue
            absent = wrapper == "NotRequired" or partial and wrapper != "Required"
            default, given, alias = described(scope.module, statement.value)
            alias = None if by_name else alias
            found[name] = Field(scope, annotation, default, absent, given, wrapper != "InitVar", alias)
        return found

    def scope_of_base(self, scope, base, parent):
        """The scope within a base class: `Page[User]` says what Page's variable is there."""
        home = Scope(parent[0])
        if not isinstance(base, ast.Subscript):
            return home.within(self.bound(self.class_variables(home, parent[1]), None))
        arguments = base.slice.elts if isinstance(base.slice, ast.Tuple) else [base.slice]
        texts = [self.later(scope, argument) for argument in arguments]
        return home.within(self.bound(self.class_variables(home, parent[1]), texts))

    def record(self, scope, node, way):
        name = self.name_of(scope.module, node)
        key = (scope.module.path, node.name)
        if key in self.busy:
            # It contains itself; what is given and got may differ, but the wider is right for both.
            return f"{name}Input" if way == PARAMETER else name
        if name not in self.interfaces:
            self.busy.add(key)
            self.interfaces[name] = self.interfaces[f"{name}Input"] = None
            variables = self.class_variables(scope, node)
            inner = scope.within(self.as_themselves(variables))
            fields = self.fields(inner, node)
            got, given = (self.lines(fields, direction) for direction in (RESULT, PARAMETER))
            self.busy.discard(key)
            head = f"{name}{self.generics(variables)}"
            self.interfaces[name] = f"{comment(ast.get_docstring(node), '')}export interface {head} {{\n{got}}}\n"
            if re.sub(rf"\b{name}Input\b", name, given) == got:
                del self.interfaces[f"{name}Input"]
            else:
                about = f"/** What may be given for {name}. */\n"
                self.interfaces[f"{name}Input"] = f"{about}export interface {name}Input{self.generics(variables)} {{\n{given}}}\n"
        return f"{name}Input" if way == PARAMETER and f"{name}Input" in self.interfaces else name

    def lines(self, fields, way):
        lines = []
        for name, field in fields.items():
            if field.given if way == PARAMETER else field.got:
                optional = "?" if field.absent or field.default and way == PARAMETER else ""
                name = field.alias or name if way == PARAMETER else name
                lines.append(f"  {property_name(name)}{optional}: {self.type(field.scope, field.annotation, way)};\n")
        return "".join(lines)

    def name_of(self, module, node):
        """A name of its own in this file: classes of other files may be called alike."""
        key = (module.path, node.name)
        if key not in self.names:
            taken = set(self.names.values()) | (set(self.module.local) if module is not self.module else set()) | set(BIREME)
            name, number = node.name, 2
            while name in taken:
                name, number = f"{node.name}{number}", number + 1
            self.names[key] = name
        return self.names[key]

    # Instances

    def instance(self, scope, node):
        """The interface of a class's instances, which stay in Python."""
        name = self.name_of(scope.module, node)
        if name in self.interfaces:
            return name
        self.interfaces[name] = None
        variables = self.class_variables(scope, node)
        own = f"{name}<{', '.join(variables)}>" if variables else name
        lines = []
        for member, (home, statement) in self.members(scope.within(self.as_themselves(variables)), node).items():
            inside = home.within({"Self": lambda way: own})
            text = None if member.startswith("_") else self.member_line(inside, member, statement)
            if text is not None:
                lines.append(f"{comment(docstring(statement), '  ')}  {text};\n")
        about = comment(ast.get_docstring(node), "")
        head = f"export interface {name}{self.generics(variables)} extends RemoteObject"
        self.interfaces[name] = f"{about}{head} {{\n{''.join(lines)}}}\n"
        return name

    def member_line(self, scope, name, statement):
        """One member of instances; None for those of the class alone."""
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            marks = {scope.module.short(called(mark)) for mark in statement.decorator_list}
            if marks & {"property", "cached_property", "functools.cached_property"}:
                return f"readonly {property_name(name)}: PythonValue<{self.type(scope, statement.returns, RESULT)}>"
            return None if marks & {"classmethod", "staticmethod"} else f"{property_name(name)}: {self.function(scope, statement, skip=1)}"
        text = statement if isinstance(statement, str) else self.type(scope, statement.annotation, RESULT)
        return f"readonly {property_name(name)}: PythonValue<{text}>"

    def members(self, scope, node, depth=0):
        """Name → (scope, definition), those of base classes first; the text of a type for what `__init__` assigns without an annotation."""
        found = {}
        for base in reversed(node.bases) if depth < BASES_MAX else []:
            parent = self.files.find(scope.module, base.value if isinstance(base, ast.Subscript) else base)
            if parent and isinstance(parent[1], ast.ClassDef) and parent[1] is not node:
                found.update(self.members(self.scope_of_base(scope, base, parent), parent[1], depth + 1))
        overloads = overloads_of(scope.module, node.body)
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[statement.name] = (scope, statement)
                if statement.name in overloads:
                    self.class_overloads[scope.module.path, id(statement)] = overloads[statement.name]
                if statement.name == "__init__":
                    found.update({name: at for name, at in self.assigned(scope, statement).items() if name not in found})
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = (scope, statement)
        return found

    def assigned(self, scope, init):
        """What `__init__` gives to `self`: by its annotation, by that of the parameter that is kept, or by a constant."""
        parameters = {one.arg: one for one in [*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs]}
        found = {}
        for statement in ast.walk(init):
            targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
            for target in targets:
                if not isinstance(target, ast.Attribute) or getattr(target.value, "id", "") != "self":
                    continue
                value = getattr(statement, "value", None)
                if isinstance(statement, ast.AnnAssign):
                    kept = statement
                else:
                    kept = parameters.get(getattr(value, "id", None))
                    kept = kept if kept is not None and kept.annotation is not None else value_type(value)
                found.setdefault(target.attr, (scope, kept))
        return found


def called(mark):
    """A decorator without its arguments."""
    return mark.func if isinstance(mark, ast.Call) else mark


def is_alias(scope, definition):
    return type(definition).__name__ == "TypeAlias" or isinstance(definition, ast.AnnAssign) and scope.module.short(definition.annotation) == "TypeAlias"


def described(module, value):
    """Whether a field may be left out, whether it may be given at all, and under which other name: `field(…)` and `Field(…)` say it."""
    if not isinstance(value, ast.Call) or module.short(value.func) not in ("field", "pydantic.Field", "sqlmodel.Field"):
        return value is not None, True, None
    named = {keyword.arg: getattr(keyword.value, "value", None) for keyword in value.keywords}
    first = getattr(value.args[0], "value", None) if value.args else named.get("default", ...)
    alias = named.get("validation_alias") or named.get("alias")
    return "default_factory" in named or first is not ..., named.get("init") is not False, alias if isinstance(alias, str) else None


def takes_names(config):
    """Whether a model with aliases takes its fields' own names as well."""
    settings = [(keyword.arg, keyword.value) for keyword in getattr(config, "keywords", [])]
    if isinstance(config, ast.Dict):
        settings = [(getattr(key, "value", None), value) for key, value in zip(config.keys, config.values)]
    return any(name in ("populate_by_name", "validate_by_name") and getattr(value, "value", None) is True for name, value in settings)


def value_type(node):
    """The type of what is written out: constants, and lists, tuples and dicts of them; `any` for all else."""
    if isinstance(node, ast.Constant):
        kinds = {bool: "boolean", int: "number", float: "number", str: "string", bytes: "Uint8Array", type(None): "null"}
        return kinds.get(type(node.value), "any")
    if isinstance(node, ast.JoinedStr):
        return "string"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return value_type(node.operand)
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)) and node.elts:
        inner = union_of(value_type(one) for one in node.elts)
        return f"Set<{inner}>" if isinstance(node, ast.Set) else array_of(inner)
    if isinstance(node, ast.Dict) and node.keys and all(value_type(key) == "string" for key in node.keys):
        return f"Record<string, {union_of(value_type(one) for one in node.values)}>"
    return "any"
