"""Two agents and more: all pairs with Holm's correction, and who may rank where."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from registry.seeding import check_seed
from rlsuite.statistics.aggregates import iqm, optimality_gap
from rlsuite.statistics.differences import Arm, Difference, Resamples, is_welch
from rlsuite.statistics.improvement import probability_of_improvement
from rlsuite.statistics.intervals import (
    Method,
    check_method,
    interval_kind,
    interval_of,
)
from rlsuite.statistics.scores import (
    Floats,
    Interval,
    Statistic,
    check_same_tasks,
    run_counts,
    without_bounds,
)

__all__ = [
    "Comparison",
    "Drawn",
    "Pair",
    "RankDistribution",
    "compare_agents",
    "holm",
    "rank_distribution",
]

RANKED = 10_000
"""Replicates from which ranks are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What the runs say of two agents.

    Attributes:
        first: the name of one agent.
        second: the name of the other.
        difference: the statistic of `first` minus that of `second`, with the interval of this
            difference alone.
        corrected: the same at the level of Holm's step, so that it leaves 0 out exactly where
            `clear` says so. None where there is no interval.
        improvement: the probability that a run of `first` is better than one of `second`.
        p_value: of "there is no difference"; None where a single run leaves it open.
        p_holm: corrected for all pairs that were compared.
        clear: whether the difference stands after the correction.
    """

    first: str
    second: str
    difference: Interval
    corrected: Interval | None
    improvement: Interval
    p_value: float | None
    p_holm: float | None
    clear: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All pairs of some agents.

    Attributes:
        agents: their names, best estimate first.
        pairs: one for each two agents; `first` stands before `second` in `agents`.
        places: for each agent the best and the worst rank that the clear differences leave it. With
            probability `level` or more all of these ranges hold at once.
        level: of the intervals, and 1 - the error rate of all pairs together.
    """

    agents: tuple[str, ...]
    pairs: tuple[Pair, ...]
    places: Mapping[str, tuple[int, int]]
    level: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RankDistribution:
    """How often each agent takes each rank among the replicates.

    Attributes:
        agents: their names, as given.
        probability: `[A, A]`, row a column r: how often agent a has rank r + 1. Agents that tie
            share their ranks. None where a single run says nothing about how much runs differ.
        mean_rank: `[A]`, or None.
        note: why there is none.
        resamples: how many.
        seed: of the resamples.
    """

    agents: tuple[str, ...]
    probability: Floats | None
    mean_rank: Floats | None
    note: str
    resamples: int
    seed: int


