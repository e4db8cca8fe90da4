"""Marks that say how a function is called: `@bireme.quick`, `@bireme.batch(…)`, `@bireme.idempotent`, `@bireme.timeout(…)`.

They change nothing for callers within the process, but for `batch`.
"""

import functools

# The attribute of a marked function, a dict of what was said.
ATTRIBUTE = "__bireme_marks__"


def marks_of(function):
    """What was said about a function, or a method of an instance."""
    return getattr(function, ATTRIBUTE, {})


def _mark(function, **marks):
    if isinstance(function, (staticmethod, classmethod)):
        _mark(function.__func__, **marks)
        return function
    setattr(function, ATTRIBUTE, {**marks_of(function), **marks})
    return function


def quick(function):
    """Run this plain function on the event loop itself, not in a thread: for what takes microseconds and never waits."""
    return _mark(function, quick=True)


def idempotent(function):
    """Say that calling this function twice does no harm: a call whose worker ends under it is made again by another."""
    return _mark(function, idempotent=True)


def timeout(seconds):
    """Limit each call of the function to `seconds`, if its caller allows more."""
    if not seconds > 0:
        raise ValueError("a timeout is a positive number of seconds")
    return functools.partial(_mark, timeout_ms=max(1, round(seconds * 1000)))


def batch(max_size=32, max_wait_ms=2):
    """Gather calls that come at about the same time into one call with lists.

    The function takes lists of equal length, one for each argument, and returns a list of as many results. It is called as soon as
    `max_size` calls wait, or the first of them has waited for `max_wait_ms`. A result that is an exception is raised in its call.
    What is decorated becomes a coroutine function that takes one of each and gives one result.
    """
    if max_size < 1 or max_wait_ms < 0:
        raise ValueError("batch needs max_size of at least 1 and max_wait_ms of at least 0")

    def decorate(function):
        from .batching import Batched

        return Batched(function, max_size, max_wait_ms / 1000)

    return decorate
