"""Draws against plain integers, compiled loops against NumPy, the reference against its twin."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from registry.errors import SettingError
from rlsuite.statistics import (
    bootstrap_interval,
    iqm,
    mean,
    median,
    optimality_gap,
    probability_of_improvement,
    resampling,
)

NAN = float("nan")
MASK = 2**64 - 1


def slow_draw(key, first, place, runs):
    """One draw in Python's own integers: half of a word of SplitMix64, times the number of runs."""
    z = (key + (first + place // 2 + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    half = z >> 32 if place % 2 else z & 0xFFFFFFFF
    return half * runs >> 32


def slow_resamples(x, seed, resamples, member=0):
    """One replicate at a time, one place at a time."""
    key = int(resampling.key_of(seed, member))
    slots, tasks = x.shape
    for replicate in range(resamples):
        first = replicate * ((slots * tasks + 1) // 2)
        again = np.full_like(x, NAN)
        for task in range(tasks):
            runs = x[~np.isnan(x[:, task]), task]
            for slot in range(len(runs)):
                again[slot, task] = runs[slow_draw(key, first, slot * tasks + task, len(runs))]
        yield again


def ragged(runs=5, tasks=7, seed=8):
    x = np.random.default_rng(seed).lognormal(size=(runs, tasks))
    x[0, 1] = x[3:, 2] = NAN
    return x


STATISTICS = [iqm, mean, median, optimality_gap, functools.partial(optimality_gap, gamma=0.7)]


def test_splitmix_by_its_published_first_words():
    """Key 1234567 gives 6457827717110365317, 3203168211198807973 (the usual test vector)."""
    got = resampling.draws(np.uint64(1234567), (2, 2), np.array([1 << 31, 1 << 31]), 0, 1)
    words = (6457827717110365317, 3203168211198807973)
    halves = [w & 0xFFFFFFFF if low else w >> 32 for w in words for low in (True, False)]
    np.testing.assert_array_equal(got.ravel(), [h >> 1 for h in halves])


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("x", [ragged(), ragged()[:, :2], np.arange(15.0).reshape(3, 5) ** 2])
def test_compiled_loops_and_numpy_equal_the_slow_twin(statistic, x):
    """All three draw the same runs; sums may differ in their last bits."""
    expected = [statistic(again) for again in slow_resamples(x, 2, 40, member=9)]
    plain = resampling.replicates(x, statistic, seed=2, resamples=40, member=9)
    with resampling.compiling_from(0):
        fast = resampling.replicates(x, statistic, seed=2, resamples=40, member=9)
    np.testing.assert_allclose(plain, expected, rtol=1e-12)
    np.testing.assert_allclose(fast, expected, rtol=1e-12)


def test_a_strangers_statistic_sees_the_same_runs():
    x = ragged()
    own = resampling.replicates(x, lambda b: np.nanmax(b, axis=(1, 2)), seed=1, resamples=30)
    np.testing.assert_array_equal(own, [np.nanmax(again) for again in slow_resamples(x, 1, 30)])


def test_a_partial_with_other_arguments_is_a_strangers():
    x = ragged(3, 3)
    strange = functools.partial(optimality_gap, gamma=2.0)
    strange = functools.partial(strange.func, *strange.args, **strange.keywords)
    with resampling.compiling_from(0):
        got = resampling.replicates(x, strange, seed=0, resamples=20)
        own = resampling.replicates(x, lambda b: optimality_gap(b, 2.0), seed=0, resamples=20)
    np.testing.assert_allclose(got, own)


def test_replicates_do_not_depend_on_how_many_there_are_or_on_batches(monkeypatch):
    x = ragged()
    whole = resampling.replicates(x, iqm, seed=4, resamples=300)
    np.testing.assert_array_equal(resampling.replicates(x, iqm, seed=4, resamples=100), whole[:100])
    monkeypatch.setattr(resampling, "CHUNK", 130)
    np.testing.assert_array_equal(resampling.replicates(x, iqm, seed=4, resamples=300), whole)


def test_members_and_seeds_have_streams_of_their_own():
    x = np.random.default_rng(0).normal(size=(6, 4))

    def drawn(seed, member):
        return resampling.replicates(x, mean, seed=seed, resamples=2000, member=member)

    for other in (drawn(0, 1), drawn(1, 0)):
        # independent: a correlation of 2,000 pairs has standard deviation 1/√2000
        assert abs(np.corrcoef(drawn(0, 0), other)[0, 1]) < 4 / 2000**0.5
    assert resampling.member_of("ppo") != resampling.member_of("dqn")


@pytest.mark.parametrize("runs", [2, 3, 7, 10])
def test_every_run_is_drawn_equally_often(runs):
    """Counts of 60,000 draws; χ² with runs - 1 degrees of freedom, in the middle 99.99%."""
    from scipy.stats import chi2

    key = resampling.key_of(runs)
    index = resampling.draws(key, (runs, 3), np.full(3, runs), 0, 20_000 // runs)
    counts = np.bincount(index.ravel(), minlength=runs)
    expected = index.size / runs
    statistic = (np.square(counts - expected) / expected).sum()
    low, high = chi2.ppf([5e-5, 1 - 5e-5], runs - 1)
    assert low < statistic < high


# The published reference, replicate by replicate, as Agarwal et al. (2021) describe it and rliable
# 1.2.0 computes it: NumPy's legacy generator, scipy's trimmed mean, percentiles in hundredths.


def reference_interval(x, statistic, seed, resamples, level=0.95):
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(resamples):
        index = rng.choice(len(x), x.shape, replace=True)
        values.append(statistic(x[index, np.arange(x.shape[1])]))
    tail = (1 - level) / 2
    return np.percentile(values, [100 * tail, 100 * (1 - tail)])


REFERENCE = {
    iqm: lambda x: trim_mean(x, 0.25, axis=None),
    mean: lambda x: np.mean(np.mean(x, axis=0), axis=0),
    median: lambda x: np.median(np.mean(x, axis=0), axis=0),
    optimality_gap: lambda x: 1.0 - np.mean(np.minimum(x, 1.0)),
}


@pytest.mark.parametrize("statistic", REFERENCE)
@pytest.mark.parametrize("shape", [(3, 2), (5, 26), (10, 9), (4, 200)])
def test_the_reference_is_reproduced_bit_for_bit(statistic, shape, monkeypatch):
    monkeypatch.setattr(resampling, "CHUNK", 7 * shape[0] * shape[1])  # in many batches
    x = np.random.default_rng(shape[0]).lognormal(size=shape)
    got = bootstrap_interval(
        x, statistic, seed=3, resamples=300, method="percentile", stream="rliable"
    )
    low, high = reference_interval(x, REFERENCE[statistic], 3, 300)
    assert (got.low, got.high) == (low, high)
    assert got.estimate == REFERENCE[statistic](x)


def reference_improvement(x, y):
    found = []
    for a, b in zip(x.T, y.T, strict=True):
        if np.array_equal(a, b):
            found.append(0.5)
        else:
            u, _ = mannwhitneyu(a, b, alternative="greater")
            found.append(u / (len(a) * len(b)))
    return np.mean(found)


@pytest.mark.parametrize("others", [4, 6])
def test_the_references_probability_of_improvement_is_reproduced_bit_for_bit(others):
    rng = np.random.default_rng(others)
    x, y = rng.normal(size=(4, 11)).round(1), rng.normal(size=(others, 11)).round(1)
    got = probability_of_improvement(
        x, y, seed=5, resamples=120, method="percentile", stream="rliable"
    )
    legacy = np.random.RandomState(5)
    values = []
    for _ in range(120):
        i = legacy.choice(len(x), x.shape, replace=True)
        j = legacy.choice(len(y), y.shape, replace=True)
        values.append(reference_improvement(x[i, np.arange(11)], y[j, np.arange(11)]))
    tail = (1 - 0.95) / 2
    low, high = np.percentile(values, [100 * tail, 100 * (1 - tail)])
    assert (got.low, got.high) == (low, high)
    assert got.estimate == reference_improvement(x, y)


def test_the_reference_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (read, not used)
    x = np.random.default_rng(0).normal(size=(3, 4))
    bootstrap_interval(x, resamples=100, method="percentile", stream="rliable")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_what_is_refused():
    x = [[1.0, 2.0], [2.0, 3.0]]
    with pytest.raises(SettingError, match="stream must be one of"):
        bootstrap_interval(x, stream="magic")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="it goes with method='percentile', got method='auto'"):
        bootstrap_interval(x, stream="rliable")
    holes = [[1.0, 2.0], [2.0, 3.0], [1.0, NAN]]
    with pytest.raises(SettingError, match="for tables without missing runs"):
        bootstrap_interval(holes, method="percentile", stream="rliable")
    with pytest.raises(SettingError, match="for tables without missing runs"):
        probability_of_improvement(x, holes, method="percentile", stream="rliable")


def test_where_no_cache_folder_can_be_written_it_is_compiled_all_the_same(monkeypatch):
    from rlsuite.statistics import kernels

    calls = []

    def njit(*arguments, cache=False):
        calls.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return arguments[0]

    monkeypatch.setattr(kernels.numba, "njit", njit)
    assert kernels.compiled(test_what_is_refused) is test_what_is_refused
    assert calls == [True, False]

    def broken(**_):
        raise RuntimeError("something else")

    monkeypatch.setattr(kernels.numba, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        kernels.compiled(test_what_is_refused)
