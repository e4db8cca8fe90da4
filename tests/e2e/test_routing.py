"""Where a request goes, what it is told about its client, and what the front answers by itself."""

import json
import subprocess
import zlib

import pytest

from harness.apps import ASGI, NODE_FETCH, NODE_HTTP, WSGI
from harness.server import Server, eventually
from harness.wire import Wire

ROUTES = f"""
{NODE_HTTP.service("web")}
{ASGI.service("ml")}
{WSGI.service("old")}

[[route]]
hosts = ["admin.example.com"]
match = "/*"
respond = "admin"

[[route]]
hosts = ["*.example.org"]
match = "/*"
respond = "any of them"

[[route]]
match = "/moved/{{*rest}}"
redirect = "/new/{{rest}}{{query}}"
status = 301

[[route]]
match = "/fixed"
respond = '{{"fixed":true}}'
status = 203
content_type = "application/json"

[[route]]
match = "/only-post"
methods = ["POST"]
to = "web"

[[route]]
match = "/api/ml/*"
strip_prefix = true
to = "ml"

[[route]]
match = "/old/*"
strip_prefix = "/old"
to = "old"

[[route]]
match = "/items/{{id}}/inspect"
to = "ml"

[[route]]
match = "/web/*"
strip_prefix = true
response_fields = {{ "x-served-by" = "bireme" }}
to = "web"
"""


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("routes"), ROUTES) as server:
        yield server


def check_route(server, target: str, host: str = "localhost", method: str = "GET", status: int = 200, **expected):
    """The doorway: one request, and what must be true of the answer."""
    with Wire(server.port) as wire:
        answer = wire.exchange(method, target, "Accept: application/json", host=host)
    assert answer.status == status, answer
    for name, value in expected.items():
        match name:
            case "body":
                assert answer.body.decode() == value
            case "said":
                seen = json.loads(answer.body)
                assert {key: seen[key] for key in value} == value
            case _:
                assert answer.get(name.replace("_", "-")) == value
    return answer


def test_by_host(routed):
    check_route(routed, "/anything", host="admin.example.com", body="admin")
    check_route(routed, "/anything", host="ADMIN.example.com:8000", body="admin")
    check_route(routed, "/anything", host="a.example.org", body="any of them")
    check_route(routed, "/anything", host="example.org", status=404)


def test_redirect(routed):
    check_route(routed, "/moved/a/b%20c?x=1", status=301, location="/new/a/b%20c?x=1")


def test_redirect_cannot_be_led_astray(routed):
    """A path that begins with two slashes must not become another host's address."""
    answer = check_route(routed, "/moved//evil.example/x", status=301)
    assert not answer.get("location").startswith("//")


def test_fixed_answer(routed):
    check_route(routed, "/fixed", status=203, body='{"fixed":true}', content_type="application/json")
    answer = check_route(routed, "/fixed", method="HEAD", status=203)
    assert answer.get("content-length") == str(len('{"fixed":true}'))


def test_method(routed):
    answer = check_route(routed, "/only-post", status=405)
    assert "POST" in answer.get("allow")


def test_nothing_matches(routed):
    said = json.loads(check_route(routed, "/nowhere", status=404).body)
    assert said["status"] == 404


def test_prefix_is_stripped(routed):
    check_route(routed, "/api/ml/inspect?x=1", said={"target": "/api/ml/inspect?x=1", "root_path": "/api/ml"})
    check_route(routed, "/old/inspect", said={"target": "/old/inspect", "root_path": "/old"})
    check_route(routed, "/web/inspect", said={"target": "/inspect"}, x_served_by="bireme")
    check_route(routed, "/web", body="hello")


@pytest.mark.parametrize("target", ["/x/../fixed", "/x/%2e%2e/fixed", "//fixed", "/./fixed", "/%66ixed"])
def test_other_spellings_of_a_path_take_the_same_route(routed, target):
    check_route(routed, target, status=203)


@pytest.mark.parametrize("target", ["/fixed/../nowhere", "/web/../nowhere", "/web/..%2fnowhere"])
def test_dots_lead_out_of_no_route(routed, target):
    with Wire(routed.port) as wire:
        answer = wire.exchange("GET", target)
    assert answer.status in (400, 404)


