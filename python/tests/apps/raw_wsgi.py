"""A WSGI application without a framework: one behaviour a path."""

import json
import sys
import threading
import time

barrier = threading.Barrier(3, timeout=10)
closed = []
gone = threading.Event()


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0] or "hello"
    return globals()["on_" + name](environ, start_response)


def reply(start_response, value, status="200 OK"):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def on_hello(environ, start_response):
    return reply(start_response, b"Hello, world!")


def on_environ(environ, start_response):
    plain = {key: value for key, value in environ.items() if isinstance(value, (str, bool, int, tuple))}
    plain["wsgi.errors"] = environ["wsgi.errors"] is sys.stderr
    return reply(start_response, plain)


def on_echo(environ, start_response):
    return reply(start_response, environ["wsgi.input"].read())


def on_lines(environ, start_response):
    body = environ["wsgi.input"]
    first = body.readline()
    part = body.readline(3)
    rest = body.readlines()
    return reply(start_response, [line.decode() for line in [first, part, *rest, body.read()]])


def on_iterate(environ, start_response):
    return reply(start_response, [line.decode() for line in environ["wsgi.input"]])


def on_sizes(environ, start_response):
    body = environ["wsgi.input"]
    sizes = []
    while chunk := body.read(100_000):
        sizes.append(len(chunk))
    return reply(start_response, {"sizes": sizes})


def on_reason(environ, start_response):
    return reply(start_response, b"tea", "418 I'm a teapot")


def on_generator(environ, start_response):
    start_response("200 OK", [])
    for number in range(3):
        yield b"part %d\n" % number


def on_write(environ, start_response):
    write = start_response("200 OK", [])
    write(b"written ")
    write(b"")
    return [b"and ", b"returned"]


def on_big(environ, start_response):
    return reply(start_response, bytes(range(256)) * 8192)


def on_empty(environ, start_response):
    start_response("204 No Content", [])
    return []


class Closing:
    def __init__(self, name, chunks):
        self.name, self.chunks = name, iter(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        closed.append(self.name)


def on_close(environ, start_response):
    start_response("200 OK", [])
    return Closing("close", [b"a", b"b"])


def on_close_after_error(environ, start_response):
    def chunks():
        yield b"a"
        raise ValueError("raised in the middle")

    start_response("200 OK", [])
    return Closing("close_after_error", chunks())


def on_closed(environ, start_response):
    return reply(start_response, closed)


def on_file(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"), 100)


def on_raise(environ, start_response):
    raise ValueError("raised on purpose")


def on_exc_info(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError("too early to matter")
    except ValueError:
        start_response("500 Oops", [("X-Second", "2")], sys.exc_info())
    return [b"replaced"]


def on_exc_info_late(environ, start_response):
    write = start_response("200 OK", [])
    write(b"begun")
    try:
        raise ValueError("too late to change")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())
    raise AssertionError("start_response should have raised")


def on_broken(environ, start_response):
    how = environ["QUERY_STRING"]
    if how == "newline":
        start_response("200 OK", [("X-A", "1\r\nSet-Cookie: a=b")])
    elif how == "unicode":
        start_response("200 OK", [("X-A", "☃")])
    elif how == "bytes":
        start_response(b"200 OK", [])
    elif how == "status":
        start_response("OK", [])
    elif how == "twice":
        start_response("200 OK", [])
        start_response("200 OK", [])
    elif how == "text":
        start_response("200 OK", [])
        return ["text"]
    elif how == "too-long":
        start_response("200 OK", [("Content-Length", "4")])
        return [b"12345"]
    elif how == "too-short":
        start_response("200 OK", [("Content-Length", "6")])
        return [b"12345"]
    elif how == "none":
        return None
    return [b"12345"]


def on_meet(environ, start_response):
    """Answers only once three requests run at the same time."""
    barrier.wait()
    return reply(start_response, {"thread": threading.current_thread().name})


def on_endless(environ, start_response):
    start_response("200 OK", [])

    def chunks():
        try:
            while True:
                yield bytes(65536)
        finally:
            gone.set()

    return chunks()


def on_wait_gone(environ, start_response):
    return reply(start_response, {"gone": gone.wait(10)})


def on_sleep(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    return reply(start_response, b"slept")


def on_exit(environ, start_response):
    sys.exit(7)


def on_print(environ, start_response):
    print("a line for the log")
    environ["wsgi.errors"].write("another, to stderr\n")
    return reply(start_response, b"printed")
