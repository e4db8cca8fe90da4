"""Writes TypeScript declarations of Python files, by reading them; nothing of theirs is imported or run.

Run by `bireme types` with the interpreter of the service that the files belong to. On stdin it reads
`{"describe": [file, …], "scan": [file, …], "roots": [folder, …]}`, on stdout it writes
`{"declarations": {file: {"text", "names"} or {"error"}}, "modules": [{"file", "line", "name"}, …], "numpy"}`: for the first list what
TypeScript is told (`names` are those that it imports from 'bireme'), for the second the literals in calls of `bireme.node`, and whether NumPy is installed.
"""

import ast
import importlib.util
import json
import re
import sys

from .classes import BIREME
from .files import Files, Module
from .functions import Functions
from .text import RESERVED, comment, property_name


class Writer(Functions):
    """The declarations of one file."""

    def write(self):
        body, entries = [], []
        for name in self.exported():
            exported = self.export(name)
            if exported is None:
                continue
            text, about = exported
            entries.append(f"  {property_name(name)}: typeof {'_' if name in RESERVED else ''}{name};\n")
            if name in RESERVED:
                body.append(f"{comment(about, '')}declare const _{name}: {text};\nexport {{ _{name} as {name} }};\n")
            else:
                body.append(f"{comment(about, '')}export const {name}: {text};\n")
        about = comment(ast.get_docstring(self.module.tree), "")
        module = f"{about}declare const _module: {{\n{''.join(entries)}}};\nexport default _module;\n"
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


def declaration(files, path):
    try:
        return Writer(files, files.load(path)).write()
    except SyntaxError as error:
        return {"error": f"{path}:{error.lineno}: {error.msg}"}
    except (OSError, ValueError, RecursionError) as error:
        return {"error": f"{path}: {error}"}


def modules(path):
    """Literals in calls of `bireme.node`, under whatever name the file imports it, be it within a function."""
    try:
        nodes = list(ast.walk(Module(path).tree))
    except (SyntaxError, OSError, ValueError, RecursionError):
        return
    imported = [(node, name) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for name in node.names]
    packages = {name.asname or name.name for node, name in imported if isinstance(node, ast.Import) and name.name == "bireme"}
    functions = {
        name.asname or name.name
        for node, name in imported
        if isinstance(node, ast.ImportFrom) and (node.level, node.module, name.name) == (0, "bireme", "node")
    }
    for node in nodes:
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called, name = node.func, node.args[0]
        if isinstance(called, ast.Attribute):
            is_node = called.attr == "node" and isinstance(called.value, ast.Name) and called.value.id in packages
        else:
            is_node = isinstance(called, ast.Name) and called.id in functions
        if is_node and isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield {"file": path, "line": node.lineno, "name": name.value}


def main():
    asked = json.load(sys.stdin)
    files = Files(asked["roots"])
    declarations = {path: declaration(files, path) for path in asked["describe"]}
    found = [one for path in asked["scan"] for one in modules(path)]
    json.dump({"declarations": declarations, "modules": found, "numpy": importlib.util.find_spec("numpy") is not None}, sys.stdout)


main()
