"""Gets a loop at import, as code from before Python 3.10 does, and gives it something to do."""

import asyncio

try:
    loop = asyncio.get_event_loop()
except RuntimeError:
    # CPython 3.14 makes no loop any more.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)


async def work():
    return "done"


task = loop.create_task(work())


async def app(scope, receive, send):
    same = "same" if asyncio.get_running_loop() is loop else "another"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{same} loop, task {await task}".encode()})
