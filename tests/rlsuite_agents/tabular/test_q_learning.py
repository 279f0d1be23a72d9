"""Q-learning: updates redone on paper, fixed points, the cliff."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.tabular.q_learning import QLearning, QLearningConfig


class Table(gym.Env):
    """One observation, a reward per action, an end after each step or never."""

    observation_space = Discrete(1)

    def __init__(self, *rewards, ends=True):
        self.rewards, self.ends, self.action_space = rewards, ends, Discrete(len(rewards))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, self.rewards[action], self.ends, False, {}


def two_states(**settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(2), Discrete(3)
    agent = QLearning(env, QLearningConfig(**settings), seed=0)
    agent.tables.q[0] = [1.0, 5.0, 2.0]
    agent.tables.q[1] = [3.0, 8.0, 4.0]
    return agent


def test_an_update_by_hand():
    """Q(0, 1) ← 5 + ½ [2 + ½ · 8 - 5] = 5.5, and nothing else moves."""
    agent = two_states(gamma=0.5)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    np.testing.assert_array_equal(agent.q, [[1, 5.5, 2], [3, 8, 4]])


def test_nothing_counts_after_an_end():
    agent = two_states(gamma=0.5)
    agent.tables.q[1] = [99.0, 99.0, 99.0]
    agent.observe(Transition(0, 1, 2.0, 1, True, False))
    assert agent.q[0, 1] == 5 + 0.5 * (2 - 5)
    agent = two_states(gamma=0.5)
    agent.observe(Transition(0, 1, 2.0, 1, True, True))  # an end on the last tick is an end
    assert agent.q[0, 1] == 5 + 0.5 * (2 - 5)


def test_a_time_limit_bootstraps():
    agent = two_states(gamma=0.5)
    agent.observe(Transition(0, 1, 2.0, 1, False, True))
    assert agent.q[0, 1] == 5.5


def test_the_maximum_is_over_the_allowed_actions():
    agent = two_states(gamma=0.5)
    agent.observe(Transition(0, 1, 2.0, 1, False, False, next_mask=np.array([1, 0, 1])))
    assert agent.q[0, 1] == 5 + 0.5 * (2 + 0.5 * 4 - 5)
    agent.observe(Transition(0, 0, 2.0, 1, True, False, next_mask=np.array([0, 0, 0])))
    assert agent.q[0, 0] == 1 + 0.5 * (2 - 1)


def test_step_size_is_how_far_an_update_goes():
    agent = two_states(gamma=0.5, step_size=1.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == 6.0


def test_gamma_is_how_much_the_next_state_counts():
    agent = two_states(gamma=0.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == 5 + 0.5 * (2 - 5)


def test_epsilon_is_the_share_of_random_actions():
    """The greedy action of two: 1 - ε + ε / 2."""
    for epsilon in (0.0, 0.1, 1.0):
        agent = QLearning(Table(0.0, 1.0), QLearningConfig(epsilon=epsilon), seed=0)
        agent.tables.q[0] = [0.0, 1.0]
        p = agent.action_probabilities([0], deterministic=False)
        np.testing.assert_allclose(p, [[epsilon / 2, 1 - epsilon / 2]])
        draws = [agent.act(0, None, agent.rng)[0] for _ in range(5_000)]
        assert np.mean(draws) == pytest.approx(p[0, 1], abs=4 * 0.5 / 5_000**0.5)


def test_a_task_solvable_by_hand():
    """One state, two arms paying 0 and 1: q* = (0, 1), whatever the seed."""
    agent = QLearning(Table(0.0, 1.0), QLearningConfig(epsilon=1.0), seed=0)
    agent.learn(200)
    np.testing.assert_allclose(agent.q[0], [0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("limit", [1, 10])
def test_truncation_probe(limit):
    """A reward of 1 forever is worth 1 / (1 - γ), wherever the clock cuts it into episodes."""
    env = TimeLimit(Table(1.0, 1.0, ends=False), limit)
    agent = QLearning(env, QLearningConfig(gamma=0.9), seed=0).learn(2_000)
    np.testing.assert_allclose(agent.q[0], 10.0, rtol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_fixed_point_is_the_optimum(seed):
    """Deterministic random MDPs with α = 1: sweeps of experience are value iteration."""
    rng = np.random.default_rng(seed)
    n_states, n_actions, gamma = 6, 3, 0.9
    goes = rng.integers(n_states, size=(n_states, n_actions))
    pays, ends = rng.normal(size=goes.shape), rng.random(goes.shape) < 0.15
    exact = np.zeros(goes.shape)
    for _ in range(500):
        exact = pays + gamma * ~ends * exact.max(axis=1)[goes]
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    agent = QLearning(env, QLearningConfig(step_size=1.0, gamma=gamma), seed=0)
    for _ in range(300):
        for s, a in np.ndindex(*goes.shape):
            end = bool(ends[s, a])
            agent.observe(Transition(s, a, float(pays[s, a]), int(goes[s, a]), end, False))
    np.testing.assert_allclose(agent.q, exact, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_cliff_is_walked_along_its_edge(seed):
    """Default settings, 20,000 steps: the greedy policy returns exactly -13 on every seed."""
    env = gym.make("rlsuite/CliffWalk-v0")
    agent = QLearning(env, seed=seed).learn(20_000)
    oracle = env.unwrapped.oracle(horizon=200)
    pi = agent.action_probabilities(oracle.observations(), deterministic=True)
    assert oracle.policy_return(pi) == -13.0
    assert oracle.optimal_return == -13.0


@pytest.mark.parametrize(
    ("name", "bad", "interval"),
    [
        ("step_size", 0.0, r"\(0, 1\]"),
        ("step_size", 1.1, r"\(0, 1\]"),
        ("epsilon", -0.1, r"\[0, 1\]"),
        ("epsilon", 2, r"\[0, 1\]"),
        ("gamma", 1.5, r"\[0, 1\]"),
    ],
)
def test_settings_out_of_range(name, bad, interval):
    sentence = rf"QLearningConfig\.{name} must be a number in {interval}, got {bad}\."
    with pytest.raises(SettingError, match=sentence):
        QLearningConfig(**{name: bad})
