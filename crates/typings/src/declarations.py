"""Writes TypeScript declarations of Python files, by reading them; nothing of theirs is imported or run.

A program for `python -I -c`, run by `bireme types` with the interpreter of the service that the files belong to. On stdin it
reads `{"describe": [file, …], "scan": [file, …], "roots": [folder, …]}`, on stdout it writes
`{"declarations": {file: {"text", "names"} or {"error"}}, "modules": [{"file", "line", "name"}, …]}`: for the first list what
TypeScript is told (`names` are those that it imports from 'bireme'), for the second the literals in calls of `bireme.node`.
"""

import ast
import json
import os
import re
import sys

# Words that name nothing in TypeScript's modules.
RESERVED = set(
    "await break case catch class const continue debugger default delete do else enum export extends false finally for function if"
    " import in instanceof new null return super switch this throw true try typeof var void while with yield let static implements"
    " interface package private protected public".split()
)
SEQUENCES = {"list", "Sequence", "MutableSequence", "Iterable", "Collection", "List", "deque", "Deque", "Reversible"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "Dict", "OrderedDict", "defaultdict", "DefaultDict"}
SETS = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
STREAMS = {"Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "AsyncIterable"}
WRAPPERS = {"Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly", "Unpack", "InitVar"}
# What plain names of the standard library and of NumPy become: for what JavaScript gets, and for what it may give.
PLAIN = {
    "None": ("null", "null | undefined"),
    "bool": ("boolean", "boolean"),
    "int": ("number", "number | bigint"),
    "float": ("number", "number | bigint"),
    "str": ("string", "string"),
    "LiteralString": ("string", "string"),
    "bytes": ("Uint8Array", "Uint8Array | ArrayBuffer"),
    "bytearray": ("Uint8Array", "Uint8Array | ArrayBuffer"),
    "memoryview": ("Uint8Array", "Uint8Array | ArrayBuffer"),
    "object": ("unknown", "unknown"),
    "datetime.datetime": ("Date | PlainDateTime", "Date | PlainDateTime | string"),
    "datetime.date": ("PlainDate", "PlainDate | string"),
    "datetime.time": ("PlainTime", "PlainTime"),
    "datetime.timedelta": ("Duration", "Duration"),
    "decimal.Decimal": ("Decimal", "Decimal | string | number"),
    "uuid.UUID": ("Uuid", "Uuid | string"),
    "numpy.ndarray": ("NumberArray | NdArray", "NumberArray | NdArray"),
    "pyarrow.Table": ("any", "any"),
    "re.Pattern": ("RegExp", "RegExp"),
    "BaseException": ("Error", "Error"),
    "Exception": ("Error", "Error"),
    "typing.NoReturn": ("never", "never"),
    "typing.Never": ("never", "never"),
    "complex": ("never", "never"),
}
BIREME = "PlainDateTime PlainDate PlainTime Duration Decimal Uuid NumberArray NdArray RemoteObject PythonFunction PythonKeywordFunction PythonClass PythonStream PythonValue".split()
ARRAYS = {
    "float64": "Float64Array", "double": "Float64Array", "float32": "Float32Array", "single": "Float32Array", "int8": "Int8Array", "int16": "Int16Array",
    "int32": "Int32Array", "int64": "BigInt64Array", "uint8": "Uint8Array", "uint16": "Uint16Array", "uint32": "Uint32Array", "uint64": "BigUint64Array",
}
RESULT, PARAMETER = 0, 1


class Module:
    """A parsed file and what its names mean."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.tree = ast.parse(file.read(), path)
        self.path = path
        self.imports, self.local = {}, {}
        self.collect(self.tree.body)

    def collect(self, body):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.local[node.name] = node
            elif isinstance(node, ast.Import):
                for name in node.names:
                    self.imports[name.asname or name.name.split(".")[0]] = (0, name.name if name.asname else name.name.split(".")[0], None)
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    self.imports[name.asname or name.name] = (node.level, node.module or "", name.name)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                            self.local[name.id] = node
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self.local[node.target.id] = node
            elif type(node).__name__ == "TypeAlias":
                self.local[node.name.id] = node
            else:
                for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                    inner = getattr(node, part, [])
                    self.collect([statement for one in inner for statement in (one.body if part in ("handlers", "cases") else [one])])

    def dotted(self, node):
        """`np.ndarray` as `numpy.ndarray`, `Optional` as `typing.Optional`; None for what is no name."""
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return base and f"{base}.{node.attr}"
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.imports and node.id not in self.local:
            _, module, name = self.imports[node.id]
            return f"{module}.{name}" if name else module
        return node.id


def short(dotted):
    """The last part of a name of the modules that types come from; other names as they are."""
    head, _, tail = (dotted or "").rpartition(".")
    return tail if head in ("", "typing", "typing_extensions", "collections.abc", "collections", "types", "dataclasses", "builtins") else dotted


class Writer:
    """What one file is for TypeScript."""

    modules = {}

    def __init__(self, path, roots):
        self.roots = roots
        self.module = self.load(path)
        # Interfaces of records and classes: name, text; in order.
        self.interfaces = {}
        self.names = {}
        self.busy = set()

    @classmethod
    def load(cls, path):
        path = os.path.realpath(path)
        if path not in cls.modules:
            cls.modules[path] = Module(path)
        return cls.modules[path]

    # Where names lead

    def find(self, module, node):
        """(module, definition) of a name of ours, through imports; None for all other names."""
        for _ in range(8):
            if isinstance(node, ast.Attribute):
                base = self.imported(module, node.value)
                if base is None or node.attr not in base.local:
                    return None
                return base, base.local[node.attr]
            if not isinstance(node, ast.Name):
                return None
            if node.id in module.local:
                return module, module.local[node.id]
            if node.id not in module.imports or module.imports[node.id][2] is None:
                return None
            level, name, attribute = module.imports[node.id]
            module = self.module_at(module, level, name)
            if module is None:
                return None
            node = ast.Name(attribute, ast.Load())
        return None

    def imported(self, module, node):
        if isinstance(node, ast.Name) and node.id in module.imports:
            level, name, attribute = module.imports[node.id]
            return self.module_at(module, level, f"{name}.{attribute}".strip(".") if attribute else name)
        return None

    def module_at(self, module, level, name):
        here = os.path.dirname(module.path)
        folders = [os.path.join(here, *[".."] * (level - 1))] if level else [*self.roots, here]
        for folder in folders:
            base = os.path.join(folder, *name.split(".")) if name else folder
            for path in (base + ".py", os.path.join(base, "__init__.py")):
                if os.path.isfile(path):
                    try:
                        return self.load(path)
                    except (SyntaxError, ValueError, OSError):
                        return None
        return None

    # Types

    def type(self, module, node, way):
        """An annotation in TypeScript; `any` where it is unknown."""
        if node is None:
            return "any"
        if isinstance(node, ast.Constant):
            if node.value is None:
                return PLAIN["None"][way]
            if isinstance(node.value, str):
                return self.parsed(module, node.value, way)
            return "any"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self.union(module, [node.left, node.right], way)
        if isinstance(node, ast.Subscript):
            return self.subscript(module, node, way)
        if isinstance(node, ast.Starred):
            return self.type(module, node.value, way)
        dotted = module.dotted(node)
        if dotted is None:
            return "any"
        found = self.find(module, node)
        if found is not None:
            return self.named(*found, way)
        name = short(dotted)
        for known in (name, dotted):
            if known in PLAIN:
                return PLAIN[known][way]
        if name in SEQUENCES | {"tuple", "Tuple"}:
            return "any[]"
        if name in MAPPINGS:
            return "Record<string, any>"
        if name in SETS:
            return "Set<any>"
        if name in STREAMS:
            return "AsyncIterable<any>"
        if name == "Callable":
            return "(...args: any[]) => any"
        return "any"

    def parsed(self, module, text, way):
        try:
            return self.type(module, ast.parse(text.strip(), mode="eval").body, way)
        except (SyntaxError, ValueError):
            return "any"

    def union(self, module, nodes, way):
        parts = []
        for node in nodes:
            text = self.type(module, node, way)
            if text == "any":
                return "any"
            parts += [part for part in split_union(text) if part not in parts]
        return " | ".join(f"({part})" if "=>" in part and not part.startswith("(") or part.startswith("(...") else part for part in parts)

    def subscript(self, module, node, way):
        name = short(module.dotted(node.value))
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        inner = lambda at: self.type(module, arguments[at], way) if at < len(arguments) else "any"  # noqa: E731
        if name == "Optional":
            return self.union(module, [arguments[0], ast.Constant(None)], way)
        if name == "Union":
            return self.union(module, arguments, way)
        if name == "Literal":
            return " | ".join(literal(argument) for argument in arguments)
        if name in WRAPPERS:
            return inner(0)
        if name in ("Awaitable", "Coroutine"):
            return inner(len(arguments) - 1)
        if name in SEQUENCES:
            return array_of(inner(0))
        if name in ("tuple", "Tuple"):
            if len(arguments) == 2 and isinstance(arguments[1], ast.Constant) and arguments[1].value is ...:
                return array_of(inner(0))
            return "[" + ", ".join(self.type(module, argument, way) for argument in arguments) + "]"
        if name in MAPPINGS:
            key = inner(0)
            return f"Record<string, {inner(1)}>" if key in ("string", "any") else f"Map<{key}, {inner(1)}>"
        if name in SETS:
            return f"Set<{inner(0)}>"
        if name in STREAMS:
            return f"AsyncIterable<{inner(0)}>"
        if name in ("type", "Type"):
            return "any"
        if name == "Callable":
            return self.callable(module, arguments, way)
        dotted = module.dotted(node.value) or ""
        if dotted in ("numpy.ndarray", "numpy.typing.NDArray"):
            return self.numbers(module, arguments[-1])
        if dotted in PLAIN:
            return PLAIN[dotted][way]
        found = self.find(module, node.value)
        return self.named(*found, way) if found else "any"

    def numbers(self, module, node):
        if isinstance(node, ast.Subscript):
            node = node.slice
        kind = ARRAYS.get((module.dotted(node) or "").rpartition(".")[2])
        return f"{kind} | NdArray" if kind else "NumberArray | NdArray"

    def callable(self, module, arguments, way):
        result = self.type(module, arguments[1], 1 - way) if len(arguments) > 1 else "any"
        if not isinstance(arguments[0], ast.List):
            return f"(...args: any[]) => {result} | Promise<{result}>"
        parameters = ", ".join(f"arg{at}: {self.type(module, item, 1 - way)}" for at, item in enumerate(arguments[0].elts))
        return f"({parameters}) => {result} | Promise<{result}>"

    def named(self, module, definition, way):
        """A class or alias of ours."""
        if isinstance(definition, ast.ClassDef):
            kind = self.kind(module, definition)
            if kind == "enum":
                return self.enum(definition)
            if kind == "error":
                return "Error"
            if kind != "record":
                return self.instance(module, definition)
            return self.record(module, definition, way)
        value = getattr(definition, "value", None)
        if (module.path, id(definition)) in self.busy or isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return "any"
        if isinstance(value, ast.Call):
            return self.factory(module, value, way)
        self.busy.add((module.path, id(definition)))
        try:
            # An alias: `Rows = list[int]`, `type Rows = …`. A plain constant is no type.
            return "any" if value is None or isinstance(value, ast.Constant) else self.type(module, value, way)
        finally:
            self.busy.discard((module.path, id(definition)))

    def factory(self, module, call, way):
        """NewType, and types that are made by calls."""
        name = short(module.dotted(call.func))
        if name == "NewType" and len(call.args) == 2:
            return self.type(module, call.args[1], way)
        return "any"

    def kind(self, module, node, depth=0):
        if depth > 8:
            return "class"
        for decorator in node.decorator_list:
            name = short(module.dotted(decorator.func if isinstance(decorator, ast.Call) else decorator))
            if name in ("dataclass", "pydantic.dataclasses.dataclass"):
                return "record"
        for base in node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            found = self.find(module, base)
            if found and isinstance(found[1], ast.ClassDef) and found[1] is not node:
                kind = self.kind(*found, depth + 1)
                if kind != "class":
                    return kind
                continue
            dotted = module.dotted(base) or ""
            if short(dotted) in ("TypedDict", "NamedTuple") or dotted in ("pydantic.BaseModel", "pydantic.RootModel"):
                return "record"
            if dotted.startswith("enum.") or dotted in ("Enum", "IntEnum", "StrEnum", "IntFlag", "Flag"):
                return "enum"
            if dotted.rpartition(".")[2].endswith(("Exception", "Error")):
                return "error"
        return "class"

    def enum(self, node):
        values = [literal(statement.value, strict=True) for _, statement in members_of(node)]
        return " | ".join(dict.fromkeys(value for value in values if value)) or "any" if all(values) else "any"

    def fields(self, module, node, depth=0):
        """(name, annotation, has a default) of a record, those of its bases first."""
        found = {}
        for base in node.bases if depth < 8 else []:
            parent = self.find(module, base)
            if parent and isinstance(parent[1], ast.ClassDef) and parent[1] is not node:
                for name, field in self.fields(*parent, depth + 1).items():
                    found[name] = field
        partial = any(k.arg == "total" and isinstance(k.value, ast.Constant) and k.value.value is False for k in node.keywords)
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            wrapper = isinstance(statement.annotation, ast.Subscript) and short(module.dotted(statement.annotation.value))
            name = statement.target.id
            if wrapper == "ClassVar" or name.startswith("_") or name == "model_config":
                continue
            absent = wrapper == "NotRequired" or partial and wrapper != "Required"
            found[name] = (module, statement.annotation, statement.value is not None, absent)
        return found

    def record(self, module, node, way):
        name = self.name_of(module, node)
        fields = self.fields(module, node)
        key = (module.path, node.name)
        if key in self.busy:
            return name
        if name not in self.interfaces:
            self.busy.add(key)
            self.interfaces[name] = None
            texts = []
            for direction in (RESULT, PARAMETER):
                lines = []
                for field, (home, annotation, default, absent) in fields.items():
                    optional = "?" if absent or default and direction == PARAMETER else ""
                    lines.append(f"  {property_name(field)}{optional}: {self.type(home, annotation, direction)};")
                texts.append("\n".join(lines))
            self.busy.discard(key)
            about = comment(ast.get_docstring(node), "")
            self.interfaces[name] = about + f"export interface {name} {{\n{texts[0]}\n}}\n"
            if texts[1] != texts[0]:
                self.interfaces[name + "Input"] = f"/** What may be given for {name}. */\nexport interface {name}Input {{\n{texts[1]}\n}}\n"
        return name + "Input" if way == PARAMETER and name + "Input" in self.interfaces else name

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

    def instance(self, module, node):
        """The interface of a class's instances, which stay in Python."""
        name = self.name_of(module, node)
        if name in self.interfaces:
            return name
        self.interfaces[name] = None
        lines = []
        for method, statement in self.members(module, node).items():
            if method.startswith("_"):
                continue
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                marks = {short(module.dotted(d.func if isinstance(d, ast.Call) else d)) for d in statement.decorator_list}
                if marks & {"property", "functools.cached_property"}:
                    lines.append((statement, f"readonly {property_name(method)}: PythonValue<{self.type(module, statement.returns, RESULT)}>"))
                elif not marks & {"classmethod", "staticmethod"}:
                    lines.append((statement, f"{property_name(method)}: {self.function(module, statement, skip=1)}"))
            elif isinstance(statement, ast.AnnAssign):
                lines.append((None, f"readonly {property_name(method)}: PythonValue<{self.type(module, statement.annotation, RESULT)}>"))
        body = "".join(comment(docstring(at), "  ") + f"  {line};\n" for at, line in lines)
        self.interfaces[name] = comment(ast.get_docstring(node), "") + f"export interface {name} extends RemoteObject {{\n{body}}}\n"
        return name

    def members(self, module, node, depth=0):
        found = {}
        for base in node.bases if depth < 8 else []:
            parent = self.find(module, base)
            if parent and isinstance(parent[1], ast.ClassDef) and parent[1] is not node:
                found.update(self.members(*parent, depth + 1))
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[statement.name] = statement
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = statement
        init = found.get("__init__")
        for statement in ast.walk(init) if init else ():
            target = getattr(statement, "target", None)
            if isinstance(statement, ast.AnnAssign) and isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
                found.setdefault(target.attr, statement)
        return found

    # Functions

    def signature(self, module, node, skip, batch=False):
        """The tuple of positional arguments, the object of keywords, and whether a keyword must be given."""
        documented = documented_types(ast.get_docstring(node) or "")
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        only = len(arguments.posonlyargs)
        first_default = len(positional) - len(arguments.defaults)
        places, keywords, required = [], [], False

        def kind(argument):
            annotation = argument.annotation
            if batch and isinstance(annotation, ast.Subscript):
                annotation = annotation.slice
            if annotation is None:
                text = documented.get(argument.arg)
                return self.parsed(module, text, PARAMETER) if text else "any"
            return self.type(module, annotation, PARAMETER)

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
            keywords.append("[name: string]: any")
        return f"[{', '.join(places)}]", f"{{ {'; '.join(keywords)} }}" if keywords else "{}", required

    def function(self, module, node, skip=0):
        marks = {(module.dotted(d.func if isinstance(d, ast.Call) else d) or "") for d in node.decorator_list}
        batch = "bireme.batch" in marks
        places, keywords, required = self.signature(module, node, skip, batch)
        kind = "PythonKeywordFunction" if required else "PythonFunction"
        return f"{kind}<{places}, {keywords}, {self.returned(module, node, batch)}>"

    def returned(self, module, node, batch=False):
        generator, gives = yields(node), node.returns
        if isinstance(gives, ast.Constant) and isinstance(gives.value, str):
            try:
                gives = ast.parse(gives.value, mode="eval").body
            except SyntaxError:
                gives = None
        name = short(module.dotted(gives.value)) if isinstance(gives, ast.Subscript) else ""
        if generator or name in STREAMS:
            items = gives.slice.elts[0] if isinstance(getattr(gives, "slice", None), ast.Tuple) else getattr(gives, "slice", None)
            return f"PythonStream<{self.type(module, items, RESULT)}>"
        if batch and isinstance(gives, ast.Subscript):
            gives = gives.slice
        if gives is None:
            documented = documented_types(ast.get_docstring(node) or "").get("return")
            if documented:
                return f"Promise<{self.parsed(module, documented, RESULT)}>"
            return "Promise<null>" if returns_nothing(node) else "Promise<any>"
        return f"Promise<{self.type(module, gives, RESULT)}>"

    # The file

    def write(self):
        exports, body = [], []
        for name in self.exported():
            definition = self.module.local.get(name)
            text = self.export(name, definition)
            exports.append(name)
            about = comment(docstring(definition), "")
            if name in RESERVED:
                body.append(f"{about}declare const _{name}: {text};\nexport {{ _{name} as {name} }};\n")
            else:
                body.append(f"{about}export const {name}: {text};\n")
        entries = "".join(f"  {property_name(name)}: typeof {'_' if name in RESERVED else ''}{name};\n" for name in exports)
        module = comment(ast.get_docstring(self.module.tree), "") + f"declare const _module: {{\n{entries}}};\nexport default _module;\n"
        text = "\n".join([*filter(None, self.interfaces.values()), *body, module])
        used = set(re.findall(r"[A-Za-z]+", re.sub(r"/\*\*.*?\*/", "", text, flags=re.S)))
        return {"text": text, "names": sorted(used.intersection(BIREME))}

    def exported(self):
        listed = self.module.local.get("__all__")
        value = getattr(listed, "value", None)
        if isinstance(value, (ast.List, ast.Tuple)):
            names = [item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        else:
            names = [name for name in self.module.local if not name.startswith("_")]
        return [name for name in dict.fromkeys(names) if name.isidentifier()]

    def export(self, name, definition):
        module = self.module
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return self.function(module, definition)
        if isinstance(definition, ast.ClassDef):
            return self.exported_class(definition)
        if isinstance(definition, ast.AnnAssign):
            return f"PythonValue<{self.type(module, definition.annotation, RESULT)}>"
        value = getattr(definition, "value", None)
        if isinstance(value, ast.Constant):
            kind = {bool: "boolean", int: "number", float: "number", str: "string", bytes: "Uint8Array", type(None): "null"}.get(type(value.value), "any")
            return f"PythonValue<{kind}>"
        # It may be anything, a function as well.
        return "PythonFunction<any[], any, PythonStream<any> & Promise<any>> & PythonValue<any>"

    def exported_class(self, node):
        module, kind = self.module, self.kind(self.module, node)
        if kind == "enum":
            members = "".join(f"  readonly {property_name(name)}: PythonValue<{literal(s.value, strict=True) or 'any'}>;\n" for name, s in members_of(node))
            self.interfaces[node.name] = f"export type {node.name} = {self.enum(node)};\n"
            return f"{{\n{members}}}"
        if kind == "record":
            fields = self.fields(module, node)
            places = ", ".join(f"{label(f)}{'?' if d or absent else ''}: {self.type(m, a, PARAMETER)}" for f, (m, a, d, absent) in fields.items())
            keywords = "; ".join(f"{property_name(f)}?: {self.type(m, a, PARAMETER)}" for f, (m, a, *_) in fields.items())
            return f"PythonFunction<[{places}], {{ {keywords} }}, Promise<{self.record(module, node, RESULT)}>>"
        if kind == "error":
            return "PythonFunction<any[], any, Promise<Error>>"
        init = self.members(module, node).get("__init__")
        places, keywords = self.signature(module, init, 1)[:2] if isinstance(init, ast.FunctionDef) else ("[]", "{}")
        statics = []
        for method, statement in self.members(module, node).items():
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and not method.startswith("_"):
                marks = {short(module.dotted(d)) for d in statement.decorator_list}
                if marks & {"classmethod", "staticmethod"}:
                    statics.append(f"  {property_name(method)}: {self.function(module, statement, skip=int('classmethod' in marks))};\n")
        plain = f"PythonClass<{places}, {keywords}, {self.instance(module, node)}>"
        return f"{plain} & {{\n{''.join(statics)}}}" if statics else plain


def split_union(text):
    """The parts of a union, those within brackets untouched."""
    parts, depth, start, previous = [], 0, 0, ""
    for at, letter in enumerate(text):
        if letter in "([{<":
            depth += 1
        elif letter in ")]}" or letter == ">" and previous != "=":
            depth -= 1
        elif letter == "|" and depth == 0 and "=>" not in text[start:at]:
            parts.append(text[start:at].strip())
            start = at + 1
        previous = letter
    return [*parts, text[start:].strip()]


def array_of(text):
    return f"Array<{text}>" if "|" in text or "=>" in text else f"{text}[]"


def literal(node, strict=False):
    """The literal type of a constant; `any` (or None, if strict) for others."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return f"-{node.operand.value}"
    if isinstance(node, ast.Constant):
        if node.value is None:
            return "null"
        if isinstance(node.value, bool):
            return str(node.value).lower()
        if isinstance(node.value, str):
            return json.dumps(node.value)
        if isinstance(node.value, (int, float)):
            return repr(node.value)
    return None if strict else "any"


def members_of(node):
    """An enum's members: (name, assignment)."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name) and not statement.targets[0].id.startswith("_"):
            yield statement.targets[0].id, statement


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


def docstring(node):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return ast.get_docstring(node)
    return None


def documented_types(text):
    """Types that a docstring gives: Sphinx's fields, Google's sections and NumPy's. `return` is the result's."""
    found = {}
    for kind, name in re.findall(r"^\s*:param\s+([^:\s][^:]*?)\s+(\w+)\s*:", text, re.M):
        found[name] = kind
    for name, kind in re.findall(r"^\s*:type\s+(\w+)\s*:\s*(.+?)\s*$", text, re.M):
        found[name] = kind
    for kind in re.findall(r"^\s*:rtype\s*:\s*(.+?)\s*$", text, re.M):
        found["return"] = kind
    section = None
    lines = text.splitlines()
    for at, line in enumerate(lines):
        heading = line.strip().rstrip(":").lower()
        below = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if heading in ("args", "arguments", "parameters", "returns", "return") and (line.rstrip().endswith(":") or set(below) == {"-"}):
            section = heading
        elif section in ("args", "arguments", "parameters"):
            match = re.match(r"^\s+(\w+)\s*\(([^)]+?)(?:,\s*optional)?\)\s*:", line) or re.match(r"^(\w+)\s*:\s*([^,]+?)(?:,\s*optional)?\s*$", line)
            if match:
                found[match[1]] = match[2]
        elif section in ("returns", "return"):
            match = re.match(r"^\s+([\w.\[\], |]+?)\s*:\s", line) or re.match(r"^([\w.\[\], |]+)$", line)
            if match and set(line.strip()) != {"-"}:
                found.setdefault("return", match[1])
            if line.strip() and set(line.strip()) != {"-"}:
                section = None
    return found


def property_name(name):
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name) else json.dumps(name)


def label(name):
    return f"{name}_" if name in RESERVED else name


def comment(text, indent):
    if not text:
        return ""
    lines = text.replace("*/", "*\\/").strip().splitlines()
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return f"{indent}/**\n" + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines) + f"{indent} */\n"


def declaration(path, roots):
    try:
        return Writer(path, roots).write()
    except SyntaxError as error:
        return {"error": f"{path}:{error.lineno}: {error.msg}"}
    except (OSError, ValueError, RecursionError) as error:
        return {"error": f"{path}: {error}"}


def modules(path):
    """Literals in calls of `bireme.node`, under whatever name the file imports it."""
    try:
        module = Module(path)
    except (SyntaxError, OSError, ValueError, RecursionError):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and module.dotted(node.func) == "bireme.node" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield {"file": path, "line": node.lineno, "name": name.value}


def main():
    asked = json.load(sys.stdin)
    declarations = {path: declaration(path, asked["roots"]) for path in asked["describe"]}
    found = [one for path in asked["scan"] for one in modules(path)]
    json.dump({"declarations": declarations, "modules": found}, sys.stdout)


main()
