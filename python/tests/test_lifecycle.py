"""The life of a worker: HELLO to exit, and what it says when it can't be."""

import os
import signal
import subprocess

import pytest

from conftest import APPS
from fake_front import DEADLINE_S, DRAIN, PING, PONG, RESET, Frame


@pytest.mark.parametrize("target", ["raw_asgi:app", "raw_wsgi:app"])
def test_ping_is_answered_and_drain_ends_the_worker(serve, target):
    app = serve(target)
    app.control.send(Frame(PING, 0, b"payload"), Frame(PING, 0, b""))
    for payload in (b"payload", b""):
        frame = app.control.read()
        assert (frame.kind, frame.payload) == (PONG, payload)
    assert app.fetch().status == 200
    assert app.drain() == 0


def test_drain_runs_the_lifespan_shutdown(serve):
    app = serve("raw_asgi:app")
    assert app.drain() == 0
    assert "shut down in order" in app.output()


@pytest.mark.parametrize("target", ["raw_asgi:app", "raw_wsgi:app"])
def test_sigterm_ends_the_worker_in_order_and_sigint_does_nothing(serve, target):
    app = serve(target)
    app.process.send_signal(signal.SIGINT)
    assert app.fetch().status == 200
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("target, busy", [("raw_asgi:app", b"/never"), ("raw_wsgi:app", b"/sleep?60")])
def test_a_worker_does_not_outlive_the_front(serve, target, busy):
    app = serve(target)
    app.link.open(target=busy)
    app.control.close()
    assert app.process.wait(DEADLINE_S) == 1


