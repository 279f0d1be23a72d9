"""Indices of bandit policies: on paper, against plain searches, and how ties are played."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from rlsuite_agents.functional import bandit_indices as indices

E = math.e


def written(rule, *args, arms=2):
    """What an index rule writes."""
    out = [0.0] * arms
    rule(*args, out)
    return out


def test_ucb_tuned_by_hand():
    """Eight pulls, ln 8 = 3 ln 2: V = ½ / 2 + √(6 ln 2 / 2) is above ¼; a sure arm's is not."""
    log_t = math.log(8)
    out = written(indices.ucb_tuned_indices, [0.5, 0.0], [0.5, 0.0], [2, 6])
    assert out[0] == pytest.approx(0.5 + math.sqrt(log_t / 2 / 4))
    assert out[1] == pytest.approx(math.sqrt(log_t / 6 * 0.25))  # √(2 ln 8 / 6) is above ¼ too
    many = written(indices.ucb_tuned_indices, [0.0, 0.5], [0.0, 1.0], [1_000, 2])
    v = math.sqrt(2 * math.log(1_002) / 1_000)
    assert v < 0.25
    assert many[0] == pytest.approx(math.sqrt(math.log(1_002) / 1_000 * v))


def test_moss_by_hand():
    """T = 8 e, K = 2, n = 4: the logarithm of T / (K n) is 1, the width ½; with n = 4 e it is 0."""
    assert written(indices.moss_indices, [0.25, 0.0], [4, 0], 8 * E) == [0.75, math.inf]
    assert written(indices.moss_indices, [0.25, 0.5], [400, 4], 8.0) == [0.25, 0.5]
    anytime = written(indices.moss_indices, [0.0, 0.0], [1, 10], 0.0)
    assert anytime == [math.sqrt(math.log(6)), 0.0]  # t + 1 = 12, and 12 / 20 is below 1


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        (0.5, 0.5, 0.0),
        (0.0, 0.5, math.log(2)),
        (1.0, 0.5, math.log(2)),
        (0.5, 0.25, 0.5 * math.log(4 / 3)),
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 0.0),
        (0.5, 0.0, math.inf),
        (0.5, 1.0, math.inf),
        (0.0, 1.0, math.inf),
    ],
)
def test_divergence_by_hand_and_at_its_ends(p, q, value):
    assert indices.bernoulli_divergence(p, q) == pytest.approx(value)


@given(p=st.floats(0, 1), q=st.floats(1e-6, 1 - 1e-6))
def test_divergence_is_that_of_scipy(p, q):
    expected = special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q)
    assert indices.bernoulli_divergence(p, q) == pytest.approx(expected, abs=1e-12)


def test_kl_ucb_by_hand():
    """kl(0, q) = -ln(1 - q) = ln 2 at q = ½; an arm that always paid has the bound 1."""
    assert indices.kl_ucb_index(0.0, math.log(2)) == pytest.approx(0.5)
    assert indices.kl_ucb_index(1.0, 3.0) == 1.0
    assert indices.kl_ucb_index(0.3, 0.0) == 0.3
    # kl(½, q) = d solves 4 q (1 - q) = e^(-2d)
    q = (1 + math.sqrt(1 - math.exp(-0.4))) / 2
    assert indices.kl_ucb_index(0.5, 0.2) == pytest.approx(q, rel=1e-12)


def test_bounds_that_float64_cannot_tell_from_1_or_from_the_mean():
    """A single reward of 0.999 after many pulls of others: 1 - q is below e^-7000."""
    assert indices.kl_ucb_index(0.999, 7.0) == 1.0
    assert indices.kl_ucb_index(0.5, 1e-40) == 0.5
    assert indices.kl_ucb_index(1e-17, 1e-20) == 1e-17


@given(p=st.floats(0.0, 1.0), d=st.floats(1e-6, 20))
def test_kl_ucb_is_the_root_that_a_search_finds(p, d):
    q = indices.kl_ucb_index(p, d)
    assert p <= q <= 1.0
    if 1e-9 < p < 1:

        def excess(log_gap):  # in the distance from 1, in which nothing is lost near 1
            gap = math.exp(log_gap)
            return -p * math.log1p(-gap) - (1 - p) * log_gap - entropy - d

        entropy = special.entr(p) + special.entr(1 - p)
        gap = math.exp(optimize.brentq(excess, -1e11, math.log1p(-p) - 1e-12))
        assert 1 - q == pytest.approx(gap, rel=1e-6, abs=1e-12)


