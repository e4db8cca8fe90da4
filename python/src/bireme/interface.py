"""Whether an application speaks ASGI or WSGI, told from the object itself."""

import contextlib
import functools
import inspect
import sys

from .loading import LoadError

HINT = "Say which with the interface setting of the service: interface = \"asgi\" or \"wsgi\"."


def detect(app):
    """"asgi" or "wsgi". Raises LoadError for what is neither."""
    if not callable(app):
        raise LoadError(
            f"the application is of the type {type(app).__name__}, which can't be called",
            "An ASGI or WSGI application is a callable object; name the attribute that holds it.",
        )
    if is_coroutine_callable(app):
        return "asgi"
    if isinstance(app, type):
        raise LoadError(
            f"the application is the class {app.__name__}, not an instance of it",
            f"Create one ({app.__name__}(…)) and name that, or set factory = true.",
        )
    required, possible = _positional_counts(app)
    if required is None or (possible is ANY and required < 2):
        raise LoadError("the application's signature does not tell ASGI from WSGI", HINT)
    if required <= 3 <= possible and required > 2:
        return "asgi"
    if required <= 2 <= possible:
        return "wsgi"
    raise LoadError(
        f"the application takes {required} arguments; ASGI passes 3 (scope, receive, send) and WSGI 2"
        " (environ, start_response)",
        "If it is a function that makes the application, set factory = true or write its name with ()."
        if required == 0
        else HINT,
    )


# Middlewares that may be around an application.
WRAPPERS_MAX = 16


def debug_notes(app):
    """A note for each debug mode that a framework is in: it costs on every request, and shows errors to clients."""
    notes = []
    # A framework's settings are the application's code, which may fail in ways of its own.
    with contextlib.suppress(Exception):
        settings = sys.modules["django.conf"].settings
        if settings.configured and settings.DEBUG is True:
            notes.append("debug mode: Django's DEBUG is True")
    with contextlib.suppress(Exception):
        for _ in range(WRAPPERS_MAX):
            if getattr(app, "debug", None) is True:
                notes.append(f"debug mode: {type(app).__name__}.debug is True")
                break
            # Starlette's middlewares and most others name what they wrap so.
            app = app.app
    return notes


def is_coroutine_callable(app):
    """Whether calling `app` runs none of its code yet, but makes a coroutine."""
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.iscoroutinefunction(app):
        return True
    return not isinstance(app, type) and inspect.iscoroutinefunction(getattr(type(app), "__call__", None))


# Stands for *args in a count of positional parameters.
ANY = float("inf")


def _signature(app):
    if sys.version_info >= (3, 14):
        # Annotations are evaluated here, and those that only type checkers can evaluate are no reason to fail.
        import annotationlib

        return inspect.signature(app, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(app)


def _positional_counts(app):
    try:
        signature = _signature(app)
    except (TypeError, ValueError):
        return None, None
    required = possible = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            possible = ANY
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            possible += 1
            if parameter.default is parameter.empty:
                required += 1
    return required, possible
