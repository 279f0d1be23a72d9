"""Leaderboards as plain strings, for the terminal, Markdown and HTML.

Strings are plain text: `[0.93, 0.97]` is an interval, so a caller that prints with rich passes them
as `rich.text.Text` or escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlsuite.reporting.boards import Leaderboard, Quantity, Row, TaskCell
from rlsuite.reporting.formatting import counts_text, interval_text, number, short_task_names

__all__ = [
    "Column",
    "Intervals",
    "Table",
    "cell_text",
    "main_heading",
    "main_text",
    "markdown_text",
    "quantities",
    "quantity_name",
    "rank_text",
    "runs_text",
    "summary_table",
    "task_table",
    "terminal_tables",
    "to_markdown",
]


Intervals = Literal["all", "first", "none"]
"""Which of the side columns show their intervals; the main column always does."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether what stands below it is aligned to the right."""

    name: str
    numeric: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of plain strings, as many in each row as there are columns."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Characters that a terminal needs, with one blank and a line beside every column."""
        widths = [len(column.name) for column in self.columns]
        for row in self.rows:
            widths = [max(w, len(text)) for w, text in zip(widths, row, strict=True)]
        return sum(widths) + 3 * len(widths) + 1


def terminal_tables(board: Leaderboard, width: int = 100) -> tuple[Table, ...]:
    """The board as tables that fit a terminal: the summary, then every task if there are several.

    Intervals of the side columns are left out where the table would be too wide with them; the
    main column keeps its own. Labels are never shortened: two agents must not look alike.
    """
    tables = [_widest(board, summary_table, width)]
    if len(board.tasks) > 1:
        tables.append(_widest(board, task_table, width))
    *before, last = tables
    bare = [Table(title=t.title, columns=t.columns, rows=t.rows) for t in before]
    with_notes = Table(title=last.title, columns=last.columns, rows=last.rows, notes=board.notes)
    return (*bare, with_notes)


def _widest(board: Leaderboard, make: Callable[..., Table], width: int) -> Table:
    """The table with as many intervals as fit."""
    choices: tuple[Intervals, ...] = ("all", "first", "none")
    tables = [make(board, intervals=choice) for choice in choices]
    return next((table for table in tables if table.width <= width), tables[-1])


def to_markdown(board: Leaderboard) -> str:
    """The board as GitHub-flavoured Markdown, with its notes as a list."""
    tables = [summary_table(board)]
    if len(board.tasks) > 1:
        tables.append(task_table(board))
    parts = [f"### {markdown_text(board.family)}"]
    parts += [_markdown_table(table) for table in tables]
    parts.append("\n".join(f"- {markdown_text(note)}" for note in board.notes))
    return "\n\n".join(parts) + "\n"


def summary_table(board: Leaderboard, *, intervals: Intervals = "all") -> Table:
    """One line for each agent: rank, agent, main column, side columns, finished runs.

    For a single task the side columns are its other figures (score, return, regret); for several
    they are one column a task.
    """
    if len(board.tasks) == 1:
        side = [name for name in quantities(board, 0) if name != board.main]
        names = [quantity_name(board, name) for name in side]
        cells = [_texts([row.cells[0]] * len(side), side, intervals) for row in board.rows]
        title = f"{board.family}: {board.tasks[0]}"
    else:
        short = short_task_names(board.tasks)
        names = [short[task] for task in board.tasks]
        shown = [quantities(board, index)[0] for index in range(len(board.tasks))]
        cells = [_texts(row.cells, shown, intervals) for row in board.rows]
        title = f"{board.family}: {len(board.tasks)} tasks"
    has_main = bool(board.aggregate_tasks)
    rows = tuple(
        (
            rank_text(row),
            row.agent,
            *([main_text(row, board.main)] if has_main else []),
            *side,
            runs_text(row),
        )
        for row, side in zip(board.rows, cells, strict=True)
    )
    heading = [main_heading(board)] if has_main else []
    columns = (
        Column("#"),
        Column("agent", numeric=False),
        *[Column(name) for name in [*heading, *names, "runs"]],
    )
    return Table(title=title, columns=columns, rows=rows)


