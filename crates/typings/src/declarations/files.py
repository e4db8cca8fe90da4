"""A parsed Python file, what its names mean, and where they lead in other files of the project."""

import ast
import os

# Longest way from a name through imports to its definition.
STEPS_MAX = 16
# Modules whose names are known without them.
KNOWN = {"", "typing", "typing_extensions", "collections.abc", "collections", "types", "dataclasses", "builtins", "enum"}


class Module:
    """A file: its imports, and the definitions of its top level."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.tree = ast.parse(file.read(), path)
        self.path = path
        # Name → (level, module, attribute); modules of `from … import *`; name → definition; name → its overloads.
        self.imports, self.stars, self.local, self.overloads = {}, [], {}, {}
        self.collect(self.tree.body)

    def collect(self, body):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.local[node.name] = node
            elif isinstance(node, ast.Import):
                for name in node.names:
                    first = name.name.split(".")[0]
                    self.imports[name.asname or first] = (0, name.name if name.asname else first, None)
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    if name.name == "*":
                        self.stars.append((node.level, node.module or ""))
                    else:
                        self.imports[name.asname or name.name] = (node.level, node.module or "", name.name)
            elif isinstance(node, ast.Assign):
                self.assign(node)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self.local[node.target.id] = node
            elif type(node).__name__ == "TypeAlias":
                self.local[node.name.id] = node
            else:
                self.collect(inner_statements(node))
        self.overloads.update(overloads_of(self, body))

    def assign(self, node):
        for target in node.targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    self.local[name.id] = class_of_call(self, name.id, node.value) or node

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

    def short(self, node):
        """The last part of a name that types come from; other names with their module."""
        return short(self.dotted(node))


def short(dotted):
    head, _, tail = (dotted or "").rpartition(".")
    return tail if head in KNOWN else dotted


def inner_statements(node):
    """Those of an `if`, `try`, `with` and the like: they belong to whatever holds the block."""
    found = [*getattr(node, "body", []), *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
    for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
        found += part.body
    return found if isinstance(node, ast.stmt) else []


def overloads_of(module, body):
    """Name → the definitions that are marked `@overload`, in order."""
    found = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(module.short(mark) == "overload" for mark in node.decorator_list):
            found.setdefault(node.name, []).append(node)
    return found


def class_of_call(module, name, call):
    """`P = TypedDict("P", {"x": int})` and its like as the class statement that says the same."""
    kind = module.short(call.func) if isinstance(call, ast.Call) else None
    if kind not in ("TypedDict", "NamedTuple", "namedtuple", "Enum", "IntEnum", "StrEnum") or len(call.args) < 2:
        return None
    entries = entries_of(call.args[1])
    if entries is None:
        return None
    body = []
    for at, (entry, value) in enumerate(entries):
        target = ast.Name(entry, ast.Store())
        if kind in ("Enum", "IntEnum", "StrEnum"):
            default = ast.Constant(entry.lower() if kind == "StrEnum" else at + 1)
            body.append(ast.Assign([target], value or default))
        else:
            anything = ast.Name("object" if kind == "TypedDict" else "Any", ast.Load())
            body.append(ast.AnnAssign(target, value or anything, None, 1))
    base = ast.Name("NamedTuple", ast.Load()) if kind == "namedtuple" else call.func
    made = ast.ClassDef(name, [base], call.keywords, body or [ast.Pass()], [])
    made.type_params = []
    return ast.fix_missing_locations(ast.copy_location(made, call))


def entries_of(node):
    """(name, value or None) of `{"x": int}`, `[("x", int)]`, `["x"]` and `"x y"`; None for anything else."""
    def text(one):
        return one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else None

    if text(node) is not None:
        entries = [(name, None) for name in node.value.replace(",", " ").split()]
    elif isinstance(node, ast.Dict):
        entries = [(text(key), value) for key, value in zip(node.keys, node.values)]
    elif isinstance(node, (ast.List, ast.Tuple)):
        pairs = [one.elts if isinstance(one, ast.Tuple) and len(one.elts) == 2 else (one, None) for one in node.elts]
        entries = [(text(name), value) for name, value in pairs]
    else:
        return None
    return None if any(name is None for name, _ in entries) else entries


class Files:
    """Modules by path, and the way from a name to its definition."""

    def __init__(self, roots):
        self.roots = roots
        self.known = {}

    def load(self, path):
        path = os.path.realpath(path)
        if path not in self.known:
            self.known[path] = Module(path)
        return self.known[path]

    def find(self, module, node):
        """(module, definition) of a name of ours, through imports; None for all other names."""
        if isinstance(node, ast.Attribute):
            base = self.module_of(module, node.value)
            return base and self.named(base, node.attr)
        return self.named(module, node.id) if isinstance(node, ast.Name) else None

    def named(self, module, name, steps=0):
        if name in module.local:
            return module, module.local[name]
        if steps > STEPS_MAX:
            return None
        if name in module.imports:
            level, origin, attribute = module.imports[name]
            origin = self.at(module, level, origin) if attribute is not None else None
            return origin and self.named(origin, attribute, steps + 1)
        for level, origin in module.stars:
            origin = self.at(module, level, origin)
            found = origin and not name.startswith("_") and self.named(origin, name, steps + 1)
            if found:
                return found
        return None

    def module_of(self, module, node):
        """The module that `a` or `a.b` names."""
        dotted = module.dotted(node)
        if dotted is None:
            return None
        while isinstance(node, ast.Attribute):
            node = node.value
        level = module.imports[node.id][0] if node.id in module.imports else None
        return None if level is None else self.at(module, level, dotted)

    def at(self, module, level, name):
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


class Scope:
    """Where an annotation stands: its module, and what type variables mean there (name → a function from way to text)."""

    def __init__(self, module, variables=None):
        self.module = module
        self.variables = variables or {}

    def within(self, variables):
        return Scope(self.module, {**self.variables, **variables})
