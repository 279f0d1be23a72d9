"""Means over runs and their bands, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite.records import CurvePoint, TrainingCurve
from rlsuite.reporting.curves import (
    band,
    clock_series,
    learning_series,
    regret_series,
    run_dots,
)
from rlsuite.statistics import student_t_interval

GRID, BANDIT = "rlsuite/GridWorld-v0", "rlsuite/BernoulliBandit-v0"


def points(*pairs, regret=None):
    return tuple(CurvePoint(step=s, mean_return=v, regret=regret) for s, v in pairs)


def training(steps, regret):
    steps, regret = np.asarray(steps), np.asarray(regret, dtype=float)
    empty = np.full(len(steps), np.nan)
    return TrainingCurve(
        step=steps,
        mean=empty,
        minimum=empty,
        maximum=empty,
        length=empty,
        regret=regret,
        episodes=np.zeros(len(steps), dtype=np.int64),
    )


def test_band_by_hand():
    """First point: 1, 2, 3. Second: one run only. Third: none."""
    nan = np.nan
    mean, low, high = band(np.array([[1.0, 5.0, nan], [2.0, nan, nan], [3.0, nan, nan]]))
    expected = student_t_interval([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(mean, [2.0, 5.0, nan])
    np.testing.assert_allclose(low, [expected.low, nan, nan], rtol=1e-14)
    np.testing.assert_allclose(high, [expected.high, nan, nan], rtol=1e-14)


def test_learning_curves_are_means_over_the_runs_that_finished(make_record):
    records = [
        make_record(GRID, "q", 0, curve=points((10, 0.0), (20, 1.0))),
        make_record(GRID, "q", 1, curve=points((10, 1.0), (20, 1.0))),
        make_record(GRID, "q", 2, state="failed", error="boom"),
        make_record(GRID, "none", 0),
    ]
    (series,) = learning_series(records, {"q": 3, "none": 0})
    assert (series.label, series.style) == ("q", 3)
    np.testing.assert_array_equal(series.x, [10, 20])
    np.testing.assert_array_equal(series.y, [0.5, 1.0])


def test_steps_that_differ_a_little_line_up_by_index(make_record):
    records = [
        make_record(GRID, "q", 0, curve=points((10, 0.0), (20, 2.0))),
        make_record(GRID, "q", 1, curve=points((12, 1.0), (22, 4.0))),
    ]
    (series,) = learning_series(records, {"q": 0})
    np.testing.assert_array_equal(series.x, [11, 21])
    np.testing.assert_array_equal(series.y, [0.5, 3.0])


def test_curves_of_different_length_line_up_by_step(make_record):
    records = [
        make_record(GRID, "q", 0, curve=points((10, 0.0), (20, 2.0))),
        make_record(GRID, "q", 1, curve=points((10, 1.0))),
    ]
    (series,) = learning_series(records, {"q": 0})
    np.testing.assert_array_equal(series.x, [10, 20])
    np.testing.assert_array_equal(series.y, [0.5, 2.0])
    assert np.isnan(series.low[1])


def test_regret_of_policies_comes_from_the_evaluation_points(make_record):
    records = [make_record(GRID, "q", 0, curve=points((10, 0.0), regret=0.93))]
    (series,) = regret_series(records, {"q": 0})
    np.testing.assert_array_equal(series.y, [0.93])
    assert (
        regret_series([make_record("CartPole-v1", "q", 0, curve=points((1, 2.0)))], {"q": 0}) == []
    )


def test_regret_of_bandits_is_cumulative_from_zero_and_interpolated(make_record):
    """One run tells its regret at 10 and 20, the other at 20 alone: at 10 it counts 2."""
    records = [
        make_record(BANDIT, "u", 0, regret=3.0, training=training([10, 20], [1.0, 3.0])),
        make_record(BANDIT, "u", 1, regret=4.0, training=training([10, 20], [np.nan, 4.0])),
        make_record(BANDIT, "silent", 0, training=training([10], [np.nan])),
        make_record(BANDIT, "bare", 0),
    ]
    (series,) = regret_series(records, {"u": 1, "silent": 0, "bare": 2})
    np.testing.assert_array_equal(series.x, [0, 10, 20])
    np.testing.assert_array_equal(series.y, [0.0, 1.5, 3.5])
    assert series.low[0] == series.high[0] == 0.0


def test_long_regret_curves_have_at_most_200_points(make_record):
    curve = training(np.arange(1, 2001), np.sqrt(np.arange(1, 2001)))
    (series,) = regret_series([make_record(BANDIT, "u", 0, training=curve)], {"u": 0})
    assert len(series.x) == 200
    assert series.y[-1] == pytest.approx(np.sqrt(2000))


def test_every_run_is_a_dot(make_record):
    records = [make_record(GRID, "q", s, mean_return=float(s)) for s in range(3)]
    records += [make_record(GRID, "r", s, state="failed", error="x") for s in range(2)]
    q, r = run_dots(records, ["q", "r"], {"q": 0, "r": 1}, "mean_return")
    assert q.points == (("seed 0", 0.0), ("seed 1", 1.0), ("seed 2", 2.0))
    assert q.mean.estimate == 1.0
    assert (r.points, r.mean, r.note) == ((), None, "2 of 2 failed")


def timed(*triples):
    return tuple(CurvePoint(step=s, mean_return=v, train_seconds=t) for s, v, t in triples)


def test_curves_against_the_clock_stand_at_the_mean_of_the_seconds(make_record):
    records = [
        make_record(GRID, "q", 0, curve=timed((10, 0.0, 1.0), (20, 1.0, 2.0))),
        make_record(GRID, "q", 1, curve=timed((10, 1.0, 3.0), (20, 2.0, 6.0))),
        make_record(GRID, "untimed", 0, curve=points((10, 0.5))),
        make_record(GRID, "failed", 0, state="failed", error="no"),
    ]
    (series,) = clock_series(records, {"q": 0, "untimed": 1, "failed": 2})
    np.testing.assert_array_equal(series.x, [2.0, 4.0])
    np.testing.assert_array_equal(series.y, [0.5, 1.5])


def test_too_many_dots_are_thinned_for_each_agent_but_means_are_of_all(make_record):
    records = [make_record(GRID, "q", s, score=s / 100) for s in range(100)]
    records += [make_record(GRID, "r", s, score=0.5) for s in range(20)]
    few = run_dots(records, ["q", "r"], {"q": 0, "r": 1}, "score", limit=60)
    assert [(len(line.points), line.runs) for line in few] == [(50, 100), (10, 20)]
    assert [name for name, _ in few[0].points][:: len(few[0].points) - 1] == ["seed 0", "seed 99"]
    assert few[0].mean.estimate == pytest.approx(0.495)
