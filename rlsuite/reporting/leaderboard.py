"""Records to leaderboards: one table for each family of tasks, like compared with like.

    records -> distinct_records -> leaderboards -> tables of strings -> terminal, Markdown, HTML

The aggregate of a table covers only the tasks that all of its agents ran. A failed cell stays in
the table as n/N, and an aggregate that lacks runs is marked. Every number in the terminal and in
the report is made here, so that they cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from registry.errors import SettingError
from rlsuite.records import STUDY, RunRecord, canonical_json
from rlsuite.reporting.board_notes import board_notes
from rlsuite.reporting.boards import Comparison, Leaderboard, Quantity, Row, TaskCell
from rlsuite.reporting.tables import (
    Column,
    Table,
    summary_table,
    task_table,
    terminal_tables,
    to_markdown,
)
from rlsuite.statistics import Interval, iqm, mean, student_t_interval
from rlsuite.statistics.comparison import Drawn

__all__ = [
    "Column",
    "Leaderboard",
    "Row",
    "Table",
    "TaskCell",
    "boards_of",
    "distinct_records",
    "leaderboards",
    "plan_comparison",
    "resamples_for",
    "score_table",
    "summary_table",
    "task_cell",
    "task_table",
    "terminal_tables",
    "to_markdown",
]


def leaderboards(records: Iterable[RunRecord], *, seed: int = 0) -> tuple[Leaderboard, ...]:
    """One leaderboard for each family, in the order of their names.

    Args:
        records: finished cells, in any order; the answer does not depend on it.
        seed: of the bootstrap.

    Returns:
        The boards; none for no records. Agents that appear under one name with other settings or
        budgets on the same task get rows of their own, see `distinct_records`.
    """
    return boards_of(*distinct_records(records), seed=seed)


def boards_of(
    records: Iterable[RunRecord], notes: Mapping[str, tuple[str, ...]], *, seed: int = 0
) -> tuple[Leaderboard, ...]:
    """`leaderboards` of what `distinct_records` gave."""
    families: dict[str, list[RunRecord]] = {}
    for record in records:
        families.setdefault(record.family, []).append(record)
    return tuple(
        _board(family, tuple(families[family]), notes.get(family, ()), seed)
        for family in sorted(families)
    )


def distinct_records(
    records: Iterable[RunRecord],
) -> tuple[tuple[RunRecord, ...], Mapping[str, tuple[str, ...]]]:
    """One record for each (task, agent, seed), sorted, and notes for each family.

    Where a label stands for several agents on one task (other settings, another budget), the label
    is extended by what differs: their runs are never averaged. Of several results of the same cell
    (an older version of the code or of the protocol) the one started last is kept, and a note says
    so. Blocks of studies are left out: they are no runs of a benchmark.
    """
    ordered = sorted((r for r in records if r.metric != STUDY), key=_order)
    labels = _Labels(ordered)
    latest: dict[tuple[str, str, str, int], RunRecord] = {}
    dropped: dict[str, int] = {}
    for record in ordered:
        label = labels.of(record)
        cell = (record.family, record.task, label, record.seed)
        if cell in latest:
            dropped[record.family] = dropped.get(record.family, 0) + 1
            record = max(latest[cell], record, key=_age)
        latest[cell] = record if record.agent == label else replace(record, agent=label)
    notes = {
        family: (
            f"{count} older {'result' if count == 1 else 'results'} of the same cells (another "
            "version of the code or the protocol) left out.",
        )
        for family, count in dropped.items()
    }
    return tuple(latest[cell] for cell in sorted(latest)), notes


def _order(record: RunRecord) -> tuple[str, str, str, int]:
    return (record.family, record.task, record.agent, record.seed)


def _age(record: RunRecord) -> tuple[str, str]:
    """What was started last is the largest; the digest settles the rest."""
    return (record.started_at, record.key.digest)


Identity = tuple[str, str, str, str, int]


class _Labels:
    """Longer labels for those that stand for more than one agent on the same task."""

    def __init__(self, records: list[RunRecord]) -> None:
        self._texts: dict[str, str] = {}
        self._longer: dict[Identity, str] = {}
        same_name: dict[tuple[str, str], dict[Identity, RunRecord]] = {}
        for record in records:
            group = same_name.setdefault((record.family, record.agent), {})
            group[self._identity(record)] = record
        for group in same_name.values():
            self._longer |= _longer_labels(group)

    def of(self, record: RunRecord) -> str:
        """The agent's name, longer where it alone would mislead."""
        if not self._longer:
            return record.agent
        return self._longer.get(self._identity(record), record.agent)

    def _identity(self, record: RunRecord) -> Identity:
        """What must agree for two runs to be averaged."""
        as_given = repr(record.settings)  # many runs share their settings, and JSON is slow
        settings = self._texts.get(as_given)
        if settings is None:
            settings = self._texts[as_given] = canonical_json(record.settings)
        return (record.task, record.agent, record.agent_id, settings, record.total_timesteps)


