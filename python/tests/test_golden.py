"""The golden frames that Rust, Python and JavaScript agree on (protocol/golden/frames.json).

The fake front must encode and decode them, or the other tests would prove nothing; the worker must make
of them what they say.
"""

import json

import pytest

from conftest import REPOSITORY
from fake_front import (
    CREDIT,
    DATA,
    DRAIN,
    HELLO,
    INFORMATIONAL,
    PING,
    PONG,
    READY,
    REQUEST,
    RESET,
    RESPONSE,
    TRAILERS,
    TUNNEL,
    Frame,
    Link,
    Response,
    encode_request,
)

GOLDEN = json.loads((REPOSITORY / "protocol/golden/frames.json").read_text("utf-8"))
KINDS = {
    "HELLO": HELLO, "READY": READY, "DRAIN": DRAIN, "PING": PING, "PONG": PONG, "REQUEST": REQUEST,
    "RESPONSE": RESPONSE, "DATA": DATA, "TRAILERS": TRAILERS, "RESET": RESET, "CREDIT": CREDIT,
    "INFORMATIONAL": INFORMATIONAL, "TUNNEL": TUNNEL,
}

# The flag of a REQUEST whose WebSocket handshake the front has checked.
WEBSOCKET = 0x04

# Frames of WebSockets are none of the fake front's business yet.
HTTP_FRAMES = [golden for golden in GOLDEN["frames"] if golden["kind"] in KINDS]


def text(value):
    return value.encode("latin-1")


def pairs(fields):
    return [(text(name), text(value)) for name, value in fields]


def request_arguments(request):
    return {
        "method": text(request["method"]),
        "target": text(request["target"]),
        "fields": pairs(request["fields"]),
        "body": text(request["body"]),
        "version": request["version"],
        "https": request["scheme"] == "https",
        "remote": (text(request["remote_addr"]), request["remote_port"]),
        "local": (text(request["local_addr"]), request["local_port"]),
        "prefix": text(request["prefix"]),
        "request_id": text(request["request_id"]),
    }


@pytest.mark.parametrize("golden", HTTP_FRAMES, ids=lambda golden: golden["name"])
def test_the_fake_front_agrees(golden):
    raw = bytes.fromhex(golden["hex"])
    link = Link.__new__(Link)
    link.pending = bytearray(raw)
    frame = link.read()
    assert (frame.kind, frame.stream, frame.flags) == (KINDS[golden["kind"]], golden["stream"], golden["flags"])
    assert frame.aux == golden.get("aux", 0)
    assert frame.encode() == raw
    if "request" in golden:
        assert frame.payload == encode_request(**request_arguments(golden["request"]))
    elif "response" in golden:
        response = Response()
        link.take(frame, response)
        expected = golden["response"]
        assert response.fields == pairs(expected["fields"])
        assert (response.reason, response.body) == (text(expected["reason"]), text(expected["body"]))
    elif "fields" in golden:
        response = Response()
        link.take(frame, response)
        found = response.trailers if frame.kind == TRAILERS else response.informational[0][1]
        assert found == pairs(golden["fields"])
    elif "credit" in golden:
        assert int.from_bytes(frame.payload, "little") == golden["credit"]
    else:
        assert frame.payload == golden["payload"].encode("latin-1")


@pytest.mark.parametrize(
    "golden", [g for g in HTTP_FRAMES if "request" in g and g["flags"] & 1], ids=lambda golden: golden["name"]
)
def test_the_worker_reads_golden_requests(serve, golden):
    request = golden["request"]
    app = serve("golden_asgi:app", options={"loop": "asyncio"})
    app.link.connection.sendall(bytes.fromhex(golden["hex"]))
    scope = app.link.collect(golden["stream"]).json()
    path, _, query = request["target"].partition("?")
    websocket = bool(golden["flags"] & WEBSOCKET)
    scheme = {"http": "ws", "https": "wss"}[request["scheme"]] if websocket else request["scheme"]
    assert scope == {
        "type": "websocket" if websocket else "http",
        "method": None if websocket else request["method"],
        "raw_path": request["prefix"] + path,
        "query_string": query,
        "root_path": request["prefix"],
        "scheme": scheme,
        "http_version": {10: "1.0", 11: "1.1", 20: "2"}[request["version"]],
        "client": [request["remote_addr"], request["remote_port"]] if request["remote_addr"] else None,
        "server": [request["local_addr"], request["local_port"]] if request["local_addr"] else None,
        "headers": [[name.lower(), value] for name, value in request["fields"]],
    } | (
        {"body": "", "topics": [topic for topic, _ in golden["take_over"]["topics"]]}
        if "take_over" in golden
        else {"body": request["body"]}
    )


@pytest.mark.parametrize("golden", GOLDEN["refused"], ids=lambda golden: golden["name"])
@pytest.mark.parametrize("target", ["raw_asgi:app", "raw_wsgi:app"])
def test_the_worker_refuses_what_is_no_frame(serve, target, golden):
    app = serve(target)
    app.link.connection.sendall(bytes.fromhex(golden["hex"]))
    assert app.link.read() is None
    app.wait_for_output("a data link is over")


def test_the_worker_encodes_the_golden_response(serve):
    (golden,) = [g for g in HTTP_FRAMES if g["name"] == "a response in one frame"]
    app = serve("golden_asgi:respond", options={"loop": "asyncio"})
    stream = app.link.open()
    assert stream == golden["stream"]
    assert app.link.read().encode() == bytes.fromhex(golden["hex"])
