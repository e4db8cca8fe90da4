"""Every way in which a call between real workers can end: the typed outcome, and that nothing of it is left on either side.

What a peer does to a worker that breaks the protocol is tested frame by frame in node/test and python/tests.
"""

import os
import signal
import threading

import pytest

from harness.server import eventually
from test_calls import DIRECTIONS, OTHER, caller, config

IN_FLIGHT_MAX = 8


@pytest.fixture(scope="module", params=DIRECTIONS)
def world(request, tmp_path_factory):
    from harness.server import Server

    with Server(tmp_path_factory.mktemp("faults"), limited()) as server:
        yield server, request.param


def limited(**python):
    return f"[calls]\nin_flight_max = {IN_FLIGHT_MAX}\n" + config(python, interpreter_args=["--expose-gc"])


def left(server):
    """What both workers still have of calls, and their descriptors; each is asked by the other."""
    found = {OTHER[name]: caller(server, name)("left") for name in DIRECTIONS}
    for name in found:
        found[name].pop("bytes", None)
        found[name].pop("blocks", None)
    return found


def settled(server, before):
    """Wait until the workers have what they had."""
    try:
        eventually(lambda: left(server) == before)
    except Exception as error:
        raise AssertionError(f"{left(server)} is left, and {before} was there before") from error


def code(outcome):
    return outcome["error"]["code"]


