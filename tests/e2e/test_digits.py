"""The example in a real browser: a digit is drawn with the mouse, and Python reads it (issue 2)."""

import math
import os
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from harness.server import Server

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
SCREENSHOTS = Path(os.environ.get("E2E_SCREENSHOTS", "/tmp"))
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]


def arc(x: float, y: float, width: float, height: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points of an ellipse's arc, in degrees clockwise from three o'clock."""
    angles = [math.radians(start + (end - start) * step / 24) for step in range(25)]
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


# Strokes in a square of 100 by 100, as people draw them.
DRAWINGS = {
    0: [arc(50, 50, 28, 42, -90, 270)],
    2: [[*arc(50, 28, 25, 22, 180, 400), (25, 93)], [(25, 93), (78, 93)]],
    3: [[*arc(45, 28, 25, 23, 200, 450), *arc(45, 73, 28, 23, -90, 150)]],
    4: [[(60, 5), (18, 68), (82, 68)], [(60, 5), (60, 97)]],
    5: [[(30, 7), (28, 45), *arc(47, 67, 28, 27, -110, 140)], [(30, 7), (78, 7)]],
    7: [[(20, 8), (78, 8), (42, 96)]],
}


@pytest.fixture(scope="module")
def digits():
    with Server(DIGITS) as server:
        server.get("/api/health")
        yield server


@pytest.fixture(scope="module")
def page(digits, tmp_path_factory):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path="/usr/bin/chromium", headless=True, args=SWITCHES,
            viewport={"width": 900, "height": 720},
        )
        page = browser.new_page()
        page.goto(digits.url)
        yield page
        browser.close()


def test_each_part_answers_on_one_port(digits):
    assert digits.get("/healthz").json()["service"] == "web"
    assert digits.get("/api/health").json()["service"] == "ml"
    script = digits.get("/assets/digits.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "etag" in script.headers


def test_python_renders_a_component_of_react(digits):
    response = digits.get("/api/card/7")
    assert response.headers["content-type"].startswith("text/html")
    assert response.text.startswith('<figure class="card"><svg viewBox="0 0 8 8"')
    assert response.text.count("<rect") == 64
    assert "The 7 that the model has learnt, from 179 samples" in response.text
    assert digits.get("/api/card/10").status_code == 422


@pytest.mark.parametrize("digit", DRAWINGS)
def test_a_drawn_digit_is_read(page, digit):
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#digit")).to_have_text("?")
    box = page.get_by_role("img", name="Drawing area").bounding_box()
    size = min(box["width"], box["height"]) * 0.8
    left, top = box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1
    for stroke in DRAWINGS[digit]:
        points = [(left + x / 100 * size, top + y / 100 * size) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()
    expect(page.get_by_text("% sure")).to_be_visible()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"digit-{digit}.png")
    expect(page.locator("#digit")).to_have_text(str(digit))


def test_the_page_has_no_errors(digits, page):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.on("response", lambda response: response.status >= 400 and errors.append(f"{response.status} {response.url}"))
    page.reload(wait_until="networkidle")
    assert errors == []


@pytest.mark.parametrize("path", ["/predict", "/api/predict"], ids=["called by Node", "over HTTP"])
def test_no_drawing_is_refused_by_python(digits, path):
    with digits.client() as client:
        assert client.post(path, json={"strokes": []}).status_code == 422
        assert client.post(path, json={"strokes": "none"}).status_code == 422
        answer = client.post(path, json={"strokes": [[[10, 0], [10, 50]]]}).json()
        assert len(answer["probabilities"]) == 10


def test_the_same_code_runs_without_bireme(digits):
    """The applications know nothing of Bireme: `node` and the example's own packages load them alone."""
    script = "require('./server.js'); process.exit(0)"
    done = subprocess.run(["node", "-e", script], cwd=DIGITS / "web", env=os.environ | {"PORT": "0"}, timeout=30)
    assert done.returncode == 0
    code = "import ml.app; assert ml.app.app.title == 'Digits'"
    assert subprocess.run([DIGITS / ".venv/bin/python", "-c", code], cwd=DIGITS, timeout=60).returncode == 0
