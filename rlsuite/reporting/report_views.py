"""Leaderboards, runs and times as tables: plain values, already in words and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlsuite.records import RunRecord
from rlsuite.reporting.boards import Leaderboard, Quantity, Row, TaskCell
from rlsuite.reporting.comparing import BoardComparison
from rlsuite.reporting.formatting import number, seconds_text, short_task_names
from rlsuite.reporting.plots import interval_bar
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
    "RUN_COLUMNS",
    "TIME_COLUMNS",
    "Cell",
    "board_views",
    "figure_cell",
    "places_text",
    "run_rows",
    "styles_of",
    "time_rows",
]


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


def board_views(
    boards: Sequence[Leaderboard], compared: Sequence[BoardComparison]
) -> list[dict[str, Any]]:
    """Each leaderboard as headings and rows of cells."""
    return [
        {
            "family": board.family,
            "anchor": f"board-{index}",
            "tasks": board.tasks,
            "columns": _board_columns(board),
            "rows": [_board_row(board, row, found) for row in board.rows],
            "notes": board.notes,
        }
        for index, (board, found) in enumerate(zip(boards, compared, strict=True))
    ]


def places_text(found: BoardComparison, agent: str) -> str:
    """`1–3`, the ranks that the clear differences leave an agent; empty where nothing is known."""
    compared = found.comparison
    if compared is None or all(pair.p_value is None for pair in compared.pairs):
        return ""
    if agent not in compared.places:
        return ""
    best, worst = compared.places[agent]
    return str(best) if best == worst else f"{best}–{worst}"


def _board_columns(board: Leaderboard) -> list[tuple[str, str]]:
    """Headings as (name, kind)."""
    columns = [("#", "rank"), ("may rank", "rank"), ("agent", "text")]
    if board.aggregate_tasks:
        columns += [(main_heading(board), "main"), ("", "drawing")]
    if len(board.tasks) == 1:
        columns += [(quantity_name(board, name), "number") for name in _side(board)]
    else:
        short = short_task_names(board.tasks)
        columns += [(short[task], "number") for task in board.tasks]
    return [*columns, ("runs", "number")]


def _side(board: Leaderboard) -> list[Quantity]:
    return [name for name in quantities(board, 0) if name != board.main]


def _board_row(board: Leaderboard, row: Row, found: BoardComparison) -> list[Cell]:
    may = places_text(found, row.agent)
    cells = [
        Cell(rank_text(row), row.rank, kind="rank"),
        Cell(may or "–", float(may.partition("–")[0]) if may else None, kind="rank"),
        Cell(
            row.agent, row.agent.casefold(), row.agent_id * (row.agent_id != row.agent), "", "text"
        ),
    ]
    if board.aggregate_tasks:
        estimate = row.aggregate.estimate if row.aggregate else None
        cells.append(Cell(main_text(row, board.main), estimate, kind="main"))
        cells.append(Cell("", estimate, "", _bar(board, row), "drawing"))
    if len(board.tasks) == 1:
        cells += [figure_cell(row.cells[0], name) for name in _side(board)]
    else:
        first = [quantities(board, index)[0] for index in range(len(board.tasks))]
        cells += [
            figure_cell(cell, name, _beside(board, cell, name))
            for cell, name in zip(row.cells, first, strict=True)
        ]
    return [*cells, Cell(runs_text(row), row.runs)]


def figure_cell(cell: TaskCell | None, name: Quantity, sub: str = "") -> Cell:
    """One figure of an agent on a task with its interval."""
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
