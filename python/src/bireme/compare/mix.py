"""Calls a JavaScript function for `bireme compare --mix`: across a call, and over HTTP. Run by `bireme run`; prints one line of JSON.

node/src/compare/mix.mjs is its counterpart.
"""

import asyncio
import http.client
import json
import sys
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from bireme import node


async def main(file: str, name: str, cases_file: str, limit: float, url: str) -> None:
    cases = [json.loads(line) for line in Path(cases_file).read_text("utf-8").split("\n") if line.strip()]
    across = getattr(node(file), name)
    connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def post(value):
        connection.request("POST", "/", json.dumps(value).encode(), {"content-type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {body.decode()}")
        return json.loads(body)

    answer = await across(cases[0])
    called = []
    began = perf_counter()
    while perf_counter() - began < limit:
        start = perf_counter()
        await across(cases[len(called) % len(cases)])
        called.append(perf_counter() - start)
    posted = []
    began = perf_counter()
    while perf_counter() - began < limit:
        start = perf_counter()
        post(cases[len(posted) % len(cases)])
        posted.append(perf_counter() - start)
    print(json.dumps({"answer": answer, "call": called, "http": posted}))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5]))
