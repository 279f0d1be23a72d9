"""Shares: success rates of one policy and of several runs, and performance profiles.

All intervals here are Wilson's (1927), which stay inside [0, 1] and have a width also where every
trial went the same way:

    (p + q²/2n ± q √(p (1 - p)/n + q²/4n²)) / (1 + q²/n)

What differs is n, the number of independent trials that the data amount to, and the quantile q. A
success rate is never summarised by the interquartile mean, which makes a clipped line of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from rlsuite.statistics.scores import (
    Floats,
    Interval,
    check_level,
    normal_quantile,
    run_counts,
    t_quantile,
    table,
)

__all__ = [
    "PerformanceProfile",
    "performance_profile",
    "success_interval",
    "wilson_interval",
]


def _wilson(share: Any, trials: Any, quantile: float) -> tuple[Any, Any]:
    square = quantile**2 / trials
    centre = (share + square / 2.0) / (1.0 + square)
    half = (
        quantile
        * np.sqrt(share * (1.0 - share) / trials + square / (4.0 * trials))
        / (1.0 + square)
    )
    # At the ends the exact answer is 0 and 1; rounding may miss them by a bit.
    return np.where(share == 0.0, 0.0, centre - half), np.where(share == 1.0, 1.0, centre + half)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The success rate of **one fixed policy** over independent episodes.

    It describes this policy, not the algorithm that trained it: other seeds would give others.

    Args:
        successes: how many episodes succeeded, 0 .. trials.
        trials: how many there were, at least 1.
        level: nominal coverage, in (0, 1).

    Raises:
        SettingError: numbers that are not whole or do not fit, or a level outside (0, 1).
    """
    check_level(level)
    whole = all(isinstance(v, int | np.integer) for v in (successes, trials))
    if not whole or trials < 1 or not 0 <= successes <= trials:
        raise SettingError(
            "successes and trials are whole numbers with 0 <= successes <= trials and trials >= 1, "
            f"got {successes!r} of {trials!r}."
        )
    share = successes / trials
    low, high = _wilson(share, trials, normal_quantile(level))
    return Interval(
        estimate=share,
        low=float(low),
        high=float(high),
        method="wilson",
        level=level,
        n=int(trials),
        runs=(int(trials),),
    )