def test_the_budgets_of_kl_ucb_and_its_plus():
    """ln t / n, and ln(t / n) / n; c adds c ln ln t."""
    means, counts, t = [0.0, 0.0], [2, 6], 8
    plain = written(indices.kl_ucb_indices, means, counts, 0.0, False)
    assert plain == pytest.approx([1 - t ** (-1 / 2), 1 - t ** (-1 / 6)])
    plus = written(indices.kl_ucb_indices, means, counts, 0.0, True)
    assert plus == pytest.approx([1 - 4 ** (-1 / 2), 1 - (4 / 3) ** (-1 / 6)])
    wider = written(indices.kl_ucb_indices, means, counts, 3.0, False)
    budget = math.log(t) + 3 * math.log(math.log(t))
    assert wider == pytest.approx([1 - math.exp(-budget / 2), 1 - math.exp(-budget / 6)])
    early = written(indices.kl_ucb_indices, [0.0, 0.0], [1, 1], 3.0, False)
    assert early == pytest.approx([0.5, 0.5])  # ln ln 2 is below 0 and counts as 0


def test_imed_by_hand():
    """The best arm costs ln n alone, the other n kl + ln n; of several the largest is played."""
    out = written(indices.imed_indices, [0.5, 0.0], [3, 2], None)
    assert out == pytest.approx([-math.log(3), -(2 * math.log(2) + math.log(2))])
    masked = written(indices.imed_indices, [0.5, 0.0], [3, 2], [0, 1])
    assert masked[1] == pytest.approx(-math.log(2))
    assert written(indices.imed_indices, [0.0, 0.0], [3, 0], None)[1] == math.inf


def test_windows_and_discounts_by_hand():
    """Two of e² pulls in the window, ξ = 1: the width is √(2 / 2); discounted 2 √(2 / 2)."""
    out = written(indices.window_ucb_indices, [2, 0], [1.0, 0.0], E**2, 99, 1.0)
    assert out == [pytest.approx(1.5), math.inf]
    short = written(indices.window_ucb_indices, [2, 1], [1.0, 0.0], E**2, 1, 1.0)
    assert short == [0.5, 0.0]  # ln 1 = 0
    out = written(indices.discounted_ucb_indices, [2.0, E**2 - 2], [1.0, 0.0], 1.0)
    assert out[0] == pytest.approx(2.5)
    few = written(indices.discounted_ucb_indices, [0.25, 0.0], [0.25, 0.0], 1.0)
    assert few == [1.0, math.inf]  # less than one pull in all: ln counts as 0


def test_what_is_infinite_comes_first_in_order_and_ties_are_drawn_evenly():
    rng = np.random.default_rng(0)
    assert indices.optimistic([1.0, math.inf, math.inf], None, rng) == 1
    assert indices.optimistic([1.0, math.inf, math.inf], [1, 0, 1], rng) == 2
    assert indices.optimistic([1.0, math.inf, 3.0], [1, 0, 1], rng) == 2
    drawn = [indices.optimistic([3.0, 1.0, 3.0], None, rng) for _ in range(4_000)]
    assert set(drawn) == {0, 2}
    assert abs(np.mean(drawn) / 2 - 0.5) <= 4 * 0.5 / math.sqrt(4_000)
    for row, mask, expected in (
        ([1.0, math.inf, math.inf], None, [0, 1, 0]),
        ([1.0, math.inf, math.inf], [1, 0, 1], [0, 0, 1]),
        ([3.0, math.inf, 3.0], [1, 0, 1], [0.5, 0, 0.5]),
        ([3.0, 1.0, 3.0], None, [0.5, 0, 0.5]),
    ):
        assert indices.optimistic_probabilities(row, mask).tolist() == expected


def test_sums():
    assert indices.total([3, 0, 4]) == 7
    assert written(indices.per_pull, [4, 0], [1.0, 0.0]) == [0.25, 0.0]
