"""Load generators from Debian, and what they say."""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass
class Sample:
    """One measurement. Times are in microseconds."""

    requests: int
    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float = 0.0
    memory_bytes: int = 0


def wrk(program: Path, url: str, connections: int, seconds: int) -> Sample:
    """HTTP/1.1 with keep-alive; fails on any error or any status but 2xx and 3xx."""
    threads = min(2, connections)
    said = run([program, f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", url], seconds)
    for failure in ("Socket errors", "Non-2xx"):
        if found := re.search(rf"{failure}.*", said):
            sys.exit(f"bench: {url}: {found[0]}")
    return Sample(
        requests=int(re.search(r"(\d+) requests in", said)[1]),
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),
        p50_us=time_us(re.search(r"(?m)^\s+50%\s+(\S+)$", said)[1]),
        p99_us=time_us(re.search(r"(?m)^\s+99%\s+(\S+)$", said)[1]),
    )


def h2load(program: Path, url: str, connections: int, seconds: int) -> Sample:
    """HTTP/2 with prior knowledge, a quarter of the connections with four streams each."""
    clients = max(1, connections // 4)
    with tempfile.NamedTemporaryFile("r", prefix="h2load-") as log:
        said = run([program, "-t2", f"-c{clients}", "-m4", f"-D{seconds}", f"--log-file={log.name}", url], seconds)
        durations_us = sorted(int(line.split("\t")[2]) for line in log)
    counts = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", said)
    if counts is None or int(counts[3]) or int(counts[2]) == 0:
        sys.exit(f"bench: {url}: {said}")
    return Sample(
        requests=int(counts[2]),
        rate=float(re.search(r"finished in .*?, ([\d.]+) req/s", said)[1]),
        p50_us=durations_us[len(durations_us) // 2],
        p99_us=durations_us[len(durations_us) * 99 // 100],
    )


def run(command: list, seconds: int) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        sys.exit(f"bench: {command[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def time_us(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS_US[unit]
