"""Bandit rules: sample means, confidence bounds, Beta posteriors.

Rules take one row (K arms) and scalars, in explicit loops that also run compiled, bit
for bit the same. What draws is handed a `numpy.random.Generator`. `mask` says which arms are
allowed (None: all).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "best_beta_mean",
    "beta_best_probabilities",
    "note_beta",
    "note_reward",
    "running_mean",
    "thompson_beta",
    "ucb1_index",
    "ucb1_indices",
]


def running_mean(mean: float, n: int, x: float) -> float:
    """The mean of n values from the mean of the first n - 1 and the n-th, x (S&B eq. 2.3)."""
    return mean + (x - mean) / n


def note_reward(counts: Any, means: Any, arm: int, r: float) -> None:
    """Counts a pull and moves the sample mean of its arm, in place. Rows: [K]."""
    counts[arm] += 1
    means[arm] = running_mean(means[arm], counts[arm], r)


def note_beta(alpha: Any, beta: Any, arm: int, r: float) -> None:
    """α ← α + r, β ← β + 1 - r of one arm, in place; r in [0, 1]. Rows: [K]."""
    alpha[arm] += r
    beta[arm] += 1.0 - r


def best_beta_mean(alpha: Any, beta: Any, mask: Any) -> int:
    """The allowed arm of the largest α / (α + β), the lowest index of several. Rows: [K]."""
    best, largest = -1, -1.0
    for a in range(len(alpha)):
        mean = alpha[a] / (alpha[a] + beta[a])
        if (mask is None or mask[a]) and mean > largest:
            best, largest = a, mean
    return best


def ucb1_index(mean: float, n: int, t: int, exploration: float) -> float:
    """μ̂ + √(c ln t / n); c = 2 is UCB1 (Auer, Cesa-Bianchi & Fischer 2002, figure 1).

    Args:
        mean: sample mean of the arm.
        n: pulls of the arm, at least 1.
        t: pulls of all arms so far, at least 1.
        exploration: c.
    """
    return mean + math.sqrt(exploration * math.log(t) / n)


def ucb1_indices(means: Any, counts: Any, exploration: float, out: Any) -> None:
    """Writes the index of each arm into `out` [K]: infinity where it was never pulled."""
    t = 0
    for a in range(len(counts)):
        t += counts[a]
    for a in range(len(counts)):
        out[a] = math.inf
        if counts[a] > 0:
            out[a] = ucb1_index(means[a], counts[a], t, exploration)


def thompson_beta(alpha: Any, beta: Any, mask: Any, rng: Any) -> int:
    """The allowed arm whose draw from Beta(α_a, β_a) is the largest (Thompson 1933).

    One draw for each allowed arm, in their order. One row: [K].
    """
    best, largest = -1, -1.0
    for a in range(len(alpha)):
        if mask is None or mask[a]:
            theta = rng.beta(alpha[a], beta[a])
            if theta > largest:
                best, largest = a, theta
    return best


def beta_best_probabilities(alpha: Any, beta: Any, mask: Any = None) -> NDArray[np.float64]:
    """P(arm a has the largest mean), for independent Beta(α_a, β_a): one quadrature per arm.

        P(a) = ∫ f_a(x) Π_{b≠a} F_b(x) dx,    x = sin² φ

    Gauss-Legendre in φ, where no density with α, β ≥ ½ has a pole, between the quantiles of all
    arms at every half of a standard score from -7 to 7, so that no posterior is too narrow to be
    seen; accurate to about 1e-9.

    Args:
        alpha: α [K], at least 0.5 each.
        beta: β [K], at least 0.5 each.
        mask: [K], the arms that compete; None for all.

    Returns:
        Probabilities [K], 0 for the arms left out, summing to 1.
    """
    from scipy import special

    alpha, beta = np.asarray(alpha, np.float64), np.asarray(beta, np.float64)
    allowed = np.ones(len(alpha), bool) if mask is None else np.asarray(mask, bool)
    a, b = alpha[allowed, None], beta[allowed, None]
    tail = special.ndtr(np.arange(-7.0, 0.5, 0.5))  # from both ends: 1 - x is small where x is not
    low = np.arcsin(np.sqrt(special.betaincinv(a, b, tail)))
    high = np.arccos(np.sqrt(special.betaincinv(b, a, tail)))
    edges = np.unique(np.concatenate([[0.0, np.pi / 2], low.ravel(), high.ravel()]))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    phi = ((edges[:-1] + edges[1:])[:, None] / 2 + half * nodes).ravel()
    dphi = (half * weights).ravel()
    sine, cosine = np.sin(phi), np.cos(phi)
    below = special.betainc(a, b, sine * sine)  # F_b(x): [arms, nodes]
    log_density = (2.0 * a - 1.0) * np.log(sine) + (2.0 * b - 1.0) * np.log(cosine)
    density = 2.0 * np.exp(log_density - special.betaln(a, b))
    result = np.zeros(len(alpha))
    for k, arm in enumerate(np.flatnonzero(allowed)):
        others = np.delete(below, k, axis=0).prod(axis=0)
        result[arm] = (density[k] * others * dphi).sum()
    return result / result.sum()
