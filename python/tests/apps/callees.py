"""Functions that tests call."""

import asyncio
import contextlib
import contextvars
import dataclasses
import datetime
import decimal
import enum
import threading
import time
import uuid

import bireme

events = []
visitor = contextvars.ContextVar("visitor", default=None)
gate = threading.Event()


def seen():
    """What has happened, and what is under way."""
    from bireme import calls

    return {"events": list(events), **calls.counts(), "tasks": len(asyncio.all_tasks(next(iter(calls._hubs.values())).loop)), "pool": list(calls.pool().counts())}


seen = bireme.quick(seen)


async def add(a, b=0, *more, **named):
    return a + b + sum(more) + sum(named.values())


@bireme.quick
def echo(value=None):
    return value


def plain(value):
    return [value, threading.current_thread().name]


@bireme.quick
def here():
    return threading.current_thread() is threading.main_thread()


async def where():
    return asyncio.current_task() is not None


def fail(message="on purpose"):
    try:
        raise KeyError("cause")
    except KeyError as cause:
        error = ValueError(message)
        error.status = 404
        error.lock = threading.Lock()
        if hasattr(error, "add_note"):
            error.add_note("a note")
        raise error from cause


async def fail_several():
    raise ExceptionGroup("both", [ValueError("one"), TypeError("two")])


async def sleep(seconds, name="sleep"):
    events.append(f"{name} began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        events.append(f"{name} cancelled")
        raise
    return "awake"


@bireme.timeout(0.05)
async def limited():
    await asyncio.sleep(60)


def wait_for_gate():
    events.append("waiting")
    gate.wait(20)
    return "open"


@bireme.quick
def open_gate():
    gate.set()


def count(n, text="item"):
    events.append("count began")
    try:
        for number in range(n):
            yield f"{text} {number}"
    finally:
        events.append("count closed")


async def acount(n, text="item"):
    try:
        for number in range(n):
            yield f"{text} {number}"
    finally:
        events.append("acount closed")


async def forever():
    with contextlib.ExitStack() as stack:
        stack.callback(events.append, "forever closed")
        while True:
            await asyncio.sleep(0.001)
            yield "tick"


def broken(n):
    yield from range(n)
    raise RuntimeError("the stream broke")


def iterators():
    return iter([1, 2, 3])


def sized(*sizes):
    yield from (b"x" * size for size in sizes)


def large(size):
    return b"x" * size


def unhashable():
    return threading.Lock()


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.datetime | None = None


@bireme.quick
def annotated(
    point: Point, color: Color, number: decimal.Decimal, key: uuid.UUID, day: datetime.date, pair: tuple, names: set[str],
    *points: Point, more: list[Point] | None = None,
):
    assert isinstance(point, Point) and isinstance(color, Color) and isinstance(number, decimal.Decimal)
    assert isinstance(key, uuid.UUID) and type(day) is datetime.date and isinstance(pair, tuple) and isinstance(names, set)
    assert all(isinstance(other, Point) for other in [*points, *(more or [])])
    return repr((point, color, number, day, pair, sorted(names), points, more))


class Counter:
    made = 0

    def __init__(self, value=0):
        self.value = value
        Counter.made += 1

    def __del__(self):
        events.append("counter gone")

    def add(self, n):
        self.value += n
        return self.value

    def me(self):
        return self

    async def slowly(self, n):
        await asyncio.sleep(0)
        return self.add(n)

    @classmethod
    def of(cls, value):
        return cls(value)


async def call_back(function, *args):
    return await function(*args)


def call_back_in_thread(function, *args):
    return [function(*args), threading.current_thread().name]


def set_visitor(name):
    before = visitor.get()
    visitor.set(name)
    return before


set_visitor_quickly = bireme.quick(lambda name: set_visitor(name))


async def set_visitor_in_task(name):
    return set_visitor(name)


def visitors(n, text):
    """What this stream has set, seen from each of its steps."""
    before = set_visitor(text)
    for _ in range(n):
        yield [before, visitor.get()]


async def avisitors(n, text):
    before = set_visitor(text)
    for _ in range(n):
        yield [before, visitor.get()]


def visitors_of_call(n, text):
    before = set_visitor(text)
    return ([before, visitor.get()] for _ in range(n))


@bireme.batch(max_size=1)
def set_visitor_in_batch(names):
    return [set_visitor(name) for name in names]


@bireme.idempotent
def stock(article):
    return article


kept = []


@bireme.quick
def keep(value):
    kept.append(value)


@bireme.quick
def drop():
    kept.clear()


def produce():
    return {"rows": (number for number in range(3))}


@bireme.batch(max_size=4, max_wait_ms=50)
def squares(numbers, power=None):
    events.append(f"batch of {len(numbers)} in {threading.current_thread().name}")
    return [ValueError("thirteen") if number == 13 else number**2 for number in numbers]


@bireme.batch(max_size=2, max_wait_ms=1)
async def too_few(numbers):
    return numbers[:-1]


def idle(seconds):
    time.sleep(seconds)
    return threading.current_thread().name
