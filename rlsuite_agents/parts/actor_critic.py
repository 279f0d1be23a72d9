"""A policy and a value network with the gradient of PPO's loss, by hand, in one flat vector.

L = clipped surrogate - entropy_weight · H(π) + value_weight · value loss, means over a minibatch;
A2C is the case of one pass over the whole rollout (Huang et al. 2022, "A2C is a special case of
PPO"): the ratio is 1 there, and nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.actor_critic import standardise, value_gradient
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.device import single_thread
from rlsuite_agents.parts.heads import Head
from rlsuite_agents.parts.mlp_gradient import ActivationName, Network, Parameters, layer_shapes
from rlsuite_agents.parts.networks import evaluate_rows, relu

__all__ = ["ActorCritic", "Experience", "LossSettings", "two_networks"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """n steps to learn from, in any order; arrays, or tensors that lie where they are needed."""

    features: Any  # float32 or, of images, uint8 [n, d]
    mask: NDArray[np.bool_]  # allowed actions [n, A], or [0, 0]
    actions: NDArray[Any]  # int64 [n], or float32 [n, D]
    log_prob: Floats  # of the policy that acted, [n]
    values: Floats  # of the network that acted, [n]
    advantages: Floats  # [n]
    returns: Floats  # what the values should have been, [n]

    def __len__(self) -> int:
        return len(self.log_prob)

    def placed(self, place: Callable[[Any], Any]) -> Experience:
        """The same with each column put elsewhere."""
        return Experience(*(place(getattr(self, name)) for name in self.__slots__))

    def rows(self, rows: Any) -> Experience:
        """Some of the steps: rows [B], indices or a mask [n]."""
        columns = (getattr(self, name) for name in self.__slots__)
        return Experience(*(c[rows] if len(c) else c for c in columns))


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
        gains: tuple[float, float] = (0.01, 1.0),
    ) -> None:
        """Draws the weights, with gain √2 in the body.

        Args:
            inputs: length d of a row of features.
            head: turns outputs into actions.
            hidden: widths of the hidden layers of each network.
            activation: between them.
            rng: draws the weights; log σ starts at 0.
            gains: of the last layers, of policy and value.
        """
        self.head = head
        self.parameters, self.policy, self.value = two_networks(
            {}, inputs, head, hidden, activation, rng, gains
        )
        self._rowwise = np.tanh if activation == "tanh" else relu

    def learning(self) -> AbstractContextManager[None]:
        """What `learn` runs in: one thread."""
        return single_thread()

    def place(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array where gradients by hand want it: it is there."""
        return array

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


def two_networks(
    before: Mapping[str, Sequence[int]],
    inputs: int,
    head: Head,
    hidden: Sequence[int],
    activation: ActivationName,
    rng: np.random.Generator,
    gains: tuple[float, float],
) -> tuple[Parameters, Network, Network]:
    """All parameters, and a policy and a value network on them, drawn as `ActorCritic` says.

    `before`: shapes of what reads the observations, which is left 0; `inputs`: how much it puts
    out.
    """
    sizes = (inputs, *hidden)
    parameters = Parameters(
        {
            **before,
            **layer_shapes("policy", (*sizes, head.size)),
            **layer_shapes("value", (*sizes, 1)),
            **head.shapes(),
        }
    )
    policy = Network(parameters, "policy", (*sizes, head.size), activation)
    value = Network(parameters, "value", (*sizes, 1), activation)
    body = [2.0**0.5] * len(hidden)
    policy.initialise(rng, [*body, gains[0]])
    value.initialise(rng, [*body, gains[1]])
    return parameters, policy, value
