"""The networks of soft actor-critic, for continuous and for discrete actions, with their gradients.

Both forms hold a policy and two critics, each followed by a target critic, and answer the same
calls, so that the algorithm is written once. Parameters that are learned together lie in one flat
vector: those of the policy, those of both critics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.functional.actor_critic import draw_categorical
from rlsuite_agents.functional.soft_actor_critic import (
    critic_gradient,
    move,
    smaller_gradient,
    soft_targets,
    softmax_gradient,
    softmax_values,
    squashed_gradient,
    squashed_sample,
)
from rlsuite_agents.parts.autograd_soft import autograd_critic_gradient, autograd_policy_gradient
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.mlp_gradient import ActivationName, Network, Parameters, layer_shapes
from rlsuite_agents.parts.networks import evaluate_rows, relu
from rlsuite_agents.parts.replay import Batch

__all__ = ["SoftNetworks", "SoftmaxNetworks", "SquashedNetworks", "soft_networks"]

Floats = NDArray[np.float32]
Masks = NDArray[np.bool_]
CRITICS = ("q_1", "q_2")
ENTROPY_SHARE = 0.98
"""Of the largest possible entropy: what a softmax policy is to keep (Christodoulou 2019)."""


class SoftNetworks:
    """A policy, two critics and their targets; what `SquashedNetworks` and `SoftmaxNetworks` share.

    Attributes:
        policy_parameters: of the policy.
        critic_parameters: of both critics.
        target_parameters: of both targets.
    """

    def __init__(
        self,
        policy: tuple[int, int],
        critic: tuple[int, int],
        hidden: Sequence[int],
        activation: ActivationName,
        tau: float,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Draws weights and biases, uniform in ±1 / √(inputs of the layer); targets are copies.

        Args:
            policy: lengths of the policy's inputs and outputs.
            critic: those of each critic.
            hidden: widths of the hidden layers of each network.
            activation: between them.
            tau: τ, share of a critic that enters its target when that follows.
            rng: draws the weights.
            device: where gradients are computed; the parameters lie on the CPU, where it acts.
        """
        self.tau, self.device = np.float32(tau), device
        sizes = (policy[0], *hidden, policy[1])
        self.policy_parameters = Parameters(layer_shapes("policy", sizes))
        self.policy = Network(self.policy_parameters, "policy", sizes, activation)
        sizes = (critic[0], *hidden, critic[1])
        shapes = {k: v for name in CRITICS for k, v in layer_shapes(name, sizes).items()}
        self.critic_parameters, self.target_parameters = Parameters(shapes), Parameters(shapes)
        self.critics, self.targets = (
            [Network(parameters, name, sizes, activation) for name in CRITICS]
            for parameters in (self.critic_parameters, self.target_parameters)
        )
        for network in (self.policy, *self.critics):
            network.initialise_uniformly(rng)
        self.target_parameters.vector[:] = self.critic_parameters.vector
        self._rowwise = np.tanh if activation == "tanh" else relu

    def follow(self) -> None:
        """The targets come closer to the critics: θ⁻ ← θ⁻ + τ (θ - θ⁻)."""
        kept(move)(self.target_parameters.vector, self.critic_parameters.vector, self.tau)

    def outputs_by_row(self, features: Floats) -> Floats:
        """What the policy puts out, [B, ...], each row computed as if it were alone."""
        return evaluate_rows(self.policy.layers, features, self._rowwise)

    def smaller_by_row(self, inputs: Floats) -> Floats:
        """The smaller value of both critics, [B, ...], each row computed as if it were alone."""
        one, two = (evaluate_rows(q.layers, inputs, self._rowwise) for q in self.critics)
        return np.minimum(one, two)

    def _learn_values(
        self, inputs: Floats, columns: NDArray[np.int64], batch: Batch, values: Floats
    ) -> NDArray[np.float64]:
        """Writes the gradient of the critics' errors, of which column each; returns their sums."""
        targets, sums = np.empty(len(values), np.float32), np.empty(4)
        kept(soft_targets)(batch.rewards, batch.discounts, values, targets)
        q_1, q_2 = (critic.forward(inputs) for critic in self.critics)
        d_q = np.empty_like(q_1), np.empty_like(q_2)
        kept(critic_gradient)(q_1, q_2, columns, targets, *d_q, sums)
        for critic, d in zip(self.critics, d_q, strict=True):
            critic.backward(d)
        return sums


