"""Known answers: real interpreters run functions whose truth is known, and `bireme compare` reports each as what it is (issue 5).

Rates over many seeds are in crates/compare/tests/known_answers.rs; here one run of each goes through real processes, so bounds are wide.
"""

import pytest

from test_compare import SHORT, compare, document, functions

# Both draw from the same numbers, so that a launch's mean is the same but for the factor.
DELAYS = [0.8, 1.25, 1.0, 0.9, 1.1, 1.0, 0.95, 1.05]
SLEEP_JS = f"""
const delays = {DELAYS};
let n = 0;
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
exports.score = () => {{ sleep(8 * delays[n++ % 8]); return 1; }};
"""
SLEEP_PY = f"""
import itertools, time
DELAYS = itertools.cycle({DELAYS})

def score(case):
    time.sleep(FACTOR * 0.008 * next(DELAYS))
    return 1
"""


def measures(folder) -> dict:
    return {measure["id"]: measure for measure in document(folder)["comparisons"][0]["measures"]}


def test_a_true_ratio_is_recovered(tmp_path):
    done = functions(tmp_path, js=SLEEP_JS, py=SLEEP_PY.replace("FACTOR", "3"), launch="0.4")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, at_least in (("latency_p50", True), ("throughput", False)):
        measure = measures(tmp_path)[name]
        ratio = measure["ratio"]["estimate"] if at_least else 1 / measure["ratio"]["estimate"]
        # A busy machine is late for both, which draws the ratio towards 1.
        assert 2.0 < ratio < 3.4, measure
        assert measure["verdict"]["winner"] == "Node" and measure["verdict"]["kind"] in ("better", "better_size_uncertain"), measure["verdict"]
    assert "faster at p50" in done.stdout


