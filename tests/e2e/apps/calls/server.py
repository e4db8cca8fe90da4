"""Calls JavaScript, case by case; server.mjs is the same for Node. See tests/e2e/test_calls.py."""

import array
import asyncio
import json
import pathlib
import traceback
from urllib.parse import parse_qsl

import bireme
import properties

functions = bireme.node("./functions.mjs")
gate = bireme.node("./gate.mjs")


async def every(items):
    return [item async for item in items]


def told(error):
    return {
        "name": type(error).__name__,
        "type": getattr(error, "type", None),
        "message": getattr(error, "message", str(error)),
        "code": getattr(error, "code", None),
        "status": getattr(error, "status", None),
        "started": getattr(error, "started", None),
        "stack": "".join(traceback.format_exception(error)),
        "cause": getattr(error.__cause__, "message", None),
        "own": not isinstance(error, bireme.JsError),
    }


async def outcome(awaitable):
    try:
        return {"value": await awaitable}
    except (Exception, asyncio.CancelledError) as error:
        return {"error": told(error)}


async def busy(marker):
    outcomes = await asyncio.gather(*(outcome(functions.waits.with_(timeout=0.5)(f"{marker}.{number}")) for number in range(20)))
    return sorted(found["error"]["code"] for found in outcomes)


async def stream_block(marker):
    async def read():
        async for item in functions.endless(marker):
            if item == 0:
                pathlib.Path(marker + ".begun").write_text("")

    return await outcome(read())


async def instance_block(marker):
    counter = await functions.Counter.new(1)
    await outcome(functions.waits.with_(timeout=None)(marker))
    return await outcome(counter.add(1))


async def outermost(f, *args):
    return await f(*args)


async def leave(marker):
    async for item in functions.endless(marker):
        if item == 1000:
            return item


async def stream_error():
    found = []

    async def read():
        async for item in functions.fails():
            found.append(item)

    return {"found": found, **await outcome(read())}


async def cancel(marker):
    task = asyncio.ensure_future(functions.waits(marker))
    await asyncio.sleep(0.005)
    task.cancel()
    return await outcome(task)


async def own_stream():
    async def items():
        yield 1
        yield 2

    return await functions.collect(items())


async def callback():
    def fails():
        raise LookupError("from home")

    return [await functions.apply(lambda a, b: a * b, 6, 7), await outcome(functions.apply(fails))]


async def nested():
    async def there(n):
        return await functions.depth(there, n)

    return await there(20)


async def instance():
    counter = await functions.Counter.new(5)
    return [
        await counter.add(2), await counter.n.get(), await functions.is_counter(counter), await every(counter.up_to(9)),
        await outcome(counter.boom()),
    ]


async def basics():
    return [await functions.add(1, 2), await functions.later("x"), await functions.echo({"a": [None, True, "é"]}), await functions["add"](3, 4)]


async def missing():
    return [await outcome(functions.nothing()), await outcome(bireme.node("no_such_module").f())]


async def cannot_cross():
    return [await outcome(outermost(functions.add, {"user": {"lock": object()}}, 1)), await outcome(functions.unserializable())]


async def pids():
    return await asyncio.gather(*(functions.pid() for _ in range(40)))


async def stream():
    return [await every(functions.count(5)), len(await every(functions.count(50_000))), await functions.collect(await functions.count(3))]


async def keywords():
    return [await functions.keywords(1), await functions.keywords(1, top=3)]


async def soak(calls):
    """So many calls, 64 at a time."""
    numbers = iter(range(calls))

    async def lane():
        for number in numbers:
            assert await functions.following(number) == number + 1

    await asyncio.gather(*(lane() for _ in range(64)))
    return calls


CASES = {
    "soak": lambda calls: soak(int(calls)),
    "left": lambda: functions.left(),
    "functions": basics,
    "value": lambda: functions.VERSION.get(),
    "keywords": keywords,
    "error": lambda: outcome(outermost(functions.boom, 1)),
    "cause": lambda: outcome(functions.boom_with_cause()),
    "missing": missing,
    "cannot_cross": cannot_cross,
    "pid": lambda: functions.pid(),
    "pids": pids,
    "stream": stream,
    "own_stream": own_stream,
    "timeout_of_service": lambda marker: outcome(functions.waits(marker)),
    "timeout_never": lambda marker: outcome(functions.waits.with_(timeout=None)(marker)),
    "busy": busy,
    "stream_block": stream_block,
    "instance_block": instance_block,
    "array_block": lambda marker: outcome(functions.blocks(marker, array.array("d", [0.5] * 100_000))),
    "leave": leave,
    "stream_error": stream_error,
    "timeout": lambda marker: outcome(functions.waits.with_(timeout=0.1)(marker)),
    "cancel": cancel,
    "callback": callback,
    "nested": nested,
    "instance": instance,
    "array": lambda: functions.total(array.array("d", [0.5] * 100_000)),
    "block": lambda marker: outcome(functions.blocks(marker)),
    "loads": lambda: outcome(gate.run()),
    "runs": lambda: gate.runs(),
    "die": lambda marker: outcome(functions.dies_once(marker)),
    "die_idempotent": lambda marker: outcome(functions.dies_once.with_(idempotent=True)(marker)),
    "properties": lambda seed, seconds: properties.check(int(seed), float(seconds)),
    "sync": lambda: asyncio.to_thread(lambda: [functions.add.sync(1, 2), list(functions.count.sync(3))]),
}


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http alone")
    run = CASES.get(scope["path"].split("/")[-1])
    body = "here" if run is None else await run(**dict(parse_qsl(scope["query_string"].decode())))
    text = json.dumps(body).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": text})
