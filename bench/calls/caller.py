"""The bench's caller in the other direction: Python's asyncio to Node. Speaks as caller.mjs does."""

import asyncio
import json
import sys
import time

from bireme import node

WARM_UP_SHARE = 0.2

add = node("./page.mjs").add


async def one_at_a_time(seconds):
    values = []
    begin = now = time.perf_counter()
    warm, end = begin + seconds * WARM_UP_SHARE, begin + seconds
    while now < end:
        await add(1, 2)
        after = time.perf_counter()
        if now >= warm:
            values.append((after - now) * 1e6)
        now = after
    values.sort()
    return {"p50": values[len(values) // 2], "p99": values[int(len(values) * 0.99)], "count": len(values)}


async def main():
    assert await add(1, 2) == 3
    print("READY", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await one_at_a_time(float(line.split()[1]))), flush=True)


asyncio.run(main())
