"""The same suite for every kind of application: what goes in, what comes out (issue 2, Serving)."""

import concurrent.futures
import hashlib
import json
import re

import pytest

from harness.server import eventually
from harness.wire import Closed, Wire


def skip_unless(kind, ability: str) -> None:
    """Leave out what an interface has no words for."""
    if ability not in kind.can:
        pytest.skip(f"{kind.name} cannot say it")


def test_answers(app):
    server, _ = app
    answer = server.get("/")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert answer.headers["content-length"] == "5"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])
    assert len(answer.headers.get_list("date")) == 1


def test_json(app):
    server, _ = app
    answer = server.get("/json")
    assert answer.json() == {"ok": True}
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_method_and_target_arrive_as_sent(app, method):
    server, kind = app
    with Wire(server.port) as wire:
        seen = wire.exchange(method, "/inspect?a=1&b=%2F&c=%C3%A9&a=2").body
    said = json.loads(seen)
    assert said["method"] == method
    assert said["target"] == "/inspect?a=1&b=%2F&c=%C3%A9&a=2"
    assert said["scheme"] == "http"
    if "client" in kind.can:
        assert said["client"] == "127.0.0.1"
        assert said["version"] == "1.1"


def test_fields_arrive(app):
    server, kind = app
    fields = {"X-Custom": "Value with  spaces", "X-Latin": "caf\xe9".encode("latin-1"), "Cookie": "a=1; b=2"}
    said = dict(map(tuple, server.get("/inspect", headers=fields).json()["headers"]))
    assert said["x-custom"] == "Value with  spaces"
    assert said["cookie"] == "a=1; b=2"
    assert said["host"] == f"127.0.0.1:{server.port}"
    assert said["x-forwarded-proto"] == "http"
    assert said["x-forwarded-for"] == "127.0.0.1"
    assert said["x-request-id"]
    assert not {"connection", "keep-alive", "transfer-encoding"} & set(said), "hop-by-hop fields passed through"


