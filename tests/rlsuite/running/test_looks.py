"""From records to decisions: what is compared, what a failed run counts, and when it ends."""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import SettingError, SuiteError
from registry.specs import TaskSpec
from rlsuite.running.looks import chosen_kinds, contests_of, decide, grown, seeds_of
from rlsuite.running.planning import chosen_by
from rlsuite.suite import AgentChoice, Grid, Suite

GRID, CLIFF, CART, BANDIT = (
    "rlsuite/GridWorld-v0",
    "rlsuite/CliffWalk-v0",
    "CartPole-v1",
    "rlsuite/BernoulliBandit-v0",
)


def suite(tasks=(GRID,), agents=("a", "b"), seeds=5):
    chosen = {agent: AgentChoice("rlsuite/QLearning-v0") for agent in agents}
    return Suite("looks", (Grid(tasks=tasks, agents=chosen, seeds=seeds),))


def own_tasks(count):
    return tuple(TaskSpec(id=f"t{i}", env_id=CART, family="own") for i in range(count))


def decided(of, records, max_seeds=None):
    (contest,) = contests_of(chosen_kinds(of), max_seeds)
    found = {(r.task, r.agent, r.seed): r for r in records}
    most = 1 + max(record.seed for record in records)
    wanted = dict.fromkeys(seeds_of(of), most)
    return decide(contest, found, seeds_of(grown(of, wanted)))


def runs(make_record, task, agent, values, quantity="score", **more):
    return [
        make_record(task, agent, seed, state="failed", error="boom", **more)
        if value is None
        else make_record(task, agent, seed, **{quantity: float(value)}, **more)
        for seed, value in enumerate(values)
    ]


def test_one_contest_for_each_family_that_has_one():
    tabular = Grid(
        tasks=(GRID, CLIFF),
        agents={"a": AgentChoice("rlsuite/QLearning-v0"), "b": AgentChoice("rlsuite/Sarsa-v0")},
        seeds=3,
    )
    more = Grid(tasks=(GRID,), agents={"c": AgentChoice("rlsuite/Random-v0")}, seeds=4)
    alone = Grid(tasks=(BANDIT,), agents={"ucb": AgentChoice("rlsuite/UCB1-v0")}, seeds=1)
    kinds = chosen_kinds(Suite("three", (tabular, more, alone)))
    (contest,) = contests_of(kinds, 10)
    assert (contest.family, contest.tasks, contest.agents) == ("tabular", (GRID,), ("a", "b", "c"))
    assert contest.looks == (3, 6, 9, 10)
    assert contests_of(kinds)[0].looks == (3, 6, 9, 12, 15)


def test_a_choice_takes_all_seeds_of_an_agent_or_none():
    chosen = chosen_kinds(suite((GRID, CLIFF)), chosen_by(["env=Grid*"]))
    assert set(chosen) == {(GRID, "a"), (GRID, "b")}
    with pytest.raises(SettingError, match="leaves out some seeds of a on rlsuite/GridWorld-v0"):
        chosen_kinds(suite(), chosen_by(["seed=1"]))


def test_what_is_refused():
    with pytest.raises(SuiteError, match="no two agents share a task of one family"):
        contests_of(chosen_kinds(suite(agents=("a",))))
    with pytest.raises(SettingError, match="a single seed says nothing of how much runs differ"):
        contests_of(chosen_kinds(suite(seeds=1)))
    with pytest.raises(SettingError, match="max_seeds is a whole number, at least the 5 seeds"):
        contests_of(chosen_kinds(suite()), 4)
    with pytest.raises(SuiteError, match="at most 12 agents, and tabular has 13"):
        contests_of(chosen_kinds(suite(agents=[str(i) for i in range(13)])))
    one, two = suite(agents=("a",)).grids[0], suite(agents=("a",)).grids[0]
    other = {"a": AgentChoice("rlsuite/QLearning-v0", {"epsilon": 0.3})}
    two = Grid(tasks=(GRID,), agents=other, seeds=5)
    with pytest.raises(SuiteError, match="'a' stands for two agents on rlsuite/GridWorld-v0"):
        chosen_kinds(Suite("twice", (one, two)))


def test_a_suite_grows_where_it_is_wanted():
    two = Suite("two", (*suite().grids, *suite((CLIFF,), seeds=(7, 0)).grids))
    more = grown(two, {(CLIFF, "a"): 4, (GRID, "a"): 3})
    assert [grid.seeds for grid in more.grids] == [(0, 1, 2, 3, 4), (7, 0, 1, 2)]


