"""Frameworks' debug modes, which a worker tells of when it is ready."""

import sys

import pytest

from conftest import runtime

sys.path.insert(0, str(runtime()))

from bireme.interface import debug_notes  # noqa: E402


class App:
    def __init__(self, debug=False, app=None):
        self.debug = debug
        if app is not None:
            self.app = app


class Endless:
    @property
    def app(self):
        return self


class Failing:
    @property
    def debug(self):
        raise RuntimeError("no settings yet")


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (App(), []),
        (App(debug=True), ["debug mode: App.debug is True"]),
        (App(app=App(app=App(debug=True))), ["debug mode: App.debug is True"]),
        (App(debug="yes"), []),
        (Endless(), []),
        (Failing(), []),
        (lambda scope, receive, send: None, []),
    ],
)
def test_a_debug_mode_is_told_of_whatever_is_around_it(app, expected):
    assert debug_notes(app) == expected


def test_frameworks_own_switches_are_seen(monkeypatch):
    flask = pytest.importorskip("flask").Flask("app")
    assert debug_notes(flask) == []
    flask.debug = True
    assert debug_notes(flask) == ["debug mode: Flask.debug is True"]
    fastapi = pytest.importorskip("fastapi").FastAPI(debug=True)
    assert debug_notes(fastapi) == ["debug mode: FastAPI.debug is True"]
    django = pytest.importorskip("django.conf")
    if not django.settings.configured:
        django.settings.configure(DEBUG=True)
    monkeypatch.setattr(django.settings, "DEBUG", True)
    assert debug_notes(App()) == ["debug mode: Django's DEBUG is True"]
