"""Exp3: exponential weights for arms that an adversary pays (Auer et al. 2002b, section 3).

    π(a) = (1 - γ) w_a / Σ w + γ / K,    ln w_A ← ln w_A + (γ / K) R / π(A)

It holds the regret against the best fixed arm down whatever the rewards, in [0, 1], depend on; on
arms that pay by chance alone others do much better.

Differs from the source: weights are kept as logarithms, so that they never overflow; masked arms
have probability 0, and K is the number of allowed arms. What the policy itself was paid is taken
off the allowed arms, which changes no probability among them; an arm that was masked, or is new,
then has earned as much as the policy has (the sleeping arms of SB-EXP3, Nguyen & Mehta 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_weights import mixed_with_uniform, softmax
from rlsuite_agents.functional.chance import draw_from
from rlsuite_agents.functional.exploration import greedy, n_allowed
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["Exp3", "Exp3Config"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exp3Config:
    """Settings of `Exp3`."""

    gamma: float = 0.1  # γ, share of even play and rate of learning, in (0, 1]

    def __post_init__(self) -> None:
        check_range(self, "gamma", "(0, 1]")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    gains: Any  # Σ R / π(a) less Σ R, over the decisions in which the arm was allowed, [K]
    pi: Any  # of the latest decision, [K]
    gamma: float


def start(config: Exp3Config, n_arms: int) -> Beliefs:
    """Even weights."""
    return Beliefs(np.zeros(n_arms), np.full(n_arms, 1.0 / n_arms), float(config.gamma))


def chances(x: Beliefs, mask: Any) -> None:
    """Writes π."""
    softmax(x.gains, x.gamma / n_allowed(len(x.gains), mask), mask, x.pi)
    mixed_with_uniform(x.pi, x.gamma, mask)


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """An arm drawn from π."""
    chances(x, mask)
    return draw_from(x.pi, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """π, from the present weights."""
    now = list(x.pi)
    chances(x, mask)
    row, x.pi[:] = np.array(x.pi), now
    return row


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Adds an unbiased estimate of how much more an arm pays than π, where it was allowed."""
    for a in range(len(x.gains)):
        if x.pi[a] > 0.0:
            x.gains[a] -= reward
    x.gains[arm] += reward / x.pi[arm]


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest weight."""
    return greedy(x.gains, mask)


class Exp3(BanditPolicy):
    """Exponential weights with a share of even play. Rewards lie in [0, 1]."""

    id = "rlsuite/Exp3-v0"
    config_type = Exp3Config
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
    remembers = ("pi",)
