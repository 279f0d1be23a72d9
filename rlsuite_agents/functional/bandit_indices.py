"""Indices of bandit policies: how good each arm may be, given its pulls and its rewards.

Each rule writes the indices of one row of K arms into `out` [K], +infinity where an arm was never
pulled, in explicit loops that also run compiled, bit for bit the same. `counts` [K] are pulls,
`means` [K] sample means; t is the number of all pulls so far.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.exploration import greedy_probabilities, random_argmax

__all__ = [
    "bernoulli_divergence",
    "discounted_ucb_indices",
    "imed_indices",
    "kl_ucb_index",
    "kl_ucb_indices",
    "moss_indices",
    "optimistic",
    "optimistic_probabilities",
    "per_pull",
    "total",
    "ucb_tuned_indices",
    "window_ucb_indices",
]

ENOUGH = 1e-12
"""Newton's steps end where they are shorter."""


def optimistic(indices: Any, mask: Any, rng: Any) -> int:
    """The first allowed arm of an infinite index, else one of the largest, drawn evenly. [K]."""
    for a in range(len(indices)):
        if indices[a] == math.inf and (mask is None or mask[a]):
            return a
    return random_argmax(indices, mask, rng)


def optimistic_probabilities(indices: Any, mask: Any) -> NDArray[np.float64]:
    """What `optimistic` plays: 0 and 1, but that arms of the same finite index share it. [K]."""
    row = np.asarray(indices, np.float64)[None]
    allowed = None if mask is None else np.asarray(mask, bool)[None]
    never = np.isinf(row[0]) if allowed is None else np.isinf(row[0]) & allowed[0]
    return greedy_probabilities(row, allowed, bool(never.any()))[0]


def total(counts: Any) -> Any:
    """Σ counts. One row: [K]."""
    t = counts[0]
    for a in range(1, len(counts)):
        t += counts[a]
    return t


def per_pull(counts: Any, sums: Any, out: Any) -> None:
    """Writes sums / counts into `out`, 0 where an arm was never pulled. Rows: [K]."""
    for a in range(len(counts)):
        out[a] = sums[a] / counts[a] if counts[a] > 0 else 0.0


def ucb_tuned_indices(means: Any, squares: Any, counts: Any, out: Any) -> None:
    """μ̂ + √((ln t / n) min(¼, V)), V = σ̂² + √(2 ln t / n) (Auer et al. 2002, section 4).

    `squares` [K]: Σ (r - μ̂)² of each arm, so that σ̂² = squares / n.
    """
    log_t = math.log(max(total(counts), 1))
    for a in range(len(counts)):
        out[a] = math.inf
        if counts[a] > 0:
            n = counts[a]
            v = squares[a] / n + math.sqrt(2.0 * log_t / n)
            out[a] = means[a] + math.sqrt(log_t / n * min(0.25, v))


def moss_indices(means: Any, counts: Any, horizon: float, out: Any) -> None:
    """μ̂ + √(max(0, ln(T / (K n))) / n) (Audibert & Bubeck 2009, eq. 2).

    `horizon` is T; 0 for the anytime form, in which t + 1 stands for T.
    """
    k = len(counts)
    limit = horizon if horizon > 0 else total(counts) + 1.0
    for a in range(k):
        out[a] = math.inf
        if counts[a] > 0:
            n = counts[a]
            out[a] = means[a] + math.sqrt(max(0.0, math.log(limit / (k * n))) / n)


def bernoulli_divergence(p: float, q: float) -> float:
    """kl(p, q) = p ln(p/q) + (1-p) ln((1-p)/(1-q)), with 0 ln 0 = 0 and infinity where it is."""
    value = 0.0
    if p > 0.0:
        if q <= 0.0:
            return math.inf
        value = p * math.log(p / q)
    if p < 1.0:
        if q >= 1.0:
            return math.inf
        value += (1.0 - p) * math.log((1.0 - p) / (1.0 - q))
    return max(value, 0.0)


