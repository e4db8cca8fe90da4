"""Load generators from Debian, and what they say."""

import re
import subprocess
import sys
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
    said = run([program, "-t2", f"-c{clients}", "-m4", f"-D{seconds}", url], seconds)
    counts = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", said)
    if counts is None or int(counts[3]) or int(counts[2]) == 0:
        sys.exit(f"bench: {url}: {said}")
    mean = re.search(r"time for request:\s+\S+\s+(\S+)\s+(\S+)", said)
    return Sample(
        requests=int(counts[2]),
        rate=float(re.search(r"finished in .*?, ([\d.]+) req/s", said)[1]),
        # h2load of this version prints min, max, mean and deviation; its mean stands for p50, its max for p99.
        p50_us=time_us(mean[2]),
        p99_us=time_us(mean[1]),
    )


def run(command: list, seconds: int) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        sys.exit(f"bench: {command[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def time_us(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS_US[unit]
