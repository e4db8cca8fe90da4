"""Writes calls.json: values, errors and frames of calls, encoded from protocol/calls.md (and RFC 8949) alone.

Run it after a change of the protocol: python3 protocol/golden/make_calls.py

In `values`, an entry's `hex` is what every expression of `from_javascript` and `from_python` encodes to, and what decodes to
`to_javascript` and `to_python`; a direction that is absent does not hold. Expressions use these names beside the languages' own:
JavaScript: the classes of `bireme`; Python: Decimal, UUID, Enum, re, array, np (NumPy), date, datetime, time, timedelta, timezone, ZoneInfo,
dataclass, namedtuple. Lone surrogates and bytes are written as escapes inside the expressions.
"""

import json
import pathlib
import struct

NULL, UNDEFINED, FALSE, TRUE = b"\xf6", b"\xf7", b"\xf4", b"\xf5"


def head(major, number):
    """Major type and argument in the shortest form (RFC 8949 §4.2.1)."""
    if number < 24:
        return bytes([major << 5 | number])
    for info, code, limit in ((24, "B", 1 << 8), (25, "H", 1 << 16), (26, "I", 1 << 32), (27, "Q", 1 << 64)):
        if number < limit:
            return bytes([major << 5 | info]) + struct.pack(">" + code, number)
    raise ValueError(number)


def integer(number):
    return head(0, number) if number >= 0 else head(1, -1 - number)


def real(number):
    return b"\xfb" + struct.pack(">d", number)


def text(string):
    data = string.encode()
    return head(3, len(data)) + data


def octets(data):
    return head(2, len(data)) + data


def array(*items):
    return head(4, len(items)) + b"".join(items)


def mapping(*pairs):
    return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)


def named(**entries):
    return mapping(*((text(key), value) for key, value in entries.items()))


def tag(number, item):
    return head(6, number) + item


def moment(seconds, microseconds, zone):
    return tag(1001, mapping((integer(1), integer(seconds)), (integer(-6), integer(microseconds)), (integer(-10), text(zone))))


def typed(number, code, *numbers):
    return tag(number, octets(struct.pack(f"<{len(numbers)}{code}", *numbers)))


def value(name, data, js_from=(), py_from=(), js_to=None, py_to=None, both_js=None, both_py=None):
    """`both_js` stands for js_from and js_to, `both_py` likewise."""
    entry = {"name": name, "hex": data.hex()}
    for key, expressions, both in (("from_javascript", js_from, both_js), ("from_python", py_from, both_py)):
        expressions = [*([both] if both is not None else []), *([expressions] if isinstance(expressions, str) else expressions)]
        if expressions:
            entry[key] = expressions
    for key, expression in (("to_javascript", js_to or both_js), ("to_python", py_to or both_py)):
        if expression is not None:
            entry[key] = expression
    return entry


