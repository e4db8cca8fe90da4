"""Rows that are no comparison of throughput: memory, latency at one connection, time to the first answer."""

import contextlib
import http.client
import resource
import socket
import statistics
import subprocess
import time

from load import wrk

CONNECTIONS = 2000
LATENCY_PAIRS = (("bireme-http", "node-http"), ("bireme-asgi", "uvicorn-asgi"))
KIB = 1024


def line(name: str, title: str, value: float, unit: str, goal: float | None, detail: str) -> dict:
    return {"name": name, "title": title, "value": value, "unit": unit, "goal": goal, "detail": detail}


def memory(kitchen, options) -> dict:
    """The front's memory without a connection, and for each idle connection."""
    print(f"• front's memory, idle and with {CONNECTIONS} idle connections", flush=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = CONNECTIONS + 200
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(need, hard), hard))
    with kitchen.running(["bireme-fetch"]) as (server,):
        idle = server.front_memory()
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while b"Hello, world!" not in answer:
                    answer += connection.recv(4096)
            loaded = server.front_memory()
    each = (loaded - idle) / CONNECTIONS
    return {
        "lines": [
            line("idle", "front's memory, idle", idle / KIB**2, "MiB", 15, "PSS, before the first connection"),
            line("connection", "for each idle keep-alive connection", each / KIB, "KiB", 10, f"over {CONNECTIONS} connections"),
        ]
    }


def latency(kitchen, options) -> dict:
    """What the front adds to one request at a time."""
    lines = []
    for ours, theirs in LATENCY_PAIRS:
        print(f"• latency at one connection: {ours}, {theirs}", flush=True)
        with kitchen.running([ours, theirs]) as running:
            medians = {server.name: [] for server in running}
            for server in running:
                wrk(options.wrk, server.url("/"), 1, 1)
            for _ in range(options.runs):
                for server in running:
                    medians[server.name].append(wrk(options.wrk, server.url("/"), 1, options.seconds).p50_us)
        own, peer = (statistics.median(medians[name]) for name in (ours, theirs))
        detail = f"p50 {own:.0f} µs through Bireme, {peer:.0f} µs on {theirs.partition('-')[0]}"
        lines.append(line(f"latency-{ours}", f"front's own latency, {ours.partition('-')[2]}", own - peer, "µs", 40, detail))
    return {"lines": lines}


def start(kitchen, options) -> dict:
    """From the start of the process to the first answer, beyond the interpreter's own start."""
    print("• start to the first answer", flush=True)
    lines = []
    for name, interpreter in (("bireme-http", kitchen.node), ("bireme-asgi", kitchen.python)):
        ours, own = [], []
        empty = [str(interpreter), "-e", ""] if "http" in name else [str(interpreter), "-c", ""]
        # One of each first, so that files are in memory.
        for run in range(options.runs + 1):
            begin = time.perf_counter()
            subprocess.run(empty, check=True, timeout=20)
            bare = time.perf_counter() - begin
            begin = time.perf_counter()
            server = kitchen.start(name)
            try:
                first_answer(server)
                full = time.perf_counter() - begin
            finally:
                server.stop()
            if run:
                ours.append(full * 1e3)
                own.append(bare * 1e3)
        full, bare = statistics.median(ours), statistics.median(own)
        detail = f"{full:.0f} ms in all, {bare:.0f} ms for an empty program"
        lines.append(line(f"start-{name}", f"start to first answer, {name.partition('-')[2]}", full - bare, "ms", 60, detail))
    return {"lines": lines}


def first_answer(server) -> None:
    """Ask until there is an answer; a refused connection costs next to nothing."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            server.fetch("/")
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.0005)
    raise TimeoutError(f"{server.name} did not answer: {server.log.read_text()[-2000:]}")


ALL = {"memory": memory, "latency": latency, "start": start}
