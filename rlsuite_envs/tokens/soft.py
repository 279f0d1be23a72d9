"""The mathematics of the token tree: soft maxima, soft policies, the best of n. Pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_of_n", "soft_maximum", "soft_policy"]

Floats = NDArray[np.float64]


def soft_maximum(log_reference: Floats, q: Floats, beta: float) -> Floats:
    """β log Σ_a ref(a) exp(q(a) / β) over the last axis; at β = 0 the maximum over ref's support.

    Computed around the maximum m: m + β log1p(Σ ref (exp((q - m)/β) - 1)) while that sum is above
    -1/2, which keeps full precision for a large β; else by log-sum-exp, which keeps it where the
    best tokens are improbable under the reference.

    Args:
        log_reference: log ref, [..., A]; the exponentials sum to 1, -inf outside the support.
        q: Finite, [..., A].
        beta: β, at least 0.
    """
    best = np.where(log_reference > -np.inf, q, -np.inf).max(axis=-1)
    if beta == 0:
        return best
    with np.errstate(over="ignore"):  # a tiny β: -inf, whose exponential is 0, is right
        z = np.minimum((q - best[..., None]) / beta, 0.0)  # > 0 only outside the support
    deficit = np.sum(np.exp(log_reference) * np.expm1(z), axis=-1)
    x = log_reference + z
    top = x.max(axis=-1)
    log_sum = top + np.log(np.sum(np.exp(x - top[..., None]), axis=-1))
    return best + beta * np.where(deficit > -0.5, np.log1p(np.maximum(deficit, -0.5)), log_sum)


def soft_policy(log_reference: Floats, q: Floats, beta: float) -> Floats:
    """π*(a) = ref(a) exp((q(a) - V) / β) over the last axis; at β = 0 the first best token.

    Args:
        log_reference: log ref, [..., A]; -inf outside the support.
        q: Finite, [..., A].
        beta: β, at least 0.
    """
    supported = np.where(log_reference > -np.inf, q, -np.inf)
    if beta == 0:
        return np.eye(q.shape[-1])[supported.argmax(axis=-1)]
    # q - m instead of q - V, m the maximum: the rows sum to 1 even for a tiny β
    best = supported.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # -inf, whose exponential is 0, is right
        x = log_reference + np.minimum((q - best) / beta, 0.0)
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    normalised: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return normalised


def best_of_n(probabilities: Floats, rewards: Floats, n: int) -> Floats:
    """How likely each text is the best of n drawn independently; ties are broken by lot.

    Args:
        probabilities: ref(y | x), [P, M], rows sum to 1.
        rewards: r(x, y), [P, M].
        n: How many are drawn, at least 1.

    Returns:
        P_n(y | x) = ref(y) / ref(r = r(y)) · (F(r <= r(y))^n - F(r < r(y))^n), [P, M].
    """
    result = np.zeros_like(probabilities)
    for p, (chances, scores) in enumerate(zip(probabilities, rewards, strict=True)):
        _, group = np.unique(scores, return_inverse=True)
        mass = np.bincount(group, weights=chances)
        up_to = np.minimum(np.cumsum(mass) / mass.sum(), 1.0)
        below = np.concatenate([[0.0], up_to[:-1]])
        with np.errstate(invalid="ignore"):  # a reward that ref never earns
            share = np.where(mass > 0, (up_to**n - below**n) / mass, 0.0)
        result[p] = chances * share[group]
    return result
