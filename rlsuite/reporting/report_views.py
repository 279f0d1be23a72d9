"""Records to what the report's template shows: plain values, already in words and order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlsuite.records import RunRecord
from rlsuite.reporting.axes import Reference
from rlsuite.reporting.boards import Leaderboard, Quantity, Row, TaskCell
from rlsuite.reporting.curves import learning_series, regret_series, run_dots
from rlsuite.reporting.formatting import interval_text, number, seconds_text
from rlsuite.reporting.plots import interval_bar, line_chart
from rlsuite.reporting.strips import strip_chart
from rlsuite.reporting.tables import (
    cell_text,
    main_heading,
    main_text,
    quantities,
    quantity_name,
    rank_text,
    runs_text,
)

__all__ = [
    "Cell",
    "board_views",
    "failure_views",
    "machine_view",
    "note_views",
    "run_rows",
    "setting_views",
    "task_views",
    "time_rows",
]

METRICS = {
    "final_return": "scored by the return of the policy after training",
    "learning_regret": "scored by the regret summed while learning",
    "objective": "scored by E[r] − β KL(π ‖ reference) of the policy after training",
    "value_error": "scored by the error of the predicted values",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: what is read, what it sorts by, a second line, a drawing (safe SVG)."""

    text: str
    sort: float | str | None = None
    sub: str = ""
    drawing: str = ""
    kind: str = "number"


def styles_of(board: Leaderboard) -> dict[str, int]:
    """A style for each agent of a family, the same in all of its drawings."""
    return {agent: index for index, agent in enumerate(sorted(row.agent for row in board.rows))}


def board_views(boards: Sequence[Leaderboard]) -> list[dict[str, Any]]:
    """Each leaderboard as headings and rows of cells."""
    return [
        {
            "family": board.family,
            "anchor": f"board-{index}",
            "tasks": board.tasks,
            "columns": _board_columns(board),
            "rows": [_board_row(board, row) for row in board.rows],
            "notes": board.notes,
        }
        for index, board in enumerate(boards)
    ]


def _board_columns(board: Leaderboard) -> list[tuple[str, str]]:
    """Headings as (name, kind)."""
    columns = [("#", "rank"), ("agent", "text")]
    if board.aggregate_tasks:
        columns += [(main_heading(board), "main"), ("", "drawing")]
    if len(board.tasks) == 1:
        columns += [(quantity_name(board, name), "number") for name in _side(board)]
    else:
        columns += [(task, "number") for task in board.tasks]
    return [*columns, ("runs", "number")]


def _side(board: Leaderboard) -> list[Quantity]:
    return [name for name in quantities(board, 0) if name != board.main]


def _board_row(board: Leaderboard, row: Row) -> list[Cell]:
    cells = [
        Cell(rank_text(row), row.rank, kind="rank"),
        Cell(
            row.agent, row.agent.casefold(), row.agent_id * (row.agent_id != row.agent), "", "text"
        ),
    ]
    if board.aggregate_tasks:
        estimate = row.aggregate.estimate if row.aggregate else None
        cells.append(Cell(main_text(row, board.main), estimate, kind="main"))
        cells.append(Cell("", estimate, "", _bar(board, row), "drawing"))
    if len(board.tasks) == 1:
        cells += [_figure(row.cells[0], name) for name in _side(board)]
    else:
        first = [quantities(board, index)[0] for index in range(len(board.tasks))]
        cells += [
            _figure(cell, name, _beside(board, cell, name))
            for cell, name in zip(row.cells, first, strict=True)
        ]
    return [*cells, Cell(runs_text(row), row.runs)]


def _figure(cell: TaskCell | None, name: Quantity, sub: str = "") -> Cell:
    interval = cell.quantity(name) if cell else None
    return Cell(cell_text(cell, name), interval.estimate if interval else None, sub)


