"""Tolerance intervals against published tables and against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite.statistics import tolerance_interval
from rlsuite.statistics.tolerance import normal_factor


@pytest.mark.parametrize(
    ("runs", "content", "level", "factor"),
    [
        # exact two-sided factors for unknown mean and deviation (ISO 16269-6:2014, table E)
        (2, 0.90, 0.95, 31.092),
        (5, 0.95, 0.95, 5.077),
        (10, 0.90, 0.95, 2.856),
        (10, 0.95, 0.95, 3.393),
        (20, 0.99, 0.95, 3.621),
        (100, 0.95, 0.95, 2.234),
    ],
)
def test_normal_factors_are_those_of_the_tables(runs, content, level, factor):
    assert normal_factor(runs, content, level) == pytest.approx(factor, abs=1.5e-3)


def test_normal_intervals_hold_their_content_as_often_as_they_say():
    """A share of 4,000 samples has standard deviation √(0.95 x 0.05 / 4000) = 0.0034."""
    from scipy.special import ndtr

    x = np.random.default_rng(0).normal(size=(4000, 6))
    half = normal_factor(6, 0.8, 0.95) * x.std(axis=1, ddof=1)
    inside = ndtr(x.mean(axis=1) + half) - ndtr(x.mean(axis=1) - half)
    assert (inside >= 0.8).mean() == pytest.approx(0.95, abs=4 * 0.0034)


def test_it_takes_46_runs_for_90_percent_without_assumptions():
    """1 - 0.9^46 - 46 x 0.1 x 0.9^45 = 0.952, with 45 runs 0.948."""
    x = np.random.default_rng(1).normal(size=46)
    enough = tolerance_interval(x)
    assert (enough.method, enough.low, enough.high) == ("nonparametric", x.min(), x.max())
    short = tolerance_interval(x[:45])
    assert short.method == "normal"
    assert "normal runs" in short.note
    forced = tolerance_interval(x[:45], method="nonparametric")
    assert (forced.low, forced.high) == (None, None)
    assert "it takes 46 runs" in forced.note


def test_more_runs_let_the_outermost_go():
    """The second smallest and largest hold 90% with confidence 95% from 76 runs on."""
    from scipy.stats import beta

    assert beta.sf(0.9, 76 + 1 - 4, 4) >= 0.95 > beta.sf(0.9, 75 + 1 - 4, 4)
    x = np.arange(76.0)
    got = tolerance_interval(x)
    assert (got.low, got.high) == (1.0, 74.0)
    assert tolerance_interval(x[:75]).low == 0.0


def test_normal_by_hand():
    """1, 2, 3 and a missing run: 2 ± k, with s = 1."""
    got = tolerance_interval([1.0, 2.0, 3.0, float("nan")])
    factor = normal_factor(3, 0.9, 0.95)
    np.testing.assert_allclose([got.low, got.high], [2 - factor, 2 + factor])
    assert got.n == 3


def test_one_run_and_equal_runs_say_so():
    one = tolerance_interval([1.0])
    assert (one.low, one.high) == (None, None)
    assert "a single run" in one.note
    assert "all runs are equal" in tolerance_interval([1.0, 1.0]).note


def test_what_is_refused():
    with pytest.raises(SettingError, match="for the runs of one task, got 2 tasks"):
        tolerance_interval([[1.0, 2.0]])
    with pytest.raises(SettingError, match="content is a share of the runs"):
        tolerance_interval([1.0, 2.0], content=1.0)
    with pytest.raises(SettingError, match="level must be in"):
        tolerance_interval([1.0, 2.0], level=0.0)
    with pytest.raises(SettingError, match="method must be one of"):
        tolerance_interval([1.0, 2.0], method="magic")  # type: ignore[arg-type]
