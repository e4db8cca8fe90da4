"""Topics from any worker of either language, inside and outside of sockets."""

import asyncio
import os
import signal

import pytest
from websockets.asyncio.client import connect

from harness.apps import Kind
from harness.server import eventually

NODE, ASGI, WSGI = "node", "asgi", "wsgi"
KINDS = {NODE: Kind(NODE, "pubsub.cjs"), ASGI: Kind(ASGI, "pubsub_asgi:app"), WSGI: Kind(WSGI, "pubsub_wsgi:app")}
PUBLISHERS = [(NODE, "publish"), (ASGI, "publish"), (ASGI, "thread"), (WSGI, "publish")]


@pytest.fixture
def world(serve):
    routes = "\n".join(f'[[route]]\nmatch = "/{name}/*"\nto = "{name}"' for name in KINDS)
    services = "\n".join(kind.service(name) for name, kind in KINDS.items())
    server = serve(f"threads = 2\n{services}\n{routes}\n")
    for name in KINDS:
        assert server.get(f"/{name}/here").json() == "here"
    return server


def post(server, path, body):
    with server.client() as client:
        assert client.post(path, content=body).status_code == 200


async def enter(server, name, topic, member=""):
    socket = await connect(f"ws://127.0.0.1:{server.port}/{name}/socket?topic={topic}&name={member}")
    assert await socket.recv() == f"in {topic}"
    return socket


def listeners_of(server, topic):
    return server.get("/node/topics").json().get(topic)


def test_every_worker_and_socket_hears_what_any_worker_publishes(world):
    assert eventually(lambda: listeners_of(world, "news") == {"sockets": 0, "workers": 3})

    async def talk():
        sockets = [await enter(world, NODE, "news"), await enter(world, ASGI, "news")]
        for name, how in PUBLISHERS:
            lines = [f"{name} {how} {number}" for number in range(100)]
            await asyncio.to_thread(post, world, f"/{name}/{how}?topic=news", "\n".join(lines))
            for socket in sockets:
                assert [await asyncio.wait_for(socket.recv(), 10) for _ in lines] == lines
        for name in KINDS:
            await asyncio.to_thread(post, world, f"/{name}/bytes?topic=news", b"\xff\x00")
            for socket in sockets:
                assert await asyncio.wait_for(socket.recv(), 10) == b"\xff\x00"

    asyncio.run(talk())
    said = [f"{name} {how} {number}" for name, how in PUBLISHERS for number in range(100)] + ["bytes 2"] * 3
    for name in KINDS:
        assert eventually(lambda: world.get(f"/{name}/heard").json() == said), name


@pytest.mark.parametrize("name", KINDS)
def test_what_is_published_before_the_worker_serves_is_bounded_as_later(world, name):
    refused = [f"publish() of {size} bytes; a topic's messages take less than 1 MiB" for size in (1 << 21, 1 << 21, 1_200_000, 1 << 21)]
    assert world.get(f"/{name}/early").json() == {"refused": refused, "taken": 16, "refused later": refused}

    async def talk():
        # All that was kept has left, and what comes now has its room.
        socket = await enter(world, NODE, "after")
        await asyncio.to_thread(post, world, f"/{name}/publish?topic=after", "x" * 1_000_000)
        assert len(await asyncio.wait_for(socket.recv(), 30)) == 1_000_000

    asyncio.run(talk())


def test_presence_tells_every_language_who_comes_and_goes(world):
    async def talk():
        ada, tim = await enter(world, NODE, "room", "Ada"), await enter(world, ASGI, "room", "Tim")
        eventually(lambda: listeners_of(world, "room") == {"sockets": 2, "workers": 0})
        await ada.send("leave")
        eventually(lambda: listeners_of(world, "room") == {"sockets": 1, "workers": 0})
        await tim.close()

    asyncio.run(talk())
    seen = [[True, "Ada", 1], [True, "Tim", 2], [False, "Ada", 1], [False, "Tim", 0]]
    for name in KINDS:
        assert eventually(lambda: world.get(f"/{name}/seen").json() == seen), name


def test_a_worker_that_is_replaced_learns_who_is_there_and_listens_again(world):
    async def talk():
        for member in ("Ada", "Tim"):
            stay.append(await enter(world, NODE, "room", member))
        for name in (ASGI, WSGI):
            (pid,) = world.workers(name)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: world.workers(name) not in ([], [pid]))
            eventually(lambda: sorted(world.get(f"/{name}/seen").json()) == [[True, "Ada", 2], [True, "Tim", 2]])
        await asyncio.to_thread(post, world, "/node/publish?topic=news", "anew")
        for name in KINDS:
            eventually(lambda: world.get(f"/{name}/heard").json() == ["anew"])

    stay = []
    asyncio.run(talk())


@pytest.mark.parametrize("name", KINDS)
def test_a_subscription_can_be_iterated_over(world, name):
    async def talk():
        waiting = asyncio.create_task(asyncio.to_thread(world.get, f"/{name}/next?topic=once"))
        await asyncio.to_thread(eventually, lambda: listeners_of(world, "once") == {"sockets": 0, "workers": 1})
        await asyncio.to_thread(post, world, f"/{ASGI}/publish?topic=once", "taken")
        assert (await waiting).json() == "taken"

    asyncio.run(talk())
    assert eventually(lambda: listeners_of(world, "once") is None)


@pytest.mark.parametrize("name", KINDS)
def test_a_worker_s_subscriptions_are_bounded(world, name):
    # Two are open already. All of those that are closed again make room.
    for _ in range(2):
        assert world.get(f"/{name}/fill").json() == [65_534, "TopicsFull"]
    assert eventually(lambda: listeners_of(world, "news") == {"sockets": 0, "workers": 3})


def test_all_languages_count_alike(world):
    def counts(name):
        found = world.get(f"/{name}/topics").json()
        # What is only watched.
        found.pop("room", None)
        return found

    async def talk():
        sockets = [await enter(world, name, f"room-{number}") for number in range(40) for name in (NODE, ASGI)]
        wanted = {f"room-{number}": {"sockets": 2, "workers": 0} for number in range(40)} | {"news": {"sockets": 0, "workers": 3}}
        for name in KINDS:
            await asyncio.to_thread(eventually, lambda: counts(name) == wanted)
        for socket in sockets:
            await socket.close()

    asyncio.run(talk())
