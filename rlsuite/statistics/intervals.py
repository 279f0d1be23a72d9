"""Means, interquartile means and intervals over training runs.

Scores are an array `x [N, M]`, run n of task m; a vector `x [N]` is one task. **The unit is the
training run**: the episodes of one trained policy are nested in it and never counted as runs. NaN
is a missing run, so tasks may have different numbers of runs; a task without any run is an error.

| tasks | interval (method) | quantile |
| --- | --- | --- |
| 1 | Student's t on the run means (`student-t`) | t, N - 1 |
| 2 to 4 | t with the bootstrap's standard error (`bootstrap-se-t`) | t, Satterthwaite |
| 5 to 19 | expanded bootstrap percentiles (`expanded-t`) | t, sum of (N_m - 1) |
| 20 and more | expanded bootstrap percentiles (`expanded-z`) | normal |

Percentile intervals are too narrow with the 3 to 10 runs that people have; with few tasks even
expanded ones are, because resamples never leave the range of the runs. Coverage of the IQM's
interval, nominal 95%, mean of normal and lognormal scores (`pytest -m slow
tests/rlsuite/test_statistics_coverage.py` measures it again):

| tasks, interval | N = 3 | N = 5 | N = 10 |
| --- | --- | --- | --- |
| 2, percentile / expanded-t | 82 / 87 | 90 / 94 | 91 / 94 |
| 2, **bootstrap-se-t** | 96 | 95 | 93 |
| 4, percentile / expanded-t | 81 / 89 | 90 / 94 | 92 / 95 |
| 4, **bootstrap-se-t** | 95 | 96 | 95 |
| 8, percentile / **expanded-t** | 86 / 93 | 90 / 94 | 92 / 94 |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from registry.errors import SettingError
from registry.seeding import Stream, check_seed, generator

__all__ = [
    "Interval",
    "Method",
    "Statistic",
    "bootstrap_interval",
    "iqm",
    "mean",
    "student_t_interval",
]

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Any]
"""A statistic of a batch: `x [B, N, M] -> [B]`. Missing runs are NaN, in any place."""

Method = Literal["auto", "percentile", "expanded", "bootstrap-se-t"]
"""How an interval is made from resamples; `auto` picks by the number of tasks, see the module."""

TRIM = 0.25
_CHUNK = 4_000_000  # numbers held at once while resampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate and how sure we are of it.

    `low` and `high` are None where there is no interval, and `note` then says why. `method` names
    how the interval was made, `n` is the smallest number of runs of any task, `runs` the number
    for each task. `resamples` and `seed` are those of the bootstrap (0 and None without one).
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
        return float(_mean_batch(_table(values)[None])[0])
    return _mean_batch(values)


def _mean_batch(x: Floats) -> Floats:
    present = ~np.isnan(x)
    if present.all():
        return np.asarray(x.mean(axis=1).mean(axis=1))
    sums = np.where(present, x, 0.0).sum(axis=1)
    return np.asarray((sums / present.sum(axis=1)).mean(axis=1))


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
        return float(_iqm_batch(_table(values)[None])[0])
    return _iqm_batch(values)


def _iqm_batch(x: Floats) -> Floats:
    flat = x.reshape(len(x), -1)
    missing = np.isnan(flat)
    if missing.any():
        if (missing != missing[0]).any():  # other places in each row: one by one
            return np.array(
                [_iqm_batch(row[None, ~gone])[0] for row, gone in zip(flat, missing, strict=True)]
            )
        flat = flat[:, ~missing[0]]
    count = flat.shape[1]
    cut = int(TRIM * count)
    # scipy sums in the order that partition leaves, not in sorted order: so do we, to the last bit.
    ordered = np.partition(flat, (cut, count - cut - 1), axis=1)
    return np.asarray(ordered[:, cut : count - cut].mean(axis=1))


def student_t_interval(x: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of the runs of one task with Student's t interval, N - 1 degrees of freedom.

    Args:
        x: `[N]`, one number for each run; NaN is a missing run.
        level: nominal coverage, in (0, 1).

    Returns:
        The interval; without bounds, and with a note, when there is only one run.

    Raises:
        SettingError: no run, more than one task, an infinite number, or a level outside (0, 1).
    """
    values = _table(x)
    if values.shape[1] != 1:
        raise SettingError(
            f"Student's t interval is for one task, got scores of {values.shape[1]}; use "
            "bootstrap_interval for an aggregate over tasks."
        )
    _check_level(level)
    runs = values[~np.isnan(values)]
    count = len(runs)
    estimate = float(runs.mean())
    if count == 1:
        return _without_bounds(estimate, level, (1,), "student-t")
    half = _t_quantile(count - 1, level) * float(runs.std(ddof=1) / np.sqrt(count))
    return Interval(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        method="student-t",
        level=level,
        n=count,
        runs=(count,),
        note=_all_equal(values),
    )


