"""Errors of calls, and errors that cross: protocol/calls.md, "Errors".

An error of the other language is raised with its frames already in its traceback. Python puts the frames that it passes on its way
before them, so that one traceback reads from the outermost caller to the place of the fault, whatever the language.
"""

import linecache
import os
import sys
import traceback
import types

# What of an error crosses at most: a deep recursion or a chain of causes must not fill a message.
FRAMES_MAX = 100
TEXT_MAX = 64 * 1024
CHAIN_MAX = 16
# Lines of a file that is not here are known one by one; beyond this number they are not shown.
LINES_MAX = 100_000
_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_FROZEN = ("<frozen importlib", "<frozen runpy")


class CallError(Exception):
    """A call did not succeed. `code` says why, for programs."""

    code = None

    def __init__(self, message="", code=None):
        super().__init__(message)
        if code is not None:
            self.code = code


class CallTimeout(CallError, TimeoutError):
    """The deadline passed."""

    code = "BIREME_CALL_TIMEOUT"


class CallCancelled(CallError):
    """Cancelled by the other side, when it stops. Where a call is awaited, asyncio.CancelledError is raised instead."""

    code = "BIREME_CALL_CANCELLED"


class ServiceBusy(CallError):
    """A queue is full."""

    code = "BIREME_SERVICE_BUSY"


class WorkerLost(CallError):
    """The worker's process ended. `started`: "no", or "unknown" when it may have run, in part or whole."""

    code = "BIREME_WORKER_LOST"

    def __init__(self, message="", code=None, started="unknown"):
        super().__init__(message, code)
        self.started = started


class CallTargetNotFound(CallError):
    """There is no such file, module or attribute."""

    code = "BIREME_NOT_FOUND"


class CannotCross(CallError, TypeError):
    """A value has no form in the other language, or is too large; the message names the path to it."""

    code = "BIREME_VALUE"


class Released(CallError):
    """The object has been released, or its owner has gone."""

    code = "BIREME_RELEASED"


class SharedMemoryFull(CallError, MemoryError):
    """No room for shared memory."""

    code = "BIREME_SHARED_FULL"


class RemoteError(CallError):
    """What the called function raised.

    `type`: the name of its type there; `message`; `code`, if it had one; `frames`: where it was raised, outermost first, each
    `[file, line, column, function, source line, language]`; `remote_stack`: that language's own text; `properties`: what else it had,
    also as attributes.
    """

    def __init__(self, message="", code=None, type="Error", frames=(), remote_stack="", properties=None, language=""):
        super().__init__(message, code)
        self.type = type
        if not hasattr(self, "exceptions"):
            # A group has it already.
            self.message = message
        self.frames = list(frames)
        self.remote_stack = remote_stack
        self.properties = properties or {}
        self.language = language

    def __str__(self):
        return f"{self.type}: {self.message}" if self.message else self.type

    def __getattr__(self, name):
        properties = self.__dict__.get("properties") or {}
        if name not in properties:
            raise AttributeError(name)
        return properties[name]


class JsError(RemoteError):
    """What a JavaScript function threw."""


class PythonError(RemoteError):
    """What a Python function of another process raised."""


_BY_CODE = {
    kind.code: kind
    for kind in (CallTimeout, CallCancelled, ServiceBusy, WorkerLost, CallTargetNotFound, CannotCross, Released, SharedMemoryFull)
} | {"BIREME_TOO_LARGE": CannotCross, "BIREME_UNAVAILABLE": CallError, "BIREME_NO_BROKER": CallError}
_BY_LANGUAGE = {"javascript": JsError, "python": PythonError}


def too_large(message):
    """A CannotCross for what passes message_bytes_max."""
    return CannotCross(message, "BIREME_TOO_LARGE")


def describe(error, depth=0):
    """The map that stands for an exception on the wire."""
    remote = isinstance(error, RemoteError)
    form = {
        "language": error.language if remote and error.language else "python",
        "type": error.type if remote else type(error).__qualname__,
        "message": error.message if remote else _message(error),
    }
    code = getattr(error, "code", None)
    if isinstance(code, str):
        form["code"] = code
    form["frames"] = _frames(error.__traceback__)
    form["text"] = (error.remote_stack if remote and error.remote_stack else _text(error))[-TEXT_MAX:]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < CHAIN_MAX:
        form["cause"] = describe(cause, depth + 1)
    members = getattr(error, "exceptions", ())
    form["suppressed"] = [
        describe(member, depth + 1) for member in members[:CHAIN_MAX] if isinstance(member, BaseException) and depth < CHAIN_MAX
    ]
    form["notes"] = [str(note) for note in getattr(error, "__notes__", ())][:CHAIN_MAX]
    form["properties"] = _properties(error, remote)
    return form


def _message(error):
    # KeyError's str() is the key's repr; ExceptionGroup's counts its members. Both are what Python prints.
    try:
        return str(error)
    except Exception as failure:
        return f"<its message can't be had: {type(failure).__name__}>"


def _text(error):
    try:
        return "".join(traceback.format_exception(error))
    except Exception as failure:
        return f"<its traceback can't be had: {type(failure).__name__}>"


def _properties(error, remote):
    from ._native import encode_value

    properties = error.properties if remote else getattr(error, "__dict__", {})
    crossing = {}
    for name, value in properties.items():
        if not isinstance(name, str) or name == "code" or name.startswith("__"):
            continue
        try:
            encode_value(value)
        except Exception:
            # What can't cross stays behind; the error itself matters.
            continue
        crossing[name] = value
    return crossing


