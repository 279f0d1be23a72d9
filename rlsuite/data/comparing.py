"""Two sets of results beside each other: what changed, by how much, and how sure that is.

Differences are always B minus A. Each row of one task is the mean over runs. Where both sides have
the same seeds, pairs of runs are kept together (`paired-t`): those of one agent in two results,
which share their random streams, and those of two agents if each pair was scored on the same
episodes. Elsewhere the interval is Welch's. Rows over several tasks aggregate as leaderboards do.
The p-values of all rows are corrected together by Holm's procedure: a row is clear if its own
difference stands after that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from registry.errors import SettingError
from rlsuite.data.sides import Side, two_sides
from rlsuite.records import RunRecord, canonical_json
from rlsuite.reporting.boards import Comparison, Quantity
from rlsuite.reporting.leaderboard import plan_comparison
from rlsuite.statistics import Interval, holm, mean, probability_of_improvement
from rlsuite.statistics.differences import Arm, Difference
from rlsuite.statistics.paired import paired_difference

__all__ = ["CellName", "Compared", "Row", "Verdict", "compare", "compare_sides"]

CellName = tuple[str, str, int]
"""Task, agent, seed. Between two agents of one store the agent is left out: it is `""`."""

Verdict = Literal["better", "worse", "unclear", "equal", "no interval"]
RESAMPLES = 10_000
LEVEL = 0.95
SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One task, or several of them (`tasks`), of one agent in both results, or of both agents.

    Attributes:
        family: the tasks' family.
        tasks: one id, or those that the aggregate covers.
        agent: the label; empty between two agents.
        quantity: what is compared, such as `"score"`, `"regret"` or `"IQM score"`.
        a: the figure of A; `b` that of B.
        b: see `a`.
        runs: finished runs of A and of B.
        failed: failed runs of A and of B.
        paired: whether runs were compared pair by pair.
        difference: b - a, with the interval of this difference alone.
        improvement: the probability that a run of B is better than a run of A.
        p_holm: the p-value of "no difference", corrected for all rows; None without an interval.
        verdict: what that says of B.
    """

    family: str
    tasks: tuple[str, ...]
    agent: str
    quantity: str
    a: float
    b: float
    runs: tuple[int, int]
    failed: tuple[int, int]
    paired: bool
    difference: Interval
    improvement: Interval
    p_holm: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """What `compare` found.

    Attributes:
        a: the name of one side; `b` that of the other.
        b: see `a`.
        agents: whether these are two agents of one store, and not two results.
        common: cells that both have.
        identical: how many of them agree to the last bit in every figure.
        only_a: cells of A alone; `only_b` those of B.
        only_b: see `only_a`.
        rows: one for each task and agent, by family, task and agent; aggregates of a family last.
        differing: what is not the same in the settings, code, versions and machines of the common
            cells, a sentence each.
        uncompared: common cells without a figure on one of the sides, a sentence each.
    """

    a: str
    b: str
    agents: bool
    common: int
    identical: int
    only_a: tuple[CellName, ...]
    only_b: tuple[CellName, ...]
    rows: tuple[Row, ...]
    differing: tuple[str, ...]
    uncompared: tuple[str, ...]


def compare(a: str, b: str, store: Path | None = None) -> Compared:
    """Compares two stores, or two agents or two suites of one store; runs nothing.

    Args:
        a: before, or the agent to be beaten.
        b: after, or the other agent.
        store: where agents and suites are looked up; None is `results/rlsuite.sqlite`.

    Raises:
        SettingError: nothing to compare, or two things of different kinds.
        StoreError: a store cannot be read.
    """
    one, two, agents = two_sides(a, b, store)
    return compare_sides(one, two, agents=agents)


