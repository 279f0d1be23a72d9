"""Softmax, or Boltzmann, exploration on sample means (Sutton & Barto 1998, section 2.3).

    π(a) ∝ e^(Q_a / τ),    Q_a ← the mean of the rewards of a

The largest Q is subtracted before the exponential, so that nothing overflows, and an arm is played
with just the probability π(a).

Differs from the source: masked arms have probability 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_weights import softmax
from rlsuite_agents.functional.bandits import note_reward
from rlsuite_agents.functional.chance import draw_from
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["Softmax", "SoftmaxConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxConfig:
    """Settings of `Softmax`."""

    temperature: float = 0.1  # τ, above 0; small is greedy
    initial_value: float = 0.0  # Q of an arm that was never pulled; its first reward replaces it

    def __post_init__(self) -> None:
        check_range(self, "temperature", "(0, inf)")
        check_range(self, "initial_value", "(-inf, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    counts: Any  # N, int64 [K]
    means: Any  # Q, [K]
    scratch_pi: Any  # [K]
    scale: float  # 1 / τ


def start(config: SoftmaxConfig, n_arms: int) -> Beliefs:
    """Beliefs before the first pull."""
    means = np.full(n_arms, float(config.initial_value))
    return Beliefs(np.zeros(n_arms, np.int64), means, np.zeros(n_arms), 1.0 / config.temperature)


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """An arm drawn from π."""
    softmax(x.means, x.scale, mask, x.scratch_pi)
    return draw_from(x.scratch_pi, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """π."""
    softmax(x.means, x.scale, mask, x.scratch_pi)
    return np.array(x.scratch_pi)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Counts the pull and moves the mean."""
    note_reward(x.counts, x.means, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest sample mean."""
    return greedy(x.means, mask)


class Softmax(BanditPolicy):
    """Better arms more often, all of them sometimes. Observations do not matter."""

    id = "rlsuite/Softmax-v0"
    config_type = SoftmaxConfig
    rules = BanditRules(start, choose, update, probabilities, best)
