"""Topics: messages published once, to every socket and worker that has subscribed; see "Topics" in protocol/README.md.

Everything here may be called from any thread. Delivery to sockets is the front's work; what this worker listens to
itself arrives on the event loop, or in a WSGI worker on a thread of its own.
"""

import collections
import struct
import threading
import traceback

# asyncio and inspect are imported where they are needed: a WSGI worker starts faster without them.

SUBSCRIBE, UNSUBSCRIBE, MESSAGE, PRESENCE, QUERY, ANSWER = 0x40, 0x41, 0x43, 0x44, 0x45, 0x46
END = JOINED = 0x01
TEXT = 0x02
FOR_PRESENCE = 0x04

TOPIC_BYTES_MAX = 256
MEMBER_NAME_BYTES_MAX = 256
TOPICS_PER_SOCKET_MAX = 1024
# A frame's payload, less room for the longest topic.
MESSAGE_BYTES_MAX = (1 << 20) - 512
# What waits for whoever iterates over a subscription, or for a coroutine function, in bytes and 64 for each event; beyond, the
# oldest go.
WAITING_BYTES_MAX = 4 << 20
EVENT_COST = 64
# What was published before the worker's links were open: no more than may wait on one of them, so that none of it is refused
# once they are. Each message is counted as there: its topic and its data as the frame carries them, and EARLY_COST, which
# stands for what keeping it takes and is MESSAGE_COST of protocol/README.md.
EARLY_BYTES_MAX = 16 << 20
EARLY_COST = 64
# Open at once in one worker, of either kind. The front holds a worker to as many topics.
SUBSCRIPTIONS_MAX = 65_536


class TopicsFull(BufferError):
    """So many messages wait for slow sockets that this one was not taken, or so many subscriptions are open."""


class TopicsUnavailable(RuntimeError):
    """This process is no worker of a service that serves requests, and has no topics."""

    def __init__(self):
        super().__init__(
            "topics are for the workers of services that serve requests; this process takes calls alone, or Bireme does not serve"
            " with it: publish and subscribe in a service, and call a function of it from here"
        )


class Presence:
    """A named socket has joined a topic, or left it; `members` are there now, named or not."""

    __slots__ = ("joined", "members", "name")

    def __init__(self, joined, name, members):
        self.joined = joined
        self.name = name
        self.members = members

    def __repr__(self):
        return f"Presence(joined={self.joined}, name={self.name!r}, members={self.members})"

    def __eq__(self, other):
        return isinstance(other, Presence) and all(getattr(self, key) == getattr(other, key) for key in self.__slots__)

    __hash__ = None


def publish(topic, data):
    """Publish text or bytes to every socket and worker that has subscribed to the topic.

    Never blocks. Returns True when the message is on its way, False when it waits for sockets that are slow. Raises
    TopicsFull when 16 MiB wait already.
    """
    return _exchange.publish(_checked(topic), data, 0, 0)


def subscribe(topic, callback=None):
    """Listen to a topic: returns a Subscription, whose messages are text or bytes.

    They go to `callback(data)`, which may be a coroutine function on an event loop; or, without one, to whoever
    iterates: `async for data in subscribe(topic)`, or `for` in a thread.
    """
    return _exchange.listen(_checked(topic), callback, 0)


def presence(topic, callback=None):
    """Watch who joins and leaves: as `subscribe`, with Presence events, first one for each named member that is there."""
    return _exchange.listen(_checked(topic), callback, FOR_PRESENCE)


def topics():
    """All topics that have subscribers: `{name: {"sockets": 2, "workers": 1}}`.

    Await it on an event loop; in a thread, call `.result(timeout)` of what it returns.
    """
    return _exchange.ask()


def is_worker():
    """Whether this process is a worker, which has topics."""
    return _exchange.expected


def is_started():
    """Whether the worker's links are open, so that others can be asked."""
    return _exchange.is_started()


def socket(connection):
    """The topics of a WebSocket: of an ASGI scope, or of anything that has one as its `scope`."""
    scope = connection if isinstance(connection, dict) else connection.scope
    extension = scope.get("extensions", {}).get("bireme")
    if extension is None:
        raise LookupError("this is no WebSocket that Bireme serves")
    known = extension.get("socket")
    if known is None:
        known = extension["socket"] = Socket(extension)
    return known


