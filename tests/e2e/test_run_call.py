"""`bireme run` and `bireme call`: programs and functions of both languages, from the command line."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness.server import BIREME

MODEL = """
import asyncio, datetime, decimal, os, sys, time, uuid

def predict(values, top=3, *, scale=1):
    return {"sum": sum(values) * scale, "top": top}

async def rows(count):
    for n in range(count):
        yield {"n": n}

def fail(text):
    raise ValueError(text)

async def slow():
    await asyncio.sleep(600)

def values():
    return [2**70, float("nan"), b"\\x00\\xff", {1: "a"}, {3}, datetime.date(2026, 11, 24), decimal.Decimal("1.10"), uuid.UUID(int=1),
            datetime.datetime(2026, 11, 24, 10, tzinfo=datetime.timezone.utc)]

def lock():
    import threading
    return {"lock": [threading.Lock()]}

def die():
    os._exit(9)

def where():
    print("the function speaks")
    return os.getcwd()

def large(size):
    return "x" * size

def large_rows(size):
    yield "x" * size
    yield 1

def block():
    time.sleep(3600)
"""

PAGE = """
export function render({ title }, ...rest) { return `<h1>${title}</h1>${rest.join('')}`; }
export default (n) => n + 1;
export async function* feed(count) { for (let n = 0; n < count; n++) yield n; }
export function fail() { throw new RangeError('out of range'); }
export const slow = () => new Promise((resolve) => setTimeout(resolve, 600_000));
export const lock = () => ({ lock: [new WeakMap()] });
export const die = () => process.exit(9);
export const keywords = (text, { lang = 'en' } = {}) => `${text} ${lang}`;
export function typed() { return [new Float64Array([1.5, 2]), 10n ** 30n, new Map([[1, null]]), undefined]; }
"""


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "page.mjs").write_text(PAGE)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "BIREME_RUNTIME_DIR": str(folder / "run"), "PYTHONDONTWRITEBYTECODE": "1"}


def bireme(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Runs to the end; nothing of it is left."""
    command = [str(BIREME), *arguments]
    result = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120, **options)
    run = folder / "run"
    assert not run.exists() or not list(run.iterdir())
    return result


def call(folder: Path, *arguments: str, status: int = 0) -> str:
    """What a call prints."""
    result = bireme(folder, "call", *arguments)
    assert result.returncode == status, result.stderr
    return result.stdout if status == 0 else result.stderr


def test_functions_of_python_are_called(project):
    assert json.loads(call(project, "./model.py:predict", "[1,2,3]", "--kwargs", '{"top":1,"scale":2}')) == {"sum": 12, "top": 1}
    assert call(project, "./model.py:rows", "3") == '{"n":0}\n{"n":1}\n{"n":2}\n'
    assert call(project, "json:dumps", '{"a":[null]}') == '"{\\"a\\": [null]}"\n'
    assert len(call(project, "./model.py:large", "3000000")) == 3_000_003
    # One item that no frame holds.
    assert [len(line) for line in call(project, "./model.py:large_rows", "3000000").splitlines()] == [3_000_002, 1]


def test_functions_of_javascript_are_called(project):
    assert call(project, "./page.mjs:render", '{"title":"a"}', '"b"', "1") == '"<h1>a</h1>b1"\n'
    assert call(project, "./page.mjs", "41") == "42\n"
    assert call(project, "./page.mjs:feed", "2") == "0\n1\n"
    assert call(project, "--language", "node", "node:path:basename", '"/a/b.c"') == '"b.c"\n'


def test_values_that_json_cannot_say_have_their_forms(project):
    assert json.loads(call(project, "./model.py:values")) == [
        2**70, {"$float": "NaN"}, {"$bytes": "AP8="}, {"$map": [[1, "a"]]}, {"$set": [3]}, {"$date": "2026-11-24"}, {"$decimal": "1.10"},
        {"$uuid": "00000000-0000-0000-0000-000000000001"}, {"$moment": "2026-11-24T10:00:00Z"},
    ]  # fmt: skip
    assert json.loads(call(project, "./page.mjs:typed")) == [[1.5, 2.0], 10**30, {"$map": [[1, None]]}, None]


