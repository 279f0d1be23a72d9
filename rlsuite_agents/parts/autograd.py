"""Losses of actor-critic and Q-learning agents for torch's autograd.

They are what learns on CUDA and from images, and the twins that gradients by hand are held to.
Nothing here asks the device for a number: what is to be told comes as tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, linear

from rlsuite_agents.functional.actor_critic import HALF_LOG_TAU
from rlsuite_agents.functional.policy_gradient import clipped_surrogate_loss, entropy

__all__ = [
    "actor_critic_loss",
    "dueling",
    "mlp",
    "q_loss",
]

Named = Mapping[str, Tensor]


def mlp(theta: Named, name: str, depth: int, activation: str, x: Tensor) -> Tensor:
    """What `mlp_gradient.Network.forward` computes: [B, inputs] to [B, outputs].

    Args:
        theta: the parameters, by name.
        name: of the network.
        depth: number of layers.
        activation: "tanh" or "relu", between them.
        x: inputs.
    """
    between = torch.tanh if activation == "tanh" else torch.relu
    for k in range(depth):
        x = linear(x, theta[f"{name}.weight{k}"].T, theta[f"{name}.bias{k}"])
        x = between(x) if k < depth - 1 else x
    return x


def actor_critic_loss(
    outputs: Tensor, values: Tensor, log_std: Tensor | None, batch: Any, settings: Any
) -> tuple[Tensor, Tensor]:
    """The loss of `ActorCritic`, and the means over the minibatch that its `gradient` returns.

    Args:
        outputs: logits [B, A], or means [B, D].
        values: v, [B].
        log_std: log σ [D] where the actions are continuous.
        batch: an `Experience` of B rows, of tensors.
        settings: `LossSettings`.

    Returns:
        L, and the means [5] of `functional.actor_critic`.
    """
    s, advantages = settings, batch.advantages
    if s.normalize_advantage and len(advantages) > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    if log_std is None:
        if len(batch.mask):
            outputs = outputs.masked_fill(~batch.mask, -torch.inf)
        log_prob = torch.log_softmax(outputs, 1).gather(1, batch.actions[:, None])[:, 0]
        h = entropy(outputs).mean()
    else:
        log_prob, h = _gaussian(outputs, log_std, batch.actions)
    policy_loss = clipped_surrogate_loss(log_prob, batch.log_prob, advantages, s.clip_range)
    value_loss = _value_loss(values, batch.values, batch.returns, s.clip_range_vf)
    loss = policy_loss - s.entropy_weight * h + s.value_weight * value_loss
    ratio = torch.exp(log_prob - batch.log_prob).detach()
    kl = (ratio - 1 - (log_prob - batch.log_prob)).mean()
    clipped = ((ratio - 1).abs() > s.clip_range).float().mean()
    return loss, torch.stack([policy_loss, h, kl, clipped, value_loss]).detach()


def q_loss(
    q: Tensor, q_next: Tensor, q_select: Tensor, batch: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted Huber loss of `functional.value_based`, for targets that are constants.

    Args:
        q: Q(S, ·; θ), [B, A].
        q_next: Q(S', ·; θ⁻), [B, A].
        q_select: what the best action in S' is found by, [B, A].
        batch: a `Batch`, of tensors.

    Returns:
        L, the means of `huber_gradient` [4], and |δ| of each row [B].
    """
    with torch.no_grad():
        if len(batch.mask):
            q_select = q_select.masked_fill(~batch.mask, -torch.inf)
        best = q_next.gather(1, q_select.argmax(1, keepdim=True))[:, 0]
        targets = batch.rewards + batch.discounts * best
    taken = q.gather(1, batch.actions[:, None])[:, 0]
    loss = (batch.weights * huber_loss(taken, targets, reduction="none")).mean()
    errors = (taken - targets).detach().abs()
    return loss, torch.stack([loss, errors.mean(), taken.mean(), q.max()]).detach(), errors


def dueling(outputs: Tensor) -> Tensor:
    """Q [B, A] from the advantages and, last, the value, [B, A + 1] (Wang et al. 2016, eq. 9)."""
    advantages, value = outputs[:, :-1], outputs[:, -1:]
    return value + advantages - advantages.mean(1, keepdim=True)


def _gaussian(means: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    standard = (actions - means) * torch.exp(-log_std)
    log_prob = -(0.5 * standard**2 + log_std + HALF_LOG_TAU).sum(1)
    return log_prob, (0.5 + HALF_LOG_TAU + log_std).sum()


def _value_loss(v: Tensor, old: Tensor, returns: Tensor, clip_range: float) -> Tensor:
    held = old + torch.clamp(v - old, -clip_range, clip_range)
    return torch.maximum((v - returns) ** 2, (held - returns) ** 2).mean()
