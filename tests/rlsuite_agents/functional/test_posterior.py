"""Beliefs: conjugate formulas by Bayes' rule, draws by their moments, plans by all policies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlsuite_agents.functional.posterior import (
    Prior,
    mean_world,
    optimal_action_values,
    reward_posterior,
    sample_world,
)

PRIOR = Prior(weight=2.0, mean=0.5, scale=2.0, noise=0.7)


def test_the_posterior_of_a_reward_by_hand():
    """Prior N(1, 2²), noise 1, three rewards of 5: precision ¼ + 3, mean (¼ · 1 + 15) / 3.25."""
    mean, deviation = reward_posterior(3, 15.0, Prior(1.0, 1.0, 2.0, 1.0))
    assert mean == pytest.approx(15.25 / 3.25)
    assert deviation == pytest.approx(3.25**-0.5)


def test_the_posterior_of_a_reward_is_bayes_rule_on_a_grid():
    rewards = np.array([0.3, 1.9, 1.1, -0.2])
    grid = np.linspace(-4, 5, 90_001)
    log = -(((grid - PRIOR.mean) / PRIOR.scale) ** 2) / 2
    for r in rewards:
        log -= ((r - grid) / PRIOR.noise) ** 2 / 2
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    expected = (weight * grid).sum()
    spread = np.sqrt((weight * (grid - expected) ** 2).sum())
    found = reward_posterior(len(rewards), rewards.sum(), PRIOR)
    np.testing.assert_allclose(found, [expected, spread], rtol=1e-6)


def beliefs():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 4, size=(2, 2, 3)).astype(float)
    counts[1, 1] = 0.0  # never tried
    return counts, np.array([[3.0, -1.0], [2.0, 0.0]])


def test_the_mean_world_by_hand():
    counts = np.array([[[3.0, 1.0]]])  # one state, one action: 3 times back to it, once the end
    r, p = mean_world(counts, np.array([[8.0]]), Prior(2.0, 0.0, 1.0, 1.0))
    assert r[0, 0] == pytest.approx(8 / 5)  # four rewards, and the prior counts as one of 0
    np.testing.assert_allclose(p[0, 0], [4 / 6, 2 / 6])


def test_draws_have_the_moments_of_the_posterior():
    """Dirichlet(α): mean α/α₀, variance m(1 - m)/(α₀ + 1); 20,000 draws, within 5 errors."""
    counts, reward_sum = beliefs()
    rng, n = np.random.default_rng(0), 20_000
    draws = [sample_world(counts, reward_sum, PRIOR, rng) for _ in range(n)]
    r, p = (np.array(part) for part in zip(*draws, strict=True))
    alpha = counts + PRIOR.weight / 3
    total = alpha.sum(axis=2, keepdims=True)
    mean, variance = alpha / total, alpha / total * (1 - alpha / total) / (total + 1)
    assert (np.abs(p.mean(axis=0) - mean) <= 5 * np.sqrt(variance / n)).all()
    fourth = ((p - mean) ** 4).mean(axis=0)
    error = np.sqrt((fourth - variance**2) / n)
    assert (np.abs(p.var(axis=0) - variance) <= 5 * error).all()
    np.testing.assert_allclose(p.sum(axis=3), 1.0)
    mean, deviation = reward_posterior(counts.sum(axis=2), reward_sum, PRIOR)
    assert (np.abs(r.mean(axis=0) - mean) <= 5 * deviation / np.sqrt(n)).all()
    assert (np.abs(r.std(axis=0) / deviation - 1) <= 5 / np.sqrt(2 * n)).all()


def test_the_smallest_weight_does_not_underflow():
    rng = np.random.default_rng(0)
    prior = Prior(0.1, 0.0, 1.0, 1.0)
    _, p = sample_world(np.zeros((300, 2, 301)), np.zeros((300, 2)), prior, rng)
    np.testing.assert_allclose(p.sum(axis=2), 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_is_the_best_of_all_policies(seed):
    rng = np.random.default_rng(seed)
    r, p = rng.normal(size=(4, 3)), rng.dirichlet(np.full(5, 0.5), size=(4, 3))[:, :, :-1]
    allowed = rng.random((4, 3)) < 0.7
    allowed[:, 0] |= ~allowed.any(axis=1)
    best = np.full(4, -np.inf)
    for pi in itertools.product(*(np.flatnonzero(row) for row in allowed)):
        rows = np.arange(4), np.array(pi)
        best = np.maximum(best, np.linalg.solve(np.eye(4) - 0.9 * p[rows], r[rows]))
    q = optimal_action_values(r, p, 0.9, allowed, allowed.argmax(axis=1))
    np.testing.assert_allclose(np.where(allowed, q, -np.inf).max(axis=1), best, rtol=1e-10)
    np.testing.assert_allclose(q, r + 0.9 * p @ best, rtol=1e-10)


def test_equal_policies_do_not_take_turns():
    """All actions are alike: whatever is begun with stays."""
    p = np.full((3, 2, 3), 0.3)
    q = optimal_action_values(np.ones((3, 2)), p, 0.99, np.ones((3, 2), bool), np.array([0, 1, 0]))
    np.testing.assert_allclose(q, 1 / (1 - 0.99 * 0.9))
