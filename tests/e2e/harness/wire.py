"""An HTTP/1.1 client that sends exactly the bytes it is given and hides nothing of the answer."""

import socket
import ssl
from dataclasses import dataclass, field


@dataclass
class Answer:
    """A response as it came over the wire."""

    status: int
    reason: str
    version: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    informational: list["Answer"] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Closed(Exception):
    """The server closed the connection where more was expected."""


class Wire:
    """One connection."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = bytearray()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *error) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> "Wire":
        """Send bytes as they are."""
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def request(self, method: str, target: str, *fields: str, body: bytes = b"", host: str = "localhost") -> "Wire":
        """Send a whole request; a body brings its own length."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join(lines) + "\r\n\r\n").send(body)

    def exchange(self, method: str, target: str, *fields: str, body: bytes = b"", host: str = "localhost") -> Answer:
        """Send a request and read its whole answer."""
        return self.request(method, target, *fields, body=body, host=host).answer(head_only=method == "HEAD")

    def answer(self, head_only: bool = False) -> Answer:
        """Read one final response with its body."""
        answer = self.head()
        if head_only or answer.status in (204, 304):
            return answer
        if "chunked" in (answer.get("transfer-encoding") or "").lower():
            while chunk := self.chunk():
                answer.body += chunk
            answer.trailers = self.field_lines()
        elif (length := answer.get("content-length")) is not None:
            answer.body = self.exactly(int(length))
        else:
            answer.body = self.rest()
        return answer

    def head(self) -> Answer:
        """Read responses' heads up to the first final one."""
        informational = []
        while True:
            version, status, reason = (self.line() + "  ").split(" ", 2)
            answer = Answer(int(status), reason.strip(), version, self.field_lines(), informational=informational)
            if not 100 <= answer.status < 200 or answer.status == 101:
                return answer
            informational.append(answer)

    def field_lines(self) -> list[tuple[str, str]]:
        """Read fields up to the empty line."""
        fields = []
        while line := self.line():
            name, _, value = line.partition(":")
            fields.append((name, value.strip()))
        return fields

    def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty at the end, before the trailers."""
        size = int(self.line().split(";")[0], 16)
        if size == 0:
            return b""
        data = self.exactly(size)
        assert self.line() == ""
        return data

    def line(self) -> str:
        """Read up to the next CR LF."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.more()
        return self.taken(end + 2)[:-2].decode("latin-1")

    def exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        while len(self.buffer) < count:
            self.more()
        return self.taken(count)

    def taken(self, count: int) -> bytes:
        """Take bytes that have been received."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def rest(self) -> bytes:
        """Read until the server closes."""
        try:
            while True:
                self.more()
        except Closed:
            return self.taken(len(self.buffer))

    def more(self) -> None:
        """Read what comes next."""
        data = self.socket.recv(65536)
        if not data:
            raise Closed(f"closed after {bytes(self.buffer[-200:])!r}")
        self.buffer += data

    def is_closed(self) -> bool:
        """Wait until the server closes (True) or says something (False)."""
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
