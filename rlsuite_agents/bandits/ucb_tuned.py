"""UCB-tuned: confidence widths from sample variances (Auer et al. 2002, section 4).

    μ̂_a + √( (ln t / n_a) min(¼, V_a) ),    V_a = σ̂_a² + √(2 ln t / n_a)

with t the pulls of all arms so far; every arm once first, in order. ¼ bounds the variance of a
reward in [0, 1]. The paper proves no bound on the regret.

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
    ucb_tuned_indices,
)
from rlsuite_agents.functional.bandits import note_reward
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules

__all__ = ["UCBTuned", "UCBTunedConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UCBTunedConfig:
    """Settings of `UCBTuned`: there are none."""


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # n, int64 [K]
    means: Any  # μ̂, [K]
    squares: Any  # Σ (r - μ̂)², [K]
    scratch_indices: Any  # [K]


def start(config: UCBTunedConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    return Beliefs(np.zeros(n_arms, np.int64), *(np.zeros(n_arms) for _ in range(3)))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The first allowed arm never pulled, else one of the largest index."""
    ucb_tuned_indices(x.means, x.squares, x.counts, x.scratch_indices)
    return optimistic(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    ucb_tuned_indices(x.means, x.squares, x.counts, x.scratch_indices)
    return optimistic_probabilities(x.scratch_indices, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves mean and squares, by Welford's method."""
    error = reward - x.means[arm]
    note_reward(x.counts, x.means, arm, reward)
    x.squares[arm] += error * (reward - x.means[arm])


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class UCBTuned(BanditPolicy):
    """UCB with a width that knows how much an arm varies. Rewards are meant to lie in [0, 1]."""

    id = "rlsuite/UCBTuned-v0"
    config_type = UCBTunedConfig
    rules = BanditRules(start, choose, update, probabilities, best)
