"""Targets and losses of deep Q-learning, with their gradients written by hand.

Explicit loops over the rows of a minibatch [B] and over actions [A] that numba compiles as they
stand. A transition says with its discount how the target goes on: γ^n after n steps, 0 after a
terminal state; at a time limit it is not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_Q",
    "LOSS",
    "MEAN_ERROR",
    "MEAN_Q",
    "dueling_gradient",
    "dueling_values",
    "huber_gradient",
    "importance_weights",
    "q_targets",
]

LOSS, MEAN_ERROR, MEAN_Q, LARGEST_Q = range(4)
"""Places in the `sums` of `huber_gradient`."""


def q_targets(
    rewards: Any, discounts: Any, q_next: Any, q_select: Any, mask: Any, targets: Any
) -> None:
    """Targets of transitions (Mnih et al. 2015, algorithm 1; van Hasselt et al. 2016, eq. 4).

        y = R + γ' q_next(S', argmax_a q_select(S', a)),   over the a that are allowed in S'

    With `q_select` = `q_next` this is the maximum; double Q-learning selects by the network that
    learns, and values by the target network.

    Args:
        rewards: R, discounted sums of n rewards, [B].
        discounts: γ', [B].
        q_next: values of S' by the target network, [B, A].
        q_select: what the best action is found by, [B, A].
        mask: allowed actions in S', bool [B, A]; [0, 0] allows all.
        targets: receives y, [B].
    """
    for i in range(len(rewards)):
        best = -1
        for a in range(q_next.shape[1]):
            allowed = len(mask) == 0 or mask[i, a]
            if allowed and (best < 0 or q_select[i, a] > q_select[i, best]):
                best = a
        targets[i] = rewards[i]
        if discounts[i] > 0.0:
            targets[i] += discounts[i] * q_next[i, best]


def huber_gradient(
    q: Any, actions: Any, targets: Any, weights: Any, d_q: Any, errors: Any, sums: Any
) -> None:
    """The weighted Huber loss (Huber 1964) of the actions that were taken, and its gradient.

        L = mean w h(δ),   δ = Q(S, A) - y,   h(δ) = ½ δ² where |δ| ≤ 1, else |δ| - ½

    Its slope is δ clipped to ±1, the clipped error of Mnih et al. (2015, methods).

    Args:
        q: Q(S, ·), [B, A].
        actions: A, int64 [B].
        targets: y, [B].
        weights: w, [B].
        d_q: receives ∂L / ∂Q, [B, A].
        errors: receives |δ|, [B].
        sums: receives L, mean |δ|, mean Q(S, A) and the largest Q(S, ·) of all, [4].
    """
    n = len(actions)
    sums[:] = 0.0
    sums[LARGEST_Q] = q[0, 0]
    for i in range(n):
        for a in range(q.shape[1]):
            d_q[i, a] = 0.0
            sums[LARGEST_Q] = max(sums[LARGEST_Q], q[i, a])
        delta = q[i, actions[i]] - targets[i]
        size = abs(delta)
        errors[i] = size
        d_q[i, actions[i]] = weights[i] * min(max(delta, -1.0), 1.0) / n
        sums[LOSS] += weights[i] * (0.5 * delta * delta if size <= 1.0 else size - 0.5)
        sums[MEAN_ERROR] += size
        sums[MEAN_Q] += q[i, actions[i]]
    for k in range(LARGEST_Q):
        sums[k] /= n


def dueling_values(outputs: Any, q: Any) -> None:
    """Q_a = V + A_a - mean_b A_b (Wang et al. 2016, eq. 9).

    Args:
        outputs: the A advantages and, last, V, [B, A + 1].
        q: receives Q, [B, A].
    """
    n = q.shape[1]
    for i in range(len(q)):
        mean = outputs[i, 0] / n
        for a in range(1, n):
            mean += outputs[i, a] / n
        for a in range(n):
            q[i, a] = outputs[i, n] + outputs[i, a] - mean


def dueling_gradient(d_q: Any, d_outputs: Any) -> None:
    """Back through `dueling_values`: ∂A_a = ∂Q_a - mean_b ∂Q_b, ∂V = Σ_b ∂Q_b.

    Args:
        d_q: ∂L / ∂Q, [B, A].
        d_outputs: receives ∂L / ∂ outputs, [B, A + 1].
    """
    n = d_q.shape[1]
    for i in range(len(d_q)):
        total = d_q[i, 0]
        for a in range(1, n):
            total += d_q[i, a]
        for a in range(n):
            d_outputs[i, a] = d_q[i, a] - total / n
        d_outputs[i, n] = total


def importance_weights(shares: NDArray[np.float64], n: int, beta: float) -> NDArray[np.float32]:
    """Weights (n P)^-β, over the largest of the minibatch (Schaul et al. 2016, section 3.4).

    Args:
        shares: P, the probability with which each row was drawn, above 0, [B].
        n: transitions that could be drawn.
        beta: β, in [0, 1].
    """
    weights = (n * shares) ** -beta
    return (weights / weights.max()).astype(np.float32)
