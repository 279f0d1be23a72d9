"""Blocks of runs to figures: regret and its spread, curves, and differences between policies.

The unit is the run. Intervals of means are Student's; those of shares of runs Wilson's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.bandit_runs import BanditBlock, merged
from rlsuite.records import STUDY, RunRecord
from rlsuite.running.bandit_blocks import SLOPE
from rlsuite.statistics import Interval, student_t_interval, wilson_interval
from rlsuite.statistics.scores import t_quantile

__all__ = ["Curve", "Difference", "PolicyFigures", "figures_of", "paired_differences", "studied"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WINDOW = 50
"""The moving average of rewards is taken over the horizon divided by this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """What a policy did step by step, means over runs; arrays [T].

    `low` and `high` are the interval of `regret` at each step by itself. `reward` is a moving
    average over `window` steps, which ends at the step and is shorter at the start.
    """

    step: NDArray[np.int64]
    regret: Floats
    low: Floats
    high: Floats
    optimal: Floats
    reward: Floats
    window: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PolicyFigures:
    """What the runs of one policy on one problem came to.

    Attributes:
        problem: The task.
        policy: Its label.
        agent_id: What it stands for.
        settings: All settings of the agent.
        seed: Root of the runs.
        block: The runs.
        regret: Mean pseudo-regret of the whole horizon.
        quantiles: Of the pseudo-regret of runs, at `QUANTILES`; the third is the median.
        simple_regret: Mean regret of the arm believed to be the best at the end; None where nobody
            could be asked.
        optimal: Mean share of the pulls that were without regret.
        stuck: Share of runs that believed in a worse arm both at half of the horizon and at its
            end; None where nobody could be asked.
        reward: Mean reward of a whole run.
        slope: C of C ln t, the asymptotic slope of Lai and Robbins; None where there is none.
    """

    problem: str
    policy: str
    agent_id: str
    settings: Any
    seed: int
    block: BanditBlock
    regret: Interval
    quantiles: tuple[float, ...]
    simple_regret: Interval | None
    optimal: Interval
    stuck: Interval | None
    reward: Interval
    slope: float | None

    @property
    def runs(self) -> int:
        """How many."""
        return self.block.runs

    @property
    def median(self) -> float:
        """Of the pseudo-regret of runs."""
        return self.quantiles[QUANTILES.index(0.5)]

    @property
    def curve(self) -> Curve:
        """Step by step."""
        block, level = self.block, self.regret.level
        n, horizon = block.runs, block.horizon
        mean = block.regret_sum / n
        half = np.full(horizon, np.nan)
        if n > 1:
            variance = np.maximum(block.regret_squares / n - mean**2, 0.0) * n / (n - 1)
            half = t_quantile(n - 1, level) * np.sqrt(variance / n)
        window = max(1, horizon // WINDOW)
        sums = np.concatenate([[0.0], np.cumsum(block.reward_sum / n)])
        step = np.arange(1, horizon + 1)
        first = np.maximum(step - window, 0)
        return Curve(
            step=step,
            regret=mean,
            low=mean - half,
            high=mean + half,
            optimal=block.optimal_sum / n,
            reward=(sums[step] - sums[first]) / (step - first),
            window=window,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The regret of `first` minus that of `second`, run by run under the same luck.

    `interval` is corrected for the number of pairs of its problem (Bonferroni): all of them hold
    together. `correlation` says what the common luck was worth: the variance of the difference is
    smaller by about that share than that of independent runs.
    """

    problem: str
    first: str
    second: str
    interval: Interval
    correlation: float | None

    @property
    def better(self) -> str | None:
        """Whose regret is clearly lower; None where the interval holds 0, or there is none."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None or low <= 0.0 <= high:
            return None
        return self.first if high < 0.0 else self.second


def studied(records: Iterable[RunRecord]) -> list[tuple[RunRecord, BanditBlock]]:
    """Blocks of the records that are blocks of studies, one after the other, no run twice.

    Of several of one policy they begin at run 0; the longest goes first, of equal ones the one that
    was started last. What comes after a gap is left out. The first record stands for all.
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.metric == STUDY and record.block is not None:
            groups.setdefault(_kind(record), []).append(record)
    found = []
    for group in groups.values():
        chain, at = [], 0
        while following := [r for r in group if _runs(r)[0] == at]:
            chosen = max(following, key=lambda r: (_runs(r)[1], r.started_at, r.key.digest))
            chain.append(chosen)
            at = _runs(chosen)[1]
        if chain:
            found.append((chain[0], merged([r.block for r in chain if r.block is not None])))
    return found


def _runs(record: RunRecord) -> tuple[int, int]:
    first, end = record.key.identity["study"]["runs"]
    return int(first), int(end)


def _kind(record: RunRecord) -> str:
    """What blocks have in common whose runs belong together."""
    task = record.key.identity.get("task", {})
    parts = (record.task, task, record.agent, record.agent_id, record.settings, record.seed)
    assert record.block is not None
    return json.dumps([*parts, record.block.horizon], sort_keys=True, default=dict)


def figures_of(record: RunRecord, block: BanditBlock, *, level: float = 0.95) -> PolicyFigures:
    """The figures of a policy; `level` is the coverage of each interval."""
    believed = block.simple_regret_at
    last = believed[:, -1]
    known = not np.isnan(last).any()
    half = int(np.searchsorted(block.marks, block.horizon // 2))
    stuck = None
    if known and not np.isnan(believed[:, half]).any():
        count = int(((believed[:, half] > 0.0) & (last > 0.0)).sum())
        stuck = wilson_interval(count, block.runs, level)
    regret = block.regret_at[:, -1]
    return PolicyFigures(
        problem=record.task,
        policy=record.agent,
        agent_id=record.agent_id,
        settings=record.settings,
        seed=record.seed,
        block=block,
        regret=student_t_interval(regret, level),
        quantiles=tuple(float(q) for q in np.quantile(regret, QUANTILES)),
        simple_regret=student_t_interval(last, level) if known else None,
        optimal=student_t_interval(block.optimal_total / block.horizon, level),
        stuck=stuck,
        reward=student_t_interval(block.reward_total, level),
        slope=record.metrics.get(SLOPE),
    )


def paired_differences(
    policies: Sequence[PolicyFigures], *, level: float = 0.95
) -> list[Difference]:
    """Every pair of policies of one problem, over the runs that both have."""
    pairs = list(combinations(policies, 2))
    each = 1.0 - (1.0 - level) / max(len(pairs), 1)
    found = []
    for a, b in pairs:
        n = min(a.runs, b.runs)
        x, y = a.block.regret_at[:n, -1], b.block.regret_at[:n, -1]
        spread = n > 1 and x.std() > 0.0 and y.std() > 0.0
        found.append(
            Difference(
                problem=a.problem,
                first=a.policy,
                second=b.policy,
                interval=student_t_interval(x - y, each),
                correlation=float(np.corrcoef(x, y)[0, 1]) if spread else None,
            )
        )
    return found