class SquashedNetworks(SoftNetworks):
    """For `Box` actions: a policy tanh(N(μ(s), σ(s))), and critics Q(s, a) told the action.

    Actions are in (-1, 1)^D inside, and stretched to the bounds where they are played.
    """

    def __init__(self, inputs: int, space: spaces.Box, *rest: Any) -> None:
        """See `SoftNetworks`.

        Raises:
            UnsupportedSpaceError: the bounds are not finite, or the actions not of a float type.
        """
        if not (np.issubdtype(space.dtype, np.floating) and space.is_bounded()):
            raise UnsupportedSpaceError(
                "SAC squashes Box actions into their bounds: they must be finite, of a "
                f"floating-point type, got {space}."
            )
        if 0 in space.shape:
            raise UnsupportedSpaceError(f"there is nothing to choose in {space}.")
        self.space, self.size, self._inputs = space, int(np.prod(space.shape)), inputs
        super().__init__((inputs, 2 * self.size), (inputs + self.size, 1), *rest)

    def act(self, features: Floats, mask: Masks, rng: np.random.Generator) -> Floats:
        """Actions drawn for rows [N, d]: [N, D]."""
        noise = rng.standard_normal((len(features), self.size), np.float32)
        return self.squash(self.policy.forward(features), noise)[0]

    def act_randomly(self, n: int, mask: Masks, rng: np.random.Generator) -> Floats:
        """Actions drawn evenly: [N, D]."""
        return rng.uniform(-1.0, 1.0, (n, self.size)).astype(np.float32)

    def played(self, actions: Floats) -> NDArray[Any]:
        """What the environments are given: in the bounds, of the shape and type of the space."""
        low, high = (b.astype(np.float64) for b in (self.space.low, self.space.high))
        share = 0.5 * (actions.reshape(len(actions), *self.space.shape).astype(np.float64) + 1.0)
        stretched: NDArray[Any] = np.clip(low + share * (high - low), low, high)
        return stretched.astype(self.space.dtype)

    def critic_gradient(
        self, batch: Batch, alpha: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Writes ∂L / ∂θ of both critics; the targets are constants.

        Args:
            batch: B transitions.
            alpha: α.
            rng: draws the actions that the targets go on with.

        Returns:
            What `functional.soft_actor_critic.critic_gradient` sums, [4].
        """
        noise = rng.standard_normal((len(batch.rows), self.size), np.float32)
        if self.device.type != "cpu":
            return autograd_critic_gradient(self, batch, alpha, noise, self.device)
        actions, log_prob = self.squash(self.policy.forward(batch.ahead), noise)
        inputs = np.concatenate((batch.ahead, actions), axis=1)
        one, two = (target.forward(inputs)[:, 0] for target in self.targets)
        values = np.minimum(one, two) - np.float32(alpha) * log_prob
        inputs[:, : self._inputs], inputs[:, self._inputs :] = batch.features, batch.actions
        return self._learn_values(inputs, np.zeros(len(inputs), np.int64), batch, values)

    def policy_gradient(
        self, batch: Batch, alpha: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Writes ∂L / ∂φ of the policy; arguments as of `critic_gradient`.

        Returns:
            L and the entropy, [2].
        """
        noise = rng.standard_normal((len(batch.rows), self.size), np.float32)
        if self.device.type != "cpu":
            return autograd_policy_gradient(self, batch, alpha, noise, self.device)
        outputs = self.policy.forward(batch.features)
        actions, log_prob = self.squash(outputs, noise)
        inputs = np.concatenate((batch.features, actions), axis=1)
        q_1, q_2 = (critic.forward(inputs) for critic in self.critics)
        d_q, values = (np.empty_like(q_1), np.empty_like(q_2)), np.empty_like(log_prob)
        kept(smaller_gradient)(q_1, q_2, values, *d_q)
        d_actions = np.zeros_like(actions)
        for critic, d in zip(self.critics, d_q, strict=True):
            d_inputs = critic.backward(d, parameters=False, inputs=True)
            assert d_inputs is not None
            d_actions += d_inputs[:, self._inputs :]
        d_outputs = np.empty_like(outputs)
        kept(squashed_gradient)(outputs, noise, actions, d_actions, alpha, d_outputs)
        self.policy.backward(d_outputs)
        entropy = -float(log_prob.mean())
        return np.array([-alpha * entropy - float(values.mean()), entropy])

    def entropy_to_keep(self, batch: Batch) -> float:
        """H̄ where no setting says it: -D."""
        return -float(self.size)

    def squash(self, outputs: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """Actions [N, D] and their log-densities [N] from what the policy puts out."""
        actions, log_prob = np.empty_like(noise), np.empty(len(noise), np.float32)
        kept(squashed_sample)(outputs, noise, actions, log_prob)
        return actions, log_prob


class SoftmaxNetworks(SoftNetworks):
    """For `Discrete` actions, with masks: a policy softmax(logits(s)), and critics Q(s, ·)."""

    def __init__(self, inputs: int, space: spaces.Discrete, *rest: Any) -> None:
        """See `SoftNetworks`."""
        self.size = int(space.n)
        super().__init__((inputs, self.size), (inputs, self.size), *rest)

    def act(self, features: Floats, mask: Masks, rng: np.random.Generator) -> NDArray[np.int64]:
        """Actions drawn for rows [N, d], one uniform each: [N]."""
        return self._draw(self.policy.forward(features), mask, rng)

    def act_randomly(self, n: int, mask: Masks, rng: np.random.Generator) -> NDArray[np.int64]:
        """Allowed actions drawn evenly, one uniform each: [N]."""
        return self._draw(np.zeros((n, self.size), np.float32), mask, rng)

    def _draw(self, logits: Floats, mask: Masks, rng: np.random.Generator) -> NDArray[np.int64]:
        actions, log_prob = np.empty(len(logits), np.int64), np.empty(len(logits), np.float32)
        kept(draw_categorical)(logits, mask, rng.random(len(logits)), actions, log_prob)
        return actions

    def played(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the environments are given: the actions as they are."""
        return actions

    def critic_gradient(
        self, batch: Batch, alpha: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """As of `SquashedNetworks`; means over actions are exact, and nothing is drawn."""
        if self.device.type != "cpu":
            return autograd_critic_gradient(self, batch, alpha, None, self.device)
        values = np.empty(len(batch.rows), np.float32)
        q_next = (target.forward(batch.ahead) for target in self.targets)
        logits = self.policy.forward(batch.ahead)
        kept(softmax_values)(logits, batch.mask, *q_next, alpha, values)
        return self._learn_values(batch.features, batch.actions, batch, values)

    def policy_gradient(
        self, batch: Batch, alpha: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """As of `SquashedNetworks`; nothing is drawn."""
        if self.device.type != "cpu":
            return autograd_policy_gradient(self, batch, alpha, None, self.device)
        logits, sums = self.policy.forward(batch.features), np.empty(2)
        d_logits = np.empty_like(logits)
        q = (critic.forward(batch.features) for critic in self.critics)
        kept(softmax_gradient)(logits, batch.mask_here, *q, alpha, d_logits, sums)
        self.policy.backward(d_logits)
        return sums

    def entropy_to_keep(self, batch: Batch) -> float:
        """H̄ where no setting says it: 98 % of the largest entropy among the allowed actions."""
        if not len(batch.mask_here):
            return ENTROPY_SHARE * math.log(self.size)
        return ENTROPY_SHARE * float(np.log(batch.mask_here.sum(axis=1)).mean())


def soft_networks(inputs: int, space: spaces.Space[Any], *rest: Any) -> Any:
    """The networks for a space of actions; see `SoftNetworks` for the rest.

    Raises:
        UnsupportedSpaceError: it is neither `Discrete`, counted from 0, nor a bounded `Box`.
    """
    if isinstance(space, spaces.Box):
        return SquashedNetworks(inputs, space, *rest)
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return SoftmaxNetworks(inputs, space, *rest)
    raise UnsupportedSpaceError(
        f"SAC's action space must be Discrete, counted from 0, or a bounded Box, got {space}."
    )
