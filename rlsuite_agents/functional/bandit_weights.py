"""Bandit policies that are distributions over arms: softmax, exponential weights, gradient steps.

Rules take one row of K arms, in explicit loops that also run compiled, bit for bit the same. `mask`
[K] says which arms are allowed (None: all); the others get probability 0.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["adam_step", "mixed_with_uniform", "softmax"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Of Adam (Kingma & Ba 2015, algorithm 1)."""


def softmax(values: Any, scale: float, mask: Any, out: Any) -> None:
    """Writes π_a ∝ e^(scale · value_a) over the allowed arms; the largest is subtracted first."""
    largest, mass = -math.inf, 0.0
    for a in range(len(values)):
        if (mask is None or mask[a]) and scale * values[a] > largest:
            largest = scale * values[a]
    for a in range(len(values)):
        out[a] = 0.0
        if mask is None or mask[a]:
            out[a] = math.exp(scale * values[a] - largest)
            mass += out[a]
    for a in range(len(values)):
        out[a] /= mass


def mixed_with_uniform(pi: Any, share: float, mask: Any) -> None:
    """π ← (1 - share) π + share / (number of allowed arms), in place."""
    allowed = 0
    for a in range(len(pi)):
        allowed += 1 if mask is None or mask[a] else 0
    for a in range(len(pi)):
        if mask is None or mask[a]:
            pi[a] = (1.0 - share) * pi[a] + share / allowed


def adam_step(theta: Any, gradient: Any, m: Any, v: Any, clock: Any, step_size: float) -> None:
    """One step of Adam down a gradient, in place: bias-corrected, ε outside the root. Rows: [K].

    `clock` [2]: β₁^t and β₂^t of the steps so far, 1 and 1 at the start.
    """
    clock[0] *= BETA1
    clock[1] *= BETA2
    for a in range(len(theta)):
        m[a] = BETA1 * m[a] + (1.0 - BETA1) * gradient[a]
        v[a] = BETA2 * v[a] + (1.0 - BETA2) * gradient[a] * gradient[a]
        rate = step_size / (1.0 - clock[0])
        theta[a] -= rate * m[a] / (math.sqrt(v[a] / (1.0 - clock[1])) + EPSILON)
