"""A treasure that only exploration finds: who solves the deep sea, and who does not."""

from __future__ import annotations

import functools

import gymnasium as gym
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from rlsuite_agents.tabular.posterior_sampling import PosteriorSampling
from rlsuite_agents.tabular.q_learning import QLearning, QLearningConfig

COUNTS = QLearningConfig(exploration="count_bonus(0.01)", initial_value=0.01, epsilon=0.0)
OPTIMISM = QLearningConfig(initial_value=1.0, epsilon=0.0)


def regrets(cls, size, dives, seeds, *config):
    """Exact regret of each seed's greedy policy after so many dives."""
    make = functools.partial(gym.make, "rlsuite/DeepSea-v0", size=size)
    oracle, n = make().unwrapped.oracle(), (size + 1) ** 2
    return [
        oracle.optimal_return
        - oracle.policy_return(agent.action_probabilities(range(n), deterministic=True))
        for agent in cls.learn_many(make, seeds, dives * size, *config)
    ]


def test_a_shallow_sea_is_solved_by_posterior_sampling_but_not_by_chance():
    assert regrets(PosteriorSampling, 7, 150, range(3)) == pytest.approx([0.0] * 3)
    assert min(regrets(QLearning, 7, 150, range(3))) > 0.9


@pytest.mark.slow
def test_counts_and_optimism_solve_twenty_rows_and_epsilon_greedy_does_not():
    """2^20 dives would be a million."""
    assert regrets(QLearning, 20, 10_000, range(10), COUNTS) == pytest.approx([0.0] * 10)
    assert regrets(QLearning, 20, 3_000, range(10), OPTIMISM) == pytest.approx([0.0] * 10)
    for epsilon in (0.1, 0.5, 1.0):
        config = QLearningConfig(epsilon=epsilon)
        assert min(regrets(QLearning, 20, 10_000, range(10), config)) > 0.9


@pytest.mark.slow
def test_posterior_sampling_solves_twenty_rows():
    assert regrets(PosteriorSampling, 20, 700, [0, 1]) == pytest.approx([0.0] * 2)