# 2024-05-06T07:08:09 UTC.
SECONDS = 1_714_979_289
VALUES = [
    value("null", NULL, both_js="null", both_py="None"),
    value("undefined", UNDEFINED, both_js="undefined", py_to="None"),
    value("true", TRUE, py_from="np.bool_(True)", both_js="true", both_py="True"),
    value("false", FALSE, py_from="np.bool_(False)", both_js="false", both_py="False"),
    *[value(f"the integer {n}", integer(n), both_js=str(n), both_py=str(n))
      for n in (0, 1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, -1, -24, -25, -256, -257, -65536, -65537, -(2**32), -(2**32) - 1, -(2**53) + 1)],
    value("2 to the 53rd", integer(2**53), js_from=["2 ** 53", "2n ** 53n"], js_to="2n ** 53n", both_py="2 ** 53"),
    value("minus 2 to the 53rd", integer(-(2**53)), js_from=["-(2 ** 53)", "-(2n ** 53n)"], js_to="-(2n ** 53n)", both_py="-(2 ** 53)"),
    value("a small BigInt", integer(5), js_from="5n", js_to="5", py_from=["np.int64(5)", "np.uint8(5)"], both_py="5"),
    value("the largest 64-bit integer", integer(2**64 - 1), both_js="2n ** 64n - 1n", both_py="2 ** 64 - 1"),
    value("the smallest 64-bit integer", integer(-(2**64)), both_js="-(2n ** 64n)", both_py="-(2 ** 64)"),
    value("2 to the 64th", tag(2, octets((2**64).to_bytes(9, "big"))), both_js="2n ** 64n", both_py="2 ** 64"),
    value("10 to the 30th, negative", tag(3, octets((10**30 - 1).to_bytes(13, "big"))), both_js="-(10n ** 30n)", both_py="-(10 ** 30)"),
    value("a float", real(1.5), py_from=["np.float64(1.5)", "np.float32(1.5)", "np.float16(1.5)"], both_js="1.5", both_py="1.5"),
    value("a float that is whole", real(2.0), js_to="2", both_py="2.0"),
    value("minus zero", real(-0.0), both_js="-0", both_py="-0.0"),
    value("not a number", real(float("nan")), both_js="NaN", both_py='float("nan")'),
    value("infinity", real(float("inf")), both_js="Infinity", both_py='float("inf")'),
    value("minus infinity", real(float("-inf")), both_js="-Infinity", both_py='float("-inf")'),
    value("the largest float", real(1.7976931348623157e308), js_from="Number.MAX_VALUE", js_to="Number.MAX_VALUE", both_py="1.7976931348623157e308"),
    value("an empty string", text(""), both_js='""', both_py='""'),
    value("a string", text("a\0é€😀"), both_js='"a\\0\\u00e9\\u20ac\\u{1f600}"', both_py='"a\\0\\u00e9\\u20ac\\U0001f600"'),
    value("a string of 24 characters", text("x" * 24), both_js='"x".repeat(24)', both_py='"x" * 24'),
    value("a lone surrogate", tag(273, octets(b"a\xed\xa0\x80b")), both_js='"a\\ud800b"', both_py='"a\\ud800b"'),
    value("a low surrogate before a high one", tag(273, octets(b"\xed\xb8\x80\xed\xa0\xbd")), both_js='"\\ude00\\ud83d"', both_py='"\\ude00\\ud83d"'),
    value("bytes", octets(b"\x00\xff"), js_from=["new Uint8Array([0, 255])", "new Uint8Array([0, 255]).buffer"], both_js="Buffer.from([0, 255])",
          py_from=['bytearray(b"\\x00\\xff")', 'memoryview(b"\\x00\\xff")'], both_py='b"\\x00\\xff"'),
    value("no bytes", octets(b""), both_js="Buffer.alloc(0)", both_py='b""'),
    value("an array", array(integer(1), text("a"), array()), py_from='(1, "a", ())', both_js='[1, "a", []]', both_py='[1, "a", []]'),
    value("an object", named(a=integer(1), b=named()), both_js="{ a: 1, b: {} }", both_py='{"a": 1, "b": {}}',
          js_from="Object.assign(Object.create(null), { a: 1, b: {} })"),
    value("an object with __proto__", mapping((text("__proto__"), integer(1))), both_js='JSON.parse(\'{"__proto__":1}\')', both_py='{"__proto__": 1}'),
    value("a key with a lone surrogate", mapping((tag(273, octets(b"\xed\xa0\x80")), integer(1))), both_js='{ "\\ud800": 1 }', both_py='{"\\ud800": 1}'),
    value("a dataclass", named(x=integer(1), y=text("b")), py_from=['dataclass(type("D", (), {"__annotations__": {"x": int, "y": str}}))(1, "b")',
          'namedtuple("N", "x y")(1, "b")'], js_to='{ x: 1, y: "b" }', py_to='{"x": 1, "y": "b"}'),
    value("a map", tag(259, mapping((integer(1), text("a")), (TRUE, NULL))), both_js='new Map([[1, "a"], [true, null]])',
          # In Python, True and 1 are one key: the later value stays at the earlier key.
          ),
    value("a map of numbers", tag(259, mapping((integer(1), text("a")), (real(1.5), NULL))), both_js='new Map([[1, "a"], [1.5, null]])', both_py='{1: "a", 1.5: None}'),
    value("a map of strings", tag(259, mapping((text("a"), integer(1)))), both_js='new Map([["a", 1]])', py_to='{"a": 1}'),
    value("a set", tag(258, array(integer(1))), py_from="frozenset([1])", both_js="new Set([1])", both_py="{1}"),
    value("a date of JavaScript", moment(SECONDS, 123000, "UTC"), both_js='new Date("2024-05-06T07:08:09.123Z")',
          both_py="datetime(2024, 5, 6, 7, 8, 9, 123000, timezone.utc)"),
    value("a date before 1970", moment(-2, 500000, "UTC"), both_js="new Date(-1500)", both_py="datetime(1969, 12, 31, 23, 59, 58, 500000, timezone.utc)"),
    value("a date with microseconds", moment(SECONDS, 123456, "UTC"), both_js='new ZonedDate(1714979289123, "UTC", 456)',
          both_py="datetime(2024, 5, 6, 7, 8, 9, 123456, timezone.utc)"),
    value("a date in a zone", moment(SECONDS, 0, "Europe/Berlin"), both_js='new ZonedDate(1714979289000, "Europe/Berlin", 0)',
          both_py='datetime(2024, 5, 6, 9, 8, 9, tzinfo=ZoneInfo("Europe/Berlin"))'),
    value("a date with an offset", moment(SECONDS, 0, "-03:30"), both_js='new ZonedDate(1714979289000, "-03:30", 0)',
          both_py="datetime(2024, 5, 6, 3, 38, 9, tzinfo=timezone(-timedelta(hours=3, minutes=30)))"),
    value("a day", tag(1004, text("2024-05-06")), both_js='new PlainDate("2024-05-06")', both_py="date(2024, 5, 6)"),
    value("a date without a zone", tag(39001, array(text("datetime"), text("2024-05-06T07:08:09.000123"))),
          both_js='new PlainDateTime("2024-05-06T07:08:09.000123")', both_py="datetime(2024, 5, 6, 7, 8, 9, 123)"),
    value("a time", tag(39001, array(text("time"), text("07:08:09"))), both_js='new PlainTime("07:08:09")', both_py="time(7, 8, 9)"),
    value("a duration", tag(39001, array(text("duration"), text("PT90061.5S"))), both_js='new Duration("PT90061.5S")',
          both_py="timedelta(days=1, hours=1, minutes=1, seconds=1, milliseconds=500)"),
    value("a negative duration", tag(39001, array(text("duration"), text("-PT1.000001S"))), both_js='new Duration("-PT1.000001S")',
          both_py="timedelta(seconds=-1, microseconds=-1)"),
    value("a duration of JavaScript", tag(39001, array(text("duration"), text("P1DT1H1M1S"))), both_js='new Duration("P1DT1H1M1S")',
          py_to="timedelta(days=1, hours=1, minutes=1, seconds=1)"),
    value("a decimal", tag(39002, text("1.10")), both_js='new Decimal("1.10")', both_py='Decimal("1.10")'),
    value("a UUID", tag(37, octets(bytes(range(16)))), both_js='new Uuid("00010203-0405-0607-0809-0a0b0c0d0e0f")',
          both_py='UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")'),
    value("a member of an Enum", text("red"), py_from='Enum("Color", {"RED": "red"}).RED', js_to='"red"', py_to='"red"'),
    value("a Uint8ClampedArray", typed(68, "B", 0, 255), both_js="new Uint8ClampedArray([0, 255])", py_to="np.array([0, 255], np.uint8)"),
    value("bytes of NumPy", typed(64, "B", 0, 255), js_to="new Uint8Array([0, 255])", py_from='array.array("B", [0, 255])', both_py="np.array([0, 255], np.uint8)"),
    *[value(f"a {js}Array", typed(number, code, *items), py_from=[f'array.array("{letter}", {list(items)})'],
            both_js=f"new {js}Array([{', '.join(str(i) + ('n' if 'Big' in js else '') for i in items)}])", both_py=f"np.array({list(items)}, np.{dtype})")
      for js, number, code, letter, dtype, items in (
          ("Uint16", 69, "H", "H", "uint16", (0, 65535)), ("Uint32", 70, "I", "I", "uint32", (0, 4294967295)),
          ("BigUint64", 71, "Q", "Q", "uint64", (0, 18446744073709551615)), ("Int8", 72, "b", "b", "int8", (-128, 127)),
          ("Int16", 77, "h", "h", "int16", (-32768, 32767)), ("Int32", 78, "i", "i", "int32", (-2147483648, 2147483647)),
          ("BigInt64", 79, "q", "q", "int64", (-9223372036854775808, 9223372036854775807)),
          ("Float32", 85, "f", "f", "float32", (-1.5, 0.25)), ("Float64", 86, "d", "d", "float64", (-1.5, 1e300)))],
    value("an empty Float64Array", typed(86, "d"), both_js="new Float64Array(0)", both_py="np.array([], np.float64)"),
    value("a matrix", tag(39003, array(text("<f8"), array(integer(2), integer(3)), octets(struct.pack("<6d", 0, 1, 2, 3, 4, 5)))),
          both_js='new NdArray("<f8", [2, 3], new Float64Array([0, 1, 2, 3, 4, 5]))', both_py="np.arange(6.0).reshape(2, 3)",
          py_from=['np.asfortranarray(np.arange(6.0).reshape(2, 3))', "np.arange(12.0)[::2].reshape(2, 3) / 2"]),
    value("an array of bool", tag(39003, array(text("|b1"), array(integer(2)), octets(b"\x01\x00"))),
          both_js='new NdArray("|b1", [2], new Uint8Array([1, 0]))', both_py="np.array([True, False])"),
    value("an array of complex numbers", tag(39003, array(text("<c16"), array(integer(1)), octets(struct.pack("<2d", 1, -2)))),
          both_js='new NdArray("<c16", [1], new Uint8Array(new Float64Array([1, -2]).buffer))', both_py="np.array([1 - 2j])"),
    value("an array of dates", tag(39003, array(text("<M8[s]"), array(integer(1)), octets(struct.pack("<q", SECONDS)))),
          both_js='new NdArray("<M8[s]", [1], new Uint8Array(new BigInt64Array([1714979289n]).buffer))', both_py='np.array(["2024-05-06T07:08:09"], "M8[s]")'),
    value("a big-endian array", tag(39003, array(text(">i2"), array(integer(2)), octets(b"\x00\x01\x00\x02"))),
          both_js='new NdArray(">i2", [2], new Uint8Array([0, 1, 0, 2]))', both_py='np.array([1, 2], ">i2")'),
    value("an array without dimensions", tag(39003, array(text("<i4"), array(), octets(b"\x07\x00\x00\x00"))),
          both_js='new NdArray("<i4", [], new Int32Array([7]))', both_py='np.array(7, "<i4")'),
    value("a structured array", tag(39003, array(text("[('a', '<i4'), ('b', '|u1')]"), array(integer(1)), octets(b"\x01\x00\x00\x00\x02"))),
          both_js="new NdArray(\"[('a', '<i4'), ('b', '|u1')]\", [1], new Uint8Array([1, 0, 0, 0, 2]))", both_py='np.array([(1, 2)], [("a", "<i4"), ("b", "u1")])'),
    value("a regular expression", tag(35, text("a+b")), both_js="/a+b/", both_py='re.compile("a+b")'),
]

