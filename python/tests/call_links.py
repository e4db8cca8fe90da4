"""Ends of call links for tests: a broker, a worker and a caller that speak frames by hand.

Values are encoded with the codec of the package; its own tests hold it to the golden ones.
"""

import json
import os
import socket
import struct
import sys
import tempfile
import threading

from conftest import runtime
from fake_front import DEADLINE_S, END, FakeFront, Frame, Link

sys.path.insert(0, str(runtime()))
from bireme._native import decode_value, encode_value

HELLO, DATA, CREDIT, RESOLVE, RESOLVED, PEERS = 0x01, 0x12, 0x15, 0x30, 0x31, 0x32
BIND, CALL, RESULT, ERROR, ITEM, CANCEL, QUEUED, STARTED, RELEASE = 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x3B
MEMORY, MARK = 0x3C, 0x3F
STREAM, KWARGS, HANDLE, GET, IDEMPOTENT, NEW = 0x02, 0x02, 0x04, 0x08, 0x10, 0x20
TOKEN = "secret of the broker"


class Peer(Link):
    """One end of a call link, or of a broker link."""

    def __init__(self, connection, first_stream=1):
        super().__init__(connection)
        self.next_stream = first_stream

    def hello(self, **more):
        hello = {"token": TOKEN, "link": "call", "from": "test", "pid": os.getpid(), "language": "node", **more}
        self.send(Frame(HELLO, 0, json.dumps(hello).encode(), aux=1))

    def bind(self, number, file, name):
        self.send(Frame(BIND, 0, struct.pack("<I", number) + encode_value({"file": str(file), "name": name})))

    def call(self, target, *args, kwargs=None, timeout_ms=20_000, member="", flags=0):
        """Send a CALL; returns its stream."""
        payload = struct.pack("<IIH", target, timeout_ms, len(member)) + member.encode() + encode_value(list(args))
        if kwargs is not None:
            payload += encode_value(kwargs)
            flags |= KWARGS
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(Frame(CALL, stream, payload, flags | END))
        return stream

    def next(self, kind):
        """The next frame, which has to be of this kind."""
        frame = self.read()
        assert frame is not None, "the link was closed"
        assert frame.kind == kind, f"{frame.kind:#x} instead of {kind:#x}: {frame.payload[:300]!r}"
        return frame

    def answer_to(self, stream, kind):
        """The first frame of the answer to a call. One that had to wait, until its module was imported say, has said so."""
        frame = self.read()
        while frame is not None and frame.stream == stream and frame.kind in (QUEUED, STARTED):
            frame = self.read()
        assert frame is not None, "the link was closed"
        assert (frame.kind, frame.stream) == (kind, stream), f"{frame.kind:#x} instead of {kind:#x}: {frame.payload[:300]!r}"
        return frame

    def result(self, stream):
        frame = self.answer_to(stream, RESULT)
        payload, last = frame.payload, frame
        while not last.flags & END:
            last = self.next(DATA)
            payload += last.payload
        return decode_value(payload) if not frame.flags & STREAM else STREAM

    def error(self, stream):
        frame = self.answer_to(stream, ERROR)
        return decode_value(frame.payload)

    def ask(self, *args, **kwargs):
        """Call and return the result."""
        return self.result(self.call(*args, **kwargs))

    def answer(self, stream, value):
        self.send(Frame(RESULT, stream, encode_value(value), END))


class CallsWorker:
    """A worker that takes calls alone, started as the front does; the test is its front and its caller."""

    def __init__(self, python, launcher, folder, options=None, target="--calls", **limits):
        self.place = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.place.name, "calls.sock")
        self.front = FakeFront(
            python, launcher, target, folder, options=options, links=0 if target == "--calls" else 1,
            environment={
                "BIREME_CALLS": self.path, "BIREME_BROKER": os.path.join(self.place.name, "broker.sock"), "BIREME_BROKER_TOKEN": TOKEN,
                "BIREME_SELF": json.dumps({"service": "test", "root": "/", **limits}),
            },
        )
        self.peers = []
        self.ready = self.front.start()

    def connect(self, **hello):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.path)
        peer = Peer(connection)
        peer.hello(**hello)
        self.peers.append(peer)
        return peer

    def close(self):
        for peer in self.peers:
            peer.close()
        self.front.__exit__()
        self.place.cleanup()


class FakeBroker:
    """A broker whose workers the test plays: `worker(name)` listens, and PEERS follows when the set changes."""

    def __init__(self):
        self.place = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.place.name, "broker.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.workers = []
        self.questions = []
        self.options = {"timeout_ms": 20_000}
        self.refusal = None
        self.links = []
        self.sockets = []
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def worker(self, name):
        """A socket that listens as a worker; `accept` it with `meet`."""
        path = os.path.join(self.place.name, f"calls-{len(self.sockets)}.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(DEADLINE_S)
        listener.bind(path)
        listener.listen(8)
        self.sockets.append(listener)
        return FakeWorker(name, path, listener)

    def set_workers(self, *workers):
        with self.lock:
            self.workers = [{"worker": worker.name, "path": worker.path} for worker in workers]
            message = {"service": "test", "workers": self.workers}
            for link in self.links:
                link.send(Frame(PEERS, 0, json.dumps(message).encode()))

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(Peer(connection),), daemon=True).start()

    def _serve(self, link):
        hello = link.read()
        assert json.loads(hello.payload)["link"] == "broker" and json.loads(hello.payload)["token"] == TOKEN
        link.connection.settimeout(None)
        while (frame := link.read()) is not None:
            question = json.loads(frame.payload)
            with self.lock:
                self.questions.append(question)
                self.links.append(link)
                answer = {"id": question["id"], "service": "test", "workers": self.workers, "options": self.options}
                if self.refusal is not None:
                    answer = {"id": question["id"], "error": self.refusal}
                link.send(Frame(RESOLVED, 0, json.dumps(answer).encode()))

    def close(self):
        self.listener.close()
        for listener in self.sockets:
            listener.close()
        for link in self.links:
            link.close()
        self.place.cleanup()


class FakeWorker:
    def __init__(self, name, path, listener):
        self.name, self.path, self.listener = name, path, listener

    def meet(self, answers=True):
        """The link of the next caller, after its HELLO; `answers`: whether it hears MEMORY."""
        connection, _ = self.listener.accept()
        peer = Peer(connection, first_stream=2)
        self.hello = peer.next(HELLO)
        hello = json.loads(self.hello.payload)
        assert hello["token"] == TOKEN
        self.offers_memory = "memory" in hello
        if self.offers_memory and answers:
            # A worker that can't open the caller's memory and has none: bytes travel in the socket.
            peer.send(Frame(MEMORY, 0, aux=0))
            peer.next(MEMORY)
        return peer


def parse_call(frame):
    """`(target, timeout_ms, member, args and kwargs)` of a CALL."""
    target, timeout_ms, length = struct.unpack_from("<IIH", frame.payload)
    member, values = frame.payload[10 : 10 + length].decode(), frame.payload[10 + length :]
    return target, timeout_ms, member, values