def compare_sides(one: Side, two: Side, *, agents: bool = False) -> Compared:
    """Compares two sides; with `agents` the labels of the agents do not have to agree.

    Raises:
        SettingError: they have nothing in common.
    """
    left, right = _by_name(one, agents), _by_name(two, agents)
    pairs = [(left[name], right[name]) for name in sorted(left.keys() & right.keys())]
    groups = _groups(one, two, agents)
    if not groups:
        raise SettingError(
            f"{one.name} and {two.name} have no task{'' if agents else ' and agent'} in common: "
            "there is nothing to compare."
        )
    drafts = [_draft(group) for group in (*groups, *_aggregates(groups))]
    return Compared(
        a=one.name,
        b=two.name,
        agents=agents,
        common=len(pairs),
        identical=sum(one.results[a.key.digest] == two.results[b.key.digest] for a, b in pairs),
        only_a=tuple(sorted(left.keys() - right.keys())),
        only_b=tuple(sorted(right.keys() - left.keys())),
        rows=_rows([draft for draft in drafts if isinstance(draft, _Draft)]),
        differing=tuple(_differing(pairs, agents)),
        uncompared=tuple(draft for draft in drafts if isinstance(draft, str)),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """The runs of both sides on some tasks of one family, `runs[side][task]`."""

    family: str
    agent: str
    runs: tuple[Mapping[str, Sequence[RunRecord]], Mapping[str, Sequence[RunRecord]]]
    plan: Comparison
    pairs: bool  # runs of the same seed belong together


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row before its p-value is corrected. `values`: `[N, M]` of A and of B."""

    group: _Group
    values: tuple[Any, Any]
    paired: bool
    difference: Difference
    equal: bool


def _by_name(side: Side, agents: bool) -> dict[CellName, RunRecord]:
    return {
        (task, "" if agents else agent, seed): record
        for (_, task, agent, seed), record in side.records.items()
    }


def _groups(one: Side, two: Side, agents: bool) -> list[_Group]:
    """One for each task, and agent, that both sides have."""
    found = [_by_task(side, agents) for side in (one, two)]
    groups = []
    for name in sorted(found[0].keys() & found[1].keys()):
        family, task, agent = name
        runs = {task: found[0][name]}, {task: found[1][name]}
        episodes = _episodes(one, found[0][name])
        same = bool(episodes) and episodes == _episodes(two, found[1][name])
        groups.append(_Group(family, agent, runs, _plan(runs), same or not agents))
    return groups


def _by_task(side: Side, agents: bool) -> dict[tuple[str, str, str], list[RunRecord]]:
    found: dict[tuple[str, str, str], list[RunRecord]] = {}
    for (family, task, agent, _), record in sorted(side.records.items()):
        found.setdefault((family, task, "" if agents else agent), []).append(record)
    return found


def _episodes(side: Side, records: Iterable[RunRecord]) -> dict[int, str]:
    """A hash of the episodes of every finished run, by seed; none if one was scored without any."""
    hashes = {r.seed: side.episodes[r.key.digest] for r in records if r.state == "ok"}
    return hashes if all(hashes.values()) else {}


def _plan(runs: Sequence[Mapping[str, Sequence[RunRecord]]]) -> Comparison:
    by_cell = {
        (name, task): list(records)
        for name, side in zip("AB", runs, strict=True)
        for task, records in side.items()
    }
    return plan_comparison(tuple(runs[0]), ["A", "B"], by_cell)


def _aggregates(groups: Sequence[_Group]) -> list[_Group]:
    """One for each family, and agent, that has scores of both sides on several tasks."""
    scored: dict[tuple[str, str], list[_Group]] = {}
    for group in groups:
        if all(_values(records, "score") for side in group.runs for records in side.values()):
            scored.setdefault((group.family, group.agent), []).append(group)
    found = []
    for (family, agent), several in scored.items():
        runs = tuple({t: r for g in several for t, r in g.runs[side].items()} for side in (0, 1))
        plan = _plan(runs)
        if plan.statistic is not None:
            found.append(_Group(family, agent, (runs[0], runs[1]), plan, False))
    return found


def _draft(group: _Group) -> _Draft | str:
    """The difference, or a sentence on why there is none."""
    quantity = group.plan.quantity
    known = [[_values(side[t], quantity) for t in group.plan.tasks] for side in group.runs]
    for name, columns in zip("AB", known, strict=True):
        if not all(columns):
            where = f"{group.agent} on {group.plan.tasks[0]}".removeprefix(" on ")
            return f"{where}: no finished run of {name} has a {quantity}."
    paired = group.pairs and len(group.plan.tasks) == 1 and known[0][0].keys() == known[1][0].keys()
    a, b = (_table(columns) for columns in known)
    if paired:
        difference = paired_difference(b[:, 0], a[:, 0])
    else:
        statistic = group.plan.statistic or mean
        arms = Arm.make("B", b, statistic), Arm.make("A", a, statistic)
        difference = Difference.make(*arms, statistic, "auto", 0, RESAMPLES)
    return _Draft(group, (a, b), paired, difference, known[0] == known[1] or _constant(a, b))


def _values(records: Iterable[RunRecord], quantity: Quantity) -> dict[int, float]:
    """The known figures of finished runs, by seed."""
    name = "mean_return" if quantity == "return" else quantity
    found = {r.seed: getattr(r, name) for r in records if r.state == "ok"}
    return {s: float(v) for s, v in sorted(found.items()) if v is not None and np.isfinite(v)}


def _table(columns: Sequence[Mapping[int, float]]) -> Any:
    """`[N, M]`, runs in the order of their seeds, NaN below the end of a shorter column."""
    table = np.full((max(map(len, columns)), len(columns)), np.nan)
    for task, column in enumerate(columns):
        table[: len(column), task] = list(column.values())
    return table


def _constant(a: Any, b: Any) -> bool:
    """Whether all runs of both sides agree on every task, but for what rounding leaves."""
    both = np.concatenate([a, b])
    spread = np.nanmax(both, axis=0) - np.nanmin(both, axis=0)
    return bool((spread <= 1e-12 * np.nanmax(np.abs(both), axis=0)).all())


def _rows(drafts: Sequence[_Draft]) -> tuple[Row, ...]:
    p_values = [None if draft.equal else draft.difference.p_value() for draft in drafts]
    corrected = iter(holm([p for p in p_values if p is not None]))
    return tuple(
        _row(draft, None if p is None else next(corrected))
        for draft, p in zip(drafts, p_values, strict=True)
    )


def _row(draft: _Draft, p_holm: float | None) -> Row:
    group, (a, b) = draft.group, draft.values
    plan = group.plan
    sign = -1.0 if plan.ascending else 1.0
    statistic = plan.statistic or mean
    counts = [_counts(side, plan.tasks) for side in group.runs]
    interval = draft.difference.interval(LEVEL)
    return Row(
        family=group.family,
        tasks=plan.tasks,
        agent=group.agent,
        quantity=plan.name,
        a=float(statistic(a[None])[0]),
        b=float(statistic(b[None])[0]),
        runs=(counts[0][0], counts[1][0]),
        failed=(counts[0][1], counts[1][1]),
        paired=draft.paired,
        difference=interval,
        improvement=probability_of_improvement(sign * b, sign * a),
        p_holm=p_holm,
        verdict="equal" if draft.equal else _verdict(sign * interval.estimate, p_holm),
    )


def _counts(side: Mapping[str, Sequence[RunRecord]], tasks: Iterable[str]) -> tuple[int, int]:
    states = [record.state == "ok" for task in tasks for record in side[task]]
    return sum(states), len(states) - sum(states)


def _verdict(gain: float, p_holm: float | None) -> Verdict:
    if p_holm is None:
        return "no interval"
    if p_holm > 1.0 - LEVEL:
        return "unclear"
    return "better" if gain > 0 else "worse"


def _differing(pairs: Iterable[tuple[RunRecord, RunRecord]], agents: bool) -> Iterable[str]:
    """What differs in identities and fingerprints, with the number of cells it concerns."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for a, b in pairs:
        one, two = _described(a, agents), _described(b, agents)
        for name in sorted(one.keys() | two.keys()):
            values = one.get(name, "nothing"), two.get(name, "nothing")
            if values[0] != values[1]:
                found.setdefault(name, Counter())[values] += 1
    for name, changes in sorted(found.items()):
        shown = [f"{a} in A, {b} in B ({n:,})" for (a, b), n in changes.most_common(SHOWN)]
        more = f"; and {len(changes) - SHOWN:,} other changes" if len(changes) > SHOWN else ""
        yield f"{name}: {'; '.join(shown)}{more}"


def _described(record: RunRecord, agents: bool) -> dict[str, str]:
    """What a result depends on, flat; between agents without what is the agents' own."""
    identity = {k: v for k, v in record.key.identity.items() if k != "seed"}
    if agents:
        identity = {k: v for k, v in identity.items() if k not in ("agent", "settings")}
    return dict(_flat({**identity, "fingerprint": record.fingerprint}))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _short(item)


def _short(value: Any) -> str:
    """As JSON, hashes by their first 12 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", canonical_json(value))
