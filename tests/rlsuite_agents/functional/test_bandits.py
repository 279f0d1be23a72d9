"""Bandit rules: on paper, and against slow twins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rlsuite_agents.functional import bandits


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_running_mean_is_the_mean(values):
    mean = 99.0  # what stood before the first value does not count
    for n, x in enumerate(values, 1):
        mean = bandits.running_mean(mean, n, x)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)


def test_ucb1_by_hand():
    """Four pulls of the arm, e² pulls in all: the width is √(2 · 2 / 4) = 1."""
    assert bandits.ucb1_index(0.5, 4, math.e**2, 2.0) == pytest.approx(1.5)
    out = [0.0] * 3
    bandits.ucb1_indices([0.5, 0.25, 0.0], [3, 1, 0], 2.0, out)
    width = math.sqrt(2 * math.log(4))
    assert out == [0.5 + width / math.sqrt(3), 0.25 + width, math.inf]


def slow_best_probabilities(alpha, beta):
    """The definition, by adaptive quadrature."""
    posteriors = [stats.beta(a, b) for a, b in zip(alpha, beta, strict=True)]

    def integrand(x, k):
        others = [p.cdf(x) for i, p in enumerate(posteriors) if i != k]
        return posteriors[k].pdf(x) * math.prod(others)

    edges = sorted({0.0, 1.0, *(float(p.ppf(u)) for p in posteriors for u in (0.01, 0.5, 0.99))})
    return [
        sum(
            integrate.quad(integrand, lo, hi, args=(k,), epsabs=1e-12, limit=200)[0]
            for lo, hi in itertools.pairwise(edges)
        )
        for k in range(len(posteriors))
    ]


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        ([1, 1], [1, 1]),
        ([2, 1, 1], [1, 1, 3]),
        ([1, 30, 300], [1, 20, 200.5]),
        ([0.5, 0.5, 0.7], [0.5, 2.5, 0.6]),
        ([400.25, 390], [100, 110.75]),
    ],
)
def test_best_probabilities_against_adaptive_quadrature(alpha, beta):
    got = bandits.beta_best_probabilities(alpha, beta)
    np.testing.assert_allclose(got, slow_best_probabilities(alpha, beta), atol=1e-8)


def test_best_probabilities_by_hand():
    """Of two uniform posteriors each is the best half of the time; Beta(2, 1) beats one by ⅔."""
    np.testing.assert_allclose(bandits.beta_best_probabilities([1, 1], [1, 1]), [0.5, 0.5])
    np.testing.assert_allclose(bandits.beta_best_probabilities([2, 1], [1, 1]), [2 / 3, 1 / 3])


def test_best_probabilities_of_very_narrow_posteriors():
    """A million pulls each, a hair apart: Φ of the gap in standard errors."""
    a = np.array([500_000.0, 500_500.0])
    got = bandits.beta_best_probabilities(a, 1_000_000.0 - a)
    z = 500 / math.sqrt(2 * 250_000)
    assert got[1] == pytest.approx(stats.norm.cdf(z), abs=1e-6)


@given(seed=st.integers(0, 10_000))
def test_best_probabilities_under_a_mask_are_those_of_the_allowed_arms(seed):
    rng = np.random.default_rng(seed)
    alpha, beta = 0.5 + 50 * rng.random((2, 5))
    mask = rng.random(5) < 0.6
    mask[rng.integers(5)] = True
    got = bandits.beta_best_probabilities(alpha, beta, mask)
    assert got[~mask].sum() == 0
    np.testing.assert_allclose(
        got[mask], bandits.beta_best_probabilities(alpha[mask], beta[mask]), atol=1e-12
    )
    assert got.sum() == pytest.approx(1.0)


def test_thompson_plays_by_the_best_probabilities():
    """20,000 draws: each frequency within 4 standard errors."""
    alpha, beta, rng, n = [3.0, 5.0, 1.0], [4.0, 5.0, 1.0], np.random.default_rng(2), 20_000
    for mask in (None, np.array([True, False, True])):
        p = bandits.beta_best_probabilities(alpha, beta, mask)
        draws = [bandits.thompson_beta(alpha, beta, mask, rng) for _ in range(n)]
        frequency = np.bincount(draws, minlength=3) / n
        assert np.all(np.abs(frequency - p) <= 4 * np.sqrt(p * (1 - p) / n))