def _frames(tb):
    frames = []
    while tb is not None:
        code, variables = tb.tb_frame.f_code, tb.tb_frame.f_globals
        language = variables.get("__bireme_language__")
        if language is not None:
            line = variables.get("__bireme_source__", "")
            frames.append([code.co_filename, tb.tb_lineno, variables["__bireme_column__"], code.co_name, line, language])
        elif not code.co_filename.startswith((_OWN_FOLDER, *_FROZEN)):
            line = linecache.getline(code.co_filename, tb.tb_lineno, variables).strip()
            name = getattr(code, "co_qualname", code.co_name)
            frames.append([code.co_filename, tb.tb_lineno or 0, _column(code, tb.tb_lasti), name, line, "python"])
        tb = tb.tb_next
    if len(frames) > FRAMES_MAX:
        frames = frames[: FRAMES_MAX // 2] + frames[-FRAMES_MAX // 2 :]
    return frames


def _column(code, instruction):
    """Of CPython 3.11 and later, which know it; 0: not known."""
    if instruction < 0 or not hasattr(code, "co_positions"):
        return 0
    for index, position in enumerate(code.co_positions()):
        if index == instruction // 2:
            return (position[2] or 0) + 1 if position[2] is not None else 0
    return 0


def rebuild(form, depth=0):
    """The exception that a map stands for. Raises ValueError for what is no such map."""
    if not isinstance(form, dict):
        raise ValueError("an error that is no map")
    text = {key: form.get(key, "") for key in ("language", "type", "message", "text")}
    frames, notes, suppressed, properties = (
        form.get("frames", []), form.get("notes", []), form.get("suppressed", []), form.get("properties", {})
    )
    code = form.get("code")
    shapely = (
        all(isinstance(value, str) for value in text.values())
        and all(isinstance(value, list) for value in (frames, notes, suppressed))
        and isinstance(properties, dict) and (code is None or isinstance(code, str))
    )
    if not shapely:
        raise ValueError("an error of the wrong shape")
    frames = [_checked(frame) for frame in frames]
    kind = _BY_CODE.get(code)
    if kind is WorkerLost:
        error = WorkerLost(text["message"], started=str(properties.get("started", "unknown")))
    elif kind is not None:
        error = kind(text["message"], code)
    else:
        error = _remote_error(text, code, frames, properties, suppressed, depth)
    cause = form.get("cause")
    if cause is not None and depth < CHAIN_MAX:
        error.__cause__ = rebuild(cause, depth + 1)
    if notes:
        error.__notes__ = [str(note) for note in notes]
    return error.with_traceback(_traceback(frames))


def _remote_error(text, code, frames, properties, suppressed, depth):
    kind = _BY_LANGUAGE.get(text["language"], RemoteError)
    details = {
        "type": text["type"], "frames": frames, "remote_stack": text["text"], "properties": properties, "language": text["language"],
    }
    if suppressed and depth < CHAIN_MAX and sys.version_info >= (3, 11):
        members = [rebuild(member, depth + 1) for member in suppressed]
        error = _group_of(kind)(text["message"], members)
        kind.__init__(error, text["message"], code, **details)
        return error
    return kind(text["message"], code, **details)


def _group_of(kind):
    """The ExceptionGroup that is also a `kind`: except* finds its members."""
    group = _GROUPS.get(kind)
    if group is None:

        class Group(kind, ExceptionGroup):  # noqa: F821 - CPython 3.11 and later
            __init__ = Exception.__init__
            __str__ = kind.__str__

            def derive(self, members):
                return ExceptionGroup(self.message, members)  # noqa: F821

        Group.__name__ = Group.__qualname__ = kind.__name__ + "Group"
        Group.__module__ = kind.__module__
        group = _GROUPS[kind] = Group
    return group


_GROUPS = {}


def _checked(frame):
    if not (isinstance(frame, list) and len(frame) == 6):
        raise ValueError("a frame of the wrong shape")
    file, line, column, function, source, language = frame
    if not all(isinstance(part, str) for part in (file, function, source, language)):
        raise ValueError("a frame of the wrong shape")
    if type(line) is not int or type(column) is not int:
        raise ValueError("a frame of the wrong shape")
    return frame


def _template():
    return sys._getframe()


def _traceback(frames):
    """A traceback that shows these frames, outermost first; None for none."""
    made = None
    for file, line, column, function, source, language in reversed(frames[-FRAMES_MAX:]):
        line = line if 0 < line < 2**31 else 1
        variables = {
            "sys": sys, "__bireme_language__": language, "__bireme_source__": source, "__bireme_column__": column, "__name__": "bireme.remote",
        }
        code = _template.__code__.replace(co_filename=file or "<unknown>", co_name=function or "<anonymous>")
        if hasattr(code, "co_qualname"):
            code = code.replace(co_qualname=function or "<anonymous>")
        frame = types.FunctionType(code, variables)()
        _remember_line(file, line, source)
        made = types.TracebackType(made, frame, -1, line)
    return made


def _remember_line(file, line, source):
    """Let traceback show a line of a file that can't be read here, such as one inside a bundle."""
    if not source or line > LINES_MAX or os.path.exists(file):
        return
    known = linecache.cache.get(file)
    lines = known[2] if known and len(known) == 4 and known[1] is None else []
    if len(lines) < line:
        lines = lines + ["\n"] * (line - len(lines))
    lines[line - 1] = source + "\n"
    # Without a time of change, linecache keeps it though the file does not exist.
    linecache.cache[file] = (0, None, lines, file)
