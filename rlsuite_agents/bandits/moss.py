"""MOSS: minimax optimal strategy in the stochastic case (Audibert & Bubeck 2009, eq. 2).

    μ̂_a + √( max(0, ln(T / (K n_a))) / n_a )

with K arms and the horizon T; every arm once first, in order. Without a horizon it is the anytime
form, in which the number of the round, t, stands for T: another and greedier policy.

Differs from the source: ties are drawn evenly; masked arms are neither forced nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import (
    moss_indices,
    optimistic,
    optimistic_probabilities,
)
from rlsuite_agents.functional.bandits import note_reward
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_count

__all__ = ["MOSS", "MOSSConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MOSSConfig:
    """Settings of `MOSS`."""

    horizon: int | None = None  # T, steps that will be played; None: anytime

    def __post_init__(self) -> None:
        if self.horizon is not None:
            check_count(self, "horizon", 1)


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # n, int64 [K]
    means: Any  # μ̂, [K]
    scratch_indices: Any  # [K]
    horizon: float  # T, or 0


def start(config: MOSSConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    counts = np.zeros(n_arms, np.int64)
    return Beliefs(counts, np.zeros(n_arms), np.zeros(n_arms), float(config.horizon or 0))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm never pulled, else one of the largest index."""
    moss_indices(x.means, x.counts, x.horizon, x.scratch_indices)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    moss_indices(x.means, x.counts, x.horizon, x.scratch_indices)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves the mean."""
    note_reward(x.counts, x.means, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class MOSS(BanditPolicy):
    """UCB that stops exploring arms that had their share. Rewards are meant to lie in [0, 1]."""

    id = "rlsuite/MOSS-v0"
    config_type = MOSSConfig
    rules = BanditRules(start, choose, update, probabilities, best)
