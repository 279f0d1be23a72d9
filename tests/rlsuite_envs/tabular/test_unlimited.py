"""Without a time limit: discounted values, and the traps of γ = 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import OracleError
from rlsuite_envs.tabular import unlimited
from rlsuite_envs.tabular.grid_world import GridWorld
from rlsuite_envs.tabular.mdp import TabularMDP

UP, DOWN = 0, 1


def choose(*actions):
    """The deterministic policy of two actions."""
    return np.eye(2)[list(actions)]


@given(st.integers(0, 10_000), st.sampled_from([0.95, 0.5, 0.0]))
@settings(max_examples=40, deadline=None)
def test_with_a_discount_a_long_limit_comes_to_the_same(random_mdp, random_policy, seed, gamma):
    mdp = random_mdp(seed, ending=0.0)
    endless, long = mdp.oracle(gamma=gamma), mdp.oracle(1000, gamma)
    pi = random_policy(seed, mdp)
    assert endless.policy_return(pi) == pytest.approx(long.policy_return(pi), abs=1e-10)
    assert endless.optimal_return == pytest.approx(long.optimal_return, abs=1e-10)
    best = endless.policy_return(endless.optimal_policy())
    assert best == pytest.approx(endless.optimal_return, abs=1e-9)
    assert endless.best_stationary_return is None


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_where_every_policy_ends_a_long_limit_comes_to_the_same(random_mdp, random_policy, seed):
    """Every action ends the episode with probability 0.1 at least, whatever happens."""
    mdp = random_mdp(seed, ending=0.0)
    mdp = TabularMDP(
        next_state=np.concatenate([mdp.next_state, mdp.next_state[..., :1]], axis=-1),
        probability=np.concatenate(
            [0.9 * mdp.probability, np.full((*mdp.next_state.shape[:2], 1), 0.1)], axis=-1
        ),
        reward=np.concatenate([mdp.reward, mdp.reward[..., :1]], axis=-1),
        terminal=np.concatenate(
            [mdp.terminal, np.ones((*mdp.next_state.shape[:2], 1), bool)], axis=-1
        ),
        start=mdp.start,
    )
    endless, long = mdp.oracle(), mdp.oracle(1000)
    pi = random_policy(seed, mdp)
    assert endless.policy_return(pi) == pytest.approx(long.policy_return(pi), abs=1e-10)
    assert endless.optimal_return == pytest.approx(long.optimal_return, abs=1e-10)
    assert endless.policy_return(endless.optimal_policy()) == pytest.approx(
        endless.optimal_return, abs=1e-10
    )


def test_a_greedy_policy_does_not_loop_among_equal_values(deterministic):
    """Turning round (0) and going on (1) both keep the value 1; only going on collects it."""
    mdp = deterministic(
        {0: [(0, 0.0, False), (1, 0.0, False)], 1: [(0, 0.0, False), (1, 1.0, True)]}
    )
    oracle = mdp.oracle()
    assert oracle.optimal_action_values().tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert oracle.optimal_policy().argmax(axis=1).tolist() == [1, 1]
    assert oracle.policy_return(oracle.optimal_policy()) == oracle.optimal_return == 1.0
    assert oracle.policy_return(choose(0, 0)) == 0.0  # for ever, for nothing


def test_a_policy_that_never_ends_and_pays_each_step_is_worth_minus_infinity(deterministic):
    mdp = deterministic(
        {0: [(0, -1.0, False), (1, -1.0, False)], 1: [(0, -1.0, False), (1, -1.0, True)]}
    )
    oracle = mdp.oracle()
    assert oracle.optimal_return == -2.0
    assert oracle.policy_return(choose(0, 0)) == -math.inf
    assert oracle.policy_return(choose(1, 0)) == -math.inf
    # from state 0: half of the time back to 0, so 1 / ½ steps to get on, twice
    assert oracle.policy_return(np.full((2, 2), 0.5)) == pytest.approx(-6.0)
    assert oracle.policy_values(choose(1, 1)).tolist() == [-2.0, -1.0]


def test_a_trap_far_from_the_start_counts_if_it_can_be_reached(deterministic):
    """Action 1 of state 0 falls into state 1, which costs for ever."""
    mdp = deterministic({0: [(0, -1.0, True), (1, -1.0, False)], 1: [(1, -1.0, False)] * 2})
    oracle = mdp.oracle(gamma=1.0)
    assert oracle.policy_return(choose(0, 0)) == -1.0
    assert oracle.policy_return(np.array([[0.999, 0.001], [1.0, 0.0]])) == -math.inf
    values = oracle.policy_values(choose(0, 0))
    assert values[0] == -1.0
    assert math.isnan(values[1])


def test_a_class_without_rewards_is_worth_nothing(deterministic):
    mdp = deterministic({0: [(1, -2.0, False)], 1: [(0, 0.0, False)]})
    assert mdp.oracle().policy_return(np.ones((2, 1))) == -math.inf
    mdp = deterministic({0: [(1, -2.0, False)], 1: [(1, 0.0, False)]})
    assert mdp.oracle().policy_return(np.ones((2, 1))) == -2.0
    assert mdp.oracle().optimal_return == -2.0


def test_to_stop_for_nothing_beats_to_end_at_a_cost(deterministic):
    mdp = deterministic({0: [(0, -1.0, True), (0, 0.0, False)]})
    oracle = mdp.oracle()
    assert oracle.optimal_return == 0.0
    assert oracle.optimal_policy().tolist() == [[0.0, 1.0]]


def test_a_loop_that_pays_is_worth_infinity(deterministic):
    mdp = deterministic({0: [(0, 1.0, False), (0, 5.0, True)]})
    oracle = mdp.oracle()
    assert oracle.policy_return(choose(0)) == math.inf
    assert oracle.policy_return(choose(1)) == 5.0
    with pytest.raises(OracleError, match="has no finite optimum"):
        _ = oracle.optimal_return


def test_a_task_that_cannot_be_ended_has_no_finite_optimum(deterministic):
    oracle = deterministic({0: [(0, -1.0, False)]}).oracle()
    assert oracle.baseline_return == -math.inf
    with pytest.raises(OracleError, match=r"has no finite optimum.*still change by 1 a sweep"):
        oracle.optimal_values()


def test_a_long_corridor_is_no_task_without_an_end(deterministic):
    """The values of the far end change for as many sweeps as there are states."""
    n = 1500
    mdp = deterministic({s: [(min(s + 1, n - 1), -1.0, s == n - 1)] for s in range(n)})
    assert mdp.oracle().optimal_return == -n


@pytest.mark.parametrize(("there", "sign"), [(2.0, 1), (0.5, -1)])
def test_the_average_decides_in_a_class_of_gains_and_costs(deterministic, there, sign):
    mdp = deterministic({0: [(1, there, False)], 1: [(0, -1.0, False)]})
    assert mdp.oracle().policy_return(np.ones((2, 1))) == sign * math.inf


def test_a_sum_that_swings_for_ever_is_refused(deterministic):
    mdp = deterministic({0: [(1, 1.0, False)], 1: [(0, -1.0, False)]})
    with pytest.raises(OracleError, match="rewards that cancel out"):
        mdp.oracle().policy_return(np.ones((2, 1)))


def test_infinity_minus_infinity_is_refused(deterministic):
    mdp = deterministic(
        {0: [(1, 0.0, False), (2, 0.0, False)], 1: [(1, 1.0, False)] * 2, 2: [(2, -1.0, False)] * 2}
    )
    with pytest.raises(OracleError, match="pay for ever and in states that cost for ever"):
        mdp.oracle().policy_return(np.full((3, 2), 0.5))


def test_a_swing_without_end_has_no_optimum_either(deterministic):
    mdp = deterministic({0: [(1, 1.0, False)], 1: [(0, -1.0, False)]})
    with pytest.raises(OracleError, match="has no finite optimum"):
        _ = mdp.oracle().optimal_return


def test_an_optimum_that_no_stationary_policy_attains_is_refused(deterministic, monkeypatch):
    """Value iteration that stopped at wrong values is found out by exact evaluation."""
    mdp = deterministic({0: [(0, -1.0, True), (0, -2.0, True)]})
    monkeypatch.setattr(unlimited, "_value_iteration", lambda dynamics: np.array([5.0]))
    with pytest.raises(OracleError, match="no stationary policy was found that attains"):
        _ = mdp.oracle().optimal_return


def test_policy_iteration_that_does_not_settle_is_refused(random_mdp, monkeypatch):
    monkeypatch.setattr(unlimited, "MAX_IMPROVEMENTS", 0)
    with pytest.raises(OracleError, match="policy iteration did not settle within 0"):
        _ = random_mdp(0).oracle(gamma=0.9).optimal_return


def test_what_cannot_be_reached_has_no_value(deterministic):
    """State 1 pays for ever, but nobody gets there."""
    mdp = deterministic({0: [(0, 1.0, True)], 1: [(1, 1.0, False)]})
    oracle = mdp.oracle()
    assert oracle.optimal_return == 1.0
    assert np.isnan(oracle.optimal_values()).tolist() == [False, True]
    assert np.isnan(oracle.optimal_action_values()).tolist() == [[False], [True]]


@pytest.mark.parametrize("p", [0.9, 0.5, 0.01])
def test_gamblers_ruin(p):
    """Betting 1 with 3 of 10 in hand: win with probability (1 - r^3) / (1 - r^10), r = (1-p)/p."""
    hand = np.arange(1, 10)  # state s holds s + 1
    next_state = np.stack([np.minimum(hand, 8), np.maximum(hand - 2, 0)], axis=-1)[:, None]
    mdp = TabularMDP(
        next_state=next_state,
        probability=np.tile([p, 1 - p], (9, 1, 1)),
        reward=np.stack([hand == 9, np.zeros(9)], axis=-1)[:, None] * 1.0,
        terminal=np.stack([hand == 9, hand == 1], axis=-1)[:, None],
        start=np.eye(9)[2],
    )
    r = (1 - p) / p
    expected = 0.3 if p == 0.5 else (1 - r**3) / (1 - r**10)
    assert mdp.oracle().policy_return(np.ones((9, 1))) == pytest.approx(expected, rel=1e-10)
    assert mdp.oracle().optimal_return == pytest.approx(expected, rel=1e-10)


def test_a_long_way_to_the_end_is_walked_exactly():
    """60 x 60 with slip: what each step gives away within the tolerance would add up."""
    env = GridWorld(60, n_obstacles=0, slip=0.2)
    unlimited = env.oracle(limit=False).optimal_return
    assert unlimited == pytest.approx(env.oracle(horizon=1_500).optimal_return, abs=1e-9)
