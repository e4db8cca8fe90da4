"""Where a worker takes calls: its call socket, from READY to the end.

What calls need is imported when the first caller comes, so that a worker that nobody calls pays for a socket alone.
"""

import os

from . import _native
from .loading import LoadError


class Door:
    """The call socket of a worker. Without one (an older front), it does nothing."""

    def __init__(self, settings):
        self._settings = settings
        self._listener = None
        self._loop = None
        self._hub = None
        if settings.calls_path:
            try:
                self._listener = _native.CallListener(settings.calls_path)
            except OSError as error:
                raise LoadError(f"the worker can't take calls: {error}", "Look at the runtime folder (runtime_dir) and its permissions.") from error

    @property
    def fileno(self):
        """The descriptor that turns readable when a caller comes; -1 without one."""
        return -1 if self._listener is None else self._listener.fileno()

    def filenos(self):
        """For a forked child to let go of."""
        return [] if self._listener is None else [self._listener.fileno()]

    def open(self, loop):
        """Take callers on this loop, which runs on this thread."""
        if self._listener is not None:
            self._loop = loop
            loop.add_reader(self._listener.fileno(), self._accept)

    def open_in_thread(self):
        """Take callers on a loop in a thread of its own."""
        from . import calls

        self._configure(calls)
        self._hub = calls.hub_for_threads()
        self._hub.loop.call_soon_threadsafe(self.open, self._hub.loop)

    async def close(self):
        """Take no more callers, and wait for those that are there to leave: they have been told that this worker is to stop."""
        if self._loop is not None:
            self._loop.remove_reader(self._listener.fileno())
        if self._settings.calls_path:
            # Who comes now finds nobody, instead of waiting.
            try:
                os.unlink(self._settings.calls_path)
            except OSError:
                pass
        if self._hub is not None:
            await self._hub.callers_gone()

    def close_in_thread(self):
        """The same, for `open_in_thread`."""
        if self._hub is not None:
            import asyncio

            asyncio.run_coroutine_threadsafe(self.close(), self._hub.loop).result()

    def _accept(self):
        if self._hub is None:
            from . import calls

            self._configure(calls)
            self._hub = calls.hub_of(self._loop)
            calls.use_for_threads(self._hub)
        self._hub.accept(self._listener)

    def _configure(self, calls):
        settings = self._settings
        calls.configure(
            threads_max=settings.threads_max, queue_max=settings.call_queue_max, timeout_ms=settings.timeout_ms,
            message_bytes_max=settings.message_bytes_max,
        )
        calls.configure_memory(settings.shared_memory)
