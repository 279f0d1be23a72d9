"""Estimators by hand, against plain loops, and against exact expectations by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from registry.errors import SettingError
from rlsuite.ope import (
    Terms,
    direct_method,
    doubly_robust,
    dros,
    ipw,
    model_values,
    replay,
    self_normalized_dr,
    snipw,
    switch_dr,
    weights,
)

W = np.array([2.0, 0.5, 0.0, 4.0])
R = np.array([1.0, 0.0, 1.0, 0.5])
Q = np.array([0.5, 0.5, 0.5, 0.0])
V = np.array([0.5, 0.25, 0.75, 0.5])


@pytest.mark.parametrize(
    ("terms", "value"),
    [
        (ipw(W, R), (2 + 0 + 0 + 2) / 4),
        (ipw(W, R, clip=3.0), (2 + 0 + 0 + 1.5) / 4),
        (snipw(W, R), 4 / 6.5),
        (direct_method(V), 2 / 4),
        # w (r - q) = 1, -¼, 0, 2
        (doubly_robust(W, R, Q, V), 0.5 + 2.75 / 4),
        (self_normalized_dr(W, R, Q, V), 0.5 + 2.75 / 6.5),
        (switch_dr(W, R, Q, V, threshold=2.0), 0.5 + 0.75 / 4),
        # λ = 4: w becomes 8/8, 2/4.25, 0, 16/20
        (dros(W, R, Q, V, shrinkage=4.0), 0.5 + (0.5 - 0.25 / 1.0625 + 0.4) / 4),
        (replay([True, False, False, True], R), 0.75),
    ],
)
def test_by_hand(terms, value):
    assert float(terms) == pytest.approx(value, abs=1e-15)


def test_without_limits_switch_and_shrinkage_are_doubly_robust():
    plain = float(doubly_robust(W, R, Q, V))
    assert float(switch_dr(W, R, Q, V, threshold=math.inf)) == plain
    assert float(dros(W, R, Q, V, shrinkage=math.inf)) == plain
    assert float(dros(W, R, Q, V, shrinkage=1e12)) == pytest.approx(plain)
    assert float(switch_dr(W, R, Q, V, threshold=1e-9)) == float(direct_method(V))
    assert float(ipw(W, R, clip=math.inf)) == float(ipw(W, R))


def test_without_weights_there_is_no_ratio():
    assert math.isnan(float(snipw(np.zeros(3), R[:3])))
    assert math.isnan(float(replay(np.zeros(4), R)))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, True, "2"])
def test_thresholds_are_positive(value):
    for make in (
        lambda: ipw(W, R, clip=value),
        lambda: switch_dr(W, R, Q, V, threshold=value),
        lambda: dros(W, R, Q, V, shrinkage=value),
    ):
        with pytest.raises(SettingError, match="must be a number above 0, or infinity"):
            make()


def test_the_influence_of_a_ratio_is_its_derivative():
    """ψ_i is N times the change of the estimate for a little more weight on decision i."""
    terms = Terms(base=V, numerator=W * R, denominator=W)

    def value(c):
        c = c / c.sum()
        return (c * V).sum() + (c * W * R).sum() / (c * W).sum()

    ones, step = np.ones(4), 1e-6
    slopes = [(value(ones + step * e) - value(ones - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(terms.influence / 4, slopes, atol=1e-8)
    assert terms.standard_error == pytest.approx(np.sqrt((terms.influence**2).sum()) / 4)


def test_what_a_policy_gains_is_its_value_less_the_mean_reward():
    for terms in (ipw(W, R), snipw(W, R), self_normalized_dr(W, R, Q, V)):
        assert float(terms.less(R)) == pytest.approx(float(terms) - R.mean())


class World:
    """Two contexts, three actions, rewards 0 or 1: small enough to enumerate its logs."""

    p_x = np.array([0.3, 0.7])
    pi_b = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    pi_e = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    mean = np.array([[0.2, 0.9, 0.5], [0.1, 0.6, 0.7]])
    guess = np.array([[0.5, 0.1, 0.8], [0.7, 0.7, 0.3]])

    def __init__(self) -> None:
        self.value = float((self.p_x[:, None] * self.pi_e * self.mean).sum())
        outcomes = itertools.product(range(2), range(3), (0.0, 1.0))
        self.outcomes = [(x, a, r, self._probability(x, a, r)) for x, a, r in outcomes]

    def _probability(self, x, a, r):
        mean = self.mean[x, a]
        return self.p_x[x] * self.pi_b[x, a] * (mean if r else 1 - mean)

    def moments(self, estimator, n):
        """Expectation and variance of an estimator over all logs of n decisions."""
        first = second = 0.0
        for log in itertools.product(self.outcomes, repeat=n):
            x, a, r, p = (np.array(column) for column in zip(*log, strict=True))
            v = float(estimator(x, a, r))
            first += p.prod() * v
            second += p.prod() * v * v
        return first, second - first**2

    def parts(self, x, a, q):
        w = weights(self.pi_e[x, a], self.pi_b[x, a])
        return w, q[x, a], model_values(q[x], self.pi_e[x])


@pytest.fixture(scope="module")
def world():
    return World()


def test_ipw_is_unbiased_and_its_variance_is_exact(world):
    mean, variance = world.moments(lambda x, a, r: ipw(world.parts(x, a, world.mean)[0], r), 2)
    assert mean == pytest.approx(world.value, abs=1e-12)
    w, q = world.pi_e / world.pi_b, world.mean
    spread = (world.p_x[:, None] * world.pi_b * w**2 * (q**2 + q * (1 - q))).sum()
    assert 2 * variance == pytest.approx(spread - world.value**2, abs=1e-12)


@pytest.mark.parametrize("right", [True, False])
def test_dr_is_unbiased_and_its_variance_is_exact(world, right):
    """Whatever the model says."""
    q_hat = world.mean if right else world.guess

    def estimator(x, a, r):
        w, predicted, values = world.parts(x, a, q_hat)
        return doubly_robust(w, r, predicted, values)

    mean, variance = world.moments(estimator, 2)
    assert mean == pytest.approx(world.value, abs=1e-12)
    w, q, p = world.pi_e / world.pi_b, world.mean, world.p_x
    q_e = (world.pi_e * q).sum(axis=1)
    of_contexts = (p * q_e**2).sum() - (p * q_e).sum() ** 2
    error = w * (q - q_hat)
    within = (world.pi_b * error**2).sum(axis=1) - (world.pi_b * error).sum(axis=1) ** 2
    noise = (p[:, None] * world.pi_b * w**2 * q * (1 - q)).sum()
    assert 2 * variance == pytest.approx(of_contexts + (p * within).sum() + noise, abs=1e-12)


def test_the_direct_method_is_as_biased_as_its_model(world):
    def estimator(q):
        return lambda x, a, r: direct_method(world.parts(x, a, q)[2])

    assert world.moments(estimator(world.mean), 2)[0] == pytest.approx(world.value, abs=1e-12)
    wrong = (world.p_x[:, None] * world.pi_e * world.guess).sum()
    for n in (1, 2, 3):  # more decisions do not help
        assert world.moments(estimator(world.guess), n)[0] == pytest.approx(wrong, abs=1e-12)
    assert abs(wrong - world.value) > 0.05


def test_the_bias_of_clipping_is_what_it_cuts_off(world):
    mean, _ = world.moments(lambda x, a, r: ipw(world.parts(x, a, world.mean)[0], r, clip=2.0), 2)
    cut = np.minimum(world.pi_e / world.pi_b, 2.0)
    assert mean == pytest.approx(
        (world.p_x[:, None] * world.pi_b * cut * world.mean).sum(), abs=1e-12
    )
    assert mean < world.value - 0.1


def test_replay_is_unbiased_on_uniform_logs_where_it_matches():
    """Given at least one match; a deterministic policy."""
    world = World()
    world.pi_b = np.full((2, 3), 1 / 3)
    world.outcomes = [(x, a, r, world._probability(x, a, r)) for x, a, r, _ in world.outcomes]
    plays = np.array([2, 1])
    total = chance = 0.0
    for log in itertools.product(world.outcomes, repeat=3):
        x, a, r, p = (np.array(column) for column in zip(*log, strict=True))
        match = plays[x] == a
        if match.any():
            total += p.prod() * float(replay(match, r))
            chance += p.prod()
    value = (world.p_x * world.mean[[0, 1], plays]).sum()
    assert total / chance == pytest.approx(value, abs=1e-12)


@given(
    w=arrays(float, 6, elements=st.floats(0, 50)),
    r=arrays(float, 6, elements=st.floats(-3, 3)),
    shift=st.floats(-5, 5),
)
def test_self_normalised_estimates_move_with_the_rewards(w, r, shift):
    """Rewards plus c give the estimate plus c, and it lies in the range of the rewards."""
    if w.sum() < 1e-3:
        return
    plain = float(snipw(w, r))
    assert float(snipw(w, r + shift)) == pytest.approx(plain + shift, abs=1e-9)
    assert r.min() - 1e-9 <= plain <= r.max() + 1e-9


def test_weights_of_the_policy_itself_are_one():
    np.testing.assert_array_equal(weights([0.2, 0.7], [0.2, 0.7]), [1.0, 1.0])