def task_table(board: Leaderboard, *, intervals: Intervals = "all") -> Table:
    """One line for each task and agent, with every figure; agents in the order of the board."""
    names: list[Quantity] = [
        name
        for name in ("score", "return", "regret")
        if any(name in quantities(board, index) for index in range(len(board.tasks)))
    ]
    short = short_task_names(board.tasks)
    rows = [
        (
            short[board.tasks[index]],
            row.agent,
            *_texts([cell] * len(names), names, intervals),
            runs_text(cell),
        )
        for index in range(len(board.tasks))
        for row in board.rows
        if (cell := row.cells[index]) is not None
    ]
    columns = (
        Column("task", numeric=False),
        Column("agent", numeric=False),
        *[Column(quantity_name(board, name)) for name in names],
        Column("runs"),
    )
    return Table(title=f"{board.family}: every task", columns=columns, rows=tuple(rows))


def quantities(board: Leaderboard, index: int) -> list[Quantity]:
    """What is known of one task of the board, the first one to be shown first."""
    cells = [row.cells[index] for row in board.rows]
    known: list[Quantity] = [
        name
        for name in ("score", "return", "regret")
        if any(cell is not None and cell.quantity(name) is not None for cell in cells)
    ]
    return known or ["return"]


def quantity_name(board: Leaderboard, name: Quantity) -> str:
    """The heading of a column: the return of a KL-regularised task is called its objective."""
    return "objective" if name == "return" and board.objective else name


def main_heading(board: Leaderboard) -> str:
    """The heading of the main column; for several tasks it says how many it covers."""
    count = len(board.aggregate_tasks)
    if len(board.tasks) == 1 or not count:
        return board.aggregate
    where = (
        f"{count} tasks" if count > 1 else short_task_names(board.tasks)[board.aggregate_tasks[0]]
    )
    return f"{board.aggregate}, {where}"


def main_text(row: Row, main: Quantity = "score") -> str:
    """The main figure with its interval, and a star where failed runs are missing from it."""
    if row.aggregate is None:
        alone = row.cells[0] if len(row.cells) == 1 and main == "return" else None
        return "–" if alone is None else _text(alone, main, True)
    return interval_text(row.aggregate) + (" *" if row.incomplete else "")


def rank_text(row: Row) -> str:
    """`1`, or `1=` for a shared rank, or a dash."""
    if row.rank is None:
        return "–"
    return f"{row.rank}=" if row.tied else str(row.rank)


def runs_text(counted: Row | TaskCell) -> str:
    """Finished runs of planned ones, `4/5`."""
    return f"{counted.runs}/{counted.planned}"


def cell_text(cell: TaskCell | None, name: Quantity) -> str:
    """One figure of a cell with its interval; where no run finished, what became of them."""
    return _text(cell, name, True)


def _texts(
    cells: Sequence[TaskCell | None], names: Sequence[Quantity], intervals: Intervals
) -> list[str]:
    return [
        _text(cell, name, intervals == "all" or (intervals == "first" and index == 0))
        for index, (cell, name) in enumerate(zip(cells, names, strict=True))
    ]


def _text(cell: TaskCell | None, name: Quantity, intervals: bool) -> str:
    if cell is None:
        return "not run"
    if cell.runs == 0:
        return next(iter(cell.states)) if len(cell.states) == 1 else counts_text(cell.states)
    interval = cell.quantity(name)
    if interval is None and name == "return" and cell.reward_only is not None:
        reward = cell.reward_only
        return f"reward only {interval_text(reward) if intervals else number(reward.estimate)}"
    if intervals or interval is None:
        return interval_text(interval)
    return number(interval.estimate)


def _markdown_table(table: Table) -> str:
    lines: list[Sequence[str]] = [[column.name for column in table.columns]]
    lines.append(["---:" if column.numeric else "---" for column in table.columns])
    lines += table.rows
    return "\n".join(f"| {' | '.join(markdown_text(text) for text in line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Text that cannot end a cell, start a tag or break a line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")
