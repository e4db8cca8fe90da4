"""Unmodified frameworks, each through the same questions (issue 2, Serving)."""

import asyncio
import hashlib
import os
import re
import signal

import httpx
import pytest
import websockets.sync.client

from harness.apps import ASGI, FRAMEWORKS, NODE, PYTHON, VENV, Kind, other_venvs, section
from harness.server import Server, eventually
from harness.wire import Wire

NEXT = Kind("next", "node_modules/next/dist/bin/next")


@pytest.fixture(params=FRAMEWORKS, ids=lambda kind: kind.name)
def framework(request, shared) -> tuple[Server, Kind]:
    """Every framework's application in turn, running."""
    return shared.of(request.param), request.param


def test_text(framework):
    server, _ = framework
    answer = server.get("/")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert answer.headers["content-type"].startswith("text/plain")


def test_json_both_ways(framework):
    server, _ = framework
    assert server.get("/json").json() == {"ok": True}
    with server.client() as client:
        assert client.post("/json", json={"name": "café", "n": [1, 2]}).json() == {"got": {"name": "café", "n": [1, 2]}}


def test_routing_and_query(framework):
    server, _ = framework
    assert server.get("/items/a%20b?x=1&y=%C3%A9").json() == {"id": "a b", "query": {"x": "1", "y": "é"}}


def test_streamed_echo(framework):
    server, kind = framework
    body = os.urandom(700_000)
    with server.client() as client:
        headers = {"content-type": "application/octet-stream"}
        assert client.post("/echo", content=body, headers=headers).content == body
        if kind.name == "django-wsgi":
            # Django's WSGI side reads Content-Length bytes and no more, behind every server.
            return
        parts = iter([body[:1000], body[1000:300_000], body[300_000:]])
        assert client.post("/echo", content=parts, headers=headers).content == body


def test_redirect(framework):
    server, _ = framework
    answer = server.get("/redirect")
    assert (answer.status_code, answer.headers["location"]) == (302, "/json")


def test_exception(framework):
    server, _ = framework
    assert server.get("/boom").status_code == 500
    assert server.get("/json").json() == {"ok": True}


def test_unknown_path(framework):
    server, _ = framework
    assert server.get("/absent").status_code == 404


def test_head(framework):
    server, kind = framework
    with server.client() as client:
        answer = client.head("/json")
        assert answer.content == b""
        # FastAPI, Starlette's functions apart, and Litestar answer 405 to HEAD, on their own servers too.
        assert answer.status_code in ((200, 405) if kind.name in ("fastapi", "litestar") else (200,))


def test_many_at_once(framework):
    server, _ = framework

    async def load():
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
            answers = await asyncio.gather(*(client.get(f"/items/{n}?n={n}") for n in range(200)))
        return [answer.json() for answer in answers]

    assert asyncio.run(load()) == [{"id": str(n), "query": {"n": str(n)}} for n in range(200)]


def test_next_production_build(serve):
    service = section(
        "[service.app]",
        {"node": str(NODE / NEXT.target), "args": ["start"], "cwd": str(NODE / "next"), "workers": 1},
    )
    server = serve(f'{service}\n[[route]]\nmatch = "/*"\nto = "app"\n')
    page = server.get("/")
    assert page.status_code == 200
    assert "hello from next on" in page.text.replace("<!-- -->", "")
    assert server.get("/api").json() == {"ok": True}
    with server.client() as client:
        assert client.post("/api", json={"a": 1}).json() == {"got": {"a": 1}}
    # A page whose first part is there before the application has the rest.
    with Wire(server.port, timeout=60) as wire:
        assert wire.request("GET", "/stream").head().status == 200
        text = b""
        while b"the first part" not in text:
            text += wire.chunk()
        assert b"the late part" not in text
        eventually(lambda: server.get("/api/release").json()["released"])
        while chunk := wire.chunk():
            text += chunk
        assert b"the late part" in text


def test_express_sends_files_with_ranges(shared):
    server = shared.of(next(kind for kind in FRAMEWORKS if kind.name == "express5"))
    text = (NODE / "express.js").read_bytes()
    assert server.get("/file").content == text
    answer = server.get("/file", headers={"range": "bytes=5-9"})
    assert (answer.status_code, answer.content) == (206, text[5:10])


def test_fastify_runs_its_close_hooks(serve):
    """What a program does on SIGTERM under `node`, it does when Bireme stops it."""
    server = serve(next(kind for kind in FRAMEWORKS if kind.name == "fastify5").config()).ready()
    assert server.stop() == 0
    assert "fastify closed" in server.log


def test_fastapi_background_tasks_and_task_groups(shared):
    server = shared.of(next(kind for kind in FRAMEWORKS if kind.name == "fastapi"))
    assert server.get("/group").json() == [0, 1, 2]
    first = server.get("/background").json()["done"]
    assert server.get("/background").json()["done"] == first + 1


