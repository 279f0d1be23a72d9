"""Gradients by torch's autograd: the twins of those of `ActorCritic` and `QNetwork` in tests.

They are also what learns on CUDA, where kernels written for a CPU do not run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import huber_loss, linear

from rlsuite_agents.functional.actor_critic import HALF_LOG_TAU
from rlsuite_agents.functional.policy_gradient import clipped_surrogate_loss, entropy

__all__ = ["autograd_gradient", "autograd_q_gradient"]


def autograd_gradient(
    networks: Any, e: Any, rows: NDArray[np.int64], settings: Any, device: torch.device | str
) -> NDArray[np.float64]:
    """`ActorCritic.gradient`, computed by torch on a device; arguments and results are the same."""
    s = settings
    theta = {
        name: torch.tensor(value, device=device, requires_grad=True)
        for name, value in networks.parameters.values.items()
    }

    def batch(column: NDArray[Any]) -> Tensor:
        return torch.from_numpy(column[rows]).to(device)

    x, advantages = batch(e.features), batch(e.advantages)
    if s.normalize_advantage and len(rows) > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    outputs, values = (_forward(theta, name, networks, x) for name in ("policy", "value"))
    if "log_std" in theta:
        log_prob, h = _gaussian(outputs, theta["log_std"], batch(e.actions))
    else:
        if len(e.mask):
            outputs = outputs.masked_fill(~batch(e.mask), -torch.inf)
        log_prob = torch.log_softmax(outputs, 1).gather(1, batch(e.actions)[:, None])[:, 0]
        h = entropy(outputs).mean()
    old = batch(e.log_prob)
    policy_loss = clipped_surrogate_loss(log_prob, old, advantages, s.clip_range)
    value_loss = _value_loss(values[:, 0], batch(e.values), batch(e.returns), s.clip_range_vf)
    (policy_loss - s.entropy_weight * h + s.value_weight * value_loss).backward()
    for name, tensor in theta.items():
        assert tensor.grad is not None
        networks.parameters.gradients[name][:] = tensor.grad.cpu().numpy()
    ratio = torch.exp(log_prob - old).detach()
    kl = (ratio - 1 - (log_prob - old)).mean()
    clipped = ((ratio - 1).abs() > s.clip_range).float().mean()
    return np.array([v.item() for v in (policy_loss, h, kl, clipped, value_loss)])


def autograd_q_gradient(
    networks: Any, batch: Any, device: torch.device | str
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """`QNetwork.gradient`, computed by torch on a device; arguments and results are the same."""
    theta, target = (
        {name: torch.tensor(value, device=device) for name, value in parameters.values.items()}
        for parameters in (networks.parameters, networks.target)
    )

    def column(name: str) -> Tensor:
        return torch.from_numpy(getattr(batch, name)).to(device)

    def q_of(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        outputs = _forward(weights, "q", networks, x)
        if not networks.dueling:
            return outputs
        advantages, value = outputs[:, :-1], outputs[:, -1:]
        return value + advantages - advantages.mean(1, keepdim=True)

    ahead = column("ahead")
    q_next = q_of(target, ahead)
    q_select = q_of(theta, ahead) if networks.double else q_next
    if len(batch.mask):
        q_select = q_select.masked_fill(~column("mask"), -torch.inf)
    best = q_next.gather(1, q_select.argmax(1, keepdim=True))[:, 0]
    targets = column("rewards") + column("discounts") * best
    for tensor in theta.values():
        tensor.requires_grad_()
    q = q_of(theta, column("features"))
    taken = q.gather(1, column("actions")[:, None])[:, 0]
    loss = (column("weights") * huber_loss(taken, targets, reduction="none")).mean()
    loss.backward()
    for name, tensor in theta.items():
        assert tensor.grad is not None
        networks.parameters.gradients[name][:] = tensor.grad.cpu().numpy()
    errors = (taken - targets).detach().abs()
    sums = [v.item() for v in (loss, errors.mean(), taken.mean(), q.max())]
    return np.array(sums), errors.cpu().numpy()


def _forward(theta: dict[str, Tensor], name: str, networks: Any, x: Tensor) -> Tensor:
    network = getattr(networks, name)
    activation = torch.tanh if network.activation == "tanh" else torch.relu
    last = len(network.layers) - 1
    for k in range(last + 1):
        x = linear(x, theta[f"{name}.weight{k}"].T, theta[f"{name}.bias{k}"])
        x = activation(x) if k < last else x
    return x


def _gaussian(means: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    standard = (actions - means) * torch.exp(-log_std)
    log_prob = -(0.5 * standard**2 + log_std + HALF_LOG_TAU).sum(1)
    return log_prob, (0.5 + HALF_LOG_TAU + log_std).sum()


def _value_loss(v: Tensor, old: Tensor, returns: Tensor, clip_range: float) -> Tensor:
    held = old + torch.clamp(v - old, -clip_range, clip_range)
    return torch.maximum((v - returns) ** 2, (held - returns) ** 2).mean()
