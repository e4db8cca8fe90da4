"""From `module:attribute` to an application object, with errors that say what to do.

It does not know what kind of application it loads; that is `interface`'s work.
"""

import importlib
import os
import sys
import traceback

# What frameworks' own tutorials call the object, in the order in which it is looked for.
DEFAULT_ATTRIBUTES = ("app", "application", "asgi", "wsgi", "create_app", "make_app")


class LoadError(Exception):
    """The application can't be loaded: one line, a stack for the log, and what to do about it."""

    def __init__(self, error, hint="", stack="", wants_loop=False):
        super().__init__(error)
        self.error = error
        self.hint = hint
        self.stack = stack
        # Whether the import failed only for want of a running event loop.
        self.wants_loop = wants_loop


def load(target, factory):
    """Import `target` ("module", "module:attribute" or "module:factory()") and return its application.

    With `factory`, what is found is called without arguments and its result returned. Raises LoadError.
    """
    module_name, _, attribute = target.partition(":")
    if attribute.endswith("()"):
        attribute = attribute[:-2]
        factory = True
    if not module_name:
        raise LoadError(
            f'"{target}" names no module',
            'Write module:attribute, for example "main:app" for the object app in main.py.',
        )
    module_name = _module_of_path(module_name)
    module = _import(module_name)
    found, attribute, implied_factory = _find(module, module_name, attribute)
    if factory or implied_factory:
        found = _call_factory(found, f"{module_name}:{attribute}")
    return found


def _module_of_path(name):
    """`web/main.py` is what one types with tab completion; `web.main` is what it means."""
    if name.endswith(".py"):
        return os.path.normpath(name[:-3]).replace(os.sep, ".")
    return name


def _import(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == name or name.startswith(missing + "."):
            raise LoadError(
                f'no module named "{missing}" in {os.getcwd()} or on the import path of {sys.executable}',
                _missing_module_hint(name),
            ) from None
        raise LoadError(
            f'"{name}" imports "{missing}", which {sys.executable} does not have',
            f"Install it there ({sys.executable} -m pip install …), or choose the interpreter of the"
            " environment that has it (interpreter setting of the service, VIRTUAL_ENV, or .venv beside the"
            " application).",
            _stack(error),
        ) from None
    except SystemExit as error:
        raise LoadError(
            f'"{name}" ended the process while it was imported (exit status {error.code!r})',
            'Guard what the program does when it is run by hand with `if __name__ == "__main__":`.',
            _stack(error),
        ) from None
    except BaseException as error:
        raise LoadError(
            f'"{name}" raised {one_line(error)} while it was imported',
            "",
            _stack(error),
            wants_loop=isinstance(error, RuntimeError) and "no running event loop" in str(error),
        ) from error


def _missing_module_hint(name):
    top = name.partition(".")[0]
    here = [
        entry.removesuffix(".py")
        for entry in sorted(os.listdir(os.getcwd()))
        if (entry.endswith(".py") and entry != "setup.py")
        or os.path.isfile(os.path.join(os.getcwd(), entry, "__init__.py"))
    ]
    near = _nearest(top, here)
    if near:
        return f'Did you mean "{near}"?'
    if here:
        return f"Modules in this folder: {', '.join(here[:12])}."
    return "There is no Python module in this folder; is it the right one?"


def _find(module, module_name, attribute):
    if not attribute:
        for candidate in DEFAULT_ATTRIBUTES:
            if hasattr(module, candidate):
                return getattr(module, candidate), candidate, candidate in ("create_app", "make_app")
        raise LoadError(
            f'module "{module_name}" has none of {", ".join(DEFAULT_ATTRIBUTES)}',
            _candidates_hint(module, module_name, ""),
        )
    found = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LoadError(
                f'module "{module_name}" has no attribute "{attribute}"',
                _candidates_hint(module, module_name, attribute),
            ) from None
    return found, attribute, False


def _candidates_hint(module, module_name, attribute):
    from types import ModuleType

    candidates = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and not isinstance(value, (type, ModuleType))
        and getattr(value, "__module__", module_name) is not None
    ]
    near = _nearest(attribute, candidates) if attribute else None
    if near:
        return f'Did you mean "{module_name}:{near}"?'
    if candidates:
        return f"It has these callables: {', '.join(sorted(candidates)[:12])}."
    return f"{getattr(module, '__file__', module_name)} defines no callable."


def _call_factory(factory, name):
    if not callable(factory):
        raise LoadError(
            f'"{name}" is to be a factory, but it is a {type(factory).__name__}, which can\'t be called',
            "Turn the factory setting off, or name the function that makes the application.",
        )
    try:
        return factory()
    except BaseException as error:
        raise LoadError(f'the factory "{name}" raised {one_line(error)}', "", _stack(error)) from error


def _nearest(name, candidates):
    import difflib

    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return near[0] if near else None


def one_line(error):
    """An exception's type and message in one line of bounded length."""
    text = " ".join(str(error).split())
    if len(text) > 300:
        text = text[:300] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _stack(error):
    """The traceback from the application's first line on: importlib's and ours tell nobody anything."""
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_machinery(filename):
    return filename == __file__ or filename.startswith("<frozen importlib") or filename == importlib.__file__