def test_fields_named_by_connection_stay_behind(app):
    server, _ = app
    fields = {"Connection": "keep-alive, X-Hop", "X-Hop": "no", "Keep-Alive": "timeout=5", "TE": "trailers"}
    said = dict(map(tuple, server.get("/inspect", headers=fields).json()["headers"]))
    assert not {"x-hop", "keep-alive"} & set(said)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_537, 300_000, 3_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_echo_returns_what_was_sent(app, size, framing):
    server, _ = app
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    with server.client() as client:
        content = body if framing == "length" else iter([body[: size // 3], body[size // 3 :]])
        answer = client.post("/echo", content=content, headers={"content-type": "application/x-test"})
    assert answer.status_code == 200
    assert answer.content == body
    assert answer.headers["content-type"] == "application/x-test"


def test_echo_streams(app):
    """Bytes come back while the request is still being sent: nothing waits for the whole."""
    server, kind = app
    skip_unless(kind, "duplex")
    with Wire(server.port) as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert wire.head().status == 200
        assert wire.chunk() == b"first"
        wire.send("6\r\nsecond\r\n")
        assert wire.chunk() == b"second"
        wire.send("0\r\n\r\n")
        assert wire.chunk() == b""


def test_response_streams(app):
    """A chunk leaves when the application writes it, also when nothing follows for a while."""
    server, kind = app
    key = f"stream-{kind.name}"
    with Wire(server.port) as wire:
        assert wire.request("GET", f"/stream?key={key}").head().status == 200
        assert wire.chunk() == b"data: first\n\n"
        eventually(lambda: server.get(f"/push?key={key}").text == "true")
        assert wire.chunk() == b"data: next\n\n"
        assert server.get(f"/push?key={key}&end=1").text == "true"
        assert wire.chunk() == b"data: last\n\n"
        assert wire.chunk() == b""


def test_body_is_complete_and_in_order(app):
    server, _ = app
    body = hashlib.sha256(b"seed").digest() * 100_000
    said = server.client().post("/sink", content=body).json()
    assert said["bytes"] == len(body)
    assert said["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("length", ["", "&length=1"])
def test_large_response(app, length):
    server, _ = app
    answer = server.get(f"/source?bytes=5000000{length}")
    assert len(answer.content) == 5_000_000
    assert ("content-length" in answer.headers) == bool(length)


@pytest.mark.parametrize("code", [200, 201, 204, 304, 404, 418, 500, 599])
def test_status(app, code):
    server, _ = app
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", f"/status?code={code}")
        assert answer.status == code
        assert answer.body == (b"" if code in (204, 304) else b"status")
        if code == 204:
            assert answer.get("content-length") is None and answer.get("transfer-encoding") is None
        # The connection is in step: a second answer follows.
        assert wire.exchange("GET", "/").body == b"hello"


def test_repeated_fields_stay_apart(app):
    server, _ = app
    assert server.get("/cookies").headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("path", ["/", "/source?bytes=100000", "/source?bytes=100000&length=1", "/json"])
def test_head_has_no_body(app, path):
    server, _ = app
    with Wire(server.port) as wire:
        answer = wire.exchange("HEAD", path)
        assert answer.status == 200
        assert wire.exchange("GET", "/").body == b"hello"


def test_pipelined_requests_are_answered_in_order(app):
    server, _ = app
    with Wire(server.port) as wire:
        for path in ("/", "/json", "/status?code=404", "/"):
            wire.request("GET", path)
        assert [wire.answer().status for _ in range(4)] == [200, 200, 404, 200]


def test_http_1_0(app):
    server, _ = app
    with Wire(server.port) as wire:
        answer = wire.send("GET / HTTP/1.0\r\n\r\n").answer()
        assert answer.body == b"hello"
        assert wire.is_closed()
    with Wire(server.port) as wire:
        # Unknown length and no chunked coding in 1.0: the end of the connection is the end of the body.
        answer = wire.send("GET /source?bytes=70000 HTTP/1.0\r\n\r\n").answer()
        assert answer.get("transfer-encoding") is None
        assert len(answer.body) == 70_000
    with Wire(server.port) as wire:
        answer = wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer()
        assert answer.body == b"hello"
        assert wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer().body == b"hello"


def test_connection_close_is_honoured(app):
    server, _ = app
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", "/", "Connection: close")
        assert answer.get("connection").lower() == "close"
        assert wire.is_closed()


def test_application_may_close_the_connection(app):
    server, kind = app
    skip_unless(kind, "close")
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", "/close")
        assert (answer.body, answer.get("connection").lower()) == (b"bye", "close")
        assert wire.is_closed()


def test_expect_continue(app):
    server, _ = app
    with Wire(server.port) as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert wire.line() == "HTTP/1.1 100 Continue"
        assert wire.line() == ""
        assert wire.send("body").answer().body == b"body"


def test_expect_continue_is_not_awaited_when_the_body_comes_at_once(app):
    server, _ = app
    with Wire(server.port) as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
        assert wire.answer().body == b"body"


def test_early_hints(app):
    server, kind = app
    skip_unless(kind, "early")
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", "/early")
    assert [hint.status for hint in answer.informational] == [103]
    assert answer.informational[0].get("link") == "</style.css>; rel=preload"
    assert answer.body == b"late"


def test_early_hints_are_kept_from_http_1_0(app):
    server, kind = app
    skip_unless(kind, "early")
    with Wire(server.port) as wire:
        assert wire.send("GET /early HTTP/1.0\r\n\r\n").answer().informational == []


def test_response_trailers(app):
    server, kind = app
    skip_unless(kind, "trailers")
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", "/trailers", "TE: trailers")
    assert answer.body == b"body"
    assert ("x-sum", "42") in [(name.lower(), value) for name, value in answer.trailers]


def test_request_trailers(app):
    server, kind = app
    skip_unless(kind, "request-trailers")
    with Wire(server.port) as wire:
        wire.send("POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        answer = wire.send("4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n").answer()
    assert b'"x-sum":"42"' in answer.body.replace(b" ", b"")


def test_unread_request_body_does_not_break_the_next_request(app):
    server, _ = app
    with Wire(server.port) as wire:
        answer = wire.exchange("POST", "/json", body=b"x" * 400_000)
        assert answer.status == 200
        if (answer.get("connection") or "").lower() != "close":
            assert wire.exchange("GET", "/").body == b"hello"


def test_output_is_logged_with_the_worker_s_name(app):
    server, _ = app
    mark = server.mark()
    assert server.get("/print").text == "printed"
    assert "app#" in server.wait_for("printed to stdout", since=mark).string
    assert "app#" in server.wait_for("printed to stderr", since=mark).string


def test_an_exception_is_a_500_and_is_logged(app):
    server, _ = app
    mark, before = server.mark(), server.get("/pid").text
    answer = server.get("/boom")
    assert answer.status_code == 500
    assert "on purpose" not in answer.text, "the client sees the application's internals"
    server.wait_for("the application broke on purpose", since=mark)
    assert server.get("/pid").text == before, "the worker did not survive"


def test_an_exception_half_way_cuts_the_response(app):
    server, kind = app
    skip_unless(kind, "truncate")
    before = server.get("/pid").text
    with Wire(server.port) as wire, pytest.raises((Closed, ConnectionResetError)):
        wire.exchange("GET", "/abort")
    assert server.get("/pid").text == before


def test_newline_in_a_field_reaches_no_client(app):
    server, kind = app
    skip_unless(kind, "crlf")
    mark, before = server.mark(), server.get("/pid").text
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", "/crlf")
    assert answer.status == 500
    assert answer.get("x-injected") is None
    server.wait_for(r"(?i)x-bad|newline|invalid char", since=mark)
    assert server.get("/pid").text == before


def test_a_body_longer_than_its_length(app):
    server, kind = app
    skip_unless(kind, "crlf")
    before = server.get("/pid").text
    with Wire(server.port) as wire:
        wire.request("GET", "/too-long")
        try:
            answer = wire.answer()
        except (Closed, ConnectionResetError):
            answer = None
    # Either the mistake is seen before anything left (500), or the stream is cut after the announced bytes.
    assert answer is None or answer.status == 500 or answer.body == b"long"
    assert server.get("/pid").text == before


def test_a_body_shorter_than_its_length_is_never_complete(app):
    server, kind = app
    skip_unless(kind, "crlf")
    before = server.get("/pid").text
    with Wire(server.port) as wire:
        try:
            assert wire.exchange("GET", "/too-short").status == 500
        except (Closed, ConnectionResetError):
            pass
    assert server.get("/pid").text == before


def test_a_write_after_the_end_harms_nobody(app):
    server, kind = app
    skip_unless(kind, "early")
    before = server.get("/pid").text
    with Wire(server.port) as wire:
        assert wire.exchange("GET", "/after-end").body == b"once"
        assert wire.exchange("GET", "/").body == b"hello"
    assert server.get("/pid").text == before


def test_a_failure_after_the_end_is_said(app):
    server, kind = app
    skip_unless(kind, "early")
    # Where nobody listens for errors of the response.
    said = {"/after-end": "already complete"}
    if kind.name.startswith("node"):
        said = {"/after-end-unheard": "after the end", "/throw-after-end": "too late"}
    before = server.get("/pid").text
    for path, words in said.items():
        mark = server.mark()
        assert server.get(path).text == "once"
        server.wait_for(words, since=mark)
    assert server.get("/pid").text == before


def test_no_response_is_a_500(app):
    server, kind = app
    skip_unless(kind, "no-response")
    mark = server.mark()
    assert server.get("/no-response").status_code == 500
    server.wait_for(r"(?i)response", since=mark)
    assert server.get("/").text == "hello"


def test_application_learns_that_the_client_is_gone(app):
    server, kind = app
    if kind.name == "wsgi":
        pytest.skip("a WSGI thread learns it at its next write only")
    key = f"gone-{kind.name}"
    with Wire(server.port) as wire:
        wire.request("GET", f"/stream?key={key}").head()
        assert wire.chunk() == b"data: first\n\n"
    # At once where the interface has a signal, at the next write in ASGI (spec 2.4), which each push asks for.
    eventually(lambda: server.get(f"/push?key={key}").text == "false")


def test_many_requests_at_once(app):
    server, _ = app
    with server.client() as client, concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: (n, client.get(f"/status?code={200 + n % 3}")), range(400)))
    assert all(answer.status_code == 200 + n % 3 for n, answer in answers)
