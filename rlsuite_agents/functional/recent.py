"""The last steps of an episode, for methods that learn from several of them at once.

A ring: step k of those kept, counted from the oldest, stands at `place(x, k)`. Its rules also run
compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Recent", "drop", "keep_mask", "place", "recent_of", "remember"]


class Recent(NamedTuple):
    """Steps kept, in room for n."""

    states: Any  # S_k, int64 [n]
    actions: Any  # A_k, int64 [n]
    rewards: Any  # R_{k+1}, with its bonus; float64 [n]
    oldest: Any  # where the oldest step stands, int64 [1]
    kept: Any  # how many steps are kept, int64 [1]


def recent_of(n: int) -> Recent:
    """Room for n steps, empty."""
    indices = (np.zeros(n, np.int64), np.zeros(n, np.int64))
    return Recent(*indices, np.zeros(n), np.zeros(1, np.int64), np.zeros(1, np.int64))


def place(x: Recent, k: int) -> int:
    """Where step k stands, from 0, the oldest."""
    return (x.oldest[0] + k) % len(x.states)


def remember(x: Recent, s: int, a: int, r: float) -> int:
    """Keeps one more step, for which there is room, and returns where it stands."""
    i = place(x, x.kept[0])
    x.states[i], x.actions[i], x.rewards[i] = s, a, r
    x.kept[0] += 1
    return i


def keep_mask(row: Any, mask: Any) -> None:
    """Writes which actions are allowed into a row [A] of booleans; a mask of None allows all."""
    for a in range(len(row)):
        row[a] = 1 if mask is None or mask[a] else 0


def drop(x: Recent) -> None:
    """Lets go of the oldest step."""
    x.oldest[0] = place(x, 1)
    x.kept[0] -= 1
