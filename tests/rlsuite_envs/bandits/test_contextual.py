"""The contextual bandit: its parameters, its draws, its clock, its answer key."""

from __future__ import annotations

import json
import math
import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.contracts import HasOracle
from registry.errors import InvalidActionError, SettingError
from rlsuite_envs.bandits.contextual import (
    ContextualBandit,
    all_contexts,
    draw_theta,
    linear_means,
)


def test_all_contexts_of_two_features():
    """Bit j of the number tells feature j, the lowest bit first."""
    np.testing.assert_array_equal(all_contexts(2), [[-1, -1], [1, -1], [-1, 1], [1, 1]])
    assert all_contexts(2).dtype == np.float32


def test_theta_is_drawn_number_by_number():
    rng = np.random.default_rng(0)
    for row in draw_theta(10, 5, 0):
        raw = [2 * rng.random() - 1 for _ in range(10)]
        length = math.sqrt(math.fsum(x * x for x in raw))
        np.testing.assert_allclose(row, [x / length for x in raw], rtol=1e-14)


def test_linear_means_by_hand():
    theta = np.array([[1.0, 2.0], [0.5, -0.25]])
    by_hand = [[-3, -0.25], [-1, 0.75], [1, -0.75], [3, 0.25]]
    np.testing.assert_array_equal(linear_means(all_contexts(2), theta), by_hand)


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_means_against_a_slow_twin(d, n_arms, seed):
    contexts, theta = all_contexts(d), draw_theta(d, n_arms, seed)
    means = linear_means(contexts, theta)
    slow = [
        [math.fsum(float(x) * w for x, w in zip(row, arm, strict=True)) for arm in theta]
        for row in contexts
    ]
    np.testing.assert_allclose(means, slow, atol=1e-14)
    np.testing.assert_array_equal(means, -means[::-1])  # context i and its complement


def test_known_answers():
    env = gym.make("rlsuite/ContextualBandit-v0").unwrapped
    oracle = env.oracle()
    assert oracle.optimal_return == pytest.approx(1142.993113872, abs=1e-9)
    assert oracle.baseline_return == 0.0
    assert oracle.regret_per_step() == pytest.approx(1.142993113872, abs=1e-12)
    assert oracle.means.shape == oracle.gaps.shape == (1024, 5)
    assert oracle.scope == "task"
    assert oracle.lai_robbins is None
    assert isinstance(env, HasOracle)
    # E[max_a x . θ_a] once more, by a plain loop over the contexts
    best = [max(float(x @ arm) for arm in env.theta) for x in all_contexts(10).astype(float)]
    assert oracle.optimal_return == pytest.approx(1000 * math.fsum(best) / 1024, abs=1e-9)


def test_playing_one_arm_is_worth_nothing():
    """E[x] = 0, so every policy that does not look is worth 0."""
    oracle = ContextualBandit().oracle()
    for arm in range(5):
        assert oracle.policy_return(np.eye(5)[[arm] * 1024]) == 0.0


def test_a_function_of_the_observation_is_scored_exactly():
    """Greedy for θ, as an agent would compute it from float32 observations, is optimal."""
    env = ContextualBandit()

    def greedy(observations):
        return np.eye(5)[(observations @ env.theta.T).argmax(axis=1)]

    assert env.oracle().policy_return(greedy) == env.oracle().optimal_return


def test_draws_are_noise_then_next_context():
    env = ContextualBandit()
    observation, info = env.reset(seed=21)
    assert info == {}
    u = np.random.Generator(np.random.PCG64(21)).random(201).tolist()
    contexts = all_contexts(10)
    number = math.floor(1024 * u[0])
    for t in range(100):
        np.testing.assert_array_equal(observation, contexts[number])
        arm = t % 5
        expected = math.fsum(env.theta[arm] * contexts[number])
        observation, reward, terminated, truncated, info = env.step(arm)
        assert info["expected_reward"] == pytest.approx(expected, abs=1e-14)
        assert reward == pytest.approx(expected + 2 * u[1 + 2 * t] - 1, abs=1e-14)
        assert (terminated, truncated) == (False, False)
        number = math.floor(1024 * u[2 + 2 * t])