def _longer_labels(group: Mapping[Identity, RunRecord]) -> dict[Identity, str]:
    """Of all that one label stands for in a family; none where it is clear."""
    count = Counter(identity[0] for identity in group)
    if all(number == 1 for number in count.values()):
        return {}
    clashing = [record for identity, record in group.items() if count[identity[0]] > 1]
    ids = len({r.agent_id for r in clashing}) > 1
    names = _differing_settings(clashing)
    budgets = _budgets_clash(clashing)
    labels = {}
    for identity, record in group.items():
        parts = [record.agent_id] if ids else []
        parts += [f"{name}={record.settings.get(name, 'default')}" for name in names]
        parts += [f"{record.total_timesteps:,} steps"] if budgets else []
        labels[identity] = f"{record.agent} ({', '.join(parts)})"
    return labels


def _differing_settings(records: list[RunRecord]) -> list[str]:
    names = {name for record in records for name in record.settings}
    return sorted(
        name
        for name in names
        if len({canonical_json(record.settings.get(name)) for record in records}) > 1
    )


def _budgets_clash(records: list[RunRecord]) -> bool:
    budgets: dict[str, set[int]] = {}
    for record in records:
        budgets.setdefault(record.task, set()).add(record.total_timesteps)
    return any(len(found) > 1 for found in budgets.values())


def _board(
    family: str, records: tuple[RunRecord, ...], notes: tuple[str, ...], seed: int
) -> Leaderboard:
    tasks = tuple(sorted({record.task for record in records}))
    by_cell: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        by_cell.setdefault((record.agent, record.task), []).append(record)
    agents = sorted({record.agent for record in records})
    cells = {key: task_cell(tuple(found)) for key, found in by_cell.items()}
    plan = plan_comparison(tasks, agents, by_cell)
    drawn = _drawn(agents, by_cell, plan, seed, resamples_for(len(records)))
    rows = [_row(agent, tasks, by_cell, cells, plan, drawn) for agent in agents]
    if plan.name == "average rank":
        rows = _with_average_ranks(rows, plan)
    rows = _ranked(rows, plan.ascending)
    return Leaderboard(
        family=family,
        tasks=tasks,
        rows=tuple(rows),
        notes=(*board_notes(rows, tasks, records, plan), *notes),
        aggregate=plan.name,
        aggregate_tasks=plan.tasks,
        main=plan.quantity,
        ascending=plan.ascending,
        objective=all(record.metric == "objective" for record in records),
        drawn=drawn,
    )


def task_cell(records: tuple[RunRecord, ...]) -> TaskCell:
    """The cell of one agent on one task, from all its runs there.

    Raises:
        SettingError: no records.
    """
    if not records:
        raise SettingError("a cell needs at least one record, got none.")
    done = [record for record in records if record.state == "ok"]
    methods = {record.method for record in done}
    names = sorted({name for record in done for name in record.metrics})
    metrics = {
        name: interval
        for name in names
        if (interval := _interval([r.metrics.get(name) for r in done])) is not None
    }
    return TaskCell(
        task=records[0].task,
        runs=len(done),
        planned=len(records),
        states=Counter(record.state for record in records if record.state != "ok"),
        returns=_interval([record.mean_return for record in done]),
        score=_interval([record.score for record in done]),
        regret=_interval([record.regret for record in done]),
        metrics=metrics,
        method="mixed" if len(methods) > 1 else "".join(methods),
        budgets=tuple(sorted({record.total_timesteps for record in records})),
    )


def _interval(values: list[float | None]) -> Interval | None:
    """Mean and t interval of what is there, or None."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    return student_t_interval(known) if known else None


def plan_comparison(
    tasks: tuple[str, ...],
    agents: list[str],
    by_cell: Mapping[tuple[str, str], list[RunRecord]],
) -> Comparison:
    """Which figure ranks the agents, and over which tasks; `by_cell` is by agent and task."""
    common = tuple(t for t in tasks if all((agent, t) in by_cell for agent in agents))
    ok = {t: [r for a in agents for r in by_cell.get((a, t), ()) if r.state == "ok"] for t in tasks}
    scored = tuple(t for t in common if any(r.score is not None for r in ok[t]))
    if len(scored) >= 2:
        binary = [t for t in scored if all(r.score in (0.0, 1.0, None) for r in ok[t])]
        if len(scored) - len(binary) >= 2:
            return Comparison("IQM score", scored, "score", False, iqm)
        return Comparison("mean score", scored, "score", False, mean)
    if len(common) > 1 and not scored:
        return Comparison("average rank", common, "return", True, None)
    if not common:
        quantity: Quantity = "score" if any(_has_score(ok[t]) for t in tasks) else "return"
        return Comparison("no common task", (), quantity, False, None)
    return _one_task_plan((scored or common)[0], ok)


def _has_score(records: list[RunRecord]) -> bool:
    return any(record.score is not None for record in records)


def _one_task_plan(task: str, ok: Mapping[str, list[RunRecord]]) -> Comparison:
    """One task: Student's t on its runs, never the IQM."""
    records = ok[task]
    if records and all(r.metric == "learning_regret" and r.regret is not None for r in records):
        return Comparison("regret", (task,), "regret", True, None)
    if _has_score(records):
        return Comparison("score", (task,), "score", False, None)
    objective = bool(records) and all(record.metric == "objective" for record in records)
    return Comparison("objective" if objective else "return", (task,), "return", False, None)


