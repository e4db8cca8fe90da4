"""Clients that misuse their sockets cost themselves, and nobody else: neither time nor memory."""

import asyncio
import os
import socket as sockets
import struct
import zlib

import pytest
import websockets
from websockets.asyncio.client import connect

from harness.apps import Kind
from harness.server import eventually
from test_websockets import BARE, NATIVE

ROOMS = Kind("topics", "topics.mjs")
BOTH = pytest.mark.parametrize("kind", [BARE, NATIVE], ids=lambda kind: kind.name)
MIB = 1 << 20


class Raw:
    """A client that writes frames by hand, and reads only when told to."""

    def __init__(self, server, path="/echo", extensions="", receive_buffer=None):
        self.io = sockets.socket()
        if receive_buffer is not None:
            self.io.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_buffer)
        self.io.settimeout(30)
        self.io.connect(("127.0.0.1", server.port))
        offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        self.io.sendall(
            f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{offer}"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.io.recv(1)
        assert b" 101 " in head

    def frame(self):
        """The next frame's opcode and payload; None at the connection's end."""
        head = self.read(2)
        if head is None:
            return None
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8))
        return head[0] & 15, self.read(size)

    def read(self, size):
        data = b""
        while len(data) < size:
            try:
                received = self.io.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not received:
                return None
            data += received
        return data

    def code(self):
        """The code of the Close frame that comes, sooner or later."""
        while frame := self.frame():
            if frame[0] == 8:
                return struct.unpack(">H", frame[1][:2])[0]
        return None


def encoded(first, payload, mask=b"\0\0\0\0"):
    """A client's frame."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 1 << 16 else b"\xff" + struct.pack(">Q", size)
    return bytes([first]) + length + mask + payload


def push(raw, data):
    """Writes as much as is taken in a second without a byte of progress."""
    raw.io.settimeout(1)
    sent = 0
    try:
        while sent < len(data):
            sent += raw.io.send(data[sent : sent + 65_536])
    except (TimeoutError, ConnectionError):
        pass
    raw.io.settimeout(30)
    return sent


async def is_served(server):
    async with connect(f"ws://127.0.0.1:{server.port}/echo") as other:
        await other.send("still here")
        assert await asyncio.wait_for(other.recv(), 10) == "still here"


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-socket"])
def test_a_hundred_slow_readers_cost_bounded_memory_and_nobody_else_anything(serve, policy):
    top = f'threads = 2\n[websocket]\ntopic_queue_bytes_max = "128KiB"\ntopic_queue_full = "{policy}"\n'
    server = serve(top + ROOMS.config())
    slow = [Raw(server, "/?room=a", receive_buffer=4096) for _ in range(100)]
    for client in slow:
        assert client.frame() == (1, b"in a")
    messages, size = 400, 16 * 1024

    async def talk():
        async def enter():
            socket = await connect(f"ws://127.0.0.1:{server.port}/?room=a", compression=None)
            assert await socket.recv() == "in a"
            return socket

        publisher, *readers = [await enter() for _ in range(4)]
        before = server.memory()

        for number in range(messages):
            await publisher.send(f"{number:08}" + "x" * size)
            # The readers keep up, so that only the slow are behind.
            for reader in readers:
                assert (await asyncio.wait_for(reader.recv(), 10))[:8] == f"{number:08}"
        # Each may have its queue and its send buffer, and the kernel's is not ours.
        assert server.memory() - before < 100 * (128 + 256) * 1024 + 32 * MIB

    asyncio.run(talk())
    if policy == "drop-socket":
        assert slow[0].code() == 1008
    else:
        # What comes is in order, with gaps where the oldest went.
        numbers = []
        slow[0].io.settimeout(1)
        try:
            while (frame := slow[0].frame()) is not None:
                numbers.append(int(frame[1][:8]))
        except TimeoutError:
            pass
        assert numbers == sorted(numbers) and numbers[-1] == messages - 1 and len(numbers) < messages


@BOTH
def test_floods_of_pings_are_held_back(serve, kind):
    server = serve(kind.config()).ready()
    flooding = [Raw(server, receive_buffer=4096) for _ in range(5)]
    before = server.memory()
    # More than two kernels' buffers hold.
    pings = encoded(0x89, b"x" * 125) * 200_000
    for raw in flooding:
        # Nobody reads the pongs, so at some point no more pings are taken.
        assert push(raw, pings) < len(pings)
    assert server.memory() - before < 32 * MIB
    asyncio.run(is_served(server))


@BOTH
def test_tiny_fragments_make_one_message_and_empty_ones_end_the_socket(serve, kind):
    server = serve(kind.config() + '[websocket]\nmessage_bytes_max = "1MiB"\n').ready()
    raw = Raw(server)
    before = server.memory()
    raw.io.sendall(encoded(0x01, b"a") + encoded(0x00, b"b") * 50_000 + encoded(0x80, b"c"))
    message, opcode = b"", None
    while True:
        head = raw.read(2)
        size = head[1] & 127
        size = int.from_bytes(raw.read(2 if size == 126 else 8)) if size >= 126 else size
        message += raw.read(size)
        opcode = opcode or head[0] & 15
        if head[0] & 0x80:
            break
    assert opcode == 1 and message == b"a" + b"b" * 50_000 + b"c"
    raw.io.sendall(encoded(0x01, b"") + encoded(0x00, b"") * 2000)
    assert raw.code() == 1008
    # One that is never whole holds no more than the limit.
    endless = Raw(server)
    endless.io.sendall(encoded(0x01, b"a"))
    push(endless, encoded(0x00, b"b" * 1000) * 5000)
    assert endless.code() == 1009
    assert server.memory() - before < 16 * MIB


@BOTH
def test_compression_bombs_do_not_unfold(serve, kind):
    server = serve(kind.config()).ready()
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = raw.compress(bytes(64 * MIB)) + raw.flush(zlib.Z_SYNC_FLUSH)
    frame = encoded(0xC2, bomb[:-4])
    assert len(frame) < 70_000
    before = server.memory()
    clients = [Raw(server, extensions="permessage-deflate") for _ in range(20)]
    for client in clients:
        client.io.sendall(frame)
    for client in clients:
        assert client.code() == 1009
    assert server.memory() - before < 32 * MIB
    asyncio.run(is_served(server))


def test_a_publisher_waits_for_a_slow_socket_when_told_to(serve):
    config = '[websocket]\ntopic_queue_bytes_max = "128KiB"\ntopic_queue_full = "backpressure"\n' + ROOMS.config()
    server = serve(config)
    slow = Raw(server, "/?room=a", receive_buffer=4096)
    assert slow.frame() == (1, b"in a")
    messages, size = 300, 64 * 1024

    async def talk():
        publisher = await connect(f"ws://127.0.0.1:{server.port}/?room=a", compression=None)
        assert await publisher.recv() == "in a"
        before = server.memory()
        for number in range(messages):
            await publisher.send(f"{number:08}" + "x" * size)
        await (await publisher.ping())
        # 2 MiB of credit for the topic; the rest waits in the worker.
        assert server.memory() - before < 16 * MIB

        def read():
            return [int(slow.frame()[1][:8]) for _ in range(messages)]

        assert await asyncio.to_thread(read) == list(range(messages))

    asyncio.run(talk())
