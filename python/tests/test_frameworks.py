"""Unmodified frameworks behind the link. Which of them run on which Python, tests/e2e checks at length."""

import sys

import pytest

from fake_front import CANCELLED, DATA, END, RESET, FakeFront, Frame

from conftest import APPS

JSON = (b"content-type", b"application/json")
HOST = (b"Host", b"example.test")


@pytest.fixture
def serve_here(launcher):
    """Starts a worker with the interpreter of these tests, which has the frameworks."""
    fronts = []

    def start(target, **settings):
        fake = FakeFront(sys.executable, launcher, target, APPS, **settings)
        fronts.append(fake)
        fake.ready = fake.start()
        return fake

    yield start
    for fake in fronts:
        fake.__exit__()


ASGI = ["with_starlette:app", "with_fastapi:app", "with_litestar:app", "with_quart:app", "with_django:asgi"]
WSGI = ["with_flask:app", "with_django:wsgi"]


@pytest.fixture(params=ASGI + WSGI)
def app(request, serve_here):
    front = serve_here(request.param)
    assert front.ready["kind"] == ("wsgi" if request.param in WSGI else "asgi")
    return front


def test_json_parameters_and_bodies(app):
    assert app.fetch(target=b"/hello/world?punctuation=!").json() == {"hello": "world!"}
    length = (b"content-length", b"11")
    response = app.fetch(target=b"/sum", method=b"POST", fields=[HOST, JSON, length], body=b'[1, 2, 3.5]')
    assert response.json() == {"sum": 6.5}
    assert app.fetch(target=b"/missing").status == 404


def test_uploads_in_pieces(app):
    fields = [HOST, (b"content-type", b"application/octet-stream"), (b"content-length", b"900000")]
    stream = app.link.open(flags=0, target=b"/upload", method=b"POST", fields=fields)
    sent = 0
    granted = 262_144
    while sent < 900_000:
        n = min(granted, 900_000 - sent)
        app.link.send(Frame(DATA, stream, bytes(n), END if sent + n == 900_000 else 0))
        sent += n
        granted = 0
        while sent < 900_000 and granted == 0:
            frame = app.link.read()
            assert frame is not None and frame.stream == stream
            granted = int.from_bytes(frame.payload, "little")
    assert app.link.collect(stream).json() == {"bytes": 900_000}


def test_streams(app):
    response = app.fetch(target=b"/stream")
    assert response.body == b"".join(b"line %d\n" % number for number in range(50))


def test_errors_are_answered_or_reset(app):
    response = app.fetch(target=b"/raise")
    assert response.status == 500 or "raised on purpose" in response.reset[1]
    assert app.fetch(target=b"/hello/again").json() == {"hello": "again"}


@pytest.fixture(params=["asyncio", "uvloop"])
def fastapi(request, serve_here):
    return serve_here("with_fastapi:app", options={"loop": request.param})


def test_task_groups_context_and_threads(fastapi):
    assert fastapi.fetch(target=b"/group").json() == {
        "results": [0, 1, 4, 9],
        "library": "asyncio",
        "context": "set in the middleware",
        "thread": "set in the middleware",
        "timed_out": True,
    }


def test_background_tasks_run_after_the_response(fastapi):
    assert fastapi.fetch(target=b"/background").body == b'"answered"'
    assert fastapi.fetch(target=b"/background-result").json() == ["done"]


def test_lifespan_state(fastapi):
    assert fastapi.fetch(target=b"/state").json() == {"state": "from the lifespan"}
    assert fastapi.drain() == 0
    assert "lifespan ended" in fastapi.output()


def test_a_client_that_goes_away_cancels_a_stream(fastapi):
    stream = fastapi.link.open(target=b"/endless")
    fastapi.link.collect(stream, until=lambda response: len(response.body) > 100)
    fastapi.link.send(Frame(RESET, stream, b"", aux=CANCELLED))
    assert fastapi.fetch(target=b"/endless-result").json() == ["closed"]
    assert "Traceback" not in fastapi.output()


def test_files_are_named_for_the_front_to_send(fastapi):
    response = fastapi.fetch(target=b"/file")
    assert response.body == bytes(APPS / "with_fastapi.py")
