"""Thompson sampling with linear payoffs (Agrawal & Goyal 2013; Riquelme, Tucker & Snoek 2018).

    A_a = λ I + Σ x xᵀ,  θ_a = A_a⁻¹ Σ r x  over the pulls of arm a
    θ̃_a ~ N(θ_a, v² σ² A_a⁻¹),    the arm of the largest xᵀθ̃_a

`noise="learned"`: the variance of the noise is unknown, σ² ~ IG(a₀ + n / 2, b), drawn for each arm
before θ̃ (Riquelme et al., section 3, "Exact"). `noise="known"`: σ = 1, so that v is the standard
deviation by which an exploring θ̃ is spread (Agrawal & Goyal, algorithm 1, with a θ for each arm).

Arms are independent, so xᵀθ̃_a is drawn as what it is, a number with mean xᵀθ_a and standard
deviation v σ √(xᵀA_a⁻¹x): no matrix is factorised at a decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.contextual import Contextual
from rlsuite_agents.parts.linear_model import THOMPSON, LinearModel
from rlsuite_agents.parts.settings import check_choice, check_flag, check_range

__all__ = ["LinTS", "LinTSConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinTSConfig:
    """Settings of `LinTS`. The prior is the one of Riquelme et al. 2018."""

    noise: Literal["learned", "known"] = "learned"  # whether σ² is drawn from its own posterior
    v: float = 1.0  # multiplies the standard deviation (not the variance), above 0
    lambda_: float = 0.25  # λ of the ridge, above 0
    prior_shape: float = 6.0  # a₀ of σ², above 0; where the noise is learned
    prior_rate: float = 6.0  # b₀ of σ², above 0; where the noise is learned
    intercept: bool = True  # append a feature that is always 1

    def __post_init__(self) -> None:
        check_choice(self, "noise", ("learned", "known"))
        for name in ("v", "lambda_", "prior_shape", "prior_rate"):
            check_range(self, name, "(0, inf)")
        check_flag(self, "intercept")


class LinTS(Contextual, BanditPolicy):
    """Bayesian linear regression for each arm; plays an arm as often as it may be the best."""

    id = "rlsuite/LinTS-v0"
    config_type = LinTSConfig

    def build(self) -> LinearModel:
        """The prior."""
        c = self.config
        prior = {"ridge": c.lambda_, "width": c.v}
        if c.noise == "learned":
            prior |= {"shape": c.prior_shape, "rate": c.prior_rate}
        return LinearModel(THOMPSON, self.n_inputs, self.n_arms, intercept=c.intercept, **prior)

    @property
    def theta(self) -> NDArray[np.float64]:
        """θ, [A, d]; the intercept comes last."""
        return self.model.beliefs.theta

    @property
    def a_inv(self) -> NDArray[np.float64]:
        """A⁻¹, [A, d, d]."""
        return self.model.beliefs.a_inv
