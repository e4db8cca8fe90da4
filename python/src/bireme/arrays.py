"""NumPy arrays in shared memory: those that `shared` makes, and those that cross in it.

An array keeps its memory as its base, and the memory is used again only when nothing looks at it any more: no array, no view
of one, on neither side.
"""

import math
import operator

import numpy

from ._native import Memory
from .errors import Released


def shared(dtype, shape):
    """An array of zeros that crosses to JavaScript without a copy: both sides see what the other writes.

    `shape` is a length or a tuple of them. Raises SharedMemoryFull when there is no room. The array is released when it is
    garbage, by `release()`, or at the end of a `with` block.
    """
    dtype = numpy.dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"{dtype} has Python objects in it, which cannot be shared")
    try:
        shape = tuple(operator.index(length) for length in shape)
    except TypeError:
        shape = (operator.index(shape),)
    if any(length < 0 for length in shape):
        raise ValueError(f"a shape of negative lengths: {shape}")
    return over(Memory.allocate(max(1, math.prod(shape) * dtype.itemsize)), dtype, shape)


def over(memory, dtype, shape):
    """The array of this type and shape over a memory, which may be longer."""
    array = numpy.asarray(memory)[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
    return array.view(SharedArray) if memory.is_shared else array


def crossing(array):
    """What carries an array's bytes in C order: memory that both sides see, memory with a copy, or bytes."""
    memory = _memory_of(array) if array.base is not None else None
    if memory is not None and memory.is_shared:
        if memory.is_released:
            raise Released("this array has been released")
        if array.flags.c_contiguous:
            return memory.part(array.ctypes.data - memory.address, array.nbytes)
    room = Memory.room(array.nbytes)
    if room is None:
        return array.tobytes()
    numpy.copyto(over(room, array.dtype, array.shape), array)
    return room


def _memory_of(array):
    while not isinstance(array, Memory):
        if isinstance(array, numpy.ndarray):
            array = array.base
        elif isinstance(array, memoryview):
            array = array.obj
        else:
            return None
    return array


class SharedArray(numpy.ndarray):
    """An array in shared memory. What is computed from it is an ordinary array; its slices share its memory."""

    def release(self):
        """End the use of it. Any further use raises Released; its memory is used again when no view of it is left."""
        memory = _memory_of(self)
        if memory is not None:
            memory.release()
        self.__class__ = _ReleasedArray

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()

    def __array_wrap__(self, array, context=None, return_scalar=False):
        array = numpy.asarray(array)
        return array[()] if array.ndim == 0 else array


def _refuse(self, *arguments, **options):
    raise Released("this array has been released")


class _ReleasedArray(SharedArray):
    """What a released array turns into."""

    def release(self):
        """Nothing is left to do."""

    __getitem__ = __setitem__ = __len__ = __iter__ = __contains__ = __array_ufunc__ = __array_function__ = _refuse
    __bool__ = __int__ = __float__ = __complex__ = __index__ = __enter__ = __reduce__ = __copy__ = __deepcopy__ = _refuse

    def __getattribute__(self, name):
        if name in _STILL_THERE or (name.startswith("__") and name.endswith("__") and not name.startswith("__array")):
            return super().__getattribute__(name)
        return _refuse(self)

    def __repr__(self):
        return "<released array>"

    __str__ = __repr__


_STILL_THERE = frozenset(("base", "release"))
