"""Intervals for one agent: Student's t on one task, the bootstrap over whole runs on several.

| tasks | interval (method) | quantile |
| --- | --- | --- |
| 1 | Student's t on the run means (`student-t`) | t, N - 1 |
| 2 to 7 | t with the bootstrap's standard error (`bootstrap-se-t`) | t, ν |
| 8 and more | expanded bootstrap percentiles (`expanded-t`) | t, ν |

ν are Satterthwaite's degrees of freedom over the tasks: many tasks of like spread bring the
quantile near the normal one, a single task that has all of the spread leaves N - 1.

How often each holds the truth is measured by `python -m rlsuite.statistics.simulation`; the table
is in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from registry.seeding import check_seed
from rlsuite.statistics.aggregates import TRIM, iqm, mean, median
from rlsuite.statistics.resampling import CHUNK, DrawStream, check_stream, replicates
from rlsuite.statistics.scores import (
    Floats,
    Interval,
    Statistic,
    all_equal,
    check_level,
    check_resamples,
    run_counts,
    t_quantile,
    table,
    without_bounds,
)

__all__ = [
    "Kind",
    "Method",
    "Resampled",
    "bootstrap_interval",
    "check_method",
    "interval_kind",
    "interval_of",
    "refuse_iqm_of_one_task",
    "student_t_interval",
    "variance_shares",
]

Method = Literal["auto", "percentile", "expanded", "bootstrap-se-t"]
"""How an interval is made from resamples; `auto` picks by the number of tasks, see the module."""

_MANY = 8  # tasks; below, resamples say too little of the tails of a statistic


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
    values = table(x)
    if values.shape[1] != 1:
        raise SettingError(
            f"Student's t interval is for one task, got scores of {values.shape[1]}; use "
            "bootstrap_interval for an aggregate over tasks."
        )
    check_level(level)
    runs = values[~np.isnan(values)]
    count = len(runs)
    estimate = float(runs.mean())
    if count == 1:
        return without_bounds(estimate, level, (1,), "student-t")
    half = t_quantile(count - 1, level) * float(runs.std(ddof=1) / np.sqrt(count))
    return Interval(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        method="student-t",
        level=level,
        n=count,
        runs=(count,),
        note=all_equal(values),
    )


def bootstrap_interval(
    x: ArrayLike,
    statistic: Statistic = iqm,
    *,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 50_000,
    method: Method = "auto",
    stream: DrawStream = "rlsuite",
) -> Interval:
    """An interval for an aggregate over tasks: whole runs are resampled, task by task.

    The expanded percentile interval (Hesterberg 2015, arXiv:1411.5279, section 4.4) takes the
    bootstrap percentiles at α' and 1 - α' with

        α' = Φ( -q √(Σ_m v_m N_m / (N_m - 1) / Σ_m v_m) ),

    which undoes the (N - 1)/N shrinkage of the bootstrap's variance; v_m is task m's share of the
    variance by the jackknife, and q Student's quantile with Satterthwaite's degrees of freedom
    ν = (Σ v_m)² / Σ v_m²/(N_m - 1). `bootstrap-se-t` is estimate ± t_ν se, where se is the standard
    deviation of the replicates, widened by the same root.

    Args:
        x: `[N, M]`, run n of task m; NaN is a missing run.
        statistic: `iqm`, `mean`, `median`, `optimality_gap` (or `functools.partial(optimality_gap,
            gamma=...)`), which are fast, or any function of a batch, `[B, N, M] -> [B]`.
        seed: of the resamples; the same seed gives the same interval.
        level: nominal coverage, in (0, 1).
        resamples: how many, at least 100.
        method: `auto` picks by the number of tasks (see the module); `expanded` and
            `bootstrap-se-t` force one kind, `percentile` is the plain one, which is too narrow.
        stream: where the draws come from. `rliable`, together with `method="percentile"`, gives the
            numbers of the published reference (Agarwal et al. 2021; rliable 1.2.0 after
            `np.random.seed(seed)`) to the last bit.

    Returns:
        The interval; without bounds, and with a note, when a task has only one run.

    Raises:
        SettingError: a task without any run, an infinite number, the IQM of one task, or a
            setting outside its range.
    """
    values = table(x)
    tasks = values.shape[1]
    check_method(level, resamples, method, stream)
    refuse_iqm_of_one_task(statistic, tasks)
    if tasks == 1 and statistic in (mean, median) and method == "auto":
        return student_t_interval(values, level)  # on one task both are the mean of its runs
    runs = run_counts(values)
    kind = interval_kind(method, tasks)
    estimate = float(statistic(values[None])[0])
    if min(runs) == 1:
        return without_bounds(estimate, level, runs, kind.name)
    drawn = replicates(values, statistic, seed=seed, resamples=resamples, stream=stream)
    shares = np.ones(tasks) if method == "percentile" else variance_shares(values, statistic)
    return interval_of(values, Resampled.of(estimate, drawn, runs, shares), kind, level, seed)


def interval_of(
    values: Floats, resampled: Resampled, kind: Kind, level: float, seed: int
) -> Interval:
    """The interval of one agent's scores `[N, M]` from its replicates."""
    runs = run_counts(values)
    low, high = kind.bounds(resampled, level)
    return Interval(
        estimate=resampled.estimate,
        low=low,
        high=high,
        method=kind.name,
        level=level,
        n=min(runs),
        runs=runs,
        resamples=len(resampled.replicates),
        seed=check_seed(seed),
        note=all_equal(values),
    )


