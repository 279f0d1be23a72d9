"""What stands on top of a policy network: how its outputs become actions, and their gradient.

`Categorical` for `Discrete` actions, with masks; `Gaussian` for `Box` actions, with one learned
log σ for all states. Both answer the same calls, so that an algorithm is written once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.functional.actor_critic import (
    categorical_gradient,
    draw_categorical,
    gaussian_gradient,
    gaussian_log_prob,
)
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.mlp_gradient import Parameters
from rlsuite_agents.parts.spaces import discrete_size

__all__ = ["Categorical", "Gaussian", "Head", "head_of"]

Floats = NDArray[np.float32]
EVERYTHING = np.zeros((0, 0), np.bool_)
"""The mask of an environment that has none."""


class Categorical:
    """π = softmax(logits) over the actions that the mask allows."""

    action_dtype: type = np.int64

    def __init__(self, space: spaces.Discrete) -> None:
        self.size = discrete_size(space, "a softmax policy's action space")
        self.action_shape: tuple[int, ...] = ()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameters of its own: none."""
        return {}

    def sample(
        self, logits: Floats, mask: NDArray[np.bool_], parameters: Any, rng: Any
    ) -> tuple[NDArray[np.int64], Floats]:
        """Actions [N] drawn from logits [N, A], one uniform each, and their log-probabilities."""
        actions, log_prob = np.empty(len(logits), np.int64), np.empty(len(logits), np.float32)
        kept(draw_categorical)(logits, mask, rng.random(len(logits)), actions, log_prob)
        return actions, log_prob

    def played(self, actions: NDArray[Any]) -> NDArray[Any]:
        """What the environments are given: the actions as they are."""
        return actions

    def gradient(
        self,
        logits: Floats,
        parameters: Parameters,
        batch: Sequence[Any],
        weights: tuple[float, float],
        sums: Any,
    ) -> Floats:
        """∂L / ∂ logits, as `functional.actor_critic.categorical_gradient` gives it.

        Args:
            logits: [B, A].
            parameters: not read.
            batch: mask, actions and old log-probabilities of the rollout, advantages [B], rows [B].
            weights: ε of the clip, and the weight of the entropy.
            sums: receives the means.
        """
        d_logits = np.empty_like(logits)
        kept(categorical_gradient)(logits, *batch, *weights, d_logits, sums)
        return d_logits


class Gaussian:
    """Independent coordinates N(μ, σ), clipped to the bounds of the space where they are played."""

    action_dtype: type = np.float32

    def __init__(self, space: spaces.Box) -> None:
        if not np.issubdtype(space.dtype, np.floating):
            raise UnsupportedSpaceError(
                f"Box actions must be of a floating-point type, got {space}."
            )
        if 0 in space.shape:
            raise UnsupportedSpaceError(f"there is nothing to choose in {space}.")
        self.space, self.size = space, math.prod(space.shape)
        self.action_shape = (self.size,)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameters of its own: log σ."""
        return {"log_std": (self.size,)}

    def sample(
        self, means: Floats, mask: NDArray[np.bool_], parameters: Any, rng: Any
    ) -> tuple[Floats, Floats]:
        """Actions [N, D] drawn around the means, before clipping, and their log-densities [N]."""
        log_std = parameters.values["log_std"]
        actions = means + np.exp(log_std) * rng.standard_normal(means.shape, np.float32)
        log_prob = np.empty(len(means), np.float32)
        kept(gaussian_log_prob)(means, log_std, actions, log_prob)
        return actions, log_prob

    def played(self, actions: NDArray[Any]) -> NDArray[Any]:
        """What the environments are given: in the bounds, of the shape and type of the space."""
        shaped = actions.reshape(len(actions), *self.space.shape)
        played: NDArray[Any] = np.clip(shaped, self.space.low, self.space.high)
        return played.astype(self.space.dtype)

    def gradient(
        self,
        means: Floats,
        parameters: Parameters,
        batch: Sequence[Any],
        weights: tuple[float, float],
        sums: Any,
    ) -> Floats:
        """∂L / ∂μ [B, D]; ∂L / ∂ log σ goes to the parameters. Arguments as of `Categorical`."""
        _, *rest = batch
        d_means = np.empty_like(means)
        log_std, d_log_std = parameters.values["log_std"], parameters.gradients["log_std"]
        kept(gaussian_gradient)(means, log_std, *rest, *weights, d_means, d_log_std, sums)
        return d_means


Head = Categorical | Gaussian


def head_of(space: spaces.Space[Any], agent: str) -> Head:
    """The head for a space of actions.

    Raises:
        UnsupportedSpaceError: it is neither `Discrete`, counted from 0, nor `Box`.
    """
    if isinstance(space, spaces.Box):
        return Gaussian(space)
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return Categorical(space)
    raise UnsupportedSpaceError(
        f"{agent}'s action space must be Discrete, counted from 0, or Box, got {space}."
    )