def _beside(board: Leaderboard, cell: TaskCell | None, shown: Quantity) -> str:
    """The second line of a figure: score beside regret, and how many runs."""
    if cell is None:
        return ""
    parts = []
    if cell.regret is not None and shown != "regret":
        parts.append(f"regret {number(cell.regret.estimate)}")
    elif cell.returns is not None and shown != "return":
        parts.append(f"{quantity_name(board, 'return')} {number(cell.returns.estimate)}")
    return " · ".join([*parts, f"{runs_text(cell)} runs"])


def _bar(board: Leaderboard, row: Row) -> str:
    """The main figure as a mark on an axis that all agents of the board share."""
    if row.aggregate is None or board.aggregate == "average rank":
        return ""
    known = [r.aggregate for r in board.rows if r.aggregate is not None]
    values = [i.estimate for i in known]
    ends = [v for i in known for v in (i.low, i.high) if v is not None]
    reach = max(max(values) - min(values), 1e-9)
    low = max(min([*values, *ends]), min(values) - reach)
    high = min(max([*values, *ends]), max(values) + reach)
    optimum = {"score": 1.0, "regret": 0.0}.get(board.main)
    if optimum is not None:
        low, high = min(low, optimum), max(high, optimum)
    margin = 0.04 * (high - low) or 0.5
    style = styles_of(board)[row.agent]
    return interval_bar(row.aggregate, style, low - margin, high + margin, optimum)


