"""Runs one function for `bireme compare`: python run.py FILE NAME, commands as JSON lines on the socket that is descriptor 0.

node/src/compare/run.mjs is its counterpart and answers alike. It is run as a script and imports nothing of ours, so that the
process compared is the user's interpreter with the user's code.
"""

import asyncio
import importlib.util
import inspect
import json
import os
import platform
import resource
import socket
import sys
import traceback
from pathlib import Path
from time import perf_counter

SAMPLES_MAX = 200_000


def load(file: str, name: str):
    path = Path(file).resolve()
    # The script's own folder makes room for the function's.
    sys.path[0] = str(path.parent)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    call = module
    for part in name.split("."):
        call = getattr(call, part, None)
    if not callable(call):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise AttributeError(f'no function "{name}" is defined; defined are: {", ".join(names) or "none"}')
    return call


def processor_seconds() -> float:
    kinds = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(kind.ru_utime + kind.ru_stime for kind in kinds)


class Runner:
    def __init__(self, call) -> None:
        self.call = call
        self.cases: list[str] = []

    def input(self, index: int):
        return json.loads(self.cases[index % len(self.cases)])

    async def load(self, cases: str) -> dict:
        self.cases = [line for line in Path(cases).read_text("utf-8").split("\n") if line.strip()]
        return {"cases": len(self.cases)}

    async def answer(self, case: int) -> dict:
        given = self.input(case)
        try:
            value = self.call(given)
            asynchronous = inspect.isawaitable(value)
            if asynchronous:
                value = await value
            json.dumps(value, allow_nan=False)
            answer = {"value": value, "asynchronous": asynchronous}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answer["changed_input"] = given != self.input(case)
        return answer

    async def time(self, seconds: float, calls: int, parse: bool, asynchronous: bool) -> dict:
        """Calls one after the other, `calls` in each sample, until `seconds` have been spent in calls, or thrice that in all."""
        parsed = None if parse else [json.loads(text) for text in self.cases]
        call, count = self.call, len(self.cases)
        took: list[float] = []
        errors = position = 0
        spent = 0.0
        processor = processor_seconds()
        began = perf_counter()
        while len(took) < SAMPLES_MAX and spent < seconds and perf_counter() - began < 3 * seconds:
            if parsed is None:
                given = [self.input(position + n) for n in range(calls)]
            else:
                given = [parsed[(position + n) % count] for n in range(calls)]
            position += calls
            start = perf_counter()
            for value in given:
                try:
                    result = call(value)
                    if asynchronous:
                        await result
                except Exception:
                    errors += 1
            sample = perf_counter() - start
            took.append(sample / calls)
            spent += sample
        elapsed = perf_counter() - began
        return {"took": took, "cpu_seconds": processor_seconds() - processor, "elapsed_seconds": elapsed, "errors": errors}

    async def flood(self, seconds: float, in_flight: int) -> dict:
        """Keeps `in_flight` calls of an asynchronous function going.

        Calls that raise are counted apart: failing fast is not throughput.
        """
        calls = errors = position = 0
        began = perf_counter()

        async def line() -> None:
            nonlocal calls, errors, position
            while perf_counter() - began < seconds:
                given = self.input(position)
                position += 1
                try:
                    await self.call(given)
                    calls += 1
                except Exception:
                    errors += 1

        await asyncio.gather(*(line() for _ in range(in_flight)))
        return {"calls": calls, "errors": errors, "elapsed_seconds": perf_counter() - began}

    async def throw(self, calls: int, depth: int) -> dict:
        """What an error costs that is raised some calls down and caught."""
        caught = 0

        def down(left: int) -> int:
            if left == 0:
                raise RuntimeError("refused")
            return down(left - 1) + 1

        def several() -> None:
            nonlocal caught
            for _ in range(calls):
                try:
                    down(depth)
                except RuntimeError as error:
                    if error.args == ("refused",):
                        caught += 1

        several()
        start = perf_counter()
        several()
        return {"seconds": (perf_counter() - start) / calls, "caught": caught}


def event_loop(awaits: bool) -> tuple[asyncio.AbstractEventLoop, list[str]]:
    """For functions that await: uvloop where the application's environment has it, as in `bireme serve`."""
    if not awaits:
        return asyncio.new_event_loop(), []
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop(), ["loop: asyncio"]
    return uvloop.new_event_loop(), ["loop: uvloop"]


def main() -> int:
    commands = socket.socket(fileno=os.dup(0)).makefile("rwb", buffering=1 << 16)

    def reply(value: dict) -> None:
        commands.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n")
        commands.flush()

    try:
        call = load(sys.argv[1], sys.argv[2])
    except BaseException:
        reply({"failed": traceback.format_exc()})
        return 1
    runner = Runner(call)
    loop, facts = event_loop(inspect.iscoroutinefunction(call))
    asyncio.set_event_loop(loop)
    reply({"version": platform.python_version(), "facts": facts})
    for line in commands:
        command = json.loads(line)
        try:
            reply(loop.run_until_complete(getattr(runner, command.pop("do"))(**command)))
        except Exception:
            reply({"failed": traceback.format_exc()})
    return 0


if __name__ == "__main__":
    # At once: what the function left behind (threads, pools) must not keep the process.
    status = main()
    sys.stdout.flush()
    os._exit(status)
