"""Writes frames.json: frames encoded from protocol/README.md alone, so that no implementation checks itself.

Run it after a change of the protocol: python3 protocol/golden/make.py
"""

import json
import pathlib
import struct

KINDS = {
    "HELLO": 0x01, "READY": 0x02, "FAILED": 0x03, "DRAIN": 0x04, "PING": 0x05, "PONG": 0x06,
    "REQUEST": 0x10, "RESPONSE": 0x11, "DATA": 0x12, "TRAILERS": 0x13, "RESET": 0x14, "CREDIT": 0x15,
    "INFORMATIONAL": 0x16, "TUNNEL": 0x17, "WSACCEPT": 0x20, "WSMESSAGE": 0x21, "WSCLOSE": 0x22,
    "SUBSCRIBE": 0x40, "UNSUBSCRIBE": 0x41, "PUBLISH": 0x42, "MESSAGE": 0x43, "PRESENCE": 0x44, "QUERY": 0x45, "ANSWER": 0x46,
}
END, UPGRADE, WEBSOCKET, TAKE_OVER, TEXT, FILE = 0x01, 0x02, 0x04, 0x08, 0x02, 0x02


def raw(text):
    """Strings stand in the JSON as Latin-1: one character a byte."""
    return text.encode("latin-1")


def lengths(fields):
    return b"".join(struct.pack("<HH", len(raw(n)), len(raw(v))) for n, v in fields)


def strings(fields):
    return b"".join(raw(n) + raw(v) for n, v in fields)


def field_list(fields):
    return struct.pack("<H", len(fields)) + lengths(fields) + strings(fields)


def request(r):
    parts = [raw(r[k]) for k in ("method", "target", "remote_addr", "local_addr", "prefix", "request_id")]
    return (
        struct.pack("<BBHHH", r["version"], r["scheme"] == "https", r["remote_port"], r["local_port"], len(r["fields"]))
        + struct.pack("<6H", *map(len, parts)) + lengths(r["fields"]) + b"".join(parts) + strings(r["fields"]) + raw(r["body"])
    )


def response(r):
    return (
        struct.pack("<HH", len(raw(r["reason"])), len(r["fields"])) + lengths(r["fields"]) + raw(r["reason"])
        + strings(r["fields"]) + raw(r["body"])
    )


def take_over(t):
    """The body of a REQUEST to take over a socket, as it stands in the JSON."""
    texts = [t["subprotocol"], *(text for pair in t["topics"] for text in pair)]
    return b"".join(struct.pack("<H", len(text.encode())) + text.encode() for text in texts).decode("latin-1")


def payload(frame):
    if "request" in frame:
        return request(frame["request"])
    if "response" in frame:
        return response(frame["response"])
    if "fields" in frame:
        return field_list(frame["fields"])
    if "topic" in frame:
        topic = frame["topic"].encode()
        return struct.pack("<H", len(topic)) + topic + raw(frame["rest"])
    if "credit" in frame:
        return struct.pack("<I", frame["credit"])
    return raw(frame.get("payload", ""))


