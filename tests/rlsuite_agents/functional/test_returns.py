"""Returns and advantages: on paper, against definitions, against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsuite_agents.functional import returns
from rlsuite_agents.functional.returns import (
    discounted_returns,
    generalized_advantages,
    lambda_returns,
    mean_of_others,
    n_step_returns,
)

# Two steps with γ = ½, the second one terminal. The 99 is a trap: v of a state that does not count.
REWARDS = np.array([1.0, 2.0])
DISCOUNTS = np.array([0.5, 0.0])
V_NEXT = np.array([4.0, 99.0])
VALUES = np.array([10.0, 4.0])


def test_discounted_returns_by_hand():
    # G_1 = 2 + 0 · 99 = 2    G_0 = 1 + ½ · 2 = 2
    np.testing.assert_array_equal(discounted_returns(REWARDS, DISCOUNTS, 99.0), [2.0, 2.0])
    # cut off instead of ended: G_1 = 2 + ½ · 8 = 6    G_0 = 1 + ½ · 6 = 4
    np.testing.assert_array_equal(discounted_returns(REWARDS, [0.5, 0.5], 8.0), [4.0, 6.0])


def test_n_step_returns_by_hand():
    # one step: G_0 = 1 + ½ · 4 = 3    G_1 = 2;    two steps: G_0 = 1 + ½ · 2 = 2    G_1 = 2
    np.testing.assert_array_equal(n_step_returns(REWARDS, DISCOUNTS, V_NEXT, 1), [3.0, 2.0])
    np.testing.assert_array_equal(n_step_returns(REWARDS, DISCOUNTS, V_NEXT, 2), [2.0, 2.0])


def test_lambda_returns_by_hand():
    # G_1 = 2 + 0 · 99 = 2          G_0 = 1 + ½ (½ · 4 + ½ · 2) = 2.5
    np.testing.assert_array_equal(lambda_returns(REWARDS, DISCOUNTS, V_NEXT, 0.5), [2.5, 2.0])


def test_generalized_advantages_by_hand():
    # δ_1 = 2 - 4 = -2    δ_0 = 1 + ½ · 4 - 10 = -7    A_0 = -7 + ½ · ½ · -2 = -7.5
    got = generalized_advantages(REWARDS, DISCOUNTS, VALUES, V_NEXT, 0.5)
    np.testing.assert_array_equal(got, [-7.5, -2.0])


def test_a_time_limit_inside_the_stretch():
    """Step 1 was cut off in a state worth 6; steps 2 and 3 belong to the next episode."""
    rewards, discounts = np.array([1.0, 1.0, 50.0, 50.0]), np.full(4, 0.5)
    v_next, lambdas = np.array([8.0, 6.0, 99.0, 99.0]), np.array([1.0, 0.0, 1.0, 1.0])
    # G_1 = 1 + ½ · 6 = 4    G_0 = 1 + ½ · 4 = 3
    got = lambda_returns(rewards, discounts, v_next, lambdas)
    np.testing.assert_array_equal(got[:2], [3.0, 4.0])
    values = np.array([0.0, 8.0, 0.0, 99.0])
    advantages = generalized_advantages(rewards, discounts, values, v_next, lambdas)
    np.testing.assert_array_equal(advantages[:2], [3.0, 4.0 - 8.0])


def stretch(seed, shape=(7,), ends=True):
    rng = np.random.default_rng(seed)
    discounts = np.full(shape, 0.9)
    if ends:
        discounts[rng.random(shape) < 0.25] = 0.0
    return rng.normal(size=shape), discounts, rng.normal(size=shape), rng.normal(size=shape)


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
def test_lambda_one_is_the_discounted_sum(seed):
    """λ = 1 with no bootstrap left is the plain definition of the return."""
    rewards, _, v_next, _ = stretch(seed)
    discounts = np.array([0.9] * 6 + [0.0])
    fast = lambda_returns(rewards, discounts, v_next, 1.0)
    slow = [sum(0.9**k * r for k, r in enumerate(rewards[t:])) for t in range(7)]
    np.testing.assert_allclose(fast, slow)
    np.testing.assert_allclose(discounted_returns(rewards, discounts, 99.0), slow)


@given(seed=seeds, n=st.integers(1, 9))
def test_n_step_returns_are_the_sum_of_the_book(seed, n):
    rewards, discounts, v_next, _ = stretch(seed)
    slow = []
    for t in range(7):
        end = min(t + n, 7)
        weights = np.cumprod([1.0, *discounts[t:end]])
        slow.append(weights[:-1] @ rewards[t:end] + weights[-1] * v_next[end - 1])
    np.testing.assert_allclose(n_step_returns(rewards, discounts, v_next, n), slow)


@given(seed=seeds, lambda_=st.floats(0, 1))
def test_lambda_returns_are_the_mixture_of_the_book(seed, lambda_):
    """(1 - λ) Σ λ^{n-1} G_{t:t+n}, with all remaining weight on the longest one (S&B eq. 12.3)."""
    rewards, discounts, v_next, _ = stretch(seed)
    g = np.array([n_step_returns(rewards, discounts, v_next, n) for n in range(1, 8)])
    slow = []
    for t in range(7):
        left = 7 - t
        weights = [(1 - lambda_) * lambda_ ** (n - 1) for n in range(1, left)]
        slow.append(np.dot([*weights, lambda_ ** (left - 1)], g[:left, t]))
    fast = lambda_returns(rewards, discounts, v_next, lambda_)
    np.testing.assert_allclose(fast, slow, atol=1e-12)


@given(seed=seeds, lambda_=st.floats(0, 1))
def test_advantages_are_lambda_returns_less_the_value(seed, lambda_):
    rewards, discounts, values, v_next = stretch(seed)
    v_next[:-1] = values[1:]
    got = generalized_advantages(rewards, discounts, values, v_next, lambda_)
    expected = lambda_returns(rewards, discounts, v_next, lambda_) - values
    np.testing.assert_allclose(got, expected, atol=1e-12)


@given(seed=seeds)
def test_streams_side_by_side_are_streams_one_by_one(seed):
    r, d, v, w = stretch(seed, (5, 3))
    lambdas = np.random.default_rng(seed).random((5, 3))
    bootstrap = w[-1]
    together = [
        discounted_returns(r, d, bootstrap),
        n_step_returns(r, d, v, 2),
        lambda_returns(r, d, v, lambdas),
        generalized_advantages(r, d, v, w, lambdas),
    ]
    for k in range(3):
        alone = [
            discounted_returns(r[:, k], d[:, k], bootstrap[k]),
            n_step_returns(r[:, k], d[:, k], v[:, k], 2),
            lambda_returns(r[:, k], d[:, k], v[:, k], lambdas[:, k]),
            generalized_advantages(r[:, k], d[:, k], v[:, k], w[:, k], lambdas[:, k]),
        ]
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[:, k], b)


@given(seed=seeds)
def test_nothing_leaks_backwards_over_an_end(seed):
    """What comes after a terminal state may be anything."""
    rewards, discounts, values, v_next = stretch(seed, ends=False)
    discounts[3] = 0.0
    changed = [x.copy() for x in (rewards, discounts, values, v_next)]
    for x in changed:
        x[4:] = 99.0
    changed[3][3] = 99.0
    for f, pick in (
        (lambda r, d, v, w: discounted_returns(r, d, 99.0), 4),
        (lambda r, d, v, w: n_step_returns(r, d, w, 3), 4),
        (lambda r, d, v, w: lambda_returns(r, d, w, 0.7), 4),
        (lambda r, d, v, w: generalized_advantages(r, d, v, w, 0.7), 4),
    ):
        before = f(rewards, discounts, values, v_next)[:pick]
        np.testing.assert_array_equal(f(*changed)[:pick], before)


def test_a_lambda_per_step_serves_all_streams():
    r, d, v, _ = stretch(0, (5, 3))
    lambdas = np.linspace(0, 1, 5)
    wide = np.repeat(lambdas[:, None], 3, axis=1)
    np.testing.assert_array_equal(lambda_returns(r, d, v, lambdas), lambda_returns(r, d, v, wide))


def test_an_empty_stretch_has_no_returns():
    empty = np.zeros(0)
    assert discounted_returns(empty, empty).shape == (0,)
    assert n_step_returns(empty, empty, empty, 2).shape == (0,)
    assert lambda_returns(empty, empty, empty, 0.5).shape == (0,)
    assert generalized_advantages(empty, empty, empty, empty, 0.5).shape == (0,)


def test_integers_and_lists_are_welcome():
    assert discounted_returns([1, 2], [1, 0]).dtype == np.float64


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 2, 2)])
def test_shapes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"must have one shape, \[T\] or \[T, N\]"):
        lambda_returns(REWARDS, DISCOUNTS, np.zeros(shape), 0.5)


def test_lambda_that_does_not_fit():
    with pytest.raises(ValueError, match=r"lambda_ must be one number, \[T\] or like the rewards"):
        lambda_returns(REWARDS, DISCOUNTS, V_NEXT, np.zeros(3))


def test_n_below_one():
    with pytest.raises(ValueError, match="n of at least 1, got 0"):
        n_step_returns(REWARDS, DISCOUNTS, V_NEXT, 0)


def test_the_rules_are_where_the_compiler_finds_them():
    assert {"_backward", "_n_step", "_lambda", "_advantages"} <= set(vars(returns))


def test_the_mean_of_other_episodes_by_hand():
    """Returns (2, 1), (4), (5, 5, 5): the others sum to 19 of 4 steps, 18 of 5 and 7 of 3."""
    found = mean_of_others([2.0, 1.0, 4.0, 5.0, 5.0, 5.0], [2, 1, 3])
    np.testing.assert_allclose(found, [4.75, 4.75, 3.6, 7 / 3, 7 / 3, 7 / 3])