# Values that stand for something of a link, so that they have no expression. `handle` is the owner's number of it.
REFERENCES = [
    {"name": "a function", "handle": 1, "kind": "function", "label": "on_progress", "hex": tag(39006, array(integer(1), text("function"), text("on_progress"))).hex()},
    {"name": "a stream", "handle": 2, "kind": "stream", "label": "rows", "hex": tag(39006, array(integer(2), text("stream"), text("rows"))).hex()},
    {"name": "an object", "handle": 300, "kind": "object", "label": "Model", "hex": tag(39006, array(integer(300), text("object"), text("Model"))).hex()},
    {"name": "the receiver's own", "handle": 7, "kind": "own", "hex": tag(39008, array(integer(7))).hex()},
]


def error(language, kind, message, code=None, frames=(), rendering="", cause=None, suppressed=(), notes=(), properties=()):
    entries = [("language", text(language)), ("type", text(kind)), ("message", text(message))]
    if code is not None:
        entries.append(("code", text(code)))
    entries.append(("frames", array(*(array(text(f[0]), integer(f[1]), integer(f[2]), *(text(part) for part in f[3:])) for f in frames))))
    entries.append(("text", text(rendering)))
    if cause is not None:
        entries.append(("cause", cause))
    entries += [("suppressed", array(*suppressed)), ("notes", array(*map(text, notes))), ("properties", mapping(*((text(k), v) for k, v in properties)))]
    return mapping(*((text(key), item) for key, item in entries))


