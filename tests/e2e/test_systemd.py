"""What a service manager does for its services: sockets it opens, and news it is told."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from harness.apps import ASGI
from harness.server import BIREME

FIRST_PASSED = 3
SECONDS = 60


class Manager:
    """Starts a server as systemd starts one with a socket unit, and hears what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.news.bind(str(folder / "notify"))
        self.news.settimeout(SECONDS)
        (folder / "bireme.toml").write_text(ASGI.config())

    def start(self, passed: socket.socket) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BIREME")}
        environment |= {"LISTEN_FDS": "1", "NOTIFY_SOCKET": str(self.folder / "notify")}
        return subprocess.Popen(
            [BIREME, "serve"], cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True,
            pass_fds=(FIRST_PASSED,), preexec_fn=lambda: os.dup2(passed.fileno(), FIRST_PASSED),
        )

    def hear(self) -> list[str]:
        return self.news.recv(4096).decode().splitlines()


@pytest.fixture
def manager(tmp_path) -> Manager:
    return Manager(tmp_path)


def test_a_passed_socket_is_served_and_the_manager_is_told(manager):
    with socket.create_server(("127.0.0.1", 0)) as passed:
        url = f"http://127.0.0.1:{passed.getsockname()[1]}/"
        server = manager.start(passed)
        try:
            assert manager.hear() == ["READY=1", f"STATUS=serving on {url.rstrip('/')}"]
            assert httpx.get(url).text == "hello"
            server.send_signal(signal.SIGHUP)
            assert manager.hear()[0] == "RELOADING=1"
            assert manager.hear() == ["READY=1", "STATUS=reloaded"]
            assert httpx.get(url).text == "hello"
            server.terminate()
            assert manager.hear() == ["STOPPING=1"]
            assert server.wait(SECONDS) == 0
        finally:
            server.kill()
            server.communicate()


def test_a_passed_socket_that_cannot_be_served_is_said(manager):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed:
        passed.bind(("127.0.0.1", 0))
        server = manager.start(passed)
        _, log = server.communicate(timeout=SECONDS)
        assert server.returncode == 2
        assert "socket 1 of those in LISTEN_FDS is no listening stream socket" in log
