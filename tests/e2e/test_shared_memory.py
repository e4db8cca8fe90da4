"""Arrays between Node and Python in shared memory: what crosses, who sees what, and what is left when a side dies."""

import os
import signal

import pytest

from harness.apps import NODE, PYTHON, VENV
from harness.server import eventually

CONFIG = f"""
[service.web]
node = "{NODE / "shared-memory.mjs"}"
interpreter_args = ["--expose-gc"]
workers = 1

[service.ml]
python = "shared_memory:app"
cwd = "{PYTHON}"
interpreter = "{VENV}"
workers = 1

[[route]]
match = "/*"
to = "web"
"""
IDLE_BYTES_MAX = 96 << 20
"""What a process keeps when nothing is lent: two segments, and the one of which it tells others to try it."""


@pytest.fixture
def server(serve):
    server = serve(CONFIG)
    server.get("/")
    return server


def ask(server, action: str):
    """An action of shared-memory.mjs; its assertions fail the request."""
    answer = server.get(f"/{action}")
    assert answer.status_code == 200, f"{action} failed; see the server's log"
    return answer.json()


@pytest.mark.parametrize("action", ["kinds", "tables", "sees", "release"])
def test_arrays(server, action):
    ask(server, action)


def test_arrays_below_and_above_the_settings_cross_the_same(serve):
    server = serve('[calls]\nshared_bytes_min = "off"\nshared_bytes_max = "1MiB"\n' + CONFIG)
    ask(server, "kinds")


def test_what_the_living_have_of_the_dead_stays_good_and_is_then_freed(server):
    ask(server, "exchange")
    [python] = server.workers("ml")
    os.kill(python, signal.SIGKILL)
    eventually(lambda: server.workers("ml") not in ([], [python]), what="a new worker")
    assert ask(server, "theirs") == {"sum": 400_000}
    eventually(lambda: ask(server, "drop")["node"]["foreign"] <= 1, what="Node lets go of the dead worker's segment")


def test_the_memory_of_a_dead_caller_is_freed_when_the_callee_has_let_go(server):
    ask(server, "exchange")
    [node] = server.workers("web")
    os.kill(node, signal.SIGKILL)
    eventually(lambda: server.workers("web") not in ([], [node]), what="a new worker")
    assert ask(server, "ours") == {"ours": [2, 2, 200_000], "shared": [3, 3, 300_000]}
    # The new caller's, and the dead one's no more.
    eventually(lambda: ask(server, "drop")["python"]["foreign"] <= 1, what="Python lets go of the dead worker's segment")


def test_nothing_leaks(server, request):
    seconds = request.config.getoption("--soak-seconds")
    ask(server, f"churn?seconds={seconds / 2}")
    front = server.memory()
    assert ask(server, f"churn?seconds={seconds / 2}")["calls"] > 0

    def settled():
        segments = ask(server, "drop")
        few = segments["node"]["foreign"] <= 8 and segments["node"]["own"] <= 8 and segments["python"]["foreign"] <= 8
        return few and segments["python"]["held"] <= IDLE_BYTES_MAX

    eventually(settled, what="segments are given back")
    assert server.memory() < front + (16 << 20)
