"""Django Channels and socket.io across workers, over topics."""

import asyncio
import json
import os
import shutil
import signal
import subprocess

import pytest
from websockets.asyncio.client import connect

from harness.apps import NODE, Kind
from harness.server import eventually

LAYER = Kind("layer", "layer:app")
SOCKETIO = Kind("socketio", "socketio.cjs")


class Client:
    def __init__(self, socket, hello):
        self.socket, self.pid, self.channel = socket, hello["pid"], hello["channel"]

    async def do(self, **what):
        await self.socket.send(json.dumps(what))

    async def hear(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), 10))


async def enter(server):
    socket = await connect(f"ws://127.0.0.1:{server.port}/")
    return Client(socket, json.loads(await socket.recv()))


async def two_of_each(server):
    """Two sockets on each of two workers."""
    for worker in ("app#1", "app#2"):
        server.wait_for(f"{worker} is ready")
    clients = []
    while sorted([client.pid for client in clients].count(pid) for pid in {client.pid for client in clients}) != [2, 2]:
        clients.append(await enter(server))
        assert len(clients) < 20
    return clients


def test_consumers_of_all_workers_hear_each_other(serve):
    server = serve(LAYER.config("threads = 2", workers=2))

    async def talk():
        clients = await two_of_each(server)
        for number in range(20):
            await clients[0].do(do="say", text=f"line {number}")
        for client in clients:
            assert [await client.hear() for _ in range(20)] == [{"said": f"line {number}", "bytes": 1} for number in range(20)]
        await asyncio.to_thread(server.get, "/")
        for client in clients:
            assert await client.hear() == {"said": "from a view", "bytes": 0}
        for sender in clients:
            for number, client in enumerate(clients):
                await sender.do(do="tell", channel=client.channel, text=f"you are {number}")
                assert await client.hear() == {"said": f"you are {number}", "bytes": 0}
        await clients[1].do(do="leave")
        assert await clients[1].hear() == {"left": True}
        await clients[0].do(do="say", text="without one")
        for client in (clients[0], *clients[2:]):
            assert await client.hear() == {"said": "without one", "bytes": 1}
        await clients[0].do(do="tell", channel=clients[1].channel, text="only you")
        assert await clients[1].hear() == {"said": "only you", "bytes": 0}

    asyncio.run(talk())


def test_a_worker_with_too_much_to_say_is_told_that_the_channel_is_full(serve):
    server = serve(LAYER.config("threads = 2", workers=2))

    async def talk():
        clients = await two_of_each(server)
        sender = clients[0]
        (other, *_) = [client for client in clients if client.pid != sender.pid]
        await sender.do(do="flood", channel=other.channel)
        assert await sender.hear() == {"flooded": True}
        # What was taken arrives, and then there is room again.
        await sender.do(do="tell", channel=other.channel, text="after")
        assert await other.hear() == {"said": "after", "bytes": 0}

    asyncio.run(talk())


def test_a_channel_that_any_worker_takes_from_gives_each_message_once(serve):
    server = serve(LAYER.config("threads = 2", workers=2))

    async def talk():
        clients = await two_of_each(server)
        sender = clients[0]
        (other, *_) = [client for client in clients if client.pid != sender.pid]
        # Before anybody receives, and after.
        for number in range(3):
            await sender.do(do="queue", number=number)
        for number in range(3):
            await other.do(do="take")
            assert await other.hear() == {"job": number}
        await other.do(do="take")
        await sender.do(do="queue", number=3)
        assert await other.hear() == {"job": 3}

    asyncio.run(talk())


def socket_io(server, transports, workers, scenario):
    client = [shutil.which("node"), NODE / "socketio-client.cjs", str(server.port), transports, str(workers), scenario]
    done = subprocess.run(client, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def all_ready(server, workers):
    for number in range(1, workers + 1):
        server.wait_for(f"app#{number} is ready")


def test_the_servers_of_socket_io_are_one(serve):
    server = serve(SOCKETIO.config("threads = 2", workers=2)).ready()
    socket_io(server, "websocket", 2, "rooms")


@pytest.mark.parametrize("transports", ["polling", "polling,websocket"])
def test_a_session_of_socket_io_stays_with_its_worker(serve, transports):
    server = serve(SOCKETIO.config("threads = 2", workers=3, sticky="socket.io"))
    all_ready(server, 3)
    socket_io(server, transports, 3, "rooms")
    socket_io(server, transports, 3, "death")


@pytest.mark.parametrize("sticky", ["query:client", "cookie:client", "header:x-client", "address"])
def test_a_client_s_requests_go_to_one_worker(serve, sticky):
    server = serve(SOCKETIO.config('threads = 2\ntrusted_proxies = ["127.0.0.1"]', workers=3, sticky=sticky))
    all_ready(server, 3)

    def worker_of(number):
        fields = {"cookie": f"other=1; client={number}", "x-client": str(number), "x-forwarded-for": f"192.0.2.{number}"}
        # A connection of its own, and so any thread.
        with server.client() as client:
            return client.get(f"/?client={number}", headers=fields).text

    def workers_of_all():
        return {number: worker_of(number) for number in range(1, 25)}

    # All threads have all workers once they say the same again and again.
    assert eventually(lambda: len({tuple(workers_of_all().values()) for _ in range(3)}) == 1)
    workers = workers_of_all()
    assert len(set(workers.values())) == 3
    os.kill(int(workers[1]), signal.SIGKILL)
    assert worker_of(1) != workers[1]

    def is_replaced():
        # Nobody else has moved, and whoever had the worker that died has its successor.
        moved = {(workers[number], worker) for number, worker in workers_of_all().items() if worker != workers[number]}
        return len(moved) == 1 and moved.pop()[0] == workers[1]

    assert eventually(is_replaced)
