"""Random values of Python that cross to JavaScript and come home; properties.mjs is the same from the other side.

`describe` writes any value as a text that both languages write alike, so that what arrives can be compared as well as what comes back:
two mistakes that undo each other are found, too. What the table of docs/calls.md says is one value on the other side (`2.0` and `2`, a
tuple and a list, `np.uint8` and `bytes`) has one description.
"""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import hashlib
import itertools
import random
import re
import struct
import time
import uuid
import zoneinfo

import numpy

import bireme

there = bireme.node("./properties.mjs")

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]
DTYPES = [
    "?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16", ">i2", ">u4", ">i8", ">f4", ">c16",
    "M8[ns]", "M8[D]", ">M8[s]", "m8[us]", "m8", "S1", "S7", "U3", ">U2", "V5",
    [("a", "<i4"), ("b", ">f8"), ("c", "S3")],
    [("p", [("x", "<f4"), ("y", "<f4")]), ("q", "<u2", (2, 3))],
]
TYPECODES = "bBhHiIlLqQfd"
SHOWN_BYTES_MAX = 64
DEEPEST = 5
# Beyond it, a whole float stays a float in JavaScript.
WHOLE_MAX = 2**53
# Large enough for shared memory.
LARGE_BYTES = 70_000


class Color(enum.Enum):
    RED = "red"
    TWO = 2


@dataclasses.dataclass
class Point:
    x: object
    y: object


Pair = collections.namedtuple("Pair", "left right")


def same(value):
    return value


def describe(value):
    """The text that properties.mjs has for the same value."""
    if value is None:
        return "null"
    if isinstance(value, enum.Enum):
        return describe(value.value)
    if isinstance(value, numpy.generic):
        return describe(plain_of(value))
    for kinds, write in DESCRIBERS:
        if isinstance(value, kinds):
            return write(value)
    raise TypeError(f"{type(value)} is no value of the table")


def plain_of(scalar):
    """NumPy's scalars are Python's where it has the type, and arrays without dimensions elsewhere."""
    if isinstance(scalar, (numpy.str_, numpy.bytes_, numpy.bool_, numpy.float16, numpy.float32, numpy.float64)):
        return scalar.item()
    if isinstance(scalar, numpy.integer) and not isinstance(scalar, numpy.timedelta64):
        return scalar.item()
    return numpy.asarray(scalar)


def describe_float(value):
    if value.is_integer() and abs(value) <= WHOLE_MAX and struct.pack(">d", value) != struct.pack(">d", -0.0):
        return f"i{int(value)}"
    return "fnan" if value != value else "f" + struct.pack(">d", value).hex()


def describe_text(value):
    data = value.encode("utf-16-be", "surrogatepass")
    units = struct.unpack(f">{len(data) // 2}H", data)
    return '"' + "".join(chr(unit) if 32 <= unit < 127 and unit not in (34, 92) else f"\\u{unit:04x}" for unit in units) + '"'


def describe_bytes(value):
    value = bytes(value)
    if len(value) <= SHOWN_BYTES_MAX:
        return "b" + value.hex()
    return f"b{len(value)}:{hashlib.sha256(value).hexdigest()}"


def describe_dict(value):
    pairs = [f"{describe(key)}:{describe(item)}" for key, item in value.items()]
    # With such keys it is a plain object in JavaScript, which may have them in an order of its own.
    return "{" + ",".join(sorted(pairs)) + "}" if all(isinstance(key, str) for key in value) else "map(" + ",".join(pairs) + ")"


def describe_sequence(value):
    return "[" + ",".join(map(describe, value)) + "]"


def describe_datetime(value):
    if value.tzinfo is None:
        return f"PlainDateTime({value.isoformat()})"
    name = getattr(value.tzinfo, "key", None) or ("UTC" if value.tzinfo is datetime.timezone.utc else str(value.tzinfo).removeprefix("UTC"))
    return f"at{(value - EPOCH) // MICROSECOND}@{name}"


