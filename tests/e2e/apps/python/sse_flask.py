"""Server-sent events from Flask; see tests/e2e/test_sse.py."""

import bireme
from flask import Flask, Response

app = Flask(__name__)


def events(last_event_id):
    try:
        yield bireme.Event({"after": last_event_id}, event="begin", id=1)
        with bireme.subscribe("go") as go:
            while True:
                try:
                    yield go.take(0.05)
                except TimeoutError:
                    yield None
    finally:
        print("producer ended", flush=True)


def pieces():
    try:
        yield "first\n"
        for text in bireme.subscribe("go"):
            yield text + "\n"
    finally:
        print("producer ended", flush=True)


@app.get("/events")
def sse():
    return bireme.EventStream(events, retry_ms=1500)


@app.get("/direct")
def direct():
    return bireme.EventStream(lambda last_event_id: bireme.subscribe("go"), heartbeat_s=0.05)


@app.get("/pieces")
def streamed():
    return Response(pieces(), mimetype="text/plain")


@app.get("/go")
def go():
    bireme.publish("go", "second\nline")
    return "gone"


@app.get("/listeners")
def listeners():
    return str(bireme.topics().result().get("go", {"workers": 0})["workers"])


@app.get("/")
def root():
    return "ok"
