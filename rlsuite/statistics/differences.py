"""The difference of two agents: an interval of it, never a look at whether two intervals overlap.

The runs of two agents are resampled independently of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from registry.seeding import check_seed
from rlsuite.statistics.aggregates import iqm, mean, median
from rlsuite.statistics.intervals import (
    Kind,
    Method,
    Resampled,
    check_method,
    interval_kind,
    refuse_iqm_of_one_task,
    variance_shares,
)
from rlsuite.statistics.resampling import member_of, replicates
from rlsuite.statistics.scores import (
    Floats,
    Interval,
    Statistic,
    all_equal,
    check_same_tasks,
    run_counts,
    table,
    without_bounds,
)

__all__ = [
    "Arm",
    "Difference",
    "Resamples",
    "Spread",
    "difference_interval",
    "difference_spread",
    "is_welch",
]

_SINGLE = "no interval: the single run of a task says nothing about how much its runs differ"


def difference_interval(
    x: ArrayLike,
    y: ArrayLike,
    statistic: Statistic = iqm,
    *,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 50_000,
    method: Method = "auto",
) -> Interval:
    """The statistic of `x` minus that of `y`, with the interval of the difference.

    The bootstrap resamples both arms, each task of each arm by itself; the methods are those of
    `bootstrap_interval` with the sums taken over the tasks of both arms. On one task the mean has
    Welch's interval (`welch-t`), which needs no bootstrap.

    Args:
        x: one agent's scores `[N, M]`, or `[N]` of one task; NaN is a missing run.
        y: the other's, `[K, M]`: the same tasks, any number of runs.
        statistic: as for `bootstrap_interval`.
        seed: of the resamples.
        level: nominal coverage, in (0, 1).
        resamples: how many, at least 100.
        method: as for `bootstrap_interval`.

    Returns:
        The interval; without bounds, and with a note, when a task of either has only one run.

    Raises:
        SettingError: other tasks, a task without any run, an infinite number, the IQM of one task,
            or a setting outside its range.
    """
    check_method(level, resamples, method)
    arms = Arm.make("first", x, statistic), Arm.make("second", y, statistic)
    check_same_tasks({arm.name: arm.values for arm in arms})
    return Difference.make(*arms, statistic, method, seed, resamples).interval(level)


@dataclass(frozen=True, slots=True)
class Arm:
    """One agent's scores, and what is computed from them once for all its pairs."""

    name: str
    values: Floats
    estimate: float

    @classmethod
    def make(cls, name: str, x: ArrayLike, statistic: Statistic) -> Arm:
        """Scores, checked, and their statistic."""
        values = table(x)
        refuse_iqm_of_one_task(statistic, values.shape[1])
        return cls(name, values, float(statistic(values[None])[0]))


@dataclass(frozen=True, slots=True)
class Resamples:
    """What resampling one arm gives; None for an arm with a single run somewhere."""

    drawn: Floats
    shares: Floats

    @classmethod
    def make(cls, arm: Arm, statistic: Statistic, seed: int, resamples: int) -> Resamples | None:
        """Replicates and shares of the variance."""
        if min(run_counts(arm.values)) == 1:
            return None
        member = member_of(arm.name)
        drawn = replicates(arm.values, statistic, seed=seed, resamples=resamples, member=member)
        return cls(drawn, variance_shares(arm.values, statistic))

    def resampled(self, arm: Arm) -> Resampled:
        """What intervals of this arm alone are made of."""
        return Resampled.of(arm.estimate, self.drawn, run_counts(arm.values), self.shares)


