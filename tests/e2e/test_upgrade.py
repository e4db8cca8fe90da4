"""Upgrades: what `ws` does with its raw socket reaches the client through the front."""

import base64
import os
import struct

import pytest

from harness.apps import ASGI, NODE_HTTP, Kind
from harness.wire import Wire

HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame of a client (RFC 6455 §5.2)."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = struct.pack(">BH", 0x80 | 126, size) if size < 65_536 else struct.pack(">BQ", 0x80 | 127, size)
    return bytes([0x80 | opcode]) + length + mask + masked


def read_frame(wire: Wire) -> tuple[int, bytes]:
    """One unmasked frame of a server."""
    first, second = wire.exactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", wire.exactly(2))
    elif size == 127:
        (size,) = struct.unpack(">Q", wire.exactly(8))
    return first & 0x0F, wire.exactly(size)


@pytest.fixture
def sockets(shared):
    return shared.of(Kind("ws", "sockets.js"))


def opened(server) -> Wire:
    wire = Wire(server.port)
    key = base64.b64encode(os.urandom(16)).decode()
    assert wire.request("GET", "/chat?x=1", *HANDSHAKE, f"Sec-WebSocket-Key: {key}").head().status == 101
    return wire


def test_messages_go_both_ways(sockets):
    with opened(sockets) as wire:
        wire.send(frame(1, b"hi"))
        assert read_frame(wire) == (1, b"/chat?x=1 hi")
        for size in (0, 200, 70_000, 500_000):
            body = os.urandom(size)
            wire.send(frame(2, body))
            assert read_frame(wire) == (2, body)
        wire.send(frame(8, struct.pack(">H", 1000)))
        assert read_frame(wire)[0] == 8


def test_plain_requests_beside_open_sockets(sockets):
    with opened(sockets) as first, opened(sockets) as second:
        assert sockets.get("/").text == "hello"
        first.send(frame(1, b"a"))
        second.send(frame(1, b"b"))
        assert read_frame(second)[1].endswith(b"b")
        assert read_frame(first)[1].endswith(b"a")


@pytest.mark.parametrize("kind", [NODE_HTTP, ASGI], ids=lambda kind: kind.name)
def test_an_application_without_sockets_declines(shared, kind):
    server = shared.of(kind)
    key = base64.b64encode(os.urandom(16)).decode()
    with Wire(server.port) as wire:
        answer = wire.request("GET", "/", *HANDSHAKE, f"Sec-WebSocket-Key: {key}").answer()
    assert answer.status != 101
    assert server.get("/").text == "hello"