@pytest.mark.parametrize(("steps", "noise"), [(0, 1.0), (1, 1.0), (137, 1.0), (137, 0.0)])
def test_no_other_draw_is_made(steps, noise):
    env = ContextualBandit(noise=noise)
    env.reset(seed=3)
    for _ in range(steps):
        env.step(0)
    expected = np.random.Generator(np.random.PCG64(3))
    expected.random(1 + 2 * steps)
    assert env.np_random.bit_generator.state == expected.bit_generator.state


def test_the_action_never_changes_the_contexts():
    first, second = ContextualBandit(), ContextualBandit()
    first.reset(seed=8)
    second.reset(seed=8)
    for t in range(50):
        np.testing.assert_array_equal(first.step(0)[0], second.step(t % 5)[0])


def test_info_is_about_the_context_that_was_seen():
    env = ContextualBandit()
    observation, _ = env.reset(seed=0)
    for arm in range(5):
        payoffs = env.theta @ observation.astype(float)
        observation, _, _, _, info = env.step(arm)
        assert info["optimal_action"] == payoffs.argmax()
        assert info["regret"] == pytest.approx(payoffs.max() - payoffs[arm], abs=1e-14)
        assert [type(value) for value in info.values()] == [float, float, int]


def test_types_and_spaces():
    env = ContextualBandit(d=3, n_arms=2)
    assert env.observation_space == gym.spaces.Box(-1, 1, (3,), np.float32)
    assert env.action_space == gym.spaces.Discrete(2)
    env.reset(seed=0)
    observation, reward, terminated, truncated, _ = env.step(np.int64(1))
    assert observation.dtype == np.float32
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)


@pytest.mark.parametrize(("keywords", "length"), [({}, 1000), ({"horizon": 7}, 7)])
def test_the_horizon_truncates_and_nothing_terminates(keywords, length):
    env = gym.make("rlsuite/ContextualBandit-v0", **keywords)
    for _ in range(2):
        env.reset(seed=1)
        ends = [env.step(0)[2:4] for _ in range(length)]
        assert ends == [(False, False)] * (length - 1) + [(False, True)]


def test_the_oracle_follows_the_shorter_limit():
    env = gym.make("rlsuite/ContextualBandit-v0", horizon=200).unwrapped
    per_step = ContextualBandit().oracle().optimal_return / 1000
    assert env.oracle().optimal_return == pytest.approx(200 * per_step, abs=1e-9)
    assert env.oracle(horizon=50).optimal_return == pytest.approx(50 * per_step, abs=1e-9)
    assert env.oracle(horizon=1000).horizon == 200


def test_keywords_reach_the_task():
    env = ContextualBandit(d=2, n_arms=3, noise=0.0, theta_seed=4)
    np.testing.assert_array_equal(env.theta, draw_theta(2, 3, 4))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(2)
    assert reward == info["expected_reward"]  # no noise
    assert not np.array_equal(env.theta, draw_theta(2, 3, 5))


def test_the_noise_is_scaled():
    loud, still = ContextualBandit(noise=3.0), ContextualBandit(noise=1.0)
    loud.reset(seed=0)
    still.reset(seed=0)
    for arm in range(5):
        (_, x, _, _, info), (_, y, _, _, _) = loud.step(arm), still.step(arm)
        mean = info["expected_reward"]
        assert x - mean == pytest.approx(3 * (y - mean), abs=1e-12)


