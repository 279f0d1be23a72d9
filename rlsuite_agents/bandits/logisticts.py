"""Thompson sampling with logistic payoffs (Chapelle & Li 2011, algorithm 3, one pull at a time).

    P(r = 1) = σ(xᵀθ_a),    θ̃_a ~ N(θ_a, v² A_a⁻¹),    the arm of the largest xᵀθ̃_a

After a pull, θ moves to the mode of belief times likelihood, and A to the curvature there (the
Laplace approximation):

    s = xᵀθ + q (r - σ(s)), q = xᵀA⁻¹x;    θ ← θ + A⁻¹x (r - σ(s));    A ← A + σ(s)(1 - σ(s)) x xᵀ

Differs from the source: it fits batches, and keeps the diagonal of A; here each pull is a batch,
solved exactly in its one dimension, and A is whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.contextual import Contextual
from rlsuite_agents.parts.linear_model import LOGISTIC_THOMPSON, LinearModel
from rlsuite_agents.parts.settings import check_flag, check_range

__all__ = ["LogisticTS", "LogisticTSConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogisticTSConfig:
    """Settings of `LogisticTS`."""

    v: float = 1.0  # multiplies the standard deviation (not the variance), above 0
    lambda_: float = 1.0  # precision of the prior of each weight, above 0
    intercept: bool = True  # append a feature that is always 1

    def __post_init__(self) -> None:
        check_range(self, "v", "(0, inf)")
        check_range(self, "lambda_", "(0, inf)")
        check_flag(self, "intercept")


class LogisticTS(Contextual, BanditPolicy):
    """A Bayesian logistic regression for each arm, for rewards of 0 and 1 or in between."""

    id = "rlsuite/LogisticTS-v0"
    config_type = LogisticTSConfig
    unit_rewards = True

    def build(self) -> LinearModel:
        """The prior: θ = 0, so that every arm pays one half."""
        c = self.config
        prior = {"ridge": c.lambda_, "width": c.v}
        return LinearModel(
            LOGISTIC_THOMPSON, self.n_inputs, self.n_arms, intercept=c.intercept, **prior
        )

    @property
    def theta(self) -> NDArray[np.float64]:
        """θ, [A, d]; the intercept comes last."""
        return self.model.beliefs.theta