def test_the_mean_score_of_the_common_tasks_is_compared(make_record):
    """a is better by 0.5 on one task and worse by 0.1 on the other: by 0.2 on average."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, size=(4, 5))
    records = [
        *runs(make_record, GRID, "a", 0.9 + noise[0]),
        *runs(make_record, GRID, "b", 0.4 + noise[1]),
        *runs(make_record, CLIFF, "a", 0.8 + noise[2]),
        *runs(make_record, CLIFF, "b", 0.9 + noise[3]),
    ]
    (found,) = decided(suite((GRID, CLIFF)), records)
    assert (found.quantity, found.tasks) == ("mean score of 2 tasks", (GRID, CLIFF))
    assert found.pairs[0].better == "a"
    assert found.pairs[0].difference == pytest.approx(0.2, abs=0.03)
    assert found.clear
    assert (found.more_seeds, found.most_cells) == ({}, 0)


def test_less_regret_is_better(make_record):
    records = [
        *runs(make_record, BANDIT, "a", [5, 6, 7, 8, 9], "regret", score=0.9),
        *runs(make_record, BANDIT, "b", [25, 26, 27, 28, 29], "regret", score=0.9),
    ]
    (found,) = decided(suite((BANDIT,)), records)
    assert (found.quantity, found.pairs[0].better) == ("regret", "a")


def test_tasks_without_scores_are_tested_each_by_itself(make_record):
    """They share the error rate of their family; a is clear on one and goes on on the other."""
    more = {"family": "own"}
    records = []
    for task, ahead in (("t0", 50.0), ("t1", 0.0)):
        for agent, shift in (("a", ahead), ("b", 0.0)):
            values = shift + np.random.default_rng([len(agent), int(shift)]).normal(size=10)
            records += runs(make_record, task, agent, values, "mean_return", **more)
    clear, undecided = decided(suite(own_tasks(2), seeds=10), records, 50)
    assert (clear.tasks, clear.quantity, clear.level) == (("t0",), "return", 0.975)
    assert clear.pairs[0].better == "a"
    assert undecided.more_seeds == {"a": 10, "b": 10}
    assert undecided.most_cells == 80


def test_a_failed_run_is_as_bad_as_the_worst_of_the_first_look(make_record):
    """Of 10 runs of a 5 fail and the others are a little better than those of b: b is better."""
    good = 0.9 + np.arange(5) / 100
    records = [
        *runs(make_record, GRID, "a", [x for value in good for x in (value, None)]),
        *runs(make_record, GRID, "b", [0.1, *(np.arange(9) / 100 + 0.85)]),
    ]
    (found,) = decided(suite(), records)
    assert found.failed == {"a": 5}
    assert found.pairs[0].difference == pytest.approx(
        (good.sum() + 5 * 0.1) / 10 - (0.1 + 9 * 0.89) / 10
    )
    diverged = [
        *runs(make_record, CART, "a", [float("nan"), 9.0, 9.0, 9.0, 9.0], "mean_return"),
        *runs(make_record, CART, "b", [1.0, 2.0, 3.0, 4.0, 5.0], "mean_return"),
    ]
    (found,) = decided(suite((CART,)), diverged)
    assert found.failed == {"a": 1}
    assert found.pairs[0].difference == pytest.approx(37 / 5 - 3)


def test_what_a_failed_run_counts_does_not_change_with_later_runs(make_record):
    first = [
        *runs(make_record, GRID, "a", [0.9, 0.9, None, 0.8, 0.7]),
        *runs(make_record, GRID, "b", [0.6, 0.5, 0.6, 0.7, 0.5]),
    ]
    (before,) = decided(suite(), first)
    later = [
        *runs(make_record, GRID, "a", [0.9, 0.9, None, 0.8, 0.7]),
        *runs(make_record, GRID, "b", [0.6, 0.5, 0.6, 0.7, 0.5, -9.0]),
    ]
    (after,) = decided(suite(), later)
    assert after.pairs == before.pairs
    assert before.pairs[0].difference == pytest.approx(3.8 / 5 - 2.9 / 5)


def test_agents_that_always_fail_are_the_worst(make_record):
    records = [
        *runs(make_record, GRID, "a", [None] * 5),
        *runs(make_record, GRID, "b", [0.9, 0.8, 0.9, 0.8, 0.7]),
    ]
    (found,) = decided(suite(), records)
    assert found.failed == {"a": 5}
    assert found.pairs[0].difference == pytest.approx(0.7 - 0.82)


def test_where_no_figure_is_shared_nothing_is_decided(make_record):
    none = runs(make_record, GRID, "a", [None] * 5) + runs(make_record, GRID, "b", [None] * 5)
    (found,) = decided(suite(), none)
    assert (found.pairs, found.more_seeds, found.clear) == ((), {}, False)
    assert "nothing is decided" in found.sentence
    reward_only = [make_record("rlsuite/TokenGeneration-v0", "a", s, score=0.5) for s in range(5)]
    reward_only += [
        make_record("rlsuite/TokenGeneration-v0", "b", s, mean_return=None) for s in range(5)
    ]
    (found,) = decided(suite(("rlsuite/TokenGeneration-v0",)), reward_only)
    assert found.pairs == ()
