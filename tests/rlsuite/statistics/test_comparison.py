"""Differences, all pairs, ranks: by hand, against scipy, and what they promise."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.statistics import (
    compare_agents,
    difference_interval,
    holm,
    iqm,
    mean,
    optimality_gap,
    probability_of_improvement,
    rank_distribution,
    resampling,
)
from rlsuite.statistics.comparison import RANKED, Drawn

NAN = float("nan")


def scores(tasks=9, agents=3, runs=6, step=0.4, seed=0):
    rng = np.random.default_rng(seed)
    return {f"a{i}": rng.normal(i * step, 1.0, size=(runs, tasks)) for i in range(agents)}


def test_welch_by_hand():
    """1, 2, 3 against 5, 9: difference -5, variance 1/3 + 8/2, ν = (13/3)² / (1/18 + 16)."""
    from scipy.stats import t

    got = difference_interval([1.0, 2.0, 3.0], [5.0, 9.0, NAN], mean)
    assert got.estimate == -5.0
    freedom = (13 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 4**2)
    half = t.ppf(0.975, freedom) * (13 / 3) ** 0.5
    np.testing.assert_allclose([got.low, got.high], [-5 - half, -5 + half])
    assert (got.method, got.n, got.runs, got.resamples) == ("welch-t", 2, (3, 2), 0)


def test_welch_agrees_with_scipy():
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=6), rng.normal(0.4, 3.0, size=9)
    expected = ttest_ind(x, y, equal_var=False)
    got = compare_agents({"x": x, "y": y}, mean)
    assert got.pairs[0].p_value == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval(0.9)
    interval = difference_interval(x, y, mean, level=0.9)
    np.testing.assert_allclose([interval.low, interval.high], [ends.low, ends.high])


def test_the_difference_is_resampled_in_both_arms():
    """The expanded percentiles of the differences of both arms' replicates, written out."""
    from scipy.stats import norm, t

    both = scores(agents=2)
    x, y = both["a0"], both["a1"]
    y[4:, 3] = NAN
    got = difference_interval(x, y, mean, seed=6, resamples=500)
    drawn = [
        resampling.replicates(arm, mean, seed=6, resamples=500, member=resampling.member_of(name))
        for name, arm in (("first", x), ("second", y))
    ]
    counts = np.concatenate([(~np.isnan(arm)).sum(axis=0) for arm in (x, y)])
    shares = np.concatenate([np.nanvar(arm, axis=0, ddof=1) for arm in (x, y)]) / counts
    factor = np.sqrt((shares * counts / (counts - 1)).sum() / shares.sum())
    freedom = shares.sum() ** 2 / (shares**2 / (counts - 1)).sum()
    tail = norm.cdf(-t.ppf(0.975, freedom) * factor)
    low, high = np.quantile(drawn[0] - drawn[1], [tail, 1 - tail])
    np.testing.assert_allclose([got.low, got.high], [low, high], rtol=1e-9)
    assert (got.method, got.n, got.seed) == ("expanded-t", 4, 6)
    assert got.estimate == pytest.approx(mean(x) - mean(y))


@pytest.mark.parametrize("tasks", [1, 3, 9])
@pytest.mark.parametrize("method", ["auto", "percentile", "expanded", "bootstrap-se-t"])
def test_the_p_value_is_the_level_at_which_the_interval_touches_zero(tasks, method):
    both = scores(tasks, agents=2, step=0.3, seed=tasks)
    arms = dict(zip(("first", "second"), both.values(), strict=True))
    found = compare_agents(arms, mean, resamples=20_000, method=method)
    p = found.pairs[0].p_value
    assert 1e-3 < p < 1.0
    # a tail is counted one replicate too large, so that it is never 0: hence the margin
    for level, holds_zero in ((1 - 0.8 * p, True), (1 - 1.2 * p, False)):
        got = difference_interval(
            *arms.values(), mean, level=level, resamples=20_000, method=method
        )
        assert (got.low <= 0.0 <= got.high) == holds_zero


def test_holm_by_hand():
    """0.01, 0.04, 0.03 of three: 0.03, then 2 x 0.03 = 0.06, and 0.04 is not below it."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=60)
def test_holm_is_the_step_down_procedure(p_values):
    """Adjusted p <= α exactly for those that Holm's steps reject at α."""
    alpha = 0.05
    rejected = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(p_values)) if p <= alpha} == rejected


