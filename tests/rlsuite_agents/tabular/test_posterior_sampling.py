"""Posterior sampling: what is counted, when a world is drawn, and what that finds."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.parts.checkpoint import generator_state
from rlsuite_agents.tabular.posterior_sampling import PosteriorSampling, PosteriorSamplingConfig


def agent_of(n_states=2, n_actions=2, **settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    return PosteriorSampling(env, PosteriorSamplingConfig(**settings), seed=0)


def step(s, a, r, s_next, terminated=False, truncated=False, **masks):
    return Transition(s, a, r, s_next, terminated, truncated, **masks)


def test_steps_and_ends_are_counted_apart():
    agent = agent_of()
    agent.observe(step(0, 1, 2.0, 1))
    agent.observe(step(0, 1, 3.0, 1, terminated=True))
    agent.observe(step(0, 1, 4.0, 1, truncated=True))  # a time limit is not an end
    np.testing.assert_array_equal(agent.tables.counts[0, 1], [0, 2, 1])
    assert agent.tables.reward_sum[0, 1] == 9.0
    assert agent.tables.counts.sum() == 3


def test_a_world_is_drawn_when_an_episode_is_over():
    agent = agent_of()
    for ends in ({}, {"terminated": True}, {"truncated": True}):
        before, q = generator_state(agent.rng), agent.q
        agent.observe(step(0, 1, 2.0, 1, **ends))
        drawn = generator_state(agent.rng) != before
        assert drawn == bool(ends)
        assert np.array_equal(agent.q, q) != drawn


def test_resample_after_is_when_a_policy_is_given_up():
    agent, drawn = agent_of(resample_after=3), []
    for _ in range(9):
        q = agent.q
        agent.observe(step(0, 1, 2.0, 1))
        drawn.append(not np.array_equal(agent.q, q))
    assert drawn == [False, False, True] * 3


def test_what_is_played_is_optimal_in_the_world_that_was_drawn():
    agent = agent_of(5, 3)
    actions = [agent.act(s, None, agent.rng)[0] for s in range(5)]
    np.testing.assert_array_equal(actions, agent.q.argmax(axis=1))
    p = agent.action_probabilities(range(5), deterministic=False)
    np.testing.assert_array_equal(p.argmax(axis=1), actions)


def test_deterministic_is_the_plan_of_the_posterior_mean():
    """Ten rewards of 1 against ten of 0, and the end: action 1. Nothing is drawn for it."""
    agent = agent_of(1, 2, gamma=0.5)
    for a, r in ((0, 0.0), (1, 1.0)) * 10:
        agent.observe(step(0, a, r, 0, terminated=True))
    before = generator_state(agent.rng)
    np.testing.assert_array_equal(agent.action_probabilities([0], deterministic=True), [[0, 1]])
    assert generator_state(agent.rng) == before
    for _ in range(60):  # and it is not that of some time ago
        agent.observe(step(0, 0, 9.0, 0, terminated=True))
    np.testing.assert_array_equal(agent.action_probabilities([0], deterministic=True), [[1, 0]])


def test_masked_actions_are_no_part_of_a_plan():
    """State 1 pays 50 for action 1, which is not allowed: the way there is worth nothing."""
    agent = agent_of(2, 2, gamma=0.9, reward_noise=0.01, prior_weight=0.1)
    for _ in range(200):
        agent.observe(step(1, 1, 50.0, 1, terminated=True))
        agent.observe(step(1, 0, 0.0, 1, terminated=True))
        agent.observe(step(0, 1, 1.0, 0, terminated=True))
        agent.observe(step(0, 0, 0.0, 1, terminated=False))
    agent.resample()
    assert agent.act(0, None, agent.rng)[0] == 0
    agent.observe(step(0, 0, 0.0, 1, truncated=True, next_mask=np.array([1, 0])))
    assert agent.act(0, None, agent.rng)[0] == 1


def spread(**settings):
    """Mean and standard deviation of q drawn where γ = 0: of the rewards that are believed in."""
    agent = agent_of(40, 40, gamma=0.0, **settings)
    return agent.q.mean(), agent.q.std()


def test_the_prior_of_the_rewards():
    """1,600 rewards before anything is seen: within 4 standard errors."""
    for mean, scale in ((0.0, 1.0), (3.0, 1.0), (0.0, 0.2)):
        found = spread(reward_mean=mean, reward_scale=scale)
        assert found[0] == pytest.approx(mean, abs=4 * scale / 40)
        assert found[1] == pytest.approx(scale, rel=4 / np.sqrt(2 * 1600))


def test_reward_noise_is_how_little_a_reward_says():
    agents = [agent_of(1, 1, gamma=0.0, reward_noise=noise) for noise in (0.01, 10.0)]
    for agent in agents:
        for _ in range(4):
            agent.observe(step(0, 0, 5.0, 0, terminated=True))
    assert agents[0].q[0, 0] == pytest.approx(5.0, abs=0.03)
    assert agents[1].q[0, 0] < 4.0


def test_prior_weight_is_how_little_a_step_says():
    """300 steps from 0 to 1, where 1 is earned for ever: with a low weight near γ / (1 - γ)."""
    values = []
    for weight in (0.1, 1000.0):
        agent = agent_of(2, 1, gamma=0.5, prior_weight=weight, reward_noise=0.01, reward_scale=0.1)
        for _ in range(300):
            agent.observe(step(0, 0, 0.0, 1))
            agent.observe(step(1, 0, 1.0, 1))
        agent.resample()
        values.append(agent.q[0, 0])
    assert values[0] == pytest.approx(1.0, abs=0.05)
    assert values[1] < 0.8


def returns_of(agent, episodes):
    """What each episode of learning pays."""
    found, total, observe = [], 0.0, agent.observe

    def note(t):
        nonlocal total
        total += t.reward
        if t.terminated or t.truncated:
            found.append(total)
            total = 0.0
        observe(t)

    agent.observe = note
    agent.learn(100_000, callback=lambda _: len(found) < episodes)
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
def test_on_a_grid_regret_falls_and_the_optimum_is_known(seed):
    """Regret of an episode: below a tenth of uniform play's in the last 20 of 80."""
    env = gym.make("rlsuite/GridWorld-v0")
    oracle = env.unwrapped.oracle()
    config = PosteriorSamplingConfig(reward_noise=0.01, reward_scale=0.1, resample_after=20)
    agent = PosteriorSampling(env, config, seed=seed)
    regret = oracle.optimal_return - returns_of(agent, 80)
    assert regret[-20:].mean() < 0.1 * (oracle.optimal_return - oracle.baseline_return)
    assert regret[:20].mean() > 2 * regret[-20:].mean()
    pi = agent.action_probabilities(range(env.observation_space.n), deterministic=True)
    assert oracle.policy_return(pi) == pytest.approx(oracle.optimal_return)


def test_too_many_counts():
    with pytest.raises(SettingError, match="at most 67108864: 5000 states and 3 actions are too"):
        agent_of(5000, 3)


@pytest.mark.parametrize(
    ("name", "bad", "sentence"),
    [
        ("gamma", 1.0, r"must be a number in \[0, 1\), got 1.0"),
        ("prior_weight", 0.05, r"must be a number in \[0.1, inf\), got 0.05"),
        ("reward_mean", np.inf, r"must be a number in \(-inf, inf\), got inf"),
        ("reward_scale", 0.0, r"must be a number in \(0, inf\), got 0.0"),
        ("reward_noise", 0.0, r"must be a number in \(0, inf\), got 0.0"),
        ("resample_after", 0, "must be a whole number of at least 1, got 0"),
    ],
)
def test_settings_out_of_range(name, bad, sentence):
    with pytest.raises(SettingError, match=rf"PosteriorSamplingConfig\.{name} {sentence}"):
        PosteriorSamplingConfig(**{name: bad})