def test_a_worker_does_not_outlive_the_front_while_it_is_loading(front, tmp_path):
    (tmp_path / "slow.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    app = front("slow:app", folder=tmp_path)
    _, app.control = app.accept()
    app.wait_for_output("importing")
    app.control.close()
    assert app.process.wait(DEADLINE_S) == 1


def test_the_control_link_must_keep_the_protocol(serve):
    app = serve("raw_wsgi:app")
    app.control.send(Frame(RESET, 0, b""))
    assert app.process.wait(DEADLINE_S) == 1
    assert "may not carry" in app.output()


def test_the_process_looks_as_if_run_by_hand(serve):
    app = serve("raw_asgi:app", arguments=["--flag", "value"])
    process = app.fetch(target=b"/process").json()
    assert process["argv"] == ["raw_asgi:app", "--flag", "value"]
    assert process["path0"] == process["cwd"] == str(APPS)
    assert process["leaked"] == [] and process["service"] == "test"
    assert process["runtime_on_path"] is False


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_multiprocessing_works(serve, method):
    app = serve("raw_asgi:app", options={"loop": "asyncio"})
    assert app.fetch(target=b"/processes?" + method.encode()).json() == {"total": 6}
    assert app.fetch().status == 200


def test_forked_children_do_not_hold_the_links(serve, tmp_path):
    (tmp_path / "forks.py").write_text(
        "import os, time\n"
        "def app(environ, start_response):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(30)\n"
        "        os._exit(0)\n"
        "    start_response('200 OK', [])\n"
        "    return [b'forked']\n"
    )
    app = serve("forks:app", folder=tmp_path)
    assert app.fetch().body == b"forked"
    app.process.kill()
    assert app.link.read() is None
    assert app.control.read() is None


@pytest.mark.parametrize("target", ["raw_asgi:app", "raw_wsgi:app"])
def test_what_is_printed_is_seen_at_once(serve, target):
    app = serve(target)
    assert app.fetch(target=b"/print").body == b"printed"
    app.wait_for_output("a line for the log\n")
    app.wait_for_output("another, to stderr\n")


def test_system_exit_in_an_asgi_application_ends_the_worker(serve):
    app = serve("raw_asgi:app")
    app.link.open(target=b"/exit")
    assert app.process.wait(DEADLINE_S) == 7


@pytest.mark.parametrize(
    "target, kind",
    [
        ("raw_asgi", "asgi"),
        ("raw_asgi.py", "asgi"),
        ("raw_wsgi", "wsgi"),
        ("loading_errors:partial_asgi", "asgi"),
        ("loading_errors:partial_wsgi", "wsgi"),
        ("loading_errors:create()", "asgi"),
        ("loading_errors:raw_asgi.app", "asgi"),
        ("loop_at_import:app", "asgi"),
    ],
)
def test_interfaces_are_told_apart(serve, target, kind):
    app = serve(target)
    assert app.ready["kind"] == kind
    assert app.fetch().status == 200


def test_a_loop_made_at_import_is_the_one_that_serves(serve):
    app = serve("loop_made_at_import:app")
    assert app.fetch().body == b"same loop, task done"


def test_factories(serve):
    assert serve("loading_errors:create", options={"factory": True}).fetch().status == 200


@pytest.mark.parametrize(
    "target, options, error, hint",
    [
        ("raw_asgy:app", {}, 'no module named "raw_asgy"', 'Did you mean "raw_asgi"?'),
        ("raw_asgi:ap", {}, 'has no attribute "ap"', 'Did you mean "raw_asgi:app"?'),
        (":app", {}, "names no module", "main:app"),
        ("imports_missing:app", {}, 'imports "no_such_package"', "pip install"),
        ("syntax_error:app", {}, "SyntaxError", ""),
        ("loading_errors", {}, "has none of app", "application_typo"),
        ("loading_errors:number", {}, "can't be called", "callable"),
        ("loading_errors:no_arguments", {}, "takes 0 arguments", "factory"),
        ("loading_errors:any_arguments", {}, "does not tell ASGI from WSGI", "interface"),
        ("loading_errors:NotAnInstance", {}, "not an instance", "factory"),
        ("loading_errors:create_badly()", {}, "RuntimeError: no database", ""),
        ("loading_errors:startup_fails", {}, "startup failed: no database", ""),
        ("loading_errors:startup_hangs", {"lifespan_timeout_ms": 50}, "not ended after 50 ms", "lifespan_timeout_ms"),
        ("raw_asgi:instance", {"lifespan": "on", "interface": "asgi"}, "does not speak the lifespan", "auto"),
    ],
)
def test_what_can_not_be_loaded_says_why(front, target, options, error, hint):
    failed = front(target, options=options).start_failing()
    assert error in failed["error"] and "\n" not in failed["error"]
    assert hint in failed["hint"]


def test_the_stack_begins_in_the_application(front):
    stack = front("loading_errors:create_badly()").start_failing()["stack"]
    assert "no database" in stack and "loading.py" not in stack and "importlib" not in stack


@pytest.mark.parametrize("lifespan, state", [("off", False), ("auto", True), ("on", True)])
def test_lifespan_settings(serve, lifespan, state):
    app = serve("raw_asgi:app", options={"lifespan": lifespan})
    assert ("state" in app.fetch(target=b"/scope").json()["scope"]) is state


@pytest.mark.parametrize(
    "variable, value, said",
    [
        ("BIREME_LINKS", "many", "BIREME_LINKS is not a number"),
        ("BIREME_LINKS", "0", "1 to 1024"),
        ("BIREME_OPTIONS", "{", "not JSON"),
        ("BIREME_OPTIONS", "[]", "not a JSON object"),
        ("BIREME_OPTIONS", '{"loop": "trio"}', "auto, asyncio, uvloop"),
        ("BIREME_OPTIONS", '{"threads_max": 0}', "1 to 1024"),
        ("BIREME_OPTIONS", '{"factory": 1}', "true and false"),
    ],
)
def test_settings_that_make_no_sense(front, variable, value, said):
    app = front("raw_asgi:app", environment={variable: value})
    assert app.process.wait(DEADLINE_S) == 2
    assert said in app.output()


def test_a_long_stack_keeps_its_end(front, tmp_path):
    (tmp_path / "deep.py").write_text("def app(environ, start_response): raise ValueError('x' * 200_000 + ' the end')\n")
    app = front("deep:app", folder=tmp_path)
    app.start()
    code, text = app.fetch().reset
    assert len(text) <= 65_536 and text.rstrip().endswith("the end")
    (tmp_path / "long.py").write_text("raise ValueError('\\x01' * 2_000_000 + ' the end')\n")
    failed = front("long:app", folder=tmp_path).start_failing()
    assert failed["stack"].rstrip().endswith("the end")


def test_started_by_hand_it_says_what_it_is_for(python, launcher):
    done = subprocess.run([python, str(launcher), "raw_asgi:app"], cwd=APPS, capture_output=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and b"bireme serve" in done.stderr
