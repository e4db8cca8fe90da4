"""What shared-memory.mjs calls, and an ASGI application that is never asked."""

import gc
import os
import re

import numpy
import pyarrow

import bireme
from bireme import Released, node
from bireme._native import Memory

_kept = {}
script = node("../node/shared-memory.mjs")


async def app(scope, receive, send):
    raise NotImplementedError


def same(value):
    return value


def describe(value):
    """Type, dtype, shape and sum of an array."""
    return [type(value).__name__, value.dtype.str, list(value.shape), float(value.sum())]


def strided(n):
    """Every second column of the transposed matrix 0 … n²-1."""
    return numpy.arange(n * n, dtype="f4").reshape(n, n).T[:, ::2]


def table(rows):
    return pyarrow.table({"number": numpy.arange(rows), "half": numpy.arange(rows) / 2})


def total(table):
    return sum(table["number"].to_pylist()) + sum(table["half"].to_pylist())


def keep(name, value):
    _kept[name] = value


def make(name, n, value):
    """A shared array of this process."""
    array = _kept[name] = bireme.shared(numpy.float64, n)
    array[:] = value
    return array


def fill(array, value):
    array[:] = value


def kept(name):
    array = _kept[name]
    return [float(array[0]), float(array[-1]), float(array.sum())]


def drop():
    _kept.clear()
    gc.collect()


async def release():
    """What can be done with an array after its release; all of it must be refused."""
    with bireme.shared(numpy.float64, (10, 10)) as array:
        view = array[2:4]
        await script.fillWith(array, 7)
        assert view.sum() == 140, view
        doubled = array * 2
        assert type(doubled) is numpy.ndarray and doubled[0, 0] == 14
    uses = {
        "index": lambda: array[0], "method": lambda: array.sum(), "ufunc": lambda: array + 1, "function": lambda: numpy.sum(array),
        "length": lambda: len(array), "loop": lambda: list(array), "set": lambda: array.fill(0), "shape": lambda: array.shape,
    }
    allowed = []
    for name, use in uses.items():
        try:
            use()
        except Released:
            continue
        allowed.append(name)
    for crossing in (array, view):
        try:
            await script.fillWith(crossing, 1)
        except Released:
            continue
        allowed.append("call")
    assert view.sum() == 140, "a view that is left has its memory still"
    return allowed


def segments():
    """How many segments of others are mapped, and the bytes of our own."""
    with open("/proc/self/maps") as maps:
        mapped = set(re.findall(r"memfd:bireme-[0-9a-f]+", maps.read()))
    own = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            own.update(re.findall(r"memfd:bireme-[0-9a-f]+", os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:
            continue
    return {"foreign": len(mapped - own), "held": Memory.held_bytes()}
