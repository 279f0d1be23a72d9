"""Policies and values on a device, learned by autograd: what runs on CUDA, and what reads images.

They answer the calls of `ActorCritic` and `QNetwork`. Parameters and gradients stay where they are;
a step of the environments costs one transfer of observations in and one of outputs out, and what
an update learns from is brought there once. The first weights are those of the networks by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlsuite_agents.parts.actor_critic import Experience, LossSettings, two_networks
from rlsuite_agents.parts.autograd import actor_critic_loss, dueling, mlp, q_loss
from rlsuite_agents.parts.convolution import Body, Rows, orthogonally, uniformly
from rlsuite_agents.parts.device import reproducible, single_thread
from rlsuite_agents.parts.device_parameters import DeviceParameters
from rlsuite_agents.parts.heads import Head
from rlsuite_agents.parts.mlp_gradient import ActivationName, Network, Parameters, layer_shapes
from rlsuite_agents.parts.replay import Batch

__all__ = ["DeviceActorCritic", "DeviceQNetwork"]

Floats = NDArray[np.float32]


class _Evaluated:
    """What both have in common: observations in, numbers out."""

    def __init__(self, body: Body, device: torch.device) -> None:
        self.body, self.device = body, device

    def place(self, array: Any) -> Tensor:
        """An array, on the device; a tensor that is there already is left there."""
        tensor = array if isinstance(array, Tensor) else torch.from_numpy(array)
        return tensor.to(self.device)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """What `learn` runs in: one thread, unless convolutions can use more."""
        with reproducible(self.device):
            if isinstance(self.body, Rows):
                with single_thread():
                    yield
            else:
                yield

    def evaluated(self, of: Callable[[Tensor], Tensor], rows: Any, size: int) -> Floats:
        """`of` rows [B, d], `size` of them at a time, for NumPy."""
        x = self.place(rows)
        with torch.inference_mode():
            parts = [of(x[k : k + size]) for k in range(0, max(len(x), 1), size)]
            return torch.cat(parts).cpu().numpy()

    def row_by_row(self, of: Callable[[Tensor], Tensor], rows: Floats) -> Floats:
        """`of` rows [B, d], each computed as if it were alone."""
        with reproducible(self.device), single_thread():
            return self.evaluated(of, rows, 1)


class DeviceActorCritic(_Evaluated):
    """A policy and a value; two networks, or two heads on the same convolutions."""

    def __init__(
        self,
        body: Body,
        head: Head,
        hidden: Sequence[int],
        activation: ActivationName,
        rng: np.random.Generator,
        device: torch.device,
        gains: tuple[float, float] = (0.01, 1.0),
    ) -> None:
        """Draws the weights, as `ActorCritic` does.

        Args:
            body: reads the observations.
            head: turns outputs into actions.
            hidden: widths of the layers behind the body, of policy and value each.
            activation: between them.
            rng: draws the weights.
            device: where all of this lies.
            gains: of the last layers, of policy and value.
        """
        super().__init__(body, device)
        drawn, policy, _ = two_networks(
            body.shapes(), body.outputs, head, hidden, activation, rng, gains
        )
        body.initialise(drawn.values, orthogonally(rng))
        shapes = {name: value.shape for name, value in drawn.values.items()}
        self.head, self.parameters = head, DeviceParameters(shapes, device)
        self.parameters.put(drawn.vector)
        self._layers = len(policy.layers), activation

    def act(
        self, features: NDArray[Any], mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[Any], Floats]:
        """Actions drawn for rows [N, d], and their log-probabilities [N]."""
        outputs = self.evaluated(self._outputs, features, len(features))
        return self.head.sample(outputs, mask, self.parameters, rng)

    def values_of(self, features: Any) -> Floats:
        """v̂ of rows [..., d], an array or a tensor: [...]."""
        flat = features.reshape(-1, features.shape[-1])
        values = self.evaluated(self._values, flat, self.body.chunk)
        return values.reshape(features.shape[:-1])

    def gradient(self, e: Experience, rows: Tensor, settings: LossSettings) -> Tensor:
        """Computes ∂L / ∂θ of the minibatch `rows` [B], which lies on the device as `e` does.

        Returns:
            Means over the minibatch, [5], on the device; see `functional.actor_critic`.
        """
        self.parameters.forget()
        batch = e.rows(rows)
        theta = self.parameters.leaves
        read = self.body(theta, batch.features)
        outputs, values = (mlp(theta, name, *self._layers, read) for name in ("policy", "value"))
        loss, sums = actor_critic_loss(outputs, values[:, 0], theta.get("log_std"), batch, settings)
        loss.backward()
        return sums

    def outputs_by_row(self, features: NDArray[Any]) -> Floats:
        """Logits or means [B, ...], each row computed as if it were alone."""
        return self.row_by_row(self._outputs, features)

    def values_by_row(self, features: NDArray[Any]) -> Floats:
        """v̂ [B], each row computed as if it were alone."""
        return self.row_by_row(self._values, features)

    def _outputs(self, rows: Tensor) -> Tensor:
        theta = self.parameters.leaves
        return mlp(theta, "policy", *self._layers, self.body(theta, rows))

    def _values(self, rows: Tensor) -> Tensor:
        theta = self.parameters.leaves
        return mlp(theta, "value", *self._layers, self.body(theta, rows))[:, 0]


class DeviceQNetwork(_Evaluated):
    """Q(s, ·; θ), and Q(s, ·; θ⁻) of a target network that follows it."""

    def __init__(
        self,
        body: Body,
        n_actions: int,
        hidden: Sequence[int],
        activation: ActivationName,
        *,
        tau: float,
        double: bool,
        dueling: bool,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Draws the weights, as `QNetwork` does, whose arguments these are but for the body."""
        super().__init__(body, device)
        self.tau, self.double, self.dueling = tau, double, dueling
        sizes = (body.outputs, *hidden, n_actions + dueling)
        shapes = {**body.shapes(), **layer_shapes("q", sizes)}
        drawn = Parameters(shapes)
        Network(drawn, "q", sizes, activation).initialise_uniformly(rng)
        body.initialise(drawn.values, uniformly(rng))
        self.parameters, self.target = (DeviceParameters(shapes, device) for _ in "xy")
        for parameters in (self.parameters, self.target):
            parameters.put(drawn.vector)
        self._layers = len(sizes) - 1, activation

    def follow(self) -> None:
        """θ⁻ ← τ θ + (1 - τ) θ⁻."""
        self.target.flat.lerp_(self.parameters.flat, self.tau)

    def values(self, features: NDArray[Any]) -> Floats:
        """Q(s, ·; θ) of rows [B, d]: [B, A]."""
        return self.evaluated(self._learned, features, len(features))

    def gradient(self, batch: Batch) -> tuple[NDArray[np.float64], Floats]:
        """Computes ∂L / ∂θ of the minibatch; the targets are constants.

        Returns:
            What `huber_gradient` sums, [4], and |δ| of each row, [B]: in one transfer, since who
            draws by priority waits for it.
        """
        told = self.loss_gradient(batch.placed(self.place)).cpu().numpy()
        return told[:4].astype(np.float64), told[4:]

    def loss_gradient(self, batch: Batch) -> Tensor:
        """What `gradient` returns, one after the other [4 + B], of tensors, on the device."""
        self.parameters.forget()
        with torch.no_grad():
            q_next = self._q(self.target, batch.ahead)
            q_select = self._learned(batch.ahead) if self.double else q_next
        loss, sums, errors = q_loss(self._learned(batch.features), q_next, q_select, batch)
        loss.backward()
        return torch.cat([sums, errors])

    def values_by_row(self, features: NDArray[Any]) -> Floats:
        """Q(s, ·; θ) [B, A], each row computed as if it were alone."""
        return self.row_by_row(self._learned, features)

    def _learned(self, rows: Tensor) -> Tensor:
        return self._q(self.parameters, rows)

    def _q(self, parameters: DeviceParameters, rows: Tensor) -> Tensor:
        theta = parameters.leaves
        outputs = mlp(theta, "q", *self._layers, self.body(theta, rows))
        return dueling(outputs) if self.dueling else outputs