def kl_ucb_index(p: float, d: float) -> float:
    """The largest q in [p, 1] with kl(p, q) ≤ d, for p in [0, 1] and d ≥ 0.

    Newton's method from above, where kl(p, q) is convex and rising in q, so that it cannot
    overshoot; it starts at the smaller of two upper bounds: Pinsker's p + √(d/2), and what is left
    of the inequality without its first term.
    """
    if d <= 0.0 or p >= 1.0:
        return p
    if p <= 0.0:
        return -math.expm1(-d)
    rest = 1.0 - p
    fixed = p * math.log(p) + rest * math.log(rest)  # -H(p)
    s = math.exp((fixed - d) / rest)  # 1 - q, in which nothing cancels where q is near 1
    s = max(s, rest - math.sqrt(0.5 * d))
    if not 0.0 < s < rest:  # so near to 1, or to p, that float64 sees no difference
        return p if s > 0.0 else 1.0
    for _ in range(60):
        q = 1.0 - s
        excess = fixed - p * math.log(q) - rest * math.log(s) - d
        step = excess * q * s / (q - p)
        s += step
        if step <= ENOUGH * s:
            break
    return max(p, 1.0 - s)


def kl_ucb_indices(means: Any, counts: Any, c: float, plus: bool, out: Any) -> None:
    """The largest q with n kl(μ̂, q) ≤ ln t + c ln ln t (Garivier & Cappé 2011, algorithm 1).

    `plus`: ln(t / n) in place of ln t, which is KL-UCB+ (their section 6).
    """
    t = total(counts)
    log_t = math.log(max(t, 1))
    bonus = c * math.log(max(log_t, 1.0))
    for a in range(len(counts)):
        out[a] = math.inf
        if counts[a] > 0:
            n = counts[a]
            budget = math.log(t / n) if plus else log_t
            out[a] = kl_ucb_index(means[a], (budget + bonus) / n)


def imed_indices(means: Any, counts: Any, mask: Any, out: Any) -> None:
    """-(n kl(μ̂, μ̂*) + ln n), whose largest is played (Honda & Takemura 2015, algorithm 1).

    μ̂* is the largest sample mean of the allowed arms; the others have the index -infinity.
    """
    best = -math.inf
    for a in range(len(counts)):
        if counts[a] > 0 and means[a] > best and (mask is None or mask[a]):
            best = means[a]
    for a in range(len(counts)):
        out[a] = math.inf
        if mask is not None and not mask[a]:
            out[a] = -math.inf
        elif counts[a] > 0:
            n = counts[a]
            out[a] = -(n * bernoulli_divergence(means[a], best) + math.log(n))


def window_ucb_indices(
    counts: Any, sums: Any, window: float, t: int, exploration: float, out: Any
) -> None:
    """μ̂ + √(ξ ln min(t, τ) / n) over the last τ pulls (Garivier & Moulines 2011, section 2.2).

    `counts`, `sums` [K]: pulls of each arm within the window and their rewards; `t`: all pulls.
    """
    log_t = math.log(max(min(t, window), 1.0))
    for a in range(len(counts)):
        out[a] = math.inf
        if counts[a] > 0:
            out[a] = sums[a] / counts[a] + math.sqrt(exploration * log_t / counts[a])


def discounted_ucb_indices(counts: Any, sums: Any, exploration: float, out: Any) -> None:
    """μ̂ + 2 √(ξ ln n / n_a) with discounted counts (Garivier & Moulines 2011, section 2.1).

    `counts`, `sums` [K]: discounted pulls and rewards of each arm; n = Σ n_a.
    """
    log_n = math.log(max(total(counts), 1.0))
    for a in range(len(counts)):
        out[a] = math.inf
        if counts[a] > 0.0:
            width = 2.0 * math.sqrt(exploration * log_n / counts[a])
            out[a] = sums[a] / counts[a] + width