def task_views(boards: Sequence[Leaderboard], records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Each task with its charts and a table of every figure, in the order of the boards."""
    views: list[dict[str, Any]] = []
    for board in boards:
        for index, task in enumerate(board.tasks):
            mine = [record for record in records if record.task == task]
            ident = f"task-{len(views)}"
            views.append(
                {
                    "task": task,
                    "family": board.family,
                    "anchor": ident,
                    "facts": _facts(mine),
                    "charts": _charts(board, task, mine, ident),
                    **_figures(board, index, _constants(mine)),
                }
            )
    return views


def _facts(records: Sequence[RunRecord]) -> str:
    """One sentence on how the task is scored and what is known of it."""
    first = records[0]
    parts = [METRICS.get(first.metric, f"scored by {first.metric}")]
    parts += [f"{r.label} {number(r.value)}" for r in _references(records)]
    parts += [f"{k.replace('_', ' ')} {number(v)}" for k, v in _constants(records).items()]
    if not any(r.optimal_return is not None for r in records):
        parts.append("no answer key")
    if first.env_id != first.task:
        parts.append(f"environment {first.env_id}")
    return "; ".join(parts)


def _constants(records: Sequence[RunRecord]) -> dict[str, float]:
    """Metrics that are the same in all of several runs: they describe the task, not the agents."""
    done = [record for record in records if record.state == "ok"]
    if len(done) < 2:
        return {}
    found = {name: {record.metrics.get(name) for record in done} for name in done[0].metrics}
    return {n: v for n, values in sorted(found.items()) if (v := _only(values)) is not None}


def _only(values: set[float | None]) -> float | None:
    return next(iter(values)) if len(values) == 1 else None


def _references(records: Sequence[RunRecord]) -> list[Reference]:
    """The optimum and the baseline, where all runs agree on them."""
    found = []
    for label, name in (("optimal", "optimal_return"), ("baseline", "baseline_return")):
        values = {v for r in records if (v := getattr(r, name)) is not None}
        if len(values) == 1:
            found.append(Reference(label, float(values.pop())))
    return found


def _charts(
    board: Leaderboard, task: str, records: Sequence[RunRecord], ident: str
) -> list[dict[str, str]]:
    styles = styles_of(board)
    order = [row.agent for row in board.rows if any(r.agent == row.agent for r in records)]
    references = _references(records)
    while_learning = any(record.metric == "learning_regret" for record in records)
    name = quantity_name(board, "return")
    charts = []
    learning = _in_order(learning_series(records, styles), order)
    if learning:
        charts.append(
            {
                "caption": "Learning curve",
                "svg": line_chart(
                    learning,
                    ident=f"{ident}-learning",
                    title=f"Learning curves on {task}",
                    description=_describe(learning, f"mean {name} of the policy"),
                    x_label="environment steps",
                    y_label=name,
                    references=references,
                ),
            }
        )
    regrets = _in_order(regret_series(records, styles), order)
    if regrets:
        what = "cumulative regret while learning" if while_learning else "regret of the policy"
        charts.append(
            {
                "caption": what.capitalize(),
                "svg": line_chart(
                    regrets,
                    ident=f"{ident}-regret",
                    title=f"Regret on {task}",
                    description=_describe(regrets, f"mean {what}"),
                    x_label="environment steps",
                    y_label="regret" if while_learning else "regret (0 is optimal)",
                ),
            }
        )
    return charts + _dots(task, records, order, styles, ident, while_learning, name)


def _dots(
    task: str,
    records: Sequence[RunRecord],
    order: Sequence[str],
    styles: Mapping[str, int],
    ident: str,
    while_learning: bool,
    name: str,
) -> list[dict[str, str]]:
    shown = while_learning and any(record.regret is not None for record in records)
    lines = run_dots(records, order, styles, "regret" if shown else "mean_return")
    if not any(line.points for line in lines):
        return []
    drawn = strip_chart(
        lines,
        ident=f"{ident}-runs",
        title=f"Every run on {task}",
        description="One dot for each run; the line is the mean, the bar its 95% interval.",
        x_label="regret" if shown else name,
        references=() if shown else _references(records),
    )
    return [{"caption": "Every run", "svg": drawn}]


def _in_order(series: list[Any], order: Sequence[str]) -> list[Any]:
    return sorted(series, key=lambda s: order.index(s.label))


def _describe(series: Sequence[Any], what: str) -> str:
    ends = ", ".join(f"{s.label} {number(float(s.y[-1]))}" for s in series)
    return f"The {what} over runs, with 95% bands (Student's t). At the end: {ends}."


def _figures(board: Leaderboard, index: int, constants: Mapping[str, float]) -> dict[str, Any]:
    """The table below the charts of a task."""
    rows = [(row, cell) for row in board.rows if (cell := row.cells[index]) is not None]
    names = quantities(board, index)
    metrics = sorted({name for _, cell in rows for name in cell.metrics} - set(constants))
    headings = ["agent", *[quantity_name(board, name) for name in names], *metrics]
    body = [
        [
            Cell(row.agent, row.agent.casefold(), kind="text"),
            *[_figure(cell, name) for name in names],
            *[_metric(cell, name) for name in metrics],
            Cell(runs_text(cell), cell.runs),
            Cell(" or ".join(f"{b:,}" for b in cell.budgets), cell.budgets[0]),
            Cell(cell.method or "–", cell.method, kind="text"),
        ]
        for row, cell in rows
    ]
    columns = [(h, "text" if h == "agent" else "number") for h in headings]
    columns += [("runs", "number"), ("training steps", "number"), ("scored", "text")]
    return {"columns": columns, "rows": body}


def _metric(cell: TaskCell, name: str) -> Cell:
    interval = cell.metrics.get(name)
    return Cell(interval_text(interval), interval.estimate if interval else None)


RUN_COLUMNS = (
    ("task", "text"),
    ("agent", "text"),
    ("seed", "number"),
    ("return", "number"),
    ("score", "number"),
    ("regret", "number"),
    ("steps", "number"),
    ("state", "text"),
    ("seconds", "clock"),
)


def run_rows(records: Sequence[RunRecord]) -> list[list[Cell]]:
    """Every run, one line each; seconds stand last and apart, as they differ from day to day."""
    rows = []
    for r in records:
        seconds = r.train_seconds + r.eval_seconds
        rows.append(
            [
                Cell(r.task, r.task.casefold(), kind="text"),
                Cell(r.agent, r.agent.casefold(), kind="text"),
                Cell(str(r.seed), r.seed),
                *[Cell(number(v), v) for v in (r.mean_return, r.score, r.regret)],
                Cell(f"{r.steps_used:,}", r.steps_used),
                Cell(r.state, r.state, kind=r.state),
                Cell(f"{seconds:,.2f}", seconds, kind="clock"),
            ]
        )
    return rows


def note_views(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Each distinct note of the records, and the runs that carry it."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        for note in record.notes:
            found.setdefault(note, []).append(record)
    return [(note, _who(runs)) for note, runs in sorted(found.items())]


def _who(runs: Sequence[RunRecord]) -> str:
    """`q on GridWorld (seeds 0, 1)`, for every agent and task."""
    groups: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        groups.setdefault((run.agent, run.task), []).append(run.seed)
    return "; ".join(
        f"{agent} on {task} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})"
        for (agent, task), seeds in groups.items()
    )


def failure_views(records: Sequence[RunRecord]) -> list[dict[str, str]]:
    """Each failed run with the tail of its log."""
    return [
        {
            "name": f"{r.agent} on {r.task}, seed {r.seed}",
            "reason": _last_line(_readable(r.error)),
            "log": _readable(r.error) or "The run left no log.",
        }
        for r in records
        if r.state != "ok"
    ]


def _readable(log: str) -> str:
    """A log without terminal colours and without characters that HTML does not know."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", log)
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", plain)


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "no log"


