"""A running `bireme serve` or `bireme dev`, as a test sees it: its address, its log, its processes, its end."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

BIREME = Path(os.environ.get("E2E_BIREME", "target/release/bireme")).resolve()
"""The binary under test."""

START_SECONDS = 60.0
"""Longest wait for a server's address; a busy machine compiles a framework's byte code meanwhile."""

ADDRESS = re.compile(r"\bready on .*?(https?)://(127\.0\.0\.1|\[::1\]):(\d+)")
"""The line with which a server says that its workers are ready; applications print addresses too."""


TOUCHED: list["Server"] = []
"""Servers that the running test has asked for an address; conftest.py shows their logs when it fails."""


class Failed(Exception):
    """The server did not do what the test waited for; holds the log."""


class Server:
    """A server process. Use it as a context manager: it is gone afterwards, whatever happened."""

    def __init__(
        self,
        folder: Path,
        config: str | None = None,
        arguments: Sequence[str] = (),
        env: dict[str, str] | None = None,
        listen: Sequence[str] = ("127.0.0.1:0",),
        command: str = "serve",
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._open_pipes = 2
        if config is not None:
            (folder / "bireme.toml").write_text(config)
        flags = [word for address in listen for word in ("--listen", address)]
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV" and not name.startswith("BIREME")}
        environment |= {"NEXT_TELEMETRY_DISABLED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | (env or {})
        self.process = subprocess.Popen(
            [BIREME, command, *arguments, *flags],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for pipe in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe) -> None:
        for line in pipe:
            with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._open_pipes -= 1
            self._news.notify_all()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    @property
    def log(self) -> str:
        """Everything said so far on stdout and stderr."""
        with self._news:
            return "\n".join(self.lines)

    def wait_for(self, pattern: str | re.Pattern[str], seconds: float = START_SECONDS, since: int = 0) -> re.Match[str]:
        """Wait until a line, from number `since` on, matches; return the match."""
        deadline = time.monotonic() + seconds
        position = since
        with self._news:
            while True:
                for line in self.lines[position:]:
                    if match := re.search(pattern, line):
                        return match
                position = len(self.lines)
                remaining = deadline - time.monotonic()
                if self._open_pipes == 0 or remaining <= 0:
                    why = f"ended with {self.process.poll()}" if self._open_pipes == 0 else f"{seconds} s passed"
                    raise Failed(f"no line matched {pattern!r} ({why}); the log:\n" + "\n".join(self.lines))
                self._news.wait(remaining)

    def wait_for_next(self, pattern: str, since: int) -> int:
        """Wait as `wait_for` does; return the number of the line after the one that matched."""
        self.wait_for(pattern, since=since)
        with self._news:
            return next(at for at in range(since, len(self.lines)) if re.search(pattern, self.lines[at])) + 1

    def mark(self) -> int:
        """The number of lines so far, for `wait_for(since=…)`."""
        with self._news:
            return len(self.lines)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, once the server says so."""
        match = self._address()
        return f"{match[1]}://{match[2]}:{match[3]}"

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(self._address()[3])

    def _address(self) -> re.Match[str]:
        if self not in TOUCHED:
            TOUCHED.append(self)
        return self.wait_for(ADDRESS)

    def client(self, **options) -> httpx.Client:
        """A client for this server that follows nothing and trusts no environment."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=httpx.Timeout(30), **options)

    def get(self, path: str, **options) -> httpx.Response:
        """One GET on a connection of its own."""
        with self.client() as client:
            return client.get(path, **options)

    def ready(self) -> "Server":
        """Wait until the application answers."""
        self.get("/")
        return self

    def workers(self, service: str | None = None) -> list[int]:
        """Process ids of the workers, oldest first: children of the front that were told to be one."""
        found = []
        for pid in children(self.process.pid):
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            mine = [e.removeprefix(b"BIREME_SERVICE=").decode() for e in environment if e.startswith(b"BIREME_SERVICE=")]
            if mine and service in (None, mine[0]):
                found.append(pid)
        return sorted(found, key=started_at)

    def signal(self, number: int) -> None:
        """Send a signal to the front alone."""
        self.process.send_signal(number)

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, then the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 30.0) -> int:
        """The exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running after {seconds} s; the log:\n{self.log}") from None

    def memory(self) -> int:
        """Resident bytes of the front."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def children(pid: int) -> list[int]:
    """Direct children of every thread of a process."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except OSError:
        pass
    return found


def started_at(pid: int) -> int:
    """Clock ticks from boot to the start of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def eventually(check, seconds: float = 20.0, what: str = "") -> object:
    """Ask again until `check` gives something true; for states that announce themselves nowhere."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := check():
            return answer
        if time.monotonic() > deadline:
            raise Failed(f"did not happen within {seconds} s: {what or check}")
        # Between two looks, not instead of a signal: nothing is assumed to have happened after it.
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port that nobody listens on, for servers other than Bireme."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lines_of(text: str) -> Iterator[str]:
    """Lines without trailing space."""
    return (line.rstrip() for line in text.splitlines())
