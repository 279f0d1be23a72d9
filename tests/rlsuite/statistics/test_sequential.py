"""The sequential test: by enumeration, against a slow twin, and that it repeats itself."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.statistics import sequential, sequential_comparison
from rlsuite.statistics.simulation import sequential_error_rate

NAN = float("nan")


def agents(count=3, runs=25, tasks=1, step=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return {f"a{i}": rng.normal(i * step, 1.0, size=(runs, tasks)) for i in range(count)}


def decided(decision):
    return {(p.first, p.second): (p.look, p.better) for p in decision.pairs}


def test_agents_that_never_meet_are_told_apart_at_the_first_look():
    """2 of the 252 ways to deal 10 runs are as extreme: 0.8%, below the first look's 1%."""
    x = np.arange(5.0)
    found = sequential_comparison({"low": x, "high": x + 10.0})
    assert decided(found) == {("low", "high"): (5, "high")}
    assert found.clear
    assert found.stop
    assert found.sentence == "1 of 1 pair told apart: enough seeds."
    assert found.pairs[0].difference == -10.0
    lower = sequential_comparison({"low": x, "high": x + 10.0}, higher_is_better=False)
    assert decided(lower) == {("low", "high"): (5, "low")}


def test_the_share_of_relabellings_is_that_of_all_ways_to_deal():
    """One look: |differences| under relabelling have the distribution that enumeration gives."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=4), rng.normal(0.8, 1, size=4)
    everything = np.concatenate([x, y])
    ways = [
        abs(everything[list(ours)].mean() - np.delete(everything, ours).mean())
        for ours in combinations(range(8), 4)
    ]
    exact = np.mean(np.array(ways) >= abs(x.mean() - y.mean()) - 1e-12)
    drawn = np.empty((20_001, 1))
    sequential._fill(drawn, sequential._by_look([x[:, None], y[:, None]], (4,)), np.uint64(3))
    share = np.mean(drawn[1:] >= drawn[0])
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_three_agents_are_relabelled_together():
    """6 runs dealt to three agents, two each: 90 ways, and the range of the three means."""
    x = np.array([[0.3, 1.1], [0.0, 2.5], [-1.0, 0.9]])
    ways = []
    for first in combinations(range(6), 2):
        rest = [place for place in range(6) if place not in first]
        for second in combinations(rest, 2):
            third = [place for place in rest if place not in second]
            means = [x.ravel()[list(who)].mean() for who in (first, second, third)]
            ways.append(max(means) - min(means))
    drawn = np.empty((20_001, 1))
    sequential._fill(drawn, sequential._by_look(list(x[:, :, None]), (2,)), np.uint64(1))
    drawn = drawn[:, 0] * 2.5  # of the largest |score|
    assert drawn[0] == pytest.approx(1.25 + 0.05)
    assert set(np.round(drawn, 9)) == set(np.round(ways, 9))
    exact = np.mean(np.array(ways) >= drawn[0] - 1e-9)
    share = np.mean(drawn[1:] >= drawn[0] - 1e-9)
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_the_shares_of_groups_of_equal_agents_sum_to_alpha_at_most():
    """Whichever groups there are; agents that equal nobody take nothing."""

    def groups(agents):  # all ways to write a number as a sum
        if agents == 0:
            yield ()
        for size in range(1, agents + 1):
            yield from ((size, *rest) for rest in groups(agents - size))

    for agents in range(2, 13):
        for sizes in groups(agents):
            taken = sum(sequential._share(size, agents, 0.05) for size in sizes if size > 1)
            assert taken <= 0.05 + 1e-12
        assert sequential._share(agents, agents, 0.05) == 0.05
    assert sequential._share(2, 3, 0.05) == 0.05
    assert sequential._share(2, 5, 0.05) == pytest.approx(0.02)


def slow_closed(data, looks, permutations):
    """Every pair by itself: the last of the first rejections of all sets that hold both."""
    found = {}
    for pair in combinations(sorted(data), 2):
        latest = 0
        for size in range(2, len(data) + 1):
            for ours in combinations(sorted(data), size):
                if not set(pair) <= set(ours):
                    continue
                ranges = np.empty((1 + permutations, len(looks)))
                values = sequential._by_look([data[name] for name in ours], looks)
                key = sequential.key_of(0, sequential.member_of("\0".join(ours)))
                sequential._fill(ranges, values, key)
                share = sequential._share(size, len(data), 0.05) / len(looks)
                look = sequential._first_rejection(ranges, share)
                latest = None if look is None or latest is None else max(latest, look)
        found[pair] = None if latest is None else looks[latest - 1]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_closed_testing_equals_the_slow_twin(seed):
    data = agents(4, runs=15, step=0.7, seed=seed)
    found = sequential_comparison(data, looks=(5, 10, 15), permutations=999)
    assert {(p.first, p.second): p.look for p in found.pairs} == slow_closed(data, (5, 10, 15), 999)


def slow_first_rejection(largest, alpha):
    """Look by look: of all rows, so many may be rejected so far, ties together or not at all."""
    rows, looks = largest.shape
    alive = list(range(rows))
    gone = 0
    for look in range(looks):
        allowed = int(alpha * (look + 1) / looks * rows + 1e-9)
        for value in sorted({largest[row, look] for row in alive}):
            above = [row for row in alive if largest[row, look] > value]
            if gone + len(above) <= allowed:
                break
        if 0 in above:
            return look + 1
        gone += len(above)
        alive = [row for row in alive if row not in above]
    return None


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.2, 0.5]), st.integers(2, 30))
@settings(max_examples=100)
def test_boundaries_equal_the_slow_twin(seed, alpha, distinct):
    rng = np.random.default_rng(seed)
    largest = rng.integers(0, distinct, size=(60, 3)).astype(float)
    assert sequential._first_rejection(largest, alpha / 3) == slow_first_rejection(largest, alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_at_most_a_share_alpha_of_all_rows_is_ever_rejected(alpha):
    """Which is why the error rate holds: the data are one of the rows, and like all others."""
    rng = np.random.default_rng(1)
    largest = np.cumsum(rng.normal(size=(200, 4)), axis=1).round(1)
    rejected = sum(
        sequential._first_rejection(np.roll(largest, -row, axis=0), alpha / 4) is not None
        for row in range(200)
    )
    assert 0 < rejected <= alpha * 200


def test_later_looks_repeat_the_earlier_decisions():
    data = agents(4, step=0.8, seed=5)
    before = {}
    for runs in (5, 10, 15, 20, 25):
        found = sequential_comparison({k: x[:runs] for k, x in data.items()}, permutations=999)
        now = {pair: value for pair, value in decided(found).items() if value[0] is not None}
        assert before.items() <= now.items()
        assert all(look == runs for pair, (look, _) in now.items() if pair not in before)
        before = now
    assert len(before) >= 4


def test_a_failed_run_repeats_the_earlier_decisions_too():
    """Complete data are averaged over tasks first; a hole later on changes nothing before it."""
    data = agents(3, runs=15, tasks=4, step=0.5, seed=2)
    first = sequential_comparison({k: x[:10] for k, x in data.items()}, permutations=999)
    assert any(pair.better for pair in first.pairs)
    data["a1"][12, 2] = NAN
    second = sequential_comparison(data, permutations=999)
    for pair, value in decided(first).items():
        if value[0] is not None:
            assert decided(second)[pair] == value


def test_agents_that_are_done_need_no_more_runs():
    """`far` is told apart after 10 runs and stops there; the others go on and change nothing."""
    data = agents(3, runs=15)
    data["far"] = data["a0"][:10] + 50.0
    found = sequential_comparison(data, looks=(10, 15, 20), permutations=999)
    assert all(value == (10, "far") for pair, value in decided(found).items() if "far" in pair)
    assert found.looked == {"a0": 2, "a1": 2, "a2": 2, "far": 1}
    assert found.more_runs == {"a0": 5, "a1": 5, "a2": 5}
    assert not found.stop
    assert found.sentence.startswith("3 of 6 pairs told apart; for the next look: a0 5 more seeds")


def test_those_who_are_behind_come_first():
    data = agents(2, runs=10)
    found = sequential_comparison({"a0": data["a0"], "a1": data["a1"][:4]})
    assert (found.looked, found.more_runs) == ({"a0": 2, "a1": 0}, {"a1": 1})
    assert found.sentence == "0 of 1 pair told apart; for the next look: a1 1 more seed."
    assert np.isnan(found.pairs[0].difference)
    assert sequential_comparison({"a0": [], "a1": []}).more_runs == {"a0": 5, "a1": 5}


def test_after_the_last_look_it_is_over():
    found = sequential_comparison(agents(2), looks=(5, 25), permutations=999)
    assert found.stop
    assert not found.clear
    assert found.more_runs == {}
    assert found.sentence.endswith("after 25 seeds, the last look: the others may be equal.")


def test_equal_runs_are_never_told_apart():
    same = np.full(25, 0.5)
    assert not sequential_comparison({"a": same, "b": same}).clear


def test_the_order_of_agents_and_the_scale_change_nothing():
    data = agents(3, runs=15, step=0.9, seed=4)
    one = decided(sequential_comparison(data, permutations=999))
    scaled = {name: 100.0 * x - 3.0 for name, x in data.items()}
    assert decided(sequential_comparison(scaled, permutations=999)) == one
    found = sequential_comparison(dict(reversed(data.items())), permutations=999)
    apart = {frozenset(pair): better for pair, (_, better) in decided(found).items()}
    assert apart == {frozenset(pair): better for pair, (_, better) in one.items()}


def test_holes_keep_an_agents_number_of_runs():
    """Relabelled sums are of as many runs as there are: |mean difference| of all 3 + 5 ways."""
    x, y = np.array([1.0, 2.0, NAN, 4.0, NAN]), np.array([0.0, 3.0, 5.0, 6.0, 7.0])
    drawn = np.empty((2000, 1))
    sequential._fill(drawn, sequential._by_look([x[:, None], y[:, None]], (5,)), np.uint64(0))
    drawn = drawn[:, 0] * 7
    pool = np.array([1.0, 2.0, 4.0, 0.0, 3.0, 5.0, 6.0, 7.0])
    ways = {
        round(abs(pool[list(i)].mean() - np.delete(pool, i).mean()), 9)
        for i in combinations(range(8), 3)
    }
    assert {round(value, 9) for value in drawn} <= ways
    assert drawn[0] == pytest.approx(abs(7 / 3 - 21 / 5))


def test_two_equal_agents_are_told_apart_about_once_in_twenty():
    """600 sequences to their end: at most 5% plus four standard errors of 0.9%."""
    rate = sequential_error_rate((2,), "lognormal", sets=600)
    assert rate <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 600)
    assert rate > 0.0


def test_a_decision_can_be_written_down():
    found = sequential_comparison(agents(2, runs=10), permutations=999)
    assert json.dumps([found.looked, found.more_runs, found.looks, found.sentence])


def test_what_is_refused():
    data = agents(2)
    with pytest.raises(SettingError, match=r"two agents or more, got \['a'\]"):
        sequential_comparison({"a": [1.0]})
    with pytest.raises(SettingError, match="compares at most 12 agents, got 13"):
        sequential_comparison({str(i): [1.0] for i in range(13)})
    with pytest.raises(SettingError, match="numbers of tasks a0 1, a1 2"):
        sequential_comparison({"a0": data["a0"], "a1": np.ones((5, 2))})
    with pytest.raises(SettingError, match=r"scores of a0 are one number for each run"):
        sequential_comparison({"a0": np.ones((2, 2, 2)), "a1": data["a1"]})
    with pytest.raises(SettingError, match="scores of a0 must be finite"):
        sequential_comparison({"a0": [float("inf")] * 5, "a1": data["a1"]})
    with pytest.raises(SettingError, match="a0 has no run of task 0 among its first 5"):
        sequential_comparison({"a0": [NAN] * 5, "a1": data["a1"]})
    for looks in ((), (1, 5), (5, 5), (5.5, 10)):
        with pytest.raises(SettingError, match="looks are rising numbers of runs"):
            sequential_comparison(data, looks=looks)
    for permutations in (10, 100.0):
        with pytest.raises(SettingError, match="permutations must be a whole number"):
            sequential_comparison(data, permutations=permutations)
    with pytest.raises(SettingError, match=r"a share 0\.0002 of them is one or more; got 999"):
        sequential_comparison(data, permutations=999, level=0.999)
    with pytest.raises(SettingError, match="level must be in"):
        sequential_comparison(data, level=1.5)