def test_absolute_and_asterisk_targets(routed):
    with Wire(routed.port) as wire:
        assert wire.exchange("GET", "http://admin.example.com/x", host="ignored").body == b"admin"
        assert wire.exchange("OPTIONS", "*").status in (200, 204, 400, 404, 405)


def test_connect_is_refused(routed):
    with Wire(routed.port) as wire:
        assert wire.exchange("CONNECT", "example.com:443", host="example.com:443").status in (400, 405, 501)


# Forwarded fields


def said_headers(server, *fields: str, **options) -> dict:
    with Wire(server.port) as wire:
        answer = wire.exchange("GET", "/inspect", *fields, **options)
    said = json.loads(answer.body)
    return said | {"headers": dict(map(tuple, said["headers"]))}


LIES = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    'Forwarded: for=6.6.6.6;proto=https;host="evil.example"',
    "X-Request-Id: chosen-by-a-stranger",
)


def test_strangers_are_not_believed(server):
    said = said_headers(server, *LIES, host="honest.example")
    fields = said["headers"]
    assert said["client"] == "127.0.0.1"
    assert said["scheme"] == "http"
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-host"] == "honest.example"
    assert "6.6.6.6" not in fields["forwarded"] and "evil" not in fields["forwarded"]
    assert "for=127.0.0.1" in fields["forwarded"]
    assert fields["x-request-id"] != "chosen-by-a-stranger"


@pytest.mark.parametrize("kind", [ASGI, NODE_HTTP, WSGI], ids=lambda kind: kind.name)
def test_trusted_proxies_are_believed(serve, kind):
    server = serve(kind.config('trusted_proxies = ["127.0.0.0/8"]'))
    said = said_headers(
        server, "X-Forwarded-For: 6.6.6.6, 9.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example",
        "X-Request-Id: from-the-proxy",
    )
    fields = said["headers"]
    assert fields["x-forwarded-proto"] == "https"
    assert fields["x-forwarded-host"] == "shop.example"
    assert fields["x-request-id"] == "from-the-proxy"
    # The first address from the right that is no trusted proxy is the client.
    assert said["client"] == "9.9.9.9"
    assert said["scheme"] == "https"
    assert fields["x-forwarded-for"].endswith("127.0.0.1")


def test_every_request_has_its_own_id(server):
    ids = {said_headers(server)["headers"]["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


# Problem pages


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ],
)
def test_problem_takes_the_form_that_the_client_accepts(routed, accept, kind):
    with Wire(routed.port) as wire:
        answer = wire.exchange("GET", "/nowhere", f"Accept: {accept}")
    assert answer.status == 404
    assert answer.get("content-type").startswith(kind)
    if kind == "text/html":
        assert b"<html" in answer.body.lower() and b"404" in answer.body


def test_problem_holds_the_request_id(serve):
    server = serve(ASGI.config('[access_log]\nformat = "json"\n'))
    answer = server.get("/boom", headers={"accept": "application/json"})
    assert answer.status_code == 500
    identity = answer.json().get("request_id") or answer.json().get("instance") or answer.headers.get("x-request-id")
    assert identity
    server.wait_for(identity.rpartition(":")[2], seconds=10)


def test_problem_page_escapes(routed):
    with Wire(routed.port) as wire:
        answer = wire.exchange("GET", "/<script>alert(1)</script>", "Accept: text/html")
    assert b"<script>alert" not in answer.body