def test_identical_sides_get_no_large_verdict(tmp_path):
    (tmp_path / "same.py").write_text(SLEEP_PY.replace("FACTOR", "0.5"))
    done = compare(tmp_path, "./same.py:score", "./same.py:score", "--input", "cases.jsonl", "--launch", "0.2", *SHORT, cases_jsonl="1\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [side["name"] for side in document(tmp_path)["comparisons"][0]["sides"]] == ["left", "right"]
    # One in twenty may be told apart by luck, but then by little: these are the same processes in a random order.
    sizes = [(name, measure["verdict"]) for name, measure in measures(tmp_path).items() if measure["verdict"]["kind"] == "better"]
    assert all(verdict["factor"] < 1.25 for _, verdict in sizes), sizes


def test_a_slow_warm_up_and_no_steady_state_are_results(tmp_path):
    # The first 40 calls take five times as long; the other side grows slower with time, to the end.
    warming = "let n = 0;\nconst sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);\n"
    warming += "exports.score = () => { sleep(n++ < 40 ? 10 : 2); return 1; };\n"
    growing = "import time\nBEGAN = time.monotonic()\n\ndef score(case):\n    passed = min(time.monotonic() - BEGAN, 3)\n"
    growing += "    time.sleep(0.0005 * (1 + 8 * passed**2))\n    return 1\n"
    done = functions(tmp_path, js=warming, py=growing, launch="1", cases="1\n")
    assert done.returncode == 0, done.stdout + done.stderr
    launches = document(tmp_path)["comparisons"][0]["launches"]
    classes = {side: [launch["warm_up"]["class"] for launch in launches if launch["side"] == side] for side in ("node", "python")}
    assert classes["node"].count("warm_up") >= 8, classes
    assert classes["python"].count("no_steady_state") >= 8, classes
    assert "launches became faster until" in done.stdout and "launches came to no steady state; their second half was taken" in done.stdout


def test_a_heavy_tail_shows_at_p99_alone(tmp_path):
    # One call in fifty takes forty times as long; both are of one language, so that nothing else differs.
    spin = "const spin = (us) => { const until = process.hrtime.bigint() + BigInt(us * 1000); while (process.hrtime.bigint() < until); };\n"
    files = {
        "even_js": spin + "exports.score = () => { spin(15); return 1; };\n",
        "tail_js": spin + "let n = 0;\nexports.score = () => { spin(n++ % 50 ? 15 : 600); return 1; };\n",
        "cases_jsonl": "1\n",
    }
    done = compare(tmp_path, "./even.js:score", "./tail.js:score", "--input", "cases.jsonl", "--launch", "0.8", *SHORT, **files)
    assert done.returncode == 0, done.stdout + done.stderr
    p50, p99 = (measures(tmp_path)[name] for name in ("latency_p50", "latency_p99"))
    assert p99["verdict"]["winner"] == "./even.js:score", p99
    assert p99["ratio"]["estimate"] > 3 * p50["ratio"]["estimate"], (p50, p99)
    assert 0.8 < p50["ratio"]["estimate"] < 1.25, p50


def test_one_wrong_answer_in_500_is_reported(tmp_path):
    # Never for the same case: each launch counts for itself, from a place of its own.
    py = "import itertools, os\nN = itertools.count(os.getpid())\n\ndef score(case):\n    return {'score': sum(case['items']) + (next(N) % 500 == 0)}\n"
    done = functions(tmp_path, py=py, launch="10")
    assert "answers differ, so there is no verdict on speed" in done.stdout, done.stdout + done.stderr
    comparison = document(tmp_path)["comparisons"][0]
    difference = comparison["equality"]["differences"][0]
    assert difference["path"] == "$.score" and difference["class"] == "unstable", difference
    assert 0 < difference["right_twin"] <= difference["compared"] / 50 and difference["left_twin"] == 0, difference
    assert comparison["measures"] == []


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A short run with a known ratio of 3, and a condition of its own that `--reproduce` replaces."""
    folder = tmp_path_factory.mktemp("measured")
    done = functions(folder, "--fail-if", "python.p50 > 1us", js=SLEEP_JS, py=SLEEP_PY.replace("FACTOR", "3"), launch="0.15")
    assert done.returncode == 1 and "FAILED: python.p50 > 1us holds" in done.stdout, done.stdout + done.stderr
    return folder


def test_a_run_fails_by_what_its_intervals_show(measured):
    conditions = {
        "python.p50 > 1.2 * node.p50": "FAILED: python.p50 > 1.2 * node.p50 holds",
        "python.p50 > 50 * node.p50": "ok: python.p50 > 50 * node.p50 does not hold",
        "python.p99 > 1.2 * node.p99": "FAILED: python.p99 > 1.2 * node.p99 cannot be judged: latency_p99 was not measured",
        "python.p50 > 1.2 * nodejs.p50": "FAILED: python.p50 > 1.2 * nodejs.p50 cannot be judged: score: it has no side nodejs",
    }
    flags = [word for condition in conditions for word in ("--fail-if", condition)]
    done = compare(measured, "--reproduce", "out/compare.json", "--out", "again", *flags)
    assert done.returncode == 1, done.stderr
    assert [said for said in conditions.values() if said not in done.stdout] == [], done.stdout
    assert "1us" not in done.stdout, "conditions of now take the place of those of then"


def test_a_repetition_takes_no_other_settings(measured):
    done = compare(measured, "--reproduce", "out/compare.json", "--quick")
    assert done.returncode == 2 and "cannot be used with" in done.stderr, done.stderr
    done = compare(measured, "--reproduce", "nothing.json")
    assert done.returncode == 2 and "nothing.json: it cannot be read" in done.stderr, done.stderr


def test_a_thorough_run_rests_more_than_once(tmp_path):
    arguments = ("./score.js:score", "./score.py:score", "--input", "cases.jsonl", "--thorough", "--blocks", "6", "--launch", "0.05", "--rest", "0.1")
    files = {"score_js": "exports.score = (n) => n;\n", "score_py": "def score(n):\n    return n\n", "cases_jsonl": "1\n2\n"}
    done = compare(tmp_path, *arguments, "--out", "out", **files)
    assert done.returncode == 0, done.stdout + done.stderr
    written = document(tmp_path)
    after = measures(tmp_path)["memory_after"]
    assert written["settings"]["effort"] == "thorough" and after["condition"] == "0.1 s of rest"
    assert after["left"]["launches"] == 12 and len(after["ratio"]["blocks"]) == 6, "fewer blocks carry no verdict"
