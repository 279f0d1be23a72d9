"""The difference of two agents whose runs belong together in pairs, such as by their seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from rlsuite.statistics.aggregates import mean
from rlsuite.statistics.differences import Arm, Difference
from rlsuite.statistics.intervals import Kind, Resampled, interval_kind
from rlsuite.statistics.scores import all_equal

__all__ = ["paired_difference"]


def paired_difference(x: ArrayLike, y: ArrayLike) -> Difference:
    """The mean of x_n - y_n on one task, with Student's t on the differences (`paired-t`).

    It needs no other assumption than that the pairs are independent of each other: what both runs
    of a pair share, such as the episodes they were scored on, leaves the difference.

    Args:
        x: `[N]`, the runs of one agent.
        y: `[N]`, the other's, in the same order.

    Returns:
        The difference, of which intervals of any level and a p-value can be asked; both are missing
        for a single pair.

    Raises:
        SettingError: no pair, numbers of runs that differ, or a number that is not finite.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise SettingError(
            f"pairs are two lists of the same length, got shapes {first.shape} and {second.shape}."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise SettingError("both runs of a pair must be finite, got NaN or an infinity.")
    apart = Arm.make("difference", first - second, mean)
    count = len(apart.values)
    bounds = interval_kind("auto", 1)
    resampled = None
    if count > 1:
        error = float(apart.values.std(ddof=1) / np.sqrt(count))
        resampled = Resampled(apart.estimate, np.empty(0), 1.0, error, count - 1.0)
    return Difference(
        Kind("paired-t", bounds.bounds, bounds.p_value),
        resampled,
        apart.estimate,
        (count,),
        0,
        None,
        all_equal(apart.values) if count > 1 else "",
        np.empty(0),
    )
