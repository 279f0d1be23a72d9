"""A Q-network and its target network, with the gradient of the Huber loss by hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.value_based import (
    dueling_gradient,
    dueling_values,
    huber_gradient,
    q_targets,
)
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.device import single_thread
from rlsuite_agents.parts.mlp_gradient import ActivationName, Network, Parameters, layer_shapes
from rlsuite_agents.parts.networks import evaluate_rows, relu
from rlsuite_agents.parts.replay import Batch

__all__ = ["QNetwork"]

Floats = NDArray[np.float32]


class QNetwork:
    """Q(s, ·; θ), and Q(s, ·; θ⁻) of a target network that follows it."""

    def __init__(
        self,
        inputs: int,
        n_actions: int,
        hidden: Sequence[int],
        activation: ActivationName,
        *,
        tau: float,
        double: bool,
        dueling: bool,
        rng: np.random.Generator,
    ) -> None:
        """Draws weights and biases, uniform in ±1 / √(inputs of the layer), as torch does; θ⁻ = θ.

        Args:
            inputs: length d of a row of features.
            n_actions: A.
            hidden: widths of the hidden layers.
            activation: between them.
            tau: τ, share of θ that enters θ⁻ when it follows; 1 copies.
            double: whether θ selects the action that θ⁻ values.
            dueling: whether the last layer puts out advantages and a value.
            rng: draws them.
        """
        sizes = (inputs, *hidden, n_actions + dueling)
        self.tau, self.double, self.dueling = tau, double, dueling
        self.parameters, self.target = (Parameters(layer_shapes("q", sizes)) for _ in "xy")
        self.q = Network(self.parameters, "q", sizes, activation)
        self.q_target = Network(self.target, "q", sizes, activation)
        self.q.initialise_uniformly(rng)
        self.target.vector[:] = self.parameters.vector
        self._rowwise = np.tanh if activation == "tanh" else relu

    def learning(self) -> AbstractContextManager[None]:
        """What `learn` runs in: one thread."""
        return single_thread()

    def follow(self) -> None:
        """θ⁻ ← τ θ + (1 - τ) θ⁻."""
        theta, target = self.parameters.vector, self.target.vector
        if self.tau == 1.0:
            target[:] = theta
        else:
            target += np.float32(self.tau) * (theta - target)

    def values(self, features: Floats) -> Floats:
        """Q(s, ·; θ) of rows [B, d]: [B, A], overwritten by the next call of the same B."""
        return self._combined(self.q.forward(features))

    def gradient(self, batch: Batch) -> tuple[NDArray[np.float64], Floats]:
        """Writes ∂L / ∂θ of the minibatch to `parameters.gradient`; the targets are constants.

        Returns:
            What `huber_gradient` sums, [4], and |δ| of each row, [B].
        """
        n, sums = len(batch.rows), np.empty(4)
        targets, errors = np.empty(n, np.float32), np.empty(n, np.float32)
        q_next = self._combined(self.q_target.forward(batch.ahead))
        q_select = self.values(batch.ahead) if self.double else q_next
        kept(q_targets)(batch.rewards, batch.discounts, q_next, q_select, batch.mask, targets)
        q = self.values(batch.features)
        d_q = np.empty_like(q)
        kept(huber_gradient)(q, batch.actions, targets, batch.weights, d_q, errors, sums)
        if self.dueling:
            d_outputs = np.empty((n, q.shape[1] + 1), np.float32)
            kept(dueling_gradient)(d_q, d_outputs)
            self.q.backward(d_outputs)
        else:
            self.q.backward(d_q)
        return sums, errors

    def values_by_row(self, features: Floats) -> Floats:
        """Q(s, ·; θ) [B, A], each row computed as if it were alone."""
        return self._combined(evaluate_rows(self.q.layers, features, self._rowwise))

    def _combined(self, outputs: Any) -> Floats:
        """Q from what a network puts out."""
        if not self.dueling:
            return outputs
        q = np.empty((len(outputs), outputs.shape[1] - 1), np.float32)
        kept(dueling_values)(outputs, q)
        return q
