"""Answers with the file that the query names in hexadecimal digits; `length`: announce its length, `says`: announce this one."""

import os
from urllib.parse import parse_qsl


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    query = dict(parse_qsl(scope["query_string"].decode()))
    headers = [(b"content-type", b"text/plain")]
    if "path" not in query:
        body = str(os.getpid()).encode() if scope["path"] == "/pid" else b"hello"
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    path = bytes.fromhex(query["path"]).decode()
    length = query.get("says") or (str(os.stat(path).st_size) if query.get("length") else None)
    if length is not None:
        headers.append((b"content-length", length.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.pathsend", "path": path})
