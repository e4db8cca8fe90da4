"""Where the tests find what they run.

`BIREME_PYTHON_RUNTIME`: the folder with launch.py (default: target/release/runtime/python, as
`cargo xtask build` leaves it). `BIREME_TEST_PYTHONS`: interpreters to test, separated by colons, each
with requirements.txt installed (default: the one that runs pytest).
"""

import os
import pathlib
import sys

import pytest

from fake_front import FakeFront

TESTS = pathlib.Path(__file__).parent
APPS = TESTS / "apps"
REPOSITORY = TESTS.parent.parent
PYTHONS = [p for p in os.environ.get("BIREME_TEST_PYTHONS", "").split(":") if p] or [sys.executable]


def runtime():
    """The folder of the package; tests that run in this interpreter import it from there."""
    return pathlib.Path(os.environ.get("BIREME_PYTHON_RUNTIME") or REPOSITORY / "target/release/runtime/python")


@pytest.fixture(scope="session")
def launcher():
    path = runtime() / "launch.py"
    assert path.exists(), f"{path} is missing: run `cargo xtask build`, or set BIREME_PYTHON_RUNTIME"
    return path


@pytest.fixture(scope="session", params=PYTHONS, ids=lambda path: path.replace("/", "_")[-40:])
def python(request):
    return request.param


@pytest.fixture
def front(python, launcher):
    """A function that starts a worker and returns its front; all end with the test."""
    fronts = []

    def start(target, folder=APPS, **settings):
        fake = FakeFront(python, launcher, target, folder, **settings)
        fronts.append(fake)
        return fake

    yield start
    for fake in fronts:
        fake.__exit__()


@pytest.fixture
def serve(front):
    """Like `front`, and waits for READY."""

    def start(target, **settings):
        fake = front(target, **settings)
        fake.ready = fake.start()
        return fake

    return start
