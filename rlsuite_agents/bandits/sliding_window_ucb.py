"""Sliding-window UCB for arms that change (Garivier & Moulines 2011, section 2.2).

    the arm of the largest  μ̂_a + √(ξ ln min(t, τ) / n_a)

where only the last τ pulls count for μ̂_a and n_a, and t is the number of all pulls. An arm without
a pull among them comes first, the lowest index of several.

Differs from the source: ties are drawn evenly; masked arms are neither forced nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import (
    optimistic,
    optimistic_probabilities,
    per_pull,
    window_ucb_indices,
)
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_count, check_range

__all__ = ["SlidingWindowUCB", "SlidingWindowUCBConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidingWindowUCBConfig:
    """Settings of `SlidingWindowUCB`."""

    window: int = 200  # τ, pulls that are remembered, at least 1
    exploration: float = 0.6  # ξ of the width, at least 0; the paper's experiments have 0.6

    def __post_init__(self) -> None:
        check_count(self, "window", 1)
        check_range(self, "exploration", "[0, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # pulls in the window, int64 [K]
    sums: Any  # rewards in the window, [K]
    arms: Any  # of the last τ pulls, a ring, int64 [τ]
    rewards: Any  # of the last τ pulls, [τ]
    clock: Any  # pulls so far, int64 [1]
    scratch_indices: Any  # [K]
    exploration: float


def start(config: SlidingWindowUCBConfig, n_arms: int) -> Beliefs:
    """An empty window."""
    ring = np.zeros(config.window, np.int64), np.zeros(config.window), np.zeros(1, np.int64)
    rows = np.zeros(n_arms, np.int64), np.zeros(n_arms)
    return Beliefs(*rows, *ring, np.zeros(n_arms), float(config.exploration))


def fill(x: Beliefs) -> None:
    """Writes the indices."""
    window = float(len(x.arms))
    window_ucb_indices(x.counts, x.sums, window, x.clock[0], x.exploration, x.scratch_indices)


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm without a pull in the window, else one of the largest index."""
    fill(x)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    fill(x)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Takes the oldest pull out of the window, if it is full, and puts this one in."""
    at = x.clock[0] % len(x.arms)
    if x.clock[0] >= len(x.arms):
        old = x.arms[at]
        x.counts[old] -= 1
        x.sums[old] -= x.rewards[at]
    x.arms[at], x.rewards[at] = arm, reward
    x.counts[arm] += 1
    x.sums[arm] += reward
    x.clock[0] += 1


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest mean of what is remembered."""
    per_pull(x.counts, x.sums, x.scratch_indices)
    return greedy(x.scratch_indices, mask)


class SlidingWindowUCB(BanditPolicy):
    """UCB that only knows the latest pulls. Rewards are meant to lie in [0, 1]."""

    id = "rlsuite/SlidingWindowUCB-v0"
    config_type = SlidingWindowUCBConfig
    rules = BanditRules(start, choose, update, probabilities, best)
