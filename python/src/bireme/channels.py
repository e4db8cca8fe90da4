"""A channel layer for Django Channels over topics: consumers of all workers reach each other, without a broker.

    CHANNEL_LAYERS = {"default": {"BACKEND": "bireme.channels.ChannelLayer"}}

A channel that `new_channel` has named lives in its worker, and its messages travel on that worker's topic. A group is a
topic, to which every worker with a member listens. A channel of any other name is taken by whichever worker receives on
it: messages wait where they were sent until there is one.

Delivery is at most once, as Channels asks for. A channel's capacity is known in its own worker alone: a sender there gets
ChannelFull, a message from another worker is dropped. A worker whose messages wait for the others, 16 MiB of them, is told by
ChannelFull, too; a group's are dropped then.
"""

import asyncio
import base64
import collections
import contextlib
import json
import random
import threading
import time
import uuid

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from . import pubsub

PREFIX = "channels"
# Messages between two looks for channels whose messages have all expired.
SWEEP_EVERY = 1000


class ChannelLayer(BaseChannelLayer):
    """Settings are Channels' own: `expiry` and `group_expiry` in seconds, `capacity` and `channel_capacity` in messages."""

    extensions = ["groups", "flush"]

    def __init__(self, expiry=60, group_expiry=86400, capacity=100, channel_capacity=None, prefix=PREFIX, **options):
        super().__init__(expiry=expiry, capacity=capacity, **options)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.group_expiry = group_expiry
        self.prefix = prefix
        self.process = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._channels = {}
        self._groups = {}
        self._subscriptions = {}
        # Messages for channels that nobody receives on yet, by channel.
        self._parked = {}
        self._received_on = set()
        self._puts = 0
        self._listen(self._own_topic(self.process), self._on_own)

    # What Channels calls.

    async def send(self, channel, message):
        """Send a message to one channel. Raises ChannelFull."""
        if not isinstance(message, dict):
            raise TypeError(f"a message of a channel layer is a dict, not {type(message).__name__}")
        self.require_valid_channel_name(channel)
        if "__asgi_channel__" in message:
            raise ValueError('a message has the reserved key "__asgi_channel__"')
        envelope = self._envelope(channel, message)
        process = self._process_of(channel)
        if process is None:
            await self._send_to_any(channel, envelope)
        elif process == self.process:
            self._put(envelope, strict=True)
        else:
            self._publish(self._own_topic(process), encode(envelope))

    async def receive(self, channel):
        """The next message of a channel."""
        self.require_valid_channel_name(channel)
        process = self._process_of(channel)
        if process is None:
            self._begin_to_receive(channel)
        elif process != self.process:
            raise ValueError(f"the channel {channel!r} belongs to another worker")
        return await self._queue(channel).get()

    async def new_channel(self, prefix="specific"):
        """A name for a channel of this worker."""
        return f"{prefix}.{self.process}!{uuid.uuid4().hex}"

    async def group_add(self, group, channel):
        """Let a channel get a group's messages."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        process = self._process_of(channel)
        if process in (None, self.process):
            self._join(group, channel)
        else:
            self._publish(self._own_topic(process), encode({"join": group, "channel": channel}))

    async def group_discard(self, group, channel):
        """Undo `group_add`."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        process = self._process_of(channel)
        if process in (None, self.process):
            self._leave(group, channel)
        else:
            self._publish(self._own_topic(process), encode({"leave": group, "channel": channel}))

    async def group_send(self, group, message):
        """Send a message to all channels of a group; full ones do not get it."""
        if not isinstance(message, dict):
            raise TypeError(f"a message of a channel layer is a dict, not {type(message).__name__}")
        self.require_valid_group_name(group)
        envelope = self._envelope("", message) | {"group": group, "from": self.process}
        # This worker's own members get it at once, as everything that is sent here stays in order.
        self._on_group(group, envelope)
        with contextlib.suppress(ChannelFull):
            self._publish(self._group_topic(group), encode(envelope))

    async def flush(self):
        """Forget all channels and groups of this worker."""
        with self._lock:
            self._channels.clear()
            self._parked.clear()
            self._received_on.clear()
            groups, self._groups = list(self._groups), {}
        for group in groups:
            self._unlisten(self._group_topic(group))

    async def close(self):
        """Let go of all topics."""
        await self.flush()
        for topic in list(self._subscriptions):
            self._unlisten(topic)

    # Channels of this worker.

    def _envelope(self, channel, message):
        return {"channel": channel, "message": message, "until": time.time() + self.expiry}

    def _queue(self, channel):
        with self._lock:
            queue = self._channels.get(channel)
            if queue is None:
                queue = self._channels[channel] = _Queue(self._lock, lambda: self._forget(channel, queue))
            return queue

    def _forget(self, channel, queue):
        # Not one that has come after a flush.
        if self._channels.get(channel) is queue:
            del self._channels[channel]

    def _put(self, envelope, strict=False):
        channel = envelope["channel"]
        message = decode(encode(envelope["message"]))
        with self._lock:
            self._puts += 1
            if self._puts % SWEEP_EVERY == 0:
                for queue in list(self._channels.values()):
                    queue.drop_expired()
            taken = self._queue(channel).put(message, envelope["until"], self.get_capacity(channel))
        if not taken and strict:
            raise ChannelFull(f"{channel} has no room for another message")

    def _on_own(self, data):
        envelope = decode(data)
        if "join" in envelope:
            self._join(envelope["join"], envelope["channel"])
        elif "leave" in envelope:
            self._leave(envelope["leave"], envelope["channel"])
        else:
            self._put(envelope)

    # Groups.

    def _join(self, group, channel):
        with self._lock:
            first = group not in self._groups
            self._groups.setdefault(group, {})[channel] = time.time() + self.group_expiry
        if first:
            self._listen(self._group_topic(group), lambda data: self._on_foreign_group(group, decode(data)))

    def _leave(self, group, channel):
        with self._lock:
            members = self._groups.get(group, {})
            members.pop(channel, None)
            if members:
                return
            self._groups.pop(group, None)
        self._unlisten(self._group_topic(group))

    def _on_foreign_group(self, group, envelope):
        if envelope["from"] != self.process:
            self._on_group(group, envelope)

    def _on_group(self, group, envelope):
        now = time.time()
        with self._lock:
            members = self._groups.get(group, {})
            for channel in [channel for channel, until in members.items() if until < now]:
                del members[channel]
            members = list(members)
        for channel in members:
            self._put(envelope | {"channel": channel})

    # Channels that any worker may take from.

    async def _send_to_any(self, channel, envelope):
        if channel not in self._received_on:
            # Whoever begins to receive calls for what waits, so this is listened to before anything is decided.
            self._listen(self._call_topic(channel), lambda process: self._hand_over(channel, process))
            takers = await self._takers(channel)
            if takers:
                self._publish(self._own_topic(random.choice(takers)), encode(envelope))
                return
        # For a receiver of this worker, now or later; and until then for the first of another.
        self._put(envelope, strict=True)
        if channel not in self._received_on:
            with self._lock:
                self._parked[channel] = True
            # Whoever called between the question and the parking has found nothing to be handed over.
            takers = await self._takers(channel)
            if takers:
                self._hand_over(channel, random.choice(takers))

    async def _takers(self, channel):
        start = self._taker_topic(channel, "")
        if pubsub.is_started():
            return [topic[len(start) :] for topic, of in (await pubsub.topics()).items() if topic.startswith(start) and of["workers"]]
        return []

    def _begin_to_receive(self, channel):
        if channel in self._received_on:
            return
        self._received_on.add(channel)
        self._listen(self._taker_topic(channel, self.process), lambda data: None)
        self._publish(self._call_topic(channel), self.process)

    def _hand_over(self, channel, process):
        with self._lock:
            if process == self.process or not self._parked.pop(channel, False):
                return
        for message, until in self._queue(channel).take_all():
            self._publish(self._own_topic(process), encode({"channel": channel, "message": message, "until": until}))

    # Topics.

    def _process_of(self, channel):
        """The worker that a channel belongs to, or None."""
        if "!" not in channel:
            return None
        return channel.partition("!")[0].rpartition(".")[2]

    def _own_topic(self, process):
        return f"{self.prefix}/own/{process}"

    def _group_topic(self, group):
        return f"{self.prefix}/group/{group}"

    def _call_topic(self, channel):
        return f"{self.prefix}/call/{channel}"

    def _taker_topic(self, channel, process):
        return f"{self.prefix}/take/{channel}/{process}"

    def _publish(self, topic, data):
        # In a process that is no worker (a test, a management command) there are no others.
        if pubsub.is_worker():
            try:
                pubsub.publish(topic, data)
            except pubsub.TopicsFull as error:
                raise ChannelFull(str(error)) from error

    def _listen(self, topic, callback):
        if not pubsub.is_worker():
            return
        with self._lock:
            if topic not in self._subscriptions:
                self._subscriptions[topic] = pubsub.subscribe(topic, callback)

    def _unlisten(self, topic):
        with self._lock:
            subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            subscription.close()


