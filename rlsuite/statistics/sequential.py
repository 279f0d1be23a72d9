"""When enough runs have been made: a test that may be looked at again and again.

Looking at an ordinary test after every few seeds, and stopping when it says so, finds differences
that are not there far more often than it says. This one is made for it: all its looks together,
over all pairs of agents, find one that is not there with probability 1 - level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from registry.seeding import check_seed
from rlsuite.statistics.resampling import key_of, member_of
from rlsuite.statistics.scores import Floats, check_level, check_same_tasks

__all__ = ["LOOKS", "PairDecision", "SequentialDecision", "sequential_comparison"]

LOOKS = (5, 10, 15, 20, 25)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairDecision:
    """What is known of two agents so far.

    Attributes:
        first: the name of one agent.
        second: the name of the other.
        difference: mean of `first` minus mean of `second`, of the runs that were looked at.
        look: how many runs it took to tell them apart, None if they are not told apart.
        better: the name of the better one, None if they are not told apart.
    """

    first: str
    second: str
    difference: float
    look: int | None
    better: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SequentialDecision:
    """Whether to go on.

    Attributes:
        pairs: one for each two agents, in the order of the names given.
        looks: the numbers of runs at which the test looks.
        looked: how many looks each agent has had.
        more_runs: how many more runs each agent needs for the next look; agents that are told
            apart from all others, or have had their last look, are not named. Empty: stop.
        level: 1 - the error rate of all looks and pairs together.
        permutations: relabellings drawn.
        seed: of the relabellings.
        sentence: the decision in words.
    """

    pairs: tuple[PairDecision, ...]
    looks: tuple[int, ...]
    looked: Mapping[str, int]
    more_runs: Mapping[str, int]
    level: float
    permutations: int
    seed: int
    sentence: str

    @property
    def clear(self) -> bool:
        """Whether all pairs are told apart."""
        return all(pair.better is not None for pair in self.pairs)

    @property
    def stop(self) -> bool:
        """Whether more runs would change nothing: all is clear, or the last look has been had."""
        return not self.more_runs


def sequential_comparison(
    scores: Mapping[str, ArrayLike],
    looks: Sequence[int] = LOOKS,
    *,
    level: float = 0.95,
    permutations: int = 5_000,
    higher_is_better: bool = True,
    seed: int = 0,
) -> SequentialDecision:
    """Tells agents apart with as few runs as it takes, at a fixed rate of errors.

    A group-sequential permutation test of all pairs. If two agents are the same, their runs could
    have been dealt out to them in any other way. The statistic of a pair is the |difference| of
    their means (of task means), for the data and for relabellings of each look's runs; that of a
    set of pairs is the largest, *the absolute value inside the maximum*. At look k of K the data
    are rejected when their statistic is so large that, of all relabellings, at most a share α k/K
    is or was rejected with them (spending as Lan and DeMets 1983, linear); ties are never rejected
    apart.

    Step-down (Romano and Wolf 2005): pairs above the boundary are told apart, the others are
    compared with the boundary for the largest among themselves, and so on. For one pair the error
    rate is at most α, exactly; for all pairs together it is measured, with two to five equal agents
    and with groups of equals, see docs/statistics.md.

    The procedure follows AdaStop (Mathieu et al., TMLR 2024), whose published code compares the
    absolute difference with a quantile of the signed maximum and so errs more often than it says.

    The function is pure and has no memory: give it all runs so far, each time, in the order of
    their seeds, with the same agents, looks and seed, and it repeats its earlier decisions.

    Args:
        scores: each agent's scores so far, `[N]` or `[N, M]`, run after run; NaN is a run that
            failed. Scores of several tasks must be on one scale. Agents may have different N: runs
            beyond the last look that is complete wait for the next.
        looks: after how many runs per agent to look, rising. Fixed beforehand.
        level: 1 - α, in (0, 1).
        permutations: relabellings, at least 100. α times their number, over the number of looks,
            must be 1 or more, and should be well above.
        higher_is_better: whether the larger mean is the better one.
        seed: of the relabellings.

    Returns:
        The decision: which pairs are told apart, and how many more runs who needs.

    Raises:
        SettingError: fewer than two agents, other tasks, an infinite score, an agent without any
            run of a task at the first look, or a setting outside its range.
    """
    check_level(level)
    plan = _check_looks(looks)
    _check_permutations(permutations, 1.0 - level, len(plan))
    tables = _tables(scores)
    looked = {name: sum(len(x) >= n for n in plan) for name, x in tables.items()}
    columns = _columns(tables, looked, plan)
    names = list(combinations(tables, 2))
    paths = _paths(columns, names, looked, plan, permutations, seed)
    when = _step_down(paths, 1.0 - level)
    sign = 1.0 if higher_is_better else -1.0
    pairs = tuple(
        _decision(columns, pair, min(looked[name] for name in pair), look, plan, sign)
        for pair, look in zip(names, when, strict=True)
    )
    more = _more_runs(tables, looked, pairs, plan)
    return SequentialDecision(
        pairs=pairs,
        looks=plan,
        looked=looked,
        more_runs=more,
        level=level,
        permutations=permutations,
        seed=check_seed(seed),
        sentence=_sentence(pairs, more, plan),
    )


def _columns(
    tables: Mapping[str, Floats], looked: Mapping[str, int], looks: tuple[int, ...]
) -> dict[str, Floats]:
    """The runs that were looked at; one column where no run is missing."""
    ends = (0, *looks)
    used = {name: x[: ends[looked[name]]] for name, x in tables.items()}
    for name, x in used.items():
        _check_there(name, x[: looks[0]])
    if any(np.isnan(x).any() for x in used.values()):
        return used
    # with all runs there, the mean over tasks is all that counts of a run
    return {name: x.mean(axis=1, keepdims=True) for name, x in used.items()}


def _paths(
    columns: Mapping[str, Floats],
    names: list[tuple[str, str]],
    looked: Mapping[str, int],
    looks: tuple[int, ...],
    permutations: int,
    seed: int,
) -> Floats:
    """|Differences| `[1 + permutations, looks, pairs]`, row 0 the data; -inf where not looked."""
    from rlsuite.statistics.kernels import relabelled_differences

    agents = list(columns)
    values = _by_look(list(columns.values()), looks)
    totals, seen = np.nansum(values, axis=3), (~np.isnan(values)).sum(axis=3).cumsum(axis=0)
    places = np.array([[agents.index(one), agents.index(two)] for one, two in names])
    paths = np.full((1 + permutations, len(looks), len(names)), -np.inf)
    complete = np.array([min(looked[one], looked[two]) for one, two in names])
    for count in sorted(set(complete) - {0}):
        ours = complete == count
        out = np.empty((1 + permutations, count, int(ours.sum())))
        key = key_of(seed, member_of("sequential"))
        relabelled_differences(values, totals, seen, places[ours], key, out)
        paths[:, :count, ours] = out
    # relabellings with equal means must tie, whatever the order of the sums did to the last bits
    scale = max(float(np.abs(x).max(initial=0.0, where=~np.isnan(x))) for x in columns.values())
    return np.round(paths / (scale or 1.0), 12)


def _by_look(columns: list[Floats], looks: tuple[int, ...]) -> Floats:
    """`[looks, tasks, agents, slots]`; NaN where there is no run."""
    bounds = list(pairwise((0, *looks)))
    slots = max(stop - start for start, stop in bounds)
    values = np.full((len(looks), columns[0].shape[1], len(columns), slots), np.nan)
    for look, (start, stop) in enumerate(bounds):
        for agent, x in enumerate(columns):
            part = x[start:stop].T
            values[look, :, agent, : part.shape[1]] = part
    return values


def _step_down(paths: Floats, alpha: float) -> list[int | None]:
    """For each pair, at which look (1, 2, ...) it is told apart; None if at none so far."""
    pairs = paths.shape[2]
    when: list[int | None] = [None] * pairs
    latest = 0
    while remaining := [pair for pair in range(pairs) if when[pair] is None]:
        found = _first_rejection(paths[:, :, remaining].max(axis=2), alpha)
        if found is None:
            break
        look, boundary = found
        # what a smaller boundary finds at an earlier look is known only now
        latest = max(latest, look)
        for pair in remaining:
            if paths[0, look - 1, pair] > boundary:
                when[pair] = latest
    return when


def _first_rejection(largest: Floats, alpha: float) -> tuple[int, float] | None:
    """The first look at which row 0 of `largest [rows, looks]` is rejected, and the boundary."""
    rows, looks = largest.shape
    alive = np.ones(rows, dtype=bool)
    spent = 0
    for look in range(looks):
        allowed = int(alpha * (look + 1) / looks * rows + 1e-9) - spent
        among = largest[alive, look]
        if allowed <= 0 or len(among) <= allowed:
            continue
        boundary = -np.partition(-among, allowed)[allowed]  # so many are larger, or fewer in a tie
        rejected = alive & (largest[:, look] > boundary)
        if rejected[0]:
            return look + 1, float(boundary)
        spent += int(rejected.sum())
        alive &= ~rejected
    return None


def _mean(x: Floats, runs: int) -> float:
    return float(np.nanmean(x[:runs], axis=0).mean())


def _decision(
    columns: Mapping[str, Floats],
    pair: tuple[str, str],
    looked: int,
    look: int | None,
    looks: tuple[int, ...],
    sign: float,
) -> PairDecision:
    one, two = pair
    difference, better = float("nan"), None
    if looked:
        runs = looks[looked - 1]
        difference = _mean(columns[one], runs) - _mean(columns[two], runs)
    if look is not None:
        runs = looks[look - 1]
        ahead = sign * (_mean(columns[one], runs) - _mean(columns[two], runs)) > 0.0
        better = one if ahead else two
    return PairDecision(
        first=one,
        second=two,
        difference=difference,
        look=None if look is None else looks[look - 1],
        better=better,
    )


def _more_runs(
    tables: Mapping[str, Floats],
    looked: Mapping[str, int],
    pairs: tuple[PairDecision, ...],
    looks: tuple[int, ...],
) -> dict[str, int]:
    """Up to the next look, of those who are behind among the agents that are still open."""
    still_open = {
        name for pair in pairs if pair.better is None for name in (pair.first, pair.second)
    }
    waiting = [looked[name] for name in still_open if looked[name] < len(looks)]
    if not waiting:
        return {}
    target = looks[min(waiting)]
    return {
        name: target - len(x)
        for name, x in tables.items()
        if name in still_open and len(x) < target
    }


def _sentence(
    pairs: tuple[PairDecision, ...], more: Mapping[str, int], looks: tuple[int, ...]
) -> str:
    apart = sum(pair.better is not None for pair in pairs)
    told = f"{apart} of {len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} told apart"
    if apart == len(pairs):
        return f"{told}: enough seeds."
    if not more:
        return f"{told} after {looks[-1]} seeds, the last look: the others may be equal."
    wanted = ", ".join(
        f"{name} {count} more {'seed' if count == 1 else 'seeds'}" for name, count in more.items()
    )
    return f"{told}; for the next look: {wanted}."


def _tables(scores: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    if len(scores) < 2:
        raise SettingError(f"comparing takes two agents or more, got {sorted(scores)}.")
    tables = {}
    for name, x in scores.items():
        values = np.asarray(x, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] == 0:
            raise SettingError(
                f"scores of {name} are one number for each run [N], or for each run and task "
                f"[N, M]; got an array of shape {np.shape(x)}."
            )
        if np.isinf(values).any():
            raise SettingError(f"scores of {name} must be finite (NaN where a run failed).")
        tables[name] = values
    check_same_tasks(tables)
    return tables


def _check_there(name: str, x: Floats) -> None:
    """Every task needs a run by the first look; else there is no mean to compare."""
    empty = np.flatnonzero(np.isnan(x).all(axis=0))
    if len(x) and len(empty):
        raise SettingError(
            f"{name} has no run of task {int(empty[0])} among its first {len(x)} (only NaN): leave "
            "the task out, for all agents alike, or the agent."
        )


def _check_looks(looks: Sequence[int]) -> tuple[int, ...]:
    plan = tuple(looks)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in plan)
    if not plan or not whole or plan[0] < 2 or any(b <= a for a, b in pairwise(plan)):
        raise SettingError(
            f"looks are rising numbers of runs, the first at least 2, such as {LOOKS}; got "
            f"{looks!r}."
        )
    return tuple(int(n) for n in plan)


def _check_permutations(permutations: int, alpha: float, looks: int) -> None:
    whole = isinstance(permutations, int) and not isinstance(permutations, bool)
    if not whole or permutations < 100 or alpha / looks * (permutations + 1) < 1.0:
        raise SettingError(
            "permutations must be a whole number of at least 100, and so many that a share "
            f"{alpha / looks:.2g} of them is one or more; got {permutations!r}."
        )
