"""The tree of sums: by hand, against a slow twin, and how often each number is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite_agents.functional.sum_tree import draw_leaves, empty_tree, set_leaves
from rlsuite_agents.parts.compiled import kept


def filled(weights):
    tree = empty_tree(len(weights))
    set_leaves(tree, np.arange(len(weights)), np.array(weights, float))
    return tree


@pytest.mark.parametrize(("n", "length"), [(1, 2), (2, 4), (3, 8), (4, 8), (5, 16)])
def test_its_size_by_hand(n, length):
    assert len(empty_tree(n)) == length


def test_sums_and_draws_by_hand():
    tree = filled([1, 2, 3])
    np.testing.assert_array_equal(tree, [0, 6, 3, 3, 1, 2, 3, 0])
    rows = np.empty(3, np.int64)
    draw_leaves(tree, np.array([0.0, 0.5, 0.5]), rows)  # at 0, 3 and 5 of 6
    np.testing.assert_array_equal(rows, [0, 2, 2])
    draw_leaves(tree, np.array([0.5, 0.4, 0.99]), rows)  # at 1, 2.8 and 5.98
    np.testing.assert_array_equal(rows, [1, 1, 2])


def test_of_equal_numbers_the_last_counts():
    tree = filled([1, 1])
    set_leaves(tree, np.array([0, 0]), np.array([5.0, 7.0]))
    np.testing.assert_array_equal(tree, [0, 8, 7, 1])


@pytest.mark.parametrize("n", [1, 2, 7, 64, 100])
def test_draws_equal_a_search_in_the_cumulative_sums(n):
    rng = np.random.default_rng(n)
    weights = rng.integers(0, 4, n).astype(float)  # whole numbers: sums are exact
    weights[n // 2] = 1.0
    u = rng.random(50)
    plain, fast = np.empty(50, np.int64), np.empty(50, np.int64)
    draw_leaves(filled(weights), u, plain)
    kept(draw_leaves)(filled(weights), u, fast)
    at = (np.arange(50) + u) / 50 * weights.sum()
    np.testing.assert_array_equal(plain, np.searchsorted(weights.cumsum(), at, side="right"))
    np.testing.assert_array_equal(plain, fast)
    assert (weights[plain] > 0).all()


def test_rounding_never_leads_to_a_weight_of_zero():
    tree = filled([0.1, 0.2, 0.3, 0.0, 0.0])
    rows = np.empty(1, np.int64)
    draw_leaves(tree, np.array([1.0]), rows)  # beyond what a generator gives
    assert rows[0] == 2


def test_numbers_are_drawn_in_proportion():
    """Of one draw in each of 4,000 strata, each count is within 2 of its share."""
    weights = np.random.default_rng(0).random(6)
    rows = np.empty(4_000, np.int64)
    draw_leaves(filled(weights), np.random.default_rng(1).random(4_000), rows)
    expected = 4_000 * weights / weights.sum()
    np.testing.assert_allclose(np.bincount(rows, minlength=6), expected, atol=2)
