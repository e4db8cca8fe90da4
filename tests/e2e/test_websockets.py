"""WebSockets that Bireme speaks for the application: the same contract in every framework, and what only the front does."""

import asyncio
import os
import signal
import socket as sockets

import pytest
import websockets
from kosoku import run_fuzzingclient
from websockets.asyncio.client import connect

from harness.apps import Kind
from harness.raw import RawHttp2

BARE = Kind("sockets-asgi", "sockets_asgi:app", frozenset({"denial", "raise"}))
NATIVE = Kind("sockets-native", "sockets-native.mjs", frozenset({"denial", "raise"}))
OBJECTS = Kind("sockets-objects", "sockets_objects:app", frozenset({"denial", "raise"}))
TUNNEL = Kind("ws", "sockets.js")
KINDS = [
    BARE,
    NATIVE,
    OBJECTS,
    Kind("sockets-starlette", "sockets_starlette:app", frozenset({"denial"})),
    Kind("sockets-fastapi", "sockets_starlette:fast", frozenset({"denial"})),
    Kind("sockets-litestar", "sockets_litestar:app"),
    Kind("sockets-channels", "sockets_channels:app"),
]

CONFORMANCE = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "12.1.1", "12.2.2", "13.3.3", "13.7.4"]
"""Cases of Autobahn that take a moment."""

ALL_CASES = os.environ.get("E2E_CONFORMANCE") == "all"
"""`cargo xtask conformance` runs all 517."""


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def served(request, shared):
    return shared.of(request.param), request.param


def url(server, path: str = "/echo") -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


def test_messages_of_every_size_come_back(served):
    server, _ = served

    async def talk():
        async with connect(url(server), max_size=None) as socket:
            for message in ["hi", b"\x00\xff", "", b"", "é" * 1000, "x" * 100_000, os.urandom(3_000_000)]:
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send(f"part {index} " for index in range(5))
            assert await socket.recv() == "part 0 part 1 part 2 part 3 part 4 "
            await (await socket.ping())

    asyncio.run(talk())


def test_a_handshake_chooses_subprotocol_headers_and_compression(served):
    server, kind = served

    async def talk():
        async with connect(url(server), subprotocols=["other", "chat"]) as socket:
            assert socket.subprotocol == "chat"
            assert socket.response.headers["x-app"]
            chosen = socket.response.headers["sec-websocket-extensions"]
            assert chosen == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        async with connect(url(server), compression=None) as socket:
            assert "sec-websocket-extensions" not in socket.response.headers
            assert socket.subprotocol is None

    asyncio.run(talk())


def test_both_sides_can_close_and_the_application_hears_of_it(served):
    server, _ = served
    mark = server.mark()

    async def talk():
        async with connect(url(server)) as socket:
            await socket.send("close")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")
        async with connect(url(server)) as socket:
            await socket.close(3000, "bye")
        server.wait_for(r"left 3000", since=mark)
        socket = await connect(url(server))
        socket.transport.abort()

    asyncio.run(talk())
    server.wait_for(r"left 1006", since=mark)


def test_a_handshake_can_be_refused(served):
    server, kind = served

    async def talk(path):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(url(server, path))
        return refused.value.response

    assert asyncio.run(talk("/refused")).status_code == 403
    if "denial" in kind.can:
        response = asyncio.run(talk("/denied"))
        assert (response.status_code, response.headers["x-why"], bytes(response.body)) == (401, "nobody", b"who are you?")


@pytest.mark.parametrize("kind", [BARE, NATIVE, OBJECTS], ids=lambda kind: kind.name)
def test_an_application_that_fails_costs_its_socket_only(shared, kind):
    server = shared.of(kind)

    async def talk():
        async with connect(url(server)) as other, connect(url(server)) as socket:
            await socket.send("raise")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd.code == 1011
            await other.send("still here")
            assert await other.recv() == "still here"
        async with connect(url(server)) as socket:
            await socket.send("return")
            with pytest.raises(websockets.ConnectionClosedOK):
                await socket.recv()
        with pytest.raises(websockets.InvalidStatus) as broken:
            await connect(url(server, "/unasked"))
        assert broken.value.response.status_code == 500

    mark = server.mark()
    asyncio.run(talk())
    server.wait_for("asked to", since=mark)


@pytest.mark.timeout(3600 if ALL_CASES else 300)
@pytest.mark.parametrize("kind", [BARE, NATIVE, Kind("sockets-ws", "sockets-ws.js")], ids=lambda kind: kind.name)
def test_the_autobahn_cases(serve, kind):
    # kosoku's compression cases cannot read messages that come uncompressed, though RFC 7692 §6 allows them.
    server = serve(kind.config() + "[websocket]\ncompression_min_bytes = 0\n").ready()
    # Raises when a case does not pass.
    results = asyncio.run(run_fuzzingclient(url(server), None if ALL_CASES else CONFORMANCE, concurrency=2))
    assert len(results) >= (517 if ALL_CASES else 250)


