"""Greedy and ε-greedy choices: ties, masks, and that probabilities tell the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsuite_agents.functional.exploration import (
    epsilon_greedy,
    epsilon_greedy_probabilities,
    greedy,
    greedy_probabilities,
    random_argmax,
    uniform,
)


class Fixed:
    """A generator whose draws are known."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def random(self):
        return self.draws.pop(0)


def test_random_argmax_by_hand():
    q = [1.0, 3.0, 3.0, 0.0, 3.0]
    assert [random_argmax(q, None, Fixed(u)) for u in (0.0, 0.33, 0.34, 0.66, 0.67)] == [
        1,
        1,
        2,
        2,
        4,
    ]
    assert random_argmax(q, [1, 0, 1, 1, 1], Fixed(0.5)) == 4
    assert random_argmax(q, [1, 0, 0, 1, 0], Fixed()) == 0  # one candidate: nothing is drawn


def test_uniform_by_hand():
    assert [uniform(4, None, Fixed(u)) for u in (0.0, 0.25, 0.99)] == [0, 1, 3]
    assert [uniform(4, [0, 1, 0, 1], Fixed(u)) for u in (0.0, 0.49, 0.5)] == [1, 1, 3]


def test_epsilon_greedy_by_hand():
    q = [0.0, 1.0, 0.0]
    assert epsilon_greedy(q, 0.5, None, Fixed(0.5)) == 1  # not below ε: greedy, no tie to draw
    assert epsilon_greedy(q, 0.5, None, Fixed(0.49, 0.7)) == 2


def test_greedy_takes_the_lowest_index():
    assert greedy([1.0, 2.0, 2.0], None) == 1
    assert greedy([1.0, 2.0, 2.0], [1, 0, 1]) == 2


def rows(draw):
    n = draw(st.integers(1, 5))
    q = draw(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 2.5]), min_size=n, max_size=n))
    mask = draw(
        st.none() | st.lists(st.booleans(), min_size=n, max_size=n).filter(any).map(np.array)
    )
    return np.array(q), mask


some_row = st.composite(rows)()


@given(row=some_row, seed=st.integers(0, 1000))
def test_a_masked_action_is_never_chosen(row, seed):
    q, mask = row
    rng = np.random.default_rng(seed)
    for a in (
        uniform(len(q), mask, rng),
        random_argmax(q, mask, rng),
        epsilon_greedy(q, 0.5, mask, rng),
        greedy(q, mask),
    ):
        assert 0 <= a < len(q)
        assert mask is None or mask[a]
        assert type(a) is int


@given(row=some_row, epsilon=st.floats(0, 1))
def test_probabilities_are_a_distribution_over_the_allowed(row, epsilon):
    q, mask = row
    masks = None if mask is None else mask[None]
    for deterministic in (False, True):
        (p,) = epsilon_greedy_probabilities([q], epsilon, masks, deterministic)
        assert p.min() >= 0
        np.testing.assert_allclose(p.sum(), 1.0)
        assert mask is None or p[~mask].sum() == 0
    assert p.argmax() == greedy(q, mask)
    assert p.max() == 1.0


@pytest.mark.parametrize("mask", [None, np.array([True, True, False, True])])
def test_frequencies_are_the_probabilities(mask):
    """20,000 draws: each frequency within 4 standard errors."""
    q, rng, n = [0.0, 2.0, 2.0, 2.0], np.random.default_rng(5), 20_000
    (p,) = epsilon_greedy_probabilities([q], 0.3, None if mask is None else mask[None], False)
    counts = np.bincount([epsilon_greedy(q, 0.3, mask, rng) for _ in range(n)], minlength=4)
    assert np.all(np.abs(counts / n - p) <= 4 * np.sqrt(p * (1 - p) / n))


def test_greedy_probabilities_share_ties():
    q, masks = [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]], np.array([[1, 1, 1], [0, 1, 1]])
    got = greedy_probabilities(q, masks, False)
    np.testing.assert_array_equal(got, [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(greedy_probabilities(q, None, True), [[1, 0, 0], [1, 0, 0]])
