"""Numbers for Prometheus (docs/metrics.md)."""

import re

import httpx

from harness.apps import ASGI
from harness.server import free_port


def numbers(port: int) -> dict[str, float]:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_what_is_served_is_counted(serve):
    port = free_port()
    routes = '[[route]]\nmatch = "/moved"\nredirect = "/"\nstatus = 302\n'
    server = serve(f'metrics_listen = "127.0.0.1:{port}"\n' + ASGI.config(routes))
    name = re.search(r"\[service\.(\w+)\]", (server.folder / "bireme.toml").read_text())[1]
    assert server.get("/").text == "hello"
    assert server.get("/status?code=404").status_code == 404
    assert server.get("/moved").status_code == 302
    counted = numbers(port)
    assert counted[f'bireme_responses_total{{service="{name}",status="2xx"}}'] == 1
    assert counted[f'bireme_responses_total{{service="{name}",status="4xx"}}'] == 1
    assert counted['bireme_responses_total{service="",status="3xx"}'] == 1
    assert counted[f'bireme_request_duration_seconds_bucket{{le="+Inf",service="{name}"}}'] == 2
    assert counted[f'bireme_request_duration_seconds_sum{{service="{name}"}}'] > 0
    assert counted[f'bireme_workers_ready{{service="{name}"}}'] >= 1
    assert counted[f'bireme_worker_resident_memory_bytes{{service="{name}",worker="{name}#1"}}'] > 1 << 20
    # Clients do not see it, and it serves nothing else.
    assert server.get("/metrics").status_code == 404
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404


def test_an_address_in_use_is_said(serve):
    first = serve(ASGI.config()).ready()
    second = serve(f'metrics_listen = "127.0.0.1:{first.port}"\n' + ASGI.config())
    second.wait_for("metrics_listen: can't listen on")
    assert second.wait() == 1
