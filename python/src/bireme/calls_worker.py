"""The worker that takes calls alone: no application, an event loop, and its call socket."""

import asyncio
import json

from .accepting import Door
from .asgi import close, event_loop, watch_control
from .worker import let_go_when_forked


def serve(settings, control):
    """Take calls until the front says DRAIN; returns the exit status."""
    loop, notes = event_loop(settings.loop)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(settings, control, loop, notes))
    finally:
        close(loop)


async def _serve(settings, control, loop, notes):
    drain = watch_control(loop, control)
    door = Door(settings)
    let_go_when_forked(door.filenos())
    door.open(loop)
    control.ready(json.dumps({"kind": "calls", "notes": notes}))
    await drain.wait()
    await door.close()
    return 0
