"""Starts a Bireme worker: `python launch.py module:attribute [arguments of the application]`.

`--calls` instead starts one that takes calls alone, `--script script.py [arguments]` runs a script.

The front runs this file with the application's own interpreter. It knows nothing but how to find the
package beside it without leaving a trace of that on the application's import path.
"""

import sys


def _load_runtime():
    import os.path

    here = os.path.dirname(os.path.abspath(__file__))
    # Python has put this folder first on the path, unless it was told not to (-P, PYTHONSAFEPATH).
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    sys.path.insert(0, here)
    try:
        # From here on the package is found by its own __path__, not by sys.path.
        import bireme.worker
    finally:
        sys.path.remove(here)
    return bireme.worker


# multiprocessing imports this file again, as __mp_main__, in the processes that it spawns. The package
# has to be found there, too, since what is pickled may refer to it; nothing else may happen.
if __name__ == "__main__":
    if sys.version_info < (3, 10):
        sys.exit("bireme: Python %s is too old; 3.10 or later is needed (%s)" % (sys.version.split()[0], sys.executable))
    sys.exit(_load_runtime().main(sys.argv[1:]))
elif __name__ == "__mp_main__":
    _load_runtime()
