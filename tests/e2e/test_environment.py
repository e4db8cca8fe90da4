"""Python's surroundings in `bireme run` and in workers that are called: imports, arguments, child processes and NumPy's threads are as
under `python`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.apps import VENV
from harness.server import BIREME

PROBE = """
import concurrent.futures
import json
import multiprocessing
import os
import sys

import numpy as np

import neighbour


def square(n):
    return n * n


def children(method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        mapped = pool.map(square, range(4))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        submitted = [future.result() for future in [executor.submit(square, n) for n in range(4)]]
    queue = context.Queue()
    child = context.Process(target=queue.put, args=("from a child",))
    child.start()
    said = queue.get(timeout=60)
    child.join()
    return [mapped, submitted, said, child.exitcode]


def threads():
    matrix = np.arange(250_000, dtype=np.float64).reshape(500, 500) / 250_000
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        traces = list(executor.map(lambda _: float(np.trace(matrix @ matrix)), range(8)))
    return len(set(traces)) == 1


def probe():
    return {
        "file": __file__,
        "neighbour": neighbour.__file__,
        "prefix": sys.prefix,
        "cwd": os.getcwd(),
        "spawn": children("spawn"),
        "fork": children("fork"),
        "forkserver": children("forkserver"),
        "threads": threads(),
    }


if __name__ == "__main__":
    print(json.dumps(probe() | {"argv": sys.argv[1:], "name": __name__, "main": sys.modules["__main__"].square is square}))
"""

CHILDREN = [[0, 1, 4, 9], [0, 1, 4, 9], "from a child", 0]


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "probe.py").write_text(PROBE)
    (folder / "neighbour.py").write_text("")
    service = f'[service.ml]\npython = "probe:app"\ninterpreter = "{VENV}"\n'
    (folder / "bireme.toml").write_text(service)
    return folder


def printed(folder: Path, *command: object) -> dict:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check(answer: dict, folder: Path) -> None:
    for method in ("spawn", "fork", "forkserver"):
        assert answer[method] == CHILDREN, method
    assert answer["threads"] is True
    assert answer["file"] == str(folder / "probe.py") and answer["neighbour"] == str(folder / "neighbour.py")
    assert answer["prefix"] == str(VENV) and answer["cwd"] == str(folder)


def test_a_script_finds_what_python_gives_it(project):
    plain = printed(project, VENV / "bin/python", project / "probe.py", "--epochs", "3")
    check(plain, project)
    assert printed(project, BIREME, "run", project / "probe.py", "--epochs", "3") == plain
    assert plain["name"] == "__main__" and plain["main"] is True and plain["argv"] == ["--epochs", "3"]


def test_a_called_function_finds_what_python_gives_it(project):
    check(printed(project, BIREME, "call", "./probe.py:probe", "--timeout", "240s"), project)
