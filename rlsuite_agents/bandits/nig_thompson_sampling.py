"""Thompson sampling of normal arms of unknown mean and variance (normal-inverse-gamma prior).

    σ_a² ~ IG(a_a, b_a),  mean_a ~ N(m_a, σ_a² / κ_a) for each arm,  A = argmax mean_a
    (m, κ, a, b) of the arm that was pulled follow by Bayes' rule (Murphy 2007, section 3)

The mean of an arm is thus Student's t with 2a degrees of freedom.

Differs from the source: masked arms are neither drawn nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_posteriors import nig_update, thompson_nig
from rlsuite_agents.functional.best_arm import best_probabilities
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["NIGThompsonSampling", "NIGThompsonSamplingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NIGThompsonSamplingConfig:
    """Settings of `NIGThompsonSampling`."""

    prior_mean: float = 0.0  # m of every arm before its first pull
    prior_strength: float = 1.0  # κ, observations that m counts for, above 0
    prior_shape: float = 1.0  # a, half the observations that the variance counts for, in [0.5, inf)
    prior_scale: float = 1.0  # b; b / a is about the variance expected, above 0

    def __post_init__(self) -> None:
        check_range(self, "prior_mean", "(-inf, inf)")
        check_range(self, "prior_strength", "(0, inf)")
        check_range(self, "prior_shape", "[0.5, inf)")
        check_range(self, "prior_scale", "(0, inf)")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    means: Any  # m, [K]
    strengths: Any  # κ, [K]
    shapes: Any  # a, [K]
    scales: Any  # b, [K]


def start(config: NIGThompsonSamplingConfig, n_arms: int) -> Beliefs:
    """The prior."""
    rows = (config.prior_mean, config.prior_strength, config.prior_shape, config.prior_scale)
    return Beliefs(*(np.full(n_arms, float(value)) for value in rows))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """The arm of the largest drawn mean."""
    return thompson_nig(x.means, x.strengths, x.shapes, x.scales, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """The probability that each arm is the best, by quadrature over the posteriors."""
    shape = np.array(x.shapes)
    scale = np.sqrt(np.array(x.scales) / (shape * np.array(x.strengths)))
    return best_probabilities(x.means, scale, 2.0 * shape, mask)


def update(x: Beliefs, arm: int, reward: float) -> None:
    """The posterior after one more reward."""
    before = x.means[arm], x.strengths[arm], x.shapes[arm], x.scales[arm]
    x.means[arm], x.strengths[arm], x.shapes[arm], x.scales[arm] = nig_update(reward, *before)


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest posterior mean."""
    return greedy(x.means, mask)


class NIGThompsonSampling(BanditPolicy):
    """Each arm as often as it is believed to be the best; normal noise of any size."""

    id = "rlsuite/NIGThompsonSampling-v0"
    config_type = NIGThompsonSamplingConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    draws_uniforms_alone = False
