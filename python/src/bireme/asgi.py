"""Serving an ASGI 3 application: the event loop, lifespan, and the end.

Requests themselves are handled in Rust (`native/src/asgi.rs`), called by the loop.
"""

import asyncio
import collections.abc
import gc
import json
import signal
import sys
import warnings

from . import _native, pubsub
from .accepting import Door
from .interface import debug_notes, is_coroutine_callable
from .lifespan import Lifespan
from .loading import LoadError
from .worker import hello, let_go_when_forked, report

# What `receive` and `send` return is taken for coroutines, as asyncio.create_task demands.
for _awaitable in (_native.Done, _native.Receive, _native.Send):
    collections.abc.Coroutine.register(_awaitable)


def serve(load, settings, control):
    """Serve the application that `load()` returns, called inside the running loop, until the front says DRAIN.

    Returns the exit status. Raises LoadError before READY.
    """
    loop, notes = event_loop(settings.loop)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(load, settings, control, loop, notes))
    finally:
        close(loop)


async def _serve(load, settings, control, loop, notes):
    app = load()
    drain = watch_control(loop, control)
    lifespan = Lifespan(app, settings.lifespan, settings.lifespan_timeout_ms)
    await lifespan.startup()
    notes += lifespan.notes + debug_notes(app)
    links = [
        _native.AsgiLink(
            settings.link_path,
            hello(settings, number),
            number=number,
            app=app if is_coroutine_callable(app) else _in_coroutine(app),
            event_loop=loop,
            state=lifespan.state,
            on_error=report,
            on_close=_link_closed,
            on_topic=pubsub.on_frame,
        )
        for number in range(settings.links)
    ]
    door = Door(settings)
    let_go_when_forked([link.fileno() for link in links] + door.filenos())
    # What is loaded by now stays; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    control.ready(json.dumps({"kind": "asgi", "notes": notes}))
    for link in links:
        link.open()
    pubsub.use(pubsub.AsgiTopics(links, loop))
    door.open(loop)

    await drain.wait()
    await door.close()
    await _finish_tasks(links, settings.lifespan_timeout_ms)
    await lifespan.shutdown()
    return 0


def watch_control(loop, control):
    """An event that is set when the front says DRAIN, or SIGTERM comes."""
    drain = asyncio.Event()

    def on_control():
        if control.answer_pings():
            drain.set()

    loop.add_reader(control.fileno(), on_control)
    loop.add_signal_handler(signal.SIGTERM, drain.set)
    return drain


def _in_coroutine(app):
    """`app` called inside a coroutine, so that all of its code runs in the request's task and context."""

    async def call(scope, receive, send):
        await app(scope, receive, send)

    return call


def _link_closed(reason):
    if reason is not None:
        report(f"a data link is over: {reason}")


async def _finish_tasks(links, timeout_ms):
    """Wait for what runs on after its response, like background tasks; at most `timeout_ms`."""
    tasks = [task for link in links for task in link.tasks()]
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=timeout_ms / 1000)
    for task in late:
        task.cancel()
    if late:
        report(f"{len(late)} requests were still running {timeout_ms} ms after the last answer, and were cancelled")
        await asyncio.wait(late, timeout=1)


def event_loop(choice):
    """The loop to serve on, and notes about it."""
    loop = _loop_made_at_import()
    if loop is not None:
        # What the application has given it to do would never run on another.
        return loop, [f"event loop: the application's own, {type(loop).__module__}"]
    if choice in ("auto", "uvloop"):
        try:
            import uvloop
        except ImportError as error:
            if choice == "uvloop":
                raise LoadError(
                    'the setting event_loop = "uvloop" asks for uvloop, which the application\'s environment lacks',
                    "Install uvloop there, or set event_loop = \"auto\".",
                ) from error
        else:
            return uvloop.new_event_loop(), [f"event loop: uvloop {uvloop.__version__}"]
    return asyncio.new_event_loop(), ["event loop: asyncio"]


def _loop_made_at_import():
    """The loop that `asyncio.get_event_loop()` made while a module was imported, if one did."""
    if sys.version_info >= (3, 14):
        # It makes none any more, and policies are deprecated.
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        local = getattr(asyncio.get_event_loop_policy(), "_local", None)
    loop = getattr(local, "_loop", None)
    return None if loop is None or loop.is_closed() else loop


def close(loop):
    """End the loop as asyncio.run does, so that generators and executors of the application end, too."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=5))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
