"""One step of an optimiser on a flat vector of parameters.

Explicit loops over float32 vectors [P], in place, that numba turns into vector instructions: with
float32 numbers, and with `np.divide`, which unlike `/` is not checked for a zero. They do what
`torch.optim.Adam` and `torch.optim.RMSprop` do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["adam_step", "clip_scale", "rmsprop_step"]


def clip_scale(norm: float, max_norm: float) -> float:
    """What a gradient of this norm is multiplied with, so that its norm is at most `max_norm`.

    As in `torch.nn.utils.clip_grad_norm_`: max_norm / (norm + 1e-6), at most 1.
    """
    return min(1.0, max_norm / (norm + 1e-6))


def adam_step(
    theta: Any,
    g: Any,
    m: Any,
    v: Any,
    scale: Any,
    decay_1: Any,
    decay_2: Any,
    fresh_1: Any,
    fresh_2: Any,
    alpha: Any,
    root: Any,
    eps: Any,
) -> None:
    """Adam (Kingma & Ba 2015, algorithm 1) for the gradient c g.

        m ← β₁ m + (1 - β₁) c g,    v ← β₂ v + (1 - β₂) (c g)²
        θ ← θ - α' m / (√v r + ε),    α' = α / (1 - β₁^t),    r = 1 / √(1 - β₂^t)

    Args:
        theta: θ [P], changed.
        g: gradient [P].
        m: first moment [P], changed.
        v: second moment [P], changed.
        scale: c, of `clip_scale`.
        decay_1: β₁.
        decay_2: β₂.
        fresh_1: 1 - β₁.
        fresh_2: 1 - β₂.
        alpha: α'.
        root: r.
        eps: ε > 0.
    """
    for i in range(len(theta)):
        slope = scale * g[i]
        first = decay_1 * m[i] + fresh_1 * slope
        second = decay_2 * v[i] + fresh_2 * slope * slope
        m[i], v[i] = first, second
        theta[i] -= np.divide(alpha * first, np.sqrt(second) * root + eps)


def rmsprop_step(
    theta: Any, g: Any, v: Any, scale: Any, decay: Any, fresh: Any, alpha: Any, eps: Any
) -> None:
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5) for the gradient c g.

        v ← ρ v + (1 - ρ) (c g)²,    θ ← θ - α c g / (√v + ε)

    Args:
        theta: θ [P], changed.
        g: gradient [P].
        v: second moment [P], changed.
        scale: c, of `clip_scale`.
        decay: ρ.
        fresh: 1 - ρ.
        alpha: α.
        eps: ε > 0.
    """
    for i in range(len(theta)):
        slope = scale * g[i]
        second = decay * v[i] + fresh * slope * slope
        v[i] = second
        theta[i] -= np.divide(alpha * slope, np.sqrt(second) + eps)
