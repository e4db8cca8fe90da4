"""The rare part of the values that calls carry: protocol/calls.md, "Values". The common part is in native/src/values.

`reduce` and `restore` are called by the codec. No module is imported for a type before a value of that type is met.
"""

import ast
import datetime
import functools
import math
import re
import sys
import types

from ._native import Memory
from .errors import CannotCross

# Of the arrays' types, those that JavaScript has, by NumPy's `dtype.str`, with their tags (RFC 8746).
_TAG_OF_DTYPE = {
    "|u1": 64, "<u2": 69, "<u4": 70, "<u8": 71, "|i1": 72, "<i2": 77, "<i4": 78, "<i8": 79, "<f4": 85, "<f8": 86,
}
_DTYPE_OF_TAG = {tag: dtype for dtype, tag in _TAG_OF_DTYPE.items()} | {68: "|u1", 84: "<f2"}
# The same for array.array; l and L are as wide as the platform's long.
_TYPECODE_OF_DTYPE = {
    "|u1": "B", "<u2": "H", "<u4": "I", "<u8": "Q", "|i1": "b", "<i2": "h", "<i4": "i", "<i8": "q", "<f4": "f", "<f8": "d",
}
# No setting makes less than this cross in shared memory, unless it lies there already.
SHARED_BYTES_LEAST = 4096
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_SECOND = datetime.timedelta(seconds=1)


def reduce(value):
    """What stands for `value` on the wire.

    `(None, simpler)`: that value; `(tag, simpler)`: that value in a tag; `(kind, name)`: it stays here and a handle of that
    kind crosses; None: it cannot cross.
    """
    reducer = _REDUCERS.get(type(value))
    if reducer is None:
        reducer = _REDUCERS[type(value)] = _find_reducer(type(value))
    return reducer(value)


def restore(tag, value):
    """The value that `tag` makes of `value`. Raises ValueError for what no peer may send, CannotCross for what can't be had here."""
    restorer = _RESTORERS.get(tag)
    if restorer is None:
        raise ValueError(f"tag {tag} is none of a value")
    try:
        return restorer(tag, value)
    except (CannotCross, ValueError):
        raise
    except (TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError) as error:
        raise ValueError(f"tag {tag}: {error}") from error


def _find_reducer(kind):
    import enum

    if issubclass(kind, enum.Enum):
        return lambda value: (None, value.value)
    family = kind.__module__.partition(".")[0]
    if "numpy" in sys.modules and (family == "numpy" or issubclass(kind, sys.modules["numpy"].ndarray)):
        return _numpy_reducer(kind)
    if family == "pyarrow":
        return _reduce_arrow
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        return lambda value: (None, value.model_dump())
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        names = [field.name for field in dataclasses.fields(kind)]
        return lambda value: (None, {name: getattr(value, name) for name in names})
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda value: (None, dict(zip(value._fields, value)))
    for base in kind.__mro__:
        reducer = _BY_BASE.get(base) or _BY_BASE.get(f"{base.__module__}.{base.__qualname__}")
        if reducer is not None:
            return reducer
    if hasattr(kind, "__anext__"):
        return _stream
    return lambda value: None


def _numpy_reducer(kind):
    import numpy

    if issubclass(kind, numpy.ma.MaskedArray):
        return lambda value: None
    if issubclass(kind, numpy.ndarray):
        return _reduce_array
    if issubclass(kind, numpy.bool_):
        return lambda value: (None, bool(value))
    if issubclass(kind, numpy.integer) and not issubclass(kind, numpy.timedelta64):
        return lambda value: (None, int(value))
    if issubclass(kind, (numpy.float16, numpy.float32, numpy.float64)):
        return lambda value: (None, float(value))
    if issubclass(kind, str):
        return lambda value: (None, str(value))
    if issubclass(kind, bytes):
        return lambda value: (None, bytes(value))
    if issubclass(kind, numpy.generic):
        return lambda value: _reduce_array(numpy.asarray(value))
    if issubclass(kind, numpy.ufunc):
        return _function
    return lambda value: None


def _reduce_array(array):
    dtype = array.dtype
    if dtype.hasobject:
        return None
    tag = _TAG_OF_DTYPE.get(dtype.str) if array.ndim == 1 else None
    if tag is not None:
        return tag, _bytes_of(array)
    name = str(dtype.descr) if dtype.fields else dtype.str
    return 39003, [name, list(array.shape), _bytes_of(array)]


