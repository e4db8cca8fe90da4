"""Fixtures of the end-to-end tests. How a server is started and watched is in harness/."""

from collections.abc import Callable, Iterator

import pytest

from harness.apps import ASGI, CORE, Kind
from harness.server import BIREME, TOUCHED, Server

LOG_LINES_SHOWN = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kill-seconds", type=float, default=15.0, help="load during which workers are killed (default 15)")
    parser.addoption("--soak-seconds", type=float, default=4.0, help="length of the soak of shared memory (default 4)")
    parser.addoption("--soak-calls", type=int, default=1_000_000, help="calls of the soak from JavaScript; Python makes a tenth of them (default 1000000)")
    parser.addoption("--property-seconds", type=float, default=3.0, help="length of each test with random values (default 3)")
    parser.addoption("--seed", type=int, help="first of the seeds of random values (default: a new one each time)")


def pytest_configure(config: pytest.Config) -> None:
    if not BIREME.exists():
        raise pytest.UsageError(f"{BIREME} is missing; run the tests with: cargo xtask test e2e")


def pytest_runtest_setup(item: pytest.Item) -> None:
    TOUCHED.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test shows what the servers it talked to have said last."""
    report = yield
    if report.failed:
        for server in TOUCHED:
            report.sections.append((f"log of {server.folder.name}", "\n".join(server.lines[-LOG_LINES_SHOWN:])))
    return report


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Server]]:
    """Start servers that belong to one test; each has a folder of its own."""
    servers: list[Server] = []

    def start(config: str | None = None, *arguments: str, **options) -> Server:
        folder = options.pop("folder", None)
        if folder is None:
            folder = tmp_path / f"server{len(servers)}"
            folder.mkdir()
        server = Server(folder, config, arguments, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.__exit__()


class Shared:
    """Servers of the whole session, one for each kind of application, for tests that break nothing."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.factory = factory
        self.servers: dict[str, Server] = {}

    def of(self, kind: Kind) -> Server:
        """The server of this kind; started anew when a test before has stopped it."""
        server = self.servers.get(kind.name)
        if server is None or server.process.poll() is not None:
            server = Server(self.factory.mktemp(kind.name), kind.config("threads = 2"))
            self.servers[kind.name] = server
            server.ready()
        return server


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Iterator[Shared]:
    """The session's servers."""
    servers = Shared(tmp_path_factory)
    yield servers
    for server in servers.servers.values():
        server.__exit__()


@pytest.fixture(params=CORE, ids=lambda kind: kind.name)
def app(request, shared) -> tuple[Server, Kind]:
    """Every application of the whole contract in turn, running."""
    return shared.of(request.param), request.param


@pytest.fixture
def server(shared) -> Server:
    """A running server of any kind, for what does not depend on the application."""
    return shared.of(ASGI)
