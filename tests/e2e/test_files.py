"""Files that an ASGI application names and the front sends (`http.response.pathsend`)."""

import os

import pytest

from harness.apps import Kind
from harness.wire import Closed, Wire

NAMED = Kind("files", "files_asgi:app")
STARLETTE = Kind("starlette", "with_starlette:app")
MIB = 1 << 20


@pytest.fixture
def named(shared):
    return shared.of(NAMED)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "caf\u00e9 1.bin"
    path.write_bytes(os.urandom(3 * MIB))
    return path


def ask(server, path, *fields, method="GET", **query):
    words = "&".join(f"{key}={value}" for key, value in {"path": str(path).encode().hex(), **query}.items())
    with Wire(server.port) as wire:
        answer = wire.exchange(method, f"/?{words}", *fields)
        # The connection is in step.
        assert wire.exchange("GET", "/hello").body == b"hello"
        return answer


@pytest.mark.parametrize("length", ["", "1"])
def test_the_front_sends_the_file(named, file, length):
    answer = ask(named, file, length=length)
    assert answer.status == 200
    assert answer.body == file.read_bytes()
    assert (answer.get("content-length") is None) == (not length)
    answer = ask(named, file, method="HEAD", length=length)
    assert (answer.status, answer.body) == (200, b"")


def test_an_empty_file_and_one_that_has_grown(named, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    assert ask(named, empty, length=1).body == b""
    assert ask(named, empty).body == b""
    grown = tmp_path / "grown"
    grown.write_bytes(b"abcdef")
    assert ask(named, grown, says=4).body == b"abcd"


def test_over_http2_and_compressed(named, tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"compress me, please. " * 50_000)
    with named.client(http2=True, http1=False) as client:
        answer = client.get("/", params={"path": str(text).encode().hex(), "length": 1}, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.num_bytes_downloaded < 100_000
    assert answer.content == text.read_bytes()


@pytest.mark.parametrize("name", ["none", "folder", "fifo", "short"])
def test_what_cannot_be_sent_is_a_500(named, tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "short").write_bytes(b"abc")
    mark, pid = named.mark(), named.get("/pid").text
    assert ask(named, tmp_path / name, says=4).status == 500
    named.wait_for(rf"{name} cannot be sent: ", since=mark)
    assert named.get("/pid").text == pid


def test_a_file_that_shrinks_cuts_the_response(named, tmp_path):
    path = tmp_path / "shrinking"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    with Wire(named.port) as wire:
        wire.request("GET", f"/?path={str(path).encode().hex()}&length=1").head()
        os.truncate(path, MIB)
        with pytest.raises((Closed, ConnectionResetError)):
            wire.exactly(64 * MIB)


def test_a_slow_client_leaves_the_front_s_memory_flat(named, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
    before = named.memory()
    with Wire(named.port) as wire:
        wire.request("GET", f"/?path={str(path).encode().hex()}&length=1").head()
        left, most = 256 * MIB, 0
        while left:
            left -= len(wire.exactly(min(left, 4 * MIB)))
            most = max(most, named.memory())
    assert most - before < 8 * MIB


def test_starlette_answers_with_files(shared):
    server = shared.of(STARLETTE)
    whole = server.get("/file", headers={"accept-encoding": "identity"})
    assert whole.status_code == 200
    assert b"Starlette(" in whole.content and int(whole.headers["content-length"]) == len(whole.content)
    part = server.get("/file", headers={"range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert server.get("/pathsend").text == "True"
