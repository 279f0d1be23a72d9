"""A tree of sums: draws numbers 0..N-1 in proportion to their weights, in log N steps.

A binary tree in one array [2 M], M the smallest power of two that is at least N: leaf i lies at
M + i, every other place i holds the sum of 2 i and 2 i + 1, the root is 1. Sums are formed anew
from the two below, never by differences, so that no rounding builds up and the leaves tell all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["draw_leaves", "empty_tree", "set_leaves"]


def empty_tree(n: int) -> Any:
    """Room for n weights, all 0: float64 [2 M]."""
    return np.zeros(2 << (n - 1).bit_length())


def set_leaves(tree: Any, rows: Any, weights: Any) -> None:
    """Gives the numbers `rows` [B] these weights [B], at least 0; of equal numbers the last counts.

    Args:
        tree: [2 M], changed.
        rows: int64 [B], each in [0, M).
        weights: float64 [B].
    """
    half = len(tree) // 2
    for k in range(len(rows)):
        i = half + rows[k]
        tree[i] = weights[k]
        while i > 1:
            i //= 2
            tree[i] = tree[2 * i] + tree[2 * i + 1]


def draw_leaves(tree: Any, u: Any, rows: Any) -> None:
    """Draws B numbers, one from each B-th of the total weight (Schaul et al. 2016, B.2.1).

    Args:
        tree: [2 M], of a total above 0.
        u: uniforms in [0, 1), [B].
        rows: receives the numbers, int64 [B]; never one of weight 0.
    """
    half, n = len(tree) // 2, len(u)
    for k in range(n):
        left_over = (k + u[k]) / n * tree[1]
        i = 1
        while i < half:
            i *= 2
            if left_over >= tree[i] and tree[i + 1] > 0.0:  # rounding may lead past the last one
                left_over -= tree[i]
                i += 1
        rows[k] = i - half
