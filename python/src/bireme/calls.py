"""Calls of this process: links to the workers of services, and links of those that call us.

Each event loop that calls has a `Hub` with links of its own, so that a call costs no switch of threads. Threads without a loop use the
hub of the worker's loop, or of a thread that is started for them. What happens on a link is Rust's work (`native/src/calls`).
"""

import asyncio
import contextvars
import json
import os
import sys
import threading
import time
import weakref

from . import _native, targets
from .broker import BrokerLink, find, process_name
from .errors import CallError, CallTimeout, ServiceBusy
from .worker import report

# Of threads that run plain functions, and of calls that wait for one. A worker's settings say otherwise.
THREADS_DEFAULT = 16
QUEUE_DEFAULT = 1024
# What a worker takes from one caller; callers keep to what the broker tells them, this is against those that don't.
IN_FLIGHT_TAKEN_MAX = 65_536
TIMEOUT_MS_DEFAULT = 30_000
MESSAGE_BYTES_DEFAULT = 64 << 20
# Who connects says HELLO at once.
HELLO_TIMEOUT_S = 10
# Calls wait so long until both sides know whether memory can be shared. A worker that is busy for longer gets copies.
MEMORY_TIMEOUT_S = 1


class Service:
    """The workers of a service, as the broker tells them, and the links to them."""

    def __init__(self, name, options):
        self.name = name
        self.timeout_ms = int(options.get("timeout_ms", TIMEOUT_MS_DEFAULT))
        self.in_flight_max = int(options.get("in_flight_max", 1024))
        self.message_bytes_max = int(options.get("message_bytes_max", MESSAGE_BYTES_DEFAULT))
        configure_memory(options)
        self.route = _native.Route(self.timeout_ms)
        self.links = {}
        self.changed = asyncio.Event()
        # Calls that wait for a change.
        self.waiting = 0
        # The broker that told of the workers has gone, and nobody starts or tells of others.
        self.is_orphaned = False


