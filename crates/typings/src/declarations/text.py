"""Pieces of TypeScript, and what docstrings say."""

import ast
import json
import re

# Words that name nothing in TypeScript's modules.
RESERVED = set(
    "await break case catch class const continue debugger default delete do else enum export extends false finally for function if"
    " import in instanceof new null return super switch this throw true try typeof var void while with yield let static implements"
    " interface package private protected public arguments eval".split()
)


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


def union_of(texts):
    """One of each; functions in brackets, since `=>` binds more loosely than `|`."""
    parts = []
    for text in texts:
        if text == "any":
            return "any"
        parts += [part for part in split_union(text) if part not in parts]
    if len(parts) == 1:
        return parts[0]
    return " | ".join(f"({part})" if "=>" in part and split_union(part) == [part] and not is_bracketed(part) else part for part in parts)


def is_bracketed(text):
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return at == len(text) - 1
    return False


def array_of(text):
    return f"Array<{text}>" if "|" in text or "=>" in text else f"{text}[]"


def literal(node):
    """The literal type of a constant; None for others."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        inner = literal(node.operand)
        return inner and f"-{inner}"
    if isinstance(node, ast.Constant):
        if node.value is None:
            return "null"
        if isinstance(node.value, bool):
            return str(node.value).lower()
        if isinstance(node.value, str):
            return json.dumps(node.value)
        if isinstance(node.value, (int, float)):
            return repr(node.value)
    return None


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


def docstring(node):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
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