def _bytes_of(array):
    # An array that has its memory itself, and little of it, is the usual case.
    if array.base is None and array.nbytes < SHARED_BYTES_LEAST:
        return array.tobytes()
    from .arrays import crossing

    return crossing(array)


def _restore_typed(tag, data):
    dtype = _DTYPE_OF_TAG.get(tag)
    if dtype is None or not isinstance(data, (bytearray, Memory)):
        raise ValueError(f"tag {tag} is none of an array")
    length, rest = divmod(_length(data), int(dtype[-1]))
    if rest:
        raise ValueError(f"an array of {dtype} in {_length(data)} bytes")
    numpy = _numpy()
    if numpy is not None:
        return _array_over(data, numpy.dtype(dtype), (length,))
    if isinstance(data, Memory):
        data = data.tobytes()
    import array

    if dtype not in _TYPECODE_OF_DTYPE:
        raise CannotCross(f"an array of {dtype} needs NumPy here: install it")
    return array.array(_TYPECODE_OF_DTYPE[dtype], data)


def _restore_array(tag, form):
    name, shape, data = form
    numpy = _numpy()
    if numpy is None:
        raise CannotCross("an array of more than one dimension, or of this type, needs NumPy here: install it")
    dtype = numpy.dtype(ast.literal_eval(name) if name.startswith("[") else name)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError("a shape that is none")
    if len(shape) and math.prod(shape) * dtype.itemsize != _length(data):
        raise ValueError(f"an array of shape {shape} in {_length(data)} bytes")
    if _length(data) == 0:
        return numpy.zeros(shape, dtype)
    return _array_over(data, dtype, shape)


def _length(data):
    return data.nbytes if isinstance(data, Memory) else len(data)


def _array_over(data, dtype, shape):
    if isinstance(data, Memory):
        from .arrays import over

        return over(data, dtype, shape)
    return _numpy().frombuffer(data, dtype).reshape(shape)


@functools.cache
def _numpy():
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _reduce_python_array(array):
    dtype = next((name for name, code in _TYPECODE_OF_DTYPE.items() if code == array.typecode), None)
    if array.typecode in "lL":
        dtype = f"<{'i' if array.typecode == 'l' else 'u'}{array.itemsize}"
    return None if dtype is None else (_TAG_OF_DTYPE[dtype], array.tobytes())


def _reduce_arrow(value):
    import pyarrow

    if not isinstance(value, (pyarrow.Table, pyarrow.RecordBatch)):
        return None
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, value.schema) as writer:
        writer.write(value)
    return 39005, sink.getvalue().to_pybytes()


def _restore_arrow(tag, data):
    try:
        import pyarrow.ipc
    except ImportError:
        raise CannotCross("an Arrow table needs pyarrow here: install it") from None
    if isinstance(data, Memory):
        # The table's columns keep the memory.
        data = pyarrow.foreign_buffer(data.address, data.nbytes, data)
    with pyarrow.ipc.open_stream(data) as reader:
        return reader.read_all()


def _restore_bytes(tag, memory):
    # Bytes that both sides see are an array, for bytes can't change.
    return memory.tobytes() if _numpy() is None else _restore_typed(64, memory)


def _reduce_datetime(value):
    offset = value.utcoffset()
    if offset is None:
        return 39001, ["datetime", value.isoformat()]
    since = value - _EPOCH
    return 1001, {1: since.days * 86400 + since.seconds, -6: since.microseconds, -10: _zone_name(value.tzinfo, offset)}


def _zone_name(zone, offset):
    if zone is datetime.timezone.utc:
        return "UTC"
    # zoneinfo's name for it, and pytz's.
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if isinstance(name, str):
        return name
    sign, offset = ("-", -offset) if offset.days < 0 else ("+", offset)
    minutes, seconds = divmod(offset.seconds, 60)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)(?::(\d\d))?")


def _zone_named(name):
    if name == "UTC":
        return datetime.timezone.utc
    offset = _OFFSET.fullmatch(name)
    if offset:
        sign, hours, minutes, seconds = offset.groups()
        delta = datetime.timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0))
        return datetime.timezone(-delta if sign == "-" else delta)
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise CannotCross(f"the time zone {name!r} is not known here: {error}") from None


def _restore_moment(tag, form):
    seconds, microseconds, name = form[1], form[-6], form[-10]
    if type(seconds) is not int or type(microseconds) is not int or not 0 <= microseconds < 1_000_000:
        raise ValueError("a date that is none")
    zone = _zone_named(name)
    try:
        return (_EPOCH + datetime.timedelta(seconds=seconds, microseconds=microseconds)).astimezone(zone)
    except OverflowError:
        raise CannotCross(f"the date {seconds} s after 1970 is beyond the years 1 to 9999 that Python knows") from None