class Hub:
    """What one event loop calls with, and takes calls with."""

    def __init__(self, loop, pool):
        self.loop = loop
        self.pool = pool
        self.links = set()
        self.accepted = set()
        self._gone = asyncio.Event()
        self._services = {}
        self._places = {}
        self._broker = None
        self._connecting = None
        self._placing = set()
        self._token = os.environ.get("BIREME_BROKER_TOKEN", "")

    # What a caller needs.

    def route(self, place):
        """The route to a place that is known already, or None."""
        service = self._services.get(self._places.get(place.key))
        return service.route if service is not None else None

    def place_soon(self, call, place):
        """Find a worker for a call, in this loop's own thread."""
        task = self.loop.create_task(self._place(call, place))
        self._placing.add(task)
        task.add_done_callback(self._placing.discard)

    async def _place(self, call, place):
        try:
            service = await self._resolve(call, place)
            call.set_deadline(service.timeout_ms)
            while not call.is_over:
                link, busy = service.route.choose()
                if link is not None:
                    call.submit(link, service.timeout_ms)
                    return
                if busy:
                    raise ServiceBusy(f"{call.name} is not called: as many calls as allowed are under way to every worker of its service")
                await self._changed(call, service)
        except asyncio.CancelledError:
            call.fail(CallError(f"{call.name} was not called: the event loop has ended", "BIREME_WORKER_LOST"))
            raise
        except BaseException as error:
            call.fail(error)

    async def _changed(self, call, service):
        """Wait until workers have come or gone. As many calls may wait as may be under way."""
        if service.is_orphaned and not service.links:
            raise CallError(f"{call.name} is not called: the broker has gone, and nobody starts workers any more", "BIREME_NO_BROKER")
        if service.waiting >= service.in_flight_max * max(1, len(service.links)):
            raise ServiceBusy(f"{call.name} is not called: {service.waiting} calls wait for a worker of service {service.name}")
        service.waiting += 1
        try:
            await _in_time(call, service.changed.wait(), f"no worker of service {service.name} was there")
        finally:
            service.waiting -= 1

    async def _resolve(self, call, place):
        service = self._services.get(self._places.get(place.key))
        if service is None or (service.is_orphaned and not service.links):
            answer = await _in_time(call, self._ask(place), "it was not known who runs it")
            name = answer["service"]
            service = self._services.get(name)
            if service is None:
                service = self._services[name] = Service(name, answer.get("options", {}))
            service.is_orphaned = False
            self._places[place.key] = name
            self._on_peers(name, answer["workers"])
        return service

    async def _ask(self, place):
        if self._broker is None:
            if self._connecting is None:
                self._connecting = self.loop.create_task(self._connect())
            await asyncio.shield(self._connecting)
        return await self._broker.resolve(**place.question)

    async def _connect(self):
        try:
            path, self._token = await find()
            self._broker = BrokerLink(self.loop, path, self._token, self._on_peers, self._broker_closed)
        finally:
            self._connecting = None

    def _broker_closed(self):
        """Links to workers live on; who waits for workers learns that none will come."""
        self._broker = None
        if self.loop.is_closed():
            return
        for service in self._services.values():
            service.is_orphaned = True
            self._links_changed(service)

    def _on_peers(self, name, workers):
        service = self._services.get(name)
        if service is None:
            return
        wanted = {worker["path"]: worker["worker"] for worker in workers}
        for path in [path for path in service.links if path not in wanted]:
            service.links.pop(path).leave()
        for path, worker in wanted.items():
            if path not in service.links:
                try:
                    service.links[path] = self._connect_worker(service, path, worker)
                except ConnectionError:
                    # It has just died; PEERS will say so.
                    continue
        self._links_changed(service)

    def _connect_worker(self, service, path, worker):
        hello = {"token": self._token, "link": "call", "from": process_name(), "pid": os.getpid(), "language": "python"}
        sample = _native.memory_sample()
        if sample is not None:
            hello["memory"] = sample
        link = _native.CallLink.connect(
            path, json.dumps(hello), shares=sample is not None, peer=worker, event_loop=self.loop, hub=self, pool=self.pool,
            in_flight_max=service.in_flight_max, timeout_ms=service.timeout_ms, message_bytes_max=service.message_bytes_max,
        )
        self._begin(link)
        if sample is not None:
            self.loop.call_later(MEMORY_TIMEOUT_S, _if_alive(link, "go_without_memory"))
        return link

    def _begin(self, link):
        self.links.add(link)
        _FILENOS.add(link)
        link.open()

    def _links_changed(self, service):
        service.route.set_links(list(service.links.values()))
        if service.links or service.is_orphaned:
            service.changed.set()
            service.changed = asyncio.Event()

    # What a link asks for.

    def retry(self, call):
        """A call whose link has ended before it began, or that may be made twice."""
        self.loop.call_soon_threadsafe(self.place_soon, call, call.function_place)

    def link_ready(self, link):
        """Both sides know now whether memory can be shared: calls may go there."""
        for service in self._services.values():
            if link in service.links.values():
                self._links_changed(service)

    def link_closed(self, link, reason):
        self.links.discard(link)
        self.accepted.discard(link)
        self._gone.set()
        _FILENOS.discard(link)
        for service in self._services.values():
            for path in [path for path, open_link in service.links.items() if open_link is link]:
                del service.links[path]
                self._links_changed(service)
        if reason is not None:
            report(f"a call link is over: {reason}")

    def is_welcome(self, text, version):
        """What a HELLO with the right version and secret says, else None."""
        try:
            hello = json.loads(text)
        except ValueError:
            return None
        right = (
            version == _native.PROTOCOL_VERSION and isinstance(hello, dict) and hello.get("link") == "call"
            and bool(self._token) and hello.get("token") == self._token
        )
        return hello if right else None

    is_loaded = staticmethod(targets.is_loaded)
    target = staticmethod(targets.target)
    target_of = staticmethod(targets.target_of)
    member = staticmethod(targets.member)
    value = staticmethod(targets.value)

    @staticmethod
    async def awaiting(awaitable):
        return await awaitable

    @staticmethod
    async def pump(iterable, sending):
        """Send what an async iterator gives, as the consumer takes it."""
        iterator = aiter_of(iterable)
        try:
            async for item in iterator:
                if not sending.put(item):
                    await sending.room()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            sending.fail(error)
        else:
            sending.end()
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    # Taking calls.

    def accept(self, listener):
        """Take the connections that wait."""
        while True:
            link = _native.CallLink.accept(
                listener, event_loop=self.loop, hub=self, pool=self.pool,
                in_flight_max=IN_FLIGHT_TAKEN_MAX, timeout_ms=_settings["timeout_ms"], message_bytes_max=_settings["message_bytes_max"],
            )
            if link is None:
                return
            self.accepted.add(link)
            self._begin(link)
            self.loop.call_later(HELLO_TIMEOUT_S, _if_alive(link, "close_stranger"))

    async def callers_gone(self):
        """Wait until those that call us have closed their links, as they do when nothing is under way or held."""
        while self.accepted:
            self._gone.clear()
            await self._gone.wait()

    def close(self):
        """End all links; for a loop that ends."""
        if self._broker is not None:
            self._broker.close()
        for link in list(self.links):
            link.close()


def _if_alive(link, name):
    """What calls a method of a link that is still there; a timer must not keep one that is over."""
    known = weakref.ref(link)

    def call():
        link = known()
        if link is not None:
            getattr(link, name)()

    return call


async def _in_time(call, awaitable, what):
    left_ms = call.left_ms()
    if left_ms is None:
        return await awaitable
    try:
        return await asyncio.wait_for(awaitable, left_ms / 1000)
    except asyncio.TimeoutError:
        raise CallTimeout(f"{call.name} was not called in time: {what}") from None