@dataclass(frozen=True, slots=True)
class Resampled:
    """What the kinds of interval are made of.

    Attributes:
        estimate: the statistic of the data.
        replicates: the statistic of the resamples, [B].
        expansion: by how much replicates vary less than the statistic does.
        error: the standard error of the statistic.
        freedom: Satterthwaite's degrees of freedom of that error.
    """

    estimate: float
    replicates: Floats
    expansion: float
    error: float
    freedom: float

    @classmethod
    def of(cls, estimate: float, drawn: Floats, runs: tuple[int, ...], shares: Floats) -> Resampled:
        """From replicates `[B]`, run counts and shares of the variance `[M]` (over all agents).

        The expansion is √(Σ_m v_m N_m/(N_m - 1) / Σ_m v_m): with equal run counts √(N/(N - 1)).
        The degrees of freedom are (Σ v_m)² / Σ v_m²/(N_m - 1): a task with all of the variance
        leaves N - 1 of them, not M (N - 1).
        """
        degrees = np.asarray(runs) - 1
        total = shares.sum()
        expansion = float(np.sqrt((shares * (degrees + 1) / degrees).sum() / total))
        freedom = float(total**2 / (shares**2 / degrees).sum())
        return cls(estimate, drawn, expansion, float(drawn.std()) * expansion, freedom)


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to make an interval, and the p-value of "the truth is 0" that belongs to it.

    The p-value is the smallest 1 - level whose interval leaves 0 out.
    """

    name: str
    bounds: Callable[[Resampled, float], tuple[float, float]]
    p_value: Callable[[Resampled], float]


def interval_kind(method: Method, tasks: int) -> Kind:
    """What `auto` stands for, and the functions that belong to a method."""
    if method == "percentile":
        return Kind("percentile", _percentile, _percentile_p)
    if method == "bootstrap-se-t" or (method == "auto" and tasks < _MANY):
        return Kind("bootstrap-se-t", _standard_error_t, _standard_error_t_p)
    return Kind("expanded-t", _expanded_t, _expanded_t_p)


def _percentile(r: Resampled, level: float) -> tuple[float, float]:
    # In hundredths, as the reference does it: the last digits depend on it.
    tail = (1.0 - level) / 2.0
    low, high = np.percentile(r.replicates, [100.0 * tail, 100.0 * (1.0 - tail)])
    return float(low), float(high)


def _percentile_p(r: Resampled) -> float:
    return min(1.0, 2.0 * _tail_beyond_zero(r.replicates))


def _expanded_t(r: Resampled, level: float) -> tuple[float, float]:
    from scipy.special import ndtr

    tail = float(ndtr(-t_quantile(r.freedom, level) * r.expansion))
    low, high = np.quantile(r.replicates, [tail, 1.0 - tail])
    return float(low), float(high)


def _expanded_t_p(r: Resampled) -> float:
    from scipy.special import ndtri, stdtr

    tail = min(0.5, _tail_beyond_zero(r.replicates))
    return float(2.0 * stdtr(r.freedom, ndtri(tail) / r.expansion))


def _standard_error_t(r: Resampled, level: float) -> tuple[float, float]:
    half = t_quantile(r.freedom, level) * r.error
    return r.estimate - half, r.estimate + half


def _standard_error_t_p(r: Resampled) -> float:
    from scipy.special import stdtr

    if r.error == 0.0:
        return float(r.estimate == 0.0)
    return float(2.0 * stdtr(r.freedom, -abs(r.estimate) / r.error))


def _tail_beyond_zero(drawn: Floats) -> float:
    """The share of replicates on the rarer side of 0; those at 0 count on both. Never 0 itself."""
    rarer = min((drawn <= 0.0).sum(), (drawn >= 0.0).sum())
    return float((1 + rarer) / (1 + len(drawn)))


def variance_shares(values: Floats, statistic: Statistic) -> Floats:
    """v_m: the jackknife's variance of the statistic due to the runs of task m alone, [M]."""
    rows, columns = np.nonzero(~np.isnan(values))
    left_out = _left_out(values, statistic, rows, columns)
    shares = np.empty(values.shape[1])
    for task, count in enumerate(run_counts(values)):
        ours = left_out[columns == task]
        shares[task] = (count - 1) / count * np.square(ours - ours.mean()).sum()
    # All runs equal: nothing to share, so all tasks the same.
    return shares if shares.sum() > 0 else np.ones_like(shares)


