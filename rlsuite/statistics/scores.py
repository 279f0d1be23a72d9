"""What every module here shares: the shape of scores, and what an interval is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from registry.errors import SettingError

__all__ = [
    "Floats",
    "Interval",
    "Statistic",
    "all_equal",
    "check_level",
    "check_resamples",
    "check_same_tasks",
    "normal_quantile",
    "run_counts",
    "t_quantile",
    "table",
    "without_bounds",
]

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Any]
"""A statistic of a batch: `x [B, N, M] -> [B]`. Missing runs are NaN, in any place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate and how sure we are of it.

    `low` and `high` are None where there is no interval, and `note` then says why. `method` names
    how the interval was made, `n` is the smallest number of runs of any task, `runs` the number
    for each task (of a comparison: the first agent's tasks, then the second's). `resamples` and
    `seed` are those of the bootstrap (0 and None without one).
    """

    estimate: float
    low: float | None
    high: float | None
    method: str
    level: float
    n: int
    runs: tuple[int, ...] = ()
    resamples: int = 0
    seed: int | None = None
    note: str = ""


def table(x: ArrayLike) -> Floats:
    """Scores as float64 `[N, M]`, checked; a vector `[N]` is one task.

    Raises:
        SettingError: another shape, no numbers, an infinite one, or a task without any run.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0:
        raise SettingError(
            "scores are one number for each run [N], or for each run and task [N, M]; "
            f"got an array of shape {np.shape(x)}."
        )
    if np.isinf(values).any():
        raise SettingError("scores must be finite (NaN where a run is missing), got an infinity.")
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(empty):
        raise SettingError(
            f"task {int(empty[0])} of {values.shape[1]} has no run at all (only NaN): leave the "
            "task out, for all agents alike, or give it runs."
        )
    return values


def run_counts(values: Floats) -> tuple[int, ...]:
    """N_m, the number of runs of each task that are there."""
    return tuple(int(n) for n in (~np.isnan(values)).sum(axis=0))


def check_level(level: float) -> None:
    """Refuses a level outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise SettingError(f"level must be in (0, 1), such as 0.95; got {level!r}.")


def check_resamples(resamples: int) -> None:
    """Refuses fewer than 100 resamples."""
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 100:
        raise SettingError(f"resamples must be a whole number of at least 100, got {resamples!r}.")


def check_same_tasks(scores: Mapping[str, Floats]) -> None:
    """Refuses agents whose tables have different numbers of tasks."""
    tasks = {name: x.shape[1] for name, x in scores.items()}
    if len(set(tasks.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in tasks.items())
        raise SettingError(
            f"agents are compared over the same tasks, in the same order; got numbers of tasks "
            f"{found}."
        )


def without_bounds(
    estimate: float, level: float, runs: tuple[int, ...], method: str, why: str = ""
) -> Interval:
    """An interval without bounds; the note says why there are none."""
    single = sum(n == 1 for n in runs)
    where = "" if len(runs) == 1 else f" of {single} of the {len(runs)} tasks"
    return Interval(
        estimate=estimate,
        low=None,
        high=None,
        method=method,
        level=level,
        n=min(runs),
        runs=runs,
        note=why or f"no interval: a single run{where} says nothing about how much runs differ",
    )


def all_equal(values: Floats) -> str:
    """A note for an interval of width zero, which otherwise looks like certainty."""
    spread = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    return "all runs are equal, so the interval has no width" if (spread == 0).all() else ""


def normal_quantile(level: float) -> float:
    """The z with P(|Z| < z) = level."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2.0))


def t_quantile(degrees: float, level: float) -> float:
    """The t with P(|T| < t) = level for Student's distribution; infinite degrees are the normal."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + level / 2.0))
