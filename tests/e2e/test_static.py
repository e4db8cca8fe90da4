"""Files served by the front (RFC 9110 §8.8, §13, §14), and what must never be served."""

import gzip
import os
import re
import subprocess

import pytest

from harness.server import Server, eventually
from harness.wire import Wire

CONFIG = """
[[route]]
match = "/assets/*"
static = "public"
cache_control = "public, max-age=60"

[[route]]
match = "/app/*"
static = "single"
fallback = "index.html"

[[route]]
match = "/*"
static = "site"
"""

STYLE = b"body { color: teal }\n" * 200


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static")
    (folder / "secret.txt").write_text("secret")
    public = folder / "public"
    (public / "deep").mkdir(parents=True)
    (public / "style.css").write_bytes(STYLE)
    (public / "style.css.gz").write_bytes(gzip.compress(STYLE))
    (public / "style.css.br").write_bytes(b"pretend brotli")
    (public / "plain.css").write_bytes(STYLE)
    (public / "plain.txt").write_text("0123456789")
    (public / "empty.txt").write_text("")
    (public / "big.bin").write_bytes(os.urandom(3_000_000))
    (public / "with space é.txt").write_text("space")
    (public / ".hidden").write_text("hidden")
    (public / "deep" / "index.html").write_text("<p>deep</p>")
    (public / "inside.txt").symlink_to("plain.txt")
    (public / "outside.txt").symlink_to("../secret.txt")
    (public / "outside").symlink_to("..")
    os.mkfifo(public / "pipe")
    (folder / "single").mkdir()
    (folder / "single" / "index.html").write_text("<p>single page</p>")
    (folder / "site").mkdir()
    (folder / "site" / "index.html").write_text("<p>site</p>")
    with Server(folder, CONFIG) as server:
        yield server


def check_file(server, path: str, *fields: str, method: str = "GET", status: int = 200, body: bytes | None = None):
    """The doorway: one request, its status and body."""
    with Wire(server.port) as wire:
        answer = wire.exchange(method, path, *fields)
    assert answer.status == status, answer
    if body is not None:
        assert answer.body == body
    return answer


def test_file_and_its_fields(files):
    answer = check_file(files, "/assets/plain.txt", body=b"0123456789")
    assert answer.get("content-type").lower() == "text/plain; charset=utf-8"
    assert answer.get("cache-control") == "public, max-age=60"
    assert answer.get("accept-ranges") == "bytes"
    assert answer.get("content-length") == "10"
    assert re.fullmatch(r'"[^"]+"', answer.get("etag"))
    assert answer.get("last-modified").endswith("GMT")


@pytest.mark.parametrize(
    ("name", "kind"), [("style.css", "text/css"), ("big.bin", "application/octet-stream"), ("deep/", "text/html")]
)
def test_content_types(files, name, kind):
    assert check_file(files, f"/assets/{name}").get("content-type").startswith(kind)


def test_names_are_percent_decoded_once(files):
    check_file(files, "/assets/with%20space%20%C3%A9.txt", body=b"space")
    check_file(files, "/assets/with%2520space%2520%25C3%25A9.txt", status=404)


def test_empty_file(files):
    assert check_file(files, "/assets/empty.txt", body=b"").get("content-length") == "0"


def test_large_file_and_head(files):
    content = (files.folder / "public" / "big.bin").read_bytes()
    check_file(files, "/assets/big.bin", body=content)
    answer = check_file(files, "/assets/big.bin", method="HEAD")
    assert answer.get("content-length") == "3000000"


def test_index_and_missing_slash(files):
    check_file(files, "/", body=b"<p>site</p>")
    check_file(files, "/assets/deep/", body=b"<p>deep</p>")
    with Wire(files.port) as wire:
        answer = wire.exchange("GET", "/assets/deep?x=1")
    assert answer.status in (301, 302, 307, 308)
    assert answer.get("location") == "/assets/deep/?x=1"


