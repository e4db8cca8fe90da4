"""The values of calls: protocol/golden/calls.json, random ones, and what cannot cross or is none.

These run in the interpreter of the tests, on the codec that calls use.
"""

import array
import dataclasses
import datetime as datetime_module
import enum
import json
import math
import re
import struct
import sys
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import REPOSITORY, runtime

sys.path.insert(0, str(runtime()))
from bireme import CannotCross
from bireme._native import decode_value, encode_value

GOLDEN = json.loads((REPOSITORY / "protocol/golden/calls.json").read_text("utf-8"))
NAMES = {
    "__name__": __name__,
    "Decimal": Decimal, "UUID": UUID, "Enum": Enum, "re": re, "array": array, "np": np, "date": date, "datetime": datetime, "time": time,
    "timedelta": timedelta, "timezone": timezone, "ZoneInfo": ZoneInfo, "dataclass": dataclass, "namedtuple": namedtuple,
}


def test_a_segment_s_place_is_as_in_the_golden_frame():
    (entry,) = [frame for frame in GOLDEN["frames"] if frame["kind"] == "MEMORY" and frame["sample"]]
    payload = bytes.fromhex(entry["hex"])[12:]
    assert decode_value(payload) == entry["sample"]
    assert encode_value(entry["sample"]) == payload


def same(left, right):
    """Equal, of the same type, and with NaN equal to itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, datetime):
        return left == right and left.utcoffset() == right.utcoffset() and str(left.tzinfo) == str(right.tzinfo)
    return left == right


def golden(*keys):
    rows = [(row, expression) for row in GOLDEN["values"] for expression in [row.get(keys[0])] if expression is not None]
    return pytest.mark.parametrize("row, found", rows, ids=[row["name"] for row, _ in rows])


@golden("from_python")
def test_encodes_golden_values(row, found):
    for expression in found:
        assert encode_value(eval(expression, dict(NAMES))).hex() == row["hex"], expression


@golden("to_python")
def test_decodes_golden_values(row, found):
    value = decode_value(bytes.fromhex(row["hex"]))
    expected = eval(found, dict(NAMES))
    assert same(value, expected), (value, expected)


@pytest.mark.parametrize("row", GOLDEN["refused"], ids=lambda row: row["name"])
def test_refuses_what_is_no_value(row):
    with pytest.raises(ValueError):
        decode_value(bytes.fromhex(row["hex"]))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.decimals(allow_nan=False) | st.uuids()
    | st.dates() | st.times() | st.timedeltas() | st.datetimes()
    | st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones() | st.just(timezone.utc), allow_imaginary=False)
)
hashable = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.uuids()
values = st.recursive(
    scalars | st.sets(hashable, max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters()), inner, max_size=5) | st.dictionaries(hashable, inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=400, deadline=None)
@given(values)
def test_values_survive_the_round_trip(value):
    assert same(decode_value(encode_value(value)), value)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80) | st.tuples(st.sampled_from(GOLDEN["values"]), st.integers(0, 60), st.integers(0, 255)).map(
    lambda found: bytes(octet ^ found[2] * (at == found[1]) for at, octet in enumerate(bytes.fromhex(found[0]["hex"])))
))
def test_any_bytes_are_a_value_or_refused(data):
    try:
        decode_value(data)
    except (ValueError, CannotCross, TypeError):
        pass


@pytest.mark.parametrize("dtype", [
    "bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64", "M8[us]", "m8[ns]", "U3", "S4", ">f8", "V3",
    [("a", "i4"), ("b", "f8", (2,)), ("c", "U2")],
], ids=str)
@pytest.mark.parametrize("shape", [(0,), (6,), (2, 3), (3, 1, 2)], ids=str)
def test_arrays_of_every_type_and_strides(dtype, shape):
    size = math.prod(shape)
    plain = np.frombuffer(bytes(range(size * np.dtype(dtype).itemsize)), np.dtype(dtype)).reshape(shape) if size and "U" not in str(dtype) else np.zeros(shape, dtype)
    for source in (plain, np.asfortranarray(plain), plain[::-1], plain.T, np.repeat(plain, 2, axis=0)[::2]):
        arrived = decode_value(encode_value(source))
        assert (arrived.dtype, arrived.shape) == (source.dtype, source.shape)
        assert arrived.tobytes() == source.tobytes()
        assert arrived.size == 0 or arrived.flags.writeable


def test_tables_of_arrow():
    table = pa.table({"a": [1, None, 3], "b": ["x", "y", None]})
    assert decode_value(encode_value(table)).equals(table)
    assert decode_value(encode_value(table.to_batches()[0])).equals(table)


class Color(Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    pass


class Point(pydantic.BaseModel):
    x: int
    when: datetime


@dataclasses.dataclass
class Line:
    begin: Point
    label: str
    color: Color = Color.RED


@pytest.mark.parametrize("value, expected", [
    (Level.LOW, 1),
    (Text("a"), "a"),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (Line(Point(x=1, when=datetime(2024, 1, 2)), "l"), {"begin": {"x": 1, "when": datetime(2024, 1, 2)}, "label": "l", "color": "red"}),
    ([np.float32(0.5), np.int8(-1), np.str_("s"), np.bytes_(b"b")], [0.5, -1, "s", b"b"]),
    (memoryview(b"abcd")[::2], b"ac"),
    (array.array("l", [1, -1]), np.array([1, -1], f"i{array.array('l').itemsize}")),
], ids=lambda value: str(value)[:30])
def test_types_that_become_others(value, expected):
    assert same(decode_value(encode_value(value)), expected)


def nested(depth):
    value = None
    for _ in range(depth):
        value = [value]
    return value


class User:
    pass


def cycle():
    value = {}
    value["again"] = [value]
    return value


@pytest.mark.parametrize("value, message", [
    ({"user": {"lock": threading.Lock()}}, "result.user.lock: _thread.lock cannot cross"),
    ([1, (2, {"a b": User()})], 'result[1][1]["a b"]: test_calls_values.User cannot cross'),
    ({1: object()}, "result[1]: object cannot cross"),
    ({(1, User): 1}, "result{key "),
    ([{1j}], "result[0][0]: complex cannot cross"),
    (np.array([object()]), "result: numpy.ndarray cannot cross"),
    (np.ma.array([1], mask=[True]), "result: numpy.ma.MaskedArray cannot cross"),
    (re.compile("a", re.I), "result: re.Pattern cannot cross"),
    (Line, "result: type cannot cross"),
    (cycle(), "result.again[0].again"),
    (nested(201), "more than 200 values in one another cannot cross"),
], ids=lambda value: str(value)[:40])
def test_what_cannot_cross_names_its_path(value, message):
    with pytest.raises(CannotCross) as caught:
        encode_value(value)
    assert message in str(caught.value)
    assert caught.value.code == "BIREME_VALUE" and isinstance(caught.value, TypeError)


def test_two_hundred_values_in_one_another_cross():
    assert decode_value(encode_value(nested(200))) == nested(200)


@pytest.mark.parametrize("form, reason", [
    ("d90102818100", "unhashable"),
    ("d903e9a3011b000001000000000025002965 5554432b31".replace(" ", ""), ""),
])
def test_what_this_process_cannot_make_is_an_error_of_the_call(form, reason):
    with pytest.raises((TypeError, ValueError)) as caught:
        decode_value(bytes.fromhex(form))
    assert reason in str(caught.value)