# Compression


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_compressible_text_is_compressed(app, coding):
    server, _ = app
    plain = server.get("/text", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = server.get("/text", headers={"accept-encoding": coding})
    assert packed.headers["content-encoding"] == coding
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert packed.text == plain.text
    assert packed.num_bytes_downloaded < len(plain.content) / 5


@pytest.mark.parametrize(
    ("target", "accept"),
    [("/text", "gzip;q=0"), ("/text", "identity"), ("/", "gzip"), ("/source?bytes=100000", "gzip")],
    ids=["refused", "identity", "small", "not-compressible"],
)
def test_what_stays_as_it_is(server, target, accept):
    answer = server.get(target, headers={"accept-encoding": accept})
    assert "content-encoding" not in answer.headers


def test_compressed_stream_is_not_held_back(app):
    server, kind = app
    key = f"packed-{kind.name}"
    with Wire(server.port) as wire:
        answer = wire.request("GET", f"/stream?key={key}", "Accept-Encoding: gzip").head()
        unpack = zlib.decompressobj(31) if answer.get("content-encoding") == "gzip" else None

        def event() -> bytes:
            text = b""
            while not text:
                chunk = wire.chunk()
                assert chunk, "the stream ended"
                text = unpack.decompress(chunk) if unpack else chunk
            return text

        assert event() == b"data: first\n\n"
        eventually(lambda: server.get(f"/push?key={key}").text == "true")
        assert event() == b"data: next\n\n"
        server.get(f"/push?key={key}&end=1")


# Access log


@pytest.mark.parametrize("form", ["text", "json", "combined"])
def test_access_log(serve, form):
    server = serve(NODE_FETCH.config(f'[access_log]\nformat = "{form}"\npath = "access.log"\n'))
    server.get("/json?q=1", headers={"user-agent": 'an "agent"', "referer": "http://from.example/"})
    server.get("/status?code=404")
    assert server.stop() == 0
    lines = (server.folder / "access.log").read_text().splitlines()
    # Front threads write in batches, so their lines may change places.
    lines.sort(key=lambda line: "/json" not in line)
    assert len(lines) == 2, lines
    match form:
        case "json":
            first, second = map(json.loads, lines)
            assert first["status"] == 200 and second["status"] == 404
            assert "GET" in first.values() and "/json?q=1" in first.values()
            assert 'an "agent"' in first.values()
        case "combined":
            assert lines[0].startswith("127.0.0.1 - - [")
            assert '"GET /json?q=1 HTTP/1.1" 200 11 "http://from.example/" "an \\"agent\\""' in lines[0]
        case "text":
            assert "GET" in lines[0] and "/json?q=1" in lines[0] and "200" in lines[0] and "404" in lines[1]


def test_access_log_cannot_be_forged(serve):
    server = serve(NODE_FETCH.config('[access_log]\nformat = "combined"\npath = "access.log"\n'))
    with Wire(server.port) as wire:
        wire.exchange("GET", "/x%0a127.0.0.1", "User-Agent: a\tb\xff\"")
    server.stop()
    text = (server.folder / "access.log").read_text()
    assert text.count("\n") == 1 and "\t" not in text and "\xff" not in text and 'b"' not in text


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_a_page_of_the_front_s_own_is_logged_with_its_id_and_length(serve, version):
    config = NODE_FETCH.config('[access_log]\nformat = "json"\npath = "access.log"\n')
    server = serve('[[route]]\nmatch = "/files/*"\nstatic = "."\n' + config)
    # No such file, a method that files do not take, and a target that is too long.
    requests = [["/files/none"], ["/files/none", "-X", "DELETE"], ["/" + "a" * 20_000]]
    pages = []
    for path, *more in requests:
        command = ["curl", "-sS", version, *more, server.url + path]
        pages.append(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)
    server.stop()
    logged = {}
    for line in (server.folder / "access.log").read_text().splitlines():
        record = json.loads(line)
        logged[record["request_id"]] = record
    for page in pages:
        said = json.loads(page)
        record = logged.pop(said["request_id"])
        assert (record["status"], record["bytes"]) == (said["status"], len(page))
    assert not logged


@pytest.mark.parametrize("accept, kind", [("text/html", "text/html"), ("*/*", "application/problem+json")])
def test_what_is_no_request_gets_the_page_that_its_client_accepts(serve, accept, kind):
    server = serve(NODE_FETCH.config("[limits]\nheader_bytes_max = \"8KiB\"\ntarget_bytes_max = \"2KiB\"\n"))
    for target, field, status in [("/", "X-Bad: \x01", 400), ("/" + "a" * 3000, "X: y", 414), ("/", "X: " + "a" * 9000, 431)]:
        with Wire(server.port) as wire:
            answer = wire.exchange("GET", target, f"Accept: {accept}", field)
        assert (answer.status, answer.get("content-type").split(";")[0]) == (status, kind)


def test_refused_requests_are_logged(serve):
    server = serve(NODE_FETCH.config('[access_log]\nformat = "json"\npath = "access.log"\n'))
    with Wire(server.port) as wire:
        assert wire.exchange("GET", "/", "X-Bad: \x1b[31m").status == 400
    with Wire(server.port) as wire:
        assert wire.exchange("GET", "/" + "a" * 20_000).status == 414
    server.stop()
    lines = (server.folder / "access.log").read_text().splitlines()
    assert sorted(json.loads(line)["status"] for line in lines) == [400, 414]
