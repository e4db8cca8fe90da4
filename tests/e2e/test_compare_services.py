"""`bireme compare WEB ML` by requests and recordings of every kind, and how such a run ends (issue 5). Nothing here asserts a speed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.server import BIREME, children, eventually, is_alive, started_at
from test_compare import ML, SERVICES, SHORT, WEB, compare, document

# Each answers with what it was sent, and one of the two says something else besides.
ECHO_JS = """
export default {
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const sent = Object.fromEntries(['cookie', 'authorization', 'x-api-key'].map((name) => [name, request.headers.get(name)]));
    const answer = { path: pathname, search, sent, body: await request.text(), access_token: 'own-secret-of-web', by: 'web' };
    return Response.json(answer, { headers: { 'set-cookie': 'sid=set-secret-of-web', 'x-auth-token': 'field-secret-of-web' } });
  },
};
"""
ECHO_PY = """
import json

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    fields = {name.decode(): value.decode() for name, value in scope["headers"]}
    search = scope["query_string"].decode()
    answer = {
        "path": scope["path"], "search": "?" + search if search else "", "body": (await receive())["body"].decode(),
        "sent": {name: fields.get(name) for name in ("cookie", "authorization", "x-api-key")},
        "access_token": "own-secret-of-ml", "by": "ml " + str(fields) + search,
    }
    headers = [(b"content-type", b"application/json"), (b"set-cookie", b"sid=set-secret-of-ml"), (b"x-auth-token", b"field-secret-of-ml")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
"""
FIELDS = {"Cookie": "sid=cookie-secret-1; theme=dark", "Authorization": "Bearer bearer-secret-1", "X-Api-Key": "key-secret-1"}
TARGET = "/api/a?q=plain&token=query-secret-1"
POSTED = json.dumps({"user": "me", "password": "posted-secret-1"})


def entry(method: str, url: str, at: float = 0, status: int = 200, **more) -> dict:
    minutes, seconds = divmod(at, 60)
    headers = [{"name": name, "value": value} for name, value in FIELDS.items()]
    started = f"2026-01-01T00:{int(minutes):02}:{seconds:06.3f}Z"
    request = {"method": method, "url": url, "headers": headers} | more
    return {"startedDateTime": started, "request": request, "response": {"status": status, "headers": [], "content": {}}}


def archive(*entries: dict) -> str:
    return json.dumps({"log": {"entries": entries}})


HTTP_FILE = f"@key = key-secret-1\nGET {TARGET}\nCookie: {FIELDS['Cookie']}\nAuthorization: Bearer bearer-secret-1\nX-Api-Key: {{{{key}}}}\n\n"
HTTP_FILE += f"###\nPOST /api/b\nContent-Type: application/json\n\n{POSTED}\n"
HAR = archive(
    entry("GET", "https://shop.example" + TARGET),
    entry("POST", "https://shop.example/api/b", postData={"text": POSTED}),
    entry("GET", "https://shop.example/page"),
    entry("GET", "wss://shop.example/api/live", status=101),
    entry("GET", "https://cdn.example/api/c.js"),
)
COMBINED = f'1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET {TARGET} HTTP/1.1" 200 23 "-" "curl"\n'
COMBINED += '1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "POST /api/b HTTP/1.1" 200 23 "-" "curl"\n1.2.3.4 - - [10/Oct/2000:13:55:37 -0700] "-" 408 0\n'
JSON_LOG = json.dumps({"time": "2026-11-22T21:37:07.123Z", "method": "GET", "target": TARGET, "status": 200}) + "\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    return tmp_path


@pytest.mark.parametrize(
    ("option", "name", "text", "cases", "said"),
    [
        ("--requests", "requests.http", HTTP_FILE, 2, []),
        ("--requests", "traffic.har", HAR, 2, ["1 of 4 entries are for other hosts than shop.example", "1 entries are sockets", "1 of 3 requests are for other routes"]),
        ("--requests", "access.log", COMBINED, 1, ["1 requests are no GETs", "1 lines hold no request that can be sent, the first: line 3"]),
        ("--requests", "log.json", JSON_LOG, 1, []),
        ("--replay", "traffic.har", HAR, 2, ["1 of 3 requests are for other routes"]),
    ],
    ids=["http", "har", "combined log", "json log", "replay"],
)
def test_requests_of_every_kind_are_sent_and_no_secret_is_written(folder, option, name, text, cases, said):
    (folder / name).write_text(text)
    files = {"bireme_toml": SERVICES, "web_js": ECHO_JS, "ml_py": ECHO_PY}
    done = compare(folder, "web", "ml", "--route", "/api/*", option, name, "--launch", "0.05", *SHORT, **files)
    assert done.returncode == 0, done.stderr
    comparison = document(folder)["comparisons"][0]
    assert comparison["equality"]["outcome"] == "different" and comparison["equality"]["cases"] == cases
    differences = {difference["path"]: difference for difference in comparison["equality"]["differences"]}
    # What they were sent arrived alike: only what they say of themselves differs.
    assert set(differences) == {"$.by", "$.access_token", "header x-auth-token"}, done.stdout
    assert any(example["case"].endswith("GET /api/a?q=plain&token=[redacted]") for example in differences["$.by"]["examples"])
    remarks = "\n".join(comparison["remarks"])
    assert [what for what in said if what not in remarks] == [], remarks
    written = "".join(file.read_text() for file in (folder / "out").iterdir()) + done.stdout + done.stderr
    for secret in ("cookie-secret", "bearer-secret", "key-secret", "query-secret", "posted-secret", "own-secret", "set-secret", "field-secret"):
        assert secret not in written, f"{secret} was written"


TIMED_JS = """
import { appendFileSync } from 'node:fs';
export default {
  fetch(request) {
    appendFileSync('arrivals.txt', `web ${new URL(request.url).pathname} ${Date.now()}\\n`);
    return Response.json({ ok: true });
  },
};
"""
TIMED_PY = """
import time

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    with open("arrivals.txt", "a") as file:
        file.write(f"ml {scope['path']} {int(time.time() * 1000)}\\n")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"ok":true}'})
