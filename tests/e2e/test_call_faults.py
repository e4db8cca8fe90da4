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


def limited(**node):
    return f"[calls]\nin_flight_max = {IN_FLIGHT_MAX}\n" + config(interpreter_args=["--expose-gc"], **node)


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
