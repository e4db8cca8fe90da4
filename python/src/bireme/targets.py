"""From what a call names to what is run: files and modules, attributes, and how each is to be called."""

import functools
import importlib
import importlib.util
import inspect
import keyword
import os
import sys

from . import loading
from ._native import Target
from .conversion import converter
from .errors import CallTargetNotFound
from .interface import is_coroutine_callable
from .marks import marks_of

# By the file's real path: modules that were loaded for calls, or found loaded.
_MODULES = {}


def target(form):
    """The Target of a BIND's map. Raises CallTargetNotFound; what a module raises while it is imported passes on."""
    name, file, module = form.get("name", ""), form.get("file"), form.get("module")
    found = _load_file(file) if file is not None else _load_module(module)
    where = file if file is not None else module
    return target_of(_walk(found, name, f"{where}:{name}"))


def is_loaded(form):
    """Whether what a BIND's map names is there without an import, which may take long."""
    file = form.get("file")
    if file is None:
        return form.get("module") in sys.modules
    real = os.path.realpath(file)
    return real in _MODULES or _loaded(real) is not None


def member(value, name):
    """The Target of a member of an object."""
    return target_of(_walk(value, name, f"{type(value).__name__}.{name}"))


def value(found, name):
    """The value of a member, or of the object itself when the name is empty."""
    return _walk(found, name, f"{type(found).__name__}.{name}") if name else found


def _walk(found, name, shown):
    for part in name.split(".") if name else ():
        try:
            found = getattr(found, part)
        except AttributeError as error:
            if error.name not in (None, part):
                raise
            raise CallTargetNotFound(f"{shown} does not exist: {error}") from None
    return found


def target_of(found):
    """How this object is called."""
    function = getattr(found, "__func__", None) or found
    try:
        mode, convert, timeout_ms, idempotent = _how(function, isinstance(found, type))
    except TypeError:
        # It can't be hashed, so it is looked at each time.
        mode, convert, timeout_ms, idempotent = _how.__wrapped__(function, isinstance(found, type))
    if convert is not None and function is not found:
        convert = functools.partial(convert, bound=True)
    return Target(found, mode, convert, timeout_ms, idempotent)


@functools.lru_cache(maxsize=1024)
def _how(function, is_class):
    if not callable(function):
        return "value", None, None, False
    marks = marks_of(function)
    if not is_class and _makes_awaitable(function):
        mode = "loop"
    else:
        mode = "quick" if marks.get("quick") else "thread"
    return mode, converter(function), marks.get("timeout_ms"), marks.get("idempotent", False)


def _makes_awaitable(function):
    """Whether calling it runs none of its code yet, so that the loop may call it."""
    if is_coroutine_callable(function):
        return True
    while isinstance(function, functools.partial):
        function = function.func
    call = function if inspect.isroutine(function) else getattr(type(function), "__call__", None)
    return inspect.isasyncgenfunction(call) or inspect.isgeneratorfunction(call)


def _load_module(name):
    if not isinstance(name, str) or not name:
        raise CallTargetNotFound("a call that names neither a file nor a module")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name or name.startswith(f"{error.name}."):
            raise CallTargetNotFound(
                f"no module named {error.name!r} on the import path of {sys.executable}: install it there"
            ) from None
        raise


def _load_file(path):
    """The module of a file: the one that is loaded already, or the one that `import` would find, so that there is only one."""
    real = os.path.realpath(path)
    module = _MODULES.get(real) or _loaded(real)
    if module is None:
        if not os.path.isfile(real):
            raise CallTargetNotFound(f"there is no file {path}")
        module = _import_file(real)
    _MODULES[real] = module
    return module


def _loaded(real):
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and os.path.basename(file) == os.path.basename(real) and os.path.realpath(file) == real:
            return module
    return None


def _import_file(real):
    folder, name = _package_of(real)
    # What stands beside it can be imported by name, as when it is run by hand; what is on the path already comes first.
    if folder not in sys.path:
        sys.path.append(folder)
    for candidate in (_name_on_path(real), name):
        if candidate is None or candidate in sys.modules:
            continue
        spec = _find_spec(candidate)
        if spec is not None and spec.origin and os.path.realpath(spec.origin) == real:
            return importlib.import_module(candidate)
    # Its name is taken by another module.
    unique = f"bireme_calls_{os.path.basename(real)[:-3]}_{abs(hash(real)):x}"
    spec = importlib.util.spec_from_file_location(unique, real)
    if spec is None:
        raise CallTargetNotFound(f"{real} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(unique, None)
        raise
    return module


def _find_spec(name):
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _package_of(real):
    """The folder from which the file's module is imported, and its dotted name there: packages have an `__init__.py`."""
    folder, base = os.path.split(real)
    parts = [] if base == "__init__.py" else [os.path.splitext(base)[0]]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return folder, ".".join(parts)


def _name_on_path(real):
    """Its dotted name from the closest entry of the import path that holds it: what the application would write."""
    entries = [os.path.realpath(entry) for entry in sys.path if entry]
    holding = [entry for entry in entries if real.startswith(entry + os.sep)]
    shortest = min(holding, key=len, default=None)
    if shortest is None:
        return None
    parts = os.path.splitext(os.path.relpath(real, shortest))[0].split(os.sep)
    if parts[-1] == "__init__":
        parts.pop()
    valid = all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
    return ".".join(parts) if valid and parts else None


# A module that fails to load names its own fault; `loading` has the words for it.
one_line = loading.one_line
