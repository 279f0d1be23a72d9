"""Regret of the classical policies against published values, on five Bernoulli arms."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from rlsuite_agents.bandits.epsilon_greedy import EpsilonGreedy
from rlsuite_agents.bandits.linucb import LinUCB
from rlsuite_agents.bandits.thompson_sampling import ThompsonSampling
from rlsuite_agents.bandits.ucb1 import UCB1
from rlsuite_agents.random import Random

MEANS = (0.1, 0.3, 0.5, 0.7, 0.9)
ONES = np.ones(1, np.float32)

# Mean pseudo-regret at T = 500 over 20,000 runs, each with a second implementation, and the half
# width of its 95 % interval.
PUBLISHED = {ThompsonSampling: (12.37, 0.08), UCB1: (53.80, 0.09), Random: (199.90, 0.09)}


class Arms(gym.Env):
    """The spaces of a bandit; the loop below pays the rewards."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(5)


def pseudo_regrets(cls, runs, horizon=500):
    """Σ (μ* - μ_A) of independent runs, each with generators of its own."""
    regrets = []
    for run in range(runs):
        agent, coin, regret = cls(Arms(), seed=run), np.random.default_rng([run, 1]), 0.0
        for _ in range(horizon):
            arm, _ = agent.act(ONES, None, agent.rng)
            reward = 1.0 if coin.random() < MEANS[arm] else 0.0
            agent.observe(Transition(ONES, arm, reward, ONES, False, False))
            regret += MEANS[-1] - MEANS[arm]
        regrets.append(regret)
    return np.array(regrets)


def assert_as_published(cls, runs):
    regrets = pseudo_regrets(cls, runs)
    mean, half_width = PUBLISHED[cls]
    error = 3 * np.hypot(regrets.std(ddof=1) / np.sqrt(runs), half_width / 1.96)
    assert abs(regrets.mean() - mean) <= error


@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.__name__)
def test_regret_is_as_published_in_200_runs(cls):
    assert_as_published(cls, 200)


@pytest.mark.slow
@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.__name__)
def test_regret_is_as_published_in_2000_runs(cls):
    assert_as_published(cls, 2_000)


def test_epsilon_greedy_pays_at_least_for_its_random_pulls():
    """Regret is at least ε T (μ* - mean μ) = 20 in expectation, and far below uniform play."""
    regrets = pseudo_regrets(EpsilonGreedy, 200)
    error = 3 * regrets.std(ddof=1) / np.sqrt(200)
    assert 20 - error <= regrets.mean() <= 60


def linear_regrets(runs):
    """Pseudo-regret of LinUCB on the contextual bandit after 500 and 1,000 steps: [runs, 2]."""
    regrets = []
    for run in range(runs):
        env = gym.make("rlsuite/ContextualBandit-v0")
        agent, steps = LinUCB(env, seed=run), []
        observe = agent.observe

        def spy(t, observe=observe, steps=steps):
            steps.append(t.info["regret"])
            observe(t)

        agent.observe = spy
        agent.learn(1_000)
        regrets.append((sum(steps[:500]), sum(steps)))
    return np.array(regrets)


def assert_linear(runs):
    half, whole = linear_regrets(runs).T
    error = 3 * whole.std(ddof=1) / np.sqrt(runs)
    assert abs(whole.mean() - 79.6) <= 2.5 + error * (runs < 200)
    assert (whole - half).mean() <= 0.2 * half.mean()


def test_linucb_on_linear_arms_in_20_runs():
    assert_linear(20)


@pytest.mark.slow
def test_linucb_on_linear_arms_in_200_runs():
    """α = 1, λ = 1, intercept, random ties: 79.6 ± 2.5 at T = 1,000."""
    assert_linear(200)


def test_linucb_equals_a_twin_that_solves_afresh():
    """Over 1,000 decisions θ and A⁻¹ are those of `numpy.linalg` to 1e-9."""
    env = gym.make("rlsuite/ContextualBandit-v0")
    agent, d = LinUCB(env, seed=0), 11
    a, b = np.tile(np.eye(d), (5, 1, 1)), np.zeros((5, d))
    observe, worst = agent.observe, [0.0]

    def spy(t):
        observe(t)
        x = np.append(t.observation.astype(np.float64), 1.0)
        a[t.action] += np.outer(x, x)
        b[t.action] += t.reward * x
        theta = np.linalg.solve(a, b[..., None])[..., 0]
        worst[0] = max(worst[0], np.abs(agent.theta - theta).max())
        worst[0] = max(worst[0], np.abs(agent.a_inv - np.linalg.inv(a)).max())

    agent.observe = spy
    agent.learn(1_000)
    assert worst[0] <= 1e-9
