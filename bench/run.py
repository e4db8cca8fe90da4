"""Measure Bireme against its peers: `cargo xtask bench`.

Servers of a row run at the same time, idle but for the one that is being measured; runs are interleaved, so that a
noisy minute harms all alike; medians are reported. Each server has one worker, and wrk shares the machine's cores with
all of them. A number without its peer from the same run means nothing on a shared machine: read the ratios.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import calls
import chart
import machine
import realtime
import servers
import special
from load import Sample, h2load, wrk

HERE = Path(__file__).resolve().parent
SPECIAL = special.ALL | realtime.ALL


@dataclass(frozen=True)
class Row:
    """One comparison: the servers, Bireme first, and the ratios of requests/s that the project promises."""

    name: str
    title: str
    servers: tuple[str, ...]
    goals: dict[str, float] = field(default_factory=dict)
    path: str = "/"
    tool: str = "wrk"


ROWS = [
    Row("fetch", "fetch handler, text", ("bireme-fetch", "node-http", "bun", "deno"), {"node-http": 2.5, "bun": 1.0}),
    Row("express", "Express 5, JSON", ("bireme-express", "node-express"), {"node-express": 1.8}),
    Row("fastify", "Fastify 5, JSON", ("bireme-fastify", "node-fastify"), {"node-fastify": 1.8}),
    Row("asgi", "bare ASGI", ("bireme-asgi", "granian-asgi", "uvicorn-asgi"), {"granian-asgi": 2.2, "uvicorn-asgi": 2.5}),
    Row(
        "fastapi", "FastAPI, JSON", ("bireme-fastapi", "granian-fastapi", "uvicorn-fastapi"),
        {"granian-fastapi": 1.08, "uvicorn-fastapi": 1.25},
    ),
    Row("wsgi", "bare WSGI", ("bireme-wsgi", "granian-wsgi", "gunicorn-wsgi"), {"granian-wsgi": 1.3, "gunicorn-wsgi": 4.0}),
    Row("static", "10 KB static file", ("bireme-static", "nginx"), {"nginx": 0.9}, "/file.bin"),
    Row("static-h2", "10 KB static file, HTTP/2", ("bireme-static", "nginx-h2"), {}, "/file.bin", "h2load"),
]


@dataclass
class Result:
    """What one server of a row did over all runs."""

    server: str
    rate: float
    rate_low: float
    rate_high: float
    p50_us: float
    p99_us: float
    cpu_us: float
    memory_bytes: int


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="bireme-bench-") as scratch:
        kitchen = servers.Kitchen(options, Path(scratch), HERE / "apps")
        report = {"machine": machine.describe(), "versions": kitchen.versions(), "settings": settings(options)}
        report["rows"] = [measured(row, kitchen, options) for row in ROWS if wanted(row.name, options)]
        report["special"] = [
            measure(kitchen, options) for name, measure in SPECIAL.items() if wanted(name, options)
        ]
        bridges = calls.Bridges(kitchen, HERE)
        report["calls"] = [calls.measured(row, bridges, options) for row in calls.ROWS if wanted(row.name, options)]
    if not report["rows"] and not report["special"] and not report["calls"]:
        sys.exit(f"bench: nothing is called {', '.join(options.only)}; there is: {', '.join(names())}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "RESULTS.md").write_text(chart.markdown(report))
    (options.out / "results.svg").write_text(chart.svg(report))
    print(chart.markdown(report))


def names() -> list[str]:
    return [row.name for row in ROWS] + list(SPECIAL) + [row.name for row in calls.ROWS]


def wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or name in options.only


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cargo xtask bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=f"one of: {', '.join(names())}")
    parser.add_argument("--runs", type=count(1, 100), default=5, help="measurements of each server (default 5)")
    parser.add_argument("--seconds", type=count(1, 120), default=4, help="length of one measurement (default 4)")
    parser.add_argument("--connections", type=count(1, 4096), default=64, help="keep-alive connections (default 64)")
    parser.add_argument("--front-threads", type=count(1, 64), default=1, help="Bireme's front threads (default 1)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    for path in ("bireme", "sockets-load", "node-modules", "wrk", "h2load", "nginx"):
        parser.add_argument(f"--{path}", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def count(least: int, most: int):
    def parse_count(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} to {most}")
        return int(text)

    return parse_count


def settings(options: argparse.Namespace) -> dict:
    keys = ("runs", "seconds", "connections", "front_threads")
    return {key: getattr(options, key) for key in keys}


def measured(row: Row, kitchen: servers.Kitchen, options: argparse.Namespace) -> dict:
    """Run one comparison."""
    print(f"• {row.title}: {', '.join(row.servers)}", flush=True)
    with kitchen.running(row.servers) as running:
        same_answer(row, running)
        samples: dict[str, list[Sample]] = {server.name: [] for server in running}
        tool = {"wrk": wrk, "h2load": h2load}[row.tool]
        program = getattr(options, row.tool)
        for server in running:
            tool(program, server.url(row.path), options.connections, 1)
        for run in range(options.runs):
            for server in running:
                before = server.cpu_seconds()
                sample = tool(program, server.url(row.path), options.connections, options.seconds)
                sample.cpu_us = (server.cpu_seconds() - before) / sample.requests * 1e6
                sample.memory_bytes = server.memory()
                samples[server.name].append(sample)
                print(f"  {run + 1}/{options.runs} {server.name:<16}{sample.rate:>10,.0f}/s", flush=True)
    results = [summary(name, taken) for name, taken in samples.items()]
    first = results[0]
    ratios = {other.server: first.rate / other.rate for other in results[1:]}
    return {
        "name": row.name, "title": row.title, "results": [asdict(result) for result in results],
        "ratios": ratios, "goals": row.goals,
    }


def same_answer(row: Row, running: list[servers.Server]) -> None:
    """Servers that answer differently are not compared."""
    bodies = {server.name: server.fetch(row.path) for server in running}
    if len(set(bodies.values())) != 1:
        shown = ", ".join(f"{name}: {body[:60]!r}" for name, body in bodies.items())
        sys.exit(f"bench: the servers of {row.name} answer differently: {shown}")


def summary(name: str, samples: list[Sample]) -> Result:
    rates = [sample.rate for sample in samples]

    def median(key: str) -> float:
        return statistics.median(getattr(sample, key) for sample in samples)

    return Result(
        name, statistics.median(rates), min(rates), max(rates),
        median("p50_us"), median("p99_us"), median("cpu_us"), int(median("memory_bytes")),
    )


if __name__ == "__main__":
    main()
