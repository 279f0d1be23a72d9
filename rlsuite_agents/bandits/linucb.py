"""LinUCB with disjoint or shared models (Li, Chu, Langford & Schapire 2010, algorithm 1).

    A_a = λ I + Σ x xᵀ,  θ_a = A_a⁻¹ Σ r x  over the pulls of arm a
    the arm of the largest  xᵀθ_a + α √(xᵀ A_a⁻¹ x)

Differs from the algorithm: λ, which is 1 there, is a setting; A⁻¹ is kept and updated, in float64;
a constant feature is appended to x unless `intercept` is off; ties are drawn evenly, as there;
masked arms are never played. With `model="shared"` one θ serves all arms, each of which has
features of its own (Chu, Li, Reyzin & Schapire 2011, algorithm 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.functional.exploration import greedy_probabilities
from rlsuite_agents.functional.linear_bandits import optimistic_scores, ridge_update
from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.contextual import Contextual
from rlsuite_agents.parts.linear_model import (
    LinearModel,
    LinearRules,
    SharedModel,
    no_draws,
    pick_best,
)
from rlsuite_agents.parts.settings import check_choice, check_flag, check_range

__all__ = ["LinUCB", "LinUCBConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinUCBConfig:
    """Settings of `LinUCB`."""

    alpha: float = 1.0  # α, multiplies the width √(xᵀA⁻¹x), at least 0
    lambda_: float = 1.0  # λ of the ridge, above 0
    intercept: bool = True  # append a feature that is always 1
    model: Literal["disjoint", "shared"] = "disjoint"  # a θ for each arm, or one for all

    def __post_init__(self) -> None:
        check_range(self, "alpha", "[0, inf)")
        check_range(self, "lambda_", "(0, inf)")
        check_flag(self, "intercept")
        check_choice(self, "model", ("disjoint", "shared"))


def probabilities(beliefs: Any, x: Any, mask: Any) -> NDArray[np.float64]:
    """0 and 1, ties shared; without a context by the scores as they are."""
    if x is not None:
        kept(optimistic_scores)(beliefs, x)
    allowed = None if mask is None else np.asarray(mask, bool)[None]
    return greedy_probabilities(beliefs.values[None], allowed, False)[0]


RULES = LinearRules(no_draws, optimistic_scores, pick_best, ridge_update, probabilities)


class LinUCB(Contextual, BanditPolicy):
    """Ridge regression; plays the largest upper confidence bound. Contexts are `Box`."""

    id = "rlsuite/LinUCB-v0"
    config_type = LinUCBConfig

    def build(self) -> LinearModel:
        """θ = 0."""
        c, n_features = self.config, self.n_inputs
        kind: type[LinearModel] = LinearModel
        if c.model == "shared":
            shape, kind = self.env.observation_space.shape, SharedModel
            if len(shape) != 2 or shape[0] != self.n_arms:
                raise UnsupportedSpaceError(
                    "LinUCB with model='shared' wants observations of the shape (arms, features), "
                    f"a row for each of the {self.n_arms} arms, got {shape}."
                )
            n_features = shape[1]
        prior = {"ridge": c.lambda_, "width": c.alpha}
        return kind(RULES, n_features, self.n_arms, intercept=c.intercept, **prior)

    @property
    def theta(self) -> NDArray[np.float64]:
        """θ, [A, d], or [1, d] where it is shared; the intercept comes last."""
        return self.model.beliefs.theta

    @property
    def a_inv(self) -> NDArray[np.float64]:
        """A⁻¹, [A, d, d], or [1, d, d]."""
        return self.model.beliefs.a_inv
