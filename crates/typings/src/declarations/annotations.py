"""Annotations as types of TypeScript."""

import ast

from .files import Scope
from .text import array_of, literal, union_of

SEQUENCES = {"list", "Sequence", "MutableSequence", "Iterable", "Collection", "List", "deque", "Deque", "Reversible"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "Dict", "OrderedDict", "defaultdict", "DefaultDict", "Counter"}
SETS = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
STREAMS = {"Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "AsyncIterable"}
WRAPPERS = {"Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly", "InitVar"}
BYTES = ("Uint8Array", "Uint8Array | ArrayBuffer")
NUMBER = ("number", "number | bigint")
# What plain names of the standard library, NumPy and pydantic become: for what JavaScript gets, and for what it may give.
PLAIN = {
    "None": ("null", "null | undefined"),
    "NoneType": ("null", "null | undefined"),
    "bool": ("boolean", "boolean"),
    "int": NUMBER,
    "float": NUMBER,
    "str": ("string", "string"),
    "LiteralString": ("string", "string"),
    "AnyStr": ("string | Uint8Array", "string | Uint8Array | ArrayBuffer"),
    "bytes": BYTES,
    "bytearray": BYTES,
    "memoryview": BYTES,
    "Buffer": BYTES,
    "object": ("unknown", "unknown"),
    "datetime.datetime": ("Date | PlainDateTime", "Date | PlainDateTime | string"),
    "datetime.date": ("PlainDate", "PlainDate | string"),
    "datetime.time": ("PlainTime", "PlainTime"),
    "datetime.timedelta": ("Duration", "Duration"),
    "decimal.Decimal": ("Decimal", "Decimal | string | number"),
    "uuid.UUID": ("Uuid", "Uuid | string"),
    "numbers.Number": NUMBER,
    "numbers.Real": NUMBER,
    "numbers.Integral": NUMBER,
    "re.Pattern": ("RegExp", "RegExp"),
    "BaseException": ("Error", "Error"),
    "Exception": ("Error", "Error"),
    "NoReturn": ("never", "never"),
    "Never": ("never", "never"),
    "complex": ("never", "never"),
    "numpy.ndarray": ("NumberArray | NdArray", "NumberArray | NdArray"),
    "numpy.typing.NDArray": ("NumberArray | NdArray", "NumberArray | NdArray"),
    "numpy.typing.ArrayLike": ("NumberArray | NdArray", "NumberArray | NdArray | number | boolean | readonly unknown[]"),
    "numpy.bool_": ("boolean", "boolean"),
    "numpy.str_": ("string", "string"),
    "pydantic.EmailStr": ("string", "string"),
    "pydantic.NameEmail": ("any", "string"),
    "pydantic.StrictStr": ("string", "string"),
    "pydantic.StrictBool": ("boolean", "boolean"),
    "pydantic.StrictBytes": BYTES,
    "pydantic.AwareDatetime": ("Date", "Date | string"),
    "pydantic.NaiveDatetime": ("PlainDateTime", "PlainDateTime | string"),
    "pydantic.PastDatetime": ("Date | PlainDateTime", "Date | PlainDateTime | string"),
    "pydantic.FutureDatetime": ("Date | PlainDateTime", "Date | PlainDateTime | string"),
    "pydantic.PastDate": ("PlainDate", "PlainDate | string"),
    "pydantic.FutureDate": ("PlainDate", "PlainDate | string"),
}
PLAIN |= {f"pydantic.{sign}{kind}": NUMBER for kind in ("Int", "Float") for sign in ("Strict", "Positive", "Negative", "NonNegative", "NonPositive")}
PLAIN |= {f"pydantic.UUID{version}": ("Uuid", "Uuid | string") for version in (1, 3, 4, 5, 6, 7, 8)}
ARRAYS = {
    "float64": "Float64Array", "double": "Float64Array", "float32": "Float32Array", "single": "Float32Array", "int8": "Int8Array", "int16": "Int16Array",
    "int32": "Int32Array", "int64": "BigInt64Array", "int_": "BigInt64Array", "intp": "BigInt64Array", "uint8": "Uint8Array", "uint16": "Uint16Array",
    "uint32": "Uint32Array", "uint64": "BigUint64Array", "uintp": "BigUint64Array", "float": "Float64Array", "int": "BigInt64Array",
}  # fmt: skip
PLAIN |= {f"numpy.{name}": NUMBER for name in [*ARRAYS, "float16", "half", "integer", "floating", "number", "byte", "short", "intc", "longlong"]}
# Types of NumPy that no typed array of JavaScript has.
OTHER_ARRAYS = {"bool", "bool_", "float16", "half", "complex64", "complex128", "datetime64", "timedelta64", "str_", "bytes_", "void", "longdouble"}
# To whom a value goes: to JavaScript, or from it, which may give more than it gets.
RESULT, PARAMETER = 0, 1


class Annotations:
    """What annotations are in TypeScript. Classes and aliases of our own are the business of what is built on this."""

    def __init__(self, files):
        self.files = files

    def named(self, scope, definition, way, arguments):
        """A class or alias of ours; `arguments` are the texts of its type arguments by way, or None."""
        raise NotImplementedError

    def type(self, scope, node, way):
        """An annotation in TypeScript; `any` where it is unknown."""
        if isinstance(node, ast.Constant):
            if node.value is None:
                return PLAIN["None"][way]
            return self.parsed(scope, node.value, way) if isinstance(node.value, str) else "any"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self.union(scope, [node.left, node.right], way)
        if isinstance(node, ast.Subscript):
            return self.subscript(scope, node, way)
        if isinstance(node, ast.Starred):
            return self.type(scope, node.value, way)
        if isinstance(node, ast.Name) and node.id in scope.variables:
            return scope.variables[node.id](way)
        return self.name(scope, node, way)

    def name(self, scope, node, way):
        dotted = scope.module.dotted(node) if node is not None else None
        if dotted is None:
            return "any"
        found = self.files.find(scope.module, node)
        if found is not None:
            return self.named(Scope(found[0]), found[1], way, None)
        name = scope.module.short(node)
        if name == "Self" and "Self" in scope.variables:
            return scope.variables["Self"](way)
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

    def parsed(self, scope, text, way):
        node = parsed(text)
        return "any" if node is None else self.type(scope, node, way)

    def union(self, scope, nodes, way):
        return union_of(self.type(scope, node, way) for node in nodes)

    def subscript(self, scope, node, way):
        name = scope.module.short(node.value)
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        found = self.files.find(scope.module, node.value)
        if found is not None:
            return self.named(Scope(found[0]), found[1], way, [self.later(scope, argument) for argument in arguments])
        inner = lambda at: self.type(scope, arguments[at], way) if at < len(arguments) else "any"  # noqa: E731
        if name == "Optional":
            return self.union(scope, [arguments[0], ast.Constant(None)], way)
        if name == "Union":
            return self.union(scope, arguments, way)
        if name == "Literal":
            return union_of(self.literal(scope, argument) for argument in arguments)
        if name in WRAPPERS:
            return inner(0)
        if name in ("Awaitable", "Coroutine"):
            return inner(len(arguments) - 1)
        if name in SEQUENCES:
            return array_of(inner(0))
        if name in ("tuple", "Tuple"):
            return self.tuple(scope, arguments, way)
        if name in MAPPINGS:
            key = inner(0)
            value = "number" if name == "Counter" else inner(1)
            return f"Record<string, {value}>" if key in ("string", "any") else f"Map<{key}, {value}>"
        if name in SETS:
            return f"Set<{inner(0)}>"
        if name in STREAMS:
            return f"AsyncIterable<{inner(0)}>"
        if name == "Callable":
            return self.callable(scope, arguments, way)
        dotted = scope.module.dotted(node.value)
        if dotted in ("numpy.ndarray", "numpy.typing.NDArray"):
            return self.numbers(scope, arguments)
        return PLAIN[dotted][way] if dotted in PLAIN else "any"

    def later(self, scope, node):
        """The text of a type argument, once it is known which way its type goes."""
        return lambda way: self.type(scope, node, way)

    def tuple(self, scope, arguments, way):
        if len(arguments) == 2 and isinstance(arguments[1], ast.Constant) and arguments[1].value is ...:
            return array_of(self.type(scope, arguments[0], way))
        if len(arguments) == 1 and isinstance(arguments[0], ast.Tuple):
            return "[]"
        items = [f"...{text}" if isinstance(one, ast.Starred) else text for one in arguments for text in [self.type(scope, one, way)]]
        return f"[{', '.join(items)}]"

    def literal(self, scope, node):
        """`Literal["a"]`, and a member of an Enum, which crosses as its value."""
        if isinstance(node, ast.Attribute):
            found = self.files.find(scope.module, node.value)
            value = found and self.member(Scope(found[0]), found[1], node.attr)
            return value or "any"
        return literal(node) or "any"

    def member(self, scope, definition, name):
        """The literal type of an Enum's member, or None."""
        raise NotImplementedError

    def numbers(self, scope, arguments):
        """An array of NumPy. One of one dimension is a typed array, if JavaScript has its type; every other an NdArray."""
        node = arguments[-1]
        if isinstance(node, ast.Subscript):
            node = node.slice
        name = (scope.module.dotted(node) or "").rpartition(".")[2]
        shape = arguments[0] if len(arguments) > 1 else None
        flat = isinstance(shape, ast.Subscript) and scope.module.short(shape.value) == "tuple" and not isinstance(shape.slice, ast.Tuple)
        deep = isinstance(shape, ast.Subscript) and not flat and not any(getattr(one, "value", 0) is ... for one in shape.slice.elts)
        if name in OTHER_ARRAYS or deep:
            return "NdArray"
        kind = ARRAYS.get(name, "NumberArray")
        return kind if flat and name in ARRAYS else f"{kind} | NdArray"

    def callable(self, scope, arguments, way):
        """A function that is passed on. One of Python's answers with a promise; one of JavaScript's may."""
        result = self.type(scope, arguments[1], way) if len(arguments) > 1 else "any"
        parameters = "...args: any[]"
        if isinstance(arguments[0], ast.List):
            parameters = ", ".join(f"arg{at}: {self.type(scope, item, 1 - way)}" for at, item in enumerate(arguments[0].elts))
        return self.arrow(parameters, result, way)

    def arrow(self, parameters, result, way):
        return f"({parameters}) => {union_of([result, f'Promise<{result}>']) if way == PARAMETER else f'Promise<{result}>'}"


def parsed(text):
    """An annotation in quotes, or None if it is none."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
