"""The settings that agents of more than one step share, each shown to change what it says."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit

from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.tabular.monte_carlo_control import MonteCarloControl
from rlsuite_agents.tabular.n_step_sarsa import NStepSarsa
from rlsuite_agents.tabular.n_step_tree_backup import NStepTreeBackup
from rlsuite_agents.tabular.off_policy_monte_carlo import OffPolicyMonteCarlo
from rlsuite_agents.tabular.sarsa_lambda import SarsaLambda
from rlsuite_agents.tabular.watkins_q_lambda import WatkinsQLambda

WITH_STEP_SIZE = [MonteCarloControl, NStepSarsa, NStepTreeBackup, SarsaLambda, WatkinsQLambda]
every_agent = pytest.mark.parametrize("cls", [*WITH_STEP_SIZE, OffPolicyMonteCarlo])
with_step_size = pytest.mark.parametrize("cls", WITH_STEP_SIZE)


class Forever(gym.Env):
    """Pays 1 a step and never ends."""

    observation_space, action_space = Discrete(1), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0, False, False, {}


def agent_of(cls, **settings):
    """For two states and two actions."""
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(2), Discrete(2)
    return cls(env, cls.config_type(**settings), seed=0)


def ends(agent, reward, times=1):
    """Plays action 0 of state 0, which ends the episode, and tells Q of it."""
    for _ in range(times):
        agent.act(0, None, agent.rng)
        agent.observe(Transition(0, 0, reward, 1, True, False))
    return agent.q[0, 0]


@with_step_size
@pytest.mark.parametrize("limit", [1, 2, 10])
def test_truncation_probe(cls, limit):
    """A reward of 1 forever is worth 1 / (1 - γ), wherever the clock cuts it into episodes.

    Taken for an end, a limit of 10 would give (1 - γ¹⁰) / (1 - γ) = 6.5.
    """
    config = cls.config_type(gamma=0.9, step_size=0.2)
    agent = cls(TimeLimit(Forever(), limit), config, seed=0).learn(6_000)
    np.testing.assert_allclose(agent.q[0], 10.0, rtol=1e-3)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_truncation_probe_of_means(limit):
    """Means of returns that bootstrap come near slowly: like n^-(1 - γ) where the limit is 1.

    That is 1 / √n with γ = ½, with a factor of 4 to spare; a limit of 1 taken for an end would
    give 1, one of 10 about 2 - 2⁻⁹ in the first step of an episode and 1 in its last.
    """
    config = OffPolicyMonteCarlo.config_type(gamma=0.5, epsilon=1.0)
    agent = OffPolicyMonteCarlo(TimeLimit(Forever(), limit), config, seed=0).learn(12_000)
    assert agent.q.max() == pytest.approx(2.0, abs=4 / 12_000**0.5)


@with_step_size
def test_step_size(cls):
    """Constant, Q is α r; falling, n^-p of what is left: 1, then 1 - ½ (1 - 0)."""
    assert ends(agent_of(cls, step_size=0.3), 1.0) == 0.3
    agent = agent_of(cls, step_size="power(1)")
    assert ends(agent, 1.0) == 1.0
    assert ends(agent, 0.0) == 0.5
    assert ends(agent, 0.0) == pytest.approx(1 / 3)
    with pytest.raises(SettingError, match=r"step_size must be a number in \(0, 1\], got 0"):
        cls.config_type(step_size=0)


@every_agent
def test_gamma(cls):
    """A time limit in state 0, which leads to itself: the target is r + γ max Q(0, ·) = 1 + 4 γ."""
    for gamma in (0.0, 0.5, 1.0):
        settings = {} if cls is OffPolicyMonteCarlo else {"step_size": 1.0}
        agent = agent_of(cls, gamma=gamma, epsilon=1e-9, **settings)
        agent.tables.q[0] = [0.0, 4.0]
        agent.act(0, None, agent.rng)
        agent.observe(Transition(0, 0, 1.0, 0, False, True))
        assert agent.q[0, 0] == 1.0 + 4.0 * gamma
    with pytest.raises(SettingError, match=r"gamma must be a number in \[0, 1\], got 1.5"):
        cls.config_type(gamma=1.5)


@every_agent
def test_initial_value(cls):
    np.testing.assert_array_equal(agent_of(cls, initial_value=7.5).q, np.full((2, 2), 7.5))


@every_agent
def test_epsilon_and_its_schedule(cls):
    """The greedy one of two actions has 1 - ε / 2, and `act` plays it as often."""
    agent = agent_of(cls, epsilon="linear(1, 0.2, 10)")
    for steps, epsilon in ((0, 1.0), (5, 0.6), (5, 0.2)):
        ends(agent, 0.0, steps)
        agent.tables.q[0] = [0.0, 1.0]
        p = agent.action_probabilities([0], deterministic=False)
        np.testing.assert_allclose(p, [[epsilon / 2, 1 - epsilon / 2]])
        draws = [agent.act(0, None, agent.rng)[0] for _ in range(3_000)]
        assert np.mean(draws) == pytest.approx(p[0, 1], abs=4 * 0.5 / 3_000**0.5)
    with pytest.raises(SettingError, match=r"epsilon must be a number in \[0, 1\], got 2"):
        cls.config_type(epsilon=2)


@every_agent
def test_boltzmann_exploration(cls):
    agent = agent_of(cls, exploration="boltzmann(0.5)", epsilon=0.0)
    agent.tables.q[0] = [0.0, 1.0]
    p = agent.action_probabilities([0], deterministic=False)
    np.testing.assert_allclose(p, [[1 / (1 + np.e**2), 1 / (1 + np.e**-2)]])
    draws = [agent.act(0, None, agent.rng)[0] for _ in range(3_000)]
    assert np.mean(draws) == pytest.approx(p[0, 1], abs=4 * 0.5 / 3_000**0.5)


@every_agent
def test_ucb_exploration_tries_what_it_has_not(cls):
    agent = agent_of(cls, exploration="ucb(1)", epsilon=1e-9)
    ends(agent, 5.0)
    p = agent.action_probabilities([0], deterministic=False)
    np.testing.assert_allclose(p, [[0, 1]], atol=1e-8)
    assert agent.act(0, None, agent.rng)[0] == 1


@every_agent
def test_a_count_bonus_is_learned_beside_the_reward(cls):
    """1 + 2 / √1 for the first visit."""
    settings = {} if cls is OffPolicyMonteCarlo else {"step_size": 1.0}
    assert ends(agent_of(cls, exploration="count_bonus(2)", **settings), 1.0) == 3.0
    with pytest.raises(SettingError, match=r"exploration must be 'greedy', .* got 'lucky'"):
        cls.config_type(exploration="lucky")
