"""Calls from JavaScript to Python and back, by Bireme and by the bridges that there are.

Callers of a row run at the same time, idle but for the one that is being measured, as the servers of other rows do. What they
measure is in calls/caller.mjs and caller.py.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import servers

END_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """One measure of one or more callers, Bireme first.

    `most` and `least` are what the project promises of it, in the row's unit; `ratios` how many times better than each other caller
    it promises to be. `measures` says what a caller measures instead, which cannot do the same.
    """

    name: str
    title: str
    measure: str
    callers: tuple[str, ...] = ("bireme",)
    unit: str = "µs"
    most: float | None = None
    least: float | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    measures: dict[str, str] = field(default_factory=dict)


ROWS = [
    Row(
        "call", "call of a trivial function, one at a time", "add",
        ("bireme", "bireme-thread", "node-calls-python", "pythonia", "fetch"),
        most=18, ratios={"node-calls-python": 2.5, "fetch": 20, "pythonia": 20},
    ),
    Row(
        "call-64", "the same, 64 in flight", "together",
        ("bireme", "bireme-thread", "node-calls-python", "pythonia", "fetch"), unit="/s", least=150_000,
    ),
    Row("call-node", "Python to Node, asyncio, one at a time", "add", ("bireme-python",), most=25),
    Row(
        "call-array", "8 MB Float64Array to NumPy's sum", "total", ("bireme", "node-calls-python"),
        most=5000, ratios={"node-calls-python": 30}, measures={"node-calls-python": "total-list"},
    ),
    Row("call-shared-8k", "shared array of 8 KB, its first and last element", "ends-small", most=60),
    Row("call-shared-800m", "shared array of 800 MB, its first and last element", "ends-large", most=60),
    Row("call-stream", "stream of 64-byte items, Python to JavaScript", "items", unit="/s", least=500_000),
    Row("call-object", "object of 1 KB as JSON, both ways", "object", ("bireme", "bireme-thread", "node-calls-python"), most=30),
]


@dataclass
class Caller:
    """A running caller."""

    name: str
    process: subprocess.Popen
    log: Path

    def line(self) -> str:
        """The next line it says."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench: the caller {self.name} ended with {self.process.wait()}:\n{self.log.read_text()[-4000:]}")
        return line.strip()

    def measure(self, name: str, seconds: int) -> dict:
        """What caller.mjs says of one measure."""
        self.process.stdin.write(f"{name} {seconds}\n")
        self.process.stdin.flush()
        return json.loads(self.line())


class Bridges:
    """Knows how every caller is started, in a folder of its own."""

    def __init__(self, kitchen: servers.Kitchen, here: Path) -> None:
        self.kitchen = kitchen
        self.folder = kitchen.scratch / "calls"
        # Beside the node_modules of the scratch folder, where Node looks for the other bridges.
        if not self.folder.exists():
            shutil.copytree(here / "calls", self.folder)
            (self.folder / "bireme.toml").write_text(
                f'[service.python]\npython = "web.py"\ninterpreter = "{kitchen.python}"\nworkers = 1\n'
                f'[service.node]\nnode = "page.mjs"\ninterpreter = "{kitchen.node}"\nworkers = 1\n'
            )

    @contextlib.contextmanager
    def running(self, names: tuple[str, ...]) -> Iterator[list[Caller]]:
        """Start callers, wait until each has made a call, and end them afterwards."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.start(name)) for name in names]

    @contextlib.contextmanager
    def start(self, name: str) -> Iterator[Caller]:
        kitchen, bireme = self.kitchen, self.kitchen.options.bireme
        with contextlib.ExitStack() as stack:
            match name:
                case "bireme-python":
                    command = [bireme, "run", "caller.py"]
                case "bireme" | "bireme-thread":
                    command = [bireme, "run", "caller.mjs", name]
                case _:
                    command = [kitchen.node, "caller.mjs", name]
            environment = {**os.environ, "PATH": f"{kitchen.python.parent}:{os.environ['PATH']}"}
            environment |= {"BENCH_PACKAGES": sysconfig.get_path("purelib"), "BENCH_LIBPYTHON": libpython()}
            if name == "fetch":
                environment["BENCH_URL"] = stack.enter_context(self.web())
            log = kitchen.scratch / f"caller-{name}.log"
            process = stack.enter_context(
                subprocess.Popen(
                    list(map(str, command)), cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=stack.enter_context(log.open("wb")), text=True,
                )
            )
            try:
                caller = Caller(name, process, log)
                while caller.line() != "READY":
                    pass
                yield caller
                process.stdin.close()
                # A process with both interpreters in it may hang at its end.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_SECONDS)
            finally:
                process.kill()

    @contextlib.contextmanager
    def web(self) -> Iterator[str]:
        """FastAPI on uvicorn; its address."""
        port = servers.free_port()
        options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        command = [self.kitchen.python, "-m", "uvicorn", *options, "--host", "127.0.0.1", "--port", str(port), "web:app"]
        log = self.kitchen.scratch / "caller-web.log"
        with log.open("wb") as out:
            process = subprocess.Popen(list(map(str, command)), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        server = servers.Server("uvicorn", process, port, port, log)
        try:
            server.wait_ready("/add?a=1&b=2")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()


def libpython() -> str:
    """The shared library of this Python, which node-calls-python makes visible to NumPy."""
    return str(Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME"))


def measured(row: Row, bridges: Bridges, options) -> dict:
    """Run one row."""
    print(f"• {row.title}: {', '.join(row.callers)}", flush=True)
    samples: dict[str, list[dict]] = {name: [] for name in row.callers}
    with bridges.running(row.callers) as callers:
        for run in range(options.runs):
            for caller in callers:
                begin = time.monotonic()
                measure = row.measures.get(caller.name, row.measure)
                samples[caller.name].append(caller.measure(measure, options.seconds))
                shown = {key: f"{value:,.1f}" for key, value in samples[caller.name][-1].items()}
                print(f"  {run + 1}/{options.runs} {caller.name:<18}{shown} {time.monotonic() - begin:.1f} s", flush=True)
    key = "p50" if row.unit == "µs" else "rate"
    results = []
    for name, taken in samples.items():
        values = [sample[key] for sample in taken]
        tail = statistics.median(sample["p99"] for sample in taken) if key == "p50" else None
        results.append({"caller": name, "value": statistics.median(values), "low": min(values), "high": max(values), "p99": tail})
    own = results[0]["value"]
    times = {r["caller"]: r["value"] / own if row.unit == "µs" else own / r["value"] for r in results[1:]}
    return {
        "name": row.name, "title": row.title, "unit": row.unit, "most": row.most, "least": row.least, "results": results,
        "ratios": times, "goals": row.ratios,
    }
