"""Exp3-IX: exponential weights with implicit exploration (Neu 2015, algorithm 1).

    π(a) ∝ e^(-η L_a),    L_A ← L_A + (1 - R) / (π(A) + γ),    γ = η / 2

with losses 1 - R in [0, 1]. γ in the denominator keeps the estimates from exploding, so that the
regret is small with high probability and no share of even play is needed. With a horizon T,
η = √(2 ln K / (K T)); without, the anytime form of the paper, η_t = √(ln K / (K t)) in round t.

Differs from the source: L is kept instead of weights, so that nothing overflows; masked arms have
probability 0, and K is the number of allowed arms. The estimated loss of the policy itself,
Σ_a π(a) times what L_a grows by, is taken off the allowed arms, which changes no probability among
them; an arm that was masked, or is new, then has lost as much as the policy has (the sleeping arms
of SB-EXP3, Nguyen & Mehta 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_weights import softmax
from rlsuite_agents.functional.chance import draw_from
from rlsuite_agents.functional.exploration import n_allowed
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_count

__all__ = ["Exp3IX", "Exp3IXConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exp3IXConfig:
    """Settings of `Exp3IX`."""

    horizon: int | None = None  # T, steps that will be played; None: anytime

    def __post_init__(self) -> None:
        if self.horizon is not None:
            check_count(self, "horizon", 1)


class Beliefs(NamedTuple):
    """What the rules read and write."""

    losses: Any  # L less that of the policy, over the decisions in which the arm was allowed, [K]
    pi: Any  # of the latest decision, [K]
    rate: Any  # η of the latest decision, [1]
    round: Any  # t of the next round, int64 [1]
    horizon: float  # T, or 0


def start(config: Exp3IXConfig, n_arms: int) -> Beliefs:
    """No losses."""
    rows = np.zeros(n_arms), np.full(n_arms, 1.0 / n_arms), np.zeros(1), np.ones(1, np.int64)
    return Beliefs(*rows, float(config.horizon or 0))


def chances(x: Beliefs, mask: Any) -> None:
    """Writes π and η."""
    k = n_allowed(len(x.losses), mask)
    scale = 2.0 / x.horizon if x.horizon > 0 else 1.0 / x.round[0]
    x.rate[0] = math.sqrt(scale * math.log(k) / k)
    softmax(x.losses, -x.rate[0], mask, x.pi)


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """An arm drawn from π."""
    chances(x, mask)
    return draw_from(x.pi, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """π, from the present losses."""
    now, rate = list(x.pi), x.rate[0]
    chances(x, mask)
    row, x.pi[:], x.rate[0] = np.array(x.pi), now, rate
    return row


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Adds an estimate of how much more an arm loses than π, where it was allowed."""
    loss = (1.0 - reward) / (x.pi[arm] + 0.5 * x.rate[0])
    own = x.pi[arm] * loss
    for a in range(len(x.losses)):
        if x.pi[a] > 0.0:
            x.losses[a] -= own
    x.losses[arm] += loss
    x.round[0] += 1


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the smallest loss, the lowest index of several."""
    smallest = -1
    for a in range(len(x.losses)):
        if (mask is None or mask[a]) and (smallest < 0 or x.losses[a] < x.losses[smallest]):
            smallest = a
    return smallest


class Exp3IX(BanditPolicy):
    """Exponential weights with implicit exploration. Rewards lie in [0, 1]."""

    id = "rlsuite/Exp3IX-v0"
    config_type = Exp3IXConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
    remembers = ("pi", "rate")