def test_what_is_no_handshake_is_answered_as_such(shared):
    server = shared.of(BARE)
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    good = upgrade | {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    with server.client() as client:
        old = client.get("/", headers=good | {"sec-websocket-version": "8"})
        assert (old.status_code, old.headers["sec-websocket-version"]) == (426, "13")
        assert client.get("/", headers=good | {"sec-websocket-key": "short"}).status_code == 400


def test_limits_close_with_the_code_that_says_so(serve):
    server = serve(BARE.config() + '[websocket]\nmessage_bytes_max = "64KiB"\n').ready()

    async def code(message, **options):
        async with connect(url(server), **options) as socket:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.send(message)
                await socket.recv()
            return closed.value.rcvd.code

    assert asyncio.run(code("x" * 65_537, compression=None)) == 1009
    # A few KiB on the wire.
    assert asyncio.run(code("x" * 10_000_000)) == 1009


def test_silent_clients_are_pinged_and_then_gone(serve):
    config = '[websocket]\nping_interval = "200ms"\nping_timeout = "200ms"\n'
    server = serve(BARE.config() + config).ready()

    async def talk():
        async with connect(url(server)) as alive:
            # One that never answers: the handshake by hand, and then nothing.
            deaf = sockets.create_connection(("127.0.0.1", server.port))
            deaf.sendall(
                b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await asyncio.to_thread(server.wait_for, "left 1006")
            await alive.send("here")
            assert await alive.recv() == "here"
            deaf.close()

    asyncio.run(talk())


def test_idle_sockets_are_closed_when_configured(serve):
    server = serve(BARE.config() + '[websocket]\nidle_timeout = "300ms"\n').ready()

    async def talk():
        async with connect(url(server)) as socket:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "idle")

    asyncio.run(talk())
    server.wait_for("left 1001")


@pytest.mark.parametrize("kind", [BARE, NATIVE, OBJECTS], ids=lambda kind: kind.name)
def test_a_client_that_does_not_read_costs_bounded_memory(serve, kind):
    server = serve(kind.config()).ready()

    async def talk():
        async with connect(url(server), compression=None, max_size=None) as other:
            before = server.memory()
            slow = await connect(url(server), compression=None, max_size=None, max_queue=1)
            slow.transport.pause_reading()
            await slow.send("flood")
            for _ in range(50):
                await other.send("still here")
                assert await other.recv() == "still here"
            assert server.memory() - before < 16 << 20
            slow.transport.abort()

    asyncio.run(talk())


@pytest.mark.parametrize("kind", [BARE, NATIVE, OBJECTS], ids=lambda kind: kind.name)
def test_a_reload_closes_sockets_with_1001_and_new_ones_open(serve, kind):
    server = serve(kind.config()).ready()

    async def talk():
        async with connect(url(server)) as socket:
            server.signal(signal.SIGHUP)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 30)
            assert closed.value.rcvd.code == 1001
        async with connect(url(server)) as socket:
            await socket.send("new")
            assert await socket.recv() == "new"
            server.signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 30)
            assert closed.value.rcvd.code == 1001

    asyncio.run(talk())
    assert server.wait() == 0


@pytest.mark.parametrize("kind", [BARE, NATIVE], ids=lambda kind: kind.name)
def test_a_reload_and_the_end_close_sockets_over_http2_with_1001(serve, kind):
    server = serve(kind.config()).ready()
    old = RawHttp2(server.port)
    server.signal(signal.SIGHUP)
    assert old.code() == 1001
    old.send(8, b"\x03\xe9")
    old.io.close()
    new = RawHttp2(server.port)
    new.send(1, b"new")
    assert new.frame() == (1, b"new")
    server.signal(signal.SIGTERM)
    assert new.code() == 1001
    new.send(8, b"\x03\xe9")
    assert server.wait() == 0


def test_a_killed_worker_closes_its_sockets_with_1012(serve):
    server = serve(BARE.config()).ready()

    async def talk():
        async with connect(url(server)) as socket:
            os.kill(server.workers()[0], 9)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 30)
            assert closed.value.rcvd.code == 1012

    asyncio.run(talk())


@pytest.mark.parametrize("kind", [BARE, NATIVE, OBJECTS], ids=lambda kind: kind.name)
def test_websockets_over_http2(shared, kind):
    server = shared.of(kind)
    mark = server.mark()
    socket = RawHttp2(server.port, fields=[("sec-websocket-protocol", "chat")])
    assert socket.response[":status"] == "200" and socket.response["sec-websocket-protocol"] == "chat"
    assert "sec-websocket-accept" not in socket.response and "upgrade" not in socket.response
    socket.send(1, b"over http/2")
    assert socket.frame() == (1, b"over http/2")
    socket.send(9, b"ping")
    assert socket.frame() == (10, b"ping")
    socket.send(8, b"\x03\xe8bye")
    assert socket.frame() == (8, b"\x03\xe8")
    assert socket.frame() is None
    server.wait_for("left 1000 bye", since=mark)
    assert RawHttp2(server.port, "/denied").response[":status"] == "401"


def test_a_program_with_ws_is_reached_over_http2(shared):
    socket = RawHttp2(shared.of(TUNNEL).port, "/chat?x=1")
    assert socket.response[":status"] == "200"
    assert "sec-websocket-accept" not in socket.response
    socket.send(1, b"hi")
    assert socket.frame() == (1, b"/chat?x=1 hi")


def test_open_sockets_take_no_places_of_requests(serve):
    server = serve(BARE.config("threads = 1", in_flight_max=2, queue_timeout="1s")).ready()

    async def talk():
        opened = [await connect(url(server)) for _ in range(5)]
        assert await asyncio.to_thread(lambda: server.get("/").status_code) == 200
        for socket in opened:
            await socket.send("here")
            assert await socket.recv() == "here"
            await socket.close()

    asyncio.run(talk())
