"""Arguments as a function's annotations say: a plain value that fits a dataclass, a pydantic model, an Enum and so on becomes one.

Only annotations that ask for more than the wire has are looked at, and a value that is right already stays as it is.
"""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import sys
import types
import typing
import uuid


def converter(function):
    """`convert(args, kwargs, bound=False) -> (args, kwargs)` for a function, or None when there is nothing to convert.

    `bound`: the first parameter is filled already.
    """
    target = function.__init__ if isinstance(function, type) else function
    try:
        # From Python 3.14 on they are evaluated when they are asked for.
        if not getattr(inspect.unwrap(target), "__annotations__", None):
            return None
        hints = typing.get_type_hints(inspect.unwrap(target), include_extras=False)
        parameters = list(inspect.signature(target).parameters.values())
    except Exception:
        # Annotations that can't be evaluated, as under TYPE_CHECKING, say nothing.
        return None
    by_name, positional, rest = {}, [], None
    for parameter in parameters:
        convert = _of(hints.get(parameter.name, typing.Any))
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = convert
        elif parameter.kind is not parameter.VAR_KEYWORD:
            if parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append(convert)
            by_name[parameter.name] = convert
    if not any([*by_name.values(), rest]):
        return None
    if isinstance(function, type):
        positional = positional[1:]

    def convert_arguments(args, kwargs, bound=False):
        wanted = positional[1:] if bound else positional
        converted = [
            convert(value) if convert else value
            for value, convert in zip(args, [*wanted, *[rest] * max(0, len(args) - len(wanted))])
        ]
        if kwargs:
            kwargs = {
                name: convert(value) if (convert := by_name.get(name)) else value for name, value in kwargs.items()
            }
        return tuple(converted), kwargs

    return convert_arguments


def _of(hint):
    """A function that converts a value to `hint`, or None when every value may stay as it is."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if origin is not None:
        return _generic(origin, arguments)
    if not isinstance(hint, type):
        return None
    if hint in (tuple, set, frozenset):
        return lambda value: hint(value) if isinstance(value, list) else value
    if issubclass(hint, enum.Enum):
        return lambda value: value if isinstance(value, hint) else hint(value)
    if hint in _FROM_TEXT:
        return _FROM_TEXT[hint]
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(hint, pydantic.BaseModel):
        return lambda value: hint.model_validate(value) if isinstance(value, dict) else value
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    return None


def _union(members):
    converters = [(member, _of(member)) for member in members]
    if not any(convert for _, convert in converters):
        return None
    plain = tuple(member for member, convert in converters if convert is None and isinstance(member, type))

    def convert_to_one(value):
        if plain and isinstance(value, plain):
            return value
        for _, convert in converters:
            if convert is None:
                continue
            try:
                return convert(value)
            except (TypeError, ValueError, ArithmeticError):
                continue
        return value

    return convert_to_one


def _generic(origin, arguments):
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping) and len(arguments) == 2:
        convert = _of(arguments[1])
        return convert and (lambda value: {key: convert(item) for key, item in value.items()} if isinstance(value, dict) else value)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            convert = _of(arguments[0])
            return lambda value: tuple(map(convert, value) if convert else value) if isinstance(value, list) else value
        each = [_of(argument) for argument in arguments]
        return lambda value: (
            tuple(convert(item) if convert else item for item, convert in zip(value, each)) if isinstance(value, list) and len(value) == len(each) else value
        )
    if not arguments or origin not in _SEQUENCES:
        return None
    convert, make = _of(arguments[0]), _SEQUENCES[origin]
    if convert is None and make is list:
        return None
    return lambda value: make(map(convert, value) if convert else value) if isinstance(value, (list, set)) else value


_SEQUENCES = {
    list: list, collections.abc.Sequence: list, collections.abc.Iterable: list, collections.abc.Collection: list,
    set: set, frozenset: frozenset, collections.abc.Set: set,
}


def _dataclass(kind):
    # Made when the first value comes: a dataclass may contain itself.
    convert_field = {}

    def convert(value):
        if not isinstance(value, dict):
            return value
        if not convert_field:
            hints = typing.get_type_hints(kind)
            convert_field.update({field.name: _of(hints.get(field.name, typing.Any)) for field in dataclasses.fields(kind)})
        unknown = set(value) - set(convert_field)
        if unknown:
            raise TypeError(f"{kind.__name__} has no field {sorted(unknown)[0]!r}")
        return kind(**{name: field(item) if (field := convert_field[name]) else item for name, item in value.items()})

    return convert


def _datetime(value):
    return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value


def _date(value):
    if isinstance(value, datetime.datetime):
        return value.date()
    return datetime.date.fromisoformat(value) if isinstance(value, str) else value


def _decimal(value):
    return decimal.Decimal(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


_FROM_TEXT = {
    uuid.UUID: lambda value: uuid.UUID(value) if isinstance(value, str) else value,
    decimal.Decimal: _decimal,
    datetime.date: _date,
    datetime.datetime: _datetime,
}