GET = {
    "version": 11, "scheme": "http", "remote_port": 51000, "local_port": 8000, "method": "GET", "target": "/items?id=7&x=%20",
    "remote_addr": "127.0.0.1", "local_addr": "127.0.0.1", "prefix": "", "request_id": "0123456789abcdefghjk",
    "fields": [["Host", "example.com"], ["Accept", "*/*"], ["X-Empty", ""], ["cookie", "a=1; b=\u00e9"]], "body": "",
}
POST = {
    "version": 20, "scheme": "https", "remote_port": 443, "local_port": 8443, "method": "POST", "target": "/", "remote_addr": "2001:db8::1",
    "local_addr": "::1", "prefix": "/api", "request_id": "r", "fields": [["host", "h"], ["content-length", "5"]], "body": "hello",
}
SOCKET = GET | {"fields": [["Host", "h"], ["connection", "upgrade"], ["upgrade", "websocket"], ["sec-websocket-protocol", "chat"]]}
OPEN_SOCKET = {"subprotocol": "chat", "topics": [["room/1", "ann"], ["\u00e9", ""]]}
FRAMES = [
    {"name": "a GET without a body", "kind": "REQUEST", "flags": END, "stream": 1, "request": GET},
    {"name": "a POST whose body is complete", "kind": "REQUEST", "flags": END, "stream": 2, "request": POST},
    {"name": "an upgrade", "kind": "REQUEST", "flags": END | UPGRADE, "stream": 4294967294,
     "request": GET | {"fields": [["Host", "h"], ["connection", "upgrade"], ["upgrade", "websocket"]]}},
    {"name": "a request without any field or address", "kind": "REQUEST", "flags": 0, "stream": 3,
     "request": GET | {"version": 10, "fields": [], "remote_addr": "", "local_addr": "", "remote_port": 0, "local_port": 0}},
    {"name": "a response in one frame", "kind": "RESPONSE", "flags": END, "aux": 200, "stream": 1,
     "response": {"reason": "", "fields": [["content-type", "text/plain"]], "body": "Hello, World!"}},
    {"name": "a response whose body follows", "kind": "RESPONSE", "flags": 0, "aux": 404, "stream": 2,
     "response": {"reason": "Not Here", "fields": [["set-cookie", "a=1"], ["set-cookie", "b=2"]], "body": ""}},
    {"name": "a response whose body is a file's", "kind": "RESPONSE", "flags": END | FILE, "aux": 200, "stream": 3,
     "response": {"reason": "", "fields": [["content-length", "5"]], "body": "/srv/a file"}},
    {"name": "an empty response", "kind": "RESPONSE", "flags": END, "aux": 204, "stream": 3,
     "response": {"reason": "", "fields": [], "body": ""}},
    {"name": "body bytes", "kind": "DATA", "flags": 0, "stream": 2, "payload": "\u0000\u0001\u00ff"},
    {"name": "the end of a body", "kind": "DATA", "flags": END, "stream": 2, "payload": ""},
    {"name": "trailers", "kind": "TRAILERS", "flags": END, "stream": 2, "fields": [["x-checksum", "42"]]},
    {"name": "early hints", "kind": "INFORMATIONAL", "flags": 0, "aux": 103, "stream": 1,
     "fields": [["link", "</style.css>; rel=preload"]]},
    {"name": "a client that left", "kind": "RESET", "flags": 0, "aux": 1, "stream": 9, "payload": ""},
    {"name": "an application that raised", "kind": "RESET", "flags": 0, "aux": 2, "stream": 9, "payload": "Error: no\n  at x"},
    {"name": "credit", "kind": "CREDIT", "flags": 0, "stream": 7, "credit": 131072},
    {"name": "a tunnel", "kind": "TUNNEL", "flags": 0, "stream": 4, "payload": "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
    {"name": "a WebSocket's handshake", "kind": "REQUEST", "flags": END | UPGRADE | WEBSOCKET, "stream": 5,
     "request": GET | {"fields": [["Host", "h"], ["connection", "upgrade"], ["upgrade", "websocket"], ["sec-websocket-version", "13"],
                                  ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="]]}},
    {"name": "an open WebSocket to take over", "kind": "REQUEST", "flags": END | UPGRADE | WEBSOCKET | TAKE_OVER, "stream": 6,
     "request": SOCKET | {"body": take_over(OPEN_SOCKET)}, "take_over": OPEN_SOCKET},
    {"name": "a WebSocket accepted", "kind": "WSACCEPT", "flags": 0, "stream": 5, "fields": [["sec-websocket-protocol", "chat"]]},
    {"name": "a text message", "kind": "WSMESSAGE", "flags": END | TEXT, "stream": 5, "payload": "hello"},
    {"name": "a piece of a binary message", "kind": "WSMESSAGE", "flags": 0, "stream": 5, "payload": "\u0000\u00ff"},
    {"name": "an empty message", "kind": "WSMESSAGE", "flags": END, "stream": 5, "payload": ""},
    {"name": "a WebSocket closed", "kind": "WSCLOSE", "flags": END, "aux": 1000, "stream": 5, "payload": "bye"},
    {"name": "a WebSocket broken off", "kind": "WSCLOSE", "flags": END, "aux": 1006, "stream": 5, "payload": ""},
    {"name": "a socket that joins a topic", "kind": "SUBSCRIBE", "flags": 0, "aux": 1, "stream": 5, "topic": "room/1", "rest": "ann"},
    {"name": "a socket that leaves a topic", "kind": "UNSUBSCRIBE", "flags": 0, "aux": 1, "stream": 5, "topic": "room/1", "rest": ""},
    {"name": "a worker that watches a topic", "kind": "SUBSCRIBE", "flags": 4, "stream": 0, "topic": "\u00e9", "rest": ""},
    {"name": "a message for a topic", "kind": "PUBLISH", "flags": TEXT, "aux": 1, "stream": 5, "topic": "room/1", "rest": "hello"},
    {"name": "a topic's message for a worker", "kind": "MESSAGE", "flags": 0, "stream": 0, "topic": "t", "rest": "\u0000\u00ff"},
    {"name": "a socket has joined", "kind": "PRESENCE", "flags": END, "stream": 0, "topic": "t", "rest": "\u0002\u0000\u0000\u0000ann"},
    {"name": "a question for topics", "kind": "QUERY", "flags": 0, "stream": 0, "payload": "\u0007\u0000\u0000\u0000"},
    {"name": "the end of the answer", "kind": "ANSWER", "flags": END, "stream": 0, "payload": "\u0007\u0000\u0000\u0000"},
    {"name": "hello", "kind": "HELLO", "flags": 0, "aux": 1, "stream": 0,
     "payload": '{"token":"t","link":0,"pid":1,"language":"node","version":"24.0.0"}'},
    {"name": "ready", "kind": "READY", "flags": 0, "stream": 0, "payload": '{"kind":"asgi","notes":[]}'},
    {"name": "drain", "kind": "DRAIN", "flags": 0, "stream": 0, "payload": ""},
    {"name": "ping", "kind": "PING", "flags": 0, "stream": 0, "payload": "12345678"},
    {"name": "pong", "kind": "PONG", "flags": 0, "stream": 0, "payload": "12345678"},
]
# What a receiver must refuse, and why.
REFUSED = [
    {"name": "a payload above the maximum", "hex": struct.pack("<IIBBH", 1048577, 1, 0x12, 0, 0).hex()},
    {"name": "an unknown type", "hex": struct.pack("<IIBBH", 0, 1, 0x7F, 0, 0).hex()},
    {"name": "a request shorter than its fixed part", "hex": (struct.pack("<IIBBH", 3, 1, 0x10, 0, 0) + b"abc").hex()},
    {"name": "a response that announces more fields than it has",
     "hex": (struct.pack("<IIBBH", 4, 1, 0x11, 0, 200) + struct.pack("<HH", 0, 9)).hex()},
    {"name": "credit of the wrong size", "hex": (struct.pack("<IIBBH", 3, 1, 0x15, 0, 0) + b"abc").hex()},
]

for frame in FRAMES:
    frame.setdefault("aux", 0)
    data = payload(frame)
    header = struct.pack("<IIBBH", len(data), frame["stream"], KINDS[frame["kind"]], frame["flags"], frame["aux"])
    frame["hex"] = (header + data).hex()

target = pathlib.Path(__file__).with_name("frames.json")
target.write_text(json.dumps({"frames": FRAMES, "refused": REFUSED}, indent=1) + "\n")