def _row(
    agent: str,
    tasks: tuple[str, ...],
    by_cell: Mapping[tuple[str, str], list[RunRecord]],
    cells: Mapping[tuple[str, str], TaskCell],
    plan: Comparison,
    drawn: Drawn | None,
) -> Row:
    mine = tuple(cells.get((agent, task)) for task in tasks)
    ids = {r.agent_id for task in tasks for r in by_cell.get((agent, task), ())}
    counted = [cells[agent, task] for task in plan.tasks]
    return Row(
        rank=None,
        tied=False,
        agent=agent,
        agent_id=", ".join(sorted(ids)),
        cells=mine,
        aggregate=_aggregate(agent, counted, plan, drawn),
        incomplete=any(cell.runs < cell.planned for cell in counted),
        runs=sum(cell.runs for cell in mine if cell),
        planned=sum(cell.planned for cell in mine if cell),
    )


def _aggregate(
    agent: str, counted: list[TaskCell], plan: Comparison, drawn: Drawn | None
) -> Interval | None:
    """The figure that ranks; None where a task of it has no finished run of this agent."""
    if plan.statistic is None:
        return counted[0].quantity(plan.quantity) if len(counted) == 1 else None
    return drawn.interval(agent) if drawn is not None and agent in drawn.arms else None


def _drawn(
    agents: Sequence[str],
    by_cell: Mapping[tuple[str, str], list[RunRecord]],
    plan: Comparison,
    seed: int,
    resamples: int,
) -> Drawn | None:
    """The scores of those agents that have a finished run on every task of the aggregate."""
    if plan.statistic is None:
        return None
    tables = {a: score_table([by_cell[a, t] for t in plan.tasks], plan.quantity) for a in agents}
    known = {a: x for a, x in tables.items() if not np.isnan(x).all(axis=0).any()}
    return Drawn.make(known, plan.statistic, seed=seed, resamples=resamples) if known else None


def resamples_for(cells: int) -> int:
    """Resamples of a family's intervals: 50,000 up to 1,000 cells, then fewer, at least 2,000.

    So the work stays the same from 1,000 to 25,000 cells. The ends of an interval from 2,000
    resamples are off by about 2% of its width.
    """
    return min(50_000, max(2_000, 50_000_000 // max(cells, 1)))


def score_table(tasks: Sequence[Sequence[RunRecord]], quantity: Quantity) -> np.ndarray:
    """Figures of one agent, `[N, M]`: runs of each task in the order given, NaN for none."""
    field = {"score": "score", "regret": "regret", "return": "mean_return"}[quantity]
    x = np.full((max(map(len, tasks)), len(tasks)), np.nan)
    for column, records in enumerate(tasks):
        values = [getattr(record, field) for record in records]
        x[: len(values), column] = [np.nan if value is None else value for value in values]
    return x


def _with_average_ranks(rows: list[Row], plan: Comparison) -> list[Row]:
    """Without scores, returns of several tasks have no common scale; places in each task do."""
    places: dict[str, list[float]] = {row.agent: [] for row in rows}
    for task in plan.tasks:
        found = {row.agent: _estimate_on(row, task) for row in rows}
        for agent, value in found.items():
            if value is None:
                continue
            known = [v for v in found.values() if v is not None]
            better = sum(v > value for v in known)
            places[agent].append(better + (sum(v == value for v in known) + 1) / 2)
    return [replace(row, aggregate=_average(places[row.agent], len(plan.tasks))) for row in rows]


def _estimate_on(row: Row, task: str) -> float | None:
    for cell in row.cells:
        if cell is not None and cell.task == task and cell.returns is not None:
            return cell.returns.estimate
    return None


def _average(places: list[float], tasks: int) -> Interval | None:
    if len(places) < tasks:
        return None
    return Interval(
        estimate=float(np.mean(places)),
        low=None,
        high=None,
        method="average rank",
        level=0.95,
        n=len(places),
    )


def _ranked(rows: list[Row], ascending: bool) -> list[Row]:
    """Best first; equal figures share a rank; who has none comes last, by name."""
    sign = 1.0 if ascending else -1.0
    keyed = [
        (float(f"{sign * row.aggregate.estimate:.9g}"), row)
        for row in rows
        if row.aggregate is not None
    ]
    keyed.sort(key=lambda pair: (pair[0], pair[1].agent))
    values = [key for key, _ in keyed]
    ranked = [
        replace(row, rank=1 + values.index(key), tied=values.count(key) > 1) for key, row in keyed
    ]
    return ranked + [row for row in rows if row.aggregate is None]
