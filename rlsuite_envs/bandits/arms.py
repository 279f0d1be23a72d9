"""What all bandits share: the arm that an action names, and the constant of Lai and Robbins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from registry.errors import InvalidActionError

__all__ = [
    "arm_index",
    "bernoulli_kl",
    "gaussian_lai_robbins_constant",
    "lai_robbins_constant",
]


def arm_index(action: Any, n_arms: int) -> int:
    """The arm that `action` names, 0 to n_arms - 1.

    Raises:
        InvalidActionError: the action is not in `Discrete(n_arms)`.
    """
    array = isinstance(action, np.ndarray) and action.shape == () and action.dtype.kind in "iu"
    if (array or isinstance(action, int | np.integer)) and 0 <= action < n_arms:
        return int(action)
    raise InvalidActionError(
        f"action {action!r} is not in the action space: it must be a whole number from 0 to "
        f"{n_arms - 1}, one for each arm."
    )


def bernoulli_kl(p: float, q: float) -> float:
    """kl(p, q) = p ln(p/q) + (1-p) ln((1-p)/(1-q)) for p, q in [0, 1], with 0 ln 0 = 0.

    Infinite where q is 0 or 1 and p is not.
    """
    total = 0.0
    for x, y in ((p, q), (1.0 - p, 1.0 - q)):
        if x > 0.0:
            total += x * math.log(x / y) if y > 0.0 else math.inf
    return total


def lai_robbins_constant(means: Sequence[float]) -> float:
    """C(μ) = Σ_{a: μ_a < μ*} (μ* - μ_a) / kl(μ_a, μ*), of arms that pay 1 with probability μ_a.

    The regret of every uniformly good policy grows at least like C(μ) ln T as T → ∞ (Lai &
    Robbins 1985, Theorem 1). It is a slope in the limit, not a floor at any finite T: good policies
    lie below it for a long time. 0 where all arms are equal, or where the best one always pays.
    """
    best = max(means)
    return math.fsum((best - mean) / bernoulli_kl(mean, best) for mean in means if mean < best)


def gaussian_lai_robbins_constant(means: Sequence[float], sd: float) -> float:
    """The same constant of arms with normal rewards of one standard deviation, known to all.

    kl(μ_a, μ*) = (μ* - μ_a)² / (2 sd²), so C(μ) = Σ_{a: μ_a < μ*} 2 sd² / (μ* - μ_a). 0 where all
    arms are equal, or where rewards have no noise.
    """
    best = max(means)
    return math.fsum(2.0 * sd * sd / (best - mean) for mean in means if mean < best)
