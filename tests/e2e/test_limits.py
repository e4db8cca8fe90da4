"""Limits, deadlines and requests that no server may accept (issue 2, Serving and Errors at the edge)."""

import json
import socket
import threading
import time

import pytest

from harness.apps import ASGI, CORE, NODE_HTTP, WSGI
from harness.wire import Closed, Wire

SMALL = """
[limits]
header_bytes_max = "2KiB"
fields_max = 20
target_bytes_max = 300
body_bytes_max = "10KiB"
requests_per_connection_max = 3
"""

HASTY = """
[timeouts]
header = "300ms"
body_idle = "300ms"
response = "400ms"
keep_alive = "300ms"
"""


def problem(answer) -> dict:
    assert answer.get("content-type").startswith("application/problem+json"), answer
    said = json.loads(answer.body)
    assert said["status"] == answer.status
    return said


@pytest.fixture
def small(serve):
    return serve(ASGI.config(SMALL))


@pytest.fixture(params=[ASGI, NODE_HTTP], ids=lambda kind: kind.name)
def hasty(serve, request):
    return serve(request.param.config(HASTY)).ready()


@pytest.mark.parametrize(
    ("status", "target", "fields"),
    [
        (431, "/", ["X-Long: " + "a" * 3000]),
        (431, "/", [f"X-{n}: v" for n in range(30)]),
        (414, "/" + "a" * 400, []),
    ],
    ids=["header-bytes", "fields", "target"],
)
def test_head_limits(small, status, target, fields):
    with Wire(small.port) as wire:
        answer = wire.exchange("GET", target, "Accept: application/json", *fields)
    assert answer.status == status
    problem(answer)
    assert small.get("/").text == "hello"


def test_announced_body_beyond_the_limit(small):
    with Wire(small.port) as wire:
        wire.send("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n")
        assert wire.answer().status == 413


def test_announced_body_beyond_the_limit_is_not_asked_for(small):
    with Wire(small.port) as wire:
        wire.send("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\nExpect: 100-continue\r\n\r\n")
        answer = wire.answer()
    assert (answer.status, answer.informational) == (413, [])


