"""Chooses the threshold λ of Switch-DR and DRos from the data (SLOPE)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlsuite.ope.estimators import Terms

__all__ = ["chosen", "grid"]

STEPS = 12
"""Thresholds that are tried."""

WIDTHS = 2.0
"""Standard errors that count as the confidence width of an estimate."""


def grid(w: NDArray[np.float64], square: bool) -> tuple[float, ...]:
    """Thresholds from infinity, which changes no weight, down to the median of those above 0.

    Each lower one keeps half as many weights as they are. `square`: for shrinkage, where λ is to
    be compared with w².
    """
    positive = np.sort(w[w > 0])
    if not len(positive):
        return (math.inf,)
    levels = np.quantile(positive, 1.0 - 0.5 ** np.arange(STEPS, 0, -1))
    found = sorted({float(x) for x in (np.square(levels) if square else levels)}, reverse=True)
    return (math.inf, *found)


def chosen(make: Callable[[float], Terms], thresholds: Sequence[float]) -> float:
    """The threshold of the most biased estimate whose bias does not show (SLOPE).

    Thresholds go from the least biased and most uncertain estimate to the most biased one. The last
    i is taken up to which every estimate agrees with all before it,

        |V_i - V_j| ≤ c_i + (√6 - 1) c_j   for all j < i,

    c being the confidence widths (Su, Srinath and Krishnamurthy 2020; the constant is that of
    Tucker and Lee 2021). Its error is within a constant factor of that of the best one.

    Args:
        make: the terms of the estimate of a threshold.
        thresholds: falling.
    """
    best, seen = thresholds[0], list[tuple[float, float]]()
    for limit in thresholds:
        terms = make(limit)
        value, width = terms.value, WIDTHS * terms.standard_error
        if any(abs(value - v) > width + (math.sqrt(6.0) - 1.0) * c for v, c in seen):
            break
        # SLOPE wants falling widths; one that does not fall costs bias and gains nothing
        if not seen or width < seen[-1][1]:
            seen.append((value, width))
            best = limit
    return best