FRAMES = [("/app/model.py", 3, 5, "predict", "return 1 / x", "python"), ("/app/page.js", 10, 0, "", "", "javascript")]
PYTHON_ERROR = error("python", "ValueError", "no", frames=FRAMES, rendering="Traceback …\nValueError: no", notes=["while predicting"],
                     properties=[("status", integer(404))])
CAUSED = error("javascript", "TypeError", "bad", cause=PYTHON_ERROR)
ERRORS = [
    {"name": "of a Python function", "hex": PYTHON_ERROR.hex(), "language": "python", "type": "ValueError", "message": "no", "frames": [list(f) for f in FRAMES],
     "text": "Traceback …\nValueError: no", "notes": ["while predicting"], "properties": {"status": 404}},
    {"name": "with a cause", "hex": CAUSED.hex(), "language": "javascript", "type": "TypeError", "message": "bad", "frames": [], "text": "", "notes": [], "properties": {},
     "cause": {"language": "python", "type": "ValueError", "message": "no"}},
    {"name": "of several", "hex": error("python", "ExceptionGroup", "2 failed (1 sub-exception)", suppressed=[PYTHON_ERROR]).hex(), "language": "python",
     "type": "ExceptionGroup", "message": "2 failed (1 sub-exception)", "frames": [], "text": "", "notes": [], "properties": {},
     "suppressed": [{"language": "python", "type": "ValueError", "message": "no"}]},
    *[{"name": f"of Bireme: {code}", "hex": error("python", kind, "why", code=code).hex(), "language": "python", "type": kind, "message": "why", "code": code,
       "frames": [], "text": "", "notes": [], "properties": {}}
      for code, kind in (("BIREME_CALL_TIMEOUT", "CallTimeout"), ("BIREME_CALL_CANCELLED", "CancelledError"), ("BIREME_SERVICE_BUSY", "ServiceBusy"), ("BIREME_WORKER_LOST", "WorkerLost"),
                         ("BIREME_NOT_FOUND", "CallTargetNotFound"), ("BIREME_VALUE", "CannotCross"), ("BIREME_TOO_LARGE", "CannotCross"),
                         ("BIREME_RELEASED", "Released"), ("BIREME_UNAVAILABLE", "CallError"), ("BIREME_NO_BROKER", "CallError"))],
]

