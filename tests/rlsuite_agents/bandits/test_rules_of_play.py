"""Each bandit agent by hand: what it plays first, what its settings change, what it refuses."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from registry.contracts import Transition
from registry.errors import InvalidObservationError, SettingError
from rlsuite_agents.bandits.epsilon_greedy import EpsilonGreedy, EpsilonGreedyConfig
from rlsuite_agents.bandits.linucb import LinUCB, LinUCBConfig
from rlsuite_agents.bandits.thompson_sampling import ThompsonSampling, ThompsonSamplingConfig
from rlsuite_agents.bandits.ucb1 import UCB1, UCB1Config
from rlsuite_agents.loops import learn_online


class Arms(gym.Env):
    """Three arms that pay 0, ½ and 1 for sure; other arms each episode if `fresh`."""

    def __init__(self, n_inputs=1, *, fresh=False):
        self.observation_space = Box(-1, 1, (n_inputs,), np.float32)
        self.action_space, self.fresh = Discrete(3), fresh

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(self.observation_space.shape, np.float32), {"new_instance": self.fresh}

    def step(self, action):
        self.t += 1
        observation = np.ones(self.observation_space.shape, np.float32)
        return observation, action / 2, False, self.t == 10, {}


ONE = np.ones(1, np.float32)
BATCH = ONE[None]


def fed(agent, *pulls):
    """An agent that has seen some (arm, reward)."""
    for arm, reward in pulls:
        agent.observe(Transition(ONE, arm, float(reward), ONE, False, False))
    return agent


def sampled(agent, mask=None):
    mask = None if mask is None else np.array([mask], bool)
    return agent.action_probabilities(BATCH, deterministic=False, mask=mask)[0]


def greedy_arm(agent, mask=None):
    return int(agent.predict(ONE, deterministic=True, mask=mask)[0])


def test_sample_means():
    agent = fed(EpsilonGreedy(Arms(), seed=0), (0, 1), (0, 0), (2, 0.25))
    assert agent.beliefs.means == [0.5, 0.0, 0.25]
    assert agent.beliefs.counts == [2, 0, 1]


def test_epsilon_greedy_shares_its_probability():
    """ε = 0.3 over three arms, the rest on the best one; ties share it."""
    agent = EpsilonGreedy(Arms(), EpsilonGreedyConfig(epsilon=0.3), seed=0)
    np.testing.assert_allclose(sampled(agent), [1 / 3] * 3)
    fed(agent, (1, 1))
    np.testing.assert_allclose(sampled(agent), [0.1, 0.8, 0.1])
    np.testing.assert_allclose(sampled(agent, [1, 0, 1]), [0.5, 0.0, 0.5])
    assert greedy_arm(agent) == 1
    assert greedy_arm(agent, [1, 0, 1]) == 0


def test_initial_value_is_that_of_arms_never_pulled():
    agent = fed(EpsilonGreedy(Arms(), EpsilonGreedyConfig(initial_value=5), seed=0), (0, 1))
    assert agent.beliefs.means == [1.0, 5.0, 5.0]
    assert greedy_arm(agent) == 1


def test_ucb1_pulls_every_arm_once_in_order():
    agent = UCB1(Arms(), seed=0)
    order = []
    for _ in range(3):
        np.testing.assert_array_equal(sampled(agent), np.eye(3)[len(order)])
        order.append(agent.act(ONE, None, agent.rng)[0])
        fed(agent, (order[-1], 0))
    assert order == [0, 1, 2]
    np.testing.assert_allclose(sampled(agent), [1 / 3] * 3)  # all alike: ties are shared


def test_ucb1_forces_only_allowed_arms():
    agent = fed(UCB1(Arms(), seed=0), (1, 1))
    assert agent.act(ONE, [0, 1, 1], agent.rng)[0] == 2
    assert agent.act(ONE, [0, 1, 0], agent.rng)[0] == 1  # 0 and 2 wait until they are allowed
    np.testing.assert_array_equal(sampled(agent, [0, 1, 1]), [0, 0, 1])


def test_ucb1_by_hand():
    """After 1, 2 and 6 pulls of mean ½: √(2 ln 9 / n) decides for the arm pulled least."""
    agent = fed(UCB1(Arms(), seed=0), *[(0, 0.5)], *[(1, 0.5)] * 2, *[(2, 0.5)] * 6)
    np.testing.assert_array_equal(sampled(agent), [1, 0, 0])
    assert agent.beliefs.scratch_indices[1] == pytest.approx(0.5 + math.sqrt(2 * math.log(9) / 2))


def test_exploration_is_the_width():
    pulls = [*[(0, 0.4)], *[(1, 0.5)] * 6, *[(2, 0.1)] * 6]
    wide = fed(UCB1(Arms(), UCB1Config(exploration=2.0), seed=0), *pulls)
    none = fed(UCB1(Arms(), UCB1Config(exploration=0.0), seed=0), *pulls)
    np.testing.assert_array_equal(sampled(wide), [1, 0, 0])
    np.testing.assert_array_equal(sampled(none), [0, 1, 0])
    assert greedy_arm(wide) == greedy_arm(none) == 1


def test_thompson_counts_successes_and_failures():
    agent = fed(ThompsonSampling(Arms(), seed=0), (0, 1), (0, 0), (0, 1), (2, 0.25))
    assert agent.beliefs.alpha == [3.0, 1.0, 1.25]
    assert agent.beliefs.beta == [2.0, 1.0, 1.75]


def test_thompson_probabilities_by_hand():
    """Of three uniform posteriors each is the best by a third; Beta(2, 1) beats two by a half."""
    agent = ThompsonSampling(Arms(), seed=0)
    np.testing.assert_allclose(sampled(agent), [1 / 3] * 3)
    fed(agent, (1, 1))  # P(arm 1 best) = ∫ 2x · x² dx = ½
    np.testing.assert_allclose(sampled(agent), [1 / 4, 1 / 2, 1 / 4])
    np.testing.assert_allclose(sampled(agent, [1, 0, 1]), [1 / 2, 0, 1 / 2])
    assert greedy_arm(agent) == 1


def test_thompson_probabilities_follow_every_pull():
    agent = ThompsonSampling(Arms(), seed=0)
    before = sampled(agent)
    assert sampled(agent) is not None
    fed(agent, (0, 0))
    assert sampled(agent)[0] < before[0]


def test_priors():
    config = ThompsonSamplingConfig(prior_alpha=3.0, prior_beta=0.5)
    agent = ThompsonSampling(Arms(), config, seed=0)
    assert agent.beliefs.alpha == [3.0] * 3
    assert agent.beliefs.beta == [0.5] * 3


@pytest.mark.parametrize("reward", [-0.1, 1.5, float("nan")])
def test_thompson_refuses_rewards_that_are_no_fraction(reward):
    agent = ThompsonSampling(Arms(), seed=0)
    with pytest.raises(InvalidObservationError, match=r"rewards in \[0, 1\], got .* from arm"):
        fed(agent, (1, reward))
    assert agent.beliefs.alpha == [1.0] * 3


def test_linucb_by_hand():
    """One input, no intercept: after x = 1, r = 1 arm 0 has A = 2, θ = ½, width √½."""
    agent = fed(LinUCB(Arms(), LinUCBConfig(intercept=False), seed=0), (0, 1))
    assert agent.theta[0, 0] == 0.5
    assert agent.a_inv[0, 0, 0] == 0.5
    np.testing.assert_array_equal(sampled(agent), [1, 0, 0])
    assert agent.model.beliefs.values == pytest.approx([0.5 + math.sqrt(0.5), 1.0, 1.0])
    np.testing.assert_array_equal(sampled(agent, [0, 1, 1]), [0, 0.5, 0.5])
    assert greedy_arm(agent) == 0


def test_alpha_is_the_width():
    timid = fed(LinUCB(Arms(), LinUCBConfig(alpha=0.0, intercept=False), seed=0), (0, 0.1))
    bold = fed(LinUCB(Arms(), LinUCBConfig(alpha=5.0, intercept=False), seed=0), (0, 0.1))
    np.testing.assert_array_equal(sampled(timid), [1, 0, 0])
    np.testing.assert_array_equal(sampled(bold), [0, 0.5, 0.5])


def test_lambda_is_the_ridge():
    agent = fed(LinUCB(Arms(), LinUCBConfig(lambda_=4.0, intercept=False), seed=0), (0, 1))
    assert agent.a_inv[:, 0, 0] == pytest.approx([1 / 5, 1 / 4, 1 / 4])
    assert agent.theta[0, 0] == pytest.approx(1 / 5)


@pytest.mark.parametrize("intercept", [True, False])
def test_intercept_is_a_feature_that_is_always_one(intercept):
    """Rewards that do not depend on x: only the intercept can learn them where x is 0."""
    agent = LinUCB(Arms(2), LinUCBConfig(intercept=intercept), seed=0)
    zero = np.zeros(2, np.float32)
    for _ in range(99):
        agent.observe(Transition(zero, 1, 1.0, zero, False, False))
    assert agent.theta.shape == (3, 2 + intercept)
    assert agent.theta[1].sum() == pytest.approx(0.99 if intercept else 0.0)


@pytest.mark.parametrize("context", [np.array([np.nan]), np.array([np.inf]), np.zeros(2)])
def test_linucb_refuses_contexts_that_are_not_numbers_or_too_many(context):
    agent = LinUCB(Arms(), seed=0)
    with pytest.raises(InvalidObservationError, match="a context is 1 finite numbers, got"):
        agent.act(context, None, agent.rng)


@pytest.mark.parametrize("cls", [EpsilonGreedy, UCB1, ThompsonSampling, LinUCB])
def test_beliefs_outlive_an_episode_but_not_an_instance(cls):
    """The same arms go on being known; arms drawn anew are new arms."""

    def pulls(agent):
        if cls is ThompsonSampling:
            return sum(agent.beliefs.alpha) + sum(agent.beliefs.beta) - 6
        if cls is LinUCB:
            return sum((np.trace(np.linalg.inv(m)) - 2) / 2 for m in agent.a_inv)  # |x|² = 2
        return sum(agent.beliefs.counts)

    assert pulls(learn_online(cls(Arms(), seed=0), 27)) == pytest.approx(27)
    assert pulls(learn_online(cls(Arms(fresh=True), seed=0), 27)) == pytest.approx(7)


@pytest.mark.parametrize(
    ("config", "name", "bad", "interval"),
    [
        (EpsilonGreedyConfig, "epsilon", 1.5, r"\[0, 1\]"),
        (EpsilonGreedyConfig, "initial_value", float("inf"), r"\(-inf, inf\)"),
        (UCB1Config, "exploration", -1.0, r"\[0, inf\)"),
        (ThompsonSamplingConfig, "prior_alpha", 0.4, r"\[0\.5, 1e6\]"),
        (ThompsonSamplingConfig, "prior_beta", 1e7, r"\[0\.5, 1e6\]"),
        (LinUCBConfig, "alpha", -0.5, r"\[0, inf\)"),
        (LinUCBConfig, "lambda_", 0.0, r"\(0, inf\)"),
    ],
)
def test_settings_out_of_range(config, name, bad, interval):
    with pytest.raises(SettingError, match=rf"{config.__name__}\.{name} must be .* in {interval}"):
        config(**{name: bad})


def test_intercept_is_a_flag():
    with pytest.raises(SettingError, match=r"LinUCBConfig\.intercept must be True or False, got 1"):
        LinUCBConfig(intercept=1)