def test_starlette_streams_and_works_in_the_background(shared):
    server = shared.of(Kind("starlette", "with_starlette:app"))
    assert server.get("/stream?n=1000").text == "".join(f"{number}\n" for number in range(1000))
    first = server.get("/background").json()["done"]
    assert server.get("/background").json()["done"] == first + 1


def test_flask_streams_with_its_request_s_context(shared):
    server = shared.of(Kind("flask", "with_flask:app"))
    assert server.get("/context?n=1000").text == "".join(f"/context {number}\n" for number in range(1000))


def test_quart_serves_websockets(shared):
    server = shared.of(Kind("quart", "with_quart:app"))
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}/socket") as socket:
        for message in ("text", b"bytes"):
            socket.send(message)
            assert socket.recv(10) == message


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_django_s_admin_static_files_and_uploads(serve, tmp_path, interface):
    kind = Kind("site", f"django_site:{interface}")
    server = serve(kind.config(env={"SITE_DATABASE": str(tmp_path / "site.sqlite3")}))
    with server.client(follow_redirects=True) as client:
        login = client.get("/admin/")
        assert login.url.path == "/admin/login/"
        form = {"username": "ada", "password": "lovelace", "next": "/admin/"}
        assert client.post("/admin/login/", data=form).status_code == 403, "it was believed without its token"
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', login.text)[1]
        page = client.post("/admin/login/", data=form | {"csrfmiddlewaretoken": token})
        assert (page.status_code, page.url.path) == (200, "/admin/")
        assert "Site administration" in page.text
        style = re.search(r'href="(/static/admin/css/base[^"]*)"', page.text)[1]
        assert client.get(style).headers["content-type"].startswith("text/css")
        # More than Django keeps in memory, so that it goes through a file.
        content = os.urandom(5_000_000)
        said = client.post("/upload", data={"note": "caf\u00e9"}, files={"file": ("a.bin", content)}).json()
    assert said == {"name": "a.bin", "note": "caf\u00e9", "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_asgi_s_surroundings_are_true(serve, loop):
    """`asyncio.current_task()`, a context of its own for each request, sniffio, lifespan state."""
    server = serve(ASGI.config(event_loop=loop)).ready()
    with server.client() as client:
        for _ in range(3):
            assert client.get("/truths").json() == {
                "task": True, "context": True, "library": "asyncio", "state": "yes", "loop": loop,
            }
    assert server.stop() == 0
    assert "goodbye" in server.log, "lifespan.shutdown did not reach the application"


@pytest.mark.parametrize("target", ["with_flask:create_app()", "with_flask:create_app", "with_flask"])
def test_factories_and_default_attributes(serve, target):
    keys = {"python": target, "cwd": str(PYTHON), "interpreter": str(VENV), "workers": 1}
    if target.endswith("create_app"):
        keys["factory"] = True
    server = serve(section("[service.app]", keys) + '[[route]]\nmatch = "/*"\nto = "app"\n')
    assert server.get("/json").json() == {"ok": True}


@pytest.mark.parametrize("major", ["22", "24", "26"])
@pytest.mark.parametrize("kind", ["http.js", "fetch.mjs", "express.js", "fastify.js"])
def test_other_nodes(serve, major, kind):
    interpreter = str(NODE / f"node_modules/node{major}/bin/node")
    server = serve(Kind("node", kind).config(interpreter=interpreter))
    assert server.get("/json").json() == {"ok": True}
    with server.client() as client:
        headers = {"content-type": "application/octet-stream"}
        assert client.post("/echo", content=b"x" * 100_000, headers=headers).content == b"x" * 100_000
    server.wait_for(rf"\bv?{major}\.\d+")


def test_typescript_where_node_runs_it(serve):
    interpreter = str(NODE / "node_modules/node24/bin/node")
    server = serve(Kind("node", "typed.ts").config(interpreter=interpreter))
    assert server.get("/a?b").json() == {"typed": True, "path": "/a?b"}


@pytest.mark.parametrize("version", other_venvs() or [pytest.param("none", marks=pytest.mark.skip("no other CPython"))])
@pytest.mark.parametrize("target", ["contract_asgi:app", "contract_wsgi:app", "with_fastapi:app", "with_django:asgi"])
def test_other_pythons(serve, version, target):
    server = serve(Kind("python", target).config(interpreter=str(other_venvs()[version])))
    assert server.get("/json").json() == {"ok": True}
    with server.client() as client:
        assert client.post("/echo", content=b"x" * 100_000).content == b"x" * 100_000
    server.wait_for(rf"\b{version}\.\d+")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
