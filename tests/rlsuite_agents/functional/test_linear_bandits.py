"""Linear beliefs: on paper, against solvers and slow twins, compiled and plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from rlsuite_agents.functional import linear_bandits as lb
from rlsuite_agents.functional.exploration import random_argmax
from rlsuite_agents.functional.linear_bandits import (
    optimistic_scores,
    scaled_draws,
    square_cb_arm,
    thompson_scores,
    value_scores,
)
from rlsuite_agents.parts.compiled import compiled


def beliefs(n_arms, d, ridge=1.0, *, width=1.0, shape=0.0, rate=0.0, power=0.5):
    eye = np.tile(np.eye(d), (n_arms, 1, 1))
    rows = {name: np.zeros(n_arms) for name in ("values", "widths", "draws")}
    return lb.LinearBeliefs(
        theta=np.zeros((n_arms, d)),
        a_inv=eye / ridge,
        a=eye * ridge,
        moment=np.zeros((n_arms, d)),
        rate=np.full(n_arms, rate),
        pulls=np.zeros(n_arms, np.int64),
        width=width,
        shape=shape,
        power=power,
        ax=np.zeros(d),
        factor=np.zeros((d, d)),
        **rows,
    )


def test_one_feature_by_hand():
    """A = 1; after x = 2, r = 3: A = 5, θ = 6 / 5, b = ½ · 9 / 5."""
    b, x = beliefs(2, 1), np.array([2.0])
    lb.ridge_update(b, x, 0, 3.0)
    assert b.a_inv[0, 0, 0] == pytest.approx(1 / 5)
    assert b.theta[0, 0] == pytest.approx(6 / 5)
    assert b.rate[0] == pytest.approx(0.9)
    lb.optimistic_scores(b, x)
    assert b.values == pytest.approx([12 / 5 + math.sqrt(4 / 5), 2.0])


@pytest.mark.parametrize("ridge", [0.25, 1.0, 4.0])
def test_an_arm_that_was_never_pulled_is_as_wide_as_the_prior(ridge):
    """The inverse of λ I is I / λ: at λ = 4 a unit context has the width ½, not 2."""
    b = beliefs(1, 3, ridge)
    lb.optimistic_scores(b, np.array([0.0, 1.0, 0.0]))
    assert b.values[0] == pytest.approx(1 / math.sqrt(ridge))


@given(seed=st.integers(0, 10_000), d=st.integers(1, 6), n=st.integers(0, 25))
@settings(deadline=None)
def test_ridge_updates_solve_the_regression(seed, d, n):
    """θ, A⁻¹ and b against the textbook's batch formulas."""
    rng = np.random.default_rng(seed)
    x, r, b = rng.normal(size=(n, d)), rng.normal(size=n), beliefs(1, d, 0.7)
    for row, reward in zip(x, r, strict=True):
        lb.ridge_update(b, row, 0, reward)
    a = 0.7 * np.eye(d) + x.T @ x
    theta = np.linalg.solve(a, x.T @ r)
    np.testing.assert_allclose(b.a_inv[0], np.linalg.inv(a), atol=1e-9)
    np.testing.assert_allclose(b.theta[0], theta, atol=1e-9)
    np.testing.assert_allclose(b.rate[0], 0.5 * (r @ r - theta @ a @ theta), atol=1e-9)
    assert np.array_equal(b.a_inv[0], b.a_inv[0].T)


