"""IMED: indexed minimum empirical divergence (Honda & Takemura 2015, algorithm 1).

    the arm of the smallest  n_a kl(μ̂_a, μ̂*) + ln n_a

with μ̂* the largest sample mean and kl the divergence of two coins; every arm once first, in order.

Differs from the source: it is the form for rewards in [0, 1] that takes them for coins; ties are
drawn evenly; μ̂* is that of the allowed arms, and masked ones are neither forced nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import (
    imed_indices,
    optimistic,
    optimistic_probabilities,
)
from rlsuite_agents.functional.bandits import note_reward
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules

__all__ = ["IMED", "IMEDConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IMEDConfig:
    """Settings of `IMED`: there are none."""


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # n, int64 [K]
    means: Any  # μ̂, [K]
    scratch_indices: Any  # [K]


def start(config: IMEDConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    counts = np.zeros(n_arms, np.int64)
    return Beliefs(counts, np.zeros(n_arms), np.zeros(n_arms))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm never pulled, else one of the largest index."""
    imed_indices(x.means, x.counts, mask, x.scratch_indices)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    imed_indices(x.means, x.counts, mask, x.scratch_indices)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves the mean."""
    note_reward(x.counts, x.means, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class IMED(BanditPolicy):
    """The arm that is least surely worse than the best. Rewards lie in [0, 1]."""

    id = "rlsuite/IMED-v0"
    config_type = IMEDConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