class _Queue:
    """The messages of one channel, and those who wait for them, on whichever loop."""

    def __init__(self, lock, on_idle):
        self._messages = collections.deque()
        self._waiters = collections.deque()
        # Calls of `get`, also those that have been woken and have not looked yet.
        self._receivers = 0
        # The layer's: a queue leaves it when it is idle, and nobody must put a message in just then.
        self._lock = lock
        self._on_idle = on_idle

    def put(self, message, until, capacity):
        """Whether there was room."""
        with self._lock:
            self._drop_expired()
            if len(self._messages) >= capacity:
                return False
            self._messages.append((message, until))
            self._wake_one()
        return True

    async def get(self):
        """The next message. A cancelled call takes none."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._receivers += 1
        try:
            while True:
                with self._lock:
                    self._drop_expired()
                    if self._messages:
                        message, _ = self._messages.popleft()
                        return message
                    waiter = loop.create_future()
                    self._waiters.append((loop, waiter))
                try:
                    await waiter
                except asyncio.CancelledError:
                    with self._lock:
                        # Whoever was woken for a message in its place.
                        if (loop, waiter) in self._waiters:
                            self._waiters.remove((loop, waiter))
                        elif self._messages:
                            self._wake_one()
                    raise
        finally:
            with self._lock:
                self._receivers -= 1
                self._leave_if_idle()

    def take_all(self):
        """Everything, with when it expires."""
        with self._lock:
            self._drop_expired()
            taken, self._messages = list(self._messages), collections.deque()
            self._leave_if_idle()
        return taken

    def drop_expired(self):
        """Forget what is too old."""
        with self._lock:
            self._drop_expired()
            self._leave_if_idle()

    def _leave_if_idle(self):
        if not self._messages and not self._receivers:
            self._on_idle()

    def _drop_expired(self):
        now = time.time()
        while self._messages and self._messages[0][1] < now:
            self._messages.popleft()

    def _wake_one(self):
        while self._waiters:
            loop, waiter = self._waiters.popleft()
            if not loop.is_closed() and not waiter.done():
                loop.call_soon_threadsafe(_finish, waiter)
                return


def encode(value):
    """A message as text. Bytes are marked, as JSON has none."""
    return json.dumps(value, default=_bytes_as_json, separators=(",", ":"))


def decode(text):
    """The message again; tuples have become lists."""
    return json.loads(text, object_hook=_bytes_of_json)


def _bytes_as_json(value):
    if isinstance(value, (bytes, bytearray)):
        return {"__bytes__": base64.b64encode(value).decode()}
    raise TypeError(f"a message of a channel layer holds a {type(value).__name__}, which cannot be sent")


def _bytes_of_json(value):
    return base64.b64decode(value["__bytes__"]) if value.keys() == {"__bytes__"} else value


def _finish(future):
    if not future.done():
        future.set_result(None)
