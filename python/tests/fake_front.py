"""A front for tests: starts a worker and speaks frames with it, in plain Python.

It is written from protocol/README.md alone and shares no code with crates/wire, so that a misreading in
one shows against the other. Every wait has a deadline.
"""

import json
import os
import socket
import struct
import subprocess
import tempfile
import time

HELLO, READY, FAILED, DRAIN, PING, PONG = 1, 2, 3, 4, 5, 6
REQUEST, RESPONSE, DATA, TRAILERS, RESET, CREDIT, INFORMATIONAL, TUNNEL = range(0x10, 0x18)
END, UPGRADE, FILE = 1, 2, 2
NO_ERROR, CANCELLED, INTERNAL, DEADLINE, REFUSED, PROTOCOL, TOO_LARGE = range(7)
INITIAL_CREDIT = 262_144
DEADLINE_S = 20


class Frame:
    def __init__(self, kind, stream=0, payload=b"", flags=0, aux=0):
        self.kind, self.stream, self.payload, self.flags, self.aux = kind, stream, payload, flags, aux

    def __repr__(self):
        return f"Frame(0x{self.kind:02x}, stream={self.stream}, flags={self.flags}, aux={self.aux}, {self.payload[:200]!r})"

    def encode(self):
        header = struct.pack("<IIBBH", len(self.payload), self.stream, self.kind, self.flags, self.aux)
        return header + self.payload


def encode_fields(fields):
    lengths = b"".join(struct.pack("<HH", len(name), len(value)) for name, value in fields)
    return lengths, b"".join(name + value for name, value in fields)


def encode_request(
    method=b"GET",
    target=b"/",
    fields=((b"Host", b"example.test"),),
    body=b"",
    version=11,
    https=False,
    remote=(b"192.0.2.7", 51234),
    local=(b"192.0.2.1", 8000),
    prefix=b"",
    request_id=b"r-1",
):
    strings = [method, target, remote[0], local[0], prefix, request_id]
    lengths, text = encode_fields(fields)
    head = struct.pack("<BBHHH", version, https, remote[1], local[1], len(fields))
    head += struct.pack("<6H", *map(len, strings))
    return head + lengths + b"".join(strings) + text + body


def decode_fields(count, payload, at, skip=0):
    lengths = [struct.unpack_from("<HH", payload, at + 4 * i) for i in range(count)]
    at += 4 * count + skip
    fields = []
    for name, value in lengths:
        fields.append((payload[at : at + name], payload[at + name : at + name + value]))
        at += name + value
    return fields, at


class Response:
    """What came back on one stream."""

    def __init__(self):
        self.status = None
        self.reason = b""
        self.fields = []
        self.chunks = []
        self.trailers = None
        self.informational = []
        self.reset = None
        self.ended = False

    @property
    def body(self):
        return b"".join(self.chunks)

    @property
    def headers(self):
        return {name.lower().decode(): value.decode("latin-1") for name, value in self.fields}

    def json(self):
        assert self.reset is None, self.reset[1]
        return json.loads(self.body)


