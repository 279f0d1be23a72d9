"""ε-greedy on sample means (Sutton & Barto, 2nd ed., sections 2.2 and 2.4).

    N(A) ← N(A) + 1,    Q(A) ← Q(A) + [ R - Q(A) ] / N(A)                     (box of section 2.4)

Differs from the box: ε may fall with the number of pulls; ties among greedy arms are drawn evenly;
masked arms are never played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_indices import total
from rlsuite_agents.functional.bandits import note_reward
from rlsuite_agents.functional.exploration import (
    epsilon_greedy,
    epsilon_greedy_probabilities,
    greedy,
)
from rlsuite_agents.functional.practice import Schedule, scheduled
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.practice import check_epsilon, schedule_of
from rlsuite_agents.parts.settings import check_range

__all__ = ["EpsilonGreedy", "EpsilonGreedyConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpsilonGreedyConfig:
    """Settings of `EpsilonGreedy`."""

    epsilon: float | str = 0.1  # ε, the share of random pulls, in [0, 1], or its schedule
    initial_value: float = 0.0  # Q of an arm that was never pulled; its first reward replaces it

    def __post_init__(self) -> None:
        check_epsilon(self)
        check_range(self, "initial_value", "(-inf, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # N, int64 [K]
    means: Any  # Q, [K]
    epsilon: Schedule  # ε


def start(config: EpsilonGreedyConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    means = np.full(n_arms, float(config.initial_value))
    return Beliefs(np.zeros(n_arms, np.int64), means, schedule_of(config.epsilon))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """An ε-greedy arm; ε by the number of pulls so far."""
    return epsilon_greedy(x.means, scheduled(x.epsilon, total(x.counts)), mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """The greedy arms share 1 - ε, all allowed ones ε."""
    epsilon, allowed = scheduled(x.epsilon, total(x.counts)), None if mask is None else [mask]
    return epsilon_greedy_probabilities([x.means], epsilon, allowed, False)[0]


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves the mean."""
    note_reward(x.counts, x.means, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class EpsilonGreedy(BanditPolicy):
    """The arm of the best sample mean, with probability ε any arm. Observations do not matter."""

    id = "rlsuite/EpsilonGreedy-v0"
    config_type = EpsilonGreedyConfig
    rules = BanditRules(start, choose, update, probabilities, best)
