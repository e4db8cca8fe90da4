"""Every promise about workers: they die, hang, leak, break the protocol and are replaced; nothing is lost
(issue 2, Workers)."""

import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import pytest

from harness.apps import ASGI, CORE, NODE_FETCH, NODE_HTTP, VENV, WSGI, section
from harness.server import BIREME, Server, eventually, is_alive
from harness.wire import Closed, Wire


class Load:
    """Keep-alive clients that ask without pause and count what they get. Use it as a context manager."""

    def __init__(self, server: Server, request: bytes, clients: int = 8) -> None:
        self.port, self.request = server.port, request
        self.answers: Counter = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _ask(self) -> None:
        wire = Wire(self.port)
        while not self._stop.is_set():
            try:
                answer = wire.send(self.request).answer()
            except (Closed, OSError) as error:
                with self._lock:
                    self.failures.append(f"{type(error).__name__}: {error}")
                wire = Wire(self.port)
                continue
            with self._lock:
                self.answers[answer.status] += 1
                if answer.status != 200:
                    self.failures.append(f"{answer.status}: {answer.body[:200]!r}")
            if (answer.get("connection") or "").lower() == "close":
                wire = Wire(self.port)

    def check(self, least: int) -> None:
        """No request has failed, and there were enough for that to mean something."""
        assert not self.failures, f"{len(self.failures)} failed of {sum(self.answers.values())}: {self.failures[:5]}"
        assert self.answers[200] >= least, self.answers


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [NODE_HTTP, ASGI, WSGI], ids=lambda kind: kind.name)
def test_no_get_fails_while_workers_are_killed(serve, kind, request):
    """A random worker gets SIGKILL every second; the whole minute of the issue is --kill-seconds=60."""
    seconds = request.config.getoption("--kill-seconds")
    server = serve(kind.config(workers=2, restart_delay_min="50ms")).ready()
    eventually(lambda: len(server.workers()) == 2)
    chance = random.Random(7)
    killed = 0
    with Load(server, GET) as load:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            workers = server.workers()
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed += 1
            # The pace of the killing, which the issue gives.
            time.sleep(1)
    load.check(least=500)
    assert killed >= seconds * 0.8


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.name)
def test_a_killed_worker_is_replaced(serve, kind):
    server = serve(kind.config()).ready()
    (old,) = server.workers()
    mark = server.mark()
    os.kill(old, signal.SIGKILL)
    assert server.get("/pid").text != str(old), "the request did not wait for the new worker"
    server.wait_for(r"app#.*(SIGKILL|signal 9|killed)", since=mark)


@pytest.mark.parametrize("kind", [NODE_HTTP, ASGI], ids=lambda kind: kind.name)
def test_idempotent_request_in_flight_is_sent_again(serve, kind):
    server = serve(kind.config(workers=2)).ready()
    eventually(lambda: len(server.workers()) == 2)
    with Wire(server.port) as wire:
        wire.request("GET", "/wait?ms=1000")
        busy = busy_worker(server)
        os.kill(busy, signal.SIGKILL)
        answer = wire.answer()
    assert (answer.status, answer.body) == (200, b"waited")


@pytest.mark.parametrize("kind", [NODE_HTTP, ASGI], ids=lambda kind: kind.name)
def test_other_request_in_flight_gets_a_502_at_once(serve, kind):
    server = serve(kind.config()).ready()
    with Wire(server.port) as wire:
        wire.request("POST", "/wait?ms=30000", "Accept: application/json", "Content-Length: 0")
        eventually(lambda: server.get("/held").text == "1")
        begin = time.monotonic()
        os.kill(server.workers()[0], signal.SIGKILL)
        answer = wire.answer()
    assert answer.status == 502
    assert time.monotonic() - begin < 5
    server.wait_for(r"(?i)POST.*|app#1.*")


def busy_worker(server: Server) -> int:
    """The worker that holds the one request which waits."""
    if len(server.workers()) == 1:
        return server.workers()[0]

    def holder() -> int | None:
        # Least-loaded choice sends further requests to the idle worker first, so ask several at once.
        with server.client() as client:
            for _ in range(4):
                if client.get("/held").text == "0":
                    idle = int(client.get("/pid").text)
                    others = [pid for pid in server.workers() if pid != idle]
                    return others[0] if others else None
        return None

    return eventually(holder)


