"""Sarsa: the action that is learned from is the action that is played."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa, SarsaConfig


class Forever(gym.Env):
    """Pays 1 a step and never ends."""

    observation_space, action_space = Discrete(1), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0, False, False, {}


def two_states(**settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(2), Discrete(3)
    agent = Sarsa(env, SarsaConfig(**{"epsilon": 0.0, "gamma": 0.5, **settings}), seed=0)
    agent.tables.q[0] = [1.0, 5.0, 2.0]
    agent.tables.q[1] = [3.0, 8.0, 4.0]
    return agent


def state_of(rng):
    return rng.bit_generator.state["state"]["state"]


def test_an_update_by_hand():
    """A' is 1, the greedy one: Q(0, 1) ← 5 + ½ [2 + ½ · 8 - 5] = 5.5."""
    agent = two_states()
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    np.testing.assert_array_equal(agent.q, [[1, 5.5, 2], [3, 8, 4]])


def test_nothing_counts_after_an_end_and_nothing_is_drawn():
    agent = two_states()
    agent.tables.q[1] = [99.0, 99.0, 99.0]
    before = state_of(agent.rng)
    agent.observe(Transition(0, 1, 2.0, 1, True, False))
    assert agent.q[0, 1] == 5 + 0.5 * (2 - 5)
    assert state_of(agent.rng) == before


def test_the_learned_action_is_played():
    """ε = 1: A' is any action, and the next one played is the one that was learned from."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        agent = two_states(epsilon=1.0)
        agent.rng = rng
        agent.observe(Transition(0, 1, 2.0, 1, False, False))
        a_next = (agent.q[0, 1] - 5) / 0.5 + 5 - 2  # ½ Q(1, A')
        before = state_of(rng)
        action, _ = agent.act(1, None, rng)
        assert agent.q[1, action] == pytest.approx(2 * a_next)
        assert state_of(rng) == before  # nothing more is drawn


def test_at_a_time_limit_it_is_drawn_and_learned_from_but_not_played():
    agent = two_states(epsilon=1.0)
    before = state_of(agent.rng)
    agent.observe(Transition(0, 1, 2.0, 1, False, True))
    drawn = state_of(agent.rng)
    assert drawn != before
    assert agent.q[0, 1] != 5 + 0.5 * (2 - 5)  # it bootstrapped
    agent.act(0, None, agent.rng)
    assert state_of(agent.rng) != drawn  # a new action, for a new episode


def test_a_plan_that_the_mask_forbids_is_drawn_again():
    agent = two_states()
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.act(1, np.array([1, 0, 1]), agent.rng)[0] == 2


def test_the_next_action_is_an_allowed_one():
    agent = two_states()
    agent.observe(Transition(0, 1, 2.0, 1, False, False, next_mask=np.array([1, 0, 1])))
    assert agent.q[0, 1] == 5 + 0.5 * (2 + 0.5 * 4 - 5)


def test_step_size_and_gamma():
    agent = two_states(step_size=1.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == 6.0
    agent = two_states(gamma=0.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == 5 + 0.5 * (2 - 5)


def test_epsilon():
    p = two_states(epsilon=0.3).action_probabilities([0], deterministic=False)
    np.testing.assert_allclose(p, [[0.1, 0.8, 0.1]])


@pytest.mark.parametrize("limit", [1, 10])
def test_truncation_probe(limit):
    """A reward of 1 forever is worth 1 / (1 - γ), wherever the clock cuts it into episodes."""
    agent = Sarsa(TimeLimit(Forever(), limit), SarsaConfig(gamma=0.9), seed=0).learn(3_000)
    np.testing.assert_allclose(agent.q[0], 10.0, rtol=1e-3)


def test_the_fixed_point_is_the_value_of_its_own_policy():
    """ε = 1 on a random deterministic MDP: q of the uniform policy.

    The mean of n iterates errs by at most (1 / (1 - γ)) γ sd(Q(S', A')) / √n: 0.016 here.
    """
    rng = np.random.default_rng(4)
    n_states, n_actions, gamma = 4, 2, 0.5
    goes = rng.integers(n_states, size=(n_states, n_actions))
    pays = rng.normal(size=goes.shape)
    exact = np.zeros(goes.shape)
    for _ in range(300):
        exact = pays + gamma * exact.mean(axis=1)[goes]
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    agent = Sarsa(env, SarsaConfig(epsilon=1.0, gamma=gamma, step_size=0.02), seed=0)
    total, rounds = np.zeros(goes.shape), 8_000
    for k in range(rounds):
        for s, a in np.ndindex(*goes.shape):
            agent.observe(Transition(s, a, float(pays[s, a]), int(goes[s, a]), False, False))
        total += agent.q if k >= rounds // 2 else 0.0
    np.testing.assert_allclose(total / (rounds // 2), exact, atol=4 * 0.016)


def test_on_the_cliff_it_learns_the_safer_way():
    """S&B figure 6.4: while both still explore, Sarsa collects more than Q-learning."""
    online = {}
    for cls in (Sarsa, QLearning):
        env = gym.make("rlsuite/CliffWalk-v0")
        per_episode = []
        for seed in range(8):
            agent, rewards = cls(env, seed=seed), []
            observe = agent.observe

            def spy(t, observe=observe, rewards=rewards):
                rewards.append((t.reward, t.terminated or t.truncated))
                observe(t)

            agent.observe = spy
            agent.learn(15_000)
            tail = rewards[5_000:]
            per_episode.append(sum(r for r, _ in tail) / sum(end for _, end in tail))
        online[cls] = np.array(per_episode)
    assert online[Sarsa].mean() > online[QLearning].mean() + 10
    assert online[Sarsa].min() > online[QLearning].max()


@pytest.mark.parametrize(
    ("name", "bad"), [("step_size", 0), ("epsilon", 1.5), ("gamma", -0.1), ("gamma", 1.0001)]
)
def test_settings_out_of_range(name, bad):
    with pytest.raises(SettingError, match=rf"SarsaConfig\.{name} must be a number in"):
        SarsaConfig(**{name: bad})
