"""Sockets of a service with `survive = true` outlive their worker."""

import asyncio
import os
import signal

import pytest
import websockets
from websockets.asyncio.client import connect

from harness.apps import Kind
from harness.raw import RawHttp2
from harness.server import eventually

KINDS = [Kind("survivor-node", "survivor.cjs"), Kind("survivor-python", "survivor:app")]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    return request.param


async def enter(server, name, **options):
    socket = await connect(f"ws://127.0.0.1:{server.port}/?name={name}", subprotocols=["chat"], **options)
    word, pid = (await socket.recv()).split()
    assert word == "open"
    return socket, int(pid)


async def say(socket, message):
    await socket.send(message)
    return await asyncio.wait_for(socket.recv(), 20)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_leaves_its_sockets_to_another(serve, kind, workers):
    server = serve(kind.config("threads = 2", workers=workers, survive=True)).ready()

    async def talk():
        sockets = [await enter(server, f"s{number}") for number in range(8)]
        ids = [await say(socket, "id") for socket, _ in sockets]
        assert len(set(ids)) == 8
        for turn in range(2):
            victim, mark = sockets[0][1], server.mark()
            os.kill(victim, signal.SIGKILL)
            # What the worker has been given and not handled is lost with it; so nothing is sent before that is noticed.
            await asyncio.to_thread(server.wait_for, "was killed by signal 9", since=mark)
            for number, (socket, pid) in enumerate(sockets):
                if pid == victim:
                    # What is sent meanwhile waits for the next worker.
                    await socket.send(f"early {turn}")
                    word, new, *rest = (await asyncio.wait_for(socket.recv(), 20)).split()
                    assert (word, rest) == ("resumed", [f"s{number}", "room", "true"])
                    assert int(new) != victim
                    sockets[number] = (socket, int(new))
                    assert await asyncio.wait_for(socket.recv(), 20) == f"early {turn}"
                assert await say(socket, "id") == ids[number]
            # All are still in the topic, once.
            assert await say(sockets[0][0], "all") == "to all"
            for socket, _ in sockets[1:]:
                assert await asyncio.wait_for(socket.recv(), 20) == "to all"
        assert await say(sockets[3][0], "leave") == "left"
        assert await say(sockets[0][0], "all") == "to all"
        for number, (socket, _) in enumerate(sockets[1:], 1):
            if number != 3:
                assert await asyncio.wait_for(socket.recv(), 20) == "to all"
            assert await say(socket, "alive") == "alive"
            await socket.close()

    asyncio.run(talk())


def test_a_reload_hands_sockets_over(serve, kind):
    server = serve(kind.config("threads = 2", workers=2, survive=True)).ready()
    # One that became ready only now would be among the old ones to which a socket may go first.
    for number in (1, 2):
        server.wait_for(f"app#{number} is ready")
    mark = server.mark()

    async def talk():
        sockets = [await enter(server, f"s{number}") for number in range(4)]
        old = set(server.workers())
        server.signal(signal.SIGHUP)
        for number, (socket, pid) in enumerate(sockets):
            word, new, *rest = (await asyncio.wait_for(socket.recv(), 30)).split()
            assert (word, rest) == ("resumed", [f"s{number}", "room", "true"]) and int(new) not in old
            assert await say(socket, "after") == "after"
        await asyncio.to_thread(eventually, lambda: not old & set(server.workers()))
        assert await say(sockets[0][0], "all") == "to all"
        server.signal(signal.SIGTERM)
        for socket, _ in sockets:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while True:
                    await asyncio.wait_for(socket.recv(), 30)
            assert closed.value.rcvd.code == 1001

    asyncio.run(talk())
    for number in range(4):
        server.wait_for(f"closed s{number} 1012 handed over", since=mark)
    assert server.wait() == 0


def test_a_message_cut_in_two_by_the_death_closes_the_socket(serve, kind):
    server = serve(kind.config(workers=2, survive=True)).ready()

    async def talk():
        socket, pid = await enter(server, "cut", compression=None)

        async def pieces():
            yield "the beginning "
            os.kill(pid, signal.SIGKILL)
            await socket.wait_closed()
            yield "the end"

        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.send(pieces())
        assert closed.value.rcvd.code == 1012

    asyncio.run(talk())


def test_sockets_over_http2_survive_too(serve, kind):
    server = serve(kind.config(workers=1, survive=True)).ready()
    socket = RawHttp2(server.port, "/?name=two", fields=[("sec-websocket-protocol", "chat")])
    assert socket.frame()[1].startswith(b"open")
    os.kill(server.workers()[0], signal.SIGKILL)
    assert socket.frame()[1].startswith(b"resumed")
    socket.send(1, b"on we go")
    assert socket.frame() == (1, b"on we go")


def test_a_reload_hands_sockets_over_http2_over(serve, kind):
    server = serve(kind.config(workers=1, survive=True)).ready()
    socket = RawHttp2(server.port, "/?name=two", fields=[("sec-websocket-protocol", "chat")])
    _, old = socket.frame()[1].split()
    mark = server.mark()
    server.signal(signal.SIGHUP)
    word, new, *rest = socket.frame()[1].split()
    assert (word, rest) == (b"resumed", [b"two", b"room", b"true"]) and new != old
    server.wait_for("closed two 1012 handed over", since=mark)
    socket.send(1, b"all")
    assert socket.frame() == (1, b"to all")
    server.signal(signal.SIGTERM)
    assert socket.code() == 1001
    socket.send(8, b"\x03\xe9")
    assert server.wait() == 0