END, STREAM, KWARGS, HANDLE, GET, IDEMPOTENT, NEW = 0x01, 0x02, 0x02, 0x04, 0x08, 0x10, 0x20
KINDS = {
    "HELLO": 0x01, "DATA": 0x12, "CREDIT": 0x15, "RESOLVE": 0x30, "RESOLVED": 0x31, "PEERS": 0x32, "BIND": 0x33, "CALL": 0x34, "RESULT": 0x35, "ERROR": 0x36,
    "ITEM": 0x37, "CANCEL": 0x38, "QUEUED": 0x39, "STARTED": 0x3A, "RELEASE": 0x3B, "MEMORY": 0x3C, "RETURN": 0x3D, "FORGET": 0x3E, "MARK": 0x3F,
}


def frame(name, kind, stream, payload=b"", flags=0, aux=0, **meaning):
    header = struct.pack("<IIBBH", len(payload), stream, KINDS[kind], flags, aux)
    return {"name": name, "kind": kind, "stream": stream, "flags": flags, "aux": aux, **meaning, "hex": (header + payload).hex()}


def as_json(message):
    return json.dumps(message, separators=(",", ":")).encode()


def message(name, kind, content, aux=0):
    return frame(name, kind, 0, as_json(content), aux=aux, json=content)


def call(name, stream, target, timeout_ms=30000, member="", args=(), kwargs=None, flags=END, shown=None, **more):
    payload = struct.pack("<IIH", target, timeout_ms, len(member.encode())) + member.encode() + array(*args)
    if kwargs is not None:
        payload += named(**kwargs)
        flags |= KWARGS
    return frame(name, "CALL", stream, payload, flags, target=target, timeout_ms=timeout_ms, member=member, **(shown or {}), **more)


