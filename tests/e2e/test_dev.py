"""`bireme dev` with applications of both languages, which are changed while they are asked."""

import re
import threading
from pathlib import Path

import httpx
import pytest

from harness.server import Server, eventually

CONFIG = """
[service.web]
node = "web/server.mjs"
cwd = "web"
[service.ml]
python = "app:app"
cwd = "ml"
[[route]]
match = "/ml/*"
to = "ml"
[[route]]
match = "/*"
to = "web"
[dev]
debounce = "20ms"
"""

SERVER = """
import { createServer } from 'node:http';
import { answer } from '../ml/model.py';

createServer(async (request, response) => response.end(`VERSION ${await answer()} ${process.pid}`)).listen(3000);
"""

MODEL = "def answer() -> str:\n    return 'VERSION'\n"

APP = """
import os

import model

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": f"{model.answer()} {os.getpid()}".encode()})
"""

RELOADED = re.compile(r"reloaded in")


@pytest.fixture
def dev(serve, tmp_path) -> Server:
    folder = tmp_path / "project"
    for name, text in {"web/server.mjs": SERVER, "ml/app.py": APP, "ml/model.py": MODEL}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, text, "one")
    return serve(CONFIG, folder=folder, command="dev").ready()


def write(path: Path, text: str, version: str) -> None:
    """As editors save: the whole file at once."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text.replace("VERSION", version))
    new.rename(path)


def save(server: Server, name: str, text: str, version: str) -> None:
    """Saves a file, and waits until the change is taken up."""
    mark = server.mark()
    write(server.folder / name, text, version)
    server.wait_for(RELOADED, since=mark)


def test_a_change_concerns_its_own_language_alone(dev):
    web, ml = dev.workers("web"), dev.workers("ml")
    assert dev.get("/").text == f"one one {web[0]}" and dev.get("/ml/").text == f"one {ml[0]}"
    save(dev, "ml/model.py", MODEL, "two")
    # The page is still that of the same process; it calls the new workers.
    assert dev.get("/").text == f"one two {web[0]}"
    assert dev.get("/ml/").text.startswith("two ") and dev.workers("ml") != ml
    ml = [int(dev.get("/ml/").text.split()[1])]
    save(dev, "web/server.mjs", SERVER, "three")
    assert dev.get("/").text.startswith("three two ")
    assert dev.get("/ml/").text == f"two {ml[0]}"


def test_saving_under_load_drops_no_request(dev):
    wrong: list[str] = []
    seen: set[str] = set()
    over = threading.Event()

    def ask(path: str) -> None:
        with dev.client() as client:
            while not over.is_set():
                try:
                    response = client.get(path)
                except httpx.HTTPError as error:
                    wrong.append(repr(error))
                    continue
                if response.status_code != 200:
                    wrong.append(response.text)
                seen.add(response.text.rpartition(" ")[0])

    clients = [threading.Thread(target=ask, args=(path,)) for path in ("/", "/", "/ml/", "/ml/")]
    for client in clients:
        client.start()
    try:
        for version in ("two", "three", "four"):
            save(dev, "ml/model.py", MODEL, version)
            save(dev, "web/server.mjs", SERVER, version)
        eventually(lambda: {"four four", "four"} <= seen, what="answers of the last version")
    finally:
        over.set()
        for client in clients:
            client.join()
    assert not wrong
    assert {"one one", "one"} <= seen or len(seen) > 2


def test_types_are_kept_fresh(dev):
    declared = dev.folder / "ml/model.d.py.ts"
    assert "Promise<string>" in declared.read_text()
    mark = dev.mark()
    write(dev.folder / "ml/model.py", MODEL.replace("str:", "int:"), "two")
    dev.wait_for("types written: model.d.py.ts", since=mark)
    assert "Promise<number>" in declared.read_text()


@pytest.mark.parametrize(
    "name, path, broken, shown",
    [
        ("web/server.mjs", "/", "export default () => { throw new RangeError('<out of range>'); };\n", ["RangeError: &lt;out of range&gt;", "server.mjs:1"]),
        ("ml/model.py", "/ml/", "def answer():\n    raise KeyError('<no key>')\n", ["KeyError: &#39;&lt;no key&gt;&#39;", "model.py", "line 2"]),
    ],
    ids=["node", "python"],
)
def test_pages_show_the_errors_of_both_languages(dev, name, path, broken, shown):
    save(dev, name, broken, "")
    page = dev.get(path, headers={"accept": "text/html"})
    assert page.status_code == 500
    for text in ("<pre>", *shown):
        assert text in page.text, page.text


def test_the_folders_that_are_named_are_watched_and_no_others(serve, tmp_path):
    folder = tmp_path / "project"
    for name in ("web", "lib"):
        (folder / name).mkdir(parents=True)
    (folder / "web/server.mjs").write_text("export default (request, response) => response.end();\n")
    server = serve('[service.web]\nnode = "web/server.mjs"\n[dev]\nwatch = ["web"]\n', folder=folder, command="dev").ready()
    (folder / "lib/other.mjs").write_text("1")
    save(server, "web/page.mjs", "1", "")
    assert any("page.mjs" in line for line in server.lines) and not any("other.mjs" in line for line in server.lines)


def test_what_the_configuration_leaves_out_changes_nothing(serve, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tool.py").write_text("def f() -> int:\n    return 1\n")
    (folder / "use.mjs").write_text("import { f } from './tool.py';\n")
    (folder / "server.mjs").write_text("export default (request, response) => response.end(String(process.pid));\n")
    config = '[service.web]\nnode = "server.mjs"\n[dev]\nignore = ["made/"]\nendings = ["mjs", "tera"]\ntypes = false\n'
    server = serve(config, folder=folder, command="dev")
    before = server.get("/").text
    (folder / "made").mkdir()
    (folder / "made/a.mjs").write_text("1")
    (folder / "b.py").write_text("1")
    mark = server.mark()
    (folder / "page.tera").write_text("1")
    assert "page.tera" in server.wait_for("changed", since=mark).string
    server.wait_for(RELOADED, since=mark)
    assert not any("a.mjs" in line or "b.py" in line for line in server.lines)
    assert server.get("/").text != before
    assert not list(folder.rglob("*.d.py.ts"))