def test_single_page_fallback(files):
    check_file(files, "/app/some/route", body=b"<p>single page</p>")
    check_file(files, "/app/", body=b"<p>single page</p>")
    check_file(files, "/assets/absent.txt", status=404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods(files, method):
    answer = check_file(files, "/assets/plain.txt", method=method, status=405)
    assert {"GET", "HEAD"} <= set(re.split(r",\s*", answer.get("allow")))


def test_conditional_requests(files):
    answer = check_file(files, "/assets/plain.txt")
    etag, date = answer.get("etag"), answer.get("last-modified")
    for field in (f"If-None-Match: {etag}", f'If-None-Match: "x", W/{etag}', "If-None-Match: *", f"If-Modified-Since: {date}"):
        unchanged = check_file(files, "/assets/plain.txt", field, status=304, body=b"")
        assert unchanged.get("etag") == etag
    check_file(files, "/assets/plain.txt", 'If-None-Match: "other"')
    # If-None-Match decides when both are there (RFC 9110 §13.2.2).
    check_file(files, "/assets/plain.txt", 'If-None-Match: "other"', f"If-Modified-Since: {date}")
    check_file(files, "/assets/plain.txt", 'If-Match: "other"', status=412)
    check_file(files, "/assets/plain.txt", f"If-Match: {etag}")
    check_file(files, "/assets/plain.txt", "If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT", status=412)


@pytest.mark.parametrize(
    ("spec", "body", "content_range"),
    [
        ("0-3", b"0123", "bytes 0-3/10"),
        ("7-", b"789", "bytes 7-9/10"),
        ("-2", b"89", "bytes 8-9/10"),
        ("5-100", b"56789", "bytes 5-9/10"),
        ("-100", b"0123456789", "bytes 0-9/10"),
        ("9-9", b"9", "bytes 9-9/10"),
    ],
)
def test_range(files, spec, body, content_range):
    answer = check_file(files, "/assets/plain.txt", f"Range: bytes={spec}", status=206, body=body)
    assert answer.get("content-range") == content_range


@pytest.mark.parametrize("spec", ["10-", "100-200", "-0"])
def test_range_not_satisfiable(files, spec):
    answer = check_file(files, "/assets/plain.txt", f"Range: bytes={spec}", status=416)
    assert answer.get("content-range") == "bytes */10"


@pytest.mark.parametrize("spec", ["bytes=a-b", "bytes=5-2", "lines=0-3", "bytes 0-3", "bytes="])
def test_range_that_means_nothing_is_ignored(files, spec):
    check_file(files, "/assets/plain.txt", f"Range: {spec}", status=200, body=b"0123456789")


def test_several_ranges(files):
    answer = check_file(files, "/assets/plain.txt", "Range: bytes=0-1,4-5,-1", status=206)
    kind, _, boundary = answer.get("content-type").partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.body.split(b"--" + boundary.strip('"').encode())
    assert [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]] == [b"01", b"45", b"9"]
    assert int(answer.get("content-length")) == len(answer.body)


def test_very_many_ranges_cost_nothing(files):
    ranges = ",".join(f"{n}-{n}" for n in range(10)) + "," + ",".join("0-" for _ in range(500))
    with Wire(files.port) as wire:
        answer = wire.exchange("GET", "/assets/plain.txt", f"Range: bytes={ranges}")
    # Refused, ignored or answered within reason: each is allowed (RFC 9110 §14.2).
    assert answer.status in (200, 206, 416)
    assert len(answer.body) <= 10_000


def test_if_range(files):
    etag = check_file(files, "/assets/plain.txt").get("etag")
    check_file(files, "/assets/plain.txt", "Range: bytes=0-1", f"If-Range: {etag}", status=206, body=b"01")
    check_file(files, "/assets/plain.txt", "Range: bytes=0-1", 'If-Range: "old"', status=200, body=b"0123456789")


