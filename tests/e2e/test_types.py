"""`bireme types`: TypeScript and pyright accept what is right across the languages, and catch what is not."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.apps import APPS, VENV, other_venvs
from harness.server import BIREME

TOOLS = APPS / "types/node_modules"


def bireme(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([BIREME, "types", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


def copied(folder: Path) -> Path:
    """The project, whose Python is the one with NumPy."""
    shutil.copytree(APPS / "types/project", folder)
    (folder / "bireme.toml").write_text(f'[service.ml]\npython = "model:app"\ninterpreter = "{VENV}"\n')
    return folder


@pytest.fixture
def project(tmp_path) -> Path:
    return copied(tmp_path / "project")


@pytest.fixture(scope="module")
def typed(tmp_path_factory) -> Path:
    """The project with its types."""
    folder = copied(tmp_path_factory.mktemp("types") / "project")
    result = bireme(folder)
    assert result.returncode == 0, result.stderr
    assert "model.d.py.ts" in result.stdout.splitlines()
    return folder


def mistakes(folder: Path, ending: str) -> set[tuple[str, int]]:
    """Files and lines that are marked as wrong."""
    files = sorted(folder.rglob(f"wrong*.{ending}"))
    found = {(file.name, at) for file in files for at, line in enumerate(file.read_text().splitlines(), 1) if re.search(r"(//|#) wrong$", line)}
    assert found
    return found


def typescript(folder: Path) -> set[tuple[str, int]]:
    """Where `tsc --strict` finds mistakes."""
    tsc = ["node", TOOLS / "typescript/bin/tsc", "--pretty", "false", "-p", "."]
    result = subprocess.run(tsc, cwd=folder, capture_output=True, text=True, timeout=300)
    return {(Path(name).name, int(line)) for name, line in re.findall(r"^(\S+)\((\d+),", result.stdout, re.M)}


def pyright(folder: Path, venv: Path = VENV) -> set[tuple[str, int]]:
    """Where pyright finds mistakes."""
    command = ["node", TOOLS / "pyright/index.js", "--outputjson", "--pythonpath", venv / "bin/python", "-p", "."]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    found = [one for one in json.loads(result.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found}


def mypy(folder: Path) -> set[tuple[str, int]]:
    """Where `mypy --strict` finds mistakes."""
    files = sorted(file.name for file in [*folder.glob("right*.py"), *folder.glob("wrong*.py")])
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", folder / ".mypy", "--python-executable", VENV / "bin/python"]
    environment = {**os.environ, "MYPYPATH": "typings"}
    result = subprocess.run([*command, *files], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stdout + result.stderr
    return {(Path(name).name, int(line)) for name, line in re.findall(r"^([^:\n]+):(\d+): error:", result.stdout, re.M)}


def test_typescript(typed):
    assert typescript(typed) == mistakes(typed, "ts")


def test_pyright(typed):
    assert pyright(typed) == mistakes(typed, "py")


def test_mypy(typed):
    assert mypy(typed) == mistakes(typed, "py")


# The chat's handlers have no types that say what is within a message, so parameters may be of any type there.
EXAMPLES = {"digits": {}, "chat": {"noImplicitAny": False}}
WRONG = {
    "digits": {
        "web/wrong.js": "const { read } = require('../ml/app.py');\nread({ strokes: 'a line' }); // wrong\nread({ stroke: [] }); // wrong\n",
        "ml/wrong.py": (
            "from bireme import node\n\nasync def main() -> None:\n"
            '    await node("../web/card.js").card({"digit": "5", "samples": 1, "rows": []})  # wrong\n'
            '    print((await node("../web/card.js").card(digit=5, samples=1, rows=[])).nothing)  # wrong\n'
        ),
    },
    "chat": {
        "web/wrong.mjs": "import { after, post } from '../ml/chat.py';\npost('room', 'id', 'Ann', 5); // wrong\nafter.with({ kwargs: { rom: 'a' } }); // wrong\n",
    },
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples(tmp_path, example):
    source = APPS.parents[2] / "examples" / example
    folder = tmp_path / example
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules", ".venv", "__pycache__", "public", "*.sqlite*"))
    shutil.copy(APPS / "types/examples/ambient.d.ts", folder)
    compiler = json.loads((APPS / "types/project/tsconfig.json").read_text())["compilerOptions"] | {"checkJs": True} | EXAMPLES[example]
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": compiler, "include": ["web", "*.d.ts"]}))
    (folder / "pyrightconfig.json").write_text('{ "include": ["ml"], "typeCheckingMode": "standard" }')
    assert bireme(folder).returncode == 0
    for name, text in WRONG[example].items():
        (folder / name).write_text(text)
    assert typescript(folder) == mistakes(folder, "*js")
    python = any(name.endswith(".py") for name in WRONG[example])
    assert pyright(folder, source / ".venv") == (mistakes(folder, "py") if python else set())


NEW_SYNTAX = """
from other import *
from enum import StrEnum, auto

__all__ = ["first", "Pair", "Stack", "Kind", "shared"]
type Pair[T] = tuple[T, T]

