"""What every application of the end-to-end tests answers, as bare WSGI; the paths are described in README.md."""

import hashlib
import json
import os
import queue
import sys
import threading
import time
from urllib.parse import parse_qs

CHUNK = b"x" * 65536
waiting = {}
held = 0
grown = None


def inspect(environ):
    headers = [
        (name[5:].replace("_", "-").lower(), value) for name, value in environ.items() if name.startswith("HTTP_")
    ]
    return {
        "method": environ["REQUEST_METHOD"],
        "target": environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        + ("?" if environ["QUERY_STRING"] else "") + environ["QUERY_STRING"],
        "version": environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        "scheme": environ["wsgi.url_scheme"],
        "client": environ["REMOTE_ADDR"],
        "root_path": environ["SCRIPT_NAME"],
        "headers": headers,
    }


def body_of(environ):
    while part := environ["wsgi.input"].read(65536):
        yield part


def sink(environ):
    count, digest = 0, hashlib.sha256()
    for part in body_of(environ):
        count += len(part)
        if count <= 16 << 20:
            digest.update(part)
    return {"bytes": count, "sha256": digest.hexdigest(), "trailers": {}}


def source(left):
    while left:
        part = CHUNK[:left]
        left -= len(part)
        yield part


def stream(key):
    parts = waiting[key] = queue.Queue()
    try:
        yield b"data: first\n\n"
        while True:
            part, more = parts.get(timeout=60)
            yield part
            if not more:
                return
    finally:
        waiting.pop(key, None)


def broken_half_way():
    yield b"half"
    raise RuntimeError("the application broke half-way")


def app(environ, start_response):
    global held, grown

    def reply(body=b"", status="200 OK", headers=(("content-type", "text/plain"),)):
        start_response(status, list(headers))
        return [body]

    def reply_json(value):
        return reply(json.dumps(value).encode(), headers=[("content-type", "application/json")])

    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    match environ["PATH_INFO"]:
        case "/" | "":
            return reply(b"hello")
        case "/json":
            return reply_json({"ok": True})
        case "/inspect":
            return reply_json(inspect(environ))
        case "/echo":
            kind = environ.get("CONTENT_TYPE") or "application/octet-stream"
            start_response("200 OK", [("content-type", kind)])
            return body_of(environ)
        case "/sink":
            return reply_json(sink(environ))
        case "/source":
            headers = [("content-type", "application/octet-stream")]
            if query.get("length"):
                headers.append(("content-length", query["bytes"]))
            start_response("200 OK", headers)
            return source(int(query["bytes"]))
        case "/stream":
            start_response("200 OK", [("content-type", query.get("type", "text/event-stream"))])
            return stream(query["key"])
        case "/push":
            open_stream = waiting.get(query["key"])
            if open_stream is not None:
                open_stream.put((b"data: last\n\n", False) if query.get("end") else (b"data: next\n\n", True))
            return reply(b"true" if open_stream is not None else b"false")
        case "/status":
            code = query["code"]
            return reply(b"" if code in ("204", "304") else b"status", status=f"{code} Whatever")
        case "/cookies":
            return reply(b"cookies", headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])
        case "/text":
            return reply(b"compress me, please. " * int(query.get("times", 500)))
        case "/wait":
            held += 1
            time.sleep(int(query["ms"]) / 1000)
            held -= 1
            return reply(b"waited")
        case "/held":
            return reply(str(held).encode())
        case "/never":
            threading.Event().wait(60)
            return reply(b"at last")
        case "/pid":
            return reply(str(os.getpid()).encode())
        case "/close":
            return reply(b"bye", headers=[("connection", "close")])
        case "/print":
            print("printed to stdout")
            print("printed to stderr", file=sys.stderr)
            return reply(b"printed")
        case "/boom":
            raise RuntimeError("the application broke on purpose")
        case "/exit":
            os._exit(7)
        case "/abort":
            start_response("200 OK", [])
            return broken_half_way()
        case "/grow":
            grown = bytearray(int(query["mib"]) << 20)
            return reply(b"grown")
        case "/crlf":
            return reply(b"unreachable", headers=[("x-bad", "a\r\nx-injected: yes")])
        case "/too-long":
            return reply(b"longer than four", headers=[("content-length", "4")])
        case "/too-short":
            return reply(b"short", headers=[("content-length", "400")])
        case "/no-response":
            return []
        case _:
            return reply(b"the application knows no such path", status="404 Not Found")
