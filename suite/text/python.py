"""Reads an access log: bytes and requests for each status, requests for each path, mail addresses hidden."""

import re

LINE = re.compile(r'([0-9.]+) - - \[[0-9:]+\] "([A-Z]+) ([^ "]+) HTTP/1\.1" ([0-9]{3}) ([0-9]+)').fullmatch
MAIL = re.compile(r"[a-z0-9.]+@[a-z0-9.]+").sub


def run(text):
    statuses = {}
    paths = {}
    broken = 0
    for line in text.split("\n"):
        match = LINE(line)
        if match is None:
            broken += 1
            continue
        _, method, path, status, size = match.groups()
        sums = statuses.get(status)
        if sums is None:
            sums = statuses[status] = {"requests": 0, "bytes": 0}
        sums["requests"] += 1
        sums["bytes"] += int(size)
        shown = f"{method} {MAIL('…', path)}"
        paths[shown] = paths.get(shown, 0) + 1
    return {"statuses": statuses, "paths": paths, "broken": broken}
