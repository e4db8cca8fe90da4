"""The broker: who tells callers which workers run a file or module. Its link, and starting one where there is none.

The frames of broker links are few and hold JSON, so they are read and written here, in Python.
"""

import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

from ._native import PROTOCOL_VERSION
from .errors import CallError, CallTargetNotFound, ServiceBusy

HELLO, RESOLVE, RESOLVED, PEERS = 0x01, 0x30, 0x31, 0x32
_HEADER = struct.Struct("<IIBBH")
_PAYLOAD_MAX = 1 << 20
_KINDS = {"BIREME_NOT_FOUND": CallTargetNotFound, "BIREME_SERVICE_BUSY": ServiceBusy}
# How long a broker of our own may take to listen.
_START_TIMEOUT_S = 20


class BrokerLink:
    """One link to the broker, read by one loop. `on_peers(service, workers)` is told of changes, `on_close()` of the end."""

    def __init__(self, loop, path, token, on_peers, on_close):
        self._loop = loop
        self._on_peers = on_peers
        self._on_close = on_close
        self._questions = {}
        self._newest = 0
        self._pending = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
            self._send(HELLO, {"token": token, "link": "broker", "from": process_name(), "pid": os.getpid()}, PROTOCOL_VERSION)
        except OSError as error:
            self._socket.close()
            raise CallError(f"the broker at {path} can't be reached: {error}", "BIREME_NO_BROKER") from error
        self._socket.setblocking(False)
        loop.add_reader(self._socket, self._read)

    def fileno(self):
        return self._socket.fileno()

    async def resolve(self, **question):
        """RESOLVED's JSON. Raises what it says is wrong."""
        self._newest += 1
        number = self._newest
        answer = self._questions[number] = self._loop.create_future()
        try:
            # At most some kilobytes, and the broker reads all the time.
            self._socket.setblocking(True)
            self._send(RESOLVE, {"id": number, **question})
            self._socket.setblocking(False)
            return await answer
        except OSError as error:
            raise CallError(f"the broker has gone: {error}", "BIREME_NO_BROKER") from error
        finally:
            self._questions.pop(number, None)

    def close(self):
        if self._socket.fileno() < 0:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
        self._socket.close()
        for answer in self._questions.values():
            if not answer.done():
                answer.set_exception(CallError("the broker has gone", "BIREME_NO_BROKER"))
        self._on_close()

    def _send(self, kind, message, aux=0):
        payload = json.dumps(message).encode()
        self._socket.sendall(_HEADER.pack(len(payload), 0, kind, 0, aux) + payload)

    def _read(self):
        try:
            data = self._socket.recv(1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._pending += data
        while len(self._pending) >= _HEADER.size:
            length, stream, kind, _, _ = _HEADER.unpack_from(self._pending)
            if length > _PAYLOAD_MAX or stream != 0 or kind not in (RESOLVED, PEERS):
                self.close()
                return
            if len(self._pending) < _HEADER.size + length:
                return
            payload = bytes(self._pending[_HEADER.size : _HEADER.size + length])
            del self._pending[: _HEADER.size + length]
            self._take(kind, json.loads(payload))

    def _take(self, kind, message):
        if kind == PEERS:
            self._on_peers(message["service"], message["workers"])
            return
        answer = self._questions.get(message["id"])
        if answer is None or answer.done():
            return
        error = message.get("error")
        if error is None:
            # In the same turn, so that PEERS that come right after it find the service.
            answer.set_result(message)
            return
        text = error["message"] + (f" ({error['hint']})" if error.get("hint") else "")
        answer.set_exception(_KINDS.get(error["code"], CallError)(text, error["code"]))


def process_name():
    """Who we are, for the broker's log."""
    return os.environ.get("BIREME_WORKER") or f"python {os.getpid()}"


async def find():
    """The path and token of the broker: of the bireme that started this process, or of one that is started now."""
    path, token = os.environ.get("BIREME_BROKER"), os.environ.get("BIREME_BROKER_TOKEN")
    if path and token:
        return path, token
    await asyncio.get_running_loop().run_in_executor(None, _start)
    return os.environ["BIREME_BROKER"], os.environ["BIREME_BROKER_TOKEN"]


_starting = threading.Lock()
_own = None


def _start():
    global _own
    with _starting:
        if os.environ.get("BIREME_BROKER"):
            return
        program = _program()
        process = subprocess.Popen(
            [program, "broker", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True,
        )
        timer = threading.Timer(_START_TIMEOUT_S, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        try:
            said = json.loads(line)
            path, token = said["broker"], said["token"]
        except (ValueError, KeyError, TypeError):
            process.kill()
            raise CallError(f"{program} broker --stdio did not start: it said {line[:200]!r}", "BIREME_NO_BROKER") from None
        # It lives until its standard input is closed, which the end of this process does.
        _own = process
        # Children of this process may call, too.
        os.environ["BIREME_BROKER"], os.environ["BIREME_BROKER_TOKEN"] = path, token


def _program():
    here = os.path.dirname(os.path.abspath(__file__))
    runtime = os.path.dirname(os.path.dirname(here))
    candidates = [
        os.environ.get("BIREME_BIN"),
        os.path.join(os.path.dirname(runtime), "bireme"),
        os.path.join(os.path.dirname(os.path.dirname(runtime)), "bin", "bireme"),
        shutil.which("bireme"),
    ]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    raise CallError(
        f"no bireme is found that could run Node: run the script with `bireme run {sys.argv[0] or 'script.py'}`, put bireme on the"
        " PATH, or set BIREME_BIN",
        "BIREME_NO_BROKER",
    )
