"""By hand, against scipy, against slow twins, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite.statistics import (
    area_under_curve,
    bootstrap_interval,
    intervals,
    iqm,
    mean,
    median,
    optimality_gap,
    resampling,
    student_t_interval,
)

NAN = float("nan")


def test_student_t_by_hand():
    """1, 2, 3: mean 2, s = 1, t_{0.975, 2} = 4.30265 (any table), half width 4.30265/√3."""
    got = student_t_interval([1.0, 2.0, 3.0, NAN])
    assert got.estimate == 2.0
    assert got.high - 2.0 == pytest.approx(4.30265 / 3**0.5, rel=1e-6)
    assert 2.0 - got.low == pytest.approx(got.high - 2.0)
    assert (got.method, got.n, got.runs, got.level) == ("student-t", 3, (3,), 0.95)


def test_student_t_agrees_with_scipy():
    from scipy.stats import t

    x = np.random.default_rng(3).normal(size=7)
    low, high = t.interval(0.9, 6, loc=x.mean(), scale=x.std(ddof=1) / 7**0.5)
    got = student_t_interval(x, level=0.9)
    np.testing.assert_allclose([got.low, got.high], [low, high], rtol=1e-12)


@pytest.mark.parametrize("tasks", [2, 6, 20])
def test_an_interval_holds_its_estimate_and_moves_with_the_scores(tasks):
    x = np.random.default_rng(tasks).normal(size=(5, tasks))
    one = bootstrap_interval(x, seed=1, resamples=2000)
    assert one.low < one.estimate < one.high
    moved = bootstrap_interval(3.0 * x + 7.0, seed=1, resamples=2000)
    expected = [3.0 * v + 7.0 for v in (one.estimate, one.low, one.high)]
    np.testing.assert_allclose([moved.estimate, moved.low, moved.high], expected, rtol=1e-9)


def test_the_method_follows_the_number_of_tasks():
    x = np.random.default_rng(0).normal(size=(4, 25))
    expected = {2: "bootstrap-se-t", 7: "bootstrap-se-t", 8: "expanded-t", 25: "expanded-t"}
    for tasks, method in expected.items():
        assert bootstrap_interval(x[:, :tasks], resamples=200).method == method
    for statistic in (mean, median):
        assert bootstrap_interval(x[:, :1], statistic) == student_t_interval(x[:, 0])


def test_the_same_seed_gives_the_same_interval():
    x = np.random.default_rng(0).normal(size=(5, 6))
    assert bootstrap_interval(x, seed=4, resamples=500) == bootstrap_interval(
        x, seed=4, resamples=500
    )
    assert bootstrap_interval(x, seed=5, resamples=500).low != pytest.approx(
        bootstrap_interval(x, seed=4, resamples=500).low, abs=1e-12
    )


def slow_factor_and_degrees(x, statistic):
    """√ of the expansion, and Satterthwaite's degrees, from a jackknife written out."""
    shares, degrees = [], []
    for task in range(x.shape[1]):
        rows = np.flatnonzero(~np.isnan(x[:, task]))
        left = []
        for row in rows:
            without = x.copy()
            without[row, task] = NAN
            left.append(statistic(without))
        n = len(rows)
        shares.append((n - 1) / n * sum((v - np.mean(left)) ** 2 for v in left))
        degrees.append(n - 1)
    expanded = sum(v * (d + 1) / d for v, d in zip(shares, degrees, strict=True))
    freedom = sum(shares) ** 2 / sum(v**2 / d for v, d in zip(shares, degrees, strict=True))
    return np.sqrt(expanded / sum(shares)), freedom


@pytest.mark.parametrize("statistic", [iqm, mean, median, optimality_gap])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("method", ["expanded", "bootstrap-se-t"])
def test_intervals_equal_the_slow_twin(statistic, ragged, method):
    from scipy.stats import norm, t

    x = np.random.default_rng(8).lognormal(size=(5, 6))
    if ragged:
        x[0, 1] = x[3:, 2] = NAN
    got = bootstrap_interval(x, statistic, seed=2, resamples=400, method=method)
    values = resampling.replicates(x, statistic, seed=2, resamples=400)
    factor, freedom = slow_factor_and_degrees(x, statistic)
    quantile = t.ppf(0.975, freedom)
    if method == "expanded":
        tail = norm.cdf(-quantile * factor)
        low, high = np.quantile(values, [tail, 1 - tail])
    else:
        half = quantile * factor * values.std()
        low, high = statistic(x) - half, statistic(x) + half
    np.testing.assert_allclose([got.low, got.high], [low, high], rtol=1e-9)
    assert got.method == {"expanded": "expanded-t"}.get(method, method)
    assert got.runs == tuple((~np.isnan(x)).sum(axis=0))


