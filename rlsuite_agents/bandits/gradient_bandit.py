"""The gradient bandit: REINFORCE on one logit for each arm (Sutton & Barto, 2nd ed., section 2.8).

    π = softmax(θ),    A ~ π,    advantage = R - b,    b ← b + rate (R - b)
    g = advantage (π - e_A), the gradient of -advantage ln π(A);  one step of Adam or SGD down g

with θ = 0 and b = 0 at the start. Adam has β = (0.9, 0.999), ε = 1e-8 outside the root, and bias
correction.

Differs from the book: Adam is the default, plain steps are `optimizer="sgd"`; the baseline is an
exponential average, or none, instead of the mean of all rewards; masked arms have probability 0 and
no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_weights import adam_step, softmax
from rlsuite_agents.functional.chance import draw_from
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_choice, check_range

__all__ = ["GradientBandit", "GradientBanditConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientBanditConfig:
    """Settings of `GradientBandit`."""

    step_size: float = 0.05  # α, above 0
    optimizer: str = "adam"  # or "sgd"
    baseline_rate: float | None = 0.05  # of b, in (0, 1]; None: no baseline, b = 0

    def __post_init__(self) -> None:
        check_range(self, "step_size", "(0, inf)")
        check_choice(self, "optimizer", ("adam", "sgd"))
        if self.baseline_rate is not None:
            check_range(self, "baseline_rate", "(0, 1]")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    theta: Any  # θ, [K]
    pi: Any  # of the latest decision, [K]
    baseline: Any  # b, [1]
    m: Any  # Adam's first moments, [K]
    v: Any  # and second moments, [K]
    clock: Any  # β₁^t and β₂^t, [2]
    scratch_gradient: Any  # [K]
    step_size: float
    adam: bool
    baseline_rate: float  # 0 without a baseline


def start(config: GradientBanditConfig, n_arms: int) -> Beliefs:
    """Even logits."""
    rows = np.zeros(n_arms), np.full(n_arms, 1.0 / n_arms), np.zeros(1)
    adam = np.zeros(n_arms), np.zeros(n_arms), np.ones(2), np.zeros(n_arms)
    settings = float(config.step_size), config.optimizer == "adam", config.baseline_rate or 0.0
    return Beliefs(*rows, *adam, *settings)


def chances(x: Beliefs, mask: Any) -> None:
    """Writes π."""
    softmax(x.theta, 1.0, mask, x.pi)


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """An arm drawn from π."""
    chances(x, mask)
    return draw_from(x.pi, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """π, from the present logits."""
    now = list(x.pi)
    chances(x, mask)
    row, x.pi[:] = np.array(x.pi), now
    return row


def update(x: Beliefs, arm: int, reward: float) -> None:
    """One step down the gradient, with the π that the arm was drawn from."""
    advantage = reward - x.baseline[0]
    x.baseline[0] += x.baseline_rate * advantage
    for a in range(len(x.theta)):
        x.scratch_gradient[a] = advantage * x.pi[a] - (advantage if a == arm else 0.0)
    if x.adam:
        adam_step(x.theta, x.scratch_gradient, x.m, x.v, x.clock, x.step_size)
    else:
        for a in range(len(x.theta)):
            x.theta[a] -= x.step_size * x.scratch_gradient[a]


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest logit."""
    return greedy(x.theta, mask)


class GradientBandit(BanditPolicy):
    """Logits that follow the gradient of the expected reward. Observations do not matter."""

    id = "rlsuite/GradientBandit-v0"
    config_type = GradientBanditConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    remembers = ("pi",)