def _reduce_duration(value):
    sign, value = ("-", -value) if value.days < 0 else ("", value)
    text = f"{sign}PT{value.days * 86400 + value.seconds}"
    if value.microseconds:
        text += f".{value.microseconds:06}".rstrip("0")
    return 39001, ["duration", text + "S"]


_DURATION = re.compile(
    r"([+-]?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d+))?S)?)?"
)


def _restore_plain(tag, form):
    kind, text = form
    if kind in ("datetime", "time"):
        try:
            return getattr(datetime, kind).fromisoformat(text)
        except ValueError as error:
            raise CannotCross(f"a {kind} that Python has not: {error}") from None
    if kind != "duration":
        raise ValueError(f"a plain {kind!r}")
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CannotCross(f"the duration {text!r} has parts that Python's timedelta has not")
    sign, weeks, days, hours, minutes, seconds, fraction = found.groups(default="0")
    try:
        duration = datetime.timedelta(
            weeks=int(weeks), days=int(days), hours=int(hours), minutes=int(minutes), seconds=int(seconds),
            microseconds=int(f"{fraction:0<6}"[:6]),
        )
    except OverflowError:
        raise CannotCross(f"the duration {text!r} is longer than Python's timedelta can be") from None
    return -duration if sign == "-" else duration


def _restore_decimal(tag, text):
    from decimal import Decimal

    if not isinstance(text, str):
        raise ValueError("a decimal that is no text")
    return Decimal(text)


def _restore_uuid(tag, data):
    from uuid import UUID

    return UUID(bytes=data)


def _reduce_pattern(pattern):
    plain = isinstance(pattern.pattern, str) and pattern.flags == re.UNICODE
    return (35, pattern.pattern) if plain else None


def _restore_pattern(tag, text):
    if not isinstance(text, str):
        raise ValueError("a regular expression that is no text")
    try:
        return re.compile(text)
    except re.error as error:
        raise CannotCross(f"the regular expression {text!r} is none of Python's: {error}") from None


def _reduce_error(error):
    from .errors import describe

    return 39007, describe(error)


def _restore_error(tag, form):
    from .errors import rebuild

    return rebuild(form)


def _function(function):
    while isinstance(function, functools.partial):
        function = function.func
    return "function", getattr(function, "__name__", "")


def _stream(iterator):
    return "stream", getattr(iterator, "__name__", "")


# By the type, or by its full name where the module may not be imported yet.
_BY_BASE = {
    str: lambda value: (None, str.__str__(value)),
    int: lambda value: (None, int.__int__(value)),
    float: lambda value: (None, float.__float__(value)),
    bytes: lambda value: (None, bytes(memoryview(value))),
    bytearray: lambda value: (None, bytes(value)),
    memoryview: lambda value: (None, value.tobytes()),
    list: lambda value: (None, list(value)),
    tuple: lambda value: (None, tuple(value)),
    dict: lambda value: (None, dict(value)),
    set: lambda value: (None, set(value)),
    frozenset: lambda value: (None, frozenset(value)),
    datetime.datetime: _reduce_datetime,
    datetime.date: lambda value: (1004, value.isoformat()),
    datetime.time: lambda value: (39001, ["time", value.isoformat()]),
    datetime.timedelta: _reduce_duration,
    re.Pattern: _reduce_pattern,
    BaseException: _reduce_error,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _function,
    types.MethodType: _function,
    functools.partial: _function,
    types.GeneratorType: _stream,
    types.AsyncGeneratorType: _stream,
    "bireme._native.Function": _function,
    "bireme.marks.Batched": _function,
    "decimal.Decimal": lambda value: (39002, str(value)),
    "uuid.UUID": lambda value: (37, value.bytes),
    "array.array": _reduce_python_array,
}
# Grows with the number of types that are met, which a program's classes bound.
_REDUCERS = {}
_RESTORERS = {
    1001: _restore_moment,
    1004: lambda tag, text: datetime.date.fromisoformat(text),
    39001: _restore_plain,
    39002: _restore_decimal,
    37: _restore_uuid,
    35: _restore_pattern,
    39003: _restore_array,
    39004: _restore_bytes,
    39005: _restore_arrow,
    39007: _restore_error,
} | {tag: _restore_typed for tag in range(64, 88)}
