"""The sockets' contract in bare ASGI; see tests/e2e/test_websockets.py."""

import contextlib


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    assert scope["type"] == "websocket" and scope["scheme"] == "ws" and "method" not in scope
    assert await receive() == {"type": "websocket.connect"}
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    if scope["path"] == "/denied":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"nobody")]})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})
        return
    if scope["path"] == "/unasked":
        await send({"type": "websocket.accept", "subprotocol": "unasked"})
        return
    chosen = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"x-app", b"asgi")]})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("left", message["code"], message["reason"], flush=True)
            return
        if message["text"] == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
        elif message["text"] == "raise":
            raise ValueError("asked to")
        elif message["text"] == "return":
            return
        elif message["text"] == "flood":
            for _ in range(64):
                await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
        elif message["text"] == "count":
            with contextlib.suppress(OSError):
                for number in range(700):
                    await send({"type": "websocket.send", "text": f"{number:08}".ljust(16_384)})
                print("sent all", flush=True)
        else:
            await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})
