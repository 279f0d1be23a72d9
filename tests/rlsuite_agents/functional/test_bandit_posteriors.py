"""Posteriors of arms: on paper, against SciPy, and draws against their distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from rlsuite_agents.functional import bandit_posteriors as posteriors
from rlsuite_agents.functional.best_arm import best_probabilities

counts = st.floats(0.5, 2_000)


def log_beta(a, b):
    return posteriors.log_beta_of([a], [b], 0)


@pytest.mark.parametrize(
    ("x", "value"),
    [(1, 1), (2, 1), (5, 24), (11, 3_628_800), (0.5, math.sqrt(math.pi))],
)
def test_gamma_by_hand(x, value):
    assert posteriors.log_gamma(float(x)) == pytest.approx(math.log(value), abs=1e-13)


@given(x=st.floats(1e-3, 1e6))
def test_gamma_is_that_of_scipy(x):
    assert posteriors.log_gamma(x) == pytest.approx(special.gammaln(x), rel=1e-13, abs=1e-13)


def test_beta_by_hand():
    """Beta(1, 1): P(X > x) = 1 - x; Beta(2, 1): 1 - x²; Beta(1, 2): (1 - x)²."""
    for a, b, survival in ((1, 1, 0.75), (2, 1, 1 - 1 / 16), (1, 2, 9 / 16)):
        assert posteriors.beta_survival(a, b, 0.25, log_beta(a, b)) == pytest.approx(survival)
        x = posteriors.beta_quantile(a, b, survival, 0.0, log_beta(a, b))
        assert x == pytest.approx(0.25)


@given(a=counts, b=counts, score=st.floats(-6, 6))
def test_survival_and_quantile_are_those_of_scipy(a, b, score):
    tail = float(special.ndtr(score))
    x = float(special.betainccinv(a, b, tail))
    if not 1e-6 < x < 1 - 1e-6:
        return  # where neither function has digits left
    ours = posteriors.beta_survival(a, b, x, log_beta(a, b))
    assert ours == pytest.approx(special.betaincc(a, b, x), rel=1e-9, abs=1e-12)
    low = 0.999 * x
    for start in (0.0, low):
        found = posteriors.beta_quantile(a, b, tail, start, log_beta(a, b))
        assert found == pytest.approx(x, rel=1e-8)


@given(a=counts, b=counts, x=st.floats(0.01, 0.99), tail=st.floats(1e-6, 0.5))
def test_the_bound_never_claims_what_is_not_so(a, b, x, tail):
    if posteriors.surely_below(a, b, x, log_beta(a, b), tail):
        assert special.betaincc(a, b, x) < tail * (1 + 1e-9)


def test_the_bound_sees_what_is_far_below():
    assert posteriors.surely_below(10.0, 90.0, 0.5, log_beta(10.0, 90.0), 0.01)
    assert not posteriors.surely_below(90.0, 10.0, 0.5, log_beta(90.0, 10.0), 0.01)


def quantiles(alpha, beta, tail, mask=None):
    out = [0.0] * len(alpha)
    logs = [log_beta(a, b) for a, b in zip(alpha, beta, strict=True)]
    posteriors.bayes_ucb_indices(alpha, beta, logs, tail, mask, out)
    return out


@given(seed=st.integers(0, 10_000))
def test_bayes_ucb_plays_the_largest_quantile(seed):
    """The others may be -1: they are certain to lose."""
    rng = np.random.default_rng(seed)
    alpha, beta = (1.0 + rng.integers(30, size=(2, 5))).tolist()
    tail = 1.0 / rng.integers(2, 500)
    mask = rng.random(5) < 0.7
    mask[rng.integers(5)] = True
    out = quantiles(alpha, beta, tail, mask)
    exact = np.where(mask, special.betainccinv(alpha, beta, tail), -1.0)
    best = exact.max()
    assert max(out) == pytest.approx(best, rel=1e-9)
    assert exact[np.argmax(out)] == pytest.approx(best, rel=1e-9)
    assert all(index == -1.0 for index, allowed in zip(out, mask, strict=True) if not allowed)


def test_bayes_ucb_gives_equal_arms_equal_indices():
    assert (
        quantiles([2.0, 1.0, 2.0], [3.0, 9.0, 3.0], 0.1)[0::2]
        == [pytest.approx(special.betainccinv(2.0, 3.0, 0.1))] * 2
    )
    assert quantiles([2.0, 1.0], [3.0, 9.0], 1.0) == [0.0, 0.0]


def test_normal_inverse_gamma_by_hand():
    """From (0, 1, 1, 1), after x = 2: m = 1, κ = 2, a = 3/2, b = 1 + ½ · 4 / 2 = 2."""
    assert posteriors.nig_update(2.0, 0.0, 1.0, 1.0, 1.0) == (1.0, 2.0, 1.5, 2.0)


@given(values=st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_normal_inverse_gamma_is_that_of_all_values_at_once(values):
    """Murphy 2007, equations 85 to 89."""
    state = (0.5, 2.0, 3.0, 4.0)
    for x in values:
        state = posteriors.nig_update(x, *state)
    n, mean = len(values), float(np.mean(values))
    kappa = 2.0 + n
    spread = float(np.sum((np.array(values) - mean) ** 2))
    b = 4.0 + 0.5 * spread + 2.0 * n * (mean - 0.5) ** 2 / (2.0 * kappa)
    assert state == pytest.approx(((2.0 * 0.5 + n * mean) / kappa, kappa, 3.0 + n / 2, b))


def shares(draw, n=20_000):
    return np.bincount([draw() for _ in range(n)], minlength=3) / n


@pytest.mark.parametrize("mask", [None, np.array([True, False, True])])
def test_draws_of_normals_play_each_arm_as_often_as_it_is_best(mask):
    """20,000 draws, 4 standard errors: known variance, then normal-inverse-gamma (Student's t)."""
    rng, means, sd = np.random.default_rng(3), [0.1, 0.3, -0.2], [0.5, 0.3, 1.0]
    p = best_probabilities(np.array(means), np.array(sd), mask=mask)
    found = shares(lambda: posteriors.thompson_normal(means, sd, mask, rng))
    assert np.all(np.abs(found - p) <= 4 * np.sqrt(p * (1 - p) / 20_000))
    strengths, shapes, scales = [2.0, 5.0, 1.0], [2.0, 3.5, 1.5], [1.0, 0.5, 2.0]
    scale = np.sqrt(np.array(scales) / (np.array(shapes) * strengths))
    p = best_probabilities(np.array(means), scale, 2.0 * np.array(shapes), mask)
    found = shares(lambda: posteriors.thompson_nig(means, strengths, shapes, scales, mask, rng))
    assert np.all(np.abs(found - p) <= 4 * np.sqrt(p * (1 - p) / 20_000))


def test_two_normal_arms_by_hand():
    """P(N(0, 3²) > N(-1, 4²)) = Φ(1/5)."""
    rng = np.random.default_rng(0)
    first = shares(lambda: posteriors.thompson_normal([0.0, -1.0], [3.0, 4.0], None, rng))[0]
    p = float(stats.norm.cdf(0.2))
    assert abs(first - p) <= 4 * math.sqrt(p * (1 - p) / 20_000)
