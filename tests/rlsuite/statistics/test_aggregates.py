"""By hand, against scipy and slow twins: one number for many runs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from registry.errors import SettingError
from rlsuite.statistics import area_under_curve, iqm, mean, median, optimality_gap

NAN = float("nan")


def slow_task_means(x):
    columns = [[v for v in column if not np.isnan(v)] for column in np.asarray(x).T]
    return [sum(runs) / len(runs) for runs in columns]


def slow_mean(x):
    """The definition, run by run."""
    means = slow_task_means(x)
    return sum(means) / len(means)


def slow_median(x):
    means = sorted(slow_task_means(x))
    middle = len(means) // 2
    return means[middle] if len(means) % 2 else (means[middle - 1] + means[middle]) / 2


def slow_gap(x, gamma=1.0):
    return gamma - slow_mean([[v if np.isnan(v) else min(v, gamma) for v in row] for row in x])


def slow_iqm(x):
    """The definition: sort what is there, cut a quarter from each side, average."""
    scores = sorted(v for v in np.ravel(x) if not np.isnan(v))
    cut = int(0.25 * len(scores))
    kept = scores[cut : len(scores) - cut]
    return sum(kept) / len(kept)


TWINS = {mean: slow_mean, median: slow_median, optimality_gap: slow_gap, iqm: slow_iqm}


def test_mean_by_hand():
    """Task means 2 and 10: 6. The second task has one run only, and counts the same."""
    assert mean([[1.0, 10.0], [3.0, NAN]]) == 6.0
    assert mean([1.0, 2.0, 6.0]) == 3.0


def test_median_by_hand():
    """Task means 2, 10 and 4: the middle one is 4; without it, halfway between 2 and 10."""
    assert median([[1.0, 10.0, 4.0], [3.0, NAN, 4.0]]) == 4.0
    assert median([[1.0, 10.0], [3.0, NAN]]) == 6.0
    assert median([1.0, 2.0, 6.0]) == 3.0  # one task: the mean of its runs


def test_optimality_gap_by_hand():
    """0.5 and 0.9 lack 0.5 and 0.1 of 1; 7 lacks nothing: 0.6/3 = 0.2."""
    assert optimality_gap([0.5, 0.9, 7.0]) == pytest.approx(0.2)
    assert optimality_gap([0.5, 0.9, 7.0], gamma=0.5) == 0.0
    # a task with one run counts as much as one with two: ((0 + 0.5)/2 + 1)/2
    assert optimality_gap([[1.0, 0.0], [0.5, NAN]]) == pytest.approx(0.625)


def test_iqm_by_hand():
    """Eight scores: two are cut from each side, (3 + 4 + 5 + 6) / 4 = 4.5."""
    assert iqm([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 800.0]]) == 4.5


def test_iqm_of_success_rates_is_a_clipped_line():
    """Why it is never used for them: 25% reads 0, 40% reads 0.3, 60% reads 0.7, 75% reads 1."""
    for successes, shown in ((25, 0.0), (40, 0.3), (60, 0.7), (75, 1.0)):
        scores = np.repeat([1.0, 0.0], [successes, 100 - successes])
        assert iqm(scores) == pytest.approx(shown)


@pytest.mark.parametrize("count", range(1, 30))
def test_iqm_is_scipys_trimmed_mean_to_the_last_bit(count):
    from scipy.stats import trim_mean

    rng = np.random.default_rng(count)
    for tasks in (1, 2, 5):
        x = rng.lognormal(size=(count, tasks))
        assert iqm(x) == trim_mean(x, 0.25, axis=None)


scores = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, width=32),
)


def with_holes(x, random):
    """Some runs missing, but one of each task."""
    x = x.copy()
    for column in range(x.shape[1]):
        for row in range(1, len(x)):
            if random.random() < 0.3:
                x[row, column] = NAN
    return x


@given(scores, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_ragged_statistics_equal_their_definitions(x, random):
    x = with_holes(x, random)
    batch = np.stack([x, x[::-1]])  # other places missing in each row
    for statistic, twin in TWINS.items():
        np.testing.assert_allclose(statistic(x), twin(x), rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(statistic(batch), [statistic(x)] * 2, rtol=1e-9, atol=1e-6)


def test_a_batch_may_miss_different_numbers_of_runs():
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    x[0, 0, 0] = x[1, 0, 1] = x[1, 2, 2] = NAN
    for statistic, twin in TWINS.items():
        np.testing.assert_allclose(statistic(x), [twin(one) for one in x])


@given(scores, st.floats(0.1, 10), st.floats(-100, 100))
@settings(max_examples=40)
def test_statistics_move_with_their_scores(x, scale, shift):
    for statistic in (mean, median, iqm):
        moved = statistic(scale * x + shift)
        np.testing.assert_allclose(moved, scale * statistic(x) + shift, rtol=1e-6, atol=1e-3)
        assert x.min() - 1e-6 <= statistic(x) <= x.max() + 1e-6
    moved = functools.partial(optimality_gap, gamma=scale + shift)(scale * x + shift)
    np.testing.assert_allclose(moved, scale * optimality_gap(x), rtol=1e-6, atol=1e-3)


def test_area_under_a_curve_by_hand():
    """From 0 to 10 it rises from 0 to 1, then stays until 20: (5 + 10) / 20."""
    areas = area_under_curve([[0.0, 1.0, 1.0], [NAN, NAN, NAN]], [0, 10, 20])
    np.testing.assert_array_equal(areas, [0.75, NAN])


def test_area_is_numpys_trapezoid_for_every_run_and_task():
    rng = np.random.default_rng(1)
    curves, steps = rng.normal(size=(3, 2, 7)), np.sort(rng.random(7))
    areas = area_under_curve(curves, steps)
    assert areas.shape == (3, 2)
    expected = np.trapezoid(curves[2, 1], steps) / (steps[-1] - steps[0])
    assert areas[2, 1] == pytest.approx(expected)


@given(st.floats(-1e3, 1e3), st.integers(2, 9))
@settings(max_examples=30)
def test_the_area_of_a_flat_curve_is_its_height(height, points):
    steps = np.cumsum(np.arange(1, points + 1))
    np.testing.assert_allclose(area_under_curve(np.full((2, points), height), steps), height)


def test_what_is_refused():
    for statistic in TWINS:
        with pytest.raises(SettingError, match="task 1 of 2 has no run at all"):
            statistic([[1.0, NAN], [2.0, NAN]])
        with pytest.raises(SettingError, match="must be finite"):
            statistic([1.0, float("inf")])
        with pytest.raises(SettingError, match=r"got an array of shape \(0,\)"):
            statistic([])
    with pytest.raises(SettingError, match=r"got curves of shape \(3,\) and steps of shape \(3,\)"):
        area_under_curve([1.0, 2.0, 3.0], [0, 1, 2])
    with pytest.raises(SettingError, match="two or more finite numbers that rise"):
        area_under_curve([[1.0, 2.0]], [1, 1])
    with pytest.raises(SettingError, match="curves must be finite"):
        area_under_curve([[1.0, float("inf")]], [0, 1])
    with pytest.raises(SettingError, match="the curve of run 1 has points missing"):
        area_under_curve([[1.0, 2.0], [1.0, NAN]], [0, 1])
