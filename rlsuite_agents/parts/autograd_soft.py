"""Gradients of soft actor-critic by torch's autograd: twins of those of `SoftNetworks` in tests.

They are also what learns on CUDA, where kernels written for a CPU do not run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear, softplus

from rlsuite_agents.functional.actor_critic import HALF_LOG_TAU
from rlsuite_agents.functional.soft_actor_critic import LOG_STD_MAX, LOG_STD_MIN
from rlsuite_agents.parts.mlp_gradient import Network, Parameters

__all__ = ["autograd_critic_gradient", "autograd_policy_gradient"]

Noise = NDArray[np.float32] | None


def autograd_critic_gradient(
    networks: Any, batch: Any, alpha: float, noise: Noise, device: torch.device | str
) -> NDArray[np.float64]:
    """`critic_gradient` of soft networks, computed by torch on a device.

    Args:
        networks: `SquashedNetworks`, or `SoftmaxNetworks`.
        batch: B transitions.
        alpha: α.
        noise: ε of the actions that the targets go on with, [B, D]; None of a softmax policy.
        device: where.

    Returns:
        What `networks.critic_gradient` does.
    """
    t = _Tensors(networks, device)
    rewards, discounts, actions = map(t.of, (batch.rewards, batch.discounts, batch.actions))
    with torch.no_grad():
        if noise is None:
            pi, log_pi = t.softmax(batch.ahead, batch.mask)
            q_next = torch.minimum(*t.q(networks.targets, batch.ahead))
            values = (pi * (q_next - alpha * log_pi)).sum(1)
        else:
            ahead, log_prob = t.squashed(batch.ahead, noise)
            q_next = torch.minimum(*t.q(networks.targets, batch.ahead, ahead))
            values = q_next[:, 0] - alpha * log_prob
    if noise is None:
        q = [q.gather(1, actions[:, None])[:, 0] for q in t.q(networks.critics, batch.features)]
    else:
        q = [q[:, 0] for q in t.q(networks.critics, batch.features, actions)]
    both = torch.stack(q)
    errors = both - (rewards + discounts * values)
    loss = 0.5 * (errors**2).mean(1).sum()
    loss.backward()
    t.write_gradients(networks.critic_parameters)
    return np.array([x.item() for x in (loss, errors.abs().mean(), both.mean(), both.max())])


def autograd_policy_gradient(
    networks: Any, batch: Any, alpha: float, noise: Noise, device: torch.device | str
) -> NDArray[np.float64]:
    """`policy_gradient` of soft networks, by torch; arguments as of `autograd_critic_gradient`."""
    t = _Tensors(networks, device)
    if noise is None:
        pi, log_pi = t.softmax(batch.features, batch.mask_here)
        q = torch.minimum(*t.q(networks.critics, batch.features))
        loss = (pi * (alpha * log_pi - q)).sum(1).mean()
        entropy = -(pi * log_pi).sum(1).mean()
    else:
        actions, log_prob = t.squashed(batch.features, noise)
        q = torch.minimum(*t.q(networks.critics, batch.features, actions))
        loss = (alpha * log_prob - q[:, 0]).mean()
        entropy = -log_prob.mean()
    loss.backward()
    t.write_gradients(networks.policy_parameters)
    return np.array([loss.item(), entropy.item()])


class _Tensors:
    """The networks' parameters as tensors that gather gradients, and what is computed of them."""

    def __init__(self, networks: Any, device: torch.device | str) -> None:
        self.networks, self.device = networks, device
        self.leaves: dict[int, Tensor] = {}  # by the address of the array

    def of(self, array: NDArray[Any]) -> Tensor:
        """An array on the device."""
        return torch.from_numpy(array).to(self.device)

    def leaf(self, array: NDArray[np.float32]) -> Tensor:
        """A copy of parameters that gathers a gradient."""
        if id(array) not in self.leaves:
            self.leaves[id(array)] = torch.tensor(array, device=self.device, requires_grad=True)
        return self.leaves[id(array)]

    def forward(self, network: Network, x: Tensor) -> Tensor:
        """What the network puts out, [B, outputs]."""
        last = len(network.layers) - 1
        for k, (weight, bias) in enumerate(network.layers):
            x = linear(x, self.leaf(weight).T, self.leaf(bias))
            if k < last:
                x = torch.tanh(x) if network.activation == "tanh" else torch.relu(x)
        return x

    def q(
        self, critics: list[Network], features: NDArray[np.float32], *actions: Tensor
    ) -> list[Tensor]:
        """Values by both critics, of all actions or of those that they are told."""
        x = torch.cat((self.of(features), *actions), 1)
        return [self.forward(critic, x) for critic in critics]

    def softmax(
        self, features: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> tuple[Tensor, Tensor]:
        """π and log π, [B, A]; log π is 0 where an action is forbidden."""
        logits = self.forward(self.networks.policy, self.of(features))
        if not len(mask):
            return torch.softmax(logits, 1), torch.log_softmax(logits, 1)
        allowed = self.of(mask)
        logits = logits.masked_fill(~allowed, -torch.inf)
        log_pi = torch.log_softmax(logits, 1).masked_fill(~allowed, 0.0)
        return torch.softmax(logits, 1), log_pi

    def squashed(
        self, features: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> tuple[Tensor, Tensor]:
        """Actions [B, D] and their log-densities [B]."""
        means, log_std = self.forward(self.networks.policy, self.of(features)).chunk(2, dim=1)
        log_std, e = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX), self.of(noise)
        u = means + log_std.exp() * e
        slope = 2.0 * (math.log(2.0) - u - softplus(-2.0 * u))
        return torch.tanh(u), -(0.5 * e**2 + log_std + HALF_LOG_TAU + slope).sum(1)

    def write_gradients(self, parameters: Parameters) -> None:
        """The gradients of these parameters, to where the optimiser reads them."""
        for name, value in parameters.values.items():
            gradient = self.leaf(value).grad
            assert gradient is not None
            parameters.gradients[name][:] = gradient.cpu().numpy()
