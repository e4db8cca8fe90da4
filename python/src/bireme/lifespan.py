"""ASGI's lifespan protocol (spec 2.0): startup before the first request, shutdown after the last."""

import asyncio
import traceback

from .loading import LoadError
from .worker import report


class Lifespan:
    """The lifespan of one application.

    `state` is what the application left for its requests, or None when it does not speak the protocol.
    """

    def __init__(self, app, mode, timeout_ms):
        self.state = None
        self.notes = []
        self._app = app
        self._mode = mode
        self._timeout_ms = timeout_ms
        self._task = None
        self._events = asyncio.Queue()
        self._answer = None

    async def startup(self):
        """Run the startup. Raises LoadError when it fails, or does not end in time."""
        if self._mode == "off":
            return
        state = {}
        self._task = asyncio.create_task(self._run(state), name="bireme-lifespan")
        kind, message = await self._ask("startup")
        if kind == "complete":
            self.state = state
        elif kind == "failed":
            raise LoadError(f"the application's startup failed: {_last_line(message)}", "", message)
        elif kind == "late":
            raise LoadError(
                f"the application's startup has not ended after {self._timeout_ms} ms",
                "Look for what it waits for, or raise lifespan_timeout_ms.",
            )
        elif self._mode == "on":
            raise LoadError(
                "the application does not speak the lifespan protocol, which lifespan = \"on\" demands",
                "Set lifespan = \"auto\".",
                message,
            )
        else:
            self._task = None
            if message:
                self.notes.append(f"no lifespan: the application answered with {_last_line(message)}")

    async def shutdown(self):
        """Run the shutdown; what goes wrong is logged, since nothing can be done about it any more."""
        if self._task is None:
            return
        kind, message = await self._ask("shutdown")
        if kind == "failed":
            report(f"the application's shutdown failed: {message}")
        elif kind == "late":
            report(f"the application's shutdown has not ended after {self._timeout_ms} ms")
            self._task.cancel()
        elif kind == "gone" and message:
            report(f"the application's shutdown failed: {message}")
        if not self._task.done():
            await asyncio.wait([self._task], timeout=1)

    async def _ask(self, phase):
        """Send the event, and return (complete | failed | gone | late, message)."""
        self._phase = phase
        self._answer = asyncio.get_running_loop().create_future()
        if self._task.done():
            return "gone", ""
        self._events.put_nowait({"type": f"lifespan.{phase}"})
        done, _ = await asyncio.wait(
            [self._answer, self._task], timeout=self._timeout_ms / 1000, return_when=asyncio.FIRST_COMPLETED
        )
        if self._answer.done():
            return self._answer.result()
        if not done:
            return "late", ""
        error = self._task.exception() if not self._task.cancelled() else None
        return "gone", "".join(traceback.format_exception(error)) if error else ""

    async def _run(self, state):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        await self._app(scope, self._receive, self._send)

    async def _receive(self):
        return await self._events.get()

    async def _send(self, message):
        kind = message["type"]
        for outcome in ("complete", "failed"):
            if kind == f"lifespan.{self._phase}.{outcome}":
                if not self._answer.done():
                    self._answer.set_result((outcome, message.get("message", "")))
                return
        raise RuntimeError(f"unexpected ASGI message {kind!r} during lifespan.{self._phase}")


def _last_line(text):
    lines = [line for line in str(text).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no message"
