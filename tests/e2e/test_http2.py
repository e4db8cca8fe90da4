"""HTTP/2 over TLS and with prior knowledge; TLS and its renewal (issue 2, Serving)."""

import json
import re
import shutil
import ssl
import subprocess

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
import trustme

from harness.apps import ASGI, CORE, NODE_HTTP
from harness.server import Server, eventually
from harness.wire import Wire


class Authority:
    """A certificate authority of one test, and the files that it writes."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.renew()

    def renew(self) -> bytes:
        """Write a new certificate and key; return the certificate (DER)."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        for name, pem in (("key.pem", issued.private_key_pem), ("cert.pem", issued.cert_chain_pems[0])):
            fresh = self.folder / f"{name}.new"
            pem.write_to_path(fresh)
            fresh.rename(self.folder / name)
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def context(self, *protocols: str) -> ssl.SSLContext:
        """A client's context that trusts it."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def config(self) -> str:
        """The `[tls]` table."""
        return '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\nreload_interval = "100ms"\n'


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


def served_certificate(port: int, context: ssl.SSLContext) -> bytes:
    with Wire(port, context) as wire:
        return wire.socket.getpeercert(binary_form=True)


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.name)
def test_http2_over_tls(serve, authority, kind):
    server = serve(kind.config(authority.config()), folder=authority.folder)
    with server.client(http2=True, http1=False, verify=authority.context()) as client:
        answer = client.get("/")
        assert (answer.http_version, answer.text) == ("HTTP/2", "hello")
        said = client.get("/inspect?x=1").json()
        assert said["scheme"] == "https"
        fields = dict(map(tuple, said["headers"]))
        assert fields["host"] == f"127.0.0.1:{server.port}"
        assert fields["x-forwarded-proto"] == "https"
        body = bytes(range(256)) * 4000
        assert client.post("/echo", content=body).content == body
        assert client.get("/source?bytes=3000000").num_bytes_downloaded == 3_000_000
        assert client.head("/").content == b""
        assert client.get("/status?code=204").status_code == 204


def test_alpn_falls_back_to_http_1(serve, authority):
    server = serve(ASGI.config(authority.config()), folder=authority.folder)
    with Wire(server.port, authority.context("http/1.1")) as wire:
        assert wire.socket.selected_alpn_protocol() == "http/1.1"
        assert wire.exchange("GET", "/").body == b"hello"
    with Wire(server.port, authority.context()) as wire:
        assert wire.exchange("GET", "/").body == b"hello"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(serve, authority, version):
    server = serve(ASGI.config(authority.config()), folder=authority.folder)
    context = authority.context("http/1.1")
    context.minimum_version = context.maximum_version = version
    with Wire(server.port, context) as wire:
        assert wire.exchange("GET", "/").status == 200


def test_plain_http_on_a_tls_port_harms_nobody(serve, authority):
    server = serve(ASGI.config(authority.config()), folder=authority.folder)
    with Wire(server.port) as wire:
        wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"hello" not in wire.rest()
    with Wire(server.port, authority.context("http/1.1")) as wire:
        assert wire.exchange("GET", "/").status == 200


def test_certificate_is_reloaded_when_its_files_change(serve, authority):
    server = serve(ASGI.config(authority.config()), folder=authority.folder)
    context = authority.context()
    with Wire(server.port, context) as old:
        before = old.socket.getpeercert(binary_form=True)
        renewed = authority.renew()
        eventually(lambda: served_certificate(server.port, context) == renewed, what="the new certificate is served")
        assert renewed != before
        assert old.exchange("GET", "/").body == b"hello", "a connection with the old certificate broke"


def test_a_broken_new_certificate_leaves_the_old_one(serve, authority):
    server = serve(ASGI.config(authority.config()), folder=authority.folder)
    context = authority.context()
    before = served_certificate(server.port, context)
    mark = server.mark()
    (authority.folder / "cert.pem").write_text("not a certificate")
    server.wait_for(r"cert\.pem", since=mark)
    assert served_certificate(server.port, context) == before


def test_prior_knowledge_with_curl(server):
    command = ["curl", "-sS", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}", f"{server.url}/"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout == "hello 2 200"


def test_many_streams_with_h2load(server):
    assert shutil.which("h2load"), "h2load is missing: apt-get install nghttp2-client"
    command = ["h2load", "-n", "5000", "-c", "8", "-m", "32", f"{server.url}/"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"requests: 5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored", said), said


HEADERS, SETTINGS, PING, GOAWAY = 1, 4, 6, 7


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Http2:
    """An HTTP/2 connection with prior knowledge that hides nothing."""

    def __init__(self, server: Server, window: int | None = None) -> None:
        self.wire = Wire(server.port)
        # What no client may send is sent, too.
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.connection = h2.connection.H2Connection(config)
        if window is not None:
            self.connection.local_settings.initial_window_size = window
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.wire.socket.sendall(self.connection.data_to_send())

    def request(self, method: str, path: str, end: bool = True, fields=()) -> int:
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "localhost"), *fields]
        self.connection.send_headers(stream, head, end_stream=end)
        self.flush()
        return stream

    def until(self, wanted: type, stream: int | None = None):
        """Read events up to the first of a type."""
        while True:
            data = self.wire.socket.recv(65536)
            assert data, "the connection was closed"
            found = None
            for event in self.connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, wanted) and stream in (None, getattr(event, "stream_id", None)) and found is None:
                    found = event
            self.flush()
            if found:
                return found

    def status(self, method: str, path: str, *fields) -> str:
        """Send a request without a body and read its status."""
        stream = self.request(method, path, fields=fields)
        return dict(self.until(h2.events.ResponseReceived, stream).headers)[":status"]

    def rest(self, polite: bool = True) -> list[tuple[int, int]]:
        """Kinds and streams of the frames that come until the server closes; polite clients answer pings meanwhile."""
        frames, data = [], bytearray()
        try:
            while received := self.wire.socket.recv(65536):
                data += received
                while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
                    kind, flags, stream = data[3], data[4], int.from_bytes(data[5:9], "big")
                    frames.append((kind, stream))
                    if polite and kind == PING and not flags:
                        self.wire.socket.sendall(frame(PING, 1, 0, bytes(data[9:end])))
                    del data[:end]
        except ConnectionError:
            pass
        return frames


def test_http2_trailers_and_early_hints(shared):
    client = Http2(shared.of(NODE_HTTP))
    stream = client.request("GET", "/trailers", fields=[("te", "trailers")])
    assert ("x-sum", "42") in client.until(h2.events.TrailersReceived, stream).headers
    stream = client.request("GET", "/early")
    hint = dict(client.until(h2.events.InformationalResponseReceived, stream).headers)
    assert (hint[":status"], hint["link"]) == ("103", "</style.css>; rel=preload")


def test_http2_request_streams(shared):
    client = Http2(shared.of(ASGI))
    stream = client.request("POST", "/echo", end=False)
    client.connection.send_data(stream, b"first")
    client.flush()
    assert client.until(h2.events.DataReceived, stream).data == b"first"
    client.connection.send_data(stream, b"second", end_stream=True)
    client.flush()
    assert client.until(h2.events.DataReceived, stream).data == b"second"


def test_http2_reset_reaches_the_application(shared):
    server = shared.of(ASGI)
    client = Http2(server)
    stream = client.request("GET", "/stream?key=h2-reset")
    client.until(h2.events.DataReceived, stream)
    client.connection.reset_stream(stream, 8)
    client.flush()
    eventually(lambda: server.get("/push?key=h2-reset").text == "false")


def test_http2_has_no_connection_fields(shared):
    client = Http2(shared.of(ASGI))
    stream = client.request("GET", "/close")
    names = {name for name, _ in client.until(h2.events.ResponseReceived, stream).headers}
    assert not names & {"connection", "keep-alive", "transfer-encoding", "upgrade"}


def test_http2_error_status_keeps_the_connection(shared):
    client = Http2(shared.of(ASGI))
    stream = client.request("GET", "/boom")
    assert dict(client.until(h2.events.ResponseReceived, stream).headers)[":status"] == "500"
    stream = client.request("GET", "/")
    assert dict(client.until(h2.events.ResponseReceived, stream).headers)[":status"] == "200"


def test_http2_request_trailers(shared):
    client = Http2(shared.of(NODE_HTTP))
    stream = client.request("POST", "/sink", end=False)
    client.connection.send_data(stream, b"body")
    client.connection.send_headers(stream, [("x-sum", "42"), ("set-cookie", "no=1")], end_stream=True)
    client.flush()
    assert json.loads(client.until(h2.events.DataReceived, stream).data)["trailers"] == {"x-sum": "42"}


def test_http2_expect_continue(shared):
    client = Http2(shared.of(ASGI))
    stream = client.request("POST", "/echo", end=False, fields=[("expect", "100-continue")])
    assert dict(client.until(h2.events.InformationalResponseReceived, stream).headers)[":status"] == "100"
    client.connection.send_data(stream, b"body", end_stream=True)
    client.flush()
    assert client.until(h2.events.DataReceived, stream).data == b"body"


def test_http2_limits(serve):
    server = serve(ASGI.config('[limits]\nheader_bytes_max = "2KiB"\nfields_max = 20\ntarget_bytes_max = 300\n'))
    client = Http2(server)
    assert client.status("GET", "/" + "a" * 400) == "414"
    assert client.status("GET", "/", *((f"x-{n}", "v") for n in range(30))) == "431"
    assert client.status("GET", "/", ("expect", "the unexpected")) == "417"
    assert client.status("POST", "/sink", ("content-length", "0"), ("content-length", "0")) == "400"
    assert client.status("GET", "/") == "200"
    assert client.status("GET", "/", ("x-long", "a" * 3000)) == "431"


@pytest.mark.parametrize(
    "field", [("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip")]
)
def test_http2_fields_that_do_not_exist_there(shared, field):
    client = Http2(shared.of(ASGI))
    stream = client.request("GET", "/inspect", fields=[field])
    assert client.until(h2.events.StreamReset, stream).error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert client.status("GET", "/") == "200"


@pytest.mark.parametrize("field", [("X-Upper", "a"), ("x-a", "b\r\nc"), ("x a", "b"), ("x-a", "b\0c")])
def test_http2_fields_that_exist_nowhere(shared, field):
    server = shared.of(ASGI)
    client = Http2(server)
    stream = client.request("GET", "/inspect", fields=[field])
    assert (HEADERS, stream) not in client.rest()
    assert server.get("/").text == "hello"


def test_http2_body_other_than_its_length(shared):
    client = Http2(shared.of(ASGI))
    stream = client.request("POST", "/sink", end=False, fields=[("content-length", "2")])
    client.connection.send_data(stream, b"long", end_stream=True)
    client.flush()
    assert client.until(h2.events.StreamReset, stream).error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR


def test_http2_idle_connection_is_closed(serve):
    client = Http2(serve(ASGI.config('[timeouts]\nkeep_alive = "300ms"\n')))
    assert client.status("GET", "/") == "200"
    assert (GOAWAY, 0) in client.rest()


def test_http2_requests_on_a_connection(serve):
    client = Http2(serve(ASGI.config("[limits]\nrequests_per_connection_max = 2\n")))
    streams = [client.request("GET", "/"), client.request("GET", "/json")]
    frames = client.rest()
    assert sorted(stream for kind, stream in frames if kind == HEADERS) == streams
    assert (GOAWAY, 0) in frames


@pytest.mark.parametrize("path", ["/source?bytes=1000000", "/absent"])
def test_http2_client_that_takes_nothing_is_cut(serve, path):
    """Neither a stream without a window nor a goodbye without an answer holds a connection for ever."""
    config = '[timeouts]\nkeep_alive = "300ms"\nclient_write_idle = "300ms"\n' + ASGI.service()
    server = serve(config + '[[route]]\nmatch = "/source"\nto = "app"\n')
    client = Http2(server, window=0)
    client.request("GET", path)
    assert (GOAWAY, 0) in client.rest(polite=False)


# Floods


def flood(client: Http2, frames: bytes) -> None:
    """Send until it is all gone, or the server has had enough, without reading anything."""
    client.wire.socket.settimeout(5)
    try:
        client.wire.socket.sendall(frames)
    except (ConnectionError, TimeoutError):
        pass


def test_http2_rapid_reset_ends_the_connection(shared):
    """CVE-2023-44487."""
    server = shared.of(ASGI)
    client = Http2(server)
    for _ in range(300):
        stream = client.connection.get_next_available_stream_id()
        client.connection.send_headers(
            stream, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")], end_stream=True
        )
        client.connection.reset_stream(stream, 8)
    flood(client, client.connection.data_to_send())
    assert client.until(h2.events.ConnectionTerminated).error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert server.get("/").text == "hello"


@pytest.mark.parametrize(
    "frames",
    [
        frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x40\x01a\x01b" * 100) * 20_000,
        frame(4, 0, 0, b"\0\x03\0\0\0\x64") * 300_000,
        frame(6, 0, 0, b"12345678") * 300_000,
        frame(1, 4, 1, b"\x83\x84\x86\x41\x01x") + frame(0, 0, 1) * 300_000,
    ],
    ids=["continuation", "settings", "ping", "empty-data"],
)
def test_http2_floods_cost_no_memory(shared, frames):
    server = shared.of(ASGI)
    client = Http2(server)
    before = server.memory()
    flood(client, frames)
    assert server.get("/").text == "hello"
    assert server.memory() - before < 8 << 20
