"""Logistic, neural and sparse payoffs of the contextual bandit."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite_envs.bandits.contextual import (
    ContextualBandit,
    all_contexts,
    draw_network,
    draw_signs,
    draw_theta,
)


def test_logistic_payoffs_by_a_plain_loop():
    env = ContextualBandit(3, 2, payoff="logistic", steepness=5.0, theta_seed=1)
    theta = draw_theta(3, 2, 1)
    for row, x in zip(env.oracle().means, all_contexts(3).tolist(), strict=True):
        for mean, arm in zip(row, theta, strict=True):
            z = math.fsum(a * b for a, b in zip(x, arm, strict=True))
            assert mean == pytest.approx(1 / (1 + math.exp(-5 * z)))


def test_the_steepest_payoffs_are_0_and_1():
    means = ContextualBandit(3, 2, payoff="logistic", steepness=1e12).oracle().means
    assert means.min() < 1e-300
    assert means.max() == 1.0


def test_logistic_rewards_are_one_uniform_below_the_mean():
    env = ContextualBandit(4, 3, payoff="logistic")
    env.reset(seed=2)
    u = np.random.Generator(np.random.PCG64(2)).random(101)
    for t in range(50):
        _, reward, _, _, info = env.step(t % 3)
        assert reward == float(u[1 + 2 * t] < info["expected_reward"])


def test_neural_payoffs_by_a_plain_loop():
    env = ContextualBandit(3, 2, payoff="neural", hidden=4, theta_seed=5)
    w, v = draw_network(3, 2, 4, 5)
    assert (w.shape, v.shape) == ((4, 3), (2, 4))
    for row, x in zip(env.oracle().means, all_contexts(3).astype(float), strict=True):
        hidden = [max(0.0, float(unit @ x)) for unit in w]
        assert row == pytest.approx([float(np.dot(arm, hidden)) for arm in v])


def test_neural_payoffs_are_not_linear():
    """What least squares leaves over of the payoffs is no rounding error."""
    means = ContextualBandit(payoff="neural").oracle().means
    x = np.column_stack([all_contexts(10), np.ones(1024)])
    left = means - x @ np.linalg.lstsq(x, means, rcond=None)[0]
    assert left.std() > 0.05 * means.std()


@pytest.mark.parametrize("nonzero", [1, 3, 10])
def test_sparse_parameters(nonzero):
    theta = draw_theta(10, 7, 0, nonzero)
    assert (np.count_nonzero(theta, axis=1) == nonzero).all()
    np.testing.assert_allclose((theta**2).sum(axis=1), 1.0)
    np.testing.assert_array_equal(ContextualBandit(10, 7, nonzero=nonzero).theta, theta)


@pytest.mark.parametrize("payoff", ["linear", "logistic"])
def test_arms_with_features_of_their_own(payoff):
    """Each row of an observation, times the one θ, is what its arm pays."""
    env = ContextualBandit(3, 4, features="arms", payoff=payoff, theta_seed=2, nonzero=2)
    assert env.observation_space.shape == (4, 3)
    rng = np.random.default_rng([2, 1])
    signs = [[-1.0 if rng.random() < 0.5 else 1.0 for _ in range(3)] for _ in range(4)]
    np.testing.assert_array_equal(draw_signs(3, 4, 2), signs)
    (theta,) = env.theta
    np.testing.assert_array_equal(env.theta, draw_theta(3, 1, 2, 2))
    oracle = env.oracle()
    for x, seen, means in zip(all_contexts(3), oracle.observations(), oracle.means, strict=True):
        np.testing.assert_array_equal(seen, x * np.array(signs))
        z = seen.astype(float) @ theta
        np.testing.assert_allclose(means, z if payoff == "linear" else 1 / (1 + np.exp(-2 * z)))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    info = env.step(2)[4]
    z = float(observation[2] @ theta)
    expected = z if payoff == "linear" else 1 / (1 + math.exp(-2 * z))
    assert info["expected_reward"] == pytest.approx(expected)
    run = env.contextual_model(np.random.default_rng(0))
    assert run.contexts.shape == (1000, 4, 3)
    if payoff == "linear":
        np.testing.assert_allclose(run.contexts @ theta, run.means, atol=1e-12)


def test_features_of_arms_are_drawn():
    env = ContextualBandit(3, 4, features="arms", render_mode="ansi")
    before = env.render()
    env.reset(seed=0)
    assert env.render() != before


def test_a_run_drawn_beforehand():
    """Contexts are those of the table, noise stays within its bounds, binary rewards are binary."""
    env = ContextualBandit(4, 3, noise=0.5, horizon=2000)
    run = env.contextual_model(np.random.default_rng(0))
    np.testing.assert_allclose(run.contexts @ env.theta.T, run.means, atol=1e-12)
    noise = run.rewards - run.means
    assert np.abs(noise).max() <= 0.5
    assert abs(noise.mean()) <= 4 * 0.5 / math.sqrt(3 * 6000)
    binary = ContextualBandit(4, 3, payoff="logistic", horizon=2000)
    run = binary.contextual_model(np.random.default_rng(0))
    assert set(np.unique(run.rewards)) == {0.0, 1.0}
    assert abs((run.rewards - run.means).mean()) <= 4 * 0.5 / math.sqrt(6000)


def test_no_function_of_the_observation_knows_more_than_the_payoffs():
    """The best function of the context is the answer key's own, not better."""
    for payoff in ("linear", "logistic", "neural"):
        oracle = ContextualBandit(4, 3, payoff=payoff).oracle()
        best = np.eye(3)[oracle.means.argmax(axis=1)]
        assert oracle.policy_return(best) == oracle.optimal_return
        assert oracle.regret_per_step(best) == 0.0


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"payoff": "cubic"}, "payoff must be 'linear', 'logistic' or 'neural', got 'cubic'"),
        ({"steepness": 1.0}, "steepness=1.0 has no meaning with payoff='linear'"),
        ({"hidden": 3}, "hidden=3 has no meaning with payoff='linear'"),
        ({"payoff": "logistic", "noise": 0.0}, "noise=0.0 has no meaning with payoff='logistic'"),
        ({"payoff": "neural", "nonzero": 2}, "nonzero=2 has no meaning with payoff='neural'"),
        ({"payoff": "neural", "hidden": 0}, "hidden must be a whole number of at least 1, got 0"),
        ({"payoff": "logistic", "steepness": 0.0}, "steepness must be a number from 1e-12 to 1e12"),
        ({"features": "both"}, "features must be 'context' or 'arms', got 'both'"),
        (
            {"payoff": "neural", "features": "arms"},
            "features='arms' has no meaning with payoff='neural'",
        ),
        ({"d": 18, "n_arms": 4, "features": "arms"}, "2**d * n_arms * d must be at most 4194304"),
        ({"nonzero": 0}, "nonzero must be a whole number of at least 1, got 0"),
        ({"nonzero": 11}, "nonzero must be from 1 to d=10, got 11"),
    ],
)
def test_bad_keywords_get_a_sentence(keywords, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        ContextualBandit(**keywords)