def setting_views(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The settings of each agent; those that differ between its tasks stand once for each."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for r in records:
        text = json.dumps(dict(r.settings), sort_keys=True, default=str)
        tasks = found.setdefault((r.agent, r.agent_id), {}).setdefault(text, [])
        if r.task not in tasks:
            tasks.append(r.task)
    return [
        {
            "agent": agent,
            "agent_id": agent_id,
            "variants": [
                {
                    "tasks": ", ".join(tasks) if len(variants) > 1 else "",
                    "settings": [(k, _plain(v)) for k, v in json.loads(text).items()],
                }
                for text, tasks in variants.items()
            ],
        }
        for (agent, agent_id), variants in sorted(found.items())
    ]


def machine_view(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Versions and machines: a column for each distinct fingerprint, most runs first."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        text = json.dumps(dict(record.fingerprint), sort_keys=True, default=str)
        found.setdefault(text, []).append(record)
    prints = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    flat = [_flat(json.loads(text)) for text, _ in prints]
    keys = sorted({key for one in flat for key in one})
    started = sorted(record.started_at for record in records if record.started_at)
    return {
        "heads": [f"{len(runs)} run{'s' * (len(runs) != 1)}" for _, runs in prints],
        "rows": [
            {
                "key": key,
                "values": [one.get(key, "–") for one in flat],
                "differs": len({one.get(key) for one in flat}) > 1,
            }
            for key in keys
        ],
        "started": (started[0], started[-1]) if started else None,
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys."""
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= _flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _plain(item)
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


TIME_COLUMNS = (
    ("task", "text"),
    ("agent", "text"),
    ("training, mean", "number"),
    ("shortest", "number"),
    ("longest", "number"),
    ("evaluation, mean", "number"),
    ("steps a second", "number"),
)


def time_rows(records: Sequence[RunRecord]) -> list[list[Cell]]:
    """Wall-clock time of finished runs for each task and agent."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        if record.state == "ok":
            groups.setdefault((record.task, record.agent), []).append(record)
    rows = []
    for (task, agent), mine in groups.items():
        training = [record.train_seconds for record in mine]
        evaluation = sum(record.eval_seconds for record in mine) / len(mine)
        total = sum(training)
        rate = sum(record.steps_used for record in mine) / total if total > 0 else None
        mean = total / len(mine)
        rows.append(
            [
                Cell(task, task.casefold(), kind="text"),
                Cell(agent, agent.casefold(), kind="text"),
                *[Cell(seconds_text(v), v) for v in (mean, min(training), max(training))],
                Cell(seconds_text(evaluation), evaluation),
                Cell(f"{rate:,.0f}" if rate else "–", rate),
            ]
        )
    return rows
