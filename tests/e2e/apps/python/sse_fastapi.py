"""Server-sent events from FastAPI; see tests/e2e/test_sse.py."""

import bireme
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


async def events(last_event_id):
    try:
        yield bireme.Event({"after": last_event_id}, event="begin", id=1)
        async for text in bireme.subscribe("go"):
            yield text
    finally:
        print("producer ended", flush=True)


async def pieces():
    try:
        yield "first\n"
        async for text in bireme.subscribe("go"):
            yield text + "\n"
    finally:
        print("producer ended", flush=True)


@app.get("/events")
async def sse():
    return bireme.EventStream(events, retry_ms=1500, heartbeat_s=0.05).response()


@app.get("/direct")
async def direct():
    return bireme.EventStream(lambda last_event_id: bireme.subscribe("go"), heartbeat_s=0.05).response()


@app.get("/pieces")
async def streamed():
    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/")
async def root():
    return "ok"
