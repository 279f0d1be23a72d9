"""Thompson sampling of normal arms whose noise is known (Russo et al. 2018, section 6).

    mean_a ~ N(m_a, s_a²) for each arm,  A = argmax,    1/s_A² ← 1/s_A² + 1/σ²,
    m_A ← m_A + (s_A² / σ²) (R - m_A)  with the new s_A²

Differs from the source: masked arms are neither drawn nor played.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_posteriors import thompson_normal
from rlsuite_agents.functional.best_arm import best_probabilities
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["GaussianThompsonSampling", "GaussianThompsonSamplingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianThompsonSamplingConfig:
    """Settings of `GaussianThompsonSampling`."""

    prior_mean: float = 0.0  # m of every arm before its first pull
    prior_sd: float = 1.0  # s of every arm before its first pull, above 0
    noise_sd: float = 1.0  # σ, standard deviation of a reward about its mean, above 0

    def __post_init__(self) -> None:
        check_range(self, "prior_mean", "(-inf, inf)")
        check_range(self, "prior_sd", "(0, inf)")
        check_range(self, "noise_sd", "(0, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    means: Any  # m, [K]
    deviations: Any  # s, [K]
    precisions: Any  # 1 / s², [K]
    noise_precision: float  # 1 / σ²


def start(config: GaussianThompsonSamplingConfig, n_arms: int) -> Beliefs:
    """The prior."""
    means = np.full(n_arms, float(config.prior_mean))
    deviations = np.full(n_arms, float(config.prior_sd))
    return Beliefs(means, deviations, deviations**-2.0, float(config.noise_sd) ** -2)


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The arm of the largest draw from the posteriors."""
    return thompson_normal(x.means, x.deviations, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """The probability that each arm is the best, by quadrature over the posteriors."""
    return best_probabilities(x.means, x.deviations, mask=mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Adds the precisions, and moves the mean by its share."""
    x.precisions[arm] += x.noise_precision
    x.means[arm] += (reward - x.means[arm]) * x.noise_precision / x.precisions[arm]
    x.deviations[arm] = 1.0 / math.sqrt(x.precisions[arm])


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest posterior mean."""
    return greedy(x.means, mask)


class GaussianThompsonSampling(BanditPolicy):
    """Each arm as often as it is believed to be the best; normal noise of known size."""

    id = "rlsuite/GaussianThompsonSampling-v0"
    config_type = GaussianThompsonSamplingConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    draws_uniforms_alone = False
