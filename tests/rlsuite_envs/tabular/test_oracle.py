"""The answer key against brute force, sampling and known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import OracleError, SettingError
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.mdp import TabularMDP


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_policy_return_equals_enumeration_of_every_course(
    random_mdp, random_policy, enumerate_return, seed, gamma
):
    mdp = random_mdp(seed, states=3, actions=2, outcomes=2)
    oracle = mdp.oracle(horizon=5, gamma=gamma)
    for pi in (random_policy(seed, mdp), random_policy(seed, mdp, horizon=5)):
        exact = enumerate_return(mdp, pi, 5, gamma)
        assert oracle.policy_return(pi) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_the_best_of_all_policies(random_mdp, enumerate_return, seed):
    """Two states, two actions, three steps: 2^6 policies with a clock, 2^2 without."""
    mdp = random_mdp(seed, states=2, actions=2, outcomes=2, ending=0.1)
    oracle = mdp.oracle(horizon=3)
    one_hot = np.eye(2)
    clocked = (
        enumerate_return(mdp, one_hot[np.reshape(choice, (3, 2))], 3)
        for choice in itertools.product((0, 1), repeat=6)
    )
    assert oracle.optimal_return == pytest.approx(max(clocked), abs=1e-12)
    stationary = max(
        enumerate_return(mdp, one_hot[list(choice)], 3)
        for choice in itertools.product((0, 1), repeat=2)
    )
    found = oracle.best_stationary_return
    if found is None:
        assert stationary == pytest.approx(oracle.optimal_return, abs=1e-12)
    else:
        assert found <= stationary + 1e-12
        assert found < oracle.optimal_return


def sampled_returns(mdp, pi, horizon, episodes, seed):
    """Returns of episodes of the environment itself, actions drawn from π."""
    env = TabularEnv(mdp)
    rng = np.random.default_rng(seed)
    below = np.cumsum(pi, axis=1)
    below[:, -1] = 1.0
    rows = below.tolist()
    returns = np.empty(episodes)
    env.reset(seed=seed)
    for i in range(episodes):
        state, _ = env.reset()
        total = 0.0
        for u in rng.random(horizon).tolist():
            action = next(a for a, edge in enumerate(rows[state]) if u < edge)
            state, reward, terminated, _, _ = env.step(action)
            total += reward
            if terminated:
                break
        returns[i] = total
    return returns


def assert_within_four_standard_errors(mdp, pi, horizon, seed):
    returns = sampled_returns(mdp, pi, horizon, episodes=100_000, seed=seed)
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert abs(returns.mean() - mdp.oracle(horizon).policy_return(pi)) <= 4 * error


def test_policy_return_is_the_mean_of_sampled_episodes(random_mdp, random_policy):
    mdp = random_mdp(11, ending=0.4)
    assert_within_four_standard_errors(mdp, random_policy(11, mdp), horizon=5, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_policy_return_is_the_mean_of_sampled_episodes_on_larger_mdps(
    random_mdp, random_policy, seed
):
    mdp = random_mdp(seed, states=20, actions=4, outcomes=5, ending=0.05)
    assert_within_four_standard_errors(mdp, random_policy(seed, mdp), horizon=15, seed=seed)


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([1.0, 0.99, 0.5, 0.0]))
@settings(max_examples=50, deadline=None)
def test_no_policy_beats_the_optimum(random_mdp, random_policy, seed, horizon, gamma):
    mdp = random_mdp(seed)
    oracle = mdp.oracle(horizon, gamma)
    best = oracle.optimal_return
    assert oracle.policy_return(random_policy(seed, mdp)) <= best + 1e-12
    assert oracle.policy_return(random_policy(seed, mdp, horizon)) <= best + 1e-12
    assert oracle.baseline_return <= best + 1e-12
    assert oracle.policy_return(oracle.optimal_policy()) == pytest.approx(best, abs=1e-10)
    stationary = oracle.best_stationary_return
    assert stationary is None or stationary < best


@given(st.integers(0, 10_000), st.sampled_from([1.0, 0.9]))
@settings(max_examples=30, deadline=None)
def test_merging_duplicates_changes_no_return(random_mdp, random_policy, seed, gamma):
    """Every outcome listed twice with half its probability is the same task."""
    mdp = random_mdp(seed)
    twice = TabularMDP(
        next_state=np.concatenate([mdp.next_state] * 2, axis=-1),
        probability=np.concatenate([mdp.probability] * 2, axis=-1) / 2,
        reward=np.concatenate([mdp.reward] * 2, axis=-1),
        terminal=np.concatenate([mdp.terminal] * 2, axis=-1),
        start=mdp.start,
    )
    one, other = mdp.oracle(8, gamma), twice.oracle(8, gamma)
    pi = random_policy(seed, mdp)
    assert other.optimal_return == pytest.approx(one.optimal_return, abs=1e-12)
    assert other.policy_return(pi) == pytest.approx(one.policy_return(pi), abs=1e-12)


def test_a_function_is_given_the_observations(random_mdp, random_policy):
    mdp = random_mdp(0)
    oracle = mdp.oracle(4)
    pi = random_policy(0, mdp)
    seen = []

    def policy(observations):
        seen.append(observations)
        return pi

    assert oracle.policy_return(policy) == oracle.policy_return(pi)
    assert seen[0].dtype == np.int64
    assert seen[0].tolist() == [0, 1, 2, 3, 4]
    assert oracle.policy_metrics(pi) == {}
    assert (oracle.provenance, oracle.scope) == ("exact", "task")


def test_values_by_hand(deterministic):
    """Take 1 and end, or wait for state 1, where taking gives 3."""
    mdp = deterministic(
        {0: [(0, 1.0, True), (1, 0.0, False)], 1: [(1, 3.0, True), (0, 0.0, False)]}
    )
    oracle = mdp.oracle(horizon=2)
    assert oracle.optimal_values().tolist() == [[3.0, 3.0], [1.0, 3.0], [0.0, 0.0]]
    assert oracle.optimal_action_values().tolist() == [[1.0, 3.0], [3.0, 1.0]]
    assert oracle.optimal_action_values(1).tolist() == [[1.0, 0.0], [3.0, 0.0]]
    assert oracle.optimal_policy().argmax(axis=-1).tolist() == [[1, 0], [0, 0]]
    # uniform: ½ · 1 + ½ · (½ · 3 + ½ · 0)
    assert oracle.baseline_return == 1.25
    assert oracle.policy_values(np.full((2, 2), 0.5)).tolist() == [1.25, 1.75]


def test_the_baseline_keeps_to_the_masks(deterministic):
    mdp = deterministic({0: [(0, 1.0, True), (0, 3.0, True), (0, -100.0, True)]})
    masked = TabularMDP(
        next_state=mdp.next_state,
        probability=mdp.probability,
        reward=mdp.reward,
        terminal=mdp.terminal,
        start=mdp.start,
        mask=np.array([[True, True, False]]),
    )
    assert mdp.oracle(3).baseline_return == pytest.approx(-32.0)
    assert masked.oracle(3).baseline_return == 2.0


def test_a_clock_can_be_worth_something(deterministic):
    """Work pays 1 and goes on; the last step is better spent on the exit, which pays 3."""
    mdp = deterministic({0: [(0, 1.0, False), (0, 3.0, True)]})
    oracle = mdp.oracle(horizon=4)
    assert oracle.optimal_return == 6.0  # 1 + 1 + 1 + 3
    assert oracle.best_stationary_return == 4.0  # working to the end, against 3
    stationary = np.array([[1.0, 0.0]])
    assert oracle.policy_return(stationary) == 4.0
    assert oracle.policy_return(np.eye(2)[[[0], [0], [0], [1]]]) == 6.0


def test_a_policy_in_single_precision_is_taken_as_it_is_meant(random_mdp, random_policy):
    mdp = random_mdp(0, ending=0.0)
    oracle = mdp.oracle(100)
    pi = random_policy(0, mdp)
    single = oracle.policy_return(pi.astype(np.float32))
    assert single == pytest.approx(oracle.policy_return(pi), rel=1e-5)


@pytest.mark.parametrize(
    ("pi", "sentence"),
    [
        (np.full((4, 3), 1 / 3), r"shape \(5, 3\) or \(6, 5, 3\).*got float64 of shape \(4, 3\)"),
        (np.full((7, 5, 3), 1 / 3), r"got float64 of shape \(7, 5, 3\)"),
        (np.full((5, 3), "a"), "a policy of this task has the shape"),
        ([[0.5, 0.5], [1.0]], "a policy is an array of probabilities"),
        (np.full((5, 3), 0.5), "at least 0 and summing to 1.*sums from 1.5"),
        (np.tile([1.5, -0.5, 0.0], (5, 1)), "at least 0 and summing to 1.*from -0.5 to 1.5"),
        (np.full((5, 3), np.nan), "at least 0 and summing to 1"),
        (lambda observations: observations, r"got int64 of shape \(5,\)"),
    ],
)
def test_what_is_no_policy_gets_a_sentence(random_mdp, pi, sentence):
    with pytest.raises(OracleError, match=sentence):
        random_mdp(0).oracle(6).policy_return(pi)


def test_a_clock_has_no_meaning_without_a_limit(random_mdp):
    oracle = random_mdp(0).oracle(gamma=0.9)
    with pytest.raises(OracleError, match=r"has the shape \(5, 3\), \(states"):
        oracle.policy_return(np.full((6, 5, 3), 1 / 3))


@pytest.mark.parametrize("horizon", [0, -1, 2.5, "10", True])
def test_a_horizon_is_a_positive_whole_number(random_mdp, horizon):
    with pytest.raises(SettingError, match="horizon must be a whole number of at least 1"):
        random_mdp(0).oracle(horizon)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, np.nan, "1"])
def test_gamma_is_a_discount(random_mdp, gamma):
    with pytest.raises(SettingError, match=r"gamma must be a number in \[0, 1\]"):
        random_mdp(0).oracle(5, gamma)


@pytest.mark.parametrize(("horizon", "t"), [(5, 5), (None, 1)])
def test_action_values_exist_for_the_steps_there_are(random_mdp, horizon, t):
    oracle = random_mdp(0).oracle(horizon, gamma=0.5)
    with pytest.raises(SettingError, match="t must be less than the number of steps"):
        oracle.optimal_action_values(t)


def test_memory_grows_with_the_states_not_with_their_square(random_mdp):
    """A square matrix of these states would take 20 GB."""
    states = 50_000
    next_state = np.minimum(np.arange(states) + 1, states - 1).reshape(-1, 1, 1)
    mdp = TabularMDP(
        next_state=next_state,
        probability=np.ones((states, 1, 1)),
        reward=np.full((states, 1, 1), -1.0),
        terminal=(np.arange(states) == states - 1).reshape(-1, 1, 1),
        start=np.eye(1, states)[0],
    )
    assert mdp.oracle(10).optimal_return == -10.0
    assert mdp.oracle(gamma=0.5).policy_return(np.ones((states, 1))) == pytest.approx(-2.0)


def test_the_error_of_predicted_values_counts_the_states_that_the_policy_acts_in(deterministic):
    """0 -> 1 -> end by action 0; action 1 leads to 2, which policy 0 never sees."""
    mdp = deterministic(
        {
            0: {0: (1, 1.0, False), 1: (2, 0.0, False)},
            1: {0: (3, 2.0, True), 1: (3, 0.0, True)},
            2: {0: (3, 9.0, True), 1: (3, 9.0, True)},
            3: {0: (3, 0.0, True), 1: (3, 0.0, True)},
        }
    )
    pi = np.eye(2)[[0, 0, 0, 0]]
    for gamma, first in ((1.0, 3.0), (0.5, 2.0)):
        oracle = mdp.oracle(gamma=gamma)
        assert oracle.value_error(np.array([first, 2.0, np.nan, 50.0]), pi) == 0.0
        found = oracle.value_error(np.array([first + 3.0, 2.0 - 4.0, 0.0, 0.0]), lambda _: pi)
        assert found == pytest.approx(np.sqrt((9 + 16) / 2))
    with pytest.raises(OracleError, match="values must be 4 numbers, one for each state"):
        oracle.value_error(np.zeros(3), pi)
    with pytest.raises(OracleError, match="must be finite where"):
        oracle.value_error(np.full(4, np.inf), pi)
    with pytest.raises(OracleError, match="a policy without a clock"):
        mdp.oracle(2).value_error(np.zeros(4), np.stack([pi, pi]))
