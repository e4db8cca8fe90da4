"""What every application of the end-to-end tests answers, as bare ASGI; the paths are described in README.md."""

import asyncio
import contextvars
import hashlib
import json
import os
import sys
from urllib.parse import parse_qs

CHUNK = b"x" * 65536
waiting = {}
held = 0
grown = None
seen = contextvars.ContextVar("seen", default=None)


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            scope["state"]["started"] = "yes"
            await send({"type": "lifespan.startup.complete"})
        else:
            print("goodbye", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def reply(send, body=b"", status=200, headers=(("content-type", "text/plain"),)):
    headers = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def reply_json(send, value):
    await reply(send, json.dumps(value).encode(), headers=[("content-type", "application/json")])


async def body_of(receive):
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def sink(receive, send):
    count, digest = 0, hashlib.sha256()
    async for part in body_of(receive):
        count += len(part)
        if count <= 16 << 20:
            digest.update(part)
    await reply_json(send, {"bytes": count, "sha256": digest.hexdigest(), "trailers": {}})


async def echo(scope, receive, send):
    kind = dict(scope["headers"]).get(b"content-type", b"application/octet-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    async for part in body_of(receive):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def source(query, send):
    left = int(query["bytes"])
    headers = [(b"content-type", b"application/octet-stream")]
    if query.get("length"):
        headers.append((b"content-length", str(left).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while left:
        part = CHUNK[:left]
        left -= len(part)
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def stream(query, send):
    kind = query.get("type", "text/event-stream").encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
    queue = waiting[query["key"]] = asyncio.Queue()
    try:
        while True:
            part, more = await queue.get()
            await send({"type": "http.response.body", "body": part, "more_body": more})
            if not more:
                return
    finally:
        waiting.pop(query["key"], None)


async def push(query, send):
    queue = waiting.get(query["key"])
    if queue is not None:
        queue.put_nowait((b"data: last\n\n", False) if query.get("end") else (b"data: next\n\n", True))
    await reply(send, b"true" if queue is not None else b"false")


async def wait(query, send):
    global held
    held += 1
    await asyncio.sleep(int(query["ms"]) / 1000)
    held -= 1
    await reply(send, b"waited")


async def inspect(scope, send):
    await reply_json(
        send,
        {
            "method": scope["method"],
            "target": scope["raw_path"].decode() + ("?" if scope["query_string"] else "") + scope["query_string"].decode(),
            "version": scope["http_version"],
            "scheme": scope["scheme"],
            "client": scope["client"][0] if scope["client"] else "",
            "root_path": scope.get("root_path", ""),
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        },
    )


async def truths(scope, send):
    """What frameworks lean on; see the test of the same name."""
    import sniffio

    fresh = seen.get() is None
    seen.set("this request")
    async with asyncio.timeout(5) if hasattr(asyncio, "timeout") else contextlib_null():
        await asyncio.sleep(0)
    await reply_json(
        send,
        {
            "task": isinstance(asyncio.current_task(), asyncio.Task),
            "context": fresh and seen.get() == "this request",
            "library": sniffio.current_async_library(),
            "state": scope["state"].get("started"),
            "loop": type(asyncio.get_running_loop()).__module__.split(".")[0],
        },
    )


class contextlib_null:
    async def __aenter__(self):
        return None

    async def __aexit__(self, *error):
        return None


async def app(scope, receive, send):
    global grown
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    match scope["path"].removeprefix(scope.get("root_path", "")):
        case "/" | "":
            await reply(send, b"hello")
        case "/json":
            await reply_json(send, {"ok": True})
        case "/inspect":
            await inspect(scope, send)
        case "/truths":
            await truths(scope, send)
        case "/echo":
            await echo(scope, receive, send)
        case "/sink":
            await sink(receive, send)
        case "/source":
            await source(query, send)
        case "/stream":
            await stream(query, send)
        case "/push":
            await push(query, send)
        case "/status":
            code = int(query["code"])
            await reply(send, b"" if code in (204, 304) else b"status", status=code)
        case "/cookies":
            await reply(send, b"cookies", headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])
        case "/text":
            await reply(send, b"compress me, please. " * int(query.get("times", 500)))
        case "/wait":
            await wait(query, send)
        case "/held":
            await reply(send, str(held).encode())
        case "/never":
            await asyncio.Event().wait()
        case "/pid":
            await reply(send, str(os.getpid()).encode())
        case "/early":
            if "http.response.early_hint" in scope.get("extensions", {}):
                await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
            await reply(send, b"late")
        case "/trailers":
            start = {"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x-sum")], "trailers": True}
            await send(start)
            await send({"type": "http.response.body", "body": b"body"})
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"42")], "more_trailers": False})
        case "/close":
            await reply(send, b"bye", headers=[("connection", "close")])
        case "/print":
            print("printed to stdout")
            print("printed to stderr", file=sys.stderr)
            await reply(send, b"printed")
        case "/boom":
            raise RuntimeError("the application broke on purpose")
        case "/exit":
            os._exit(7)
        case "/abort":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("the application broke half-way")
        case "/grow":
            grown = bytearray(int(query["mib"]) << 20)
            await reply(send, b"grown")
        case "/crlf":
            await reply(send, b"unreachable", headers=[("x-bad", "a\r\nx-injected: yes")])
        case "/too-long":
            await reply(send, b"longer than four", headers=[("content-length", "4")])
        case "/too-short":
            await reply(send, b"short", headers=[("content-length", "400")])
        case "/after-end":
            await reply(send, b"once")
            await send({"type": "http.response.body", "body": b"again"})
        case "/no-response":
            return None
        case _:
            await reply(send, b"the application knows no such path", status=404)
