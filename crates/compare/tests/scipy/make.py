"""Writes reference.json: what SciPy says about inputs that ../scipy.rs gives to our own statistics.

    pip install scipy && python make.py
"""

import json
import random
from pathlib import Path

import numpy
import scipy
from scipy import stats

CONFIDENCE = 0.95


def sample(draw: random.Random, count: int, shift: float) -> list[float]:
    return [draw.gauss(shift, 0.1) for _ in range(count)]


def of_one_sample(values: list[float]) -> dict:
    low, high = stats.t.interval(CONFIDENCE, len(values) - 1, loc=numpy.mean(values), scale=stats.sem(values))
    flips = stats.permutation_test((values,), numpy.mean, permutation_type="samples", n_resamples=numpy.inf)
    resampled = stats.bootstrap((values,), numpy.mean, confidence_level=CONFIDENCE, n_resamples=200_000, method="percentile", rng=1)
    return {
        "values": values,
        "t_interval": [low, high],
        "t_test": stats.ttest_1samp(values, 0.0).pvalue,
        "sign_flip": flips.pvalue,
        "bootstrap": [resampled.confidence_interval.low, resampled.confidence_interval.high],
    }


def of_two_samples(left: list[float], right: list[float]) -> dict:
    # Cliff's delta is the rank-biserial correlation of Mann and Whitney's U.
    wins = stats.mannwhitneyu(right, left).statistic
    welch = stats.ttest_ind(right, left, equal_var=False).confidence_interval(CONFIDENCE)
    delta = 2 * wins / (len(left) * len(right)) - 1
    return {"left": left, "right": right, "cliffs_delta": delta, "welch_interval": [welch.low, welch.high]}


def main() -> None:
    draw = random.Random(20)
    one = [of_one_sample(sample(draw, count, shift)) for count in (6, 10, 12) for shift in (0.0, 0.05, 0.3)]
    two = [of_two_samples(sample(draw, 12, 0.0), sample(draw, 12, shift)) for shift in (0.0, 0.1, 1.0)]
    two.append(of_two_samples([1.0, 2.0, 2.0], [2.0, 2.0, 3.0]))
    counts = [(1, 500, 0, 1000), (5, 100, 2, 200), (40, 50, 90, 100), (3, 3, 0, 6), (0, 10, 3, 20)]
    fisher = [
        {"counts": c, "greater": stats.fisher_exact([[c[0], c[1] - c[0]], [c[2], c[3] - c[2]]], alternative="greater").pvalue}
        for c in counts
    ]
    quantiles = [{"values": values, "q": q, "quantile": float(numpy.quantile(values, q))} for values in [sample(draw, 7, 1.0)] for q in (0.0, 0.1, 0.5, 0.99, 1.0)]
    answer = {"scipy": scipy.__version__, "one_sample": one, "two_samples": two, "fisher": fisher, "quantiles": quantiles}
    (Path(__file__).parent / "reference.json").write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