def test_response_that_has_begun_is_cut_and_not_sent_again(serve):
    server = serve(NODE_HTTP.config()).ready()
    with Wire(server.port) as wire, pytest.raises((Closed, ConnectionError)):
        wire.request("GET", "/stream?key=begun").head()
        assert wire.chunk() == b"data: first\n\n"
        os.kill(server.workers()[0], signal.SIGKILL)
        wire.chunk()
    assert server.get("/").text == "hello"


def test_a_request_that_kills_workers_does_not_kill_them_all(serve):
    """At most twice again: three workers see it, then it gets an error."""
    server = serve(NODE_HTTP.config(workers=1, restart_delay_min="10ms")).ready()
    mark = server.mark()
    with server.client() as client:
        answer = client.get("/exit")
    assert answer.status_code in (502, 503)
    assert server.get("/").text == "hello"
    deaths = len(re.findall(r"app#\S*.*(?:status|code|exit)\D*7", "\n".join(server.lines[mark:])))
    assert deaths <= 3


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.name)
def test_no_request_of_any_method_fails_in_a_reload(serve, kind):
    server = serve(kind.config(workers=2)).ready()
    eventually(lambda: len(server.workers()) == 2)
    with Load(server, POST, clients=6) as load:
        for _ in range(3):
            before = set(server.workers())
            server.signal(signal.SIGHUP)
            eventually(lambda: not before & set(server.workers()), 40, "the old workers are gone")
            eventually(lambda: len(server.workers()) == 2, 40, "two new workers")
    load.check(least=200)


def test_reload_reads_the_configuration_again(serve):
    server = serve(NODE_HTTP.config(env={"GREETING": "one"})).ready()
    old = server.workers()
    (server.folder / "bireme.toml").write_text(
        ASGI.config().replace("[[route]]", '[[route]]\nmatch = "/new"\nrespond = "new"\n\n[[route]]', 1)
    )
    server.signal(signal.SIGHUP)
    eventually(lambda: server.get("/new").text == "new")
    eventually(lambda: not set(old) & set(server.workers()))
    assert server.get("/truths").status_code == 200, "the new application is not the one that answers"


def test_reload_with_a_broken_file_changes_nothing(serve):
    server = serve(NODE_HTTP.config()).ready()
    before, mark = server.workers(), server.mark()
    (server.folder / "bireme.toml").write_text("nonsense = [")
    server.signal(signal.SIGHUP)
    server.wait_for(r"bireme\.toml:1", since=mark)
    assert server.get("/").text == "hello"
    assert server.workers() == before


def test_reload_whose_workers_fail_keeps_the_old_ones(serve):
    server = serve(NODE_HTTP.config()).ready()
    before, mark = server.workers(), server.mark()
    broken = server.folder / "broken.js"
    broken.write_text("throw new Error('broken on purpose')")
    (server.folder / "bireme.toml").write_text(
        section("[service.app]", {"node": "broken.js", "workers": 1}) + '[[route]]\nmatch = "/*"\nto = "app"\n'
    )
    server.signal(signal.SIGHUP)
    server.wait_for("broken on purpose", since=mark)
    assert server.get("/").text == "hello"
    assert server.workers() == before


def test_reload_command(serve):
    server = serve(NODE_HTTP.config()).ready()
    before = server.workers()
    done = subprocess.run([BIREME, "reload", "--config", "bireme.toml"], cwd=server.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    eventually(lambda: not set(before) & set(server.workers()))
    assert server.get("/").text == "hello"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.name)
def test_stop_waits_for_what_is_in_flight(serve, kind, number):
    server = serve(kind.config()).ready()
    workers = server.workers()
    with Wire(server.port) as wire:
        wire.request("GET", "/wait?ms=800")
        eventually(lambda: server.get("/held").text == "1")
        server.signal(number)
        answer = wire.answer()
        assert (answer.status, answer.body) == (200, b"waited")
    assert server.wait() == 0
    assert not [pid for pid in workers if is_alive(pid)]
    if kind in (NODE_HTTP, ASGI):
        assert "goodbye" in server.log, "the application was not shut down in order"


def test_stop_has_a_deadline(serve):
    server = serve(ASGI.config('[timeouts]\ndrain = "500ms"\n', stop_timeout="1s")).ready()
    with Wire(server.port) as wire:
        wire.request("GET", "/never")
        eventually(lambda: busy(server))
        begin = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait(20)
    assert time.monotonic() - begin < 10
    assert server.workers() == []