def test_precompressed(files):
    answer = check_file(files, "/assets/style.css", "Accept-Encoding: gzip")
    assert answer.get("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == STYLE
    assert answer.get("content-type").startswith("text/css")
    assert "accept-encoding" in answer.get("vary").lower()
    brotli = check_file(files, "/assets/style.css", "Accept-Encoding: br, gzip", body=b"pretend brotli")
    assert brotli.get("content-encoding") == "br"
    plain = check_file(files, "/assets/style.css", "Accept-Encoding: br;q=0, gzip;q=0", body=STYLE)
    assert plain.get("content-encoding") is None
    assert len({answer.get("etag"), brotli.get("etag"), plain.get("etag")}) == 3


def test_compressed_on_the_fly(files):
    plain = check_file(files, "/assets/plain.css", body=STYLE)
    assert plain.get("content-encoding") is None and plain.get("vary") == "accept-encoding"
    packed = check_file(files, "/assets/plain.css", "Accept-Encoding: gzip")
    assert packed.get("content-encoding") == "gzip" and packed.get("vary") == "accept-encoding"
    assert gzip.decompress(packed.body) == STYLE
    assert packed.get("etag") == "W/" + plain.get("etag")
    assert packed.get("content-length") == str(len(packed.body))
    head = check_file(files, "/assets/plain.css", "Accept-Encoding: gzip", method="HEAD", body=b"")
    fields = [[field for field in answer.fields if field[0].lower() != "date"] for answer in (head, packed)]
    assert fields[0] == fields[1]
    part = check_file(files, "/assets/plain.css", "Accept-Encoding: gzip", "Range: bytes=0-3", status=206, body=STYLE[:4])
    assert part.get("content-encoding") is None
    check_file(files, "/assets/plain.css", "Accept-Encoding: gzip", f"If-None-Match: {packed.get('etag')}", status=304, body=b"")
    small = check_file(files, "/assets/plain.txt", "Accept-Encoding: gzip", body=b"0123456789")
    assert small.get("content-encoding") is None
    fetched = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "--compressed", files.url + "/assets/plain.css"], capture_output=True, check=True
    )
    assert fetched.stdout == STYLE


def test_a_changed_file_is_served_anew(files):
    path = files.folder / "public" / "changing.txt"
    path.write_text("before")
    first = check_file(files, "/assets/changing.txt", body=b"before")
    path.write_text("afterwards")
    def changed():
        with Wire(files.port) as wire:
            answer = wire.exchange("GET", "/assets/changing.txt")
        return answer.body == b"afterwards" and answer.get("etag") != first.get("etag")

    eventually(changed, 10)


FORBIDDEN = [
    "/assets/../secret.txt",
    "/assets/%2e%2e/secret.txt",
    "/assets/..%2fsecret.txt",
    "/assets/%2e%2e%2fsecret.txt",
    "/assets/..%5csecret.txt",
    "/assets/..\\secret.txt",
    "/assets/deep/../../secret.txt",
    "/assets//../secret.txt",
    "/assets/%252e%252e/secret.txt",
    "/assets/outside.txt",
    "/assets/outside/secret.txt",
    "/assets/.hidden",
    "/assets/plain.txt%00.css",
    "/assets/plain.txt/",
    "/assets/plain.txt/x",
    "/assets/pipe",
    "/../secret.txt",
    "//etc/passwd",
    "/assets//etc/passwd",
    "/assets/%2fetc/passwd",
    "/bireme.toml",
]


@pytest.mark.parametrize("path", FORBIDDEN)
def test_nothing_outside_of_the_root(files, path):
    with Wire(files.port, timeout=10) as wire:
        answer = wire.exchange("GET", path)
    assert answer.status in (400, 403, 404), answer
    assert b"secret" not in answer.body.replace(b"secret.txt", b"")
    assert b"root:" not in answer.body and b"hidden" not in answer.body.replace(b".hidden", b"")


def test_symlink_inside_of_the_root(files):
    check_file(files, "/assets/inside.txt", body=b"0123456789")


def test_http2_serves_the_same(files):
    command = ["curl", "-sS", "--http2-prior-knowledge", "-r", "2-4", f"{files.url}/assets/plain.txt"]
    assert subprocess.run(command, capture_output=True, timeout=30).stdout == b"234"


def test_static_needs_no_service(files):
    assert files.workers() == []
