"""`bireme run script.py`: a script as `python script.py` runs it, with the package in reach."""

import builtins
import importlib.machinery
import io
import os
import sys
import types

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_LAUNCHER = os.path.join(os.path.dirname(_PACKAGE), "launch.py")


def run(arguments):
    """Run the script `arguments[0]` as `__main__`; what it raises passes on."""
    if not arguments:
        print("bireme: no script named; expected script.py", file=sys.stderr)
        return 2
    path = arguments[0]
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        print(f"bireme: can't open {path}: {error.strerror}", file=sys.stderr)
        return 2
    sys.argv = list(arguments)
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    # Processes that multiprocessing spawns import the script again, and the package with it.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main = types.ModuleType("__main__")
    main.__file__ = os.path.abspath(path)
    main.__builtins__ = builtins
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", main.__file__)
    main.__annotations__ = {}
    main.__cached__ = None
    sys.modules["__main__"] = main
    _hide_own_frames()
    exec(compile(source, main.__file__, "exec", dont_inherit=True), main.__dict__)
    return 0


def _hide_own_frames():
    """Let the traceback of an uncaught exception begin with the script."""
    show = sys.excepthook

    def hook(kind, error, tb):
        while tb is not None and (tb.tb_frame.f_code.co_filename == _LAUNCHER or os.path.dirname(tb.tb_frame.f_code.co_filename) == _PACKAGE):
            tb = tb.tb_next
        show(kind, error.with_traceback(tb), tb)

    sys.excepthook = hook
