"""A policy and a value network with the gradient of PPO's loss, by hand, in one flat vector.

L = clipped surrogate - entropy_weight · H(π) + value_weight · value loss, means over a minibatch;
A2C is the case of one pass over the whole rollout (Huang et al. 2022, "A2C is a special case of
PPO"): the ratio is 1 there, and nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsuite_agents.functional.actor_critic import standardise, value_gradient
from rlsuite_agents.parts.autograd import autograd_gradient
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.heads import Head
from rlsuite_agents.parts.mlp_gradient import ActivationName, Network, Parameters, layer_shapes
from rlsuite_agents.parts.networks import evaluate_rows, relu

__all__ = ["ActorCritic", "Experience", "LossSettings"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """n steps to learn from, in any order."""

    features: Floats  # [n, d]
    mask: NDArray[np.bool_]  # allowed actions [n, A], or [0, 0]
    actions: NDArray[Any]  # int64 [n], or float32 [n, D]
    log_prob: Floats  # of the policy that acted, [n]
    values: Floats  # of the network that acted, [n]
    advantages: Floats  # [n]
    returns: Floats  # what the values should have been, [n]

    def __len__(self) -> int:
        return len(self.log_prob)


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Numbers in the loss. A clip range of infinity clips nothing."""

    clip_range: float  # ε of the ratio
    clip_range_vf: float  # ε of the change of the values
    entropy_weight: float
    value_weight: float
    normalize_advantage: bool  # per minibatch


class ActorCritic:
    """Two networks of the same hidden layers, orthogonally initialised (Huang et al. 2022, 2)."""

    def __init__(
        self,
        inputs: int,
        head: Head,
        hidden: Sequence[int],
        activation: ActivationName,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Draws the weights: gain √2 in the body, 0.01 for the policy's outputs, 1 for the value.

        Args:
            inputs: length d of a row of features.
            head: turns outputs into actions.
            hidden: widths of the hidden layers of each network.
            activation: between them.
            rng: draws the weights; log σ starts at 0.
            device: where gradients are computed; the parameters lie on the CPU, where it acts.
        """
        sizes = (inputs, *hidden)
        shapes = {
            **layer_shapes("policy", (*sizes, head.size)),
            **layer_shapes("value", (*sizes, 1)),
            **head.shapes(),
        }
        self.head, self.device, self.parameters = head, device, Parameters(shapes)
        self.policy = Network(self.parameters, "policy", (*sizes, head.size), activation)
        self.value = Network(self.parameters, "value", (*sizes, 1), activation)
        body = [2.0**0.5] * len(hidden)
        self.policy.initialise(rng, [*body, 0.01])
        self.value.initialise(rng, [*body, 1.0])
        self._rowwise = np.tanh if activation == "tanh" else relu

    def act(
        self, features: Floats, mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[Any], Floats]:
        """Actions drawn for rows [N, d], and their log-probabilities [N]."""
        return self.head.sample(self.policy.forward(features), mask, self.parameters, rng)

    def values_of(self, features: Floats) -> Floats:
        """v̂ of rows [..., d]: [...]; an array of its own."""
        flat = features.reshape(-1, features.shape[-1])
        return self.value.forward(flat)[:, 0].reshape(features.shape[:-1]).copy()

    def gradient(
        self, e: Experience, rows: NDArray[np.int64], settings: LossSettings
    ) -> NDArray[np.float64]:
        """Writes ∂L / ∂θ of the minibatch `rows` [B] to `parameters.gradient`.

        Returns:
            Means over the minibatch, [5]; see `functional.actor_critic`.
        """
        if self.device.type != "cpu":
            return autograd_gradient(self, e, rows, settings, self.device)
        s, sums = settings, np.zeros(5)
        x = e.features.take(rows, axis=0)
        advantages = e.advantages.take(rows)
        if s.normalize_advantage:
            kept(standardise)(e.advantages, rows, advantages)
        batch = (e.mask, e.actions, e.log_prob, advantages, rows)
        weights = (s.clip_range, s.entropy_weight)
        outputs = self.policy.forward(x)
        self.policy.backward(self.head.gradient(outputs, self.parameters, batch, weights, sums))
        values = self.value.forward(x)
        d_values = np.empty_like(values)
        kept(value_gradient)(
            *(values, e.values, e.returns, rows, s.clip_range_vf, s.value_weight, d_values, sums)
        )
        self.value.backward(d_values)
        return sums

    def outputs_by_row(self, features: Floats) -> Floats:
        """Logits or means [B, ...], each row computed as if it were alone."""
        return evaluate_rows(self.policy.layers, features, self._rowwise)

    def values_by_row(self, features: Floats) -> Floats:
        """v̂ [B], each row computed as if it were alone."""
        return evaluate_rows(self.value.layers, features, self._rowwise)[:, 0]
