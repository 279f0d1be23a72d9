"""The cliff: what is learned there, while learning and in the end, against exact values."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from rlsuite.training import TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder
from rlsuite_agents.tabular.expected_sarsa import ExpectedSarsa
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa

CLIFF = "rlsuite/CliffWalk-v0"
SEEDS = range(50)
EPSILON = 0.1


@functools.cache
def oracle():
    return gym.make(CLIFF).unwrapped.oracle()


def path_along(row):
    """Up or down to a row, right to the last column, down to the goal: [48, 4], ε-soft."""
    actions = [2 if s % 12 == 11 else (0, 1, 2)[np.sign(row - s // 12) + 1] for s in range(48)]
    return (1 - EPSILON) * np.eye(4)[actions] + EPSILON / 4


def study(cls, steps, **settings):
    """Agents of 50 seeds, and their mean return per episode over the second half of learning."""
    logs = []

    def make():
        logs.append(TrainingLog())
        return AgentView(EpisodeRecorder(gym.make(CLIFF), logs[-1], 0))

    agents = cls.learn_many(make, SEEDS, steps, cls.config_type(**settings))
    online = []
    for log in logs:
        curve = log.curve()
        late = curve.step > steps // 2
        episodes = curve.episodes[late]
        online.append(np.average(curve.mean[late], weights=episodes))
    return agents, np.array(online)


def interval(values):
    """Mean ± 3 standard errors."""
    half = 3 * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def row_walked(agent):
    """The highest row on the greedy way to the goal; None if it does not get there."""
    goes = gym.make(CLIFF).unwrapped.model.next_state[..., 0]
    best, s, highest = agent.q.argmax(axis=1), 36, 3
    for _ in range(60):
        s = int(goes[s, best[s]])
        highest = min(highest, s // 12)
        if s == 47:
            return highest
    return None


def test_exact_values_of_the_paths():
    """What the page says: along the edge -51.81, one row above -21.05, at the top -22.27."""
    values = [oracle().policy_return(path_along(row)) for row in (2, 1, 0)]
    np.testing.assert_allclose(values, [-51.813, -21.053, -22.273], atol=1e-3)


@pytest.mark.slow
def test_greedy_q_learning_is_optimal_on_every_seed_and_pays_for_it_online():
    learned, online = {}, {}
    for cls in (QLearning, Sarsa, ExpectedSarsa):
        learned[cls], online[cls] = study(cls, 50_000)
    for agent in learned[QLearning]:
        pi = agent.action_probabilities(oracle().observations(), deterministic=True)
        assert oracle().policy_return(pi) == -13.0
    _, q_high = interval(online[QLearning])
    sarsa_low, sarsa_high = interval(online[Sarsa])
    expected_low, _ = interval(online[ExpectedSarsa])
    assert q_high < sarsa_low - 10
    assert sarsa_high < expected_low


@pytest.mark.slow
def test_the_safe_path_is_made_by_the_step_size():
    """With a small one Sarsa walks one row above the cliff, and collects what is best for its ε.

    -20.708 is the exact return of the best ε-soft policy.
    """
    large, _ = study(Sarsa, 2_000_000, step_size=0.1)
    small, online = study(Sarsa, 2_000_000, step_size=0.02)
    assert [row_walked(agent) for agent in large] == [0] * 50
    assert [row_walked(agent) for agent in small] == [1] * 50
    low, high = interval(online)
    assert low < -20.708 < high