def busy(server: Server) -> bool:
    """Whether the request above has arrived: it came on an older connection than this one."""
    return server.get("/").text == "hello"


def test_stop_accepts_no_new_connections(serve):
    server = serve(ASGI.config()).ready()
    port = server.port
    with Wire(port) as wire:
        wire.request("GET", "/wait?ms=1500")
        eventually(lambda: server.get("/held").text == "1")
        server.signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                with Wire(port) as late:
                    late.exchange("GET", "/")
                return False
            except (Closed, OSError):
                return True

        eventually(refused, 5)
        assert wire.answer().body == b"waited"
    assert server.wait() == 0


def test_second_interrupt_quits_at_once(serve):
    server = serve(ASGI.config()).ready()
    with Wire(server.port) as wire:
        wire.request("GET", "/wait?ms=60000")
        eventually(lambda: server.get("/held").text == "1")
        mark = server.mark()
        server.signal(signal.SIGINT)
        server.wait_for(".", since=mark)
        server.signal(signal.SIGINT)
        server.wait(5)
    eventually(lambda: not server.workers())


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.name)
def test_workers_do_not_outlive_a_killed_front(serve, kind):
    server = serve(kind.config(workers=2)).ready()
    workers = eventually(lambda: len(server.workers()) == 2 and server.workers())
    server.process.kill()
    server.process.wait()
    eventually(lambda: not any(map(is_alive, workers)), 10, "the workers are gone")


def test_a_busy_worker_does_not_outlive_a_killed_front(serve, tmp_path):
    (tmp_path / "busy.js").write_text(
        "require('http').createServer((q, r) => { if (q.url === '/busy') for (;;); r.end('idle'); }).listen(1)"
    )
    server = serve(None, "./busy.js", "--workers", "1", folder=tmp_path).ready()
    (worker,) = server.workers()
    with Wire(server.port) as wire:
        wire.request("POST", "/busy", "Content-Length: 0")
        server.process.kill()
        server.process.wait()
    eventually(lambda: not is_alive(worker), 10, "the busy worker is gone")


def test_recycling_by_requests(serve):
    """Each worker answers about twenty; the next one is ready before it goes, so no request fails."""
    server = serve(ASGI.config(workers=1, recycle_requests=20)).ready()
    seen: Counter = Counter()
    with server.client() as client:

        def third_worker() -> bool:
            answer = client.get("/pid")
            assert answer.status_code == 200
            seen[answer.text] += 1
            return len(seen) >= 3

        eventually(third_worker)
    assert all(count >= 20 for count in list(seen.values())[:2]), seen


def test_recycling_by_memory(serve):
    server = serve(ASGI.config(workers=1, recycle_memory="200MiB")).ready()
    before = server.get("/pid").text
    assert server.get("/grow?mib=300").text == "grown"
    eventually(lambda: server.get("/pid").text != before, 40)


def test_a_hanging_worker_is_replaced(serve, tmp_path):
    (tmp_path / "hang.js").write_text(
        "require('http').createServer((q, r) => { if (q.url === '/hang') for (;;); r.end(String(process.pid)); }).listen(1)"
    )
    keys = {"node": str(tmp_path / "hang.js"), "workers": 1, "hang_timeout": "1s"}
    server = serve(section("[service.app]", keys) + '[[route]]\nmatch = "/*"\nto = "app"\n')
    before = server.get("/").text
    with Wire(server.port) as wire:
        wire.request("POST", "/hang", "Content-Length: 0")
        assert wire.answer().status in (502, 504)
    assert server.get("/").text != before


