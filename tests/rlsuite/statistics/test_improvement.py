"""The probability of improvement: by hand, against scipy and a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.statistics import probability_of_improvement, resampling

NAN = float("nan")


def slow_improvement(x, y):
    """The definition, pair of runs by pair of runs."""
    tasks = []
    for a, b in zip(np.asarray(x).T, np.asarray(y).T, strict=True):
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        tasks.append(np.mean([1.0 * (v > w) + 0.5 * (v == w) for v in a for w in b]))
    return np.mean(tasks)


def test_by_hand():
    """3 beats 1 and 2, 2 beats 1 and ties 2: (2 + 1.5) / 4."""
    assert probability_of_improvement([3.0, 2.0], [1.0, 2.0]).estimate == 0.875


def test_against_scipys_mann_whitney():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=6).round(1), rng.normal(size=9).round(1)
    u = mannwhitneyu(x, y).statistic
    assert probability_of_improvement(x, y).estimate == pytest.approx(u / 54)


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_ragged_tables_equal_the_slow_twin_and_sum_to_one(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, size=(5, 3)) * 1.0, rng.integers(0, 4, size=(4, 3)) * 1.0
    x[rng.integers(1, 5), 0] = NAN
    y[3, rng.integers(0, 3)] = NAN
    forth = probability_of_improvement(x, y, resamples=100)
    back = probability_of_improvement(y, x, resamples=100)
    assert forth.estimate == pytest.approx(slow_improvement(x, y))
    assert forth.estimate + back.estimate == pytest.approx(1.0)
    assert 0.0 <= forth.low <= forth.estimate <= forth.high <= 1.0


def test_replicates_equal_the_slow_twin():
    """The 10th and 90th percentile of replicates made one by one from the same draws."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.3, 1, size=(4, 3)), rng.normal(size=(5, 3))
    y[4, 1] = NAN
    got = probability_of_improvement(x, y, seed=3, resamples=200, level=0.8, method="percentile")
    keys = [
        resampling.key_of(3, resampling.member_of(f"improvement {word}")) for word in ("of", "over")
    ]
    columns = np.arange(3)
    i = resampling.draws(keys[0], x.shape, np.array([4, 4, 4]), 0, 200)
    j = resampling.draws(keys[1], y.shape, np.array([5, 4, 5]), 0, 200)
    values = []
    for a, b in zip(i, j, strict=True):
        again = y[b, columns]
        again[4, 1] = NAN
        values.append(slow_improvement(x[a, columns], again))
    tail = (1 - 0.8) / 2
    np.testing.assert_allclose(
        [got.low, got.high], np.percentile(values, [100 * tail, 100 * (1 - tail)])
    )
    assert (got.method, got.resamples, got.seed) == ("percentile", 200, 3)


def test_batches_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, 9)), rng.normal(size=(5, 9))
    whole = probability_of_improvement(x, y, resamples=300)
    assert whole.method == "expanded-t"
    monkeypatch.setattr("rlsuite.statistics.improvement._CHUNK", 2000)
    assert probability_of_improvement(x, y, resamples=300) == whole


def slow_newcombe(theta, n, k, z):
    """The ends solve |t - θ̂| = z √V(t): looked for on a fine grid."""
    t = np.linspace(0, 1, 2_000_001)
    half = (n + k) / 2
    spread = t * (1 - t) * (1 + (half - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (n * k)
    inside = t[np.abs(t - theta) <= z * np.sqrt(spread) + 1e-12]
    return inside.min(), inside.max()


@pytest.mark.parametrize(("x", "y"), [([3, 2, 5], [1, 2]), ([7, 8, 9], [1, 2]), ([1, 1], [1, 1])])
def test_one_task_has_newcombes_interval(x, y):
    got = probability_of_improvement(x, y)
    low, high = slow_newcombe(got.estimate, len(x), len(y), 1.959964)
    assert got.low == pytest.approx(low, abs=2e-6)
    assert got.high == pytest.approx(high, abs=2e-6)
    assert got.method == "newcombe"


def test_runs_that_do_not_overlap_are_not_taken_for_certain():
    x = np.arange(9.0).reshape(3, 3)
    one = probability_of_improvement(x[:, 0] + 100, x[:, 0])
    several = probability_of_improvement(x + 100, x)
    assert (one.estimate, one.high, several.estimate, several.high) == (1.0, 1.0, 1.0, 1.0)
    assert one.low < several.low < 1.0
    # three like tasks: a third of the summed squares under the root
    assert 1 - several.low == pytest.approx((1 - one.low) / 3**0.5)
    assert several.method == "newcombe"
    assert "do not overlap" in several.note


def test_one_run_has_no_interval_and_says_so():
    got = probability_of_improvement([1.0], [0.0, 2.0])
    assert (got.estimate, got.low, got.high) == (0.5, None, None)
    assert "single run" in got.note
    plain = probability_of_improvement([[1.0, 2.0]], [[0.0, 1.0]], method="percentile")
    assert (plain.low, plain.method) == (None, "percentile")


def test_what_is_refused():
    with pytest.raises(SettingError, match="method must be one of"):
        probability_of_improvement([1.0, 2.0], [1.0, 2.0], method="expanded")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="level must be in"):
        probability_of_improvement([1.0, 2.0], [1.0, 2.0], level=1.0)
    with pytest.raises(SettingError, match="task 0 of 1 has no run"):
        probability_of_improvement([NAN], [1.0, 2.0])


def test_many_runs_need_no_replicates_and_agree_with_them():
    """40 runs: the same estimate as pair by pair, and ends near those of the bootstrap."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(0.4, 1, size=(40, 3)).round(1), rng.normal(size=(45, 3)).round(1)
    y[44, 1] = NAN
    got = probability_of_improvement(x, y)
    assert got.method == "newcombe"
    assert got.resamples == 0
    assert got.estimate == pytest.approx(slow_improvement(x, y))
    drawn = probability_of_improvement(x, y, method="percentile", resamples=4_000)
    assert got.low == pytest.approx(drawn.low, abs=0.02)
    assert got.high == pytest.approx(drawn.high, abs=0.02)
