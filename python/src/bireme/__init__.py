"""Bireme's runtime inside a Python worker, and what applications import from it.

Applications need not import it, but may: for calls, topics, sockets and server-sent events. It never opens a TCP socket and never
speaks HTTP: the front does.
"""

import importlib

__version__ = "0.1.0"

# Loaded when they are first asked for: a worker starts no slower for what its application does not use.
_WHERE = {
    "errors": (
        "CallCancelled", "CallError", "CallTargetNotFound", "CallTimeout", "CannotCross", "JsError", "PythonError", "Released",
        "RemoteError", "ServiceBusy", "SharedMemoryFull", "WorkerLost",
    ),
    "arrays": ("shared",),
    "marks": ("batch", "idempotent", "quick", "timeout"),
    "remote": ("node",),
    "pubsub": ("Presence", "Subscription", "TopicsFull", "TopicsUnavailable", "presence", "publish", "socket", "subscribe", "topics"),
    "sockets": ("Handshake", "Refused", "Sockets", "WebSocket"),
    "sse": ("Event", "EventStream"),
}
_HOMES = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
