"""What the front tells a worker through its environment; see protocol/README.md.

Nothing below this module reads the environment.
"""

import json
import os


class SettingsError(Exception):
    """The environment is not one that the front makes."""


class Settings:
    """The worker's settings, read once.

    Durations are in milliseconds and counts are whole numbers, as their names say.
    """

    __slots__ = (
        "call_queue_max",
        "calls_path",
        "dev",
        "factory",
        "faults",
        "interface",
        "lifespan",
        "lifespan_timeout_ms",
        "link_path",
        "links",
        "loop",
        "message_bytes_max",
        "service",
        "shared_memory",
        "threads_max",
        "timeout_ms",
        "token",
        "worker",
    )


# A thread that waits for a database costs a stack and little else; more than this many would only queue
# at the GIL.
THREADS_DEFAULT_MAX = 32
THREADS_LIMIT = 1024
LINKS_LIMIT = 1024


def take_settings(calls_alone, environ=os.environ):
    """Read the settings and remove the private ones, so that no child process takes itself for a worker.

    `calls_alone`: the worker serves no requests. Raises SettingsError, naming the variable.
    """
    settings = Settings()
    try:
        settings.link_path = environ.pop("BIREME_LINK")
        settings.links = int(environ.pop("BIREME_LINKS"))
        settings.token = environ.pop("BIREME_TOKEN")
    except KeyError as missing:
        raise SettingsError(
            f"{missing.args[0]} is not set; this program is started by `bireme serve`, not by hand"
        ) from None
    except ValueError:
        raise SettingsError("BIREME_LINKS is not a number") from None
    if not (settings.links == 0 if calls_alone else 1 <= settings.links <= LINKS_LIMIT):
        possible = "0 is possible for calls alone" if calls_alone else f"1 to {LINKS_LIMIT} are possible"
        raise SettingsError(f"BIREME_LINKS is {settings.links}; {possible}")
    settings.calls_path = environ.pop("BIREME_CALLS", None)
    limits = _own_limits(environ.pop("BIREME_SELF", "") or "{}")
    settings.shared_memory = {name: value for name, value in limits.items() if name.startswith("shared_")}
    settings.call_queue_max = _count(limits, "queue_max", 1024, 1, 1 << 20)
    settings.timeout_ms = _count(limits, "timeout_ms", 30_000, 0, 2**32 - 1)
    settings.message_bytes_max = _count(limits, "message_bytes_max", 64 << 20, 1 << 16, 1 << 31)
    settings.faults = environ.pop("BIREME_FAULTS", "")
    text = environ.pop("BIREME_OPTIONS", "") or "{}"
    try:
        options = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"BIREME_OPTIONS is not JSON: {error}") from None
    if not isinstance(options, dict):
        raise SettingsError("BIREME_OPTIONS is not a JSON object")
    settings.interface = _one_of(options, "interface", ("auto", "asgi", "wsgi"))
    settings.lifespan = _one_of(options, "lifespan", ("auto", "on", "off"))
    settings.loop = _one_of(options, "loop", ("auto", "asyncio", "uvloop"))
    settings.factory = _flag(options, "factory")
    settings.dev = _flag(options, "dev")
    settings.lifespan_timeout_ms = _count(options, "lifespan_timeout_ms", 60_000, 1, 3_600_000)
    cores = os.cpu_count() or 1
    settings.threads_max = _count(
        options, "threads_max", max(4, min(4 * cores, THREADS_DEFAULT_MAX)), 1, THREADS_LIMIT
    )
    settings.service = environ.get("BIREME_SERVICE", "")
    settings.worker = environ.get("BIREME_WORKER", "")
    return settings


def _own_limits(text):
    """BIREME_SELF: protocol/calls.md."""
    try:
        told = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"BIREME_SELF is not JSON: {error}") from None
    if not isinstance(told, dict):
        raise SettingsError("BIREME_SELF is not a JSON object")
    return told


def _one_of(options, key, choices):
    value = options.get(key)
    if value is None:
        return choices[0]
    if value not in choices:
        raise SettingsError(f"BIREME_OPTIONS: {key} is {value!r}; possible are {', '.join(choices)}")
    return value


def _flag(options, key):
    value = options.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise SettingsError(f"BIREME_OPTIONS: {key} is {value!r}; possible are true and false")
    return value


def _count(options, key, default, lowest, highest):
    value = options.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise SettingsError(f"BIREME_OPTIONS: {key} is {value!r}; {lowest} to {highest} are possible")
    return value
