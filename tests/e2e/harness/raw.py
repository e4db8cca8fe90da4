"""WebSocket clients that write frames by hand, and read only when told to: over HTTP/1.1, and over HTTP/2 (RFC 8441)."""

import os
import socket
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions

STALLED_SECONDS = 1.0
"""Without a byte of progress, a server takes no more."""


class Frames:
    """What both have in common; they bring `read`, which gives None at the connection's end, and `write`."""

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame's opcode and payload; None at the connection's end."""
        found = self.fragment()
        return None if found is None else (found[0] & 15, found[1])

    def fragment(self) -> tuple[int, bytes] | None:
        """The next frame's first byte and payload."""
        head = self.read(2)
        if head is None:
            return None
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8))
        return head[0], self.read(size)

    def message(self) -> bytes:
        """The next message, whose fragments may be as the worker's pieces."""
        whole, first = b"", 0
        while not first & 0x80:
            first, payload = self.fragment()
            whole += payload
        return whole

    def code(self) -> int | None:
        """The code of the Close frame that comes, sooner or later."""
        while frame := self.frame():
            if frame[0] == 8:
                return struct.unpack(">H", frame[1][:2])[0]
        return None

    def send(self, opcode: int, payload: bytes) -> None:
        """One whole message, or a control frame."""
        self.write(encoded(0x80 | opcode, payload, os.urandom(4)))


class Raw(Frames):
    """Over HTTP/1.1."""

    def __init__(self, port: int, path: str = "/echo", extensions: str = "", receive_buffer: int | None = None) -> None:
        self.io = socket.socket()
        if receive_buffer is not None:
            self.io.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.io.settimeout(30)
        self.io.connect(("127.0.0.1", port))
        offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        self.io.sendall(
            f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{offer}"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.io.recv(1)
        assert b" 101 " in head

    def write(self, data: bytes) -> None:
        self.io.sendall(data)

    def read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            try:
                received = self.io.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not received:
                return None
            data += received
        return bytes(data)

    def push(self, data: bytes) -> int:
        """Writes as much as the server takes; returns how much that was."""
        self.io.settimeout(STALLED_SECONDS)
        sent = 0
        try:
            while sent < len(data):
                sent += self.io.send(data[sent : sent + 65_536])
        except (TimeoutError, ConnectionError):
            pass
        self.io.settimeout(30)
        return sent


class RawHttp2(Frames):
    """Over HTTP/2 with prior knowledge. The window opens as frames are read, and not before."""

    def __init__(self, port: int, path: str = "/echo", extensions: str = "", fields=(), receive_buffer: int | None = None) -> None:
        self.io = socket.socket()
        if receive_buffer is not None:
            self.io.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.io.settimeout(30)
        self.io.connect(("127.0.0.1", port))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.data, self.unread, self.response, self.ended = bytearray(), 0, None, False
        self.partial = b""
        self.flush()
        self.until(lambda: self.h2.remote_settings.enable_connect_protocol == 1)
        offer = [("sec-websocket-extensions", extensions)] if extensions else []
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path), (":authority", "h")]
        self.h2.send_headers(1, [*head, ("sec-websocket-version", "13"), *offer, *fields])
        self.flush()
        self.until(lambda: self.response is not None)

    def flush(self) -> None:
        self.io.sendall(self.h2.data_to_send())

    def until(self, done) -> None:
        while not done():
            assert self.take(), "the connection ended"

    def take(self) -> bool:
        received = self.io.recv(65_536)
        for event in self.h2.receive_data(self.without_goaway(received)):
            if isinstance(event, h2.events.ResponseReceived):
                self.response = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                self.data += event.data
                self.unread += event.flow_controlled_length
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended = True
        self.flush()
        return bool(received)

    def without_goaway(self, received: bytes) -> bytes:
        """The whole frames so far. For h2, GOAWAY is the end of the connection; RFC 9113 lets open streams go on."""
        self.partial += received
        frames = b""
        while len(self.partial) >= 9 and len(self.partial) >= (size := 9 + int.from_bytes(self.partial[:3])):
            frame, self.partial = self.partial[:size], self.partial[size:]
            frames += frame if frame[3] != 7 else b""
        return frames

    def read(self, size: int) -> bytes | None:
        self.open_window()
        while len(self.data) < size:
            if self.ended or not self.take():
                return None
            self.open_window()
        read = bytes(self.data[:size])
        del self.data[:size]
        return read

    def open_window(self) -> None:
        if self.unread and not self.ended:
            self.h2.acknowledge_received_data(self.unread, 1)
            self.flush()
        self.unread = 0

    def write(self, data: bytes) -> None:
        assert self.push(data) == len(data)

    def push(self, data: bytes) -> int:
        """Writes as much as the server takes; returns how much that was."""
        self.io.settimeout(STALLED_SECONDS)
        sent = 0
        try:
            while sent < len(data) and not self.ended:
                room = min(self.h2.local_flow_control_window(1), self.h2.max_outbound_frame_size, len(data) - sent)
                if room > 0:
                    self.h2.send_data(1, data[sent : sent + room])
                    sent += room
                    self.flush()
                elif not self.take():
                    break
        except (TimeoutError, ConnectionError, h2.exceptions.ProtocolError):
            pass
        self.io.settimeout(30)
        return sent


def encoded(first: int, payload: bytes, mask: bytes = b"\0\0\0\0") -> bytes:
    """A client's frame."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 1 << 16 else b"\xff" + struct.pack(">Q", size)
    masked = payload if mask == b"\0\0\0\0" else bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first]) + length + mask + masked
