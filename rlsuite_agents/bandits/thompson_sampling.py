"""Thompson sampling with Beta posteriors (Thompson 1933; Russo et al. 2018, algorithm 3.2).

    θ_a ~ Beta(α_a, β_a) for each arm,    A = argmax θ_a,    (α_A, β_A) ← (α_A + R, β_A + 1 - R)

Differs from the source: a reward between 0 and 1 counts as that fraction of a success, where
Agrawal & Goyal (2012) toss a coin of that probability; both treat rewards of 0 and 1 alike. Masked
arms are neither drawn nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandits import (
    best_beta_mean,
    beta_best_probabilities,
    note_beta,
    thompson_beta,
)
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["ThompsonSampling", "ThompsonSamplingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ThompsonSamplingConfig:
    """Settings of `ThompsonSampling`. Beta(1, 1) is the uniform prior, Beta(½, ½) Jeffreys'."""

    prior_alpha: float = 1.0  # α of the prior of every arm, in [0.5, 1e6]
    prior_beta: float = 1.0  # β of the prior of every arm, in [0.5, 1e6]

    def __post_init__(self) -> None:
        check_range(self, "prior_alpha", "[0.5, 1e6]")
        check_range(self, "prior_beta", "[0.5, 1e6]")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    alpha: Any  # successes and the prior's, [K]
    beta: Any  # failures and the prior's, [K]


def start(config: ThompsonSamplingConfig, n_arms: int) -> Beliefs:
    """The prior."""
    return Beliefs(
        np.full(n_arms, float(config.prior_alpha)), np.full(n_arms, float(config.prior_beta))
    )


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The arm of the largest draw from the posteriors."""
    return thompson_beta(x.alpha, x.beta, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """The probability that each arm is the best, by quadrature over the posteriors."""
    return beta_best_probabilities(x.alpha, x.beta, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Adds the reward to the successes, and what it lacks to 1 to the failures."""
    note_beta(x.alpha, x.beta, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest posterior mean."""
    return best_beta_mean(x.alpha, x.beta, mask)


class ThompsonSampling(BanditPolicy):
    """Each arm as often as it is believed to be the best. Rewards lie in [0, 1]."""

    id = "rlsuite/ThompsonSampling-v0"
    config_type = ThompsonSamplingConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
    draws_uniforms_alone = False
