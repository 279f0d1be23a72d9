"""How many runs it takes to see a difference: power of the two-sample t test."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from rlsuite.statistics.aggregates import iqm
from rlsuite.statistics.differences import Spread, difference_spread
from rlsuite.statistics.scores import Floats, Statistic, check_level, t_quantile

__all__ = ["RunPlan", "plan_runs", "power", "power_table", "runs_needed"]

_MOST = 100_000


def power(effect: float, runs: int, level: float = 0.95) -> float:
    """The probability that a difference of `effect` standard deviations is seen with `runs` runs.

    Two agents with `runs` runs each on one task, Student's two-sided t test at 1 - level; the
    noncentral t distribution with 2 (runs - 1) degrees of freedom at effect √(runs/2).

    Args:
        effect: the difference of the means in standard deviations of a run.
        runs: per agent, at least 2.
        level: 1 - the rate of false alarms, in (0, 1).

    Raises:
        SettingError: an effect that is not finite, fewer than two runs, or a level outside (0, 1).
    """
    _check(effect, level)
    if isinstance(runs, bool) or not isinstance(runs, int | np.integer) or runs < 2:
        raise SettingError(f"runs must be a whole number of at least 2, got {runs!r}.")
    return _power(abs(effect) * float(np.sqrt(runs / 2.0)), 2.0 * (runs - 1), level)


def _power(shift: float, degrees: float, level: float) -> float:
    """P(|T| > t) of the noncentral t with noncentrality `shift`.

    Integrated over the estimated deviation s, √(χ²_ν/ν), because scipy's noncentral t gives NaN
    for some large shifts:

        ∫ [ Φ(δ - t s) + Φ(-δ - t s) ] f(s) ds,   f(s) = 2 (ν/2)^{ν/2} s^{ν-1} e^{-ν s²/2} / Γ(ν/2)
    """
    from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr

    half = degrees / 2.0
    quantile = t_quantile(degrees, level)
    ends = np.sqrt([gammaincinv(half, 1e-14) / half, gammainccinv(half, 1e-14) / half])
    nodes, weights = _gauss_legendre()
    s = ends[0] + (ends[1] - ends[0]) * (nodes + 1.0) / 2.0
    log_density = np.log(2.0) + half * np.log(half) + (degrees - 1.0) * np.log(s)
    log_density -= half * s**2 + gammaln(half)
    seen = ndtr(shift - quantile * s) + ndtr(-shift - quantile * s)
    return float((ends[1] - ends[0]) / 2.0 * (weights * np.exp(log_density) * seen).sum())


@functools.cache
def _gauss_legendre() -> tuple[Floats, Floats]:
    """Nodes and weights, which take longer than what is done with them."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


