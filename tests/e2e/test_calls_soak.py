"""A million calls leave nothing behind: no memory, no call, no descriptor, in any of the three processes."""

import re
from pathlib import Path

import pytest

from test_calls import CALLS, DIRECTIONS, OTHER, caller, config

SLICES = 10
"""Requests that the calls are spread over; each has to end within the client's patience."""
PROCESS_BYTES_MAX = 64 << 20
"""What a process may have gained by the kernel's account: V8 keeps pages of what it has collected, some 25 MiB of them."""
HEAP_BYTES_MAX = 4 << 20
"""What JavaScript may have gained after a collection: four bytes a call."""
BLOCKS_MAX = 4000
"""What Python may have gained in objects: caches of its own and of the libraries."""


def pages(pid):
    """Bytes of memory that are a process's own, with its share of what it shares."""
    return int(re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) * 1024


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_million_calls_leave_nothing_behind(serve, request, direction):
    # Python's caller is the slower of the two, and takes a tenth.
    calls = request.config.getoption("--soak-calls") // (1 if direction == "js" else 10)
    server = serve(config(interpreter_args=["--expose-gc"]))
    call, back = caller(server, direction), caller(server, OTHER[direction])
    def look():
        """What both workers say of themselves; each is asked by the other."""
        found = {OTHER[direction]: call("left"), direction: back("left")}
        return found, {name: pages(pid) for name, pid in pids.items()}

    call("soak", calls=calls // SLICES)
    back("left")
    pids = {"front": server.process.pid} | {name: server.workers(name)[0] for name in DIRECTIONS}
    look()
    before, pages_before = look()
    for _ in range(SLICES):
        assert call("soak", calls=calls // SLICES) >= calls // SLICES
    after, pages_after = look()
    for name in DIRECTIONS:
        sizes = {"bytes": HEAP_BYTES_MAX, "blocks": BLOCKS_MAX}
        for what, most in sizes.items():
            assert after[name].pop(what, 0) - before[name].pop(what, 0) < most, f"{what} of {name}"
        # Calls, handles, links, descriptors.
        assert after[name] == before[name]
        assert (after[name]["outgoing"], after[name]["incoming"], after[name]["waiting"]) == (0, 0, 0)
    gained = {name: pages_after[name] - pages_before[name] for name in pids}
    assert max(gained.values()) < PROCESS_BYTES_MAX, gained
