"""Wilson's intervals: by hand, against scipy, for policies, for runs, for profiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.statistics import performance_profile, success_interval, wilson_interval

NAN = float("nan")


def test_wilson_by_hand():
    """9 of 10, z = 1.96: centre (0.9 + 0.19208)/1.38416, half 1.96 √(0.009 + 0.009604)/1.38416."""
    got = wilson_interval(9, 10)
    assert got.low == pytest.approx(0.78896 - 0.19314, abs=2e-4)
    assert got.high == pytest.approx(0.78896 + 0.19314, abs=2e-4)
    assert (got.estimate, got.method, got.n) == (0.9, "wilson", 10)


@given(st.integers(1, 200), st.data())
@settings(max_examples=60)
def test_wilson_is_scipys(trials, data):
    from scipy.stats import binomtest

    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(0.9, method="wilson")
    got = wilson_interval(successes, trials, level=0.9)
    np.testing.assert_allclose([got.low, got.high], [expected.low, expected.high], atol=1e-12)
    assert 0.0 <= got.low <= got.estimate <= got.high <= 1.0


def test_success_of_runs_by_hand():
    """Rates 0.4, 0.6, 0.8: mean 0.6, s² = 0.04, worth 0.24 / (0.04/3) = 18 trials, t = 4.303."""
    got = success_interval([4, 6, NAN, 8], 10)
    square = 4.302653**2 / 18
    centre = (0.6 + square / 2) / (1 + square)
    half = 4.302653 * np.sqrt(0.24 / 18 + square / (4 * 18)) / (1 + square)
    np.testing.assert_allclose([got.low, got.high], [centre - half, centre + half], rtol=1e-6)
    assert (got.method, got.n, got.runs) == ("wilson-runs", 3, (3,))


def test_runs_are_worth_no_more_than_their_episodes():
    """Rates that differ less than chance would have it: 30 episodes, not more."""
    got = success_interval([5, 5, 6], 10)
    share = 16 / 30
    square = 4.302653**2 / 30
    low = (share + square / 2 - np.sqrt(square * share * (1 - share) + square**2 / 4)) / (
        1 + square
    )
    assert got.low == pytest.approx(low, rel=1e-6)


def test_equal_rates_count_each_run_once():
    """All of 5 runs at 100%: the sixth may still fail."""
    got = success_interval([10, 20, 10, 10, 10], [10, 20, 10, 10, 10])
    square = 2.776445**2 / 5
    assert got.high == 1.0
    assert got.low == pytest.approx(1 / (1 + square), rel=1e-6)
    assert "same rate" in got.note
    never = success_interval([0, 0, 0], 10)
    assert never.low == 0.0
    assert never.high > 0.5


def test_a_single_run_speaks_of_its_policy_alone():
    got = success_interval([9], 10)
    fixed = wilson_interval(9, 10)
    assert (got.low, got.high, got.method, got.n) == (fixed.low, fixed.high, "wilson", 1)
    assert "not of the algorithm" in got.note


def test_profile_by_hand():
    """Task means of the shares above 1: (2/3 + 1/2)/2; above 5: 0."""
    x = [[1.0, 0.0], [2.0, 3.0], [4.0, NAN]]
    got = performance_profile(x, [1.0, 5.0])
    np.testing.assert_allclose(got.fraction, [7 / 12, 0.0])
    smooth = [(2 + 0.5) / 4, (1 + 0.5) / 3]
    variance = (smooth[0] * (1 - smooth[0]) / 3 + smooth[1] * (1 - smooth[1]) / 2) / 4
    centre = sum(smooth) / 2
    worth = centre * (1 - centre) / variance
    square = 1.959964**2 / worth
    half = 1.959964 * np.sqrt(7 / 12 * 5 / 12 / worth + square / (4 * worth)) / (1 + square)
    middle = (7 / 12 + square / 2) / (1 + square)
    np.testing.assert_allclose([got.low[0], got.high[0]], [middle - half, middle + half], rtol=1e-6)
    assert got.low[1] == 0.0
    assert got.high[1] > 0.0
    assert (got.method, got.runs, got.note) == ("wilson-stratified", (3, 2), "")


def test_with_one_task_a_profile_is_wilsons_interval_of_a_share():
    x = np.arange(10.0)
    got = performance_profile(x, [6.5])
    one = wilson_interval(3, 10)
    # n = p̃ (1 - p̃) / (p̃ (1 - p̃)/N) = N
    np.testing.assert_allclose([got.low[0], got.high[0]], [one.low, one.high])


@given(st.integers(0, 500))
@settings(max_examples=30)
def test_profiles_fall_from_one_to_zero_inside_their_bands(seed):
    x = np.random.default_rng(seed).normal(size=(4, 3))
    got = performance_profile(x, np.linspace(x.min() - 1, x.max() + 1, 25))
    assert (got.fraction[0], got.fraction[-1]) == (1.0, 0.0)
    assert (np.diff(got.fraction) <= 0).all()
    assert (got.low >= 0).all()
    assert (got.low <= got.fraction + 1e-12).all()
    assert (got.fraction <= got.high + 1e-12).all()
    assert (got.high <= 1).all()


def test_a_single_run_has_no_band():
    got = performance_profile([[1.0, 2.0], [2.0, NAN]], [1.5])
    assert (got.low, got.high) == (None, None)
    assert "no band" in got.note
    np.testing.assert_allclose(got.fraction, [0.75])


def test_what_is_refused():
    for successes, trials in ((11, 10), (-1, 10), (0, 0), (0.5, 1)):
        with pytest.raises(SettingError, match="whole numbers with 0 <= successes <= trials"):
            wilson_interval(successes, trials)
    with pytest.raises(SettingError, match=r"level must be in \(0, 1\)"):
        wilson_interval(1, 2, level=0)
    with pytest.raises(SettingError, match=r"successes are one number for each run \[N\]"):
        success_interval([[1, 2]], 10)
    with pytest.raises(SettingError, match="one for each of the 3"):
        success_interval([1, 2, 3], [10, 10])
    with pytest.raises(SettingError, match="there is no run at all"):
        success_interval([NAN], 10)
    with pytest.raises(SettingError, match="each run needs 0 <= successes <= trials"):
        success_interval([1, 11], 10)
    with pytest.raises(SettingError, match="thresholds are finite numbers"):
        performance_profile([1.0, 2.0], [NAN])
