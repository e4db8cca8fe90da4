"""WebSockets as an object with `open`, `message`, `drain` and `close`, beside ASGI's own form.

    class Chat(bireme.Sockets):
        def upgrade(self, handshake):
            return {"user": handshake.query["user"]}       # becomes ws.data

        def open(self, ws):
            ws.subscribe("room")

        def message(self, ws, data):                       # text or bytes
            ws.publish("room", data)

    app = Chat(fastapi_app)                                # what is no WebSocket goes there

It is an ASGI application; handlers are functions or coroutine functions, called in order for each socket.
"""

import collections
import inspect
from urllib.parse import parse_qsl

from ._native import Done
from .pubsub import socket as topics_of

NORMAL = 1000
INTERNAL = 1011
POLICY = 1008


class Refused(Exception):
    """Raised by `upgrade`: the client gets this response in place of a WebSocket."""

    def __init__(self, status=403, body="", headers=()):
        super().__init__(f"refused with {status}")
        self.status = status
        self.body = body.encode() if isinstance(body, str) else bytes(body)
        self.headers = [(name.lower().encode(), value.encode()) for name, value in dict(headers).items()]


class Handshake:
    """What `upgrade` decides about: the client's request.

    `subprotocol` and `response_headers` are for `upgrade` to set; a subprotocol must be among `subprotocols`.
    """

    def __init__(self, scope):
        self.scope = scope
        self.path = scope["path"]
        # The last of several values counts.
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.subprotocols = scope["subprotocols"]
        self.subprotocol = None
        self.response_headers = {}


class WebSocket:
    """An open socket, as handlers get it. `data` is what `upgrade` returned. Use it on the event loop."""

    def __init__(self, scope, send, handlers, data):
        self.data = data
        self.scope = scope
        self._topics = topics_of(scope)
        self._send = send
        self._handlers = handlers
        self._waiting = collections.deque()
        self._waiting_bytes = 0
        self._pump = None
        self._open = True

    def send(self, data):
        """Send text or bytes. Returns the bytes sent, -1 if they wait for the client, 0 if the message was dropped:

        the socket is closed, or `backpressure_bytes_max` wait already.
        """
        if isinstance(data, str):
            # Also, text that is no UTF-8 fails here, and not when its turn comes.
            size = len(data) if data.isascii() else len(data.encode())
            return self._put({"type": "websocket.send", "text": data}, size)
        data = bytes(data)
        return self._put({"type": "websocket.send", "bytes": data}, len(data))

    def close(self, code=NORMAL, reason=""):
        """Close the socket once what was sent is out."""
        if self._open:
            self._put({"type": "websocket.close", "code": code, "reason": reason}, 0)
            self._open = False

    def subscribe(self, topic, name=""):
        """Let the socket get a topic's messages; those who watch the topic are told of `name`."""
        self._topics.subscribe(topic, name)

    def unsubscribe(self, topic):
        """Undo `subscribe`."""
        self._topics.unsubscribe(topic)

    def publish(self, topic, data):
        """Publish to all others that have subscribed; see `bireme.publish`."""
        return self._topics.publish(topic, data)

    @property
    def topics(self):
        """The topics that the socket has subscribed to."""
        return self._topics.topics

    @property
    def id(self):
        """Names the socket, also in the log and for another worker that takes it over."""
        return self._topics.id

    @property
    def resumed(self):
        """Whether another worker has had the socket before; `data` is what this one's `upgrade` returned."""
        return self._topics.resumed

    @property
    def buffered_bytes(self):
        """What waits for the client, in bytes."""
        return self._waiting_bytes

    @property
    def is_open(self):
        """Whether what is sent may still arrive."""
        return self._open

    @property
    def remote_address(self):
        """The client's address, or None over a Unix socket."""
        client = self.scope.get("client")
        return client[0] if client else None

    def _put(self, message, size):
        if not self._open:
            return 0
        if self._pump is None:
            try:
                step = self._send(message)
            except OSError:
                self._open = False
                return 0
            if type(step) is Done:
                return size
            self._pump = self._handlers.start(self._run(step))
            return -1
        if self._waiting_bytes + size > self._handlers.backpressure_bytes_max:
            if self._handlers.close_when_full:
                self._waiting.clear()
                self._waiting_bytes = 0
                self.close(POLICY, "too slow")
            return 0
        self._waiting.append((message, size))
        self._waiting_bytes += size
        return -1

    async def _run(self, step):
        try:
            await step
            while self._waiting:
                message, size = self._waiting.popleft()
                self._waiting_bytes -= size
                await self._send(message)
        except OSError:
            self._open = False
            self._waiting.clear()
            self._waiting_bytes = 0
        finally:
            self._pump = None
        if self._open:
            await self._handlers.call(self._handlers.drain, self)


class Sockets:
    """Subclass it, and define what you need of `upgrade`, `open`, `message`, `drain` and `close`.

    `app` is the ASGI application for everything that is no WebSocket.
    """

    # What waits for one slow client, in bytes; beyond, `send` drops and returns 0, or the socket is closed with 1008.
    backpressure_bytes_max = 16 << 20
    close_when_full = False

    def __init__(self, app=None):
        self.app = app
        self._tasks = set()

    def upgrade(self, handshake):
        """Decide about a client: what this returns becomes `ws.data`; raise Refused to refuse."""

    def open(self, ws):
        """The socket is open."""

    def resume(self, ws):
        """The socket is taken over from another worker (`survive = true`); its topics are still joined."""
        return self.open(ws)

    def message(self, ws, data):
        """A message: text or bytes."""

    def drain(self, ws):
        """What waited for the client is out."""

    def close(self, ws, code, reason):
        """The socket is closed."""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            await self._serve(scope, receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "http.response.start", "status": 426, "headers": [(b"upgrade", b"websocket")]})
            await send({"type": "http.response.body", "body": b"this is a WebSocket\n"})

    async def _serve(self, scope, receive, send):
        await receive()
        handshake = Handshake(scope)
        try:
            data = await self.call(self.upgrade, handshake)
        except Refused as refused:
            await send({"type": "websocket.http.response.start", "status": refused.status, "headers": refused.headers})
            await send({"type": "websocket.http.response.body", "body": refused.body})
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in handshake.response_headers.items()]
        await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol, "headers": headers})
        ws = WebSocket(scope, send, self, data)
        code, reason = INTERNAL, ""
        try:
            await self.call(self.resume if ws.resumed else self.open, ws)
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text")
                returned = self.message(ws, message["bytes"] if text is None else text)
                if returned is not None and inspect.isawaitable(returned):
                    await returned
            code, reason = message.get("code", NORMAL), message.get("reason", "")
        finally:
            ws._open = False
            await self.call(self.close, ws, code, reason)

    async def call(self, handler, *arguments):
        """Call a handler, and await it if it is one to be awaited."""
        returned = handler(*arguments)
        return await returned if inspect.isawaitable(returned) else returned

    def start(self, coroutine):
        """Run a coroutine beside the socket's own."""
        import asyncio

        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _lifespan(receive, send):
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": message["type"] + ".complete"})
    await send({"type": "lifespan.shutdown.complete"})
