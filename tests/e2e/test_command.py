"""`bireme` as typed (issue 2, Serving)."""

import json
import re
import socket
import subprocess

import pytest

from harness.apps import NODE, PYTHON, VENV, section
from harness.server import BIREME, eventually


def run(*arguments: str, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([BIREME, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", [(), ("serve",), ("check",), ("reload",), ("status",), ("doctor",), ("config",)])
def test_help_reads_well(command):
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_one_node_target(serve):
    server = serve(None, "./http.js", folder=NODE)
    assert server.get("/").text == "hello"


def test_one_python_target(serve):
    server = serve(None, "contract_asgi:app", "--workers", "1", folder=PYTHON, env={"VIRTUAL_ENV": str(VENV)})
    assert server.get("/").text == "hello"
    server.wait_for(r"3\.\d+")
    assert str(VENV) in server.log, "the chosen interpreter is not said"


def test_virtual_environment_beside_the_app_is_found(serve, tmp_path):
    (tmp_path / ".venv").symlink_to(VENV)
    (tmp_path / "main.py").write_text(
        "import sys, flask\n\ndef app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [sys.prefix.encode()]\n"
    )
    server = serve(None, "main:app", "--workers", "1", folder=tmp_path)
    assert server.get("/").text == str(tmp_path / ".venv")


def test_several_targets_and_routes(serve, tmp_path):
    (tmp_path / "one.py").write_text("from contract_wsgi import app\n")
    server = serve(
        None, f"web={NODE}/http.js", "ml=one:app", "--route", "/api/*=ml", "--route", "/*=web", "--workers", "1",
        folder=tmp_path, env={"VIRTUAL_ENV": str(VENV), "PYTHONPATH": str(PYTHON)},
    )
    assert server.get("/").text == "hello"
    assert server.get("/api/x").text == "the application knows no such path"


def test_several_targets_need_routes(tmp_path):
    (tmp_path / "a.js").write_text("")
    done = run("serve", "web=./a.js", "ml=app:app", cwd=tmp_path)
    assert done.returncode != 0
    assert "--route" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[service.ml]\npython = "a:app"\nworker = 2\n', ["bireme.toml:3", '"worker"', '"workers"']),
        ('lisen = ["127.0.0.1:1"]\n', ["bireme.toml:1", '"listen"']),
        ('[service.ml]\npython = "a:app"\nworkers = "two"\n', ["bireme.toml:3", "workers"]),
        ('[[route]]\nmatch = "/*"\nto = "absent"\n', ["absent"]),
        ("x = [", ["bireme.toml:1"]),
        ('listen = ["127.0.0.1:99999"]\n', ["bireme.toml:1", "99999"]),
    ],
)
def test_mistakes_name_their_line(tmp_path, text, said):
    (tmp_path / "bireme.toml").write_text(text)
    for command in ("serve", "check"):
        done = run(command, cwd=tmp_path)
        assert done.returncode != 0
        for part in said:
            assert part in done.stderr + done.stdout


def test_occupied_port(serve, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run("serve", str(NODE / "http.js"), "--listen", f"127.0.0.1:{port}", cwd=tmp_path)
    assert done.returncode != 0
    assert str(port) in done.stderr and "use" in done.stderr


def test_unix_socket(serve, tmp_path):
    path = tmp_path / "bireme.sock"
    server = serve(None, str(NODE / "http.js"), "--workers", "1", folder=tmp_path, listen=[f"unix:{path}", "127.0.0.1:0"])
    server.ready()
    command = ["curl", "-sS", "--unix-socket", str(path), "http://localhost/inspect"]
    said = json.loads(subprocess.run(command, capture_output=True, timeout=20).stdout)
    assert dict(map(tuple, said["headers"]))["host"] == "localhost"
    assert server.stop() == 0
    assert not path.exists(), "the socket was left behind"


def test_stale_unix_socket_is_replaced(serve, tmp_path):
    path = tmp_path / "bireme.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = serve(None, str(NODE / "http.js"), "--workers", "1", folder=tmp_path, listen=[f"unix:{path}", "127.0.0.1:0"])
    server.ready()
    command = ["curl", "-sS", "--unix-socket", str(path), "http://localhost/"]
    assert subprocess.run(command, capture_output=True, timeout=20).stdout == b"hello"


def test_several_addresses(serve):
    server = serve(None, str(NODE / "http.js"), "--workers", "1", folder=NODE, listen=["127.0.0.1:0", "127.0.0.1:0"])
    server.ready()
    ready = server.wait_for("ready on").string
    ports = set(re.findall(r"http://127\.0\.0\.1:(\d+)", ready))
    assert len(ports) == 2, ready
    for port in ports:
        command = ["curl", "-sS", f"http://127.0.0.1:{port}/"]
        assert subprocess.run(command, capture_output=True, timeout=20).stdout == b"hello"


def test_json_log(serve):
    server = serve(None, str(NODE / "http.js"), "--workers", "1", "--log-format", "json", folder=NODE)
    server.ready()
    server.get("/print")
    line = server.wait_for("printed to stdout").string
    assert "app#1" in json.dumps(json.loads(line)) or "http#1" in json.dumps(json.loads(line))


def test_environment_and_flags_beat_the_file(serve):
    config = section("[service.app]", {"node": str(NODE / "http.js")}) + '[[route]]\nmatch = "/*"\nto = "app"\n'
    server = serve('workers = 1\n' + config, "--workers", "3").ready()
    eventually(lambda: len(server.workers()) == 3)
    server = serve('workers = 1\n' + config, env={"BIREME_WORKERS": "2"}).ready()
    eventually(lambda: len(server.workers()) == 2)


def test_status(serve):
    config = section("[service.app]", {"node": str(NODE / "http.js"), "workers": 2})
    server = serve(config + '[[route]]\nmatch = "/*"\nto = "app"\n').ready()
    eventually(lambda: len(server.workers()) == 2)
    done = run("status", "--config", "bireme.toml", cwd=server.folder)
    assert done.returncode == 0, done.stderr
    for pid in server.workers():
        assert str(pid) in done.stdout


def test_check_says_that_all_is_well(tmp_path):
    (tmp_path / "bireme.toml").write_text('[[route]]\nmatch = "/*"\nrespond = "hi"\n')
    assert run("check", cwd=tmp_path).returncode == 0


def test_doctor_finds_the_interpreters():
    done = run("doctor")
    assert "node" in done.stdout.lower() and "python" in done.stdout.lower()


def test_works_from_any_folder_and_through_a_link(serve, tmp_path):
    (tmp_path / "bireme").symlink_to(BIREME)
    (tmp_path / "app.js").write_text("require('http').createServer((q, r) => r.end('linked')).listen(1)")
    done = subprocess.run([tmp_path / "bireme", "check", "./app.js"], cwd=tmp_path, capture_output=True, timeout=20)
    assert b"runtime" not in done.stderr