def describe_duration(value):
    # The last digit must not be that of a whole second.
    sign, value = ("-", -value) if value < datetime.timedelta(0) else ("", value)
    seconds, microseconds = divmod(value // MICROSECOND, 1_000_000)
    return f"Duration({sign}PT{seconds}{f'.{microseconds:06}'.rstrip('0') if microseconds else ''}S)"


def describe_array(value):
    if value.ndim == 1 and value.dtype.str == "|u1":
        return describe_bytes(value.tobytes())
    name = str(value.dtype.descr) if value.dtype.fields else value.dtype.str
    return f"array({name} {list(value.shape)} {describe_bytes(value.tobytes())})"


DESCRIBERS = [
    (bool, lambda value: "true" if value else "false"),
    (int, lambda value: f"i{value}"),
    (float, describe_float),
    (str, describe_text),
    ((bytes, bytearray, memoryview), describe_bytes),
    (Pair, lambda value: describe_dict(value._asdict())),
    (Point, lambda value: describe_dict({"x": value.x, "y": value.y})),
    ((list, tuple), describe_sequence),
    (dict, describe_dict),
    ((set, frozenset), lambda value: "set(" + ",".join(sorted(map(describe, value))) + ")"),
    (datetime.datetime, describe_datetime),
    (datetime.date, lambda value: f"PlainDate({value.isoformat()})"),
    (datetime.time, lambda value: f"PlainTime({value.isoformat()})"),
    (datetime.timedelta, describe_duration),
    (decimal.Decimal, lambda value: f"Decimal({value})"),
    (uuid.UUID, lambda value: f"Uuid({value})"),
    (re.Pattern, lambda value: f"RegExp({describe_text(value.pattern)})"),
    (array.array, lambda value: describe_array(numpy.asarray(value))),
    (numpy.ndarray, describe_array),
]


class Values:
    """Values that a seed decides."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.scalars = [
            lambda: None, lambda: self.random.random() < 0.5, self.integer, self.integer, self.float, self.float, self.text, self.text,
            self.bytes, self.moment, self.day, self.naive, self.time, self.duration, self.decimal, self.uuid, self.pattern, self.numpy_scalar,
            lambda: self.random.choice(list(Color)),
        ]
        self.containers = [self.list, self.tuple, self.object, self.map, self.set, self.dataclass, self.named_tuple]
        self.arrays = [self.array, self.array, self.python_array]

    def value(self, depth=0):
        chance = self.random.random()
        if depth < DEEPEST and chance < (0.9 if depth == 0 else 0.35):
            return self.random.choice(self.containers)(depth + 1)
        return self.random.choice(self.arrays if chance > 0.95 else self.scalars)()

    def count(self):
        return self.random.choice([0, 1, 1, 2, 3, 5, 8, 30])

    def integer(self):
        number = self.random.getrandbits(self.random.choice([1, 3, 5, 8, 9, 16, 17, 32, 33, 53, 54, 63, 64, 65, 200]))
        return self.random.choice([1, -1]) * number + self.random.choice([-1, 0, 0, 1])

    def float(self):
        specials = [0.0, -0.0, 1.5, 2.0, -7.0, 1e300, 5e-324, 2.0**53, 2.0**53 + 2, -(2.0**64), float("inf"), float("-inf"), float("nan")]
        return self.random.choice([*specials, self.random.gauss(0, 1e3), struct.unpack("<d", self.random.randbytes(8))[0]])

    def text(self):
        known = ["", "__proto__", "constructor", "0", "17", "a.b", "\0", "\ufeff", "\ud800", "\udfff", "\ud83d\ude00", "\ude00\ud83d", "x" * 24]
        if self.random.random() < 0.2:
            return self.random.choice(known)
        ranges = [(32, 126), (32, 126), (0, 0xFF), (0, 0xD7FF), (0xD800, 0xDFFF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
        low, high = self.random.choice(ranges)
        mixed = self.random.random() < 0.3
        length = self.random.choice([1, 3, 10, 12, 13, 23, 40, 41, 64, 65, 255, 300, 5000])
        points = (self.random.randint(*(self.random.choice(ranges) if mixed else (low, high))) for _ in range(length))
        return "".join(map(chr, points))

    def bytes(self):
        data = self.random.randbytes(self.random.choice([0, 1, 23, 24, 255, 256, 5000, *[LARGE_BYTES] * (self.random.random() < 0.2)]))
        return self.random.choice([bytes, bytearray, memoryview])(data)

    def moment(self):
        since = datetime.timedelta(seconds=self.random.randint(-60_000_000_000, 60_000_000_000), microseconds=self.microsecond())
        zone = self.random.choice([datetime.timezone.utc, self.offset(), zoneinfo.ZoneInfo(self.random.choice(ZONES))])
        return (EPOCH + since).astimezone(zone)

    def microsecond(self):
        return self.random.choice([0, 0, 1, 123_000, 999_999, self.random.randrange(1_000_000)])

    def offset(self):
        seconds = self.random.choice([0, 60 * self.random.randint(-1439, 1439), self.random.randint(-86_399, 86_399)])
        return datetime.timezone(datetime.timedelta(seconds=seconds))

    def day(self):
        return datetime.date.fromordinal(self.random.randint(1, datetime.date.max.toordinal()))

    def naive(self):
        return datetime.datetime.combine(self.day(), self.time().replace(tzinfo=None))

    def time(self):
        parts = self.random.randrange(24), self.random.randrange(60), self.random.choice([0, self.random.randrange(60)]), self.microsecond()
        return datetime.time(*parts, tzinfo=self.offset() if self.random.random() < 0.2 else None)

    def duration(self):
        return datetime.timedelta(days=self.random.choice([0, 0, -1, 5, 10**6]), seconds=self.random.randrange(86_400), microseconds=self.microsecond())

    def decimal(self):
        texts = ["0", "-0", "1.10", "1E+5", "1E-400", "NaN", "-NaN12", "sNaN", "Infinity", "-Infinity", "0E-20", "123456789" * 5 + ".5"]
        return decimal.Decimal(self.random.choice([*texts, f"{self.integer()}E{self.random.randint(-50, 50)}"]))

    def uuid(self):
        return uuid.UUID(bytes=self.random.randbytes(16))

    def pattern(self):
        return re.compile(self.random.choice(["a+b", "", "^x[/]$", "\\d{2}", "é", "/"]))

    def numpy_scalar(self):
        scalars = [
            numpy.bool_(True), numpy.int8(-3), numpy.uint64(2**64 - 1), numpy.int64(-(2**63)), numpy.float16(0.5), numpy.float32(0.1),
            numpy.float64(0.1), numpy.complex64(1 - 2j), numpy.str_("é"), numpy.bytes_(b"\xff"), numpy.datetime64("2024-05-06"),
            numpy.timedelta64(-5, "ms"),
        ]
        return self.random.choice(scalars)

    def list(self, depth):
        return [self.value(depth) for _ in range(self.count())]

    def tuple(self, depth):
        return tuple(self.list(depth))

    def object(self, depth):
        return {self.text(): self.value(depth) for _ in range(self.count())}

    def map(self, depth):
        return {key: self.value(depth) for key in self.keys()}

    def set(self, depth):
        return self.random.choice([set, frozenset])(self.keys())

    def keys(self):
        """What both languages can have as keys, each once: `1`, `1.0` and `True` are one key, and JavaScript has no key -0."""
        makers = [lambda: None, lambda: self.random.random() < 0.5, self.integer, self.float, self.text, lambda: bytes(self.bytes()), self.uuid, self.day, self.moment]
        keys = {}
        for _ in range(self.count()):
            key = self.random.choice(makers)()
            if not (isinstance(key, float) and key == 0):
                # Not-a-number is a key as often as one likes in Python, and once in JavaScript.
                keys.setdefault("nan" if key != key else key, key)
        return [key for key in keys.values()]

    def dataclass(self, depth):
        return Point(self.value(depth), self.value(depth))

    def named_tuple(self, depth):
        return Pair(self.value(depth), self.value(depth))

    def python_array(self):
        typecode = self.random.choice(TYPECODES)
        return array.array(typecode, self.random.randbytes(self.count() * array.array(typecode).itemsize))

    def array(self):
        """An array of any type, shape and strides."""
        dtype = numpy.dtype(self.random.choice(DTYPES))
        shape = [self.random.choice([0, 1, 2, 3, 7]) for _ in range(self.random.randrange(5))]
        if self.random.random() < 0.1:
            shape = [LARGE_BYTES // dtype.itemsize, self.random.choice([1, 2])]
        steps = [self.random.choice([1, 1, 2, 3, -1, -2]) for _ in shape]
        whole = [length * abs(step) for length, step in zip(shape, steps)]
        data = numpy.frombuffer(self.random.randbytes(int(numpy.prod(whole, dtype=int)) * dtype.itemsize), dtype).reshape(whole)
        if self.random.random() < 0.3:
            data = numpy.asfortranarray(data)
        # With the dots, an array without dimensions stays an array.
        found = data[(..., *(slice(None, None, step) for step in steps))]
        change = self.random.random()
        if change < 0.3:
            return found.transpose(self.random.sample(range(found.ndim), found.ndim))
        if change < 0.4:
            return numpy.broadcast_to(found, (2, *found.shape))
        return found


async def check(seed, seconds):
    """Values of the seeds from this one on, for so long: how many, or what the first that did not cross well is."""
    until = time.monotonic() + seconds
    for number in itertools.count():
        if number > 0 and time.monotonic() > until:
            return {"values": number}
        value = Values(seed + number).value()
        here = describe(value)
        arrived = await there.describe(value)
        home = describe(await there.same(value))
        if here != arrived:
            return {"seed": seed + number, "arrived": difference(here, arrived)}
        if here != home:
            return {"seed": seed + number, "came home": difference(here, home)}


def difference(sent, got):
    """What stands around the first difference of two descriptions."""
    at = next((i for i, (a, b) in enumerate(zip(sent, got)) if a != b), min(len(sent), len(got)))
    begin = max(0, at - 60)
    return [sent[begin : at + 60], got[begin : at + 60]]
