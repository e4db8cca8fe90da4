"""Python calls JavaScript, through the real broker and real workers (issue 3): services, scripts, any other python."""

import json
import os
import subprocess
import textwrap

import pytest

from harness.apps import VENV
from harness.server import BIREME

RENDER = """
import { signal } from 'bireme'
export function page(props, options) { return `<h1>${props.name}${options ? options.mark : ''}</h1>` }
export const VERSION = '1.2'
export async function* count(n) { for (let i = 0; i < n; i++) yield { i } }
export function fail(text) { const error = new RangeError(text, { cause: new Error('why') }); error.status = 418; throw error }
export async function twice(f, x) { return await f(await f(x)) }
export class Counter {
  constructor(n) { this.n = n }
  add(k) { this.n += k; return this.n }
}
export const never = () => new Promise(() => {})
let begun = 0
let aborted = 0
export async function wait() { const s = signal(); begun++; await new Promise((resolve) => s.addEventListener('abort', resolve)); aborted++ }
export const howMany = () => [begun, aborted]
export function die() { process.kill(process.pid, 'SIGKILL') }
export async function deeper(f, n) { return n === 0 ? 'bottom' : await f(n - 1) }
"""
APP = """
import asyncio, json, os, threading, traceback
import bireme
from bireme import node
js = node("./render.mjs")

def plain_deeper(n):
    return js.deeper.sync(plain_deeper, n)

async def deeper(n):
    return await js.deeper(deeper, n)

class Cases:
    async def page(): return await js.page({"name": "Ann"}, mark="!")
    async def value(): return await js.VERSION.get()
    async def stream(): return [item async for item in js.count(1000)]
    async def sync(): return await asyncio.to_thread(js.page.sync, {"name": "Bob"})
    async def sync_stream(): return await asyncio.to_thread(lambda: list(js.count.sync(3)))
    async def error():
        try:
            await js.fail("no tea")
        except bireme.JsError as error:
            return [error.type, error.message, error.status, error.__cause__.message, traceback.format_exc(), error.remote_stack]
    async def callbacks():
        async def add(x): return x + 1
        return [await js.twice(add, 1), await js.twice(lambda x: x * 2, 1)]
    async def objects():
        counter = await js.Counter.new(5)
        return [await counter.add(2), await counter.n.get(), await asyncio.to_thread(counter.add.sync, 1)]
    async def timeout():
        try:
            await js.never.with_(timeout=0.05)()
        except bireme.CallTimeout as error:
            return str(error)
    async def cancel():
        begun, aborted = await js.howMany()
        task = asyncio.create_task(js.wait())
        while (await js.howMany())[0] == begun: pass
        task.cancel()
        while (await js.howMany())[1] == aborted: pass
        return True
    async def nested(): return [await deeper(30), await asyncio.to_thread(plain_deeper, 100)]
    async def lost():
        try:
            await js.die()
        except bireme.WorkerLost as error:
            return [error.started, await js.page({"name": "again"})]
    async def wrong_thread():
        try:
            js.page.sync({})
        except RuntimeError as error:
            return str(error)
    async def missing():
        try:
            await js.nothing()
        except bireme.CallTargetNotFound as error:
            return error.code

async def app(scope, receive, send):
    if scope["type"] != "http": return
    try:
        body = await getattr(Cases, scope["path"][1:])()
    except BaseException as error:
        body = {"failed": traceback.format_exc()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
"""
WSGI = """
import json
from bireme import node
js = node("./render.mjs")
def app(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps([js.page.sync({"name": "W"}), js.twice.sync(lambda x: x + 1, 1), list(js.count.sync(2))]).encode()]
"""


def project(folder, app=APP, target="app:app"):
    (folder / "render.mjs").write_text(RENDER)
    (folder / "app.py").write_text(app)
    return f'[service.web]\npython = "{target}"\ninterpreter = "{VENV}"\n[[route]]\nmatch = "/*"\nto = "web"\n'


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    from harness.server import Server

    folder = tmp_path_factory.mktemp("calls")
    with Server(folder, project(folder)) as server:
        yield server