def test_with_equal_run_counts_the_expansion_is_n_over_n_minus_one():
    x = np.random.default_rng(1).normal(size=(5, 3))
    assert slow_factor_and_degrees(x, mean)[0] == pytest.approx(np.sqrt(5 / 4))


def test_tasks_of_like_spread_have_the_degrees_of_all_and_one_wide_task_only_its_own():
    rng = np.random.default_rng(2)
    alike = np.tile(rng.normal(size=(5, 1)), 8)
    assert slow_factor_and_degrees(alike, mean)[1] == pytest.approx(8 * 4)
    alike[:, 0] *= 1e4
    assert slow_factor_and_degrees(alike, mean)[1] == pytest.approx(4, rel=1e-4)


def test_the_jackknife_comes_in_batches_too(monkeypatch):
    x = np.random.default_rng(0).normal(size=(4, 5))
    whole = bootstrap_interval(x, resamples=300)
    monkeypatch.setattr("rlsuite.statistics.intervals.CHUNK", 50)
    assert bootstrap_interval(x, resamples=300) == whole


@pytest.mark.parametrize("statistic", [iqm, mean])
@pytest.mark.parametrize("shape", [(2, 2), (5, 3), (4, 9)])
def test_runs_are_left_out_all_at_once_as_one_by_one(statistic, shape):
    x = np.random.default_rng(6).normal(size=shape).round(1)
    x[1, 0] = NAN if shape[0] > 2 else x[1, 0]
    rows, columns = np.nonzero(~np.isnan(x))
    expected = []
    for row, column in zip(rows, columns, strict=True):
        without = x.copy()
        without[row, column] = NAN
        expected.append(statistic(without[None])[0])
    got = intervals._left_out(x, statistic, rows, columns)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_bootstrap_se_t_of_the_mean_is_close_to_welchs_interval():
    """For the mean of task means the bootstrap's error is known: √(Σ s²_m/N) / M, ν by Welch."""
    from scipy.stats import t

    x = np.random.default_rng(5).normal(size=(6, 3)) * [1.0, 2.0, 5.0]
    got = bootstrap_interval(x, mean, resamples=50_000)
    variances = x.var(axis=0, ddof=1) / 6 / 9
    degrees = variances.sum() ** 2 / (variances**2 / 5).sum()
    half = t.ppf(0.975, degrees) * np.sqrt(variances.sum())
    # The standard deviation of 50,000 replicates has a relative error of about 1/√100,000 = 0.3%.
    assert got.high - got.estimate == pytest.approx(half, rel=4 * 0.0032)
    assert got.method == "bootstrap-se-t"


def test_one_run_has_no_interval_and_says_so():
    single = student_t_interval([0.5])
    assert (single.estimate, single.low, single.high, single.n) == (0.5, None, None, 1)
    assert "a single run" in single.note
    ragged = bootstrap_interval([[1.0, 2.0, 3.0], [2.0, NAN, 4.0]])
    assert ragged.low is None
    assert "1 of the 3 tasks" in ragged.note
    assert ragged.runs == (2, 1, 2)


def test_areas_under_curves_are_scores_like_any_other():
    """Whole runs are resampled: the interval is that of the areas, not of points in time."""
    curves = np.cumsum(np.random.default_rng(3).normal(size=(5, 8, 20)), axis=2)
    areas = area_under_curve(curves, np.arange(20))
    got = bootstrap_interval(areas, resamples=500)
    wide = bootstrap_interval(curves.mean(axis=2), resamples=500)
    assert got.runs == (5,) * 8
    assert got.high - got.low == pytest.approx(wide.high - wide.low, rel=0.2)


def test_equal_runs_are_called_equal():
    assert "all runs are equal" in student_t_interval([-13.0, -13.0, -13.0]).note
    flat = bootstrap_interval([[1.0, 0.5], [1.0, 0.5]], resamples=100)
    assert (flat.low, flat.high) == (0.75, 0.75)
    assert "all runs are equal" in flat.note


def test_what_is_refused():
    with pytest.raises(SettingError, match="task 1 of 2 has no run at all"):
        bootstrap_interval([[1.0, NAN], [2.0, NAN]])
    with pytest.raises(SettingError, match="Student's t interval is for one task"):
        student_t_interval([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(SettingError, match="the IQM is for two or more tasks"):
        bootstrap_interval([1.0, 2.0, 3.0])
    with pytest.raises(SettingError, match=r"level must be in \(0, 1\)"):
        student_t_interval([1.0, 2.0], level=95)
    with pytest.raises(SettingError, match="resamples must be a whole number"):
        bootstrap_interval([[1.0, 2.0], [2.0, 3.0]], resamples=10)
    with pytest.raises(SettingError, match="method must be one of"):
        bootstrap_interval([[1.0, 2.0], [2.0, 3.0]], method="magic")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="a seed is a whole number"):
        bootstrap_interval([[1.0, 2.0], [2.0, 3.0]], seed=-1)
