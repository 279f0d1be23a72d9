"""Optimisers on a flat vector of parameters: one compiled loop a step, gradient clipping included.

What torch's optimisers do, without their overhead, which exceeds the arithmetic of small networks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import DivergenceError
from rlsuite_agents.functional.optimizers import adam_step, clip_scale, rmsprop_step
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.device_parameters import DeviceAdam, DeviceParameters, DeviceRMSProp
from rlsuite_agents.parts.mlp_gradient import Parameters, quiet

__all__ = ["Adam", "NoFiniteNorm", "RMSProp", "adam", "finite_norms", "rmsprop"]


class NoFiniteNorm(DivergenceError):
    """The norm of a gradient is not finite; whoever counts the steps says at which one."""


class Adam:
    """Adam (Kingma & Ba 2015) with β₁ = 0.9 and β₂ = 0.999."""

    def __init__(self, parameters: Parameters, eps: float = 1e-8) -> None:
        self.parameters, self.eps, self.steps = parameters, eps, 0
        self.first = np.zeros_like(parameters.vector)
        self.second = np.zeros_like(parameters.vector)

    @quiet
    def step(self, learning_rate: float, max_norm: float = math.inf) -> float:
        """One step down the gradient; returns its norm before it was clipped to `max_norm`."""
        p, norm = self.parameters, gradient_norm(self.parameters)
        self.steps += 1
        alpha = learning_rate / (1.0 - 0.9**self.steps)
        root = 1.0 / math.sqrt(1.0 - 0.999**self.steps)
        numbers = (clip_scale(norm, max_norm), 0.9, 0.999, 0.1, 0.001, alpha, root, self.eps)
        kept(adam_step)(p.vector, p.gradient, self.first, self.second, *map(np.float32, numbers))
        return norm

    def arrays(self, name: str = "optimizer") -> dict[str, NDArray[Any]]:
        """What it has accumulated, for a checkpoint."""
        return {
            f"{name}.first": self.first,
            f"{name}.second": self.second,
            f"{name}.steps": np.array(self.steps, np.int64),
        }

    def restore(self, found: Checkpoint, name: str = "optimizer") -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.steps = int(found.array(f"{name}.steps", (), np.int64))
        for part, array in (("first", self.first), ("second", self.second)):
            array[:] = found.array(f"{name}.{part}", array.shape, np.float32)


class RMSProp:
    """RMSprop (Tieleman & Hinton 2012) with ρ = 0.99."""

    def __init__(self, parameters: Parameters, eps: float = 1e-5) -> None:
        self.parameters, self.eps = parameters, eps
        self.second = np.zeros_like(parameters.vector)

    @quiet
    def step(self, learning_rate: float, max_norm: float = math.inf) -> float:
        """One step down the gradient; returns its norm before it was clipped to `max_norm`."""
        p, norm = self.parameters, gradient_norm(self.parameters)
        numbers = (clip_scale(norm, max_norm), 0.99, 0.01, learning_rate, self.eps)
        kept(rmsprop_step)(p.vector, p.gradient, self.second, *map(np.float32, numbers))
        return norm

    def arrays(self, name: str = "optimizer") -> dict[str, NDArray[Any]]:
        """What it has accumulated, for a checkpoint."""
        return {f"{name}.second": self.second}

    def restore(self, found: Checkpoint, name: str = "optimizer") -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.second[:] = found.array(f"{name}.second", self.second.shape, np.float32)


def adam(parameters: Parameters | DeviceParameters, eps: float = 1e-8) -> Adam | DeviceAdam:
    """Adam where the parameters are."""
    if isinstance(parameters, Parameters):
        return Adam(parameters, eps)
    return DeviceAdam(parameters, eps)


def rmsprop(
    parameters: Parameters | DeviceParameters, eps: float = 1e-5
) -> RMSProp | DeviceRMSProp:
    """RMSprop where the parameters are."""
    if isinstance(parameters, Parameters):
        return RMSProp(parameters, eps)
    return DeviceRMSProp(parameters, eps)


def gradient_norm(parameters: Parameters) -> float:
    """The Euclidean norm of the whole gradient; raises `NoFiniteNorm` unless it is finite."""
    norm = math.sqrt(float(np.dot(parameters.gradient, parameters.gradient)))
    return float(finite_norms(np.array([norm]))[0])


def finite_norms(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The norms of gradients, [M]; raises `NoFiniteNorm` unless all are finite."""
    if not np.isfinite(norms).all():
        raise NoFiniteNorm(
            f"the norm of the gradient is {norms[~np.isfinite(norms)][0]}: the training has "
            "diverged, and stops before the weights do. Lower the learning rate, or normalise "
            "rewards and observations."
        )
    return norms
