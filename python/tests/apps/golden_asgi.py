"""Answers with what it was asked, and with the response of the golden frames."""

import json


async def app(scope, receive, send):
    # A WebSocket is denied with the same answer that a request gets.
    answer = {"http": "http.response", "websocket": "websocket.http.response"}[scope["type"]]
    message = await receive()
    keys = ("type", "method", "root_path", "scheme", "http_version", "client", "server")
    found = {key: scope.get(key) for key in keys}
    found["raw_path"] = scope["raw_path"].decode("latin-1")
    found["query_string"] = scope["query_string"].decode("latin-1")
    found["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    found["body"] = message.get("body", b"").decode("latin-1")
    socket = scope["extensions"].get("bireme", {})
    if socket.get("resumed"):
        found["topics"] = socket["topics"]
    await send({"type": f"{answer}.start", "status": 200, "headers": []})
    await send({"type": f"{answer}.body", "body": json.dumps(found).encode()})


async def respond(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Hello, World!"})
