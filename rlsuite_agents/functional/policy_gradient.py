"""Policy-gradient losses: tensors in, a scalar to be minimised out.

Every loss is a mean over its elements, so the step size does not depend on the batch. Advantages
and old log-probabilities are constants: no gradient flows into them, whether or not the caller
detached them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from registry.errors import SettingError

__all__ = ["clipped_surrogate_loss", "entropy", "policy_gradient_loss"]

LOG_RATIO_MAX = (
    80.0  # exp(80) = 5.5e34: the largest power of e that leaves float32 room to multiply
)


def policy_gradient_loss(log_prob: Tensor, advantages: Tensor) -> Tensor:
    """REINFORCE: -mean log π(A_t|S_t) · advantage_t (S&B 2nd ed., eq. 13.8 and 13.11).

    Its gradient is minus the policy gradient, averaged over the time steps.

    Args:
        log_prob: log π(A_t|S_t), any shape.
        advantages: G_t, or G_t - v(S_t); the same shape.

    Raises:
        SettingError: the shapes differ.
    """
    same_shape(log_prob=log_prob, advantages=advantages)
    return -(log_prob * advantages.detach()).mean()


def clipped_surrogate_loss(
    log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip_range: float
) -> Tensor:
    """PPO's clipped surrogate, -mean min(r A, clip(r, 1 - ε, 1 + ε) A), r = π / π_old.

    Schulman et al. 2017, eq. 7. Where the minimum is the clipped term the gradient is 0; a
    log-ratio beyond 80 counts as 80 in the value and keeps its gradient, so neither overflows.

    Args:
        log_prob: log π(A_t|S_t), any shape.
        old_log_prob: log π_old(A_t|S_t) of the policy that acted, the same shape.
        advantages: the same shape.
        clip_range: ε > 0.

    Raises:
        SettingError: the shapes differ, or ε is not positive.
    """
    same_shape(log_prob=log_prob, old_log_prob=old_log_prob, advantages=advantages)
    if not clip_range > 0:
        raise SettingError(f"clip_range is ε > 0 around a ratio of 1, got {clip_range!r}.")
    return -clipped_objective(
        log_prob - old_log_prob.detach(), advantages.detach(), clip_range, clip_range
    ).mean()


def entropy(logits: Tensor) -> Tensor:
    """H(π) = -Σ_a π(a) log π(a) in nats, π = softmax(logits): shape [..., A] to [...].

    A masked action has the logit -inf; it adds 0, to the value and to the gradient.
    """
    log_pi = torch.log_softmax(logits, dim=-1)
    pi = log_pi.exp()
    return -(pi * log_pi.masked_fill(pi == 0, 0.0)).sum(dim=-1)


def clipped_objective(log_ratio: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """min(r A, clip(r, 1 - low, 1 + high) A) elementwise, r = exp(log_ratio)."""
    ratio = bounded_exp(log_ratio)
    # Chosen by `where` and not by `minimum`: at a tie, as on-policy where r = 1, `minimum` halves
    # the gradient between its two arguments.
    clipped = torch.clamp(ratio.detach(), 1 - low, 1 + high) * advantages
    free = ratio * advantages
    return torch.where(free.detach() <= clipped, free, clipped)


def bounded_exp(x: Tensor) -> Tensor:
    """e^x with x above 80 counted as 80, in the value and in the slope, which stays positive."""
    return torch.exp(x + (x.clamp(max=LOG_RATIO_MAX) - x).detach())


def same_shape(**tensors: Tensor) -> None:
    """Refuses tensors of unlike shapes, which broadcasting would silently multiply out.

    Raises:
        SettingError: naming each tensor and its shape.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise SettingError(f"these must have one shape, got {told}.")
