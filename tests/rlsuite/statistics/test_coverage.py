"""A 95% interval holds the truth in about 95% of data sets: a claim, so a test."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite.statistics import bootstrap_interval, iqm, student_t_interval

pytestmark = pytest.mark.slow
SETS = 400


def draw(rng, sets, runs, tasks, shape):
    """Scores whose tasks differ in mean and spread: normal, or lognormal and so skewed."""
    centre, spread = rng.normal(0, 0.5, tasks), 0.3 * np.exp(rng.normal(0, 0.5, tasks))

    def sample(*size):
        z = rng.normal(size=(*size, tasks))
        return centre + spread * (z if shape == "normal" else np.exp(0.8 * z) - np.exp(0.32))

    return sample(sets, runs), iqm(sample(200_000))


def coverage(runs, tasks, method):
    """Share of data sets whose interval holds the population's IQM, and how many sets."""
    rng = np.random.default_rng(1000 * tasks + runs)
    hits = total = 0
    for _ in range(5):
        for shape in ("normal", "lognormal"):
            x, truth = draw(rng, SETS // 5, runs, tasks, shape)
            for seed, one in enumerate(x):
                got = bootstrap_interval(one, seed=seed, resamples=1000, method=method)
                hits += got.low <= truth <= got.high
                total += 1
    return hits / total, total


def four_errors(share, count):
    """Four standard errors of a share, so that a right claim fails once in 16,000."""
    return 4 * np.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize(
    ("tasks", "runs", "at_least", "at_most"),
    [
        (2, 3, 0.93, 0.98),
        (2, 5, 0.92, 0.98),
        (4, 3, 0.93, 0.98),
        (4, 5, 0.93, 0.98),
        (8, 3, 0.91, 0.97),
        (8, 5, 0.92, 0.97),
        (26, 5, 0.93, 0.97),
    ],
)
def test_the_interval_of_the_iqm_covers(tasks, runs, at_least, at_most):
    share, count = coverage(runs, tasks, "auto")
    error = four_errors(0.95, count)
    assert at_least - error <= share <= at_most + error, share


def test_the_plain_percentile_interval_does_not_cover():
    """Why it is not the default."""
    share, count = coverage(3, 2, "percentile")
    assert share < 0.95 - four_errors(0.95, count)


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_students_t_covers_normal_runs_exactly(runs):
    rng = np.random.default_rng(runs)
    sets = 8000
    hits = 0
    for x in rng.normal(2.0, 3.0, size=(sets, runs)):
        got = student_t_interval(x)
        hits += got.low <= 2.0 <= got.high
    assert abs(hits / sets - 0.95) < four_errors(0.95, sets)
