"""A gibibyte in each direction through each kind of application, with the front's memory flat
(issue 2, Serving)."""

import os
import threading

import pytest

from harness.wire import Wire

BYTES = int(os.environ.get("E2E_BODY_MIB", "1024")) << 20

GROWTH_BYTES_MAX = 24 << 20
"""What the front may need more at its peak. Buffers of one stream are bounded by its credit, 256 KiB in each
direction; the rest is room for the allocator and for a noisy measurement."""


class Peak:
    """The front's greatest resident memory while something happens."""

    def __init__(self, server) -> None:
        self.server, self.bytes = server, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.bytes = max(self.bytes, self.server.memory())

    def __enter__(self) -> "Peak":
        self.before = self.server.memory()
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """The front stayed flat."""
        grown = self.bytes - self.before
        assert grown < GROWTH_BYTES_MAX, f"the front grew by {grown >> 20} MiB, from {self.before >> 20} MiB"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_upload(app):
    server, _ = app
    block = b"x" * (1 << 20)
    with Peak(server) as peak, Wire(server.port, timeout=120) as wire:
        wire.send(f"POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: {BYTES}\r\n\r\n")
        for _ in range(BYTES >> 20):
            wire.send(block)
        assert f'"bytes":{BYTES}'.encode() in wire.answer().body.replace(b" ", b"")
    peak.check()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_download(app):
    server, _ = app
    with Peak(server) as peak, Wire(server.port, timeout=120) as wire:
        answer = wire.request("GET", f"/source?bytes={BYTES}&length=1").head()
        assert int(answer.get("content-length")) == BYTES
        count = len(wire.buffer)
        buffer = bytearray(1 << 20)
        while count < BYTES:
            received = wire.socket.recv_into(buffer)
            assert received, f"closed after {count} bytes"
            count += received
    peak.check()


def test_download_to_a_slow_client_is_paced(app):
    """Backpressure reaches the application: a client that does not read makes nobody buffer."""
    server, _ = app
    with Peak(server) as peak, Wire(server.port, timeout=60) as wire:
        wire.request("GET", "/source?bytes=300000000&length=1").head()
        # Time in which an unpaced server would have read 300 MB from the application.
        threading.Event().wait(1.5)
        assert server.get("/").text == "hello"
    peak.check()