def is_welch(arm: Arm, statistic: Statistic, method: Method) -> bool:
    """Whether differences are judged by Welch's t, which takes no replicates."""
    return arm.values.shape[1] == 1 and method == "auto" and statistic in (mean, median)


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of which intervals of any level can be asked."""

    kind: Kind
    resampled: Resampled | None
    estimate: float
    runs: tuple[int, ...]
    resamples: int
    seed: int | None
    note: str
    shares: Floats  # of the variance, by task of each arm; empty where it is unknown

    @classmethod
    def make(
        cls,
        one: Arm,
        two: Arm,
        statistic: Statistic,
        method: Method,
        seed: int,
        resamples: int,
        drawn: Mapping[str, Resamples | None] | None = None,
    ) -> Difference:
        """From two arms, and their replicates by name where they are drawn already."""
        runs = run_counts(one.values) + run_counts(two.values)
        kind = interval_kind(method, one.values.shape[1])
        note = all_equal(one.values) and all_equal(two.values)
        estimate = one.estimate - two.estimate
        resampled, shares = None, np.empty(0)
        if is_welch(one, statistic, method):
            kind = Kind("welch-t", kind.bounds, kind.p_value)
            if min(runs) > 1:
                resampled, shares = _welch(one, two)
            return cls(kind, resampled, estimate, runs, 0, None, note, shares)
        sides = [
            drawn[arm.name] if drawn else Resamples.make(arm, statistic, seed, resamples)
            for arm in (one, two)
        ]
        if sides[0] is not None and sides[1] is not None:
            shares = np.concatenate([sides[0].shares, sides[1].shares])
            apart = sides[0].drawn - sides[1].drawn
            resampled = Resampled.of(estimate, apart, runs, shares)
        return cls(kind, resampled, estimate, runs, resamples, check_seed(seed), note, shares)

    def interval(self, level: float) -> Interval:
        """The interval of one level."""
        if self.resampled is None:
            return without_bounds(self.estimate, level, self.runs, self.kind.name, _SINGLE)
        low, high = self.kind.bounds(self.resampled, level)
        return Interval(
            estimate=self.estimate,
            low=low,
            high=high,
            method=self.kind.name,
            level=level,
            n=min(self.runs),
            runs=self.runs,
            resamples=self.resamples,
            seed=self.seed,
            note=self.note,
        )

    def p_value(self) -> float | None:
        """Of "there is no difference"; None where a single run leaves it open."""
        return None if self.resampled is None else self.kind.p_value(self.resampled)


def _welch(one: Arm, two: Arm) -> tuple[Resampled, Floats]:
    """Standard error √(s²/N + s²/K) and Satterthwaite's degrees of freedom, without resampling."""
    counts = np.array([np.isfinite(arm.values).sum() for arm in (one, two)])
    shares = np.array([np.nanvar(arm.values, ddof=1) for arm in (one, two)]) / counts
    total = shares.sum()
    freedom = float(counts.sum() - 2)
    if total > 0.0:
        freedom = float(total**2 / (shares**2 / (counts - 1)).sum())
    error = float(np.sqrt(total))
    return Resampled(one.estimate - two.estimate, np.empty(0), 1.0, error, freedom), shares


@dataclass(frozen=True, slots=True)
class Spread:
    """A difference, its standard error, and what that would be with other numbers of runs.

    Attributes:
        difference: of the two agents.
        runs: the fewest runs of any task of either.
        error: the standard error of the difference; None where a task has a single run.
        freedom: the degrees of freedom of the error, or None.
        run_error: the error that one run of each task and agent would leave: with n runs it is
            this over √n.
        run_freedom: with n runs the error has n - 1 times as many degrees of freedom.
    """

    difference: float
    runs: int
    error: float | None = None
    freedom: float | None = None
    run_error: float = 0.0
    run_freedom: float = 1.0


def difference_spread(
    x: ArrayLike, y: ArrayLike, statistic: Statistic = iqm, *, seed: int, resamples: int
) -> Spread:
    """How uncertain the difference is, for planning.

    Raises:
        SettingError: as `difference_interval`.
    """
    check_method(0.95, resamples, "auto")
    arms = Arm.make("first", x, statistic), Arm.make("second", y, statistic)
    check_same_tasks({arm.name: arm.values for arm in arms})
    found = Difference.make(*arms, statistic, "auto", seed, resamples)
    runs = min(found.runs)
    if found.resampled is None:
        return Spread(found.estimate, runs)
    error, freedom = found.resampled.error, found.resampled.freedom
    if error == 0.0:
        return Spread(found.estimate, runs, 0.0, freedom)
    per_run = found.shares * np.asarray(found.runs)
    return Spread(
        found.estimate,
        runs,
        error,
        freedom,
        error * float(np.sqrt(per_run.sum() / found.shares.sum())),
        float(per_run.sum() ** 2 / np.square(per_run).sum()),
    )