def test_all_pairs_are_compared_best_first():
    found = compare_agents(scores(), resamples=2000)
    assert found.agents == ("a2", "a1", "a0")
    assert [(p.first, p.second) for p in found.pairs] == [
        ("a2", "a1"),
        ("a2", "a0"),
        ("a1", "a0"),
    ]
    assert [p.p_holm for p in found.pairs] == holm([p.p_value for p in found.pairs])
    for pair in found.pairs:
        assert pair.difference.estimate > 0
        excludes_zero = pair.corrected.low > 0 or pair.corrected.high < 0
        assert pair.clear == (pair.p_holm <= 0.05) == excludes_zero
        assert pair.corrected.level >= pair.difference.level == 0.95
        assert pair.improvement.estimate > 0.5


def test_clear_differences_bound_the_ranks():
    """a2 is far ahead, the other two cannot be told apart: rank 1, and ranks 2 to 3."""
    data = scores(step=0.0)
    data["a2"] += 5.0
    assert compare_agents(data, resamples=1000).places == {"a2": (1, 1), "a0": (2, 3), "a1": (2, 3)}
    lowest = compare_agents(data, resamples=1000, higher_is_better=False)
    assert lowest.places["a2"] == (3, 3)
    assert lowest.agents[-1] == "a2"
    assert lowest.pairs[-1].improvement.estimate > 0.9  # the first of the pair is the better one
    assert lowest.pairs[-1].difference.estimate < 0


def test_who_else_is_compared_changes_no_draws():
    three = compare_agents(scores(), resamples=500)
    two = compare_agents({k: v for k, v in scores().items() if k != "a1"}, resamples=500)
    assert two.pairs[0].difference == three.pairs[1].difference
    assert two.pairs[0].p_value == three.pairs[1].p_value


def test_a_single_run_has_no_interval_and_is_not_counted():
    data = scores(agents=2)
    data["alone"] = data["a0"][:1] + 100.0
    found = compare_agents(data, resamples=500)
    alone = [pair for pair in found.pairs if "alone" in (pair.first, pair.second)]
    assert len(alone) == 2
    for pair in alone:
        assert (pair.p_value, pair.p_holm, pair.corrected, pair.clear) == (None, None, None, False)
        assert pair.difference.low is None
        assert pair.improvement.low is None
        assert "single run" in pair.difference.note
    (other,) = (pair for pair in found.pairs if pair not in alone)
    assert other.p_holm == other.p_value
    one_task = difference_interval([1.0], [2.0, 3.0], mean)
    assert (one_task.low, one_task.method) == (None, "welch-t")


def test_equal_runs_of_both_are_called_equal():
    got = difference_interval([1.0, 1.0], [0.5, 0.5], mean)
    assert (got.low, got.high) == (0.5, 0.5)
    assert "all runs are equal" in got.note
    found = compare_agents({"x": [1.0, 1.0], "y": [1.0, 1.0], "z": [0.5, 0.5]}, mean)
    assert [pair.p_value for pair in found.pairs] == [1.0, 0.0, 0.0]