def test_observations_are_fresh():
    env = ContextualBandit()
    env.reset(seed=0)
    observation = env.step(0)[0]
    kept = observation.copy()
    observation[:] = 9
    oracle = env.oracle()
    oracle.means[:] = 9
    oracle.observations()[:] = 9
    assert env.oracle().baseline_return == 0.0
    assert np.abs(env.oracle().observations()).max() == 1
    env.set_state(env.get_state())
    payoffs = env.theta @ kept.astype(float)
    assert env.step(1)[4]["expected_reward"] == pytest.approx(payoffs[1], abs=1e-14)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"d": 0}, "d must be a whole number of at least 1, got 0"),
        ({"d": 2.0}, "d must be a whole number of at least 1, got 2.0"),
        ({"n_arms": 0}, "n_arms must be a whole number of at least 1, got 0"),
        ({"horizon": -1}, "horizon must be a whole number of at least 1, got -1"),
        ({"noise": -0.5}, "noise must be a finite number of at least 0, got -0.5"),
        ({"noise": math.inf}, "noise must be a finite number of at least 0, got inf"),
        ({"theta_seed": -1}, "theta_seed must be a whole number of at least 0, got -1"),
        ({"d": 20}, "2**d * n_arms must be at most 4194304"),
        ({"d": 10**9}, "got d=1000000000 and n_arms=5"),
        ({"n_arms": 5000}, "got d=10 and n_arms=5000"),
    ],
)
def test_bad_keywords_get_a_sentence(keywords, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        ContextualBandit(**keywords)


def test_bad_horizon_of_the_oracle():
    with pytest.raises(SettingError, match="horizon must be a whole number of at least 1, got 0"):
        ContextualBandit().oracle(horizon=0)


def test_step_before_the_first_reset():
    with pytest.raises(ResetNeeded, match="the first context is drawn at a reset"):
        ContextualBandit().step(0)


def test_a_refused_action_changes_nothing():
    env = ContextualBandit()
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(InvalidActionError, match="action -1 is not in the action space"):
        env.step(-1)
    assert env.get_state() == before


class TestState:
    def test_goes_on_identically(self):
        env, twin = ContextualBandit(horizon=40), ContextualBandit(horizon=40)
        env.reset(seed=5)
        for t in range(33):
            env.step(t % 5)
        twin.set_state(json.loads(json.dumps(env.get_state())))
        for t in range(7):
            left, right = env.step(t % 5), twin.step(t % 5)
            np.testing.assert_array_equal(left[0], right[0])
            assert left[1:] == right[1:]
        assert left[3] is True
        np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])
        assert env.get_state() == twin.get_state()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"t": 1.5}, "'t' must be a whole number of at least 0, got 1.5"),
            ({"context": -1}, "'context' must be a whole number of at least 0, got -1"),
            ({"context": 1024}, "context number 1024, this environment has 1024 contexts"),
            ({"rng": 3}, "'rng' must be the state of a PCG64 generator"),
            ({"means": []}, "a dictionary with the keys context, rng, t"),
        ],
    )
    def test_a_bad_state_is_refused_and_changes_nothing(self, change, sentence):
        env = ContextualBandit()
        env.reset(seed=0)
        before = env.get_state()
        with pytest.raises(SettingError, match=re.escape(sentence)):
            env.set_state({**before, **change})
        assert env.get_state() == before

    def test_before_the_first_reset(self):
        env, twin = ContextualBandit(), ContextualBandit()
        twin.set_state(env.get_state())
        np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_contexts_are_equally_likely():
    """40,000 contexts of 8 kinds: χ² with 7 degrees of freedom, below its 0.9999 quantile 29.88."""
    env = ContextualBandit(d=3, n_arms=1, horizon=40_000)
    observation, _ = env.reset(seed=0)
    counts = np.zeros(8)
    for _ in range(40_000):
        counts[int(((observation > 0) * [1, 2, 4]).sum())] += 1
        observation = env.step(0)[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 29.88


@pytest.mark.slow
def test_policy_return_agrees_with_sampled_episodes():
    """A random policy, 10^5 episodes of 3 steps: within 4 standard errors of `policy_return`."""
    env = ContextualBandit(d=4, n_arms=3, horizon=3)
    rng = np.random.default_rng(0)
    pi = rng.dirichlet(np.ones(3), size=16)
    cumulative, powers = pi.cumsum(axis=1)[:, :2], 2 ** np.arange(4)
    env.reset(seed=1)
    returns = np.zeros(100_000)
    for k in range(len(returns)):
        observation, _ = env.reset()
        for _ in range(3):
            number = int((observation > 0) @ powers)
            action = int((rng.random() >= cumulative[number]).sum())
            observation, reward, *_ = env.step(action)
            returns[k] += reward
    exact = env.oracle().policy_return(pi)
    assert abs(returns.mean() - exact) <= 4 * returns.std(ddof=1) / np.sqrt(len(returns))
