"""Parameters for autograd on any device, and optimisers that never ask the host.

What `mlp_gradient.Parameters` and `optimizers` are for gradients by hand, with the same names in
checkpoints, so that what was learned on one device goes on on another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from rlsuite_agents.parts.checkpoint import Checkpoint

__all__ = ["DeviceAdam", "DeviceParameters", "DeviceRMSProp"]

Floats = NDArray[np.float32]


class DeviceParameters:
    """Named tensors, side by side in one vector, and their gradients in a second one.

    NumPy sees them through `vector`, `gradient` and `values`: on a CPU the same memory, from
    elsewhere copies, so that `put` is what changes them.

    Attributes:
        flat: all parameters, float32 [P].
        flat_gradient: ∂L / ∂ flat, float32 [P]; autograd adds to it, `forget` clears it.
        leaves: views of `flat` by name; their `grad` are views of `flat_gradient`.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], device: torch.device) -> None:
        """All zero.

        Args:
            shapes: by name, in the order in which they lie in the vector.
            device: where.
        """
        size = sum(math.prod(shape) for shape in shapes.values())
        self.flat, self.flat_gradient = (torch.zeros(size, device=device) for _ in "xy")
        self.leaves: dict[str, Tensor] = {}
        start = 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            leaf = self.flat[start:end].view(tuple(shape)).detach().requires_grad_()
            leaf.grad = self.flat_gradient[start:end].view(tuple(shape))
            self.leaves[name], start = leaf, end

    @property
    def vector(self) -> Floats:
        """All parameters for NumPy, float32 [P]."""
        return self.flat.cpu().numpy()

    @property
    def gradient(self) -> Floats:
        """The gradient for NumPy, float32 [P]."""
        return self.flat_gradient.cpu().numpy()

    @property
    def values(self) -> Mapping[str, Floats]:
        """The parameters by name for NumPy, each fetched when it is asked for."""
        return _Fetched(self.leaves)

    def put(self, vector: Floats) -> None:
        """Takes over all parameters [P]."""
        self.flat.copy_(torch.from_numpy(vector))

    def put_gradient(self, gradient: Floats) -> None:
        """Takes over a gradient [P] that was computed elsewhere."""
        self.flat_gradient.copy_(torch.from_numpy(gradient))

    def forget(self) -> None:
        """Clears the gradient, before a new one is computed."""
        self.flat_gradient.zero_()


class _Fetched(Mapping[str, Floats]):
    def __init__(self, leaves: Mapping[str, Tensor]) -> None:
        self._leaves = leaves

    def __getitem__(self, name: str) -> Floats:
        return self._leaves[name].detach().cpu().numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)


class DeviceAdam:
    """Adam (Kingma & Ba 2015) with β₁ = 0.9 and β₂ = 0.999, in torch's fused kernel."""

    def __init__(self, parameters: DeviceParameters, eps: float = 1e-8) -> None:
        flat = parameters.flat
        self.parameters, self.eps = parameters, eps
        self.first, self.second = torch.zeros_like(flat), torch.zeros_like(flat)
        self.steps = torch.zeros((), device=flat.device)

    def step(self, learning_rate: float, max_norm: float = math.inf) -> Tensor:
        """One step down the gradient; returns its norm before it was clipped, on the device.

        A gradient that is not finite changes nothing; see `optimizers.finite_norms`.
        """
        p = self.parameters
        norm = torch.linalg.vector_norm(p.flat_gradient)
        adam(
            [p.flat],
            [p.flat_gradient],
            [self.first],
            [self.second],
            [],
            [self.steps],
            fused=True,
            grad_scale=_divisor(norm, max_norm),
            found_inf=(~torch.isfinite(norm)).float(),
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=self.eps,
            maximize=False,
        )
        return norm

    def arrays(self, name: str = "optimizer") -> dict[str, NDArray[Any]]:
        """What it has accumulated, for a checkpoint."""
        return {
            f"{name}.first": self.first.cpu().numpy(),
            f"{name}.second": self.second.cpu().numpy(),
            f"{name}.steps": np.array(int(self.steps), np.int64),
        }

    def restore(self, found: Checkpoint, name: str = "optimizer") -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.steps.fill_(int(found.array(f"{name}.steps", (), np.int64)))
        for part, tensor in (("first", self.first), ("second", self.second)):
            _restore(tensor, found, f"{name}.{part}")


class DeviceRMSProp:
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5) with ρ = 0.99."""

    def __init__(self, parameters: DeviceParameters, eps: float = 1e-5) -> None:
        self.parameters, self.eps = parameters, eps
        self.second = torch.zeros_like(parameters.flat)

    def step(self, learning_rate: float, max_norm: float = math.inf) -> Tensor:
        """As `DeviceAdam.step`."""
        p = self.parameters
        norm = torch.linalg.vector_norm(p.flat_gradient)
        slope = p.flat_gradient / _divisor(norm, max_norm)
        second = 0.99 * self.second + 0.01 * slope**2
        theta = p.flat - learning_rate * slope / (second.sqrt() + self.eps)
        fine = torch.isfinite(norm)
        self.second.copy_(torch.where(fine, second, self.second))
        p.flat.copy_(torch.where(fine, theta, p.flat))
        return norm

    def arrays(self, name: str = "optimizer") -> dict[str, NDArray[Any]]:
        """What it has accumulated, for a checkpoint."""
        return {f"{name}.second": self.second.cpu().numpy()}

    def restore(self, found: Checkpoint, name: str = "optimizer") -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        _restore(self.second, found, f"{name}.second")


def _divisor(norm: Tensor, max_norm: float) -> Tensor:
    """What a gradient is divided by: 1 / `functional.optimizers.clip_scale`, on the device."""
    return torch.clamp((norm + 1e-6) / max_norm, min=1.0)


def _restore(tensor: Tensor, found: Checkpoint, name: str) -> None:
    tensor.copy_(torch.from_numpy(found.array(name, tuple(tensor.shape), np.float32)))