def compare_agents(
    scores: Mapping[str, ArrayLike],
    statistic: Statistic = iqm,
    *,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 50_000,
    method: Method = "auto",
    higher_is_better: bool = True,
) -> Comparison:
    """Every pair of agents: difference, probability of improvement, and Holm over the pairs.

    Holm's procedure (1979) compares the smallest of K p-values with α/K, the next one with
    α/(K - 1), and so on, until one is too large. What stands before is clear, and all of it is
    right with probability 1 - α, however the pairs depend on each other.

    Args:
        scores: each agent's scores, `[N, M]` or `[N]`; the same tasks, any numbers of runs. What
            is drawn for an agent depends on the seed and its name, not on who else is there.
        statistic: as for `bootstrap_interval`.
        seed: of the resamples.
        level: of the intervals, and 1 - α.
        resamples: how many, at least 100.
        method: as for `bootstrap_interval`.
        higher_is_better: False where lower scores are the better ones, such as regrets. That an
            optimality gap falls as scores rise is known.

    Returns:
        The comparison. A pair in which an agent has a single run on some task has no p-value, is
        not clear, and is not counted among the pairs.

    Raises:
        SettingError: fewer than two agents, and as `difference_interval`.
    """
    check_method(level, resamples, method)
    drawn = Drawn.make(scores, statistic, seed=seed, resamples=resamples, method=method)
    return drawn.comparison(level=level, method=method, higher_is_better=higher_is_better)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """The scores of some agents and their replicates: drawn once, for all that is asked of them.

    Attributes:
        arms: the agents' scores, by name.
        sides: their replicates; None for an agent with a single run somewhere.
        statistic: as for `bootstrap_interval`.
        seed: of the resamples.
        resamples: how many.
    """

    arms: Mapping[str, Arm]
    sides: Mapping[str, Resamples | None]
    statistic: Statistic
    seed: int
    resamples: int

    @classmethod
    def make(
        cls,
        scores: Mapping[str, ArrayLike],
        statistic: Statistic,
        *,
        seed: int,
        resamples: int,
        method: Method | None = None,
    ) -> Drawn:
        """Draws, unless the only thing that will be asked is a comparison that needs no replicates.

        Args:
            scores: as for `compare_agents`, of one agent or more.
            statistic: as for `bootstrap_interval`.
            seed: of the resamples.
            resamples: how many, at least 100.
            method: of the comparison that alone will be asked; None if more will be.

        Raises:
            SettingError: as `compare_agents`.
        """
        arms = {name: Arm.make(name, x, statistic) for name, x in scores.items()}
        check_same_tasks({name: arm.values for name, arm in arms.items()})
        needless = method is not None and all(
            is_welch(arm, statistic, method) for arm in arms.values()
        )
        sides = {
            name: None if needless else Resamples.make(arm, statistic, seed, resamples)
            for name, arm in arms.items()
        }
        return cls(
            arms=arms, sides=sides, statistic=statistic, seed=check_seed(seed), resamples=resamples
        )

    def only(self, names: Sequence[str]) -> Drawn:
        """Some of the agents."""
        return replace(
            self,
            arms={name: self.arms[name] for name in names},
            sides={name: self.sides[name] for name in names},
        )

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """What `bootstrap_interval` says of one agent on several tasks, from its own replicates."""
        arm, side = self.arms[name], self.sides[name]
        runs, kind = run_counts(arm.values), interval_kind("auto", arm.values.shape[1])
        if side is None:
            return without_bounds(arm.estimate, level, runs, kind.name)
        return interval_of(arm.values, side.resampled(arm), kind, level, self.seed)

    def comparison(
        self, *, level: float = 0.95, method: Method = "auto", higher_is_better: bool = True
    ) -> Comparison:
        """What `compare_agents` says."""
        _check_several(self.arms)
        better = 1.0 if higher_is_better else -1.0
        sign = better * _direction(self.statistic)
        ordered = sorted(self.arms.values(), key=lambda arm: (-sign * arm.estimate, arm.name))
        found = {
            (one.name, two.name): Difference.make(
                one, two, self.statistic, method, self.seed, self.resamples, self.sides
            )
            for one, two in combinations(ordered, 2)
        }
        p_values = {names: difference.p_value() for names, difference in found.items()}
        corrected = _corrected(p_values, 1.0 - level)
        pairs = tuple(
            _pair(
                self.arms[one],
                self.arms[two],
                difference,
                p_values[one, two],
                corrected.get((one, two)),
                better,
                level,
                self.seed,
            )
            for (one, two), difference in found.items()
        )
        names = tuple(arm.name for arm in ordered)
        return Comparison(
            agents=names, pairs=pairs, places=_places(names, pairs, sign), level=level
        )

    def ranks(self, *, higher_is_better: bool = True) -> RankDistribution:
        """What `rank_distribution` says, from the first 10,000 replicates."""
        _check_several(self.arms)
        names = tuple(self.arms)
        single = [name for name in names if self.sides[name] is None]
        if single:
            note = f"no ranks: {', '.join(single)} has a task with a single run, which says "
            note += "nothing about how much runs differ"
            return RankDistribution(
                agents=names,
                probability=None,
                mean_rank=None,
                note=note,
                resamples=0,
                seed=self.seed,
            )
        widened = np.array([self._widened(name) for name in names])
        sign = _direction(self.statistic) * (1.0 if higher_is_better else -1.0)
        probability = _rank_shares(-sign * widened)
        return RankDistribution(
            agents=names,
            probability=probability,
            mean_rank=probability @ np.arange(1, len(names) + 1),
            note="",
            resamples=widened.shape[1],
            seed=self.seed,
        )

    def _widened(self, name: str) -> Floats:
        arm, side = self.arms[name], self.sides[name]
        assert side is not None
        away = side.drawn[:RANKED] - arm.estimate
        return np.asarray(arm.estimate + side.resampled(arm).expansion * away)