def bootstrap_interval(
    x: ArrayLike,
    statistic: Statistic = iqm,
    *,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 50_000,
    method: Method = "auto",
) -> Interval:
    """An interval for an aggregate over tasks: whole runs are resampled, task by task.

    The expanded percentile interval (Hesterberg 2015, arXiv:1411.5279, section 4.4) takes the
    bootstrap percentiles at α' and 1 - α' with

        α' = Φ( -q √(Σ_m v_m N_m / (N_m - 1) / Σ_m v_m) ),

    which undoes the (N - 1)/N shrinkage of the bootstrap's variance; v_m is task m's share of the
    variance by the jackknife. q is the normal quantile from 20 tasks on and below that Student's
    with ν = Σ_m (N_m - 1). `bootstrap-se-t` is estimate ± t_ν se with the bootstrap's standard
    error widened by the same factor and Satterthwaite's ν = (Σ v_m)² / Σ v_m²/(N_m - 1).

    Args:
        x: `[N, M]`, run n of task m; NaN is a missing run.
        statistic: `iqm`, `mean`, or a function of a batch, `[B, N, M] -> [B]`.
        seed: of the resamples; the same seed gives the same interval.
        level: nominal coverage, in (0, 1).
        resamples: how many, at least 100.
        method: `auto` picks by the number of tasks (see the module); `expanded` and
            `bootstrap-se-t` force one kind, `percentile` is the plain one, which is too narrow.

    Returns:
        The interval; without bounds, and with a note, when a task has only one run.

    Raises:
        SettingError: a task without any run, an infinite number, the IQM of one task, or a
            setting outside its range.
    """
    values = _table(x)
    tasks = values.shape[1]
    _check(level, resamples, method)
    if tasks == 1 and statistic is iqm:
        raise SettingError(
            "the IQM is for two or more tasks: on one task it hides the runs that failed. "
            "Use student_t_interval there."
        )
    if tasks == 1 and statistic is mean and method == "auto":
        return student_t_interval(values, level)
    runs = tuple(int(n) for n in (~np.isnan(values)).sum(axis=0))
    kind, quantile_of = _kind(method, tasks)
    estimate = float(statistic(values[None])[0])
    if min(runs) == 1:
        return _without_bounds(estimate, level, runs, kind)
    replicates = _replicates(values, statistic, seed, resamples)
    low, high = quantile_of(_Resampled(values, statistic, estimate, replicates, runs), level)
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        method=kind,
        level=level,
        n=min(runs),
        runs=runs,
        resamples=resamples,
        seed=check_seed(seed),
        note=_all_equal(values),
    )


@dataclass(frozen=True, slots=True)
class _Resampled:
    """What the kinds of interval are made of."""

    values: Floats  # [N, M]
    statistic: Statistic
    estimate: float
    replicates: Floats  # [B]
    runs: tuple[int, ...]

    @property
    def degrees(self) -> NDArray[np.int64]:
        """N_m - 1 for each task."""
        return np.asarray(self.runs, dtype=np.int64) - 1


def _kind(
    method: Method, tasks: int
) -> tuple[str, Callable[[_Resampled, float], tuple[float, float]]]:
    """The name of the interval, and the function that makes it."""
    if method == "percentile":
        return "percentile", _percentile
    if method == "bootstrap-se-t" or (method == "auto" and tasks < 5):
        return "bootstrap-se-t", _standard_error_t
    return ("expanded-z", _expanded_z) if tasks >= 20 else ("expanded-t", _expanded_t)


def _percentile(r: _Resampled, level: float) -> tuple[float, float]:
    return _between(r.replicates, (1.0 - level) / 2.0)


