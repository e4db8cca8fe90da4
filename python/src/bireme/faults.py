"""Errors on request, for `bireme compare`: what clients, neighbours and the log see of them in any service.

Only a worker whose environment has BIREME_FAULTS imports this, and it obeys only who knows the word in there. They are made where
the runtime calls the application, so an application's own error handlers do not see them. node/src/faults.js is its counterpart.
"""

import asyncio
import os
import threading

# `bireme-fault: WORD KIND`
FIELD = b"bireme-fault"
MESSAGE = "an error made by bireme compare"
PART = b"part of an answer\n"


def wrap(app, kind, word):
    """The application, which now makes errors when asked to. `kind`: "asgi" or "wsgi"."""
    return _asgi(app, word.encode() + b" ") if kind == "asgi" else _wsgi(app, word + " ")


def _fail():
    raise RuntimeError(MESSAGE)


async def _fail_later():
    _fail()


def _allocate():
    # More than any process can have.
    return bytearray(2**53)


def _asgi(app, prefix):
    async def call(scope, receive, send):
        kind = ""
        if scope["type"] == "http":
            asked = next((value for name, value in scope["headers"] if name == FIELD), b"")
            if asked.startswith(prefix):
                kind = asked[len(prefix) :].decode("latin-1")
        if kind == "throw":
            _fail()
        elif kind == "rejection":
            asyncio.ensure_future(_fail_later())
        elif kind == "timeout":
            await asyncio.Event().wait()
        elif kind == "aborted_stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await send({"type": "http.response.body", "body": PART, "more_body": True})
            _fail()
        elif kind == "allocation":
            _allocate()
        elif kind == "crash":
            os.abort()
        await app(scope, receive, send)

    return call


def _wsgi(app, prefix):
    def call(environ, start_response):
        asked = environ.get("HTTP_" + FIELD.decode().upper().replace("-", "_"), "")
        kind = asked[len(prefix) :] if asked.startswith(prefix) else ""
        if kind == "throw":
            _fail()
        elif kind == "rejection":
            # Nobody joins it: a thread is what a task is where there is no event loop.
            threading.Thread(target=_fail, daemon=True).start()
        elif kind == "timeout":
            threading.Event().wait()
        elif kind == "aborted_stream":
            return _broken_off(start_response)
        elif kind == "allocation":
            _allocate()
        elif kind == "crash":
            os.abort()
        return app(environ, start_response)

    return call


def _broken_off(start_response):
    start_response("200 OK", [])
    for _ in range(3):
        yield PART
    _fail()
