"""Calls from JavaScript to Python and from Python to JavaScript, under `bireme serve`.

Both directions run the same cases: apps/calls/server.mjs calls functions.py, server.py calls functions.mjs.
"""

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from harness.apps import APPS, VENV, section
from harness.server import Server, eventually

GOLDEN = Path(__file__).resolve().parents[2] / "protocol/golden/calls.json"
CALLS = APPS / "calls"
DIRECTIONS = ["js", "py"]
"""Who calls."""


def config(python=None, workers=1, **node):
    services = section("[service.js]", {"node": str(CALLS / "server.mjs"), "workers": workers, **node})
    keys = {"python": "server:app", "cwd": str(CALLS), "interpreter": str(VENV), "workers": workers}
    services += section("[service.py]", keys | (python or {}))
    return services + "".join(section("[[route]]", {"match": f"/{name}/*", "to": name}) for name in DIRECTIONS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Both services, for tests that break nothing."""
    with Server(tmp_path_factory.mktemp("calls"), config()) as server:
        for name in DIRECTIONS:
            assert "here" in server.get(f"/{name}/").text
        yield server


@pytest.fixture(params=DIRECTIONS)
def call(request, world):
    """`call(case)`: what a case of one direction gives."""
    return caller(world, request.param)


def caller(server, direction):
    def call(case, **parameters):
        response = server.get(f"/{direction}/{case}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    call.direction = direction
    return call


def test_functions(call):
    assert call("functions") == [3, "x", {"a": [None, True, "é"]}, 7]
    assert call("value") == "1.2"


def test_keywords(call):
    assert call("keywords") == [[1, 1], [1, 3]]


def test_streams(call):
    assert call("stream") == [[0, 1, 2, 3, 4], 50_000, [0, 1, 2]]
    assert call("own_stream") == [1, 2]


def test_leaving_a_stream_closes_its_generator(call, tmp_path):
    marker = tmp_path / "marker"
    assert call("leave", marker=str(marker)) == 1000
    eventually(lambda: marker.exists() and marker.read_text() == "closed")


def test_an_error_within_a_stream(call):
    answer = call("stream_error")
    assert answer["found"] == [1]
    assert (answer["error"]["type"], answer["error"]["message"], answer["error"]["status"]) == ("Odd", "midway", 500)


def test_an_error_has_the_frames_of_both_languages(call):
    error = call("error")["error"]
    assert (error["type"], error["message"], error["status"], error["own"]) == ("Odd", "too far", 416, False)
    stack = error["stack"]
    for place in ("functions", "server", "inner", "boom", "outermost"):
        assert place in stack, stack
    for line in ("416", "return inner(x)", "return await f("):
        assert line in stack, stack
    order = [stack.index(name) for name in ("416", "return inner(x)", "return await f(")]
    # JavaScript has the place of the fault first, Python last.
    assert order == sorted(order, reverse=call.direction == "py"), stack


def test_causes(call):
    error = call("cause")["error"]
    assert (error["message"], error["cause"]) == ("outer", "too far")


def test_what_is_not_there(call):
    for answer in call("missing"):
        assert answer["error"]["code"] == "BIREME_NOT_FOUND", answer
        assert answer["error"]["own"]


def test_what_cannot_cross_names_its_path(call):
    argument, result = call("cannot_cross")
    assert argument["error"]["code"] == result["error"]["code"] == "BIREME_VALUE"
    assert "args[0].user.lock" in argument["error"]["message"]
    assert "result.deep[0]" in result["error"]["message"]


def test_deadlines_cancel_the_running_function(call, tmp_path):
    marker = tmp_path / "marker"
    error = call("timeout", marker=str(marker))["error"]
    assert (error["name"], error["code"]) == ("CallTimeout", "BIREME_CALL_TIMEOUT")
    eventually(lambda: marker.exists() and marker.read_text() == "cancelled")


def test_a_service_has_a_deadline_of_its_own(serve, tmp_path):
    server = serve(config(python={"call_timeout": "150ms"}, call_timeout="150ms"))
    for direction in DIRECTIONS:
        error = caller(server, direction)("timeout_of_service", marker=str(tmp_path / direction))["error"]
        assert error["code"] == "BIREME_CALL_TIMEOUT" and "150 ms" in error["message"]


def test_cancellation_reaches_the_running_function(call, tmp_path):
    marker = tmp_path / "marker"
    assert call("cancel", marker=str(marker))["error"]["name"] in ("AbortError", "CancelledError")
    begun = tmp_path / "marker.begun"
    eventually(lambda: not begun.exists() or (marker.exists() and marker.read_text() == "cancelled"))


def test_callbacks_and_their_errors(call):
    product, failed = call("callback")
    assert product == 42
    assert failed["error"]["message"].strip("'") == "from home"


def test_calls_nest(call):
    assert call("nested") == 20


def test_instances(call):
    *found, failed = call("instance")
    assert found == [7, 7, True, [7, 8]]
    assert failed["error"]["message"] == "in a method"


def test_an_instance_that_has_been_released(world):
    # Python lets go of objects when nothing refers to them.
    assert caller(world, "js")("released")["error"]["code"] == "BIREME_RELEASED"


def test_large_arrays(call):
    assert call("array") == 50_000


def test_tables_stay_bytes_without_a_library(world):
    assert caller(world, "js")("table") == 10


def test_values_come_back_as_they_went(world):
    assert caller(world, "js")("golden", file=str(GOLDEN)) > 60


def test_random_values_cross_and_come_home(call, request):
    seed = request.config.getoption("--seed")
    seed = random.randrange(2**31) if seed is None else seed
    answer = call("properties", seed=seed, seconds=request.config.getoption("--property-seconds"))
    assert "seed" not in answer, f"try again with --seed {answer['seed']} --property-seconds 0: {answer}"
    assert answer["values"] > 0


def test_a_thread_of_python_calls_and_waits(world):
    assert caller(world, "py")("sync") == [3, [0, 1, 2]]


OTHER = {"js": "py", "py": "js"}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_worker_that_is_killed_in_a_call(serve, direction, tmp_path):
    server = serve(config())
    call = caller(server, direction)
    call("functions")
    marker = tmp_path / "marker"
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call("block", marker=str(marker))))
    thread.start()
    eventually((tmp_path / "marker.begun").exists)
    (pid,) = server.workers(OTHER[direction])
    os.kill(pid, signal.SIGKILL)
    thread.join(30)
    error = answers[0]["error"]
    assert (error["name"], error["code"], error["started"]) == ("WorkerLost", "BIREME_WORKER_LOST", "unknown")
    # Nothing else has noticed: the next call goes to the worker that took its place.
    assert call("functions")[0] == 3


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_only_idempotent_calls_are_made_again(serve, direction, tmp_path):
    server = serve(config(workers=2))
    call = caller(server, direction)
    assert len(set(eventually(lambda: (lambda found: len(set(found)) == 2 and found)(call("pids"))))) == 2
    error = call("die", marker=str(tmp_path / "once"))["error"]
    assert (error["name"], error["started"]) == ("WorkerLost", "unknown")
    assert call("die_idempotent", marker=str(tmp_path / "twice"))["value"] in server.workers(OTHER[direction])


def test_files_of_no_service_get_workers_of_their_own(serve, tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "tool.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "server.mjs").write_text(
        "import { double } from './tool.py';\n"
        "export default { fetch: async () => Response.json([await double(21)]) };\n"
    )
    (folder / "tool.mjs").write_text("export const half = (x) => x / 2;\n")
    (folder / "main.py").write_text(
        "import json\nimport bireme\n\n"
        "async def app(scope, receive, send):\n"
        "    body = json.dumps([await bireme.node('./tool.mjs').half(42)]).encode()\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': body})\n"
    )
    server = serve(None, str(folder / "server.mjs"))
    assert server.get("/").json() == [42]
    assert len(server.workers("python")) == 1
    other = serve(None, "main:app", folder=folder)
    assert other.get("/").json() == [21]
    assert len(other.workers("node")) == 1


def test_a_reload_loses_no_call(serve):
    server = serve(config())
    calls = {direction: caller(server, direction) for direction in DIRECTIONS}
    for call in calls.values():
        call("functions")
    stop = threading.Event()
    answers = {direction: [] for direction in DIRECTIONS}

    def keep(direction):
        while not stop.is_set():
            answers[direction].append(calls[direction]("functions"))

    threads = [threading.Thread(target=keep, args=(direction,)) for direction in DIRECTIONS]
    for thread in threads:
        thread.start()
    before = {direction: server.workers(direction) for direction in DIRECTIONS}
    for direction in DIRECTIONS:
        eventually(lambda direction=direction: len(answers[direction]) > 3)
    server.signal(signal.SIGHUP)
    for direction in DIRECTIONS:
        eventually(lambda direction=direction: not set(before[direction]) & set(server.workers(direction)))
        seen = len(answers[direction])
        eventually(lambda direction=direction, seen=seen: len(answers[direction]) > seen + 3)
    stop.set()
    for thread in threads:
        thread.join(30)
    for direction in DIRECTIONS:
        assert all(answer == [3, "x", {"a": [None, True, "é"]}, 7] for answer in answers[direction])
