"""What tests/e2e/test_calls.py calls in Python; functions.mjs has the same for JavaScript."""

import asyncio
import gc
import os
import pathlib
import sys
import time

import bireme
import bireme.calls

VERSION = "1.2"
closed = []


def add(a, b):
    return a + b


async def later(x):
    await asyncio.sleep(0)
    return x


def echo(x):
    return x


@bireme.quick
def following(n):
    return n + 1


@bireme.quick
def left():
    """What this process still has of calls, and how much it has at all."""
    gc.collect()
    found = {
        "fds": len(os.listdir("/proc/self/fd")), "blocks": sys.getallocatedblocks(), "tasks": len(asyncio.all_tasks()), **bireme.calls.counts(),
    }
    # This call.
    return {**found, "incoming": found["incoming"] - 1}


def keywords(a, *, top=1):
    return [a, top]


class Odd(Exception):
    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


def inner(x):
    raise Odd("too far", 416)


def boom(x):
    return inner(x)


def boom_with_cause():
    try:
        inner(0)
    except Odd as error:
        raise ValueError("outer") from error


def unserializable():
    return {"deep": [object()]}


def pid():
    return os.getpid()


def count(n):
    yield from range(n)


async def endless(marker):
    try:
        number = 0
        while True:
            yield number
            number += 1
    finally:
        pathlib.Path(marker).write_text("closed")


async def fails():
    yield 1
    raise Odd("midway", 500)


async def waits(marker):
    pathlib.Path(marker + ".begun").write_text("")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        pathlib.Path(marker).write_text("cancelled")
        raise


def blocks(marker, *_):
    pathlib.Path(marker + ".begun").write_text("")
    time.sleep(3600)


def waits_for(marker):
    pathlib.Path(marker + ".begun").touch()
    while not os.path.exists(marker):
        time.sleep(0.01)


def touches(marker):
    pathlib.Path(marker).touch()
    return os.getpid()


async def queued(calls):
    """Returns when so many calls wait for a thread, and their callers have been told."""
    while bireme.calls.pool().counts()[3] < calls:
        await asyncio.sleep(0.001)
    # The loop's timers run in their order, and the one that tells them (10 ms) was set before this one.
    await asyncio.sleep(0.05)


def dies_once(marker):
    path = pathlib.Path(marker)
    if path.exists():
        return os.getpid()
    path.write_text("")
    os._exit(3)


async def apply(function, *args):
    return await function(*args)


async def collect(items):
    return [item async for item in items]


async def depth(function, n):
    return 0 if n == 0 else 1 + await function(n - 1)


def table(rows):
    import pyarrow

    return pyarrow.table({"number": list(range(rows))})


def total_of_table(table):
    return sum(table["number"].to_pylist())


class Counter:
    def __init__(self, start):
        self.n = start

    def add(self, k):
        self.n += k
        return self.n

    def boom(self):
        raise Odd("in a method", 1)

    def up_to(self, n):
        while self.n < n:
            yield self.n
            self.n += 1


def is_counter(x):
    return isinstance(x, Counter)


def total(numbers):
    return float(sum(numbers))