"""


@pytest.mark.parametrize(("speed", "pause"), [("1", 300), ("2", 150)])
def test_recorded_pauses_are_kept_or_scaled(folder, speed, pause):
    # Without a GET there is nothing by which errors would be tried, which takes its time.
    har = archive(entry("POST", "http://h/first", 0), entry("POST", "http://h/second", 0.3))
    files = {"bireme_toml": SERVICES, "web_js": TIMED_JS, "ml_py": TIMED_PY, "traffic_har": har}
    done = compare(folder, "web", "ml", "--replay", "traffic.har", "--speed", speed, *SHORT, **files)
    assert done.returncode == 0, done.stderr
    assert f"2 requests of 1 sessions, at {speed}× the recorded pace" in done.stdout
    arrivals = [line.split() for line in (folder / "arrivals.txt").read_text().splitlines()]
    for side in ("web", "ml"):
        own = [(path, int(at)) for name, path, at in arrivals if name == side]
        pauses = [after[1] - before[1] for before, after in zip(own, own[1:]) if (before[0], after[0]) == ("/first", "/second")]
        # Two launches compare answers without pauses; the twelve that count keep theirs, but where the first request came late.
        assert sum(each >= pause - 5 for each in pauses) >= 8, (side, pauses)


def test_a_side_that_dies_later_leaves_what_was_measured(folder):
    # Its first two launches compared answers; the eighth does not start.
    dying = "import os, pathlib\nCOUNT = pathlib.Path('launches.txt')\nCOUNT.write_text(COUNT.read_text() + 'x' if COUNT.exists() else 'x')\n"
    dying += "if len(COUNT.read_text()) > 7:\n    raise RuntimeError('the model is gone, token=log-secret-1')\n"
    har = archive(entry("POST", "http://h/1"))
    files = {"bireme_toml": SERVICES, "web_js": WEB, "ml_py": dying + ML, "traffic_har": har}
    done = compare(folder, "web", "ml", "--replay", "traffic.har", "--timeout", "20", *SHORT, **files)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the model is gone" in done.stdout and "The run ended early: ml: " in done.stdout
    comparison = document(folder)["comparisons"][0]
    assert 4 < len(comparison["launches"]) < 24 and {"latency_p50", "start_warm"} <= {measure["id"] for measure in comparison["measures"]}
    written = "".join(file.read_text() for file in (folder / "out").iterdir())
    assert "the model is gone" in written and "log-secret" not in written


@pytest.mark.parametrize(
    ("ml", "said"),
    [
        ("raise ImportError('no such model')\n", "no such model"),
        ("import asyncio\n\nasync def app(scope, receive, send):\n    if scope['type'] == 'http':\n        await asyncio.Event().wait()\n", "no answer in time"),
    ],
    ids=["dead", "hanging"],
)
def test_a_candidate_that_never_answers_is_said(folder, ml, said):
    files = {"bireme_toml": SERVICES, "web_js": WEB, "ml_py": ml, "requests_http": "GET /1\n"}
    done = compare(folder, "web", "ml", "--requests", "requests.http", "--timeout", "5", "--launch", "0.05", *SHORT, **files)
    assert said in done.stdout, done.stdout + done.stderr
    assert document(folder)["comparisons"][0]["measures"] == [] and (folder / "out/compare.html").exists()
    assert done.returncode == (1 if "such" in said else 0)


def test_an_interrupted_run_of_services_keeps_whole_launches(folder):
    for name, text in (("bireme.toml", SERVICES), ("web.js", WEB), ("ml.py", ML), ("requests.http", "GET /1\n")):
        (folder / name).write_text(text)
    arguments = ["compare", "web", "ml", "--requests", "requests.http", "--out", "out", "--launch", "2", "--quick", "--python", sys.executable]
    process = subprocess.Popen([BIREME, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The progress has a line now and then.
    while "block" not in (line := process.stderr.readline()):
        assert line, process.communicate()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "The run ended early: interrupted" in output
    written = document(folder)
    assert written["interrupted"] == "interrupted" and (folder / "out/compare.html").exists()
    # A launch that was cut short counts for nothing.
    assert all("capacity" in launch["values"] for launch in written["comparisons"][0]["launches"])
    assert not list(folder.glob(".bireme-compare-*"))


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]


@pytest.mark.parametrize("what", [("web", "ml", "--replay", "traffic.har"), ("./score.js:score", "./score.py:score", "--input", "cases.jsonl")], ids=["services", "functions"])
def test_a_killed_run_leaves_no_process(folder, what):
    # A recording whose pause a launch sits out, and a function that waits in itself, where its process notices no end of its input.
    har = archive(entry("POST", "http://h/1", 0), entry("POST", "http://h/2", 600))
    files = {"bireme.toml": SERVICES, "web.js": TIMED_JS, "ml.py": TIMED_PY, "traffic.har": har, "cases.jsonl": "1\n", "score.js": "export const score = () => 1;\n"}
    files["score.py"] = "import pathlib, time\n\ndef score(case):\n    pathlib.Path(__file__).with_name('asked').touch()\n    time.sleep(600)\n    return 1\n"
    for name, text in files.items():
        (folder / name).write_text(text)
    arguments = ["compare", *what, "--out", "out", "--launch", "1", "--quick", "--python", sys.executable]
    process = subprocess.Popen([BIREME, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if "--input" in what:
            eventually((folder / "asked").exists, seconds=60, what="the function is called")
        else:
            # A first answer and two recorded requests in each of four launches compare answers; the first recorded request after the next
            # first answer is measured.
            arrivals = folder / "arrivals.txt"
            eventually(lambda: arrivals.exists() and len(arrivals.read_text().splitlines()) == 14, seconds=60, what="a launch is measured")
        found = {pid: started_at(pid) for pid in descendants(process.pid)}
    finally:
        process.kill()
        process.wait()
    # A front, its guardian and a worker; or the function's process.
    assert len(found) >= (1 if "--input" in what else 3), found
    eventually(lambda: not any(is_alive(pid) and started_at(pid) == began for pid, began in found.items()), what=f"all of {found} go")


def test_an_interpreter_named_serves_the_services_of_its_language(folder):
    files = {"bireme_toml": SERVICES, "web_js": WEB, "ml_py": ML, "requests_http": "GET /1\n"}
    done = compare(folder, "web", "ml", "--requests", "requests.http", "--node", str(folder / "own/bin/node"), *SHORT, **files)
    assert done.returncode == 1 and "The run ended early: web: " in done.stdout, done.stdout + done.stderr
    assert "own/bin/node does not exist" in done.stdout


def test_a_route_or_file_that_gives_no_request_is_said(folder):
    for arguments, said in [
        (("--route", "api", "--requests", "requests.http"), '--route "api": '),
        (("--route", "/api/*", "--requests", "requests.http"), "1 of 1 requests are for other routes"),
        (("--requests", "nothing.http"), "nothing.http: it cannot be read"),
        (("--requests", "empty.http"), "empty.http: it holds no request"),
        (("--requests", "noise.log"), "noise.log: line 1: no request is found"),
        (("--requests", "image.har"), "image.har: it cannot be read"),
        (("--replay", "requests.http"), "requests.http: it is no HTTP archive"),
        (("--replay", "cut.har"), "cut.har: it is no HTTP archive"),
        (("--replay", "old.har"), 'old.har: entry 1: startedDateTime "yesterday"'),
    ]:
        old = archive(entry("GET", "/1") | {"startedDateTime": "yesterday"})
        files = {"bireme_toml": SERVICES, "web_js": WEB, "ml_py": ML, "requests_http": "GET /1\n", "empty_http": "# nothing\n"}
        (folder / "image.har").write_bytes(b"\x89PNG\r\n\xff\xfe")
        done = compare(folder, "web", "ml", *arguments, **files, noise_log="hello\n", cut_har=HAR[:-40], old_har=old)
        assert done.returncode == 2 and said in done.stderr, (arguments, done.stderr)


# As long as a default run takes whatever its launches are told: trials of capacity and of memory limits.
@pytest.mark.timeout(600)
def test_a_run_of_default_length_measures_cold_starts_and_memory_after_rest(folder):
    files = {"bireme_toml": SERVICES, "web_js": WEB, "ml_py": ML, "requests_http": "GET /7\n"}
    arguments = ("--requests", "requests.http", "--blocks", "6", "--launch", "0.3", "--rest", "0.5", "--service-level", "2000", "--out", "out", "--python", sys.executable)
    done = compare(folder, "web", "ml", *arguments, **files)
    assert done.returncode in (0, 1), done.stderr
    written = document(folder)
    assert written["settings"]["effort"] == "default" and written["settings"]["rest_seconds"] == 0.5
    if done.returncode == 1:
        # A machine on which not even the generator comes to send is said to be so.
        assert "too busy" in written["interrupted"] or "does not carry" in written["interrupted"]
        return
    measures = {(measure["id"], measure["condition"]) for measure in written["comparisons"][0]["measures"]}
    assert ("memory_after", "0.5 s of rest") in measures and "start_cold" in {name for name, _ in measures}
