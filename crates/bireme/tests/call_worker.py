"""A worker that takes calls and does with each what its function's name says; no runtime of ours, and no CBOR but what is written here."""

import json
import os
import socket
import struct
import sys
import threading

HELLO, READY, DRAIN, DATA, CREDIT = 0x01, 0x02, 0x04, 0x12, 0x15
BIND, CALL, RESULT, ERROR, ITEM, CANCEL, QUEUED, STARTED = 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A
END, STREAM = 1, 2


def frame(kind, stream, payload=b"", flags=0, aux=0):
    return struct.pack("<IIBBH", len(payload), stream, kind, flags, aux) + payload


def frames(sock):
    buffer = b""
    while True:
        while len(buffer) < 12 or len(buffer) < 12 + struct.unpack_from("<I", buffer)[0]:
            more = sock.recv(1 << 20)
            if not more:
                return
            buffer += more
        length, stream, kind, flags, aux = struct.unpack_from("<IIBBH", buffer)
        yield kind, flags, aux, stream, buffer[12 : 12 + length]
        buffer = buffer[12 + length :]


def text(string):
    data = string.encode()
    return (bytes([0x60 | len(data)]) if len(data) < 24 else bytes([0x78, len(data)])) + data


PYTHON = b"\x86" + text("/app/model.py") + b"\x03\x05" + text("predict") + text("    raise ValueError(x)") + text("python")
JAVASCRIPT = b"\x86" + text("/app/page.js") + b"\x0a\x02" + text("show") + text("") + text("javascript")
RAISED = (
    b"\xa6" + text("language") + text("python") + text("type") + text("ValueError") + text("message") + text("no")
    + text("frames") + b"\x82" + JAVASCRIPT + PYTHON + text("text") + text("Traceback") + text("notes") + b"\x81" + text("a note")
)


def busy():
    return b"\xa3" + text("type") + text("ServiceBusy") + text("message") + text("full") + text("code") + text("BIREME_SERVICE_BUSY")


def serve(link):
    name, payload = "", b""
    for kind, flags, aux, stream, data in frames(link):
        if kind == BIND:
            # A map whose last entry is the name, shorter than 24 bytes.
            name = data[data.rindex(b"dname") + 6 :].decode()
        if kind in (CALL, DATA):
            payload += data
        if kind == CANCEL:
            print("cancelled", aux, flush=True)
        if kind == CREDIT:
            print("credit", struct.unpack("<I", data)[0], flush=True)
        if kind in (CALL, DATA) and flags & END:
            answer(link, stream, name, payload)


def answer(link, stream, name, payload):
    if name == "echo":
        link.sendall(frame(RESULT, stream, payload[10:], END))
    elif name == "pieces":
        link.sendall(frame(QUEUED, stream) + frame(STARTED, stream) + frame(RESULT, stream, b"\x82") + frame(DATA, stream, b"\x01\x02", END))
    elif name == "rows":
        link.sendall(frame(RESULT, stream, b"", END | STREAM) + frame(ITEM, stream, b"\x01\x02") + frame(ITEM, stream, b"\x03", END))
    elif name == "endless":
        link.sendall(frame(RESULT, stream, b"", END | STREAM) + frame(ITEM, stream, b"\x01" * 8))
    elif name == "rows_that_fail":
        link.sendall(frame(RESULT, stream, b"", END | STREAM) + frame(ITEM, stream, b"\x01") + frame(ERROR, stream, RAISED, END))
    elif name == "fail":
        link.sendall(frame(ERROR, stream, RAISED, END))
    elif name == "busy":
        link.sendall(frame(ERROR, stream, busy(), END))
    elif name == "die":
        os._exit(9)
    elif name == "die_queued":
        link.sendall(frame(QUEUED, stream))
        os._exit(9)
    elif name == "die_queued_once":
        # Beside the file that is called, the working folder; who comes after finds what is left there.
        if os.path.exists("died"):
            link.sendall(frame(RESULT, stream, text("another worker"), END))
        else:
            open("died", "w").close()
            link.sendall(frame(QUEUED, stream))
            os._exit(9)
    elif name == "nonsense":
        link.sendall(frame(RESULT, stream, b"\xff", END))
    elif name == "stranger":
        link.sendall(frame(RESULT, stream + 2, b"\x01", END))


def accept(listener):
    while True:
        link, _ = listener.accept()
        threading.Thread(target=serve, args=(link,), daemon=True).start()


listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ["BIREME_CALLS"])
listener.listen()
threading.Thread(target=accept, args=(listener,), daemon=True).start()
control = socket.socket(socket.AF_UNIX)
control.connect(os.environ["BIREME_LINK"])
hello = {"token": os.environ["BIREME_TOKEN"], "link": "control", "pid": os.getpid(), "language": "python", "version": "3.12.0"}
control.sendall(frame(HELLO, 0, json.dumps(hello).encode(), aux=1) + frame(READY, 0, json.dumps({"kind": "calls"}).encode()))
for kind, *_ in frames(control):
    if kind == DRAIN:
        sys.exit(0)
