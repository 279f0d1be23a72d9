"""When enough runs have been made: a test that may be looked at again and again.

Looking at an ordinary test after every few seeds, and stopping when it says so, finds differences
that are not there far more often than it says. This one is made for it: all its looks together,
over all pairs of agents, find one that is not there with probability 1 - level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from registry.seeding import check_seed
from rlsuite.statistics.resampling import key_of, member_of
from rlsuite.statistics.scores import Floats, check_level, check_same_tasks

__all__ = ["LOOKS", "MOST_AGENTS", "PairDecision", "SequentialDecision", "sequential_comparison"]

LOOKS = (5, 10, 15, 20, 25)
MOST_AGENTS = 12
"""Sets of agents double with every agent: 4,083 of these."""


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

    A group-sequential permutation test of every set of agents. If the agents of a set are the same,
    their runs could have been dealt out to them in any other way. The statistic is the range of
    their means (of task means), the largest |difference| of a pair, for the data and for
    relabellings of each look's runs. At look k of K the data are rejected when their range is so
    large that, of all relabellings, at most a share α_S k/K is or was rejected with them (spending
    as Lan and DeMets 1983, linear); ties are never rejected apart.

    Two agents are told apart when every set that holds both is rejected (closed testing; Marcus,
    Peritz and Gabriel 1976). A set of all agents or all but one has α_S = α, a smaller one of p of
    A agents α p/A (Ryan 1960): whatever the groups of equal agents are, their shares sum to at most
    α. Every one of these tests is exact, so all pairs and looks together find a difference between
    equal agents with probability α at most, for any number of agents, any distribution of the runs,
    and whichever other agents differ.

    The looks and the relabelling of whole groups follow AdaStop (Mathieu et al., TMLR 2024), whose
    published code compares the absolute difference with a quantile of the signed maximum and so
    errs more often than it says.

    The function is pure and has no memory: give it all runs so far, each time, in the order of
    their seeds, with the same agents, looks and seed, and it repeats its earlier decisions.

    Args:
        scores: each agent's scores so far, `[N]` or `[N, M]`, run after run; NaN is a run that
            failed. Scores of several tasks must be on one scale. Agents may have different N: runs
            beyond the last look that is complete wait for the next.
        looks: after how many runs per agent to look, rising. Fixed beforehand.
        level: 1 - α, in (0, 1).
        permutations: relabellings, at least 100. The smallest α_S times their number, over the
            number of looks, must be 1 or more, and should be well above.
        higher_is_better: whether the larger mean is the better one.
        seed: of the relabellings.

    Returns:
        The decision: which pairs are told apart, and how many more runs who needs.

    Raises:
        SettingError: fewer than two agents or more than 12, other tasks, an infinite score, an
            agent without any run of a task at the first look, or a setting outside its range.
    """
    check_level(level)
    plan = _check_looks(looks)
    tables = _tables(scores)
    _check_permutations(permutations, _share(2, len(tables), 1.0 - level) / len(plan))
    looked = {name: sum(len(x) >= n for n in plan) for name, x in tables.items()}
    columns = _columns(tables, looked, plan)
    when = _closed(columns, looked, plan, permutations, 1.0 - level, seed)
    ends = (0, *plan)
    pairs = tuple(
        _decision(
            (one, two),
            (columns[one], columns[two]),
            ends[min(looked[one], looked[two])],
            when.get(_set((one, two))),
            1.0 if higher_is_better else -1.0,
        )
        for one, two in combinations(tables, 2)
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


def _set(names: Iterable[str]) -> tuple[str, ...]:
    """A set of agents; the order in which they were given does not matter."""
    return tuple(sorted(names))


def _closed(
    columns: Mapping[str, Floats],
    looked: Mapping[str, int],
    looks: tuple[int, ...],
    permutations: int,
    alpha: float,
    seed: int,
) -> dict[tuple[str, ...], tuple[int, int]]:
    """The pairs that are told apart: after how many runs alone, and after how many in every set.

    From large sets to small ones: within a set that is not rejected nobody is told apart.
    """
    agents = _set(columns)
    rejected: dict[tuple[str, ...], int] = {}
    kept: list[set[str]] = []
    for size in range(len(agents), 1, -1):
        share = _share(size, len(agents), alpha)
        for ours in combinations(agents, size):
            if any(other.issuperset(ours) for other in kept):
                continue
            values = _by_look([columns[name] for name in ours], looks)
            ranges = np.empty((1 + permutations, min(looked[name] for name in ours)))
            _fill(ranges, values, key_of(seed, member_of("\0".join(ours))))
            look = _first_rejection(ranges, share / len(looks))
            if look is None:
                kept.append(set(ours))
            else:
                rejected[ours] = looks[look - 1]
    return {
        pair: (
            rejected[pair],
            max(runs for ours, runs in rejected.items() if set(ours).issuperset(pair)),
        )
        for pair in rejected
        if len(pair) == 2
    }


def _fill(ranges: Floats, values: Floats, key: np.uint64) -> None:
    """Ranges of the means `[rows, looks so far]`: row 0 of the data, the others of relabellings."""
    from rlsuite.statistics.kernels import relabelled_ranges

    relabelled_ranges(values, (~np.isnan(values)).sum(axis=3), key, ranges)
    # relabellings with equal means must tie, whatever the order of the sums did to the last bits
    scale = float(np.abs(values).max(initial=0.0, where=~np.isnan(values)))
    ranges[:] = np.round(ranges / (scale or 1.0), 12)


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


def _first_rejection(ranges: Floats, share: float) -> int | None:
    """The first look (1, 2, ...) at which row 0 of `ranges [rows, looks]` is rejected.

    Up to look k at most `share` times k of all rows are rejected.
    """
    rows, looks = ranges.shape
    alive = np.ones(rows, dtype=bool)
    spent = 0
    for look in range(looks):
        allowed = int(share * (look + 1) * rows + 1e-9) - spent
        among = ranges[alive, look]
        if allowed <= 0 or len(among) <= allowed:
            continue
        boundary = -np.partition(-among, allowed)[allowed]  # so many are larger, or fewer in a tie
        rejected = alive & (ranges[:, look] > boundary)
        if rejected[0]:
            return look + 1
        spent += int(rejected.sum())
        alive &= ~rejected
    return None


def _mean(x: Floats, runs: int) -> float:
    return float(np.nanmean(x[:runs], axis=0).mean())


def _decision(
    names: tuple[str, str],
    columns: tuple[Floats, Floats],
    runs: int,
    when: tuple[int, int] | None,
    sign: float,
) -> PairDecision:
    def difference(runs: int) -> float:
        return _mean(columns[0], runs) - _mean(columns[1], runs)

    better = None
    if when is not None:
        better = names[0] if sign * difference(when[0]) > 0.0 else names[1]
    return PairDecision(
        first=names[0],
        second=names[1],
        difference=difference(runs) if runs else float("nan"),
        look=None if when is None else when[1],
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
    if len(scores) > MOST_AGENTS:
        raise SettingError(
            f"the sequential test compares at most {MOST_AGENTS} agents, got {len(scores)}: leave "
            "some out, or compare groups of them."
        )
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


def _share(size: int, agents: int, alpha: float) -> float:
    """α_S of a set of `size` of the agents."""
    return alpha if size >= agents - 1 else alpha * size / agents


def _check_permutations(permutations: int, share: float) -> None:
    whole = isinstance(permutations, int) and not isinstance(permutations, bool)
    if not whole or permutations < 100 or share * (permutations + 1) < 1.0:
        raise SettingError(
            "permutations must be a whole number of at least 100, and so many that a share "
            f"{share:.2g} of them is one or more; got {permutations!r}."
        )
