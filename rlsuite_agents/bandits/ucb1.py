"""UCB1: the largest upper confidence bound (Auer, Cesa-Bianchi & Fischer 2002, figure 1).

    every arm once, in order; then the arm of the largest  μ̂_a + √(2 ln t / n_a)

with t the pulls of all arms so far. The regret bound of the paper holds for rewards in [0, 1].

Differs from the figure: the 2 is a setting; ties are drawn evenly; with masks, both rules hold for
the allowed arms, so that an arm may wait for its first pull until it is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import optimistic, optimistic_probabilities
from rlsuite_agents.functional.bandits import note_reward, ucb1_indices
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["UCB1", "UCB1Config"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UCB1Config:
    """Settings of `UCB1`."""

    exploration: float = 2.0  # c of the width √(c ln t / n), at least 0; ½ is a greedier policy

    def __post_init__(self) -> None:
        check_range(self, "exploration", "[0, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # n, int64 [K]
    means: Any  # μ̂, [K]
    scratch_indices: Any  # [K]
    exploration: float  # c


def start(config: UCB1Config, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    counts = np.zeros(n_arms, np.int64)
    return Beliefs(counts, np.zeros(n_arms), np.zeros(n_arms), float(config.exploration))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm never pulled, else one of the largest index."""
    ucb1_indices(x.means, x.counts, x.exploration, x.scratch_indices)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    ucb1_indices(x.means, x.counts, x.exploration, x.scratch_indices)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves the mean."""
    note_reward(x.counts, x.means, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class UCB1(BanditPolicy):
    """The arm of the largest upper confidence bound. Observations do not matter."""

    id = "rlsuite/UCB1-v0"
    config_type = UCB1Config
    rules = BanditRules(start, choose, update, probabilities, best)
