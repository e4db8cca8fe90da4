"""Django Channels and socket.io across workers, over topics."""

import asyncio
import json
import shutil
import subprocess

from websockets.asyncio.client import connect

from harness.apps import NODE, Kind

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


def test_the_servers_of_socket_io_are_one(serve):
    server = serve(SOCKETIO.config("threads = 2", workers=2)).ready()
    client = [shutil.which("node"), NODE / "socketio-client.cjs", str(server.port)]
    done = subprocess.run(client, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
