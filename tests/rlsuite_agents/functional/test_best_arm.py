"""The probability of being the best arm, against draws, adaptive quadrature and on paper."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rlsuite_agents.functional.best_arm import best_probabilities


def slow_twin(beliefs):
    """The definition, by adaptive quadrature between quantiles."""

    def integrand(x, k):
        others = [b.cdf(x) for i, b in enumerate(beliefs) if i != k]
        return beliefs[k].pdf(x) * math.prod(others)

    cuts = (1e-9, 0.01, 0.5, 0.99, 1 - 1e-9)
    edges = sorted({float(b.ppf(u)) for b in beliefs for u in cuts})
    return [
        sum(
            integrate.quad(integrand, lo, hi, args=(k,), epsabs=1e-12, limit=200)[0]
            for lo, hi in itertools.pairwise(edges)
        )
        for k in range(len(beliefs))
    ]


def test_two_normal_arms_by_hand():
    """The difference of two normal draws is normal: Φ(1 / √(3² + 4²))."""
    p = best_probabilities([1.0, 0.0], [3.0, 4.0])
    assert p[0] == pytest.approx(stats.norm.cdf(0.2), abs=1e-9)


def test_equal_arms_share_evenly():
    np.testing.assert_allclose(best_probabilities([2.0] * 3, [0.5] * 3), [1 / 3] * 3)
    np.testing.assert_allclose(best_probabilities([2.0] * 4, [0.0] * 4), [1 / 4] * 4)


def test_arms_known_for_certain():
    np.testing.assert_allclose(best_probabilities([1.0, 1.0 + 1e-3], [0.0, 0.0]), [0, 1], atol=1e-9)
    p = best_probabilities([0.0, 0.0], [0.0, 1.0])  # one of them known, the other above by half
    np.testing.assert_allclose(p, [0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("dof", [None, [12.0, 3.0, 800.0]])
def test_against_adaptive_quadrature(dof):
    m, s = [0.3, -1.0, 0.35], [0.02, 2.0, 0.5]
    family = [stats.norm] * 3 if dof is None else [stats.t(nu) for nu in dof]
    if dof is None:
        beliefs = [f(a, b) for f, a, b in zip(family, m, s, strict=True)]
    else:
        beliefs = [stats.t(nu, a, b) for nu, a, b in zip(dof, m, s, strict=True)]
    np.testing.assert_allclose(best_probabilities(m, s, dof), slow_twin(beliefs), atol=2e-8)


@given(seed=st.integers(0, 10_000))
def test_a_mask_leaves_the_allowed_arms_to_themselves(seed):
    rng = np.random.default_rng(seed)
    m, s, dof = rng.normal(size=5), rng.random(5), 1 + 10 * rng.random(5)
    mask = rng.random(5) < 0.6
    mask[rng.integers(5)] = True
    p = best_probabilities(m, s, dof, mask)
    assert p[~mask].sum() == 0
    assert p.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(p[mask], best_probabilities(m[mask], s[mask], dof[mask]), atol=1e-12)


def test_units_do_not_matter():
    m, s = np.array([0.0, 0.5, 0.4]), np.array([1.0, 0.1, 0.3])
    p = best_probabilities(m, s)
    np.testing.assert_allclose(best_probabilities(1e6 * m + 1e7, 1e6 * s), p, atol=1e-9)