# Start


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken.js", "throw new Error('no database today')", "no database today"),
        ("broken.mjs", "import 'absent-package'; export default {}", "absent-package"),
        ("silent.js", "// neither exports nor listens", "listen|export"),
        ("broken.py", "raise RuntimeError('no database today')", "no database today"),
        ("nothing.py", "x = 1", "app"),
        ("lifespan.py", "async def app(s, r, send):\n await r()\n await send({'type': 'lifespan.startup.failed', 'message': 'no database today'})\n", "no database today"),
        ("syntax.py", "def app(:", "SyntaxError"),
    ],
)
def test_a_failing_start_shows_its_own_error(serve, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    target = f"./{name}" if "js" in name else f"{name.removesuffix('.py')}:app"
    server = serve(None, target, "--workers", "1", folder=tmp_path, env={"VIRTUAL_ENV": str(VENV)})
    assert server.wait(30) != 0
    assert re.search(said, server.log), server.log
    if text.startswith(("raise", "throw")):
        assert f"{name}:1" in server.log or f'{name}", line 1' in server.log, "the application's stack is not shown"


def test_a_slow_start_is_waited_for(serve, tmp_path):
    (tmp_path / "slow.js").write_text(
        "setTimeout(() => require('http').createServer((q, r) => r.end('up')).listen(3000), 1500)"
    )
    server = serve(None, "./slow.js", "--workers", "1", folder=tmp_path)
    assert server.get("/").text == "up"


def test_a_start_beyond_its_deadline_fails(serve, tmp_path):
    (tmp_path / "never.js").write_text("setInterval(() => {}, 1000)")
    keys = {"node": "never.js", "workers": 1, "start_timeout": "1s"}
    config = section("[service.app]", keys) + '[[route]]\nmatch = "/*"\nto = "app"\n'
    server = serve(config, folder=tmp_path)
    assert server.wait(20) != 0
    assert re.search(r"start_timeout|ready", server.log), server.log


# What workers print


PRINTER = """
import os

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    os.write(1, b"half a line")
    os.write(2, b"\\xff\\x00binary\\r\\n" + b"y" * 300_000 + b"end of the long one\\n")
    # What another program would take for the server's own news.
    os.write(1, b", and its rest\\nready on http://127.0.0.1:1 after 1 ms\\n")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"printed"})
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_a_worker_prints_disturbs_anything(serve, tmp_path, form):
    (tmp_path / "printer.py").write_text(PRINTER)
    server = serve(None, "printer:app", "--workers", "1", "--log-format", form, folder=tmp_path, env={"VIRTUAL_ENV": str(VENV)})
    ready = r'ready on (?:[^"]*)http://127\.0\.0\.1:(\d+)'
    port = int(server.wait_for(ready)[1])
    mark = server.mark()
    for _ in range(3):
        with Wire(port) as wire:
            assert wire.exchange("GET", "/").body == b"printed"
    for said in ("half a line, and its rest", "binary", "y{1000}", "end of the long one", r"ready on http://127\.0\.0\.1:1 "):
        line = server.wait_for(said, since=mark).string
        assert "printer#1" in line, line
        assert len(line) < 64 * 1024
        if form == "json":
            json.loads(line)


# A worker that lies

LIAR = """
import json, os, socket, struct, sys

def frame(kind, payload=b"", stream=0, flags=0, aux=0):
    return struct.pack("<IIBBH", len(payload), stream, kind, flags, aux) + payload

def connect(link):
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["BIREME_LINK"])
    hello = {"token": os.environ["BIREME_TOKEN"], "link": link, "pid": os.getpid(), "language": "node", "version": "20.0.0"}
    s.sendall(frame(1, json.dumps(hello).encode(), aux=1))
    return s

control = connect("control")
links = [connect(n) for n in range(int(os.environ["BIREME_LINKS"]))]
control.sendall(frame(2, json.dumps({"kind": "http", "notes": []}).encode()))

import select
FINE = struct.pack("<HH", 0, 0) + b"fine"
while True:
    ready, _, _ = select.select([control, *links], [], [])
    for s in ready:
        data = s.recv(65536)
        if s is control:
            if not data:
                os._exit(0)
            if data[8] == 4:
                os._exit(0)
            continue
        if not data:
            continue
        stream = struct.unpack_from("<I", data, 4)[0]
        if data[8] != 0x10:
            continue
        LIE