class Socket:
    """One WebSocket's topics. They end with the socket."""

    __slots__ = ("_extension", "_home", "_stream", "_topics")

    def __init__(self, extension):
        self._extension = extension
        self._stream = extension["stream"]
        self._home = extension["link"]
        self._topics = set(extension.get("topics", ()))

    @property
    def id(self):
        """Names the socket, also in the log and for another worker that takes it over."""
        return self._extension["id"]

    @property
    def resumed(self):
        """Whether another worker has had the socket before, with the `topics` that it still has."""
        return self._extension["resumed"]

    def subscribe(self, topic, name=""):
        """Let the socket get the topic's messages; those who watch the topic are told of `name`."""
        member = name.encode()
        if len(member) > MEMBER_NAME_BYTES_MAX:
            raise ValueError(f"a member's name takes at most {MEMBER_NAME_BYTES_MAX} bytes")
        _checked(topic)
        if topic in self._topics:
            return
        if len(self._topics) >= TOPICS_PER_SOCKET_MAX:
            raise ValueError(f"a socket joins at most {TOPICS_PER_SOCKET_MAX} topics")
        self._topics.add(topic)
        _exchange.send(topic, SUBSCRIBE, 0, self._home, self._stream, member)

    def unsubscribe(self, topic):
        """Undo `subscribe`."""
        if topic in self._topics:
            self._topics.discard(topic)
            _exchange.send(topic, UNSUBSCRIBE, 0, self._home, self._stream, b"")

    def publish(self, topic, data):
        """As the module's `publish`, to all others: this socket does not get the message."""
        return _exchange.publish(_checked(topic), data, self._stream, self._home)

    @property
    def topics(self):
        """The topics that the socket has subscribed to."""
        return frozenset(self._topics)