def _expanded_z(r: _Resampled, level: float) -> tuple[float, float]:
    return _expanded(r, _normal_quantile(level))


def _expanded_t(r: _Resampled, level: float) -> tuple[float, float]:
    return _expanded(r, _t_quantile(float(r.degrees.sum()), level))


def _expanded(r: _Resampled, quantile: float) -> tuple[float, float]:
    from scipy.special import ndtr

    factor = _expansion(_variance_shares(r), r.degrees)
    return _between(r.replicates, float(ndtr(-quantile * np.sqrt(factor))))


def _standard_error_t(r: _Resampled, level: float) -> tuple[float, float]:
    shares = _variance_shares(r)
    total = shares.sum()
    # Satterthwaite: a task with all of the variance leaves N - 1 degrees of freedom, not M (N - 1).
    degrees = float(total**2 / (shares**2 / r.degrees).sum())
    error = float(r.replicates.std()) * np.sqrt(_expansion(shares, r.degrees))
    half = _t_quantile(degrees, level) * float(error)
    return r.estimate - half, r.estimate + half


def _between(replicates: Floats, tail: float) -> tuple[float, float]:
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return float(low), float(high)


def _expansion(shares: Floats, degrees: NDArray[np.int64]) -> float:
    """Σ_m v_m N_m/(N_m - 1) / Σ_m v_m; with equal run counts simply N/(N - 1)."""
    return float((shares * (degrees + 1) / degrees).sum() / shares.sum())


def _variance_shares(r: _Resampled) -> Floats:
    """v_m: the jackknife's variance of the statistic due to the runs of task m alone, [M]."""
    rows, columns = np.nonzero(~np.isnan(r.values))
    without = np.repeat(r.values[None], len(rows), axis=0)
    without[np.arange(len(rows)), rows, columns] = np.nan
    left_out = np.asarray(r.statistic(without))
    shares = np.empty(r.values.shape[1])
    for task, count in enumerate(r.runs):
        ours = left_out[columns == task]
        shares[task] = (count - 1) / count * np.square(ours - ours.mean()).sum()
    # All runs equal: nothing to share, so all tasks the same.
    return shares if shares.sum() > 0 else np.ones_like(shares)


def _replicates(x: Floats, statistic: Statistic, seed: int, resamples: int) -> Floats:
    rng = generator(seed, Stream.BOOTSTRAP)
    parts = [np.asarray(statistic(batch)) for batch in _resampled(x, rng, resamples)]
    return np.concatenate(parts)


def _resampled(x: Floats, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Batches `[b, N, M]`: N_m draws with replacement from the N_m runs of each task."""
    missing = np.isnan(x)
    order = np.argsort(missing, axis=0, kind="stable")  # present runs first, in their order
    packed = np.take_along_axis(x, order, axis=0)
    counts = (~missing).sum(axis=0)
    gone = np.arange(len(x))[:, None] >= counts
    columns = np.arange(x.shape[1])
    size = max(1, _CHUNK // x.size)
    for start in range(0, resamples, size):
        shape = (min(size, resamples - start), *x.shape)
        batch = packed[(rng.random(shape) * counts).astype(np.intp), columns]
        batch[:, gone] = np.nan
        yield batch


def _without_bounds(estimate: float, level: float, runs: tuple[int, ...], method: str) -> Interval:
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
        note=f"no interval: a single run{where} says nothing about how much runs differ",
    )


def _all_equal(values: Floats) -> str:
    """A note for an interval of width zero, which otherwise looks like certainty."""
    spread = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    return "all runs are equal, so the interval has no width" if (spread == 0).all() else ""


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2.0))


def _t_quantile(degrees: float, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + level / 2.0))


def _table(x: ArrayLike) -> Floats:
    """Scores as float64 `[N, M]`, checked."""
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


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise SettingError(f"level must be in (0, 1), such as 0.95; got {level!r}.")


def _check(level: float, resamples: int, method: str) -> None:
    _check_level(level)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 100:
        raise SettingError(f"resamples must be a whole number of at least 100, got {resamples!r}.")
    if method not in get_args(Method):
        raise SettingError(f"method must be one of {get_args(Method)}, got {method!r}.")