def test_ranks_by_hand():
    """Runs that never meet: the better agent is first in every replicate."""
    x = np.arange(8.0).reshape(2, 4)
    found = rank_distribution({"low": x, "high": x + 100.0}, mean, resamples=200)
    np.testing.assert_array_equal(found.probability, [[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(found.mean_rank, [2.0, 1.0])
    down = rank_distribution(
        {"low": x, "high": x + 100.0}, mean, resamples=200, higher_is_better=False
    )
    np.testing.assert_array_equal(down.mean_rank, [1.0, 2.0])


def test_agents_that_tie_share_their_ranks():
    same = np.ones((3, 2))
    found = rank_distribution({"a": same, "b": same, "c": same - 1.0}, resamples=100)
    np.testing.assert_allclose(found.probability, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_ranks_are_probabilities_and_follow_the_normal_law():
    """Two agents with known means: P(first) is about Φ(d / √2 se)."""
    from scipy.special import ndtr

    rng = np.random.default_rng(3)
    x, y = rng.normal(0.3, 1, size=(200, 2)), rng.normal(0.0, 1, size=(200, 2))
    found = rank_distribution({"x": x, "y": y}, mean, resamples=20_000)
    np.testing.assert_allclose(found.probability.sum(axis=0), 1.0)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1.0)
    error = np.sqrt((x.var(axis=0, ddof=1) + y.var(axis=0, ddof=1)).sum() / 200) / 2
    expected = ndtr((x.mean() - y.mean()) / error)
    # four errors of a share of 20,000 replicates; 200 runs leave little of the rest
    assert found.probability[0, 0] == pytest.approx(expected, abs=4 * 0.5 / 20_000**0.5)


def test_a_single_run_has_no_ranks():
    found = rank_distribution({"a": np.ones((1, 3)), "b": np.ones((4, 3))})
    assert found.probability is None
    assert found.mean_rank is None
    assert "no ranks: a has a task with a single run" in found.note


def test_a_gap_is_better_when_it_is_smaller_and_a_regret_too():
    data = scores(step=0.3)
    for statistic in (optimality_gap, functools.partial(optimality_gap, gamma=0.5)):
        gaps = compare_agents(data, statistic, resamples=500)
        assert gaps.agents[0] == "a2"
        assert gaps.pairs[0].difference.estimate < 0
        assert gaps.pairs[0].improvement.estimate > 0.5
        assert rank_distribution(data, statistic, resamples=500).mean_rank[2] < 2
    regrets = {name: -x for name, x in data.items()}
    lowest = compare_agents(regrets, mean, resamples=500, higher_is_better=False)
    assert lowest.agents[0] == "a2"
    assert lowest.pairs[0].improvement.estimate > 0.5


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_a_difference_is_the_negative_of_its_reverse(seed):
    both = scores(agents=2, seed=seed)
    forth = compare_agents(both, resamples=200).pairs[0]
    back = compare_agents(both, resamples=200, higher_is_better=False).pairs[0]
    assert (forth.first, forth.second) == (back.second, back.first)
    np.testing.assert_allclose(
        [forth.difference.low, forth.difference.high],
        [-back.difference.high, -back.difference.low],
        atol=1e-12,
    )
    assert forth.p_value == pytest.approx(back.p_value)


def test_what_is_refused():
    x = np.ones((3, 2))
    with pytest.raises(SettingError, match="numbers of tasks first 2, second 3"):
        difference_interval(x, np.ones((3, 3)))
    with pytest.raises(SettingError, match="the IQM is for two or more tasks"):
        difference_interval([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(SettingError, match=r"two agents or more, got \['x'\]"):
        compare_agents({"x": x})
    with pytest.raises(SettingError, match=r"two agents or more, got \[\]"):
        rank_distribution({})
    with pytest.raises(SettingError, match="numbers of tasks x 2, y 1"):
        compare_agents({"x": x, "y": x[:, :1]}, mean)
    with pytest.raises(SettingError, match="numbers of tasks first 2, second 1"):
        probability_of_improvement(x, x[:, :1])
    with pytest.raises(SettingError, match=r"p-values are in \[0, 1\], got 1.5"):
        holm([1.5])
    with pytest.raises(SettingError, match="the IQM is for two or more tasks"):
        rank_distribution({"x": [1.0, 2.0], "y": [1.0, 2.0]}, iqm)


def test_what_is_drawn_once_answers_as_each_question_by_itself():
    data = scores()
    drawn = Drawn.make(data, iqm, seed=4, resamples=500)
    assert drawn.comparison() == compare_agents(data, seed=4, resamples=500)
    ranks, alone = drawn.ranks(), rank_distribution(data, seed=4, resamples=500)
    np.testing.assert_array_equal(ranks.probability, alone.probability)
    some = drawn.only(["a2", "a0"])
    two = {name: data[name] for name in ("a2", "a0")}
    assert some.comparison() == compare_agents(two, seed=4, resamples=500)
    interval = drawn.interval("a1")
    assert interval == Drawn.make({"a1": data["a1"]}, iqm, seed=4, resamples=500).interval("a1")
    assert interval.low < interval.estimate < interval.high
    assert interval.resamples == 500


def test_ranks_are_counted_from_the_first_replicates():
    data = {"x": np.arange(6.0).reshape(3, 2), "y": np.arange(6.0)[::-1].reshape(3, 2)}
    many = Drawn.make(data, mean, seed=0, resamples=RANKED + 500).ranks()
    assert many.resamples == RANKED
    few = rank_distribution(data, mean, resamples=RANKED)
    np.testing.assert_array_equal(many.probability, few.probability)


def test_a_single_run_draws_no_interval():
    drawn = Drawn.make({"x": np.ones((1, 2))}, iqm, seed=0, resamples=100)
    assert drawn.interval("x").low is None
    with pytest.raises(SettingError, match=r"comparing takes two agents or more, got \['x'\]"):
        drawn.comparison()