def ask(server, case):
    body = server.get(f"/{case}").json()
    assert not (isinstance(body, dict) and "failed" in body), body["failed"]
    return body


@pytest.mark.parametrize("case, expected", [
    ("page", "<h1>Ann!</h1>"),
    ("value", "1.2"),
    ("stream", [{"i": number} for number in range(1000)]),
    ("sync", "<h1>Bob</h1>"),
    ("sync_stream", [{"i": 0}, {"i": 1}, {"i": 2}]),
    ("callbacks", [3, 4]),
    ("objects", [7, 7, 8]),
    ("timeout", "never did not answer within 50 ms"),
    ("cancel", True),
    ("nested", ["bottom", "bottom"]),
    ("missing", "BIREME_NOT_FOUND"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_service_calls_javascript(web, case, expected):
    assert ask(web, case) == expected


def test_an_error_has_one_traceback_through_both_languages(web):
    kind, message, status, cause, text, stack = ask(web, "error")
    assert (kind, message, status, cause) == ("RangeError", "no tea", 418, "why")
    line = 1 + RENDER[: RENDER.index("new RangeError")].count("\n")
    places = ["in error", 'await js.fail("no tea")', f'render.mjs", line {line}, in fail', "throw error", "JsError: RangeError: no tea"]
    found = [text.index(place, text.index("in error")) for place in places]
    assert found == sorted(found), text
    assert "RangeError: no tea" in stack


def test_the_blocking_form_does_not_stop_a_loop(web):
    assert "await page(…) instead" in ask(web, "wrong_thread")


def test_a_worker_that_dies_is_replaced(web):
    assert ask(web, "lost") == ["unknown", "<h1>again</h1>"]


def test_a_wsgi_application(serve, tmp_path):
    folder = tmp_path / "wsgi"
    folder.mkdir()
    server = serve(project(folder, WSGI), folder=folder)
    for _ in range(3):
        assert server.get("/").json() == ["<h1>W</h1>", 3, [{"i": 0}, {"i": 1}]]


SCRIPT = """
    import asyncio, json, multiprocessing, os, sys
    from bireme import node
    js = node("./render.mjs")

    def child(queue):
        queue.put(js.page.sync({"name": "child"}))

    async def main():
        return [await js.page({"name": "main"}), [item["i"] async for item in js.count(3)]]

    if __name__ == "__main__":
        found = {"argv": sys.argv, "file": __file__, "path": sys.path[0], "sync": js.page.sync({"name": "sync"})}
        found["runs"] = [asyncio.run(main()), asyncio.run(main())]
        found["children"] = []
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            queue = context.Queue()
            process = context.Process(target=child, args=(queue,))
            process.start()
            found["children"].append(queue.get(timeout=60))
            process.join(60)
        print(json.dumps(found))
        sys.exit(3)
"""


@pytest.mark.parametrize("how", ["bireme run", "python"])
def test_scripts(tmp_path, how):
    (tmp_path / "render.mjs").write_text(RENDER)
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIREME")} | {"VIRTUAL_ENV": str(VENV)}
    if how == "python":
        command = [VENV / "bin/python", "script.py", "a", "--b"]
        environment |= {"PYTHONPATH": str(BIREME.parent / "runtime/python")}
    else:
        command = [BIREME, "run", "script.py", "a", "--b"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["argv"] == ["script.py", "a", "--b"]
    assert (found["file"], found["path"]) == (str(script), str(tmp_path))
    assert found["sync"] == "<h1>sync</h1>"
    assert found["runs"] == [["<h1>main</h1>", [0, 1, 2]]] * 2
    assert found["children"] == ["<h1>child</h1>"] * 2


def test_an_uncaught_exception_in_a_script(tmp_path):
    (tmp_path / "script.py").write_text("def f():\n    1 / 0\nf()\n")
    done = subprocess.run([BIREME, "run", "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == ["Traceback (most recent call last):", f'  File "{tmp_path}/script.py", line 3, in <module>']
