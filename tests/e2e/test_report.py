"""`bireme compare report` in a real browser: whole, legible, and deaf to what measured programs say (issue 5)."""

import copy
import json
import math
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from harness.server import BIREME
from test_digits import SCREENSHOTS, SWITCHES

HOSTILE = '<script>document.title = "taken"</script><img src=x onerror="document.title=\'taken\'">"\'</style>&'
SIDES = ["node", "python"]
WIDTHS = [360, 820, 1400]


def summary(median: float) -> dict:
    return {"launches": 12, "median": median, "least": median * 0.95, "greatest": median * 1.1, "at_least": False}


def measure(criterion: str, name: str, unit: str, left: float, right: float, kind: str, winner: str | None) -> dict:
    ratio = right / left
    return {
        "id": name, "title": name.replace("_", " "), "criterion": criterion, "unit": unit, "better": "less", "condition": "",
        "left": summary(left), "right": summary(right),
        "ratio": {
            "estimate": ratio, "low": ratio * 0.9, "high": ratio * 1.1, "bootstrap_low": ratio * 0.92, "bootstrap_high": ratio * 1.08,
            "p_value": 0.0004, "p_adjusted": 0.002, "p_sign_flip": 0.03, "cliffs_delta": 1.0, "noise": 1.02, "blocks": [ratio] * 6,
        },
        "verdict": {
            "kind": kind, "winner": winner, "factor": max(ratio, 1 / ratio) if winner else None,
            "sentence": f"{name}: {kind} {ratio:.2f}", "blocks_more": None,
        },
    }


def curve(name: str, criterion: str, x: str, y: str, points: dict[str, list], logarithmic: bool = False) -> dict:
    return {
        "id": name, "title": f"curve {name}", "criterion": criterion,
        "x": {"title": "x axis", "unit": x, "logarithmic": False}, "y": {"title": "y axis", "unit": y, "logarithmic": logarithmic},
        "series": [{"side": side, "label": "", "points": points[side]} for side in points], "remark": None,
    }


def comparison(name: str, hostile: str = "") -> dict:
    quantiles = [0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0]
    return {
        "name": name, "title": name + hostile, "criterion": "performance", "note": f"a note with `code`{hostile}",
        "sides": [
            {
                "name": side, "language": side, "version": "1.2.3", "interpreter": f"/usr/bin/{side}", "target": f"./score:{side}{hostile}",
                "workers": 1, "facts": ["asynchronous" + hostile],
                "code": {
                    "files": ["a"], "logical_lines": 21, "cyclomatic": 5, "cognitive": 7, "functions": 2, "dependencies": 3,
                    "dependencies_bytes": 4096 * 1024,
                },
            }
            for side in SIDES
        ],
        "equality": {
            "cases": 40, "rounds": 3, "outcome": "equal",
            "differences": [{
                "path": "$.items[*].id" + hostile, "class": "noise", "across": 3, "left_twin": 2, "right_twin": 3, "compared": 120,
                "p_value": 0.7,
                "examples": [{"case": "case 1", "path": "$.items[3].id", "left": {"text": hostile}, "right": None}],
            }],
        },
        "measures": [
            measure("performance", "latency_p50", "seconds", 0.001, 0.0031, "better", "node"),
            measure("performance", "cpu", "seconds", 0.002, 0.001, "better", "Python"),
            measure("memory", "memory_steady", "bytes", 5e7, 5.1e7, "equal", None),
            measure("start", "start_warm", "seconds", 0.05, 0.04, "inconclusive", None),
        ],
        "launches": [],
        "curves": [
            curve("latency_distribution", "performance", "ratio", "seconds", {
                side: [[q, 0.001 * factor * (1 + 3 * q)] for q in quantiles] for side, factor in zip(SIDES, [1, 3.1])
            }, logarithmic=True),
            curve("warm_up", "performance", "seconds", "seconds", {
                side: [[t / 100, 0.001 + 0.01 * math.exp(-t / 40)] for t in range(400)] for side in SIDES
            }, logarithmic=True),
            curve("memory_over_time", "memory", "seconds", "bytes", {side: [[t, 5e7 + t * 1e5] for t in range(20)] for side in SIDES}),
            curve("nothing", "memory", "seconds", "bytes", {"node": []}),
        ],
        "errors": [
            {
                "side": side, "error": "throw", "injected": True, "answer": "500" + hostile, "answer_right": side == "node",
                "neighbours_failed": [0, 40], "stack_tied": True, "recovery_seconds": 0.2, "remark": None,
            }
            for side in SIDES
        ],
        "rules": ["Python is enough below 420 requests/s" + hostile],
        "remarks": ["a remark" + hostile],
    }


def document(*comparisons: dict, hostile: str = "") -> dict:
    return {
        "schema_version": 1, "bireme": "0.1.0", "kind": "functions", "started": "2026-11-24T10:00:00Z", "took_seconds": 600.0,
        "interrupted": None, "arguments": ["./score.js:score" + hostile, "./score.py:score"], "folder": "/home/somebody",
        "machine": {"system": "Linux 6.1", "cpu": "A processor", "cores": 2, "memory_bytes": 8 << 30, "governor": None, "load": 0.1},
        "settings": {
            "effort": "default", "seed": 7, "blocks": 10, "launch_seconds": 12.0, "confidence": 0.95, "equal_within": 0.05,
            "tolerance": 0.0, "ignored": [], "service_level": None,
        },
        "fairness": [{"severity": "warning", "side": "python", "what": "uvloop is missing" + hostile, "advice": "install it"}],
        "comparisons": list(comparisons),
    }


