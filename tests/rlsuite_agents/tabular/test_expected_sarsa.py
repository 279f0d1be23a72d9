"""Expected Sarsa: the mean over the next action, and nothing drawn for it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.tabular.expected_sarsa import ExpectedSarsa, ExpectedSarsaConfig


def two_states(**settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(2), Discrete(3)
    agent = ExpectedSarsa(env, ExpectedSarsaConfig(**{"gamma": 0.5, **settings}), seed=0)
    agent.tables.q[:] = [[1.0, 5.0, 2.0], [3.0, 9.0, 6.0]]
    return agent


@pytest.mark.parametrize(
    ("epsilon", "mask", "mean"),
    [
        (0.0, None, 9.0),
        (0.3, None, 0.1 * 3 + 0.8 * 9 + 0.1 * 6),
        (1.0, None, 6.0),
        (0.5, [1, 0, 1], 0.25 * 3 + 0.75 * 6),
    ],
)
def test_an_update_by_hand(epsilon, mask, mean):
    """Q(0, 1) ← 5 + ½ [2 + ½ · mean - 5]."""
    agent = two_states(epsilon=epsilon)
    before = agent.rng.bit_generator.state
    mask = None if mask is None else np.array(mask)
    agent.observe(Transition(0, 1, 2.0, 1, False, False, next_mask=mask))
    assert agent.q[0, 1] == pytest.approx(5 + 0.5 * (2 + 0.5 * mean - 5))
    assert agent.rng.bit_generator.state == before


def test_ties_share_their_probability():
    agent = two_states(epsilon=0.0, exploration="greedy")
    agent.tables.q[1] = [9.0, 1.0, 9.0]
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == pytest.approx(5 + 0.5 * (2 + 0.5 * 9 - 5))


def test_nothing_counts_after_an_end_but_at_a_time_limit_it_does():
    agent = two_states(epsilon=0.0)
    agent.observe(Transition(0, 1, 2.0, 1, True, True, next_mask=np.zeros(3)))
    assert agent.q[0, 1] == 5 + 0.5 * (2 - 5)
    agent = two_states(epsilon=0.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, True))
    assert agent.q[0, 1] == 5 + 0.5 * (2 + 0.5 * 9 - 5)


def test_boltzmann_is_the_softmax_mean():
    agent = two_states(epsilon=0.0, exploration="boltzmann(2)")
    weights = np.exp(np.array([3.0, 9.0, 6.0]) / 2)
    mean = weights @ [3.0, 9.0, 6.0] / weights.sum()
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == pytest.approx(5 + 0.5 * (2 + 0.5 * mean - 5), rel=1e-14)


def test_the_fixed_point_is_the_value_of_its_own_policy():
    """ε = 1 on a random deterministic MDP: nothing is random, so it gets there exactly."""
    rng = np.random.default_rng(4)
    goes, pays = rng.integers(4, size=(4, 2)), rng.normal(size=(4, 2))
    exact = np.zeros((4, 2))
    for _ in range(300):
        exact = pays + 0.5 * exact.mean(axis=1)[goes]
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(4), Discrete(2)
    agent = ExpectedSarsa(env, ExpectedSarsaConfig(epsilon=1.0, gamma=0.5), seed=0)
    for _ in range(200):
        for s, a in np.ndindex(4, 2):
            agent.observe(Transition(s, a, float(pays[s, a]), int(goes[s, a]), False, False))
    np.testing.assert_allclose(agent.q, exact, atol=1e-12)


@pytest.mark.parametrize(("name", "bad"), [("step_size", 0), ("epsilon", 1.5), ("gamma", -0.1)])
def test_settings_out_of_range(name, bad):
    with pytest.raises(SettingError, match=rf"ExpectedSarsaConfig\.{name} must be a number in"):
        ExpectedSarsaConfig(**{name: bad})
