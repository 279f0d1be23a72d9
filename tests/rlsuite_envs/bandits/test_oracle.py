"""The answer key of a bandit: by hand, by properties, against a slow twin."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import OracleError
from rlsuite_envs.bandits.oracle import BanditOracle


def two_contexts(horizon: int = 4) -> BanditOracle:
    """Context 0 has probability 1/4 and pays (1, 3), context 1 has 3/4 and pays (2, 0)."""
    return BanditOracle(
        means=np.array([[1.0, 3.0], [2.0, 0.0]]),
        probabilities=np.array([0.25, 0.75]),
        contexts=np.array([[0.0], [1.0]], np.float32),
        horizon=horizon,
    )


@st.composite
def problems(draw):
    """A small bandit and a policy that depends on the time."""
    c, a, h = (draw(st.integers(1, 4)) for _ in range(3))
    weights = st.floats(0.01, 1.0)
    means = draw(hnp.arrays(np.float64, (c, a), elements=st.floats(-5, 5)))
    p = draw(hnp.arrays(np.float64, (c,), elements=weights))
    pi = draw(hnp.arrays(np.float64, (h, c, a), elements=weights))
    oracle = BanditOracle(
        means=means,
        probabilities=p / p.sum(),
        contexts=np.arange(c, dtype=np.float32)[:, None],
        horizon=h,
    )
    return oracle, pi / pi.sum(axis=2, keepdims=True)


def test_by_hand():
    oracle = two_contexts()
    assert oracle.optimal_return == 4 * (0.25 * 3 + 0.75 * 2)  # 9
    assert oracle.baseline_return == 4 * (0.25 * 2 + 0.75 * 1)  # 5
    assert oracle.regret_per_step() == 1.0  # (9 - 5) / 4
    np.testing.assert_array_equal(oracle.gaps, [[2, 0], [0, 2]])
    np.testing.assert_array_equal(oracle.optimal_policy, [[0, 1], [1, 0]])
    assert oracle.best_stationary_return is None
    assert oracle.provenance == "exact"
    assert oracle.scope == "task"
    assert oracle.lai_robbins is None
    assert oracle.policy_metrics(oracle.optimal_policy) == {}


def test_a_policy_with_a_clock_by_hand():
    """Arm 0 in the first of two steps, arm 1 in the second: 1/4 (1 + 3) + 3/4 (2 + 0)."""
    pi = np.zeros((2, 2, 2))
    pi[0, :, 0] = pi[1, :, 1] = 1
    assert two_contexts(horizon=2).policy_return(pi) == 2.5
    assert two_contexts(horizon=2).regret_per_step(pi) == (4.5 - 2.5) / 2


def test_ties_go_to_the_first_arm():
    oracle = BanditOracle(
        means=np.array([[0.5, 0.5]]),
        probabilities=np.ones(1),
        contexts=np.ones((1, 1), np.float32),
        horizon=3,
    )
    np.testing.assert_array_equal(oracle.optimal_policy, [[1, 0]])


def test_a_function_is_given_the_observations():
    oracle = two_contexts()
    seen = []

    def policy(observations):
        seen.append(observations)
        return np.stack([observations[:, 0], 1 - observations[:, 0]], axis=1)

    assert oracle.policy_return(policy) == oracle.optimal_return
    np.testing.assert_array_equal(seen[0], oracle.contexts)
    assert seen[0] is not oracle.contexts


def test_integer_and_float32_policies_are_taken():
    oracle = two_contexts()
    assert oracle.policy_return(np.array([[0, 1], [1, 0]])) == 9.0
    third = np.array([[1 / 3, 2 / 3]] * 2, np.float32)
    assert oracle.policy_return(third) == pytest.approx(4 * (0.25 * 7 / 3 + 0.75 * 2 / 3), abs=1e-6)


@given(problems())
def test_against_the_plain_definition(problem):
    oracle, pi = problem
    slow = sum(
        oracle.probabilities[c] * pi[t, c, a] * oracle.means[c, a]
        for t, c, a in np.ndindex(pi.shape)
    )
    assert oracle.policy_return(pi) == pytest.approx(slow, abs=1e-12)


@given(problems())
def test_regret_is_what_is_missing_to_the_optimum(problem):
    oracle, pi = problem
    j = oracle.policy_return(pi)
    assert oracle.regret_per_step(pi) >= 0
    assert j + oracle.horizon * oracle.regret_per_step(pi) == pytest.approx(
        oracle.optimal_return, abs=1e-11
    )


@given(problems())
def test_a_constant_policy_is_the_same_with_and_without_the_time(problem):
    oracle, pi = problem
    still = np.broadcast_to(pi[0], pi.shape)
    assert oracle.policy_return(still) == pytest.approx(oracle.policy_return(pi[0]), abs=1e-11)


@pytest.mark.parametrize(
    "pi", [np.ones(2), np.ones((2, 3)) / 3, np.ones((3, 2, 2)) / 2, np.ones((1, 2)), "left"]
)
def test_a_policy_of_another_shape_is_refused(pi):
    with pytest.raises(OracleError, match=r"has the shape \(2, 2\) \(contexts, arms\) or"):
        two_contexts().policy_return(pi)


@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.5, 1.5], [np.nan, 1.0], [0.0, 0.0]])
def test_rows_that_are_no_distribution_are_refused(row):
    with pytest.raises(OracleError, match="probabilities, at least 0 and summing to 1"):
        two_contexts().policy_return(np.array([row, [0.5, 0.5]]))


@pytest.mark.parametrize("name", ["Bernoulli", "Gaussian", "Drifting", "Adversarial"])
def test_what_is_observed_says_nothing_of_the_best_arm(name):
    """Without contexts it is 1.0, whatever the instance, the arm and the reward."""
    env = gym.make(f"rlsuite/{name}Bandit-v0")
    for seed in range(5):
        seen = [env.reset(seed=seed)[0]]
        seen += [env.step(arm % env.action_space.n)[0] for arm in range(20)]
        np.testing.assert_array_equal(seen, 1.0)
