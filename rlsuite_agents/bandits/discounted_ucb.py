"""Discounted UCB for arms that change (Garivier & Moulines 2011, section 2.1).

    n_a ← γ n_a + 1{a = A},    s_a ← γ s_a + 1{a = A} R    for every arm, each round
    the arm of the largest  s_a / n_a + 2 √(ξ ln n / n_a),    n = Σ n_a

every arm once first, in order. The width of an arm that is not pulled grows, so that it is tried
again.

Differs from the source: ties are drawn evenly; masked arms are neither forced nor played, but what
is known of them fades too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import (
    discounted_ucb_indices,
    optimistic,
    optimistic_probabilities,
    per_pull,
)
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["DiscountedUCB", "DiscountedUCBConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscountedUCBConfig:
    """Settings of `DiscountedUCB`."""

    discount: float = 0.99  # γ, weight of what was seen a round before, in (0, 1]
    exploration: float = 0.6  # ξ of the width, at least 0; the paper's experiments have 0.6

    def __post_init__(self) -> None:
        check_range(self, "discount", "(0, 1]")
        check_range(self, "exploration", "[0, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # discounted pulls, [K]
    sums: Any  # discounted rewards, [K]
    scratch_indices: Any  # [K]
    discount: float
    exploration: float


def start(config: DiscountedUCBConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    counts, sums, indices = np.zeros((3, n_arms))
    return Beliefs(counts, sums, indices, float(config.discount), float(config.exploration))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm never pulled, else one of the largest index."""
    discounted_ucb_indices(x.counts, x.sums, x.exploration, x.scratch_indices)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    discounted_ucb_indices(x.counts, x.sums, x.exploration, x.scratch_indices)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Discounts all arms, then adds the pull of one."""
    for a in range(len(x.counts)):
        x.counts[a] *= x.discount
        x.sums[a] *= x.discount
    x.counts[arm] += 1.0
    x.sums[arm] += reward


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest mean of what is remembered."""
    per_pull(x.counts, x.sums, x.scratch_indices)
    return greedy(x.scratch_indices, mask)


class DiscountedUCB(BanditPolicy):
    """UCB that forgets slowly. Rewards are meant to lie in [0, 1]."""

    id = "rlsuite/DiscountedUCB-v0"
    config_type = DiscountedUCBConfig
    rules = BanditRules(start, choose, update, probabilities, best)
