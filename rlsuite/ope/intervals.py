"""How sure an estimate is: the symmetric bootstrap-t, and the empirical Bernstein bound."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from registry.seeding import Stream, generator
from rlsuite.ope.estimators import Terms
from rlsuite.statistics.scores import Interval, check_level, check_resamples

__all__ = ["bernstein_interval", "bootstrap_intervals"]

Floats = NDArray[np.float64]

HELD = 8_000_000
"""Counts of a bootstrap that are held at once."""


def bootstrap_intervals(
    estimates: Sequence[Terms], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> list[Interval]:
    """Symmetric bootstrap-t intervals of several estimates from one log, of the same resamples.

    Whole decisions are drawn with replacement. Of each resample come the estimate V* and its
    standard error s*, both from sums; the interval is

        V ± s t,    where t is the quantile 1 - α of |V* - V| / s*

    (Hall 1988, "On symmetric bootstrap confidence intervals"). Heavy weights make V and s depend on
    each other, which plain percentiles do not know. How often the intervals hold the truth is on
    the page of off-policy evaluation.

    Args:
        estimates: of the same N decisions.
        level: nominal coverage, in (0, 1).
        resamples: how many, at least 100.
        seed: of the resamples; the same seed gives the same intervals.

    Returns:
        An interval for each estimate; without bounds, and with a note, where the log says too
        little: a single decision, or weights that some resample does without.

    Raises:
        SettingError: a level or a number of resamples outside of its range.
    """
    check_level(level)
    check_resamples(resamples)
    n = len(estimates[0].base)
    rng = generator(seed, Stream.BOOTSTRAP)
    moments = np.concatenate([_moments(terms) for terms in estimates], axis=1)
    drawn = np.empty((resamples, moments.shape[1]))
    size = max(1, HELD // n)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        places = rng.integers(n, size=(rows, n), dtype=np.int32) + n * np.arange(rows)[:, None]
        counts = np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n)
        drawn[start : start + rows] = counts.astype(np.float64) @ moments
    drawn /= n
    return [
        _bootstrap_t(terms, drawn[:, 9 * j : 9 * j + 9], level, seed)
        for j, terms in enumerate(estimates)
    ]


def _moments(terms: Terms) -> Floats:
    """First and second moments of a decision's terms, [N, 9], shifted to spare their digits."""
    b = terms.base - terms.base.mean()
    d = np.ones_like(b) if terms.denominator is None else terms.denominator
    u = terms.numerator - _ratio(terms) * d
    return np.stack([b, u, d, b * b, b * u, b * d, u * u, u * d, d * d], axis=1)


def _ratio(terms: Terms) -> float:
    d = terms.denominator
    total = len(terms.base) if d is None else float(d.sum())
    return float(terms.numerator.sum()) / total if total > 0 else 0.0


def _bootstrap_t(terms: Terms, m: Floats, level: float, seed: int) -> Interval:
    """The interval from the mean moments [B, 9] of the resamples."""
    n, value = len(terms.base), terms.value

    def interval(low: float | None, high: float | None, note: str = "") -> Interval:
        return Interval(
            estimate=value,
            low=low,
            high=high,
            method="symmetric bootstrap-t",
            level=level,
            n=n,
            resamples=len(m),
            seed=seed,
            note=note,
        )

    if n == 1:
        return interval(None, None, "no interval: a single decision says nothing about spread")
    if not (m[:, 2] > 0).all():
        return interval(None, None, "no interval: too few decisions have a weight")
    error = terms.standard_error
    if error <= 1e-12 * max(1.0, abs(value)):
        return interval(value, value, "all terms are equal, so the interval has no width")
    b, u, d, bb, bu, bd, uu, ud, dd = m.T
    ratio = u / d
    variance = bb - b * b
    variance += (uu - 2 * ratio * ud + ratio**2 * dd) / d**2 + 2 * (bu - ratio * bd) / d
    # a resample of equal terms has no spread of its own, and counts as infinitely far out
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(b + ratio) / np.sqrt(np.maximum(variance, 0.0) / n)
    half = error * float(
        np.quantile(np.nan_to_num(t, nan=0.0, posinf=np.inf), level, method="higher")
    )
    if not math.isfinite(half):
        return interval(None, None, "no interval: too few decisions differ")
    return interval(value - half, value + half)


def bernstein_interval(terms: Terms, low: float, high: float, *, level: float = 0.95) -> Interval:
    """An interval for the mean of the terms, good for every n: empirical Bernstein.

    With probability at least 1 - δ the mean of N independent terms in [low, high] is no further
    from its expectation than

        √(2 S ln(4/δ) / N) + 7 (high - low) ln(4/δ) / (3 (N - 1)),

    S being their sample variance (Maurer and Pontil 2009, theorem 4, which is for one side, so each
    side has δ/2). An estimate whose denominator is not a number of decisions is no mean: `replay`
    is one, of the decisions that match, and self-normalised estimates have no such interval.
    Where the terms are biased for the value, such as those of cut weights or of a model, it
    holds their mean and not the value.

    Args:
        terms: of a mean, or of `replay`.
        low: The least that a term can be, known beforehand.
        high: The most.
        level: 1 - δ, in (0, 1).

    Returns:
        The interval; without bounds, and with a note, for ratios and where there are fewer than
        two terms.

    Raises:
        SettingError: a level outside of (0, 1).
    """
    check_level(level)
    d = terms.denominator
    x = terms.base + terms.numerator
    if d is not None:
        matches = bool(((d == 0) | (d == 1)).all())
        x = terms.numerator[d > 0] if matches else x[:0]
    note = ""
    bounds: tuple[float | None, float | None] = (None, None)
    if len(x) > 1:
        log = math.log(4.0 / (1.0 - level))
        half = math.sqrt(2.0 * float(x.var(ddof=1)) * log / len(x))
        half += 7.0 * (high - low) * log / (3.0 * (len(x) - 1))
        bounds = (terms.value - half, terms.value + half)
    elif d is not None and not matches:
        note = "no interval: a self-normalised estimate is no mean of independent terms"
    else:
        note = "no interval: fewer than two decisions count"
    return Interval(
        estimate=terms.value,
        low=bounds[0],
        high=bounds[1],
        method="empirical Bernstein",
        level=level,
        n=len(x),
        note=note,
    )