def test_errors_have_their_stack_and_status(project):
    raised = call(project, "./model.py:fail", '"no luck"', status=1)
    assert re.search(r"model\.py:12.* in fail \(Python\)\n\s+raise ValueError\(text\)\nValueError: no luck", raised), raised
    raised = call(project, "./page.mjs:fail", status=1)
    assert "RangeError: out of range" in raised and "page.mjs:5" in raised
    assert "BIREME_NOT_FOUND" in call(project, "./model.py:nothing", status=3)
    assert "BIREME_NOT_FOUND" in call(project, "no_such_module:f", status=3)
    assert "lock" in (cannot := call(project, "./model.py:lock", status=4)) and "BIREME_VALUE" in cannot
    assert "BIREME_WORKER_LOST" in call(project, "./model.py:die", status=5)
    assert "BIREME_CALL_TIMEOUT" in call(project, "./model.py:slow", "--timeout", "300ms", status=124)


def test_outcomes_of_javascript_have_the_same_statuses(project):
    assert call(project, "./page.mjs:keywords", '"a"', "--kwargs", '{"lang":"de"}') == '"a de"\n'
    assert "BIREME_NOT_FOUND" in call(project, "./page.mjs:nothing", status=3)
    assert "BIREME_NOT_FOUND" in call(project, "--language", "node", "no-such-package:f", status=3)
    assert "lock" in (cannot := call(project, "./page.mjs:lock", status=4)) and "BIREME_VALUE" in cannot
    assert "BIREME_WORKER_LOST" in call(project, "./page.mjs:die", status=5)
    assert "BIREME_CALL_TIMEOUT" in call(project, "./page.mjs:slow", "--timeout", "300ms", status=124)


@pytest.mark.parametrize("function", ["./model.py:echo", "./page.mjs:echo"])
def test_an_argument_may_come_from_stdin(project, function):
    (project / "model.py").write_text("def echo(one, two):\n    return [two, one]\n")
    (project / "page.mjs").write_text("export const echo = (one, two) => [two, one];\n")
    result = bireme(project, "call", function, "1", "-", input='{"a": "ä"}')
    assert (result.returncode, json.loads(result.stdout)) == (0, [{"a": "ä"}, 1]), result.stderr


