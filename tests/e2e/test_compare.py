"""`bireme compare` as typed: real interpreters, real services, and what it writes (issue 5). Nothing here asserts a speed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from harness.server import BIREME, eventually

SCORE_JS = "exports.score = ({ items }) => ({ score: items.reduce((a, b) => a + b, 0) });\n"
SCORE_PY = "def score(case):\n    return {'score': sum(case['items'])}\n"
CASES = "".join(json.dumps({"items": list(range(n))}) + "\n" for n in (1, 10, 100))
SHORT = ("--quick", "--out", "out", "--python", sys.executable)

WEB = "export default { fetch(request) { const n = Number(new URL(request.url).pathname.split('/').pop()); return Response.json({ n, square: n * n }); } };\n"
ML = """
import json

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    n = int(scope["path"].split("/")[-1])
    body = json.dumps({"n": n, "square": n * n}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
"""
SERVICES = f"""
[service.web]
node = "web.js"
workers = 1

[service.ml]
python = "ml:app"
interpreter = "{sys.executable}"
workers = 1

[[route]]
match = "/ml/*"
to = "ml"
strip_prefix = true

[[route]]
match = "/*"
to = "web"
"""


def compare(folder: Path, *arguments: str, **files: str) -> subprocess.CompletedProcess:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIREME")}
    return subprocess.run([BIREME, "compare", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def functions(folder: Path, *more: str, js: str = SCORE_JS, py: str = SCORE_PY, cases: str = CASES, launch: str = "0.05") -> subprocess.CompletedProcess:
    arguments = ("./score.js:score", "./score.py:score", "--input", "cases.jsonl", "--launch", launch, *SHORT, *more)
    return compare(folder, *arguments, score_js=js, score_py=py, cases_jsonl=cases)


def document(folder: Path) -> dict:
    return json.loads((folder / "out/compare.json").read_text())


def test_functions_are_compared_and_written_down(tmp_path):
    done = functions(tmp_path, "--fail-if", "python.p50 > 100000 * node.p50", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "answers are equal: 3 cases" in done.stdout
    assert "ok: python.p50 > 100000 * node.p50" in done.stdout
    written = document(tmp_path)
    comparison = written["comparisons"][0]
    assert [side["name"] for side in comparison["sides"]] == ["node", "python"]
    assert len(comparison["launches"]) == 6 * 4
    by_block = [[launch["side"] for launch in comparison["launches"] if launch["block"] == block] for block in range(6)]
    assert all(order in (["node", "python", "python", "node"], ["python", "node", "node", "python"]) for order in by_block)
    ids = {measure["id"] for measure in comparison["measures"]}
    assert {"latency_p50", "throughput", "cpu", "memory_idle", "memory_peak", "start_warm", "start_cold", "error_cost"} <= ids
    assert all(measure["verdict"]["sentence"] for measure in comparison["measures"])
    again = compare(tmp_path, "diff", "out/compare.json", "out/compare.json")
    assert again.returncode == 0 and "no change shown" in again.stdout and "worse" not in again.stdout


def test_a_run_is_repeated_from_what_it_wrote(tmp_path):
    assert functions(tmp_path).returncode == 0
    first = document(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = compare(elsewhere, "--reproduce", "../out/compare.json", "--out", "again")
    assert done.returncode == 0, done.stderr
    second = json.loads((elsewhere / "again/compare.json").read_text())
    order = lambda written: [(launch["block"], launch["side"]) for launch in written["comparisons"][0]["launches"]]
    assert order(first) == order(second) and first["settings"] == second["settings"]


def test_while_answers_differ_there_is_no_verdict(tmp_path):
    wrong = "def score(case):\n    n = len(case['items'])\n    return {'score': sum(case['items']) + (n == 10)}\n"
    done = functions(tmp_path, "--fail-if", "python.p50 > node.p50", py=wrong)
    assert "answers differ" in done.stdout and "$.score: differs" in done.stdout and "case 2: 45 and 46" in done.stdout
    assert done.returncode == 1 and "cannot be judged" in done.stdout
    comparison = document(tmp_path)["comparisons"][0]
    assert comparison["measures"] == [] and comparison["equality"]["outcome"] == "different"


def test_nondeterministic_fields_are_noise(tmp_path):
    js = "const { randomUUID } = require('crypto');\nexports.score = async () => ({ id: randomUUID(), ok: true });\n"
    py = "import uuid\n\nasync def score(case):\n    return {'id': str(uuid.uuid4()), 'ok': True}\n"
    done = functions(tmp_path, js=js, py=py)
    assert done.returncode == 0, done.stderr
    comparison = document(tmp_path)["comparisons"][0]
    assert [(d["path"], d["class"]) for d in comparison["equality"]["differences"]] == [("$.id", "noise")]
    assert "throughput_concurrent" in {measure["id"] for measure in comparison["measures"]}


def test_an_answer_that_is_wrong_now_and_then_is_reported(tmp_path):
    # A counter in the process, started apart in each launch: one answer in 40, never the same one.
    py = "import itertools, os\nN = itertools.count(os.getpid())\n\ndef score(case):\n    return {'score': sum(case['items']) + (next(N) % 40 == 0)}\n"
    done = functions(tmp_path, launch="1", py=py)
    difference = document(tmp_path)["comparisons"][0]["equality"]["differences"][0]
    assert difference["path"] == "$.score" and difference["class"] in ("unstable", "real"), difference
    assert 0 < difference["across"] + difference["right_twin"] < difference["compared"] / 5
    assert "answers differ" in done.stdout


@pytest.mark.parametrize(
    ("py", "said"),
    [
        ("raise ImportError('no such model')\n", "no such model"),
        ("def other(case):\n    return 1\n", 'no function "score" is defined; defined are: other'),
        ("import os\n\ndef score(case):\n    print('last words', flush=True)\n    os._exit(3)\n", "last words"),
        ("import time\n\ndef score(case):\n    time.sleep(600)\n", "case 1 gave no answer within 5 s"),
        ("def score(case):\n    return {1, 2}\n", "answers differ"),
    ],
    ids=["import", "missing", "dies", "hangs", "no JSON"],
)
def test_a_broken_side_is_said_and_results_are_kept(tmp_path, py, said):
    done = functions(tmp_path, "--timeout", "5" if "within" in said else "60", py=py)
    assert said in done.stdout, done.stdout
    assert document(tmp_path)["comparisons"][0]["measures"] == []
    assert done.returncode == (0 if "differ" in said else 1)


ALONE_JS = """
let busy = false;
exports.score = async ({ items }) => {
  if (busy) throw new Error('one at a time');
  busy = true;
  await new Promise(setImmediate);
  busy = false;
  return { score: items.length };
};
"""
ASYNC_PY = "import asyncio\n\nasync def score(case):\n    await asyncio.sleep(0)\n    return {'score': len(case['items'])}\n"


def test_calls_that_fail_in_flight_are_no_throughput(tmp_path):
    done = functions(tmp_path, js=ALONE_JS, py=ASYNC_PY)
    assert done.returncode == 0, done.stderr
    comparison = document(tmp_path)["comparisons"][0]
    assert comparison["equality"]["outcome"] == "equal"
    assert "throughput_concurrent" not in {measure["id"] for measure in comparison["measures"]}
    assert any(remark.startswith("node: with 16 calls in flight ") and "threw that do not alone, in 12 of 12 launches" in remark for remark in comparison["remarks"]), comparison["remarks"]
    of = {name: [launch["values"] for launch in comparison["launches"] if launch["side"] == name] for name in ("node", "python")}
    assert not any("throughput_concurrent" in values for values in of["node"])
    assert all(values["throughput_concurrent"] > 0 for values in of["python"])


def test_wrong_arguments_and_files_are_said(tmp_path):
    for arguments, said in [
        (("./score.js:score", "./score.py:score"), "--input is missing"),
        (("./score.rb:score", "./score.py:score", "--input", "cases.jsonl"), "the language shows in the file's name"),
        (("./nothing.js:score", "./score.py:score", "--input", "cases.jsonl"), "./nothing.js: it cannot be read"),
        (("./score.js:score", "./score.py:score", "--input", "nothing.jsonl"), "nothing.jsonl: it cannot be read"),
        (("./score.js:score", "./score.py:score", "--input", "broken.jsonl"), "broken.jsonl:2: this line is no JSON"),
        (("web", "ml", "--requests", "broken.har"), "broken.har: it is no HTTP archive"),
        (("web", "nothing", "--requests", "requests.http"), 'no service "nothing"; there are web, ml'),
        (("diff", "broken.har", "broken.har"), "broken.har: it is no JSON"),
        (("suite", "--folder", "."), "no folder in it holds a workload.toml"),
    ]:
        files = {"score_js": SCORE_JS, "score_py": SCORE_PY, "cases_jsonl": CASES, "broken_jsonl": "1\n{\n"}
        files |= {"broken_har": '{"log":', "bireme_toml": SERVICES, "requests_http": "GET /1\n", "web_js": WEB, "ml_py": ML}
        done = compare(tmp_path, *arguments, **files)
        assert done.returncode == 2 and said in done.stderr, (arguments, done.stderr)


def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    for name, text in (("score.js", SCORE_JS), ("score.py", SCORE_PY), ("cases.jsonl", CASES)):
        (tmp_path / name).write_text(text)
    arguments = ["compare", "./score.js:score", "./score.py:score", "--input", "cases.jsonl", "--out", "out", "--launch", "0.3", "--blocks", "500"]
    process = subprocess.Popen([BIREME, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The first line of the progress comes when answers are compared; signals are heard by then.
    while "about" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "The run ended early: interrupted" in output
    assert document(tmp_path)["interrupted"] == "interrupted"


def test_services_are_compared(tmp_path):
    files = {"bireme_toml": SERVICES, "web_js": WEB, "ml_py": ML, "requests_http": "GET /api/7\n\n###\nGET /api/12\n"}
    done = compare(tmp_path, "web", "ml", "--route", "/api/*", "--requests", "requests.http", *SHORT, "--launch", "0.2", **files)
    assert done.returncode in (0, 1), done.stderr
    comparison = document(tmp_path)["comparisons"][0]
    assert comparison["equality"]["outcome"] == "equal", comparison["equality"]
    assert [side["code"]["files"] for side in comparison["sides"]] == [["web.js"], ["ml.py"]], "code is measured where it begins"
    if done.returncode == 0:
        assert len(comparison["launches"]) == 6 * 4
        seen = {(error["side"], error["error"]): error["answer_right"] for error in comparison["errors"]}
        kinds = ("throw", "rejection", "timeout", "aborted_stream", "allocation", "crash")
        assert seen == {(side, kind): True for side in ("web", "ml") for kind in kinds}, comparison["errors"]
        assert any("neighbours failed" in line and "answers again after" in line for line in done.stdout.splitlines())
        assert {"capacity", "memory_idle", "start_warm", "connection_memory"} <= {measure["id"] for measure in comparison["measures"]}
        assert {"throughput_by_concurrency", "throughput_by_workers", "latency_by_workers", "warm_up"} <= {curve["id"] for curve in comparison["curves"]}
    else:
        # A machine on which not even the generator comes to send is said to be so.
        assert "too busy" in document(tmp_path)["interrupted"] or "does not carry" in document(tmp_path)["interrupted"]
    assert not list(tmp_path.glob(".bireme-compare-*")), "nothing is left beside the configuration"


FAULTY = f"""
[service.fetch]
node = "web.js"

[service.http]
node = "http.js"

[service.asgi]
python = "ml:app"
interpreter = "{sys.executable}"

[service.wsgi]
python = "wsgi:app"
interpreter = "{sys.executable}"

[timeouts]
response = "1s"
""" + "".join(f'[[route]]\nmatch = "/{name}/*"\nto = "{name}"\nstrip_prefix = true\n' for name in ("fetch", "http", "asgi", "wsgi"))
HTTP_JS = "require('node:http').createServer((req, res) => res.end('7')).listen(3000);\n"
WSGI_PY = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'7']\n"


@pytest.mark.parametrize("service", ["fetch", "http", "asgi", "wsgi"])
def test_errors_can_be_made_in_any_service_by_who_knows_the_word(serve, tmp_path, service):
    folder = tmp_path / "faulty"
    folder.mkdir()
    for name, text in (("web.js", WEB), ("http.js", HTTP_JS), ("ml.py", ML), ("wsgi.py", WSGI_PY)):
        (folder / name).write_text(text)
    server = serve(FAULTY, folder=folder, env={"BIREME_FAULTS": "open-sesame"})

    def ask(word: str, kind: str) -> int | None:
        try:
            return server.get(f"/{service}/7", headers={"bireme-fault": f"{word} {kind}"}).status_code
        except httpx.TransportError:
            return None

    for kind in ("throw", "timeout", "aborted_stream", "allocation", "crash", "rejection"):
        assert ask("open", kind) == ask("open-sesame-not", kind) == 200, "not for who guesses"
    answers = {kind: ask("open-sesame", kind) for kind in ("throw", "timeout", "aborted_stream", "allocation", "rejection", "crash", "none")}
    assert answers == {"throw": 500, "timeout": 504, "aborted_stream": None, "allocation": 500, "rejection": 200, "crash": 502, "none": 200}
    server.wait_for("an error made by bireme compare")


def test_services_that_answer_differently_get_no_verdict(tmp_path):
    files = {"bireme_toml": SERVICES, "web_js": WEB.replace("n * n", "n * n + (n === 12)"), "ml_py": ML, "requests_http": "GET /7\n\n###\nGET /12\n"}
    done = compare(tmp_path, "web", "ml", "--requests", "requests.http", "--launch", "0.05", *SHORT, **files)
    assert "$.square: differs" in done.stdout and "GET /12: 145 and 144" in done.stdout, done.stdout + done.stderr
    assert document(tmp_path)["comparisons"][0]["measures"] == []


LOUD_JS = """
const { gzipSync } = require('node:zlib');
module.exports = {
  fetch(request) {
    console.log('request', request.url);
    return new Response(gzipSync('{}'), { headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } });
  },
};
"""
DEBUGGING_PY = """
class App:
    debug = True

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": b"{}"})

