"""By hand, against scipy, against slow twins, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite.statistics import bootstrap_interval, iqm, mean, student_t_interval
from rlsuite.statistics import intervals as statistics

NAN = float("nan")


def slow_mean(x):
    """The definition, run by run."""
    per_task = [[v for v in column if not np.isnan(v)] for column in np.asarray(x).T]
    return sum(sum(runs) / len(runs) for runs in per_task) / len(per_task)


def slow_iqm(x):
    """The definition: sort what is there, cut a quarter from each side, average."""
    scores = sorted(v for v in np.ravel(x) if not np.isnan(v))
    cut = int(0.25 * len(scores))
    kept = scores[cut : len(scores) - cut]
    return sum(kept) / len(kept)


def test_mean_by_hand():
    """Task means 2 and 10: 6. The second task has one run only, and counts the same."""
    assert mean([[1.0, 10.0], [3.0, NAN]]) == 6.0
    assert mean([1.0, 2.0, 6.0]) == 3.0


def test_iqm_by_hand():
    """Eight scores: two are cut from each side, (3 + 4 + 5 + 6) / 4 = 4.5."""
    assert iqm([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 800.0]]) == 4.5


def test_iqm_of_success_rates_is_a_clipped_line():
    """Why it is never used for them: 25% reads 0, 40% reads 0.3, 60% reads 0.7, 75% reads 1."""
    for successes, shown in ((25, 0.0), (40, 0.3), (60, 0.7), (75, 1.0)):
        scores = np.repeat([1.0, 0.0], [successes, 100 - successes])
        assert iqm(scores) == pytest.approx(shown)


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


@given(scores, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_ragged_statistics_equal_their_definitions(x, random):
    x = x.copy()
    for column in range(x.shape[1]):
        for row in range(1, len(x)):
            if random.random() < 0.3:
                x[row, column] = NAN
    np.testing.assert_allclose(mean(x), slow_mean(x), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(iqm(x), slow_iqm(x), rtol=1e-9, atol=1e-6)
    batch = np.stack([x, x[::-1]])  # other places missing in each row
    np.testing.assert_allclose(iqm(batch), [iqm(x)] * 2, rtol=1e-9, atol=1e-6)


@given(scores, st.floats(0.1, 10), st.floats(-100, 100))
@settings(max_examples=40, deadline=None)
def test_statistics_move_with_their_scores(x, scale, shift):
    for statistic in (mean, iqm):
        moved = statistic(scale * x + shift)
        np.testing.assert_allclose(moved, scale * statistic(x) + shift, rtol=1e-6, atol=1e-3)
        assert x.min() - 1e-6 <= statistic(x) <= x.max() + 1e-6


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
    expected = {2: "bootstrap-se-t", 4: "bootstrap-se-t", 5: "expanded-t", 19: "expanded-t"}
    for tasks, method in {**expected, 20: "expanded-z", 25: "expanded-z"}.items():
        assert bootstrap_interval(x[:, :tasks], resamples=200).method == method
    assert bootstrap_interval(x[:, :1], mean) == student_t_interval(x[:, 0])


def test_the_same_seed_gives_the_same_interval():
    x = np.random.default_rng(0).normal(size=(5, 6))
    assert bootstrap_interval(x, seed=4, resamples=500) == bootstrap_interval(
        x, seed=4, resamples=500
    )
    assert bootstrap_interval(x, seed=5, resamples=500).low != pytest.approx(
        bootstrap_interval(x, seed=4, resamples=500).low, abs=1e-12
    )


def slow_resamples(x, seed, resamples):
    """One replicate at a time, one task at a time, from the same uniforms."""
    rng = generator(seed, Stream.BOOTSTRAP)
    for _ in range(resamples):
        uniforms = rng.random(x.shape)
        again = np.full_like(x, NAN)
        for task in range(x.shape[1]):
            runs = x[~np.isnan(x[:, task]), task]
            for slot in range(len(runs)):
                again[slot, task] = runs[int(uniforms[slot, task] * len(runs))]
        yield again


def slow_factor(x, statistic):
    """√ of the expansion, from a jackknife written out."""
    top = bottom = 0.0
    for task in range(x.shape[1]):
        rows = np.flatnonzero(~np.isnan(x[:, task]))
        left = []
        for row in rows:
            without = x.copy()
            without[row, task] = NAN
            left.append(statistic(without))
        share = (len(rows) - 1) / len(rows) * sum((v - np.mean(left)) ** 2 for v in left)
        top += share * len(rows) / (len(rows) - 1)
        bottom += share
    return np.sqrt(top / bottom)


@pytest.mark.parametrize("statistic", [iqm, mean])
@pytest.mark.parametrize("ragged", [False, True])
def test_expanded_percentiles_equal_the_slow_twin(statistic, ragged):
    from scipy.stats import norm, t

    x = np.random.default_rng(8).lognormal(size=(5, 6))
    if ragged:
        x[0, 1] = x[3:, 2] = NAN
    got = bootstrap_interval(x, statistic, seed=2, resamples=400, method="expanded")
    values = [statistic(again) for again in slow_resamples(x, 2, 400)]
    degrees = (~np.isnan(x)).sum() - x.shape[1]
    tail = norm.cdf(-t.ppf(0.975, degrees) * slow_factor(x, statistic))
    low, high = np.quantile(values, [tail, 1 - tail])
    np.testing.assert_allclose([got.low, got.high], [low, high], rtol=1e-9)
    assert got.method == "expanded-t"
    assert got.runs == tuple((~np.isnan(x)).sum(axis=0))


def test_with_equal_run_counts_the_expansion_is_n_over_n_minus_one():
    x = np.random.default_rng(1).normal(size=(5, 3))
    assert slow_factor(x, mean) == pytest.approx(np.sqrt(5 / 4))


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


def test_large_batches_come_in_chunks_and_change_nothing(monkeypatch):
    x = np.random.default_rng(0).normal(size=(4, 5))
    whole = bootstrap_interval(x, resamples=300)
    monkeypatch.setattr(statistics, "_CHUNK", 130)
    assert bootstrap_interval(x, resamples=300) == whole


def test_one_run_has_no_interval_and_says_so():
    single = student_t_interval([0.5])
    assert (single.estimate, single.low, single.high, single.n) == (0.5, None, None, 1)
    assert "a single run" in single.note
    ragged = bootstrap_interval([[1.0, 2.0, 3.0], [2.0, NAN, 4.0]])
    assert ragged.low is None
    assert "1 of the 3 tasks" in ragged.note
    assert ragged.runs == (2, 1, 2)


def test_equal_runs_are_called_equal():
    assert "all runs are equal" in student_t_interval([-13.0, -13.0, -13.0]).note
    flat = bootstrap_interval([[1.0, 0.5], [1.0, 0.5]], resamples=100)
    assert (flat.low, flat.high) == (0.75, 0.75)
    assert "all runs are equal" in flat.note


def test_what_is_refused():
    with pytest.raises(SettingError, match="task 1 of 2 has no run at all"):
        iqm([[1.0, NAN], [2.0, NAN]])
    with pytest.raises(SettingError, match="must be finite"):
        mean([1.0, float("inf")])
    with pytest.raises(SettingError, match=r"got an array of shape \(0,\)"):
        mean([])
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