def report(folder: Path, content: dict) -> Path:
    (folder / "compare.json").write_text(json.dumps(content))
    done = subprocess.run([BIREME, "compare", "report", folder / "compare.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "compare.html")
    return folder / "compare.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path="/usr/bin/chromium", headless=True, args=SWITCHES,
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.requested = []
    page.faults = []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    yield page
    page.close()


def show(page: Page, file: Path) -> None:
    page.goto(file.as_uri())


def contrast(page: Page, selector: str) -> float:
    """WCAG's contrast of the text with the page's ground."""
    colours = page.evaluate(
        "selector => [getComputedStyle(document.querySelector(selector)).color, getComputedStyle(document.body).backgroundColor]", selector
    )

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def test_the_report_says_what_the_document_says(page, tmp_path):
    show(page, report(tmp_path, document(comparison("score"))))
    assert page.title() == "Node and Python: score"
    chapters = page.locator("h2").all_text_contents()
    assert chapters == [
        "Verdicts", "Performance", "Memory", "Start", "Error handling", "Learning curve, code and ecosystem", "Equality",
        "How to read it", "How it was measured",
    ]
    assert "Nothing in this run measured: Scalability; Versatility." in page.locator("#verdicts").inner_text()
    overview = page.locator("#verdicts tbody tr").first
    assert overview.locator("td").all_text_contents() == ["equal", "Node 3.1×", "Python 2×", "equal", "inconclusive"]
    row = page.locator("#performance tbody tr").first
    assert row.locator("td.number").first.inner_text().startswith("1.00 ms")
    assert row.locator(".verdict").inner_text() == "latency_p50: better 3.10"
    # Node is better, so the interval lies in the first half.
    assert row.get_by_role("img").get_attribute("aria-label") == "Node 3.1× better"
    bar = row.locator("path.bar").first.get_attribute("d")
    assert float(bar.split()[0].removeprefix("M")) < 50
    assert page.locator("#performance figure").count() == 2
    assert page.locator("#memory figure").count() == 1, "a curve without points is no figure"
    assert "learn a language can only be proxied" in page.locator("#code").inner_text()
    assert page.locator("#code tbody tr").first.locator("td").all_text_contents() == ["● Node", "1", "21", "2", "5", "7", "3", "4.00 MiB"]
    assert page.locator("#errors .no").count() == 1
    assert "uvloop is missing; install it" in page.locator("header").inner_text()


def test_the_file_is_complete_in_itself(page, tmp_path):
    file = report(tmp_path, document(comparison("score")))
    show(page, file)
    assert page.requested == [file.as_uri()]
    assert page.faults == []
    assert "<script" not in file.read_text()


def test_what_programs_say_is_shown_and_not_obeyed(page, tmp_path):
    show(page, report(tmp_path, document(comparison("score", HOSTILE), hostile=HOSTILE)))
    assert page.title() == "Node and Python: score" + HOSTILE
    assert page.locator("script, img").count() == 0
    text = page.locator("body").inner_text()
    assert text.count(HOSTILE) >= 10
    assert [url for url in page.requested if not url.startswith("file:")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_every_width_in_both_schemes(page, tmp_path, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    show(page, report(tmp_path, document(comparison("score"), comparison("render"))))
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing but tables and charts scrolls sideways"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ["p", ".soft", ".mark.left", ".mark.right", ".verdict.open", ".no", ".yes"]:
        assert contrast(page, selector) >= 4.5, f"{selector} is hard to read"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{width}-{scheme}.png", full_page=True)


def test_paper_shows_the_numbers_too(page, tmp_path):
    show(page, report(tmp_path, document(comparison("score"))))
    hidden = page.locator("#performance figure details table").first
    assert not hidden.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert hidden.is_visible()
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF") and len(pdf) > 10_000


def test_all_tables_of_a_suite_fit_on_paper(page, tmp_path):
    one = comparison("score")
    one["measures"][0]["condition"] = "17000 requests/s, 90% of the smaller capacity, 1 worker"
    over_time = [{"side": side, "label": f"launch {number}", "points": [[0, 0.00123], [1, 0.00234]]} for number in (1, 2) for side in SIDES]
    one["curves"][1]["series"] = over_time
    for name in ("latency_p99", "capacity", "throughput", "start_cold", "error_cost"):
        one["measures"].append(measure("performance", name, "seconds", 0.001, 0.00131, "better_size_uncertain", "python"))
    show(page, report(tmp_path, document(one, comparison("Database query (SQLite, embedded)"))))
    page.emulate_media(media="print")
    # A4 without the margins that browsers leave.
    page.set_viewport_size({"width": 718, "height": 1000})
    assert page.locator(".overview thead th").count() == 11
    cut = page.evaluate("""[...document.querySelectorAll("table")].filter(table => {
        const room = table.closest("figure, .scroll, section").getBoundingClientRect().right
        return table.getBoundingClientRect().right > Math.min(718, room) + 1
    }).map(table => table.querySelector("thead").innerText)""")
    assert cut == [], "tables are cut off at the right"
    warm_up = page.locator("#performance figure").nth(1)
    assert warm_up.locator("thead th").all_text_contents() == ["x axis", "Node, launch 1", "Node, launch 2", "Python, launch 1", "Python, launch 2"]


def test_a_file_that_is_no_result_is_refused(tmp_path):
    def refused(content: str) -> str:
        (tmp_path / "compare.json").write_text(content)
        done = subprocess.run([BIREME, "compare", "report", tmp_path / "compare.json"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert not (tmp_path / "compare.html").exists()
        return done.stderr

    assert "it is no JSON" in refused("{")
    assert "is it a compare.json?" in refused("{}")
    assert "version 99" in refused('{"schema_version": 99}')
    broken = copy.deepcopy(document())
    broken["machine"] = 7
    assert "it does not follow docs/compare.schema.json" in refused(json.dumps(broken))