@pytest.mark.parametrize("function", ["./model.py:slow", "./page.mjs:slow"])
def test_an_interrupted_call_has_its_status(project, function):
    (project / "model.py").write_text("import asyncio\n\nasync def slow():\n    print('begun', flush=True)\n    await asyncio.sleep(600)\n")
    (project / "page.mjs").write_text("export const slow = () => (console.log('begun'), new Promise((resolve) => setTimeout(resolve, 600_000)));\n")
    process = subprocess.Popen(
        [BIREME, "call", function], cwd=project, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert any("begun" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert "BIREME_CALL_CANCELLED" in process.stderr.read()
        assert process.wait(60) == 130


def test_the_service_of_the_file_runs_the_function(project):
    (project / "ml").mkdir()
    (project / "ml/tool.py").write_text(MODEL)
    (project / "bireme.toml").write_text('[service.ml]\npython = "app:app"\ncwd = "ml"\nworkers = 1\n')
    result = bireme(project, "call", "./ml/tool.py:where")
    assert json.loads(result.stdout) == str(project / "ml"), result.stderr
    assert "[ml#1] the function speaks" in result.stderr


@pytest.mark.parametrize("service, options", [("300ms", []), ("1h", ["--timeout", "300ms"])])
def test_a_call_has_the_deadline_of_its_service_unless_it_says_its_own(project, service, options):
    (project / "bireme.toml").write_text(f'[service.ml]\npython = "app:app"\ncall_timeout = "{service}"\n')
    assert "within 300 ms" in call(project, "./model.py:slow", *options, status=124)


def test_a_script_of_javascript_calls_python(project):
    (project / "script.mjs").write_text(
        "import { predict, rows, fail } from './model.py';\n"
        "const { sum } = await predict.with({ kwargs: { scale: 2 } })([1, 2]);\n"
        "const seen = [];\n"
        "for await (const { n } of rows(3)) seen.push(n);\n"
        "await fail('no luck').catch((error) => console.log(error.type, error.message));\n"
        "console.log(sum, seen.join(), process.argv.slice(2).join());\n"
        "process.exitCode = 7;\n"
    )
    result = bireme(project, "run", "script.mjs", "--a", "b")
    assert (result.returncode, result.stdout) == (7, "ValueError no luck\n6 0,1,2 --a,b\n"), result.stderr


def test_a_script_of_python_calls_javascript(project):
    (project / "script.py").write_text(
        "import asyncio, sys\n"
        "from bireme import JsError, node\n"
        'page = node("./page.mjs")\n'
        'print(page.render.sync({"title": "a"}), __name__, sys.argv[1:])\n'
        "async def main():\n"
        "    items = [n async for n in page.feed(3)]\n"
        "    try:\n"
        "        await page.fail()\n"
        "    except JsError as error:\n"
        "        print(items, error.type, error)\n"
        "asyncio.run(main())\n"
        "sys.exit(7)\n"
    )
    result = bireme(project, "run", "script.py", "--a", "b")
    assert result.returncode == 7, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "<h1>a</h1> __main__ ['--a', 'b']"
    assert lines[1].startswith("[0, 1, 2] RangeError") and "out of range" in lines[1]


def test_a_worker_that_is_blocked_does_not_hold_a_script_up(project):
    (project / "bireme.toml").write_text('[service.ml]\npython = "app:app"\nworkers = 1\nstop_timeout = "1h"\n')
    (project / "script.mjs").write_text(
        "import { block } from './model.py';\n"
        "await block.with({ timeout: 200 })().catch((error) => console.log(error.name));\n"
    )
    result = bireme(project, "run", "script.mjs")
    assert (result.returncode, result.stdout) == (0, "CallTimeout\n"), result.stderr


def test_nested_calls_come_back(project):
    (project / "outer.py").write_text(
        'from bireme import node\n\nasync def twice(n):\n    return await node("./inner.mjs").add(n) * 2\n\ndef fail():\n    raise KeyError("deep")\n'
    )
    (project / "inner.mjs").write_text(
        "import { fail as failing } from './outer.py';\nexport const add = (n) => n + 1;\nexport async function fail() { await failing(); }\n"
    )
    assert call(project, "./outer.py:twice", "20") == "42\n"
    raised = call(project, "./inner.mjs:fail", status=1)
    # The stacks of both languages, in one order.
    assert re.search(r"inner\.mjs:3.*\n(.*\n)*.*outer\.py:7.*\n.*raise KeyError", raised), raised


@pytest.mark.parametrize("name", ["script.mjs", "script.py"])
def test_signals_end_a_script_and_its_workers(project, name):
    (project / "script.mjs").write_text(
        "import { where } from './model.py';\nawait where();\nconsole.log('waiting');\nsetInterval(() => {}, 1000);\n"
    )
    (project / "script.py").write_text(
        'import signal\nfrom bireme import node\nnode("./page.mjs").render.sync({"title": 1})\nprint("waiting", flush=True)\nsignal.pause()\n'
    )
    process = subprocess.Popen(
        [BIREME, "run", name], cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(60) == -signal.SIGTERM
    assert not list((project / "run").iterdir())


USES = {
    "py": "import bireme\n\ndef use(what):\n    getattr(bireme, what)('topic', *(['data'] if what == 'publish' else []))\n",
    "mjs": "import * as bireme from 'bireme';\nexport const use = (what) => bireme[what]('topic', 'data');\n",
}


@pytest.mark.parametrize("language", USES)
@pytest.mark.parametrize("what", ["publish", "subscribe", "presence"])
def test_who_serves_no_requests_is_told_that_it_has_no_topics(project, language, what):
    (project / f"uses.{language}").write_text(USES[language])
    error = call(project, f"./uses.{language}:use", f'"{what}"', status=1)
    assert "TopicsUnavailable: topics are for the workers of services that serve requests" in error, error
