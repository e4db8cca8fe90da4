"""A service with everything that can go wrong, one path each; /ok is the neighbour that must not notice."""

import asyncio
import json
import os
from urllib.parse import parse_qs


async def answer(send, status, value):
    body = json.dumps(value, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse():
    raise RuntimeError("suite: rejected")


async def ok(scope, send):
    query = parse_qs(scope["query_string"].decode())
    await answer(send, 200, {"ok": True, "n": int(query.get("n", ["0"])[0])})


async def throw(scope, send):
    raise RuntimeError("suite: thrown")


async def caught(scope, send):
    try:
        await refuse()
    except RuntimeError as error:
        await answer(send, 400, {"error": str(error)})


async def unawaited(scope, send):
    """A task that nobody awaits; the answer itself is fine."""
    asyncio.ensure_future(refuse())
    await answer(send, 200, {"ok": True})


async def timeout(scope, send):
    await asyncio.Event().wait()


async def abort(scope, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3):
        await send({"type": "http.response.body", "body": b"part of an answer\n", "more_body": True})
    raise RuntimeError("suite: aborted")


async def allocate(scope, send):
    await answer(send, 200, {"bytes": len(bytearray(2**53))})


async def crash(scope, send):
    os.abort()


PATHS = {
    "/ok": ok, "/throw": throw, "/caught": caught, "/unawaited": unawaited, "/timeout": timeout, "/abort": abort,
    "/allocate": allocate, "/crash": crash,
}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path = PATHS.get(scope["path"].removeprefix(scope["root_path"]))
    if path is None:
        await answer(send, 404, {"error": "no such path"})
    else:
        await path(scope, send)
