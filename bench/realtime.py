"""WebSockets: echo and broadcast beside the peers, idle sockets' memory, and latency from one language to the other."""

import contextlib
import json
import resource
import statistics
import subprocess
import sys

from special import KIB, line

BYTES = 64
ECHO_SOCKETS = 64
ROOM_SOCKETS = 1000
# Broadcasts that are under way at a time: enough that nobody waits for the sender, few enough that nobody's queue grows.
WINDOW = 16
IDLE_SOCKETS = 20_000
LATENCY_SAMPLES = 3000
SPARE_DESCRIPTORS = 500

ECHO = {
    "echo, Node handler": ("bireme-sockets", {"ws": 1.5, "bun-sockets": 0.9}),
    "echo, bare ASGI": ("bireme-asgisockets", {"granian-asgisockets": 1.5, "uvicorn-asgisockets": 2.0}),
}
BROADCAST = {
    "broadcast, Node handler": ("bireme-sockets", {"ws": 5.0, "bun-sockets": 1.2}),
    "broadcast, FastAPI": ("bireme-room", {"uvicorn-room": 10.0}),
}


def run(options, *arguments) -> dict:
    """One run of the load generator."""
    command = [str(word) for word in (options.sockets_load, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def address(server) -> str:
    return f"127.0.0.1:{server.port}"


def compare(kitchen, options, rows, measure) -> list:
    """Rates of each row's servers, interleaved; a line for each peer."""
    lines = []
    for title, (ours, goals) in rows.items():
        print(f"• {title}", flush=True)
        with kitchen.running([ours, *goals]) as running:
            rates = {server.name: [] for server in running}
            for number in range(options.runs):
                for server in running:
                    sample = measure(server)
                    rates[server.name].append(sample["rate"])
                    print(f"  {number + 1}/{options.runs} {server.name:<20}{sample['rate']:>12,.0f}/s", flush=True)
        medians = {name: statistics.median(taken) for name, taken in rates.items()}
        for peer, goal in goals.items():
            detail = f"{medians[ours]:,.0f}/s ({min(rates[ours]):,.0f}–{max(rates[ours]):,.0f}) to {medians[peer]:,.0f}/s"
            entry = line(f"{title} / {peer}", f"{title}, to {peer}", medians[ours] / medians[peer], "×", goal, detail)
            lines.append(entry | {"least": True})
    return lines


def echo(kitchen, options) -> dict:
    """64 sockets, each of which waits for its echo."""
    return {
        "lines": compare(
            kitchen, options, ECHO,
            lambda server: run(options, "echo", address(server), "/echo", ECHO_SOCKETS, options.seconds, BYTES),
        )
    }


def broadcast(kitchen, options) -> dict:
    """One message to 1,000 sockets; delivered messages count."""
    return {
        "lines": compare(
            kitchen, options, BROADCAST,
            lambda server: run(options, "broadcast", address(server), "/room", ROOM_SOCKETS, options.seconds, BYTES, WINDOW),
        )
    }


def idle(kitchen, options) -> dict:
    """Memory of all processes for each socket that is open and silent."""
    sockets = min(IDLE_SOCKETS, allow_descriptors(IDLE_SOCKETS + SPARE_DESCRIPTORS) - SPARE_DESCRIPTORS)
    print(f"• {sockets} idle sockets", flush=True)
    with kitchen.running(["bireme-sockets"]) as (server,):
        run(options, "echo", address(server), "/echo", 16, 1, BYTES)
        before = server.memory()
        command = [str(word) for word in (options.sockets_load, "hold", address(server), "/echo", sockets)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            said = holder.stdout.readline()
            if said != "ready\n":
                sys.exit(f"bench: {sockets} sockets could not be opened: {said}")
            each = (server.memory() - before) / sockets
            held = json.loads(holder.communicate("")[0])["held"]
    detail = f"PSS of all processes, over {held} sockets"
    return {"lines": [line("idle-socket", "for each idle WebSocket", each / KIB, "KiB", 6, detail)]}


def latency(kitchen, options) -> dict:
    """From publish() in Python to a client whose socket Node has opened."""
    print("• publish from Python to a socket opened through Node", flush=True)
    p50, p99 = [], []
    with kitchen.running(["bireme-clock"]) as (server,):
        for _ in range(options.runs):
            sample = run(options, "latency", address(server), "/room", LATENCY_SAMPLES)
            p50.append(sample["p50_us"])
            p99.append(sample["p99_us"])
    detail = f"p99 {statistics.median(p99):.0f} µs, 1,000 messages a second"
    return {"lines": [line("publish", "publish in Python to a socket of Node, p50", statistics.median(p50), "µs", 60, detail)]}


def allow_descriptors(need: int) -> int:
    """Raises the limit as far as it may be; how many there are now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < need:
        with contextlib.suppress(ValueError):
            # Only root may raise the hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(hard, need)))
            return need
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


ALL = {"sockets-echo": echo, "sockets-broadcast": broadcast, "sockets-idle": idle, "sockets-publish": latency}
