"""Backward induction, redone on paper and by slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite_envs.tabular.solvers import (
    Dynamics,
    action_values,
    backward_induction,
    chain_of_actions,
    chain_of_policy,
    evaluate_clocked_policy,
    evaluate_with_limit,
    greedy_actions,
    lowest_best,
)


def test_two_steps_by_hand(deterministic):
    """Action 0 takes 1 and ends; action 1 waits in state 1, where taking gives 3 and ends."""
    mdp = deterministic(
        {0: [(0, 1.0, True), (1, 0.0, False)], 1: [(1, 3.0, True), (0, 0.0, False)]}
    )
    dynamics = Dynamics.of(mdp)
    values = backward_induction(dynamics, 2, gamma=0.5)
    # v_2 = 0, 0      v_1 = max(1, 0), max(3, 0)      v_0 = max(1, ½ · 3), max(3, ½ · 1)
    assert values.tolist() == [[1.5, 3.0], [1.0, 3.0], [0.0, 0.0]]
    assert greedy_actions(dynamics, values, gamma=0.5).tolist() == [[1, 0], [0, 0]]


def test_nothing_is_worth_anything_after_a_terminal_outcome(deterministic):
    """The 99 is a trap: state 1 is only ever entered by an outcome that ends the episode."""
    mdp = deterministic({0: [(1, 1.0, True)], 1: [(1, 99.0, False)]})
    assert backward_induction(Dynamics.of(mdp), 5, 1.0)[0, 0] == 1.0


def test_the_first_of_equal_actions_is_taken_in_spite_of_rounding():
    q = np.array([[0.3, 0.1 + 0.2, 0.0], [1.0, 1.0 + 1e-9, 0.0]])
    assert lowest_best(q).tolist() == [0, 1]


def slow_optimum(mdp, horizon, gamma):
    """Nested loops over everything."""
    v = np.zeros(mdp.n_states)
    rows = [v]
    for _ in range(horizon):
        q = np.zeros((mdp.n_states, mdp.n_actions))
        for s, a, k in np.ndindex(mdp.next_state.shape):
            worth = 0.0 if mdp.terminal[s, a, k] else v[mdp.next_state[s, a, k]]
            q[s, a] += mdp.probability[s, a, k] * (mdp.reward[s, a, k] + gamma * worth)
        v = q.max(axis=1)
        rows.append(v)
    return np.array(rows[::-1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_backward_induction_equals_its_slow_twin(random_mdp, seed, gamma):
    mdp = random_mdp(seed)
    values = backward_induction(Dynamics.of(mdp), 7, gamma)
    np.testing.assert_allclose(values, slow_optimum(mdp, 7, gamma), atol=1e-13)


def test_values_that_have_settled_are_copied_backwards(deterministic):
    """A corridor of three steps has the same values for 3 steps left as for 50."""
    mdp = deterministic(
        {0: [(1, -1.0, False)], 1: [(2, -1.0, False)], 2: [(2, -1.0, True)]},
    )
    values = backward_induction(Dynamics.of(mdp), 50, 1.0)
    np.testing.assert_array_equal(values, slow_optimum(mdp, 50, 1.0))
    assert values[0].tolist() == values[47].tolist() == [-3.0, -2.0, -1.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_actions_attain_the_optimal_values(random_mdp, seed):
    mdp = random_mdp(seed, ending=0.05)
    dynamics = Dynamics.of(mdp)
    values = backward_induction(dynamics, 30, 1.0)
    policy = np.eye(mdp.n_actions)[greedy_actions(dynamics, values, 1.0)]
    np.testing.assert_allclose(
        evaluate_clocked_policy(dynamics, policy, 1.0), values[0], atol=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_three_ways_to_evaluate_a_stationary_policy_agree(random_mdp, seed):
    mdp = random_mdp(seed)
    dynamics = Dynamics.of(mdp)
    actions = np.random.default_rng(seed).integers(mdp.n_actions, size=mdp.n_states)
    pi = np.eye(mdp.n_actions)[actions]
    clocked = evaluate_clocked_policy(dynamics, np.broadcast_to(pi, (9, *pi.shape)), 0.95)
    of_policy = evaluate_with_limit(chain_of_policy(dynamics, pi), 9, 0.95)
    of_actions = evaluate_with_limit(chain_of_actions(dynamics, actions), 9, 0.95)
    np.testing.assert_allclose(of_policy, clocked, atol=1e-14)
    np.testing.assert_allclose(of_actions, clocked, atol=1e-14)


def test_action_values_back_up_the_next_state(random_mdp):
    mdp = random_mdp(3)
    v = np.arange(mdp.n_states) * 1.0
    q = action_values(Dynamics.of(mdp), v, 0.5)
    s, a = 2, 1
    p, r = mdp.probability[s, a], mdp.reward[s, a]
    following = np.where(mdp.terminal[s, a], 0.0, v[mdp.next_state[s, a]])
    assert q[s, a] == pytest.approx(p @ (r + 0.5 * following), abs=1e-15)