def _left_out(values: Floats, statistic: Statistic, rows: Any, columns: Any) -> Floats:
    """The statistic without each of the runs, in the order of `rows` and `columns`."""
    if statistic is iqm and len(rows) > 1:
        return _iqm_left_out(values[rows, columns])
    if statistic is mean:
        return _mean_left_out(values, rows, columns)
    left_out = np.empty(len(rows))
    size = max(1, CHUNK // values.size)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        without = np.repeat(values[None], len(rows[part]), axis=0)
        without[np.arange(len(without)), rows[part], columns[part]] = np.nan
        left_out[part] = statistic(without)
    return left_out


def _iqm_left_out(scores: Floats) -> Floats:
    """The interquartile mean without each of the scores [n]: one sort, not n of them."""
    order = np.argsort(scores)
    ordered, rest = scores[order], len(scores) - 1
    cut = int(TRIM * rest)
    rank = np.arange(len(scores))
    middle = ordered[cut : rest + 1 - cut].sum()  # one more than is kept
    gone = ordered[np.clip(rank, cut, rest - cut)]  # itself, or what moves out in its place
    left_out = np.empty(len(scores))
    left_out[order] = (middle - gone) / (rest - 2 * cut)
    return left_out


def _mean_left_out(values: Floats, rows: Any, columns: Any) -> Floats:
    """The mean of the task means without each of the runs; of a single run, with it."""
    counts = np.array(run_counts(values))
    means = np.nansum(values, axis=0) / counts
    others = np.maximum(counts - 1, 1)[columns]
    moved = np.where(counts[columns] > 1, (means[columns] - values[rows, columns]) / others, 0.0)
    return np.asarray(means.mean() + moved / values.shape[1])


def refuse_iqm_of_one_task(statistic: Statistic, tasks: int) -> None:
    """The interquartile mean is for aggregates only."""
    if tasks == 1 and statistic is iqm:
        raise SettingError(
            "the IQM is for two or more tasks: on one task it hides the runs that failed. "
            "Use student_t_interval there."
        )


def check_method(level: float, resamples: int, method: str, stream: str = "rlsuite") -> None:
    """Refuses settings of a bootstrap that are out of range."""
    check_level(level)
    check_resamples(resamples)
    check_stream(stream)
    if method not in get_args(Method):
        raise SettingError(f"method must be one of {get_args(Method)}, got {method!r}.")
    if stream == "rliable" and method != "percentile":
        raise SettingError(
            "stream='rliable' reproduces the published percentile interval: it goes with "
            f"method='percentile', got method={method!r}."
        )