@dataclass(frozen=True, slots=True)
class _Step:
    """Where a pair stands in Holm's procedure."""

    p_holm: float
    alpha: float  # what its p-value was compared with


def _corrected(
    p_values: Mapping[tuple[str, str], float | None], alpha: float
) -> dict[tuple[str, str], _Step]:
    known = {names: p for names, p in p_values.items() if p is not None}
    if not known:
        return {}
    adjusted = holm(list(known.values()))
    order = sorted(known, key=lambda names: known[names])
    steps: dict[tuple[str, str], _Step] = {}
    share = alpha / len(order)
    for index, names in enumerate(order):
        p_holm = adjusted[list(known).index(names)]
        if index == 0 or steps[order[index - 1]].p_holm <= alpha:
            share = alpha / (len(order) - index)  # once one pair fails, its level stays
        steps[names] = _Step(p_holm, share)
    return steps


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: p̃_(i) = max over j <= i of (K - j + 1) p_(j).

    Raises:
        SettingError: a p-value outside [0, 1].
    """
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise SettingError(f"p-values are in [0, 1], got {p!r}.")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for index, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - index) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


def _pair(
    one: Arm,
    two: Arm,
    difference: Difference,
    p_value: float | None,
    step: _Step | None,
    better: float,
    level: float,
    seed: int,
) -> Pair:
    return Pair(
        first=one.name,
        second=two.name,
        difference=difference.interval(level),
        corrected=None if step is None else difference.interval(1.0 - step.alpha),
        improvement=probability_of_improvement(
            better * one.values, better * two.values, seed=seed, level=level
        ),
        p_value=p_value,
        p_holm=None if step is None else step.p_holm,
        clear=step is not None and step.p_holm <= 1.0 - level,
    )


def _places(
    names: tuple[str, ...], pairs: tuple[Pair, ...], sign: float
) -> dict[str, tuple[int, int]]:
    """Best and worst rank: 1 + how many are clearly better, and A - how many clearly worse."""
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for pair in pairs:
        if pair.clear:
            first_wins = sign * pair.difference.estimate > 0
            winner, loser = (pair.first, pair.second) if first_wins else (pair.second, pair.first)
            better[loser] += 1
            worse[winner] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}


def _direction(statistic: Statistic) -> float:
    """1 if the statistic rises with the scores, -1 for the optimality gap, which falls."""
    function = statistic.func if isinstance(statistic, functools.partial) else statistic
    return -1.0 if function is optimality_gap else 1.0


def _check_several(agents: Mapping[str, Any]) -> None:
    if len(agents) < 2:
        raise SettingError(f"comparing takes two agents or more, got {sorted(agents)}.")


def rank_distribution(
    scores: Mapping[str, ArrayLike],
    statistic: Statistic = iqm,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    higher_is_better: bool = True,
) -> RankDistribution:
    """How often each agent takes each rank when the runs are drawn again.

    Replicates vary less than data by √((N - 1)/N); their distance from the estimate is widened by
    as much, as in the intervals.

    Args:
        scores: each agent's scores, as for `compare_agents`.
        statistic: as for `bootstrap_interval`.
        seed: of the resamples.
        resamples: how many, at least 100.
        higher_is_better: as for `compare_agents`.

    Returns:
        The distribution; without probabilities, and with a note, where a task has a single run.

    Raises:
        SettingError: fewer than two agents, other tasks, or a setting outside its range.
    """
    check_method(0.95, resamples, "auto")
    _check_several(scores)
    drawn = Drawn.make(scores, statistic, seed=seed, resamples=min(RANKED, resamples))
    return drawn.ranks(higher_is_better=higher_is_better)


def _rank_shares(x: Floats) -> Floats:
    """`x [A, B]`, lowest first -> `[A, A]`: how often each agent has each rank, ties shared."""
    agents = len(x)
    lower = (x[None] < x[:, None]).sum(axis=1)  # [A, B]: how many stand before
    tied = (x[None] == x[:, None]).sum(axis=1)  # with itself
    shares = np.zeros((agents, agents))
    for rank in range(agents):
        here = (lower <= rank) & (rank < lower + tied)
        shares[:, rank] = (here / tied).mean(axis=1)
    return shares
