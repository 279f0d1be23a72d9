"""Means, interquartile means and intervals over training runs; see `intervals`."""

from __future__ import annotations

from rlsuite.statistics.intervals import (
    Interval,
    Method,
    Statistic,
    bootstrap_interval,
    iqm,
    mean,
    student_t_interval,
)

__all__ = [
    "Interval",
    "Method",
    "Statistic",
    "bootstrap_interval",
    "iqm",
    "mean",
    "student_t_interval",
]
