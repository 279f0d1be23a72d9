"""Pairs of runs: what both share leaves the difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from registry.errors import SettingError
from rlsuite.statistics import difference_interval, mean
from rlsuite.statistics.paired import paired_difference


def test_by_hand():
    """Differences 1, 2, 3: mean 2, error 1/√3, t_{0.975} of two degrees 4.302653."""
    found = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    interval = found.interval(0.95)
    half = 4.302652729911275 / np.sqrt(3)
    assert (interval.estimate, interval.method, interval.runs) == (2.0, "paired-t", (3,))
    np.testing.assert_allclose([interval.low, interval.high], [2.0 - half, 2.0 + half], rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_paired_t_test(seed):
    x, y = np.random.default_rng(seed).normal(size=(2, 8))
    found = paired_difference(x, y)
    expected = stats.ttest_rel(x, y)
    bounds = expected.confidence_interval(0.9)
    np.testing.assert_allclose(found.p_value(), expected.pvalue, rtol=1e-9)
    interval = found.interval(0.9)
    np.testing.assert_allclose([interval.low, interval.high], bounds, rtol=1e-9)


def test_what_both_share_leaves_the_difference():
    rng = np.random.default_rng(0)
    shared, noise = 100.0 * rng.normal(size=10), rng.normal(size=(2, 10))
    x, y = shared + noise[0] + 3.0, shared + noise[1]
    pairs = paired_difference(x, y).interval(0.95)
    apart = difference_interval(x, y, mean)
    assert pairs.estimate == pytest.approx(apart.estimate)
    assert pairs.high - pairs.low < 0.1 * (apart.high - apart.low)
    assert pairs.low > 0.0


def test_a_single_pair_and_equal_pairs():
    single = paired_difference([1.0], [0.0])
    assert single.p_value() is None
    assert single.interval(0.95).low is None
    equal = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert equal.p_value() == 1.0
    assert (equal.interval(0.95).low, equal.interval(0.95).high) == (0.0, 0.0)


def test_what_is_refused():
    with pytest.raises(SettingError, match=r"same length, got shapes \(2,\) and \(1,\)"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(SettingError, match="must be finite, got NaN"):
        paired_difference([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(SettingError, match=r"one number for each run"):
        paired_difference([], [])
