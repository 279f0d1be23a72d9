"""Discounted Thompson sampling for arms that change (Raj & Kalyani 2017, algorithm 1).

    S_a ← γ S_a + 1{a = A} R,    F_a ← γ F_a + 1{a = A} (1 - R)    for every arm, each round
    θ_a ~ Beta(α₀ + S_a, β₀ + F_a),    A = argmax θ_a

What was seen long ago is forgotten, so that the posterior of an arm that is not pulled widens back
to the prior.

Differs from the source: a reward between 0 and 1 counts as that fraction of a success; masked arms
are neither drawn nor played.
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

__all__ = ["DiscountedThompsonSampling", "DiscountedThompsonSamplingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscountedThompsonSamplingConfig:
    """Settings of `DiscountedThompsonSampling`."""

    discount: float = 0.99  # γ, weight of what was seen a round before, in (0, 1]
    prior_alpha: float = 1.0  # α of the prior of every arm, in [0.5, 1e6]
    prior_beta: float = 1.0  # β of the prior of every arm, in [0.5, 1e6]

    def __post_init__(self) -> None:
        check_range(self, "discount", "(0, 1]")
        check_range(self, "prior_alpha", "[0.5, 1e6]")
        check_range(self, "prior_beta", "[0.5, 1e6]")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    successes: Any  # S, [K]
    failures: Any  # F, [K]
    scratch_alpha: Any  # [K]
    scratch_beta: Any  # [K]
    discount: float
    prior_alpha: float
    prior_beta: float


def start(config: DiscountedThompsonSamplingConfig, n_arms: int) -> Beliefs:
    """Nothing seen."""
    successes, failures, alpha, beta = np.zeros((4, n_arms))
    settings = float(config.discount), float(config.prior_alpha), float(config.prior_beta)
    return Beliefs(successes, failures, alpha, beta, *settings)


def posterior(x: Beliefs) -> None:
    """Writes α and β into the scratch rows."""
    for a in range(len(x.successes)):
        x.scratch_alpha[a] = x.prior_alpha + x.successes[a]
        x.scratch_beta[a] = x.prior_beta + x.failures[a]


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The arm of the largest draw from the posteriors."""
    posterior(x)
    return thompson_beta(x.scratch_alpha, x.scratch_beta, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """The probability that each arm is the best, by quadrature over the posteriors."""
    posterior(x)
    return beta_best_probabilities(x.scratch_alpha, x.scratch_beta, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Discounts all arms, then adds the reward of one."""
    for a in range(len(x.successes)):
        x.successes[a] *= x.discount
        x.failures[a] *= x.discount
    note_beta(x.successes, x.failures, arm, reward)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest posterior mean."""
    posterior(x)
    return best_beta_mean(x.scratch_alpha, x.scratch_beta, mask)


class DiscountedThompsonSampling(BanditPolicy):
    """Thompson sampling that forgets. Rewards lie in [0, 1]."""

    id = "rlsuite/DiscountedThompsonSampling-v0"
    config_type = DiscountedThompsonSamplingConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
    draws_uniforms_alone = False