@given(seed=st.integers(0, 1_000))
@settings(deadline=None)
def test_the_order_of_pulls_does_not_matter(seed):
    """So that late rewards may come in any order."""
    rng = np.random.default_rng(seed)
    x, r, order = rng.normal(size=(12, 3)), rng.normal(size=12), rng.permutation(12)
    one, other = beliefs(1, 3), beliefs(1, 3)
    for k in range(12):
        lb.ridge_update(one, x[k], 0, r[k])
        lb.ridge_update(other, x[order[k]], 0, r[order[k]])
    for name in ("theta", "a_inv", "rate", "a", "moment"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


def hard_features(n, d=20, scale=100.0):
    rng = np.random.default_rng(0)
    shared = math.sqrt(0.99) * rng.normal(size=(n, 1))
    return scale * (shared + math.sqrt(0.01) * rng.normal(size=(n, d)))


def test_long_runs_on_large_correlated_features_stay_sound():
    """20 features, correlation .99, scale 100, λ = 1e-3: float32 breaks down here, we do not."""
    x, b = hard_features(4_000), beliefs(1, 20, 1e-3)
    update = compiled(lb.ridge_update)
    for row in x:
        update(b, row, 0, 1.0)
        assert row @ b.a_inv[0] @ row >= 0.0
    exact = np.linalg.inv(1e-3 * np.eye(20) + x.T @ x)
    assert np.abs(b.a_inv[0] - exact).max() / np.abs(exact).max() < 2e-9


def test_the_inverse_is_computed_afresh_now_and_then():
    """After REFRESH pulls an inverse that had gone wrong is right again."""
    x, b = np.random.default_rng(1).normal(size=(lb.REFRESH, 3)), beliefs(1, 3)
    update = compiled(lb.ridge_update)
    for k, row in enumerate(x):
        if k == lb.REFRESH - 1:
            b.a_inv[0] *= 1.5
            b.theta[0] += 1.0
        update(b, row, 0, row[0])
    a = np.eye(3) + x.T @ x
    np.testing.assert_allclose(b.a_inv[0], np.linalg.inv(a), rtol=1e-9)
    np.testing.assert_allclose(b.theta[0], np.linalg.solve(a, x.T @ x[:, 0]), atol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_inverse_by_cholesky(d):
    rng = np.random.default_rng(d)
    x = rng.normal(size=(2 * d, d))
    a, out = x.T @ x + np.eye(d), np.zeros((d, d))
    assert lb.inverse_by_cholesky(a, np.zeros((d, d)), out)
    np.testing.assert_allclose(out, np.linalg.inv(a), atol=1e-12)
    assert np.array_equal(out, out.T)


def test_a_matrix_that_is_not_positive_definite_changes_nothing():
    out = np.ones((2, 2))
    assert not lb.inverse_by_cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros((2, 2)), out)
    assert (out == 1.0).all()


def test_a_quadratic_form_is_never_negative():
    assert lb.matrix_times(np.array([[-1e-18]]), np.ones(1), np.zeros(1)) == 0.0


def test_draws_have_the_variance_of_the_belief():
    """σ² = b / Gamma(a): xᵀθ̃ is Student's t with 2a degrees of freedom, variance b / (a - 1)."""
    b, rng, n = beliefs(1, 1, shape=6.0, rate=4.0, width=0.5), np.random.default_rng(0), 40_000
    b.pulls[0] = 2  # a = 7
    draws = []
    for _ in range(n):
        lb.scaled_draws(b, rng)
        draws.append(b.draws[0])
    variance = 0.25 * 4.0 / 6.0
    assert np.mean(draws) == pytest.approx(0, abs=4 * math.sqrt(variance / n))
    assert np.var(draws) == pytest.approx(variance, rel=4 * math.sqrt(3 / n))  # kurtosis below 4


def test_a_known_noise_variance_draws_v_times_normal_numbers():
    b = beliefs(3, 1, width=2.0)
    lb.scaled_draws(b, np.random.default_rng(3))
    np.testing.assert_array_equal(b.draws, 2.0 * np.random.default_rng(3).standard_normal(3))


@given(u=st.floats(-40, 40), q=st.floats(1e-6, 1e4), r=st.floats(0, 1))
def test_the_logistic_mode_is_the_root(u, q, r):
    s = lb.logistic_mode(u, q, r)
    low, high = u + q * (r - 1), u + q * r
    root = optimize.brentq(
        lambda t: t - u - q * (r - lb.logistic(t)), low - 1e-9, high + 1e-9, xtol=1e-13
    )
    assert s == pytest.approx(root, abs=1e-8, rel=1e-8)


@pytest.mark.parametrize("u", [-800.0, -1.5, 0.0, 2.0, 800.0])
def test_the_logistic_function(u):
    assert lb.logistic(u) == pytest.approx(0.5 * (1 + math.tanh(u / 2)), abs=1e-15)


def test_a_logistic_update_is_the_laplace_approximation():
    """The mode and curvature of prior times likelihood, by a general optimiser."""
    b, x, r = beliefs(1, 2, 2.0), np.array([1.0, -3.0]), 1.0
    b.theta[0] = [0.5, 0.25]
    before = b.theta[0].copy()
    lb.logistic_update(b, x, 0, r)

    def loss(theta):
        u = x @ theta
        return np.sum((theta - before) ** 2) + np.logaddexp(0, u) - r * u  # ½ · 2 |θ - m|²

    best = optimize.minimize(loss, before, tol=1e-12).x
    np.testing.assert_allclose(b.theta[0], best, atol=1e-6)
    p = lb.logistic(x @ b.theta[0])
    a = 2.0 * np.eye(2) + p * (1 - p) * np.outer(x, x)
    np.testing.assert_allclose(b.a[0], a)
    np.testing.assert_allclose(b.a_inv[0], np.linalg.inv(a), atol=1e-12)


def test_inverse_gap_weighting_by_hand():
    """Gaps 1 and ½, γ = 6, K = 3: 1/9 and 1/6, the rest on the best."""
    out = np.zeros(3)
    lb.square_cb_probabilities([1.0, 0.0, 0.5], 6.0, None, out)
    np.testing.assert_allclose(out, [13 / 18, 1 / 9, 1 / 6])
    lb.square_cb_probabilities([1.0, 0.0, 0.5], 6.0, [False, True, True], out)
    np.testing.assert_allclose(out, [0.0, 1 / 5, 4 / 5])
    lb.square_cb_probabilities([2.0, 2.0], 6.0, None, out[:2])
    np.testing.assert_allclose(out[:2], [0.5, 0.5])


def test_one_model_for_all_arms_is_asked_with_a_row_for_each():
    b, rows = beliefs(1, 2, width=2.0), np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.5]])
    b = b._replace(values=np.zeros(3))
    lb.ridge_update(b, rows[0], 0, 1.0)
    lb.shared_scores(b, rows)
    widths = [math.sqrt(0.5), math.sqrt(1.5), 0.5]
    np.testing.assert_allclose(b.values, [0.5 + 2 * widths[0], 0.5 + 2 * widths[1], 2 * widths[2]])