def test_chunked_body_beyond_the_limit(small):
    with Wire(small.port) as wire:
        wire.send("POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"3000\r\n" + b"x" * 0x3000 + b"\r\n0\r\n\r\n")
        assert wire.answer().status == 413
    assert small.get("/").text == "hello"


def test_body_at_the_limit(small):
    with small.client() as client:
        assert client.post("/sink", content=b"x" * 10_240).json()["bytes"] == 10_240


def test_requests_on_a_connection(small):
    with Wire(small.port) as wire:
        answers = [wire.exchange("GET", "/") for _ in range(3)]
        assert [(a.get("connection") or "").lower() for a in answers] == ["", "", "close"]
        assert wire.is_closed()


def test_head_deadline(hasty):
    with Wire(hasty.port) as wire:
        wire.send("GET / HTTP/1.1\r\nHost: ")
        assert wire.answer().status == 408
        assert wire.is_closed()


def test_fresh_connection_without_a_request_is_closed(hasty):
    with Wire(hasty.port) as wire:
        received = wire.rest()
    assert received == b"" or b" 408 " in received


def test_head_deadline_is_for_the_whole_head(hasty):
    """A client that sends a byte now and then does not hold a connection (slowloris)."""
    with Wire(hasty.port) as wire:
        wire.send("GET / HTTP/1.1\r\n")
        wire.socket.settimeout(0.05)
        begin = time.monotonic()
        while time.monotonic() - begin < 10:
            try:
                wire.send("X-Slow: 1\r\n")
                wire.more()
                break
            except (TimeoutError, socket.timeout):
                continue
            except (Closed, ConnectionError):
                break
        assert time.monotonic() - begin < 5


def test_body_deadline(hasty):
    with Wire(hasty.port) as wire:
        wire.send("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert wire.answer().status == 408


def test_response_deadline(hasty):
    mark = hasty.mark()
    answer = hasty.get("/never", headers={"accept": "application/json"})
    assert answer.status_code == 504
    assert answer.json()["status"] == 504
    hasty.wait_for("504|did not|deadline|response", since=mark)
    assert hasty.get("/").text == "hello"


def test_idle_connection_is_closed(hasty):
    with Wire(hasty.port) as wire:
        assert wire.exchange("GET", "/").status == 200
        assert wire.is_closed()


def test_silent_response_is_not_cut(hasty):
    """The response deadline ends when the response begins."""
    with Wire(hasty.port) as wire:
        wire.request("GET", "/stream?key=silent").head()
        assert wire.chunk() == b"data: first\n\n"
        threading.Event().wait(1.2)  # Silence itself is under test: three times every deadline.
        assert hasty.get("/push?key=silent&end=1").text == "true"
        assert wire.chunk() == b"data: last\n\n"


def test_silent_response_is_cut_when_configured(serve):
    server = serve(ASGI.config('[timeouts]\nresponse_idle = "300ms"\n'))
    with Wire(server.port) as wire, pytest.raises((Closed, ConnectionResetError)):
        wire.request("GET", "/stream?key=cut").head()
        assert wire.chunk() == b"data: first\n\n"
        wire.chunk()


MALFORMED = {
    "no-host": "GET / HTTP/1.1\r\n\r\n",
    "two-hosts": "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "space-before-colon": "GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
    "folded-line": "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "bare-cr-in-value": "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n",
    "bare-lf": "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "bad-trailer": "POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno field\r\n\r\n",
    "nul-in-value": "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
    "bad-method": "G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad-version": "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "no-version": "GET /\r\n\r\n",
    "space-in-target": "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "length-and-chunked": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    "signed-length": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nbody",
    "negative-length": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\nbody",
    "huge-length": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "chunked-not-last": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked-twice": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked-in-disguise": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked-in-1.0": "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad-chunk-size": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n0\r\n\r\n",
    "chunk-without-end": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbody\r\n0\r\n\r\n",
    "huge-chunk-size": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "binary": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_request(server, name):
    """RFC 9112 and RFC 9110: refused with a 4xx or 5xx and the connection closed; never passed on."""
    mark_alive = server.get("/pid").text
    with Wire(server.port, timeout=10) as wire:
        wire.send(MALFORMED[name])
        # A second request hidden behind the first must never be answered.
        try:
            wire.send("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
            received = wire.rest()
        except ConnectionError:
            received = wire.buffer
    heads = [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.")]
    for head in heads:
        assert head.split(b" ")[1][:1] in (b"4", b"5"), received
    assert len(heads) <= 1, received
    assert server.get("/pid").text == mark_alive


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.name)
def test_queue_is_bounded(serve, kind):
    """One request at a time, no room to wait: the second is refused at once with 503 and Retry-After or a reason."""
    keys = {"in_flight_max": 1, "queue_requests_max": 0}
    if kind is WSGI:
        keys["threads_max"] = 1
    server = serve(kind.config("threads = 1", **keys)).ready()
    with Wire(server.port) as first, Wire(server.port) as second:
        first.request("GET", "/stream?key=hold").head()
        first.chunk()
        assert second.exchange("GET", "/").status == 503


def test_connection_limit(serve):
    server = serve(ASGI.config("threads = 1\n[limits]\nconnections_max = 2\n"))
    server.ready()
    with Wire(server.port) as first, Wire(server.port) as second:
        assert first.exchange("GET", "/").status == 200
        assert second.exchange("GET", "/").status == 200
        with Wire(server.port, timeout=10) as third:
            third.request("GET", "/")
            first.socket.close()
            assert third.answer().status == 200, "a waiting connection was not taken when there was room"


def test_a_client_that_does_not_read_is_cut(serve):
    server = serve(NODE_HTTP.config('threads = 1\n[timeouts]\nclient_write_idle = "500ms"\n')).ready()
    with Wire(server.port, timeout=20) as wire:
        wire.request("GET", "/source?bytes=200000000&length=1")
        with Wire(server.port) as other:
            assert other.exchange("GET", "/").status == 200, "a slow reader blocks others"
        wire.head()
        threading.Event().wait(2)  # Not reading is what is under test: four times the deadline.
        with pytest.raises((Closed, ConnectionError)):
            wire.exactly(200_000_000)
