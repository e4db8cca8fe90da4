"""Annotations that only type checkers can evaluate: from Python 3.14 on they are evaluated when they are asked for, and not before."""

import sys

import pytest

from conftest import runtime

FUNCTION = """
async def hidden(scope: Missing, receive: Missing, send: Missing) -> Missing: ...

def wsgi(environ: Missing, start_response: Missing) -> Missing: ...

def asgi(scope: Missing, receive: Missing, send: Missing): return hidden(scope, receive, send)
"""


@pytest.fixture
def bireme(monkeypatch):
    monkeypatch.syspath_prepend(str(runtime()))
    return pytest.importorskip("bireme")


class Untellable:
    """What a function with such annotations looks like to who asks for them."""

    @property
    def __annotations__(self):
        raise NameError("name 'Missing' is not defined")

    def __call__(self, value): ...


def test_they_say_nothing_about_arguments(bireme):
    from bireme.conversion import converter

    assert converter(Untellable()) is None


@pytest.mark.skipif(sys.version_info < (3, 14), reason="they are evaluated with the function's definition")
def test_an_application_may_have_them(bireme):
    from bireme.interface import detect

    names = {}
    exec(FUNCTION, names)
    assert [detect(names[name]) for name in ("hidden", "asgi", "wsgi")] == ["asgi", "asgi", "wsgi"]
