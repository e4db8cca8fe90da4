"""Server-sent events (WHATWG HTML §9.2) from any framework.

    async def prices(last_event_id):
        async for price in bireme.subscribe("prices"):
            yield bireme.Event(price, id=str(next(numbers)))

    return bireme.EventStream(prices)                  # Starlette, Flask, bare ASGI and WSGI
    return bireme.EventStream(prices).response()       # FastAPI, which wants a Response of Starlette's

When the client goes away, the producer is cancelled: an async one at once, a generator of a WSGI worker at its next event
or heartbeat.
"""

import contextlib
import json

HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}
HEARTBEAT = b":\n\n"


class Event:
    """One event. `data` that is no text is sent as JSON; `event` is its type, `id` what a client repeats when it comes back."""

    __slots__ = ("data", "event", "id", "retry_ms")

    def __init__(self, data="", *, event=None, id=None, retry_ms=None):
        self.data = data
        self.event = event
        self.id = id
        self.retry_ms = retry_ms

    def encode(self):
        """The bytes on the wire. Raises ValueError for an id or a type that would end its own line."""
        lines = []
        if self.retry_ms is not None:
            lines.append(f"retry: {int(self.retry_ms)}")
        for field in ("event", "id"):
            value = getattr(self, field)
            if value is not None:
                value = str(value)
                if any(forbidden in value for forbidden in "\r\n\0"):
                    raise ValueError(f"the {field} of an event holds a line break or NUL: {value!r}")
                lines.append(f"{field}: {value}")
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else json.dumps(self.data, ensure_ascii=False)
            lines += [f"data: {line}" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        return ("\n".join(lines) + "\n\n").encode()


class EventStream:
    """A response that sends what `producer` yields: Events, or data for one.

    `producer` is called with the client's last event id, or None, and returns an iterator, async in an ASGI worker; or it
    is one, like a Subscription. A comment is sent after `heartbeat_s` without an event, so that a client that has gone is
    noticed; None sends none. `retry_ms` tells the client how long to wait before it comes back.
    """

    def __init__(self, producer, *, retry_ms=None, heartbeat_s=15.0, headers=None):
        self.producer = producer
        self.heartbeat_s = heartbeat_s
        self.headers = HEADERS | {name.lower(): value for name, value in (headers or {}).items()}
        # Something is sent at once, so that the client knows that it is connected.
        self._greeting = HEARTBEAT if retry_ms is None else f"retry: {int(retry_ms)}\n\n".encode()

    def __call__(self, *arguments):
        """The response as an ASGI or a WSGI application."""
        if len(arguments) == 3:
            return self._asgi(*arguments)
        return self._wsgi(*arguments)

    def response(self):
        """The response as one of Starlette's, for FastAPI."""
        from starlette.responses import Response

        stream = self

        class EventStreamResponse(Response):
            async def __call__(self, scope, receive, send):
                await stream._asgi(scope, receive, send)

        return EventStreamResponse()

    def _source(self, last_event_id):
        return self.producer(last_event_id) if callable(self.producer) else self.producer

    async def _asgi(self, scope, receive, send):
        import asyncio

        fields = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        last_event_id = next((_id_of(value) for name, value in scope["headers"] if name == b"last-event-id"), None)
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": self._greeting, "more_body": True})
        gone = asyncio.ensure_future(_disconnected(receive))
        events = aiter(self._source(last_event_id))
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while True:
                await asyncio.wait((upcoming, gone), timeout=self.heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                body = HEARTBEAT
                if upcoming.done():
                    try:
                        body = _encoded(upcoming.result())
                    except StopAsyncIteration:
                        break
                    upcoming = asyncio.ensure_future(anext(events))
                with contextlib.suppress(OSError):
                    # That the client has gone is heard of above.
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            gone.cancel()
            upcoming.cancel()
            await asyncio.wait((upcoming,))
            if hasattr(events, "aclose"):
                await events.aclose()

    def _wsgi(self, environ, start_response):
        start_response("200 OK", list(self.headers.items()))
        last_event_id = environ.get("HTTP_LAST_EVENT_ID")
        if last_event_id is not None:
            last_event_id = _id_of(last_event_id.encode("latin-1"))
        return self._wsgi_body(self._source(last_event_id))

    def _wsgi_body(self, source):
        yield self._greeting
        take = getattr(source, "take", None)
        events = iter(source)
        try:
            while True:
                try:
                    # Only a Subscription can be waited for no longer than so.
                    event = next(events) if take is None else take(self.heartbeat_s)
                except TimeoutError:
                    if take is None:
                        # The producer's own.
                        raise
                    yield HEARTBEAT
                except StopIteration:
                    return
                else:
                    # A generator that has nothing to say yields None now and then.
                    yield HEARTBEAT if event is None else _encoded(event)
        finally:
            for ending in (source, events):
                if hasattr(ending, "close"):
                    ending.close()


def _id_of(value):
    """What a client repeats is UTF-8 (WHATWG HTML §9.2.3); one that it has made up may be anything."""
    return value.decode(errors="replace")


def _encoded(event):
    return (event if isinstance(event, Event) else Event(event)).encode()


async def _disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
