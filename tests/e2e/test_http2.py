"""HTTP/2 over TLS and with prior knowledge; TLS and its renewal (issue 2, Serving)."""

import re
import shutil
import ssl
import subprocess

import h2.config
import h2.connection
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


class Http2:
    """An HTTP/2 connection with prior knowledge that hides nothing."""

    def __init__(self, server: Server) -> None:
        self.wire = Wire(server.port)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
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
                if isinstance(event, wanted) and stream in (None, event.stream_id) and found is None:
                    found = event
            self.flush()
            if found:
                return found


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