app = App()
"""


def test_what_tilts_a_comparison_is_said_before_it_starts(tmp_path):
    config = SERVICES.replace("workers = 1\n", "workers = 2\n", 1).replace('python = "ml:app"', 'python = "ml:app"\nevent_loop = "asyncio"')
    files = {"bireme_toml": config, "web_js": LOUD_JS, "ml_py": DEBUGGING_PY, "requests_http": "GET /7\n"}
    done = compare(tmp_path, "web", "ml", "--requests", "requests.http", "--launch", "0.05", *SHORT, **files)
    for line in ("web has 2 workers and ml has 1; give both the same number", "web: NODE_ENV is not production", "ml: it runs in debug mode: App.debug is True; turn it off",
                 "ml: it runs on asyncio's own loop", "lines for each request, and ml 0.0; turn the logging of requests off",
                 "web answers in gzip, and ml answers uncompressed; compress on both sides or neither"):
        assert line in done.stderr, done.stderr
    said = [finding["what"] for finding in document(tmp_path)["fairness"]]
    assert any("debug mode" in what for what in said) and any("lines for each request" in what for what in said), said
    assert "answers differ" in done.stdout, "the differing content-encoding is a difference"


FORM_JS = """
import { randomUUID } from 'node:crypto';
const tokens = new Map();
export default {
  async fetch(request) {
    const sid = /sid=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1];
    if (request.method === 'GET') {
      const [id, token] = [randomUUID(), randomUUID()];
      tokens.set(id, token);
      const headers = { 'content-type': 'text/html; charset=utf-8', 'set-cookie': `sid=${id}; Path=/; HttpOnly` };
      return new Response(`<form><input type="hidden" name="csrf_token" value="${token}"></form>`, { headers });
    }
    const sent = new URLSearchParams(await request.text());
    const good = sid !== undefined && tokens.get(sid) === sent.get('csrf_token');
    return Response.json({ saved: good }, { status: good ? 200 : 403 });
  },
};
"""
FORM_PY = """
import json, re, uuid
from urllib.parse import parse_qs
TOKENS = {}

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    cookie = dict(scope["headers"]).get(b"cookie", b"").decode()
    sid = re.search("sid=([^;]+)", cookie)
    status, headers = 200, [(b"content-type", b"application/json")]
    if scope["method"] == "GET":
        id, token = str(uuid.uuid4()), str(uuid.uuid4())
        TOKENS[id] = token
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"set-cookie", f"sid={id}; Path=/; HttpOnly".encode())]
        body = f'<form><input type="hidden" name="csrf_token" value="{token}"></form>'
    else:
        sent = parse_qs((await receive())["body"].decode())
        good = sid is not None and TOKENS.get(sid[1]) == sent["csrf_token"][0]
        status, body = (200 if good else 403), json.dumps({"saved": good})
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
"""


def recorded(session: str) -> list[dict]:
    token, sid = f"recorded-token-{session}", f"recorded-sid-{session}"
    form = f'<form><input type="hidden" name="csrf_token" value="{token}"></form>'
    return [
        {
            "startedDateTime": "2026-01-01T00:00:00.000Z",
            "pageref": session,
            "request": {"method": "GET", "url": "http://shop.example/form?token=secret-value", "headers": []},
            "response": {"status": 200, "headers": [{"name": "Set-Cookie", "value": f"sid={sid}"}], "content": {"text": form}},
        },
        {
            "startedDateTime": "2026-01-01T00:00:00.050Z",
            "pageref": session,
            "request": {
                "method": "POST",
                "url": "http://shop.example/save",
                "headers": [{"name": "Cookie", "value": f"sid={sid}"}, {"name": "Content-Type", "value": "application/x-www-form-urlencoded"}],
                "postData": {"text": f"csrf_token={token}&item=1"},
            },
            "response": {"status": 200, "headers": [], "content": {"text": '{"saved": true}'}},
        },
    ]


def test_a_recording_is_replayed_with_cookies_and_tokens_of_now(tmp_path):
    archive = {"log": {"entries": recorded("a") + recorded("b")}}
    files = {"bireme_toml": SERVICES, "web_js": FORM_JS, "ml_py": FORM_PY, "traffic_har": json.dumps(archive)}
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = compare(tmp_path, "web", "ml", "--replay", "traffic.har", "--launch", "0.05", *SHORT, **files)
    assert done.returncode == 0, done.stdout + done.stderr
    written = document(tmp_path)
    comparison = written["comparisons"][0]
    assert written["kind"] == "replay" and comparison["equality"]["outcome"] == "equal"
    assert len(comparison["launches"]) == 6 * 4
    assert "4 requests of 2 sessions" in done.stdout
    assert {curve["id"] for curve in comparison["curves"]} == {"latency_distribution", "memory_over_time"}
    kinds = ["throw", "rejection", "timeout", "aborted_stream", "allocation", "crash"]
    assert [(error["side"], error["error"]) for error in comparison["errors"]] == [(side, kind) for side in ("web", "ml") for kind in kinds]
    assert all(error["answer_right"] for error in comparison["errors"] if error["error"] == "throw"), comparison["errors"]
    text = (tmp_path / "out/compare.json").read_text()
    assert "secret-value" not in text and "recorded-token" not in text and "recorded-sid" not in text


def test_a_replayed_post_is_accepted_by_its_live_token(tmp_path):
    # The right side refuses a post without its own token: it alone answers true when the rebinding works.
    always = FORM_JS.replace("saved: good", "saved: true").replace("status: good ? 200 : 403", "status: 200")
    archive = {"log": {"entries": recorded("a")}}
    files = {"bireme_toml": SERVICES, "web_js": always, "ml_py": FORM_PY, "traffic_har": json.dumps(archive)}
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = compare(tmp_path, "web", "ml", "--replay", "traffic.har", "--speed", "0", "--launch", "0.05", *SHORT, **files)
    assert document(tmp_path)["comparisons"][0]["equality"]["outcome"] == "equal", done.stdout


def test_what_mixing_languages_costs(tmp_path):
    done = functions(tmp_path, "--mix", launch="0.4")
    assert done.returncode == 0, done.stdout + done.stderr
    comparison = document(tmp_path)["comparisons"][0]
    assert {"call", "http"} <= {measure["id"] for measure in comparison["measures"]}
    assert sum("across a call from the other" in rule for rule in comparison["rules"]) == 2


SHADOWED = """
[service.web]
node = "web.js"
workers = 1