def success_interval(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> Interval:
    """The success rate of an algorithm, from the successes of several training runs on one task.

    The rate is the mean of the runs' rates. Episodes of one run are not independent trials of the
    algorithm: n is the number of trials that would make a rate as uncertain as the runs' rates
    show it to be, n = p (1 - p) / (s²/N), at most all episodes, and q Student's quantile with N - 1
    degrees of freedom (`wilson-runs`). Where all runs have the same rate, which says nothing about
    how much runs differ, each run counts as one trial. With a single run there are only its
    episodes (`wilson`), and the note says so.

    Args:
        successes: how many episodes of each run succeeded, `[N]`; NaN is a missing run.
        trials: how many episodes each run was given, `[N]` or one number for all.
        level: nominal coverage, in (0, 1).

    Raises:
        SettingError: numbers that do not fit, no run, or a level outside (0, 1).
    """
    check_level(level)
    rates, counts = _rates(successes, trials)
    if len(rates) == 1:
        one = wilson_interval(round(float(rates[0] * counts[0])), int(counts[0]), level)
        note = "a single run: this is the rate of its policy, not of the algorithm"
        return Interval(
            estimate=one.estimate,
            low=one.low,
            high=one.high,
            method="wilson",
            level=level,
            n=1,
            runs=(1,),
            note=note,
        )
    share = float(rates.mean())
    variance = float(rates.var(ddof=1)) / len(rates)
    note = ""
    if variance > 0.0:
        trials_worth = min(share * (1.0 - share) / variance, float(counts.sum()))
    else:
        trials_worth = float(len(rates))
        note = "all runs have the same rate: each counts as one trial"
    low, high = _wilson(share, trials_worth, t_quantile(len(rates) - 1, level))
    return Interval(
        estimate=share,
        low=float(low),
        high=float(high),
        method="wilson-runs",
        level=level,
        n=len(rates),
        runs=(len(rates),),
        note=note,
    )


def _rates(successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    """Rates and numbers of episodes of the runs that are there."""
    won = np.atleast_1d(np.asarray(successes, dtype=np.float64))
    if won.ndim != 1:
        raise SettingError(f"successes are one number for each run [N], got shape {won.shape}.")
    try:
        given = np.broadcast_to(np.asarray(trials, dtype=np.float64), won.shape)
    except ValueError as error:
        raise SettingError(
            f"trials are one number for all runs or one for each of the {len(won)}, got shape "
            f"{np.shape(trials)}."
        ) from error
    there = ~np.isnan(won)
    won, given = won[there], given[there]
    if not len(won):
        raise SettingError("there is no run at all (only NaN, or nothing).")
    if not (given >= 1).all() or not ((won >= 0) & (won <= given)).all():
        raise SettingError(
            "each run needs 0 <= successes <= trials and trials >= 1, got successes "
            f"{won.tolist()} of {given.tolist()}."
        )
    return won / given, given


@dataclass(frozen=True, kw_only=True, slots=True)
class PerformanceProfile:
    """The share of runs whose score is above each threshold.

    Attributes:
        thresholds: τ, `[T]`.
        fraction: the share of runs above τ, `[T]`; tasks count the same.
        low: lower ends of the intervals, each for its own τ, `[T]`; None with a single run.
        high: upper ends, `[T]`, or None.
        method: how the band was made.
        level: nominal coverage at each τ, not of the whole band at once.
        runs: N_m, for each task.
        note: why there is no band.
    """

    thresholds: Floats
    fraction: Floats
    low: Floats | None
    high: Floats | None
    method: str
    level: float
    runs: tuple[int, ...]
    note: str = ""


def performance_profile(
    x: ArrayLike, thresholds: ArrayLike, *, level: float = 0.95
) -> PerformanceProfile:
    """How many of the runs score above τ, for many τ: a curve that shows the whole distribution.

        F(τ) = 1/M Σ_m 1/N_m Σ_n 1(x_nm > τ)

    (Agarwal et al. 2021, section 4.2: of runs, which is unbiased, not of task means.) One agent
    whose curve is above another's everywhere is better in every quantile.

    The band is pointwise and needs no resampling (`wilson-stratified`): n is the number of trials
    that a share as uncertain as F(τ) amounts to,

        n = p̃ (1 - p̃) / (1/M² Σ_m p̃_m (1 - p̃_m)/N_m),

    with p̃_m = (N_m F_m + ½)/(N_m + 1) and p̃ their mean, so that a task whose runs all fall on one
    side is not taken for certain. Percentiles of a bootstrap miss the truth far too often near 0
    and 1.

    Args:
        x: `[N, M]` or `[N]`, run n of task m; NaN is a missing run.
        thresholds: τ, `[T]`, finite.
        level: nominal coverage at each τ, in (0, 1).

    Returns:
        The profile; without a band, and with a note, where a task has a single run.

    Raises:
        SettingError: a task without any run, an infinite number, thresholds that are none, or a
            level outside (0, 1).
    """
    check_level(level)
    values = table(x)
    taus = np.asarray(thresholds, dtype=np.float64)
    if taus.ndim != 1 or not len(taus) or not np.isfinite(taus).all():
        raise SettingError(f"thresholds are finite numbers [T], got {thresholds!r}.")
    counts = np.array(run_counts(values))
    above = np.array([(column > taus[:, None]).sum(axis=1) for column in values.T])  # [M, T]
    fraction = (above / counts[:, None]).mean(axis=0)
    bands: dict[str, Any] = {"low": None, "high": None}
    if counts.min() > 1:
        smooth = (above + 0.5) / (counts + 1.0)[:, None]
        variance = (smooth * (1.0 - smooth) / counts[:, None]).sum(axis=0) / len(counts) ** 2
        centre = smooth.mean(axis=0)
        worth = centre * (1.0 - centre) / variance
        low, high = _wilson(fraction, worth, normal_quantile(level))
        bands = {"low": low, "high": high}
    else:
        bands["note"] = (
            "no band: the single run of a task says nothing about how much its runs differ"
        )
    return PerformanceProfile(
        thresholds=taus,
        fraction=fraction,
        method="wilson-stratified",
        level=level,
        runs=tuple(int(n) for n in counts),
        **bands,
    )
