"""Choosing actions from action values: greedy and ε-greedy, with fair ties and masks.

`mask` says which of the A actions are allowed (None: all). Rules take one row `q` [A], draw with
`random` alone, and also run compiled. A tie is drawn only where there is one, so the number
of draws depends on the values and on nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.chance import random

__all__ = [
    "epsilon_greedy",
    "epsilon_greedy_probabilities",
    "greedy",
    "greedy_probabilities",
    "n_allowed",
    "random_argmax",
    "uniform",
]


def greedy(q: Any, mask: Any) -> int:
    """The allowed action of the largest value, the lowest index of several. One row: [A]."""
    best = -1
    for a in range(len(q)):
        if (mask is None or mask[a]) and (best < 0 or q[a] > q[best]):
            best = a
    return best


def random_argmax(q: Any, mask: Any, rng: Any) -> int:
    """The allowed action of the largest value, drawn evenly among several. One row: [A]."""
    best, ties = -1, 0
    for a in range(len(q)):
        if mask is None or mask[a]:
            if best < 0 or q[a] > q[best]:
                best, ties = a, 1
            elif q[a] == q[best]:
                ties += 1
    if ties > 1:
        skip = int(random(rng) * ties)
        for a in range(best, len(q)):
            if q[a] == q[best] and (mask is None or mask[a]):
                if skip == 0:
                    return a
                skip -= 1
    return best


def n_allowed(n: int, mask: Any) -> int:
    """How many of n actions are allowed."""
    if mask is None:
        return n
    allowed = 0
    for a in range(n):
        allowed += 1 if mask[a] else 0
    return allowed


def uniform(n: int, mask: Any, rng: Any) -> int:
    """One of the allowed among n actions, each equally likely."""
    skip = int(random(rng) * n_allowed(n, mask))
    if mask is None:
        return skip
    for a in range(n):
        if mask[a]:
            if skip == 0:
                return a
            skip -= 1
    return -1


def epsilon_greedy(q: Any, epsilon: float, mask: Any, rng: Any) -> int:
    """With probability ε any allowed action, else one of the largest value (S&B section 2.2).

    Draws one uniform to decide, then one for the action where several are left. One row: [A].
    """
    if random(rng) < epsilon:
        return uniform(len(q), mask, rng)
    return random_argmax(q, mask, rng)


def greedy_probabilities(q: Any, mask: Any, deterministic: bool) -> NDArray[np.float64]:
    """What `greedy` (deterministic) or `random_argmax` chooses: [B, A] from q and mask [B, A]."""
    q = np.asarray(q, np.float64)
    allowed = np.ones(q.shape, bool) if mask is None else np.asarray(mask, bool)
    values = np.where(allowed, q, -np.inf)
    best = allowed & (values == values.max(axis=1, keepdims=True))
    if deterministic:
        return np.eye(q.shape[1])[best.argmax(axis=1)]
    return best / best.sum(axis=1, keepdims=True)


def epsilon_greedy_probabilities(
    q: Any, epsilon: float, mask: Any, deterministic: bool
) -> NDArray[np.float64]:
    """π(a|s) of `epsilon_greedy`, or of `greedy` if deterministic: [B, A] from q and mask [B, A].

    The greedy actions share 1 - ε evenly, all allowed actions share ε evenly.
    """
    best = greedy_probabilities(q, mask, deterministic)
    if deterministic:
        return best
    allowed = np.ones(best.shape) if mask is None else np.asarray(mask, bool)
    return (1.0 - epsilon) * best + epsilon * allowed / allowed.sum(axis=1, keepdims=True)
