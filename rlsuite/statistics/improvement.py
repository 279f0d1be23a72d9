"""The probability that a run of one agent is better than a run of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from registry.seeding import check_seed
from rlsuite.statistics.intervals import Resampled, check_method, interval_kind
from rlsuite.statistics.resampling import (
    DrawStream,
    Indices,
    draws,
    key_of,
    legacy_draws,
    member_of,
    pack,
    refuse_missing,
)
from rlsuite.statistics.scores import (
    Floats,
    Interval,
    check_same_tasks,
    normal_quantile,
    run_counts,
    table,
    without_bounds,
)

__all__ = ["ImprovementMethod", "probability_of_improvement"]

ImprovementMethod = Literal["auto", "percentile"]
_CHUNK = 500_000
_MANY = 30  # runs of every task from which Newcombe's intervals need no help of the bootstrap


def probability_of_improvement(
    x: ArrayLike,
    y: ArrayLike,
    *,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 2_000,
    method: ImprovementMethod = "auto",
    stream: DrawStream = "rlsuite",
) -> Interval:
    """P(X > Y) + P(X = Y)/2 for a run X of one agent and a run Y of the other, averaged over tasks.

        1/M Σ_m 1/(N_m K_m) Σ_ij [ 1(x_im > y_jm) + ½ 1(x_im = y_jm) ]

    (Agarwal et al. 2021, section 4.3). An interval that leaves 0.5 out says that one of them is
    better more often; it does not say by how much.

    On one task the interval is Newcombe's (`newcombe`: 2006, "Confidence intervals for an effect
    size measure based on the Mann-Whitney statistic", method 5), which is sound also where every
    run of one agent beats every run of the other. On several it is the expanded percentile
    bootstrap over both arms (`expanded-t`), with each task's variance after DeLong et al. (1988);
    where the runs of every task are separate, so that replicates do not vary, and where every task
    has 30 runs or more of both, which takes no replicates, the tasks' Newcombe intervals are
    combined (`newcombe`, by Zou and Donner's 2008 rule).

    Args:
        x: the agent that may be better, `[N, M]` or `[N]`; NaN is a missing run.
        y: the other, `[K, M]`: the same tasks, any number of runs.
        seed: of the resamples.
        level: nominal coverage, in (0, 1).
        resamples: how many, at least 100.
        method: `percentile` is the plain bootstrap interval, too narrow with few runs.
        stream: `rliable`, with `percentile`: the draws of the published reference.

    Returns:
        The interval, in [0, 1]; without bounds, and with a note, where a task has a single run.

    Raises:
        SettingError: other tasks, a task without any run, an infinite number, or a setting outside
            its range.
    """
    if method not in get_args(ImprovementMethod):
        raise SettingError(f"method must be one of {get_args(ImprovementMethod)}, got {method!r}.")
    check_method(level, resamples, method, stream)
    one, two = table(x), table(y)
    check_same_tasks({"first": one, "second": two})
    (ours, n), (theirs, k) = pack(one), pack(two)
    runs = run_counts(one) + run_counts(two)
    if method == "auto" and min(runs) >= _MANY:
        return _of_many(_ranked(ours, n, theirs, k), n, k, level, runs)
    wins = _wins(ours, theirs)
    per_task = wins.sum(axis=(1, 2)) / (n * k)
    estimate = float(per_task.mean())
    if min(runs) == 1:
        why = "no interval: the single run of a task says nothing about how much its runs differ"
        name = "percentile" if method == "percentile" else "newcombe"
        return without_bounds(estimate, level, runs, name, why)
    shares = _delong(wins, n, k)
    found: dict[str, Any]
    if method == "auto" and (len(per_task) == 1 or shares.sum() == 0.0):
        low, high = _newcombe(per_task, n, k, level)
        found = {"low": low, "high": high, "method": "newcombe", "note": _separate(shares)}
    else:
        drawn = np.concatenate(
            [_replicates(wins, i, j, n, k) for i, j in _pairs(one, two, seed, resamples, stream)]
        )
        kind = interval_kind("expanded" if method == "auto" else method, len(per_task))
        if method == "percentile":
            shares = np.ones_like(shares)
        low, high = kind.bounds(Resampled.of(estimate, drawn, runs, shares), level)
        found = {"low": low, "high": high, "method": kind.name}
        found |= {"resamples": resamples, "seed": check_seed(seed)}
    return Interval(estimate=estimate, level=level, n=min(runs), runs=runs, **found)


def _wins(x: Floats, y: Floats) -> Floats:
    """S [M, N, K]: 1 where x is better, ½ where equal, 0 where worse or either is missing."""
    a, b = x.T[:, :, None], y.T[:, None, :]
    return np.asarray((a > b) + 0.5 * (a == b))


def _ranked(x: Floats, n: Any, y: Floats, k: Any) -> Floats:
    """What `_wins` adds up to for each task, [M], from ranks: no table of pairs of runs."""
    found = np.empty(x.shape[1])
    for m in range(x.shape[1]):
        ours, theirs = x[: n[m], m], np.sort(y[: k[m], m])
        below = np.searchsorted(theirs, ours, "left") + np.searchsorted(theirs, ours, "right")
        found[m] = below.mean() / (2.0 * k[m])
    return found


def _of_many(per_task: Floats, n: Any, k: Any, level: float, runs: tuple[int, ...]) -> Interval:
    low, high = _newcombe(per_task, n, k, level)
    return Interval(
        estimate=float(per_task.mean()),
        low=low,
        high=high,
        method="newcombe",
        level=level,
        n=min(runs),
        runs=runs,
    )


def _delong(wins: Floats, n: Any, k: Any) -> Floats:
    """The variance of the average due to each task of either agent, [2 M]; 0 for a single run."""
    tasks = len(wins)
    shares = np.zeros((2, tasks))
    for m in range(tasks):
        inside = wins[m, : n[m], : k[m]]
        for side, (axis, count) in enumerate(((1, n[m]), (0, k[m]))):
            if count > 1:
                shares[side, m] = inside.mean(axis=axis).var(ddof=1) / count
    return shares.ravel() / tasks**2


def _separate(shares: Floats) -> str:
    if shares.sum() > 0.0:
        return ""
    return "on every task the runs of the two agents do not overlap, or are all equal"


def _newcombe(theta: Floats, n: Any, k: Any, level: float) -> tuple[float, float]:
    """Both ends of θ - θ̂ = ± z √V(θ) for each task, by bisection, and their combination.

    V(θ) = θ (1 - θ) [ 1 + (n* - 1) ((1 - θ)/(2 - θ) + θ/(1 + θ)) ] / (N K),  n* = (N + K)/2
    """
    z = normal_quantile(level)
    half = (n + k) / 2.0
    far = np.stack([np.zeros_like(theta), np.ones_like(theta)])
    near = np.stack([theta, theta])
    for _ in range(60):
        t = (far + near) / 2.0
        spread = 1.0 + (half - 1.0) * ((1.0 - t) / (2.0 - t) + t / (1.0 + t))
        gone = np.abs(t - theta) > z * np.sqrt(t * (1.0 - t) * spread / (n * k))
        far, near = np.where(gone, t, far), np.where(gone, near, t)
    low, high = np.sqrt(np.square(near - theta).sum(axis=1)) / len(theta)
    return float(theta.mean() - low), float(theta.mean() + high)


def _pairs(
    x: Floats, y: Floats, seed: int, resamples: int, stream: DrawStream
) -> Iterator[tuple[Indices, Indices]]:
    """Batches of draws for both arms, `[b, N, M]` and `[b, K, M]`."""
    size = max(1, _CHUNK // (x.size * len(y)))
    if stream == "rliable":
        refuse_missing(x)
        refuse_missing(y)
        for tables in legacy_draws(seed, [x.shape, y.shape], resamples, size):
            yield tables[0], tables[1]
        return
    keys = key_of(seed, member_of("improvement of")), key_of(seed, member_of("improvement over"))
    counts = pack(x)[1], pack(y)[1]
    for start in range(0, resamples, size):
        stop = min(start + size, resamples)
        yield (
            draws(keys[0], x.shape, counts[0], start, stop),
            draws(keys[1], y.shape, counts[1], start, stop),
        )


def _replicates(wins: Floats, i: Indices, j: Indices, n: Any, k: Any) -> Floats:
    """The probability in each replicate: how often runs were drawn, times who beats whom."""
    drawn = [_times(i, wins.shape[1], n), _times(j, wins.shape[2], k)]
    per_task = np.einsum(
        "bmn,mnk,bmk->bm", drawn[0], wins, drawn[1], optimize=["einsum_path", (0, 1), (0, 1)]
    )
    return np.asarray((per_task / (n * k)).mean(axis=1))


def _times(index: Indices, runs: int, counts: Any) -> Floats:
    """How often each run was drawn, `[b, M, N]`."""
    batch, slots, tasks = index.shape
    there = np.broadcast_to(np.arange(slots)[:, None] < counts, index.shape)
    cell = (np.arange(batch)[:, None, None] * tasks + np.arange(tasks)) * runs + index
    return (
        np.bincount(cell[there], minlength=batch * tasks * runs)
        .reshape(batch, tasks, runs)
        .astype(np.float64)
    )
