"""Chooses the threshold λ of Switch-DR and DRos from the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlsuite.ope.estimators import Terms

__all__ = ["chosen", "grid"]

STEPS = 12
"""Thresholds that are tried."""

SIGMAS = 1.645
"""Standard errors above an estimate of the bias that bound it in 95 % of all logs."""


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
    """The threshold with the smallest bound of its mean squared error, s² + B².

    s is the standard error of its estimate, and B bounds its bias. The log tells the bias, as the
    mean of what the threshold takes from the terms of DR, which has none:

        B = |mean(d)| + 1.645 s(d),    d = (w - ŵ) (r - q(x, a))

    (Su, Dimakopoulou, Krishnamurthy and Dudík 2020; the deviation is a normal one here, where
    theirs is Bernstein's). So weights are cut only where that is sure to pay: the estimate is
    hardly ever worse than DR, and often is DR.

    Args:
        make: the terms of the estimate of a threshold.
        thresholds: falling from infinity, which stands for DR; of equal ones the first is taken.
    """
    whole = make(math.inf)

    def bound(limit: float) -> float:
        terms = make(limit)
        taken = Terms(base=whole.base - terms.base, numerator=whole.numerator - terms.numerator)
        bias = abs(taken.value) + SIGMAS * taken.standard_error
        return terms.standard_error**2 + bias**2

    return min(thresholds, key=bound)
