"""Topics: published once, delivered to every socket that has joined, on every thread."""

import asyncio
import json
import urllib.request

from websockets.asyncio.client import connect

from harness.apps import Kind

ROOMS = Kind("topics", "topics.mjs")


def url(server, room: str) -> str:
    return f"ws://127.0.0.1:{server.port}/?room={room}"


def publish(server, topic: str, data: bytes) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/publish?topic={topic}", data, timeout=10) as response:
        return response.read().decode()


async def enter(server, room: str, **options):
    socket = await connect(url(server, room), **options)
    assert await socket.recv() == f"in {room}"
    return socket


def test_a_message_reaches_all_others_in_order(serve):
    server = serve(ROOMS.config(top="threads = 2"))

    async def talk():
        sockets = [await enter(server, "a") for _ in range(16)]
        stranger = await enter(server, "b")
        for number in range(200):
            await sockets[0].send(f"{number}")
        for socket in sockets[1:]:
            heard = [await asyncio.wait_for(socket.recv(), 10) for _ in range(200)]
            assert heard == [str(number) for number in range(200)]
        await stranger.send("nobody")
        assert publish(server, "b", b"end") == "3"
        assert await asyncio.wait_for(stranger.recv(), 10) == "end"
        assert publish(server, "a", b"end") == "3"
        assert await asyncio.wait_for(sockets[0].recv(), 10) == "end"

    asyncio.run(talk())


def test_who_has_left_hears_nothing(serve):
    server = serve(ROOMS.config(top="threads = 2"))

    async def talk():
        one, two = await enter(server, "a"), await enter(server, "a")
        await one.send("leave")
        assert await one.recv() == "left a, still in: false"
        publish(server, "a", b"x")
        assert await asyncio.wait_for(two.recv(), 10) == "x"
        # Had the message been for this one, too, it would come before the answer.
        await one.send("leave")
        assert await asyncio.wait_for(one.recv(), 10) == "left a, still in: false"

    asyncio.run(talk())


def test_a_compressed_message_is_the_same_for_all(serve):
    server = serve(ROOMS.config(top="threads = 2"))
    text = json.dumps(list(range(2000)))

    async def talk():
        sockets = [await enter(server, "a"), await enter(server, "a"), await enter(server, "a", compression=None)]
        publish(server, "a", text.encode())
        for socket in sockets:
            assert await asyncio.wait_for(socket.recv(), 10) == text

    asyncio.run(talk())