class Link:
    def __init__(self, connection):
        connection.settimeout(DEADLINE_S)
        self.connection = connection
        self.pending = bytearray()
        self.next_stream = 1

    def send(self, *frames):
        self.connection.sendall(b"".join(frame.encode() for frame in frames))

    def read(self):
        """The next frame, or None when the worker has closed the link."""
        while True:
            if len(self.pending) >= 12:
                length, stream, kind, flags, aux = struct.unpack_from("<IIBBH", self.pending)
                assert length <= 1 << 20
                if len(self.pending) >= 12 + length:
                    payload = bytes(self.pending[12 : 12 + length])
                    del self.pending[: 12 + length]
                    return Frame(kind, stream, payload, flags, aux)
            try:
                data = self.connection.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.pending += data

    def is_silent(self, seconds):
        """Whether nothing arrives for so long. A proof of absence can't do without waiting."""
        if self.pending:
            return False
        self.connection.settimeout(seconds)
        try:
            data = self.connection.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self.connection.settimeout(DEADLINE_S)
        self.pending += data
        return False

    def open(self, flags=END, **request):
        stream = self.next_stream
        self.next_stream += 1
        self.send(Frame(REQUEST, stream, encode_request(**request), flags))
        return stream

    def collect(self, *streams, credit=True, until=None):
        """Read until the streams have ended (or `until(response)`); one Response each, or a list."""
        responses = {stream: Response() for stream in streams}
        while not all(r.ended or (until and until(r)) for r in responses.values()):
            frame = self.read()
            assert frame is not None, f"the worker closed the link; got {responses}"
            response = responses.get(frame.stream)
            if response is None:
                continue
            self.take(frame, response)
            if credit and frame.kind in (RESPONSE, DATA) and not response.ended and frame.payload:
                self.send(Frame(CREDIT, frame.stream, struct.pack("<I", len(frame.payload))))
        found = [responses[stream] for stream in streams]
        return found[0] if len(found) == 1 else found

    def take(self, frame, response):
        if frame.kind == RESPONSE:
            assert response.status is None
            response.status = frame.aux
            reason, count = struct.unpack_from("<HH", frame.payload)
            response.fields, at = decode_fields(count, frame.payload, 4, skip=reason)
            response.reason = frame.payload[4 + 4 * count : 4 + 4 * count + reason]
            response.chunks.append(frame.payload[at:])
        elif frame.kind == DATA:
            assert response.status is not None
            response.chunks.append(frame.payload)
        elif frame.kind == TRAILERS:
            (count,) = struct.unpack_from("<H", frame.payload)
            response.trailers, _ = decode_fields(count, frame.payload, 2)
        elif frame.kind == INFORMATIONAL:
            (count,) = struct.unpack_from("<H", frame.payload)
            response.informational.append((frame.aux, decode_fields(count, frame.payload, 2)[0]))
        elif frame.kind == RESET:
            response.reset = (frame.aux, frame.payload.decode())
            response.ended = True
        else:
            assert frame.kind == CREDIT, frame
        if frame.kind in (RESPONSE, DATA, TRAILERS) and frame.flags & END:
            response.ended = True

    def fetch(self, **request):
        return self.collect(self.open(**request))

    def close(self):
        self.connection.close()


class FakeFront:
    """Starts a worker for `target`; `with` ends it."""

    def __init__(self, python, launcher, target, folder, options=None, links=1, arguments=(), environment=None):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "link.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(DEADLINE_S)
        self.listener.bind(path)
        self.listener.listen(16)
        self.links = []
        self.control = None
        self.link_count = links
        self.log = open(os.path.join(self.folder.name, "log"), "w+b")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("BIREME_")}
        variables.update(
            BIREME_LINK=path,
            BIREME_LINKS=str(links),
            BIREME_TOKEN="secret",
            BIREME_OPTIONS=json.dumps(options or {}),
            BIREME_SERVICE="test",
            BIREME_WORKER="test#1",
        )
        variables.update(environment or {})
        self.process = subprocess.Popen(
            [python, str(launcher), target, *arguments],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        for link in self.links:
            link.close()
        if self.control:
            self.control.close()
        self.listener.close()
        self.log.close()
        self.folder.cleanup()

    def accept(self):
        connection, _ = self.listener.accept()
        link = Link(connection)
        frame = link.read()
        assert frame.kind == HELLO and frame.stream == 0 and frame.aux == 1, frame
        hello = json.loads(frame.payload)
        assert hello["token"] == "secret" and hello["pid"] == self.process.pid and hello["language"] == "python"
        return hello, link

    def start(self):
        """Accept the links; returns READY's JSON. Fails with the worker's own words if it fails."""
        hello, self.control = self.accept()
        assert hello["link"] == "control"
        for number in range(self.link_count):
            hello, link = self.accept()
            assert hello["link"] == number
            self.links.append(link)
        frame = self.control.read()
        assert frame is not None and frame.kind == READY, (frame, self.output())
        return json.loads(frame.payload)

    def start_failing(self):
        """The JSON of FAILED, after the worker has exited with status 1."""
        hello, self.control = self.accept()
        assert hello["link"] == "control"
        frame = self.control.read()
        assert frame is not None and frame.kind == FAILED, (frame, self.output())
        assert self.process.wait(DEADLINE_S) == 1
        return json.loads(frame.payload)

    @property
    def link(self):
        return self.links[0]

    def fetch(self, **request):
        return self.link.fetch(**request)

    def drain(self):
        """Close the data links, say DRAIN, and return the exit status."""
        for link in self.links:
            link.close()
        self.control.send(Frame(DRAIN))
        return self.process.wait(DEADLINE_S)

    def output(self):
        self.log.flush()
        with open(self.log.name, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def wait_for_output(self, text):
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.output():
            assert time.monotonic() < deadline, f"{text!r} never came; the log: {self.output()}"
            # The log is a file that another process writes; there is no event to wait for.
            time.sleep(0.01)
