"""Streaming responses leave at once, compressed or not, and end their producer when the client goes; server-sent events."""

import json
import socket
import zlib

import pytest

from harness.apps import Kind, section
from harness.server import Server, eventually

KINDS = [
    Kind("sse-fetch", "sse-fetch.cjs"),
    Kind("sse-express", "sse-express.cjs"),
    Kind("sse-fastapi", "sse_fastapi:app"),
    Kind("sse-flask", "sse_flask:app"),
]
PUBLISHER = Kind("publisher", "sse_flask:app")


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def server(request, tmp_path_factory):
    """The application, and beside it another service, in which `/go` publishes what the streams wait for and `/listeners` counts them."""
    routes = [section("[[route]]", {"match": match, "to": "publisher"}) for match in ("/go", "/listeners")]
    go = PUBLISHER.service("publisher") + "".join(routes)
    with Server(tmp_path_factory.mktemp(request.param.name), go + request.param.config()) as running:
        yield running.ready()


class Stream:
    """A response read as it comes, decompressed piece by piece."""

    def __init__(self, server, path, **fields):
        self.io = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        self.io.sendall(f"GET {path} HTTP/1.1\r\nhost: h\r\n{lines}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.read(1)
        self.head = head.decode().lower()
        self.inflate = zlib.decompressobj(31).decompress if "content-encoding: gzip" in self.head else lambda data: data
        self.text = ""

    def until(self, wanted):
        while wanted not in self.text:
            self.text += self.inflate(self.chunk()).decode()
        before, _, self.text = self.text.partition(wanted)
        return before

    def chunk(self):
        size = b""
        while not size.endswith(b"\r\n"):
            size += self.read(1)
        left, data = int(size, 16) + 2, b""
        assert left > 2, "the response has ended"
        while len(data) < left:
            data += self.read(left - len(data))
        return data[:-2]

    def read(self, most):
        data = self.io.recv(most)
        assert data, "the connection has ended"
        return data


def publish_to(server):
    """Once somebody listens."""
    eventually(lambda: server.get("/listeners").json())
    assert server.get("/go").text == "gone"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_events_arrive_while_the_producer_waits(server, coding):
    mark = server.mark()
    stream = Stream(server, "/events", accept_encoding=coding, last_event_id="41é")
    assert "content-type: text/event-stream" in stream.head
    assert ("content-encoding: gzip" in stream.head) == (coding == "gzip")
    assert stream.until("event: begin\nid: 1\ndata: ") == "retry: 1500\n\n"
    assert json.loads(stream.until("\n\n")) == {"after": "41é"}
    # Comments while nothing happens.
    stream.until(":\n\n")
    publish_to(server)
    stream.until("data: second\ndata: line\n\n")
    stream.until(":\n\n")
    stream.io.close()
    server.wait_for("producer ended", since=mark)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_any_response_is_streamed_as_it_comes(server, coding):
    mark = server.mark()
    stream = Stream(server, "/pieces", accept_encoding=coding)
    stream.until("first\n")
    publish_to(server)
    stream.until("second\nline\n")
    stream.io.close()
    # A generator that waits for its next message ends when that comes.
    eventually(lambda: server.get("/go") and any("producer ended" in line for line in server.lines[mark:]))


def test_a_subscription_is_a_producer_and_ends_with_its_client(server):
    eventually(lambda: server.get("/listeners").json() == 0)
    stream = Stream(server, "/direct")
    publish_to(server)
    stream.until("data: second\ndata: line\n\n")
    stream.until(":\n\n")
    stream.io.close()
    eventually(lambda: server.get("/listeners").json() == 0)
