"""SquareCB (Foster & Rakhlin 2020, algorithm 1) over ridge regressions, one for each arm.

    p_a = 1 / (K + γ_t (f* - f_a)) for every arm but the first of the best, which has the rest
    γ_t = γ₀ tᵖ

f_a = xᵀθ_a is what the regression expects of arm a, f* the largest of them, t the number of the
decision from 1. Inverse gap weighting is due to Abe & Long (1999).

Differs from the source: γ grows with t, as in Vowpal Wabbit, where the paper has a constant for a
known horizon; f are of rewards, not losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.linear_bandits import (
    ridge_update,
    square_cb_arm,
    square_cb_gamma,
    square_cb_probabilities,
    value_scores,
)
from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.contextual import Contextual
from rlsuite_agents.parts.linear_model import LinearModel, LinearRules, no_draws
from rlsuite_agents.parts.settings import check_flag, check_range

__all__ = ["SquareCB", "SquareCBConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SquareCBConfig:
    """Settings of `SquareCB`."""

    gamma: float = 10.0  # γ₀, above 0: the larger, the greedier; in units of one over reward
    power: float = 0.5  # p of γ₀ tᵖ, in [0, 1]
    lambda_: float = 1.0  # λ of the ridge, above 0
    intercept: bool = True  # append a feature that is always 1

    def __post_init__(self) -> None:
        check_range(self, "gamma", "(0, inf)")
        check_range(self, "power", "[0, 1]")
        check_range(self, "lambda_", "(0, inf)")
        check_flag(self, "intercept")


def probabilities(beliefs: Any, x: Any, mask: Any) -> NDArray[np.float64]:
    """Those that the arm is drawn by."""
    kept(value_scores)(beliefs, x)
    out = np.zeros(len(beliefs.values))
    square_cb_probabilities(beliefs.values, square_cb_gamma(beliefs), mask, out)
    return out


RULES = LinearRules(no_draws, value_scores, square_cb_arm, ridge_update, probabilities)


class SquareCB(Contextual, BanditPolicy):
    """Plays an arm the more rarely, the further a regression puts it below the best."""

    id = "rlsuite/SquareCB-v0"
    config_type = SquareCBConfig

    def build(self) -> LinearModel:
        """θ = 0."""
        c = self.config
        prior = {"ridge": c.lambda_, "width": c.gamma, "power": c.power}
        return LinearModel(RULES, self.n_inputs, self.n_arms, intercept=c.intercept, **prior)

    @property
    def theta(self) -> NDArray[np.float64]:
        """θ, [A, d]; the intercept comes last."""
        return self.model.beliefs.theta