class Subscription:
    """What arrives for a topic. Iterate over it, unless it has a callback.

    `close` ends it, and so do `with` and leaving an iteration.
    """

    def __init__(self, topic, callback, on_close):
        self.topic = topic
        # Events that went because nobody took them in time.
        self.dropped = 0
        self._callback = callback
        self._on_close = on_close
        self._changed = threading.Condition()
        self._waiting = collections.deque()
        self._bytes = 0
        self._sleepers = []
        self._open = True
        # A coroutine function is at work on an event; the next waits for it.
        self._busy = False

    def close(self):
        """End it; an iteration ends once it has had what came before."""
        with self._changed:
            if not self._open:
                return
            self._open = False
            self._wake()
        self._on_close(self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __iter__(self):
        try:
            while True:
                try:
                    event = next(self)
                except StopIteration:
                    return
                yield event
        finally:
            self.close()

    def __next__(self):
        return self.take()

    def take(self, timeout=None):
        """The next event, waited for in a thread. Raises TimeoutError after `timeout` seconds, StopIteration once closed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or not self._open, timeout):
                raise TimeoutError(f"nothing came on {self.topic!r} in {timeout} s")
            if not self._waiting:
                raise StopIteration
            return self._take()

    async def __aiter__(self):
        try:
            while True:
                try:
                    event = await anext(self)
                except StopAsyncIteration:
                    return
                yield event
        finally:
            self.close()

    async def __anext__(self):
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self._waiting:
                    return self._take()
                if not self._open:
                    raise StopAsyncIteration
                sleeper = loop.create_future()
                self._sleepers.append((loop, sleeper))
            await sleeper

    def _take(self):
        event, cost = self._waiting.popleft()
        self._bytes -= cost
        return event

    def _wake(self):
        sleepers, self._sleepers = self._sleepers, []
        for loop, sleeper in sleepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, sleeper)
        # All of them: the end is for each, and who finds no event waits on.
        self._changed.notify_all()

    def _give(self, event, size):
        if self._callback is not None and not self._busy:
            if self._open:
                self._busy = _exchange.call(self._callback, event, self._go_on)
            return
        with self._changed:
            if not self._open:
                return
            self._waiting.append((event, size + EVENT_COST))
            self._bytes += size + EVENT_COST
            while self._bytes > WAITING_BYTES_MAX and len(self._waiting) > 1:
                self._take()
                self.dropped += 1
            self._wake()

    def _go_on(self):
        """The coroutine function is done with its event. On the event loop, as what gives events."""
        self._busy = False
        while self._open and self._waiting and not self._busy:
            self._busy = _exchange.call(self._callback, self._take(), self._go_on)


class Answer:
    """What `topics()` will know: await it, or call `result`."""

    def __init__(self, future):
        self._future = future

    def __await__(self):
        import asyncio

        return asyncio.wrap_future(self._future).__await__()

    def result(self, timeout=10):
        """Wait in a thread, at most `timeout` seconds."""
        return self._future.result(timeout)


class AsgiTopics:
    """The data links of an ASGI worker, as `_Exchange` uses them."""

    def __init__(self, links, loop):
        self.links = links
        self.loop = loop

    def publish(self, number, *message):
        return self.links[number].publish(*message)

    def topic_frame(self, number, *frame):
        self.links[number].topic_frame(*frame)

    def listen(self, handle):
        """Frames come without being asked for."""


class WsgiTopics:
    """The data links of a WSGI worker, as `_Exchange` uses them."""

    loop = None

    def __init__(self, native, links):
        self.links = range(links)
        self._native = native
        self.publish = native.publish
        self.topic_frame = native.topic_frame
        self._thread = None

    def listen(self, handle):
        """Start the thread that waits for frames."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(handle,), name="bireme-topics", daemon=True)
            self._thread.start()

    def _run(self, handle):
        while (frame := self._native.next()) is not None:
            handle(*frame)


class _Exchange:
    """What this process has to do with topics, over its links once they are open."""

    def __init__(self):
        self._lock = threading.Lock()
        self._links = None
        self._homes = {}
        self._early = []
        self._early_bytes = 0
        self._subscriptions = 0
        self._listeners = {}
        self._watchers = {}
        self._present = {}
        # What the front is being asked, and those who want the answer to the next question.
        self._question = None
        self._askers = []
        self._last_question = 0
        self._tasks = set()
        self.expected = False

    def expect(self):
        """There will be links."""
        self.expected = True

    def use(self, links):
        """The links are open."""
        with self._lock:
            # Within the lock: what another thread publishes or subscribes to meanwhile waits for its turn.
            wanted = [(topic, 0) for topic in self._listeners] + [(topic, FOR_PRESENCE) for topic in self._watchers]
            for topic, flags in wanted:
                links.topic_frame(self._home_of(topic, links), SUBSCRIBE, flags, 0, 0, _name(topic))
            for topic, data, stream, home in self._early:
                links.publish(self._home_of(topic, links), topic, data, stream, home)
            self._early.clear()
            self._links = links
        if wanted:
            links.listen(self.on_frame)

    def is_started(self):
        return self._links is not None

    def check_expected(self):
        if not self.expected:
            raise TopicsUnavailable

    def publish(self, topic, data, stream, home):
        # No character and no element takes more than 8 bytes.
        if len(data) > MESSAGE_BYTES_MAX // 8:
            _check_size(_size_of(data))
        if self._links is None and self._keep_early(topic, data, stream, home):
            return False
        links = self._links
        sent = links.publish(self._home_of(topic, links), topic, data, stream, home)
        if sent is None:
            raise TopicsFull(f"16 MiB of messages wait already; the one for {topic!r} was not taken")
        return sent

    def _keep_early(self, topic, data, stream, home):
        self.check_expected()
        cost = 2 + len(topic.encode()) + _size_of(data) + EARLY_COST
        with self._lock:
            if self._links is not None:
                return False
            if self._early_bytes + cost > EARLY_BYTES_MAX:
                raise TopicsFull("the worker has published 16 MiB before it could serve")
            self._early_bytes += cost
            self._early.append((topic, data if isinstance(data, str) else bytes(data), stream, home))
            return True

    def send(self, topic, kind, flags, aux, stream, rest):
        links = self._links
        if links is not None:
            links.topic_frame(self._home_of(topic, links), kind, flags, aux, stream, _name(topic) + rest)

    def _home_of(self, topic, links):
        home = self._homes.get(topic)
        if home is None:
            from ._native import topic_link

            if len(self._homes) >= 1024:
                self._homes.clear()
            home = self._homes[topic] = topic_link(topic, len(links.links))
        return home

    def listen(self, topic, callback, flags):
        self.check_expected()
        table = self._watchers if flags else self._listeners
        if callback is not None and not callable(callback):
            raise TypeError("the callback of a subscription is not callable")
        subscription = Subscription(topic, callback, lambda closed: self._closed(table, closed, flags))
        with self._lock:
            if self._subscriptions >= SUBSCRIPTIONS_MAX:
                raise TopicsFull(f"{SUBSCRIPTIONS_MAX} subscriptions are open in this worker; close those that are not needed")
            self._subscriptions += 1
            first = topic not in table
            # A new list, so that who iterates over the old one is not disturbed.
            table[topic] = [*table.get(topic, ()), subscription]
            there = None if first or not flags else self._present.get(topic)
        if there is not None:
            # The front tells a new watcher who is there; the worker's others are told here.
            names, members = there
            for name, count in list(names.items()):
                for _ in range(count):
                    subscription._give(Presence(True, name, members), len(name))
        if first and self._links is not None:
            self._links.listen(self.on_frame)
            self.send(topic, SUBSCRIBE, flags, 0, 0, b"")
        return subscription

    def _closed(self, table, subscription, flags):
        topic = subscription.topic
        with self._lock:
            self._subscriptions -= 1
            left = [other for other in table.get(topic, ()) if other is not subscription]
            if left:
                table[topic] = left
                return
            table.pop(topic, None)
            if flags:
                self._present.pop(topic, None)
        self.send(topic, UNSUBSCRIBE, flags, 0, 0, b"")

    def ask(self):
        self.check_expected()
        links = self._links
        if links is None:
            raise RuntimeError("topics() can be asked once the service has started")
        from concurrent.futures import Future

        future = Future()
        with self._lock:
            self._askers.append(future)
        links.listen(self.on_frame)
        self._ask_next()
        return Answer(future)

    def _ask_next(self):
        """Ask the front for all who want to know, unless it is being asked: one question at a time bounds what it answers."""
        with self._lock:
            if self._question is not None or not self._askers:
                return
            self._last_question = (self._last_question + 1) % (1 << 32)
            number, homes = self._last_question, len(self._links.links)
            self._question = _Question(number, self._askers, homes)
            self._askers = []
        for home in range(homes):
            self._links.topic_frame(home, QUERY, 0, 0, 0, struct.pack("<I", number))

    def call(self, callback, event, done):
        """Call a callback; one that raises costs nothing but its line in the log.

        Returns whether it goes on as a task, at whose end `done` is called.
        """
        try:
            returned = callback(event)
            if hasattr(returned, "__await__"):
                loop = self._links.loop
                if loop is None:
                    returned.close()
                    raise TypeError("a worker without an event loop calls no coroutine functions")
                task = loop.create_task(returned)
                self._tasks.add(task)
                task.add_done_callback(lambda task: self._task_done(task, done))
                return True
        except Exception:
            _report()
        return False

    def _task_done(self, task, done):
        self._tasks.discard(task)
        done()
        if not task.cancelled() and task.exception() is not None:
            _report(task.exception())

    def on_frame(self, kind, flags, payload):
        """A frame of the front."""
        if kind == ANSWER:
            self._on_answer(flags, payload)
            return
        topic, at = _read_name(payload, 0)
        if kind == MESSAGE:
            data = payload[at:]
            event = data.decode() if flags & TEXT else data
            for subscription in self._listeners.get(topic, ()):
                subscription._give(event, len(data))
            return
        (members,) = struct.unpack_from("<I", payload, at)
        event = Presence(bool(flags & JOINED), payload[at + 4 :].decode(), members)
        with self._lock:
            watchers = self._watchers.get(topic, ())
            if watchers:
                names, _ = self._present.get(topic, ({}, 0))
                if event.name:
                    count = names.get(event.name, 0) + (1 if event.joined else -1)
                    if count > 0:
                        names[event.name] = count
                    else:
                        names.pop(event.name, None)
                self._present[topic] = (names, members)
        for subscription in watchers:
            subscription._give(event, len(payload))

    def _on_answer(self, flags, payload):
        (number,) = struct.unpack_from("<I", payload)
        question = self._question
        if question is None or question.number != number:
            return
        at = 4
        while at < len(payload):
            topic, at = _read_name(payload, at)
            sockets, workers = struct.unpack_from("<II", payload, at)
            question.found[topic] = {"sockets": sockets, "workers": workers}
            at += 8
        if flags & END:
            with self._lock:
                question.open -= 1
                if question.open > 0:
                    return
                self._question = None
            for future in question.askers:
                if future.set_running_or_notify_cancel():
                    # Each may do with it what it likes.
                    future.set_result({topic: dict(counts) for topic, counts in question.found.items()})
            self._ask_next()


class _Question:
    """For `topics()`."""

    __slots__ = ("askers", "found", "number", "open")

    def __init__(self, number, askers, links):
        self.number = number
        self.askers = askers
        # Links that have not answered to the end.
        self.open = links
        self.found = {}


def _checked(topic):
    if not isinstance(topic, str) or not topic:
        raise TypeError("a topic is text that is not empty")
    if len(topic) > TOPIC_BYTES_MAX or len(topic.encode()) > TOPIC_BYTES_MAX:
        raise ValueError(f"a topic's name takes at most {TOPIC_BYTES_MAX} bytes")
    return topic


def _size_of(data):
    """The bytes that a message takes. Raises TypeError for what is neither text nor bytes."""
    return len(data.encode()) if isinstance(data, str) else memoryview(data).nbytes


def _check_size(size):
    if size > MESSAGE_BYTES_MAX:
        raise ValueError(f"publish() of {size} bytes; a topic's messages take less than 1 MiB")


def _name(topic):
    text = topic.encode()
    return struct.pack("<H", len(text)) + text


def _read_name(payload, at):
    (length,) = struct.unpack_from("<H", payload, at)
    end = at + 2 + length
    return payload[at + 2 : end].decode(), end


def _finish(future):
    if not future.done():
        future.set_result(None)


def _report(error=None):
    from .worker import report

    if error is None:
        report(f"a subscription's callback raised\n{traceback.format_exc().rstrip()}")
    else:
        report("a subscription's callback raised", error)


_exchange = _Exchange()

# For the worker: there will be links, they are open, and what the front says on them.
expect = _exchange.expect
use = _exchange.use
on_frame = _exchange.on_frame
