"""The life of a worker: read settings, say hello, load the application, serve it, end.

Serving itself is `asgi`'s and `wsgi`'s work.
"""

import contextlib
import json
import os
import sys
import traceback

from . import loading, pubsub
from .settings import SettingsError, take_settings


def main(arguments):
    """Run the worker for `arguments`; returns the exit status.

    They are the application's target and its own arguments, or `--calls`, or `--script` and a script with its own.
    """
    if arguments[:1] == ["--script"]:
        from .script import run

        return run(arguments[1:])
    calls_alone = arguments == ["--calls"]
    try:
        settings = take_settings(calls_alone)
    except SettingsError as error:
        print(f"bireme: {error}", file=sys.stderr)
        return 2
    if not arguments:
        print("bireme: no application named; expected module:attribute", file=sys.stderr)
        return 2
    _prepare_process([""] if calls_alone else arguments)
    if not calls_alone:
        pubsub.expect()
    try:
        control = _open_control(settings)
    except (ImportError, ConnectionError) as error:
        print(f"bireme: {error}", file=sys.stderr)
        return 1
    try:
        if calls_alone:
            from . import calls_worker

            return calls_worker.serve(settings, control)
        return _load_and_serve(arguments[0], settings, control)
    except loading.LoadError as error:
        _fail(control, error)
        return 1
    except Exception as error:
        if control.is_announced:
            raise
        text = f"starting the worker raised {loading.one_line(error)}"
        _fail(control, loading.LoadError(text, "This looks like a fault in Bireme.", traceback.format_exc()))
        return 1
    finally:
        # Output that is lost at the end is the output one looks for.
        for stream in (sys.stdout, sys.stderr):
            # The application may have closed it, or the front may be gone.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()


def hello(settings, link):
    """The JSON text of HELLO for a link."""
    return json.dumps(
        {
            "token": settings.token,
            "link": link,
            "pid": os.getpid(),
            "language": "python",
            "version": sys.version.split()[0],
        }
    )


def let_go_when_forked(filenos):
    """See to it that a forked child (multiprocessing) does not hold the worker's links open.

    A link that stays open in a child looks alive to the front after the worker has died.
    """

    def replace_by_nothing():
        nothing = os.open(os.devnull, os.O_RDWR)
        for fileno in filenos:
            os.dup2(nothing, fileno, inheritable=False)
        os.close(nothing)

    os.register_at_fork(after_in_child=replace_by_nothing)


def report(line, error=None):
    """Write a line of ours, and an exception's traceback, to the worker's log."""
    text = f"bireme: {line}\n"
    if error is not None:
        text += "".join(traceback.format_exception(error))
    sys.stderr.write(text)


def _prepare_process(arguments):
    import signal

    # The folder of the application comes first, as if it were run by hand in it.
    folder = os.getcwd()
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    sys.argv = list(arguments)
    # A pipe would be buffered in blocks, and a log line read when the buffer is full.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    # Ctrl-C reaches the whole process group; the front decides what happens. A handler that does
    # nothing is not inherited by child processes, as SIG_IGN would be.
    signal.signal(signal.SIGINT, _do_nothing)


def _do_nothing(signum, frame):
    pass


# What FAILED carries at most, in characters: JSON may need six bytes for one, and a frame ends at 1 MiB.
STACK_MAX = 100_000
LINE_MAX = 2_000


def _fail(control, error):
    """Send FAILED. Of a long stack, its end matters."""
    fields = {"error": error.error[:LINE_MAX], "stack": error.stack[-STACK_MAX:], "hint": error.hint[:LINE_MAX]}
    control.failed(json.dumps(fields))


def _open_control(settings):
    try:
        from ._native import Control
    except ImportError as error:
        raise ImportError(
            f"the native module does not load in {sys.executable} (Python {sys.version.split()[0]}): {error};"
            " Bireme serves CPython 3.10 and later, not its free-threaded builds"
        ) from error

    control = Control(settings.link_path, hello(settings, "control"))
    let_go_when_forked(control.link_filenos())
    return control


def _load_and_serve(target, settings, control):
    try:
        app, kind = _load(target, settings)
    except loading.LoadError as error:
        if not error.wants_loop or settings.interface == "wsgi":
            raise
        # Some modules make what needs a running loop, like an aiohttp session, while they are imported.
        # Servers that import inside the loop allow it; asyncio.run() at import needs the opposite, so
        # that is tried first.
        from . import asgi

        return asgi.serve(lambda: _load(target, settings)[0], settings, control)
    if kind == "asgi":
        from . import asgi

        return asgi.serve(lambda: app, settings, control)
    from . import wsgi

    return wsgi.serve(app, settings, control)


def _load(target, settings):
    """The application and its interface, "asgi" or "wsgi"."""
    from .interface import detect

    app = loading.load(target, settings.factory)
    kind = settings.interface
    if kind == "auto":
        kind = detect(app)
    elif not callable(app):
        detect(app)
    if settings.faults:
        from . import faults

        report("BIREME_FAULTS is set, as by bireme compare: requests that hold its word get errors")
        app = faults.wrap(app, kind, settings.faults)
    return app, kind
