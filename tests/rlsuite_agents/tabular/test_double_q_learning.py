"""Double Q-learning: one table selects, the other one values."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.tabular.double_q_learning import DoubleQLearning, DoubleQLearningConfig
from rlsuite_agents.tabular.q_learning import QLearning, QLearningConfig


class Uniforms:
    """A generator that says what it is told to say."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)


def two_states(*coins, **settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(2), Discrete(3)
    agent = DoubleQLearning(env, DoubleQLearningConfig(**{"gamma": 0.5, **settings}), seed=0)
    agent.tables.pair[0] = [[1.0, 5.0, 2.0], [3.0, 9.0, 6.0]]
    agent.tables.pair[1] = [[1.0, 3.0, 2.0], [8.0, 4.0, 2.0]]
    agent.tables.q[:] = agent.tables.pair.mean(axis=0)
    agent.rng = Uniforms(*coins)
    return agent


def test_an_update_of_the_first_table_by_hand():
    """Q₁ likes action 1 best in S', which Q₂ values at 4: Q₁(0, 1) ← 5 + ½ [2 + ½ · 4 - 5]."""
    agent = two_states(0.49)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.tables.pair[:, 0, 1].tolist() == [4.5, 3.0]
    assert agent.q[0, 1] == 3.75


def test_an_update_of_the_second_table_by_hand():
    """Q₂ likes action 0 best in S', which Q₁ values at 3: Q₂(0, 1) ← 3 + ½ [2 + ½ · 3 - 3]."""
    agent = two_states(0.5)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.tables.pair[:, 0, 1].tolist() == [5.0, 3.25]
    assert agent.q[0, 1] == 4.125


def test_the_argmax_is_over_the_allowed_actions():
    """Without action 1, Q₁ likes action 2, which Q₂ values at 2."""
    agent = two_states(0.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False, next_mask=np.array([1, 0, 1])))
    assert agent.tables.pair[0, 0, 1] == 5 + 0.5 * (2 + 0.5 * 2 - 5)


def test_nothing_counts_after_an_end_but_at_a_time_limit_it_does():
    agent = two_states(0.0)
    agent.observe(Transition(0, 1, 2.0, 1, True, True, next_mask=np.zeros(3)))
    assert agent.tables.pair[0, 0, 1] == 5 + 0.5 * (2 - 5)
    agent = two_states(0.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, True))
    assert agent.tables.pair[0, 0, 1] == 4.5


def test_it_acts_by_the_mean_of_both():
    """The means in state 1 are 5.5, 6.5 and 4."""
    p = two_states(epsilon=0.3).action_probabilities([1], deterministic=False)
    np.testing.assert_allclose(p, [[0.1, 0.8, 0.1]])


def maximisation_bias(cls, config_type, seed, rounds=600):
    """S&B Example 6.7: how much action 0 of state 0 is thought to be worth; in truth -0.1.

    It leads to state 1, where eight actions pay N(-0.1, 1) and end.
    """
    env, rng = gym.Env(), np.random.default_rng(seed)
    env.observation_space, env.action_space = Discrete(3), Discrete(8)
    agent = cls(env, config_type(step_size=0.1), seed=seed)
    for _ in range(rounds):
        agent.observe(Transition(0, 0, 0.0, 1, False, False))
        noisy = Transition(1, int(rng.integers(8)), float(rng.normal(-0.1, 1)), 2, True, False)
        agent.observe(noisy)
    return agent.q[0, 0]


def test_it_does_not_overestimate():
    """The mean of 40 runs is -0.1 or below for two tables, and far above it for one."""
    double, single = (
        np.array([maximisation_bias(cls, config, seed) for seed in range(40)])
        for cls, config in (
            (DoubleQLearning, DoubleQLearningConfig),
            (QLearning, QLearningConfig),
        )
    )
    error = double.std(ddof=1) / np.sqrt(40)
    assert double.mean() < -0.1 + 4 * error
    assert single.mean() > 0.1


@pytest.mark.parametrize(("name", "bad"), [("step_size", 0), ("epsilon", 1.5), ("gamma", -0.1)])
def test_settings_out_of_range(name, bad):
    with pytest.raises(SettingError, match=rf"DoubleQLearningConfig\.{name} must be a number in"):
        DoubleQLearningConfig(**{name: bad})