[service.ml]
python = "ml:app"
interpreter = "{python}"
workers = 1

[[route]]
match = "/api/*"
to = "web"
shadow = "ml"
sample = 0.5

[[route]]
match = "/*"
to = "web"
"""


def test_a_candidate_is_asked_in_the_shadow_of_live_requests(serve, tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    # Wrong for one number, and with an id that is new each time on both sides; it never answers /api/0.
    (folder / "web.js").write_text(
        "export default { fetch(request) { const n = Number(new URL(request.url).pathname.split('/').pop());"
        " const seen = request.headers.get('cookie') + request.headers.get('authorization');"
        " return Response.json({ n, square: n * n, id: Math.random(), seen, token: 'token-secret-of-web' }); } };\n"
    )
    (folder / "ml.py").write_text(
        ML.replace("import json\n", "import asyncio, json, random\n")
        .replace('{"n": n, "square": n * n}', '{"n": n, "square": n * n + (n == 3), "id": random.random(), "seen": str(scope["headers"]), "token": "token-secret-of-ml"}')
        .replace("    body =", "    if n == 0:\n        await asyncio.Event().wait()\n    body =")
    )
    server = serve(SHADOWED.format(python=sys.executable), folder=folder)
    server.ready()
    for n in range(1, 41):
        answer = server.get(f"/api/{n % 5 or 3}?key=query-secret", headers={"cookie": "sid=cookie-secret-1", "authorization": "Bearer bearer-secret-1"})
        assert answer.json()["square"] == (n % 5 or 3) ** 2, "clients hear the service alone"
    # A candidate that hangs keeps no client waiting.
    for _ in range(4):
        assert server.get("/api/0", timeout=20).json()["square"] == 0
    assert server.get("/elsewhere/7").json()["square"] == 49

    def reported() -> dict | None:
        done = compare(folder, "--shadow-report", "--pid", str(server.process.pid), "--out", "out")
        found = document(folder)["comparisons"][0] if done.returncode == 0 else None
        return found if found and found["equality"]["cases"] >= 12 else None

    comparison = eventually(reported)
    assert comparison["name"] == "/api/*" and [side["name"] for side in comparison["sides"]] == ["web", "ml"]
    classes = {difference["path"]: difference["class"] for difference in comparison["equality"]["differences"]}
    assert classes["$.square"] == "real" and classes["$.id"] == "noise", classes
    assert classes["$.seen"] == "real" and classes["$.token"] == "real", classes
    status = subprocess.run([BIREME, "status", "--json", "--pid", str(server.process.pid)], capture_output=True, text=True, timeout=60)
    assert '"shadows"' in status.stdout, status.stderr
    written = status.stdout + "".join(file.read_text() for file in (folder / "out").iterdir())
    assert [secret for secret in ("query-secret", "cookie-secret", "bearer-secret", "token-secret") if secret in written] == []
    assert comparison["equality"]["cases"] <= 22, "half of them are copied"
    assert comparison["measures"][0]["id"] == "latency_p50" and comparison["measures"][0]["left"]["median"] > 0


def test_mistakes_about_shadows_are_said(tmp_path):
    for key, said in [('shadow = "m"', 'shadow: there is no service "m"'), ('shadow = "web"', '"web" answers this route itself'),
                      ('shadow = "ml"\nsample = 1.5', "1.5 is no part"), ("sample = 0.1", "there is no shadow")]:
        text = SHADOWED.format(python=sys.executable).replace('shadow = "ml"\nsample = 0.5', key)
        for name, content in (("bireme.toml", text), ("web.js", WEB), ("ml.py", ML)):
            (tmp_path / name).write_text(content)
        done = subprocess.run([BIREME, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and said in done.stderr, (key, done.stdout, done.stderr)