def runs_needed(effect: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """The smallest number of runs per agent that sees `effect` with probability `power`.

    About 2 (z_{1-α/2} + z_power)² / effect²: half a standard deviation takes 64 runs, a whole one
    17, at 80%.

    Raises:
        SettingError: an effect of 0 or so small that it takes more than 100,000 runs, or a setting
            outside its range.
    """
    _check(effect, level)
    _check_power(power)
    need = _smallest(lambda n: _power(abs(effect) * (n / 2.0) ** 0.5, 2.0 * (n - 1), level), power)
    if need is None:
        raise SettingError(
            f"an effect of {effect!r} standard deviations takes more than {_MOST:,} runs; give a "
            "larger one, the smallest that matters."
        )
    return need


def power_table(effects: ArrayLike, runs: ArrayLike, level: float = 0.95) -> Floats:
    """`power(effect, runs)` for every effect `[E]` and number of runs `[R]`: `[E, R]`."""
    return np.array(
        [
            [power(float(d), int(n), level) for n in np.atleast_1d(np.asarray(runs))]
            for d in np.atleast_1d(np.asarray(effects, dtype=np.float64))
        ]
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """How many runs two agents need.

    Attributes:
        difference: what is to be seen: the observed difference, or the one that was asked for.
        error: the standard error of the difference with the runs there are; None if unknown.
        runs: per agent, there now: the smaller number of any task of the two.
        needed: per agent, for the power that was asked for; None if unknown or out of reach.
        power: of the runs there are now; None if unknown.
        sentence: the same in words.
    """

    difference: float
    error: float | None
    runs: int
    needed: int | None
    power: float | None
    sentence: str

    @property
    def more(self) -> int | None:
        """How many more runs each agent needs; 0 if there are enough."""
        return None if self.needed is None else max(0, self.needed - self.runs)


def plan_runs(
    x: ArrayLike,
    y: ArrayLike,
    statistic: Statistic = iqm,
    *,
    smallest: float | None = None,
    power: float = 0.8,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> RunPlan:
    """How many more runs would tell two agents apart.

    The standard error of the difference, as in `difference_interval`, falls with the square root of
    the number of runs, and its degrees of freedom grow with them; the power is that of a t test
    with this error.

    Args:
        x: one agent's scores, `[N, M]` or `[N]`; NaN is a missing run.
        y: the other's, `[K, M]`: the same tasks.
        statistic: as for `bootstrap_interval`.
        smallest: the smallest difference worth seeing. Without it the plan takes the difference
            that was observed, which is itself uncertain: a plan for the difference one happened to
            see promises too much.
        power: the probability of seeing it, in (0, 1).
        level: 1 - the rate of false alarms, in (0, 1).
        seed: of the resamples.
        resamples: how many, at least 100.

    Raises:
        SettingError: as `difference_interval`, and a setting outside its range.
    """
    _check(1.0 if smallest is None else smallest, level)
    _check_power(power)
    found = difference_spread(x, y, statistic, seed=seed, resamples=resamples)
    sought = found.difference if smallest is None else abs(smallest)
    if found.error is None or found.freedom is None:
        words = "a single run of a task: nothing is known of how much runs differ; 2 are the least."
        return _plan(found, sought, None, None, words)
    if found.error == 0.0:
        return _plan(found, sought, found.runs, None, "the runs do not differ at all.")

    def power_with(n: int) -> float:
        shift = abs(sought) / found.run_error * n**0.5
        return _power(shift, found.run_freedom * (n - 1), level)

    now = _power(abs(sought) / found.error, found.freedom, level)
    needed = _smallest(power_with, power)
    what = f"{'the observed' if smallest is None else 'a'} difference of {sought:.3g}"
    return _plan(found, sought, needed, now, _sentence(found.runs, needed, now, power, what))


def _sentence(runs: int, needed: int | None, now: float, power: float, what: str) -> str:
    if needed is None:
        return f"more than {_MOST:,} runs would be needed to see {what}."
    if needed <= runs:
        return f"{runs} runs are enough to see {what}: the probability is {now:.0%}."
    seeds = "seed" if needed - runs == 1 else "seeds"
    return (
        f"{needed - runs} more {seeds} needed: {needed} runs see {what} with probability "
        f"{power:.0%}, {runs} with {now:.0%}."
    )


def _plan(
    found: Spread, sought: float, needed: int | None, now: float | None, sentence: str
) -> RunPlan:
    return RunPlan(
        difference=sought,
        error=found.error,
        runs=found.runs,
        needed=needed,
        power=now,
        sentence=sentence,
    )


def _smallest(power_with: Callable[[int], float], power: float) -> int | None:
    """The smallest n of at least 2 with enough power, which grows with n; None beyond the most."""
    upper = 2
    while power_with(upper) < power:
        upper *= 2
        if upper > _MOST:
            return None
    lower = upper // 2
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if power_with(middle) >= power else (middle, upper)
    return upper


def _check(effect: float, level: float) -> None:
    check_level(level)
    if not np.isfinite(effect):
        raise SettingError(f"an effect is a finite number, got {effect!r}.")


def _check_power(power: float) -> None:
    if not 0.0 < power < 1.0:
        raise SettingError(f"power is a probability in (0, 1), such as 0.8; got {power!r}.")
