"""Publishes the time, a thousand times a second, to sockets that another service has opened."""

import asyncio
import time

import bireme

MESSAGE = "{} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"


async def tick():
    while True:
        bireme.publish("room", MESSAGE.format(time.monotonic_ns()))
        await asyncio.sleep(0.001)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        task = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                task = asyncio.ensure_future(tick())
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                task.cancel()
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"13")]})
    await send({"type": "http.response.body", "body": b"Hello, world!"})
