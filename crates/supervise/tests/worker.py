"""A worker that speaks the link protocol and nothing else; how it behaves is its first argument."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

HELLO, READY, FAILED, DRAIN, PING, PONG = 1, 2, 3, 4, 5, 6


def frame(kind, payload=b"", aux=0):
    return struct.pack("<IIBBH", len(payload), 0, kind, 0, aux) + payload


def message(kind, value, aux=0):
    return frame(kind, json.dumps(value).encode(), aux)


def connect(link, token=None, version="3.11.2"):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(os.environ["BIREME_LINK"])
    hello = {
        "token": token or os.environ["BIREME_TOKEN"],
        "link": link,
        "pid": os.getpid(),
        "language": "python",
        "version": version,
    }
    sock.sendall(message(HELLO, hello, aux=1))
    return sock


def frames(sock):
    buffer = b""
    while True:
        while len(buffer) < 12 or len(buffer) < 12 + struct.unpack_from("<I", buffer)[0]:
            more = sock.recv(65536)
            if not more:
                return
            buffer += more
        length, _, kind, _, _ = struct.unpack_from("<IIBBH", buffer)
        yield kind, buffer[12 : 12 + length]
        buffer = buffer[12 + length :]


def main(behaviour):
    if os.path.exists("behaviour"):
        behaviour = open("behaviour").read().strip()
    if behaviour == "exit-3":
        sys.exit(3)
    if behaviour == "raise":
        raise RuntimeError("the database is on holiday")
    if behaviour == "old":
        connect("control", version="3.9.1")
        time.sleep(600)
    if behaviour == "impostor":
        connect("control", token="0" * 64)
    control = connect("control")
    if behaviour == "exit-connected":
        sys.stderr.write("said on its way out\n")
        sys.exit(4)
    if behaviour == "fail":
        failure = {"error": "No module named 'app'", "stack": "Traceback:\n  line 1", "hint": "look for app.py"}
        control.sendall(message(FAILED, failure))
        sys.exit(1)
    if behaviour == "fail-second" and os.environ["BIREME_WORKER"].endswith("#2"):
        control.sendall(message(FAILED, {"error": "the second one never works"}))
        sys.exit(1)
    if behaviour == "never-ready":
        time.sleep(600)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "family":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, flush=True)
    if behaviour == "talk":
        print("to stdout")
        print("to stderr \udcff", file=sys.stderr)
        sys.stdout.flush()
    if behaviour == "flood":
        for n in range(200_000):
            print("flood", n)
        print("flood is over", flush=True)
    links = [connect(n) for n in range(int(os.environ["BIREME_LINKS"]))]
    if behaviour == "two-links-alike":
        connect(0)
    control.sendall(message(READY, {"kind": "asgi", "notes": ["a note"]}))
    if behaviour == "close-a-link":
        links[0].close()
    for kind, payload in frames(control):
        # Only a worker that serves is pinged.
        if kind == PING and behaviour == "exit":
            sys.exit(7)
        if kind == PING and behaviour == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == PING and behaviour == "speak-out-of-turn":
            control.sendall(frame(DRAIN))
        if kind == PING and behaviour != "hang":
            control.sendall(frame(PONG, payload))
        if kind == DRAIN and behaviour != "stubborn":
            print("drained", flush=True)
            sys.exit(0)
    if behaviour != "outlive":
        os._exit(9)
    time.sleep(600)


main(sys.argv[1])
