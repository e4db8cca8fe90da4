"""`import './model.py'` and its kin in processes that no `bireme serve` started: of every Node.js and every CPython on this machine.

Each Node meets each CPython once, and each of them each way of starting a program.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.apps import NODE, VENV, other_venvs
from harness.server import BIREME

NODES = {"20": shutil.which("node"), **{major: NODE / f"node_modules/node{major}/bin/node" for major in ("22", "24", "26")}}
"""By major version; the first is the one on the path, whichever it is."""

PYTHONS = other_venvs() or {"3.11": VENV}

MODEL = """
import sys
from bireme import node

class Model:
    def __init__(self, factor): self.factor = factor
    def times(self, x): return self.factor * x

def version(): return "%d.%d" % sys.version_info[:2]
def rows(count): yield from range(count)
def fail(): raise ValueError("no luck")
async def there(): return await node("./there.mjs").version()
"""
THERE = "export const version = () => process.versions.node;\n"
USES = """
async function main({ Model, version, rows, fail, there }) {
  const model = await new Model(3);
  const seen = [];
  for await (const row of rows(3)) seen.push(row);
  const failed = await fail().catch((error) => [error.type, error.message]);
  console.log(JSON.stringify({ node: process.versions.node, there: await there(), python: await version(), model: await model.times(7), seen, failed }));
}
"""
SCRIPT = """
import json
from bireme import node
import model

found = {"python": model.version(), "there": node("./there.mjs").version.sync(), "model": 21, "seen": [0, 1, 2]}
try:
    node("./fails.mjs").fail.sync()
except Exception as error:
    found["failed"] = [error.type, error.message]
print(json.dumps({"node": found["there"], **found}))
"""
FILES = {
    "model.py": MODEL,
    "there.mjs": THERE,
    "fails.mjs": "import { fail as failing } from './model.py';\nexport const fail = () => failing();\n",
    "main.mjs": "import * as model from './model.py';\n" + USES + "await main(model);\n",
    "main.cjs": USES + "main(require('./model.py'));\n",
    "script.py": SCRIPT,
}
WAYS = {
    "import": ["node", "--import", "bireme/register", "main.mjs"],
    "require": ["node", "--import", "bireme/register", "main.cjs"],
    "bireme run": [BIREME, "run", "main.mjs"],
    "python": ["python", "script.py"],
}
PAIRS = [(node, python, list(WAYS)[(i + j) % len(WAYS)]) for i, node in enumerate(NODES) for j, python in enumerate(PYTHONS)]


@pytest.mark.parametrize("node, python, way", PAIRS)
def test_a_program_of_any_version_finds_the_other_language(tmp_path, node, python, way):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    # As `npm install PATH/TO/bireme/runtime/node` does it.
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules/bireme").symlink_to(BIREME.parent / "runtime/node")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/node").symlink_to(NODES[node])
    venv = PYTHONS[python]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIREME")} | {
        "PATH": f"{tmp_path / 'bin'}:{venv / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(venv), "BIREME_BIN": str(BIREME),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if way == "python":
        environment["PYTHONPATH"] = str(BIREME.parent / "runtime/python")
    done = subprocess.run(WAYS[way], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    node_version = subprocess.run([Path(NODES[node]), "--version"], capture_output=True, text=True, check=True).stdout.strip().removeprefix("v")
    assert found == {
        "node": node_version, "there": node_version, "python": python, "model": 21, "seen": [0, 1, 2], "failed": ["ValueError", "no luck"],
    }
