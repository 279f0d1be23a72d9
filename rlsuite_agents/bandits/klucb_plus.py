"""KL-UCB+: KL-UCB with a budget that shrinks with the pulls (Garivier & Cappé 2011, section 6).

    the largest q with  n_a kl(μ̂_a, q) ≤ ln(t / n_a) + c ln ln t

with t the pulls of all arms so far and kl the divergence of two coins; every arm once first, in
order. The bound is found by Newton's method, to about 1e-12.

Differs from the source: ties are drawn evenly; masked arms are neither forced nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import (
    kl_ucb_indices,
    optimistic,
    optimistic_probabilities,
)
from rlsuite_agents.functional.bandits import note_reward
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["KLUCBPlus", "KLUCBPlusConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KLUCBPlusConfig:
    """Settings of `KLUCBPlus`."""

    c: float = 0.0  # weight of ln ln t, at least 0; the proof has 3, practice 0

    def __post_init__(self) -> None:
        check_range(self, "c", "[0, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # n, int64 [K]
    means: Any  # μ̂, [K]
    scratch_indices: Any  # [K]
    c: float


def start(config: KLUCBPlusConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    counts = np.zeros(n_arms, np.int64)
    return Beliefs(counts, np.zeros(n_arms), np.zeros(n_arms), float(config.c))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm never pulled, else one of the largest index."""
    kl_ucb_indices(x.means, x.counts, x.c, True, x.scratch_indices)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    kl_ucb_indices(x.means, x.counts, x.c, True, x.scratch_indices)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves the mean."""
    note_reward(x.counts, x.means, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class KLUCBPlus(BanditPolicy):
    """The arm of the largest mean that its rewards do not rule out. Rewards lie in [0, 1]."""

    id = "rlsuite/KLUCBPlus-v0"
    config_type = KLUCBPlusConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