"""

LIES = {
    "garbage": "s.sendall(b'\\xff' * 64)",
    "unknown-type": "s.sendall(frame(0x77, b'x', stream))",
    "too-long": "s.sendall(struct.pack('<IIBBH', 1 << 30, stream, 0x11, 0, 200))",
    "truncated-head": "s.sendall(frame(0x11, struct.pack('<HH', 9, 9), stream, 1, 200))",
    "never-opened-stream": "s.sendall(frame(0x11, FINE, stream + 1000, 1, 200))",
    "wrong-direction": "s.sendall(frame(0x10, b'', stream))",
    "beyond-credit": "s.sendall(frame(0x11, struct.pack('<HH', 0, 0), stream, 0, 200) + frame(0x12, b'x' * 200000, stream) * 40)",
    "data-before-response": "s.sendall(frame(0x12, b'x', stream))",
    "relative-file": "s.sendall(frame(0x11, struct.pack('<HH', 0, 0) + b'etc/passwd', stream, 3, 200))",
    "status-out-of-range": "s.sendall(frame(0x11, FINE, stream, 1, 99))",
    "hello-again": "s.sendall(frame(0x01, b'{}'))",
    "half-a-frame-and-close": "s.sendall(b'\\x10\\x00'); s.close(); links.remove(s)",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_worker_that_breaks_the_protocol_harms_nobody_else(serve, lie, tmp_path):
    liar = tmp_path / "liar"
    liar.write_text(f"#!{sys.executable}\n" + LIAR.replace("LIE", LIES[lie]))
    liar.chmod(0o755)
    (tmp_path / "unused.js").write_text("")
    bad = section("[service.bad]", {"node": str(tmp_path / "unused.js"), "interpreter": str(liar), "workers": 1})
    routes = '[[route]]\nmatch = "/bad"\nto = "bad"\n\n[[route]]\nmatch = "/*"\nto = "good"\n'
    server = serve(f"{bad}\n{ASGI.service('good')}\n{routes}").ready()
    pid = server.get("/pid").text
    with Wire(server.port) as steady:
        steady.request("GET", "/stream?key=steady").head()
        assert steady.chunk() == b"data: first\n\n"
        (before,) = server.workers("bad")
        with Wire(server.port) as wire:
            wire.request("POST", "/bad", "Content-Length: 0")
            try:
                assert wire.answer().status >= 500
            except (Closed, ConnectionError, ValueError):
                pass
        server.wait_for(r"bad#1.*")
        eventually(lambda: before not in server.workers("bad"), what="the liar is replaced")
        assert server.get("/push?key=steady&end=1").text == "true"
        assert steady.chunk() == b"data: last\n\n"
    assert server.get("/pid").text == pid


def test_a_stranger_cannot_pose_as_a_worker(serve):
    """Whoever finds the socket but not the token is turned away."""
    server = serve(ASGI.config()).ready()
    environment = open(f"/proc/{server.workers()[0]}/environ", "rb").read().split(b"\0")
    path = next(e.removeprefix(b"BIREME_LINK=") for e in environment if e.startswith(b"BIREME_LINK="))
    hello = b'{"token": "guessed", "link": "control", "pid": 1, "language": "node", "version": "1"}'
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(20)
        stranger.connect(path)
        stranger.sendall(struct.pack("<IIBBH", len(hello), 0, 1, 0, 1) + hello)
        assert stranger.recv(100) == b""
    assert server.get("/").text == "hello"
    assert os.stat(os.path.dirname(path)).st_mode & 0o077 == 0, "others can reach the socket"


def test_variables_of_the_link_do_not_reach_the_application(serve, tmp_path):
    (tmp_path / "show.js").write_text(
        "require('http').createServer((q, r) => r.end(JSON.stringify(Object.keys(process.env)))).listen(1)"
    )
    (tmp_path / "show.py").write_text(textwrap.dedent("""
        import json, os
        def app(environ, start_response):
            start_response("200 OK", [])
            return [json.dumps(list(os.environ)).encode()]
    """))
    for target in ("./show.js", "show:app"):
        server = serve(None, target, "--workers", "1", folder=tmp_path)
        names = server.get("/").json()
        assert not {"BIREME_LINK", "BIREME_LINKS", "BIREME_TOKEN", "BIREME_OPTIONS"} & set(names)
        assert {"BIREME_SERVICE", "BIREME_WORKER"} <= set(names)


def test_least_loaded_worker_is_chosen(serve):
    server = serve(NODE_FETCH.config("threads = 1", workers=2)).ready()
    for worker in ("app#1", "app#2"):
        server.wait_for(f"{worker} is ready")
    with Wire(server.port) as busy:
        busy.request("GET", "/stream?key=busy").head()
        with server.client() as client:
            # The worker that streams still answers; but the other one has less to do.
            pids = Counter(client.get("/pid").text for _ in range(20))
    assert max(pids.values()) >= 15