class Kind(StrEnum):
    NEW = auto()

class Stack[T: (int, str)]:
    def pop(self) -> T: ...

def first[T](pair: Pair[T], kind: Kind = Kind.NEW) -> list[T]: ...
"""


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_type_parameters_have_their_own_syntax(tmp_path, version):
    if version not in other_venvs():
        pytest.skip(f"there is no CPython {version} here")
    (tmp_path / "bireme.toml").write_text(f'[service.ml]\npython = "app:app"\ninterpreter = "{other_venvs()[version]}"\n')
    (tmp_path / "new.py").write_text(NEW_SYNTAX)
    (tmp_path / "other.py").write_text("def shared(text: str) -> None: ...\n")
    (tmp_path / "use.mjs").write_text("import { first } from './new.py';\n")
    result = bireme(tmp_path)
    assert result.returncode == 0, result.stderr
    declared = (tmp_path / "new.d.py.ts").read_text()
    for expected in (
        "export type Pair<T> = [T, T];",
        "export interface Stack<T extends number | bigint | string> extends RemoteObject {",
        "<T>(...args: [pair: [T, T], kind?: \"new\"]) => Promise<T[]>",
        "export const shared: PythonFunction<[text: string], { text?: string }, Promise<null>>;",
    ):
        assert expected in declared, declared


def test_check_names_what_is_stale(project):
    before = bireme(project, "--check")
    assert before.returncode == 1
    assert "stale: model.d.py.ts" in before.stdout
    assert not (project / "model.d.py.ts").exists(), "--check writes nothing"
    assert bireme(project).returncode == 0
    after = bireme(project, "--check")
    assert (after.returncode, after.stderr) == (0, "") and after.stdout.startswith("ok: ")
    with open(project / "model.py", "a") as file:
        file.write("\n\ndef more(text: str) -> int:\n    return len(text)\n")
    changed = bireme(project, "--check")
    assert (changed.returncode, changed.stdout) == (1, "stale: model.d.py.ts\n")
    assert bireme(project).stdout == "model.d.py.ts\n"
    assert "more: PythonFunction<[text: string]" in (project / "model.d.py.ts").read_text()


def test_check_tells_what_is_missing_changed_and_of_no_use(project):
    assert bireme(project).returncode == 0
    (project / "model.d.py.ts").unlink()
    stub = project / "typings/bireme/js/page_js.pyi"
    stub.write_text(stub.read_text() + "# changed by hand\n")
    left = project / "old.d.py.ts"
    left.write_text((project / "annotated.d.py.ts").read_text())
    mine = project / "mine.d.py.ts"
    mine.write_text("// written by hand\n")
    checked = bireme(project, "--check")
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == ["stale: model.d.py.ts", "stale: typings/bireme/js/page_js.pyi", "stale: old.d.py.ts"]
    assert checked.stderr == "3 files are stale; `bireme types` writes them anew\n"
    assert bireme(project).returncode == 0
    assert bireme(project, "--check").returncode == 0
    assert not left.exists() and mine.exists()


def test_what_nobody_imports_any_more_is_removed(project):
    assert bireme(project).returncode == 0
    for name in ("right", "wrong"):
        for program in (f"{name}.ts", f"{name}_annotated.ts"):
            (project / program).unlink()
    removed = bireme(project)
    assert removed.returncode == 0 and "model.d.py.ts" in removed.stdout
    assert not (project / "model.d.py.ts").exists() and not (project / "bireme.d.ts").exists()
    assert (project / "typings/bireme/__init__.pyi").exists(), "Python still calls JavaScript"


def test_all_goes_to_the_folder_that_is_named(project):
    (project / "deep").mkdir()
    (project / "deep/tool.py").write_text("def f() -> int:\n    return 1\n")
    (project / "deep/use.mjs").write_text("import { f } from './tool.py';\n")
    before = sorted(path.name for path in project.rglob("*"))
    assert bireme(project, "--out", "types").returncode == 0
    made = sorted(str(path.relative_to(project / "types")) for path in (project / "types").rglob("*") if path.is_file())
    assert made == [
        "annotated.d.py.ts", "bireme.d.ts", "bireme/__init__.pyi", "bireme/js/__init__.pyi", "bireme/js/greeting_ts.pyi", "bireme/js/page_js.pyi",
        "bireme/js/typed_ts.pyi", "deep/tool.d.py.ts", "model.d.py.ts",
    ]  # fmt: skip
    assert '<reference path="../bireme.d.ts" />' in (project / "types/deep/tool.d.py.ts").read_text()
    shutil.rmtree(project / "types")
    assert sorted(path.name for path in project.rglob("*")) == before


def test_what_cannot_be_understood_is_said(project):
    (project / "broken.py").write_text("def f(:\n")
    (project / "use.mjs").write_text("import './broken.py';\nimport './missing.py';\n")
    result = bireme(project)
    assert result.returncode == 1
    assert "broken.py:1:" in result.stderr and "it imports ./missing.py, which does not exist" in result.stderr
    assert (project / "model.d.py.ts").exists(), "the rest is written all the same"
