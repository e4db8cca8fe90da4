"""An ASGI application without a framework: one behaviour a path."""

import asyncio
import contextvars
import json
import os
import sys
import threading

request_var = contextvars.ContextVar("request_var", default="fresh")
seen = {"disconnects": 0, "oserrors": 0, "shutdown": 0}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    name = scope["path"].removeprefix(scope["root_path"]).strip("/").split("/")[0] or "hello"
    await globals()["on_" + name](scope, receive, send)


async def lifespan(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["answer"] = 42
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("shut down in order")
    await send({"type": "lifespan.shutdown.complete"})


async def reply(send, value, status=200, headers=()):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive):
    body, messages = b"", 0
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message["body"]
        messages += 1
        if not message["more_body"]:
            return body, messages


async def on_hello(scope, receive, send):
    await reply(send, b"Hello, world!", headers=[(b"content-type", b"text/plain")])


async def on_scope(scope, receive, send):
    plain = {key: scope[key] for key in scope if key not in ("headers", "raw_path", "query_string")}
    plain["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    plain["raw_path"] = scope["raw_path"].decode("latin-1")
    plain["query_string"] = scope["query_string"].decode("latin-1")
    types = [type(scope["headers"]).__name__, type(scope["headers"][0][0]).__name__, type(scope["client"]).__name__]
    await reply(send, {"scope": plain, "types": types})


async def on_echo(scope, receive, send):
    body, _ = await read_body(receive)
    await reply(send, body)


async def on_count(scope, receive, send):
    total = 0
    while True:
        message = await receive()
        total += len(message["body"])
        if not message["more_body"]:
            break
    await reply(send, {"bytes": total})


async def on_slow_reader(scope, receive, send):
    """Reads nothing until /release is asked for."""
    await released.wait()
    await on_count(scope, receive, send)


released = asyncio.Event()


async def on_release(scope, receive, send):
    released.set()
    await reply(send, {})


async def on_big(scope, receive, send):
    await reply(send, bytes(range(256)) * 8192)


async def on_stream(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(5):
        await send({"type": "http.response.body", "body": b"part %d\n" % number, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body"})


async def on_endless(scope, receive, send):
    """Streams until the client has gone, and notes how it learned that."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    except OSError:
        seen["oserrors"] += 1
        changed.set()


changed = asyncio.Event()


async def on_wait_for_disconnect(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"on", "more_body": True})
    await read_body(receive)
    message = await receive()
    assert message == {"type": "http.disconnect"}
    seen["disconnects"] += 1
    changed.set()


async def on_seen(scope, receive, send):
    while not any(seen.values()):
        changed.clear()
        await changed.wait()
    await reply(send, seen)


async def on_trailers(scope, receive, send):
    assert "http.response.trailers" in scope["extensions"]
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-other", b"2")]})


async def on_hints(scope, receive, send):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
    await reply(send, b"ok")


async def on_file(scope, receive, send):
    assert "http.response.pathsend" in scope["extensions"]
    how = scope["query_string"].decode()
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"file")]}
    await send(start | {"trailers": how == "trailers"})
    if how == "late":
        await send({"type": "http.response.body", "body": b"early", "more_body": True})
    path = "/" + "a" * 4999 if how == "long" else os.path.relpath(__file__)
    await send({"type": "http.response.pathsend", "path": path})
    if how == "twice":
        await send({"type": "http.response.pathsend", "path": path})


async def on_raise(scope, receive, send):
    raise ValueError("raised on purpose")


async def on_raise_late(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    raise ValueError("raised in the middle")


async def on_raise_after(scope, receive, send):
    await reply(send, b"fine")
    raise ValueError("raised in the background")


async def on_nothing(scope, receive, send):
    await receive()


async def on_half(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})


async def on_broken(scope, receive, send):
    """Breaks the contract in the way that the query names."""
    start = {"type": "http.response.start", "status": 200, "headers": []}
    body = {"type": "http.response.body", "body": b"12345"}
    for message in {
        b"newline": [{**start, "headers": [(b"x-a", b"1\r\nset-cookie: a=b")]}],
        b"name": [{**start, "headers": [(b"x a", b"1")]}],
        b"text": [{**start, "headers": [("x-a", "1")]}],
        b"status": [{**start, "status": 99}],
        b"status-text": [{**start, "status": "200"}],
        b"body-first": [body],
        b"twice": [start, start],
        b"type": [{"type": "websocket.send"}],
        b"no-type": [{}],
        b"not-a-dict": [5],
        b"body-text": [start, {"type": "http.response.body", "body": "text"}],
        b"too-long": [{**start, "headers": [(b"content-length", b"4")]}, body],
        b"too-short": [{**start, "headers": [(b"content-length", b"6")]}, body],
        b"length": [{**start, "headers": [(b"content-length", b"six")]}, body],
        b"huge": [{**start, "headers": [(b"x-a", b"a" * 70_000)]}, body],
        b"trailers": [start, {"type": "http.response.trailers", "headers": []}],
    }[scope["query_string"]]:
        await send(message)


async def on_task(scope, receive, send):
    task = asyncio.current_task()
    before = request_var.get()
    request_var.set(scope["query_string"].decode())
    inner = await asyncio.create_task(child())
    await asyncio.sleep(0)
    assert asyncio.current_task() is task
    assert task in asyncio.all_tasks()
    await reply(
        send,
        {
            "is_task": isinstance(task, asyncio.Task),
            "before": before,
            "inner": inner,
            "after": request_var.get(),
            "main_thread": threading.current_thread() is threading.main_thread(),
        },
    )


async def child():
    await asyncio.sleep(0)
    return request_var.get()


async def on_eager(scope, receive, send):
    """Never suspends, so that a request ends in the turn it arrived in; the variable must not leak."""
    before = request_var.get()
    request_var.set("left over")
    await reply(send, {"before": before, "is_task": isinstance(asyncio.current_task(), asyncio.Task)})


async def on_as_tasks(scope, receive, send):
    """receive() and send() wrapped in tasks, as middleware does."""
    message = await asyncio.wait_for(asyncio.ensure_future(receive()), 5)
    assert message["type"] == "http.request", message
    waiting = asyncio.create_task(receive())
    await asyncio.sleep(0)
    waiting.cancel()
    try:
        await waiting
        raise AssertionError("not cancelled")
    except asyncio.CancelledError:
        pass
    try:
        await asyncio.wait_for(receive(), 0.01)
        raise AssertionError("did not time out")
    except asyncio.TimeoutError:
        pass
    await asyncio.create_task(send({"type": "http.response.start", "status": 200, "headers": []}))
    await asyncio.gather(
        send({"type": "http.response.body", "body": b"one ", "more_body": True}),
        send({"type": "http.response.body", "body": b"two", "more_body": False}),
    )
    assert (await receive())["type"] == "http.disconnect"


async def on_gathered_big(scope, receive, send):
    """Sends without awaiting in between; order must hold though the first waits for credit."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.gather(
        send({"type": "http.response.body", "body": b"a" * 600_000, "more_body": True}),
        send({"type": "http.response.body", "body": b"b" * 600_000, "more_body": True}),
        send({"type": "http.response.body", "body": b"c", "more_body": False}),
    )


async def on_other_bodies(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": iter([[b"x-a", b"1"]])})
    await send({"type": "http.response.body", "body": bytearray(b"array "), "more_body": True})
    await send({"type": "http.response.body", "body": memoryview(b"view")})


async def on_process(scope, receive, send):
    runtime = os.path.dirname(os.path.dirname(sys.modules["bireme"].__file__))
    await reply(
        send,
        {
            "argv": sys.argv,
            "path0": sys.path[0],
            "cwd": os.getcwd(),
            "leaked": [name for name in os.environ if name.startswith("BIREME_") and name not in ("BIREME_SERVICE", "BIREME_WORKER")],
            "service": os.environ.get("BIREME_SERVICE"),
            "runtime_on_path": runtime in sys.path,
            "loop": type(asyncio.get_running_loop()).__module__,
        },
    )


def in_child(numbers):
    return sum(numbers)


async def on_processes(scope, receive, send):
    """multiprocessing by fork and by spawn from a worker."""
    import concurrent.futures
    import multiprocessing

    method = scope["query_string"].decode()
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        total = await asyncio.get_running_loop().run_in_executor(pool, in_child, [1, 2, 3])
    await reply(send, {"total": total})


async def on_print(scope, receive, send):
    print("a line for the log")
    print("another, to stderr", file=sys.stderr)
    await reply(send, b"printed")


async def on_exit(scope, receive, send):
    sys.exit(7)


async def on_timeout(scope, receive, send):
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.01)
    except asyncio.TimeoutError:
        await reply(send, b"timed out")


async def on_never(scope, receive, send):
    await asyncio.Event().wait()


class Callable:
    """An instance whose __call__ is not a coroutine function; its code sets a context variable."""

    def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        before = request_var.get()
        request_var.set("set outside of the coroutine")
        return reply(send, {"before": before, "is_task": asyncio.current_task() is not None})


instance = Callable()
