"""One number for many runs: means of several kinds, optimality gap, area under a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from rlsuite.statistics.scores import Floats, table

__all__ = ["area_under_curve", "iqm", "mean", "median", "optimality_gap"]

TRIM = 0.25


def mean(x: ArrayLike) -> Any:
    """The mean of the M task means: every task counts the same, however many runs it has.

    Args:
        x: `[N]` or `[N, M]` for one answer, a batch `[B, N, M]` for B. NaN is a missing run.

    Returns:
        A float, or an array `[B]`.

    Raises:
        SettingError: no numbers at all, an infinite one, or a task without any run.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim < 3:
        return float(_task_means(table(values)[None]).mean(axis=1)[0])
    return _task_means(values).mean(axis=1)


def median(x: ArrayLike) -> Any:
    """The median of the M task means; with an even number, the mean of the middle two.

    It does not see by how much the better half of the tasks is better, and moves when a middle
    task moves (Agarwal et al. 2021, section 4.3). On one task it is the mean of the runs.

    Args:
        x: `[N]` or `[N, M]` for one answer, a batch `[B, N, M]` for B. NaN is a missing run.

    Returns:
        A float, or an array `[B]`.

    Raises:
        SettingError: no numbers at all, an infinite one, or a task without any run.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim < 3:
        return float(np.median(_task_means(table(values)[None]), axis=1)[0])
    return np.median(_task_means(values), axis=1)


def optimality_gap(x: ArrayLike, gamma: float = 1.0) -> Any:
    """How far below γ the scores are on average: γ - mean of min(x, γ), smaller is better.

    What is above γ counts as γ (Agarwal et al. 2021, section 4.3). Every task counts the same.

    Args:
        x: `[N]` or `[N, M]` for one answer, a batch `[B, N, M]` for B. NaN is a missing run.
        gamma: γ, the score from which on an agent is good enough.

    Returns:
        A float, or an array `[B]`.

    Raises:
        SettingError: no numbers at all, an infinite one, or a task without any run.
    """
    values = np.asarray(x, dtype=np.float64)
    batch = table(values)[None] if values.ndim < 3 else values
    capped = np.minimum(batch, gamma)  # NaN stays NaN
    if np.isnan(capped).any():
        gaps = gamma - _task_means(capped).mean(axis=1)
    else:  # the mean over all runs is the same number, and the reference's to the last bit
        gaps = gamma - capped.reshape(len(capped), -1).mean(axis=1)
    return float(gaps[0]) if values.ndim < 3 else gaps


def _task_means(x: Floats) -> Floats:
    """`[B, N, M] -> [B, M]`."""
    present = ~np.isnan(x)
    if present.all():
        return np.asarray(x.mean(axis=1))
    return np.asarray(np.where(present, x, 0.0).sum(axis=1) / present.sum(axis=1))


def iqm(x: ArrayLike) -> Any:
    """The interquartile mean: the mean of the middle half of all scores, runs and tasks pooled.

    `k = int(0.25 n)` of the n scores are cut from each side and the rest is averaged, as
    `scipy.stats.trim_mean(x, 0.25)` does it, to the last bit (Agarwal et al. 2021, "Deep RL at
    the Edge of the Statistical Precipice", section 4.3). Every run counts the same. It is the
    wrong number for a single task, where it hides the runs that failed, and for scores that are
    0 or 1, which it turns into a clipped line (a success rate of 25% becomes 0, 75% becomes 1).

    Args:
        x: `[N]` or `[N, M]` for one answer, a batch `[B, N, M]` for B. NaN is a missing run.

    Returns:
        A float, or an array `[B]`.

    Raises:
        SettingError: no numbers at all, an infinite one, or a task without any run.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim < 3:
        return float(_iqm_batch(table(values)[None])[0])
    return _iqm_batch(values)


def _iqm_batch(x: Floats) -> Floats:
    flat = x.reshape(len(x), -1)
    missing = np.isnan(flat)
    counts = flat.shape[1] - missing.sum(axis=1)
    if (counts != counts[0]).any():
        return np.array([_iqm_batch(row[None])[0] for row in flat])
    if missing.any() and (missing == missing[0]).all():
        flat = flat[:, ~missing[0]]
    count = int(counts[0])
    cut = int(TRIM * count)
    # scipy sums in the order that partition leaves, not in sorted order: so do we, to the last bit.
    # NaN stands behind every number, so it is never among the kept.
    ordered = np.partition(flat, (cut, count - cut - 1), axis=1)
    return np.asarray(ordered[:, cut : count - cut].mean(axis=1))


def area_under_curve(curves: ArrayLike, steps: ArrayLike) -> Floats:
    """The mean height of each run's learning curve, by the trapezoid rule over the steps.

        A = 1 / (t_T - t_1) ∫ J(t) dt   from t_1 to t_T

    What it returns are scores `[N, M]`, one number for each whole run, so every interval of this
    package takes them: resampling them resamples whole runs, and keeps the correlation of a run's
    points in time. Resampling each point in time by itself loses it and makes the interval wrong.

    Args:
        curves: J, one value for each run (and task) and point in time, `[N, T]` or `[N, M, T]`;
            a run that is missing is NaN at all points.
        steps: t, the points in time, `[T]`, rising; at least two.

    Returns:
        Areas, `[N]` or `[N, M]`; NaN where the run is missing.

    Raises:
        SettingError: shapes that do not fit, steps that do not rise, an infinite value, or a run
            with only some of its points.
    """
    values, times = np.asarray(curves, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    if values.ndim not in (2, 3) or times.ndim != 1 or values.shape[-1] != len(times):
        raise SettingError(
            "curves are [runs, points] or [runs, tasks, points] with one step for each point; got "
            f"curves of shape {values.shape} and steps of shape {times.shape}."
        )
    if len(times) < 2 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise SettingError(
            f"steps must be two or more finite numbers that rise, got {times.tolist()[:8]}."
        )
    if np.isinf(values).any():
        raise SettingError("curves must be finite (NaN where a run is missing), got an infinity.")
    gone = np.isnan(values)
    if (gone.any(axis=-1) != gone.all(axis=-1)).any():
        where = np.argwhere(gone.any(axis=-1) != gone.all(axis=-1))[0].tolist()
        raise SettingError(
            f"the curve of run {where[0]} has points missing, so it has no area: complete it, or "
            "make all of its points NaN to count the run as missing."
        )
    return np.asarray(np.trapezoid(values, times, axis=-1) / (times[-1] - times[0]))
