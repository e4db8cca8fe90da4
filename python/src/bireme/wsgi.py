"""Serving a WSGI application (PEP 3333): the threads, and the end.

Requests themselves are handled in Rust (`native/src/pool.rs`), called by the threads. There is no event
loop here; the main thread only waits for the front's word and for signals.
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
import threading
import time

from . import _native, pubsub
from .accepting import Door
from .interface import debug_notes
from .worker import hello, let_go_when_forked, report

# After DRAIN no request is left, so a thread that has not ended by then hangs in the application.
THREADS_END_TIMEOUT_S = 5


class _Drain(BaseException):
    """SIGTERM, taken out of whatever the main thread waits in."""


class FileWrapper:
    """`wsgi.file_wrapper`: iterates over a file in blocks (PEP 3333, "Optional Platform-Specific File Handling")."""

    def __init__(self, filelike, block_size=65536):
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.block_size)
        if data:
            return data
        raise StopIteration


def serve(app, settings, control):
    """Serve `app` until the front says DRAIN; returns the exit status."""
    pool = _native.WsgiPool(
        settings.link_path,
        [hello(settings, number) for number in range(settings.links)],
        app=app,
        constants={
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": settings.threads_max > 1,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            "SERVER_SOFTWARE": "bireme",
            "GATEWAY_INTERFACE": "CGI/1.1",
        },
        on_error=report,
    )
    door = Door(settings)
    let_go_when_forked(pool.filenos() + door.filenos())
    failure = []
    threads = [
        threading.Thread(target=_run, args=(pool, failure), name=f"bireme-wsgi-{number}", daemon=True)
        for number in range(settings.threads_max)
    ]
    for thread in threads:
        thread.start()
    # What is loaded by now stays; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # The kernel may interrupt any thread for a signal; its byte here wakes the main thread, the only one
    # in which Python runs handlers.
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        signal.signal(signal.SIGTERM, _raise_drain)
        control.ready(json.dumps({"kind": "wsgi", "notes": [f"threads: {settings.threads_max}", *debug_notes(app)]}))
        pool.open()
        pubsub.use(pubsub.WsgiTopics(pool.topics(), settings.links))
        watched = [control.fileno(), woken, *door.filenos()]
        while not control.answer_pings():
            readable, _, _ = select.select(watched, [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            if door.fileno in readable:
                # The first caller. From now on, a loop in a thread of its own takes calls.
                watched.remove(door.fileno)
                door.open_in_thread()
    except _Drain:
        pass
    finally:
        signal.signal(signal.SIGTERM, _do_nothing)
        signal.set_wakeup_fd(-1)
    door.close_in_thread()
    pool.stop()
    deadline = time.monotonic() + THREADS_END_TIMEOUT_S
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return failure[0] if failure else 0


def _run(pool, failure):
    """One thread of the pool. What an application raises to end the process (SystemExit) ends it."""
    try:
        pool.serve()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        failure.append(status)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)


def _raise_drain(signum, frame):
    raise _Drain


def _do_nothing(signum, frame):
    pass
