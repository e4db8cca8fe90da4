"""What the callers of the bench call, by whatever bridge. Plain Python, so that every bridge can load it."""

import numpy


def add(a, b):
    return a + b


def same(value):
    return value


def total(array):
    return float(numpy.asarray(array).sum())


def ends(array):
    return float(array[0] + array[-1])


def items(count):
    item = b"x" * 64
    for _ in range(count):
        yield item
