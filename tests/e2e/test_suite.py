"""The suite's workloads: both halves give the same output for the same input, in real interpreters (issue 5)."""

import importlib.util
import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SUITE = Path(__file__).resolve().parents[2] / "suite"
WORKLOADS = sorted(file.parent for file in SUITE.glob("*/workload.toml"))
SEEDS = [1, 2, 3]

# Each reads one case a line and writes one output a line.
NODE = """
import { readFileSync } from 'node:fs';
const { run } = await import(process.argv[1]);
const lines = readFileSync(0, 'utf8').split('\\n').filter(Boolean);
for (const line of lines) console.log(JSON.stringify(await run(JSON.parse(line))));
"""
PYTHON = """
import json, sys
sys.path.insert(0, sys.argv[1])
from python import run
for line in sys.stdin.buffer.read().decode().split("\\n"):
    if line:
        print(json.dumps(run(json.loads(line))))
"""


def cases(workload: Path, size: int, seed: int) -> list:
    specification = importlib.util.spec_from_file_location(f"cases_{workload.name}", workload / "cases.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return list(module.cases(size, seed))


def outputs(command: list, given: list) -> list:
    lines = "".join(json.dumps(case) + "\n" for case in given)
    done = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=60)
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


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_both_languages_give_equal_output(workload):
    settings = tomllib.loads((workload / "workload.toml").read_text())
    for seed in SEEDS:
        given = cases(workload, settings["size"], seed)
        node = outputs(["node", "--input-type=module", "--eval", NODE, workload / "node.mjs"], given)
        python = outputs([sys.executable, "-c", PYTHON, workload], given)
        assert len(node) == len(python) == len(given) > 0
        assert difference(node, python, settings["tolerance"]) is None


def test_a_seed_repeats_its_cases_and_another_gives_others():
    for workload in WORKLOADS:
        assert cases(workload, 5, 1) == cases(workload, 5, 1)
        assert cases(workload, 5, 1) != cases(workload, 5, 2), workload.name


def test_differences_are_seen():
    assert difference({"a": [1, 2]}, {"a": [1, 3]}, 0.0) == "$.a[1]: 2 and 3"
    assert difference([1.0], [1.001], 0.01) is None
    assert difference({"a": 1}, {"b": 1}, 0.0) is not None
