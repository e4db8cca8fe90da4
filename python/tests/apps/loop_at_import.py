"""Needs a running loop at import, as a module that makes an aiohttp session does."""

import asyncio

loop = asyncio.get_running_loop()


async def app(scope, receive, send):
    assert asyncio.get_running_loop() is loop
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"same loop"})