def aiter_of(iterable):
    return iterable if hasattr(iterable, "__anext__") else iterable.__aiter__()


def wake(future):
    """End a future of this loop; called in its own thread."""
    if not future.done():
        future.set_result(None)


# Finding the hub.

_hubs = {}
_lock = threading.Lock()
# The hub whose loop serves threads that have none: a worker's own, or one that is started.
_for_threads = None
_pool = None
_settings = {
    "threads_max": THREADS_DEFAULT, "queue_max": QUEUE_DEFAULT, "timeout_ms": TIMEOUT_MS_DEFAULT, "message_bytes_max": MESSAGE_BYTES_DEFAULT,
}
_FILENOS = weakref.WeakSet()


def configure_memory(options):
    """Takes what RESOLVED or BIREME_SELF says of shared memory."""
    least, most = options.get("shared_bytes_min"), options.get("shared_bytes_max")
    if least is not None and most is not None:
        _native.configure_memory(int(least), int(most))


def configure(**settings):
    """Settings of a worker, before its first call."""
    _settings.update(settings)


def hub_of(loop):
    """The hub of a loop, made at first."""
    hub = _hubs.get(id(loop))
    if hub is not None and hub.loop is loop:
        return hub
    for number, old in list(_hubs.items()):
        if old.loop.is_closed():
            del _hubs[number]
            old.close()
    hub = _hubs[id(loop)] = Hub(loop, pool())
    return hub


def counts():
    """How much is under way, for tests and reports: calls by us and of us, and what either side holds of the other."""
    found = {"links": 0, "waiting": 0, "outgoing": 0, "incoming": 0, "given": 0, "held": 0}
    for hub in list(_hubs.values()):
        found["links"] += len(hub.links)
        found["waiting"] += len(hub._placing)
        for link in list(hub.links):
            for name, count in link.counts().items():
                found[name] += count
    return found


def pool():
    """The threads that run plain functions."""
    global _pool
    if _pool is None:
        _pool = _native.CallPool(_settings["threads_max"], _settings["queue_max"], _spawn)
    return _pool


def _spawn(pool):
    threading.Thread(target=pool.work, name="bireme-calls", daemon=True).start()


def place(call, place, loop):
    """Find a worker for a call; returns the route for the next ones if it is known. Called by Function."""
    if loop is not None:
        hub = _hub_until_loop_ends(loop)
    else:
        hub = hub_for_threads()
    route = hub.route(place)
    if loop is not None:
        hub.place_soon(call, place)
    else:
        hub.loop.call_soon_threadsafe(hub.place_soon, call, place)
    return route


def _hub_until_loop_ends(loop):
    known = _hubs.get(id(loop))
    if known is not None and known.loop is loop:
        return known
    hub = hub_of(loop)

    async def until_the_end():
        # asyncio.run() and its like close async generators before they close the loop.
        try:
            yield
        finally:
            hub.close()

    guard = until_the_end()
    hub.guard = guard
    # Its first step makes the loop know it.
    try:
        guard.__anext__().send(None)
    except StopIteration:
        pass
    return hub


def hub_for_threads():
    """The hub for threads without a loop."""
    global _for_threads
    with _lock:
        if _for_threads is None or _for_threads.loop.is_closed():
            _for_threads = _start_thread()
        return _for_threads


def use_for_threads(hub):
    """A worker's loop serves its threads, too."""
    global _for_threads
    _for_threads = hub


def _start_thread():
    made = []
    ready = threading.Event()

    def run():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        # Links note the thread that makes them.
        loop.call_soon(lambda: (made.append(hub_of(loop)), ready.set()))
        loop.run_forever()

    threading.Thread(target=run, name="bireme-call-links", daemon=True).start()
    ready.wait()
    return made[0]


async def run_in_pool(function, *args):
    """Run a plain function in a thread of the pool."""
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def settle(result, error):
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    pool().run(contextvars.copy_context().run, (function, *args), settle, loop)
    return await answer


def _forget_after_fork():
    """A forked child must not hold links: they would look alive after this process has died."""
    global _hubs, _for_threads, _pool, _FILENOS, _lock
    nothing = os.open(os.devnull, os.O_RDWR)
    for link in list(_FILENOS):
        os.dup2(nothing, link.fileno(), inheritable=False)
    os.close(nothing)
    # What was copied is kept, so that nothing of it is finalized: its threads and its loop are not here.
    _LEFT_BEHIND.append((_hubs, _for_threads, _pool))
    _hubs, _for_threads, _pool, _FILENOS, _lock = {}, None, None, weakref.WeakSet(), threading.Lock()


_LEFT_BEHIND = []
os.register_at_fork(after_in_child=_forget_after_fork)
