"""Clients that misuse their sockets cost themselves, and nobody else: neither time nor memory."""

import asyncio
import zlib

import pytest
from websockets.asyncio.client import connect

from harness.apps import Kind
from harness.raw import Raw, RawHttp2, encoded
from test_websockets import BARE, NATIVE, OBJECTS

ROOMS = Kind("topics", "topics.mjs")
BOTH = pytest.mark.parametrize("kind", [BARE, NATIVE], ids=lambda kind: kind.name)
CLIENTS = pytest.mark.parametrize("client", [Raw, RawHttp2], ids=["http1", "http2"])
MIB = 1 << 20
COUNTED = 700
"""Messages of 16 KiB that the applications send when told to count: more than two kernels' buffers hold."""


async def is_served(server):
    async with connect(f"ws://127.0.0.1:{server.port}/echo") as other:
        await other.send("still here")
        assert await asyncio.wait_for(other.recv(), 10) == "still here"


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-socket"])
def test_a_hundred_slow_readers_cost_bounded_memory_and_nobody_else_anything(serve, policy):
    top = f'threads = 2\n[websocket]\ntopic_queue_bytes_max = "128KiB"\ntopic_queue_full = "{policy}"\n'
    server = serve(top + ROOMS.config())
    slow = [Raw(server.port, "/?room=a", receive_buffer=4096) for _ in range(100)]
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


@CLIENTS
@BOTH
def test_floods_of_pings_are_held_back(serve, kind, client):
    server = serve(kind.config()).ready()
    flooding = [client(server.port, receive_buffer=4096) for _ in range(5)]
    before = server.memory()
    # More than two kernels' buffers hold.
    pings = encoded(0x89, b"x" * 125) * 200_000
    for raw in flooding:
        # Nobody reads the pongs, so at some point no more pings are taken.
        assert raw.push(pings) < len(pings)
    assert server.memory() - before < 32 * MIB
    asyncio.run(is_served(server))


@CLIENTS
@BOTH
def test_tiny_fragments_make_one_message_and_empty_ones_end_the_socket(serve, kind, client):
    server = serve(kind.config() + '[websocket]\nmessage_bytes_max = "1MiB"\n').ready()
    raw = client(server.port)
    before = server.memory()
    raw.write(encoded(0x01, b"a") + encoded(0x00, b"b") * 50_000 + encoded(0x80, b"c"))
    fragments = [raw.fragment()]
    while not fragments[-1][0] & 0x80:
        fragments.append(raw.fragment())
    assert fragments[0][0] & 15 == 1
    assert b"".join(payload for _, payload in fragments) == b"a" + b"b" * 50_000 + b"c"
    raw.push(encoded(0x01, b"") + encoded(0x00, b"") * 2000)
    assert raw.code() == 1008
    # One that is never whole holds no more than the limit.
    endless = client(server.port)
    endless.write(encoded(0x01, b"a"))
    endless.push(encoded(0x00, b"b" * 1000) * 5000)
    assert endless.code() == 1009
    assert server.memory() - before < 16 * MIB


@CLIENTS
@BOTH
def test_compression_bombs_do_not_unfold(serve, kind, client):
    server = serve(kind.config()).ready()
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = raw.compress(bytes(64 * MIB)) + raw.flush(zlib.Z_SYNC_FLUSH)
    frame = encoded(0xC2, bomb[:-4])
    assert len(frame) < 70_000
    before = server.memory()
    bombers = [client(server.port, extensions="permessage-deflate") for _ in range(20)]
    for bomber in bombers:
        bomber.push(frame)
    for bomber in bombers:
        assert bomber.code() == 1009
    assert server.memory() - before < 32 * MIB
    asyncio.run(is_served(server))


def test_a_publisher_waits_for_a_slow_socket_when_told_to(serve):
    config = '[websocket]\ntopic_queue_bytes_max = "128KiB"\ntopic_queue_full = "backpressure"\n' + ROOMS.config()
    server = serve(config)
    slow = Raw(server.port, "/?room=a", receive_buffer=4096)
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


@CLIENTS
@pytest.mark.parametrize("policy", ["drop-oldest", "drop-socket"])
@pytest.mark.parametrize("kind", [BARE, NATIVE, OBJECTS], ids=lambda kind: kind.name)
def test_messages_for_one_slow_socket_are_dropped_or_it_is(serve, kind, policy, client):
    """What the application sends to a socket itself, apart from topics."""
    top = f'[websocket]\nsend_queue_full = "{policy}"\nsend_queue_bytes_max = "128KiB"\n'
    server = serve(top + kind.config()).ready()
    slow = [client(server.port, receive_buffer=4096) for _ in range(10)]
    before, mark = server.memory(), server.mark()
    for raw in slow:
        raw.send(1, b"count")
    # No application waits for them.
    for _ in slow:
        mark = server.wait_for_next("sent all|left 1008 too slow", since=mark)
    # Each may have its queue, its send buffer and what its worker sent ahead; the kernel's is not ours.
    assert server.memory() - before < len(slow) * (128 + 256 + 256) * 1024 + 16 * MIB
    asyncio.run(is_served(server))
    if policy == "drop-socket":
        assert slow[0].code() == 1008
        return
    numbers = [int(slow[0].message()[:8])]
    while numbers[-1] != COUNTED - 1:
        numbers.append(int(slow[0].message()[:8]))
    # In order, with gaps where the oldest went.
    assert numbers == sorted(set(numbers)) and len(numbers) < COUNTED
    slow[0].send(1, b"still here")
    assert slow[0].frame() == (1, b"still here")


@pytest.mark.parametrize("kind", [BARE, NATIVE, OBJECTS], ids=lambda kind: kind.name)
def test_a_slow_socket_gets_everything_when_its_application_is_to_wait(serve, kind):
    server = serve(kind.config()).ready()
    slow = Raw(server.port, receive_buffer=4096)
    before = server.memory()
    slow.send(1, b"count")
    asyncio.run(is_served(server))
    assert server.memory() - before < 8 * MIB
    assert [int(slow.message()[:8]) for _ in range(COUNTED)] == list(range(COUNTED))
    server.wait_for("sent all")