# Where a segment is that the other side may try.
SAMPLE = {"pid": 4711, "descriptor": 17, "id": 2**52 - 2, "bytes": 16777216}
WORKERS = [{"worker": "ml#1", "path": "/run/calls-1.sock"}, {"worker": "ml#2", "path": "/run/calls-2.sock"}]
CALL_FRAMES = [
    message("a broker link's hello", "HELLO", {"token": "t", "link": "broker", "from": "web#1", "pid": 1}, aux=1),
    message("a call link's hello", "HELLO", {"token": "t", "link": "call", "from": "web#1", "pid": 1, "language": "node"}, aux=1),
    message("the hello of a call link with memory", "HELLO", {"token": "t", "link": "call", "from": "web#1", "pid": 4711, "language": "node", "memory": SAMPLE}, aux=1),
    message("where a file runs", "RESOLVE", {"id": 1, "language": "python", "file": "/app/model.py"}),
    message("where a module runs", "RESOLVE", {"id": 2, "language": "python", "module": "numpy", "service": "ml"}),
    message("there", "RESOLVED", {"id": 1, "service": "ml", "workers": WORKERS, "options": {"timeout_ms": 30000, "in_flight_max": 1024, "message_bytes_max": 67108864}}),
    message("nowhere", "RESOLVED", {"id": 2, "error": {"code": "BIREME_UNAVAILABLE", "message": "service python did not start", "hint": ""}}),
    message("fewer workers", "PEERS", {"service": "ml", "workers": WORKERS[:1]}),
    frame("a function of a file", "BIND", 0, struct.pack("<I", 1) + named(file=text("/app/model.py"), name=text("predict")), number=1, file="/app/model.py", attribute="predict"),
    frame("a function of a module", "BIND", 0, struct.pack("<I", 2) + named(module=text("numpy"), name=text("linalg.norm")), number=2, module="numpy", attribute="linalg.norm"),
    call("a call", 1, 1, args=[integer(1), text("a")], shown={"args": [1, "a"]}),
    call("a call of the worker", 2, 1, shown={"args": []}),
    call("a call with keywords", 3, 1, args=[integer(1)], kwargs={"top": integer(3)}, shown={"args": [1], "kwargs": {"top": 3}}),
    call("a call without deadline, idempotent", 5, 1, timeout_ms=0, flags=END | IDEMPOTENT, shown={"args": []}),
    call("a call of a callback", 4, 9, flags=END | HANDLE, args=[integer(5)], shown={"args": [5]}),
    call("a call of a method", 7, 300, member="fit", flags=END | HANDLE, args=[TRUE], shown={"args": [True]}),
    call("the value of an attribute", 9, 300, member="size", flags=END | HANDLE | GET, shown={"args": []}),
    call("a stream's items", 11, 2, member="@iterate", flags=END | HANDLE, shown={"args": []}),
    call("a new object", 13, 2, flags=END | NEW, kwargs={"rate": real(0.5)}, shown={"args": [], "kwargs": {"rate": 0.5}}),
    call("the beginning of a call", 15, 1, flags=0, args=[text("abc")], shown={"args": ["abc"]}),
    frame("the rest of it", "DATA", 15, b"", END),
    frame("a result", "RESULT", 1, named(y=real(0.5)), END, value={"y": 0.5}),
    frame("the result null", "RESULT", 3, NULL, END, value=None),
    frame("a result that is a stream", "RESULT", 11, b"", END | STREAM),
    frame("two items", "ITEM", 11, integer(1) + text("b"), items=[1, "b"]),
    frame("the last item", "ITEM", 11, NULL, END, items=[None]),
    frame("the end of a stream", "ITEM", 11, b"", END, items=[]),
    frame("an error", "ERROR", 5, PYTHON_ERROR, END, error="of a Python function"),
    frame("not wanted any more", "CANCEL", 7, aux=1),
    frame("too late", "CANCEL", 9, aux=3),
    frame("it waits", "QUEUED", 13),
    frame("it has begun", "STARTED", 13),
    frame("a handle released", "RELEASE", 0, struct.pack("<II", 300, 2), handle=300, times=2),
    frame("the other's memory can be opened, and here is ours", "MEMORY", 0, named(**{key: integer(number) for key, number in SAMPLE.items()}), aux=1, sample=SAMPLE),
    frame("the other's memory can be opened", "MEMORY", 0, aux=1, sample=None),
    frame("no shared memory", "MEMORY", 0, aux=0, sample=None),
    frame("leases that are over", "RETURN", 0, struct.pack("<3I", 1, 2, 3), leases=[1, 2, 3]),
    frame("segments that are no more", "FORGET", 0, struct.pack("<2Q", 5, SAMPLE["id"]), segments=[5, SAMPLE["id"]]),
    frame("a function that may be called twice", "MARK", 0, struct.pack("<II", 1, 1), number=1, bits=1),
    frame("room for items", "CREDIT", 11, struct.pack("<I", 131072), credit=131072),
]
# What is no value, and ends the link.
REFUSED = [
    {"name": name, "hex": data.hex()}
    for name, data in (
        ("nothing", b""),
        ("a string that ends early", b"\x65abc"),
        ("bytes of indefinite length", b"\x5f\x41\x00\xff"),
        ("an array of indefinite length", b"\x9f\x01\xff"),
        ("a map of indefinite length", b"\xbf\xff"),
        ("text that is not UTF-8", b"\x62\xff\xff"),
        ("a surrogate in text", b"\x63\xed\xa0\x80"),
        ("an array longer than its bytes", head(4, 2**32) + b"\x01"),
        ("a map without a value", b"\xa1\x01"),
        ("a number as key of a plain map", mapping((integer(1), NULL))),
        ("a reserved argument", b"\x1c"),
        ("an unknown simple value", b"\xf8\x40"),
        ("an unknown tag", tag(39999, integer(1))),
        ("a bignum of text", tag(2, text("1"))),
        ("a UUID of 3 bytes", tag(37, octets(b"abc"))),
        ("a date of text", tag(1001, text("now"))),
        ("a day of no calendar", tag(1004, text("2024-02-30"))),
        ("numbers of an odd length", tag(86, octets(b"abc"))),
        ("a matrix that is too short", tag(39003, array(text("<f8"), array(integer(2), integer(3)), octets(b"abcdefgh")))),
        ("a handle of a text", tag(39006, array(text("1"), text("function"), text("f")))),
        ("201 arrays in one another", b"\x81" * 201 + NULL),
        ("bytes after the value", NULL + NULL),
    )
]

target = pathlib.Path(__file__).with_name("calls.json")
golden = {"values": VALUES, "references": REFERENCES, "errors": ERRORS, "frames": CALL_FRAMES, "refused": REFUSED}
target.write_text(json.dumps(golden, indent=1) + "\n")