# The case of server.mjs and server.py, and what is to be found in what it gives.
WAYS = {
    "functions": lambda found: found[0] == 3,
    "error": lambda found: found["error"]["type"] == "Odd",
    "missing": lambda found: {code(one) for one in found} == {"BIREME_NOT_FOUND"},
    "cannot_cross": lambda found: {code(one) for one in found} == {"BIREME_VALUE"},
    "timeout": lambda found: code(found) == "BIREME_CALL_TIMEOUT",
    "cancel": lambda found: found["error"]["name"] in ("AbortError", "CancelledError"),
    "callback": lambda found: found[1]["error"]["message"].strip("'") == "from home",
    "stream_error": lambda found: found["error"]["type"] == "Odd",
    "leave": lambda found: found == 1000,
    "instance": lambda found: found[0] == 7,
    "array": lambda found: found == 50_000,
    "busy": lambda found: found == ["BIREME_CALL_TIMEOUT"] * IN_FLIGHT_MAX + ["BIREME_SERVICE_BUSY"] * (20 - IN_FLIGHT_MAX),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_has_ended_leaves_nothing(world, way, tmp_path):
    server, direction = world
    parameters = {"marker": str(tmp_path / "marker")} if way in ("timeout", "cancel", "leave", "busy") else {}
    call = caller(server, direction)
    # What is kept for good, such as a link and modules, is made by the first.
    call(way, **parameters)
    before = eventually(lambda: (found := left(server)) == left(server) and found)
    for _ in range(3):
        found = call(way, **parameters)
        assert WAYS[way](found), found
    settled(server, before)
    assert all(found["outgoing"] == found["incoming"] == found["waiting"] == 0 for found in before.values()), before


@pytest.mark.parametrize("stage", ["block", "array_block", "stream_block", "instance_block"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_other_side_is_killed(serve, direction, stage, tmp_path):
    server = serve(limited())
    call = caller(server, direction)
    before = [left(server), left(server)][1]
    marker = tmp_path / "marker"
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call(stage, marker=str(marker))))
    thread.start()
    eventually((tmp_path / "marker.begun").exists)
    [pid] = server.workers(OTHER[direction])
    os.kill(pid, signal.SIGKILL)
    thread.join(30)
    assert code(answers[0]) == ("BIREME_RELEASED" if stage == "instance_block" else "BIREME_WORKER_LOST"), answers
    if stage != "instance_block":
        assert answers[0]["error"]["started"] == "unknown"
    # The worker in its place has just begun: only what the caller has is as it was.
    left(server)
    eventually(lambda: left(server)[direction] == before[direction], what=f"{left(server)[direction]} turns into {before[direction]}")


@pytest.mark.parametrize("stage", ["timeout_never", "stream_block"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_caller_is_killed(serve, direction, stage, tmp_path):
    server = serve(limited())
    before = [left(server), left(server)][1]
    marker = tmp_path / "marker"

    def ask():
        # A POST, which is not tried again by another worker.
        with server.client() as client:
            assert client.post(f"/{direction}/{stage}", params={"marker": str(marker)}).status_code == 502

    thread = threading.Thread(target=ask)
    thread.start()
    eventually((tmp_path / "marker.begun").exists)
    [pid] = server.workers(direction)
    os.kill(pid, signal.SIGKILL)
    thread.join(30)
    # What it had begun is cancelled, and its generator closed.
    eventually(lambda: marker.exists() and marker.read_text() in ("cancelled", "closed"))
    left(server)
    other = OTHER[direction]
    eventually(lambda: left(server)[other] == before[other], what=f"{left(server)[other]} turns into {before[other]}")


@pytest.fixture
def gate(tmp_path):
    """The folder of what apps/calls/gate.py and gate.mjs wait for while they are loaded."""
    folder = tmp_path / "gate"
    folder.mkdir()
    return folder


def in_the_middle_of(server, path, happened, service):
    """Ask for the path, kill the worker once `happened` exists, and return a function that waits for the answer."""
    answers = []

    def ask():
        # A POST, which the front does not try again with another worker.
        with server.client() as client:
            answers.append(client.post(path))

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(happened.exists)
    [pid] = server.workers(service)
    os.kill(pid, signal.SIGKILL)

    def answer():
        thread.join(60)
        return answers[0]

    return answer


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_other_side_is_killed_while_it_loads_the_module(serve, direction, gate):
    server = serve(limited(), env={"GATE": str(gate)})
    before = [left(server), left(server)][1]
    answer = in_the_middle_of(server, f"/{direction}/loads", gate / "loading", OTHER[direction])
    (gate / "open").touch()
    # The call had not begun: the worker that took the other's place has done it, once.
    assert answer().json() == {"value": server.workers(OTHER[direction])[0]}
    assert caller(server, direction)("runs") == 1
    left(server)
    eventually(lambda: left(server)[direction] == before[direction], what=f"{left(server)[direction]} turns into {before[direction]}")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_caller_is_killed_while_the_module_is_loaded(serve, direction, gate):
    server = serve(limited(), env={"GATE": str(gate)})
    other = OTHER[direction]
    before = [left(server), left(server)][1]
    answer = in_the_middle_of(server, f"/{direction}/loads", gate / "loading", direction)
    (gate / "open").touch()
    assert answer().status_code == 502
    # An import stops all of Python, which finds out only afterwards that nobody wants the answer any more.
    assert caller(server, direction)("runs") <= (1 if other == "py" else 0)
    left(server)
    counted = ("links", "waiting", "outgoing", "incoming", "given", "held", "fds")
    eventually(lambda: all(left(server)[other][name] == before[other][name] for name in counted), what=f"{left(server)[other]} turns into {before[other]}")


def test_the_other_side_is_killed_while_a_call_waits_for_a_thread(serve, tmp_path):
    server = serve(limited(threads_max=1))
    before = [left(server), left(server)][1]
    marker = tmp_path / "marker"
    running, queued = in_the_middle_of(server, f"/js/queued?marker={marker}", tmp_path / "marker.queued", "py")().json()
    assert (code(running), running["error"]["started"]) == ("BIREME_WORKER_LOST", "unknown")
    assert queued == {"value": server.workers("py")[0]}
    left(server)
    eventually(lambda: left(server)["js"] == before["js"], what=f"{left(server)['js']} turns into {before['js']}")


def test_the_caller_is_killed_while_its_call_waits_for_a_thread(serve, tmp_path):
    server = serve(limited(threads_max=1))
    before = [left(server), left(server)][1]
    marker = tmp_path / "marker"
    answer = in_the_middle_of(server, f"/js/queued?marker={marker}", tmp_path / "marker.queued", "js")
    assert answer().status_code == 502
    eventually(lambda: left(server)["py"]["incoming"] == before["py"]["incoming"])
    marker.touch()
    # This one waits for the same thread: what waited before it had its turn.
    assert caller(server, "js")("functions")[0] == 3
    assert not (tmp_path / "marker.touched").exists()
    eventually(lambda: left(server)["py"] == before["py"], what=f"{left(server)['py']} turns into {before['py']}")