def test_arms_are_drawn_by_their_probabilities():
    b, rng, n = beliefs(3, 1, width=4.0, power=0.5), np.random.default_rng(0), 20_000
    b.values[:], b.pulls[:] = [0.0, 1.0, 0.5], [1, 1, 1]  # t = 4: γ = 8
    p = np.array([1 / 11, 1 - 1 / 11 - 1 / 7, 1 / 7])
    counts = np.bincount([lb.square_cb_arm(b, None, rng) for _ in range(n)], minlength=3)
    assert np.all(np.abs(counts / n - p) <= 4 * np.sqrt(p * (1 - p) / n))


def test_a_wide_belief_about_a_logit():
    """Newton's steps alone would jump to and fro here for ever."""
    s = lb.logistic_mode(4.0, 17.0, 0.0)
    assert s == pytest.approx(4.0 - 17.0 * lb.logistic(s), abs=1e-12)


def thompson(b, x, rng):
    scaled_draws(b, rng)
    thompson_scores(b, x)
    return random_argmax(b.values, None, rng)


def optimistic(b, x, rng):
    optimistic_scores(b, x)
    return random_argmax(b.values, None, rng)


def gaps(b, x, rng):
    value_scores(b, x)
    return square_cb_arm(b, None, rng)


@pytest.mark.parametrize(
    ("choose", "update"),
    [
        (optimistic, lb.ridge_update),
        (thompson, lb.ridge_update),
        (thompson, lb.logistic_update),
        (gaps, lb.ridge_update),
    ],
)
def test_compiled_rules_give_the_same_bits(choose, update):
    x = np.random.default_rng(5).normal(size=(200, 4))
    runs = []
    for choosing, updating in ((choose, update), (compiled(choose), compiled(update))):
        b, rng, arms = beliefs(3, 4, shape=6.0, rate=6.0), np.random.default_rng(7), []
        for row in x:
            arms.append(choosing(b, row, rng))
            updating(b, row, arms[-1], 1.0 if row[arms[-1]] > 0 else 0.0)
        runs.append((arms, b))
    assert runs[0][0] == runs[1][0]
    for name in ("theta", "a_inv", "a", "moment", "rate", "pulls"):
        np.testing.assert_array_equal(getattr(runs[0][1], name), getattr(runs[1][1], name))
