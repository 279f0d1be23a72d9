"""`rlsuite sql`: questions to a store, in SQL; nothing can be changed by them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rlsuite.cli.console import counted, print_table
from rlsuite.cli.options import STORE

__all__ = ["sql"]

EXAMPLE = "select agent, count(*) as runs, avg(score) as score from runs group by agent"
CELL = 60
"""Characters of a cell of the table on a terminal; CSV and JSON hold everything."""


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"


def sql(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="A SELECT; none shows the tables.")
    ] = None,
    store: Annotated[Path | None, STORE] = None,
    form: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.table,
) -> None:
    """Ask a store in SQL. It is only read: a statement that would change it is refused.

    Views for people: runs, evaluations, training, updates, episodes. Without a query their columns
    are shown.

    Example:  `rlsuite sql "select task, agent, avg(score) from runs group by task, agent"`
    """
    from rlsuite.data.querying import Query
    from rlsuite.data.writing import write_csv, write_json
    from rlsuite.store import DEFAULT_PATH

    path = DEFAULT_PATH if store is None else store
    if query is None:
        _show_views(path)
        return
    with Query(path) as ask:
        found = ask(query)
        if form is Format.csv:
            write_csv(found, sys.stdout)
        elif form is Format.json:
            write_json(found, sys.stdout)
        else:
            _print(found.columns, list(found.rows))


def _show_views(path: Path) -> None:
    from rlsuite.data.views import VIEWS
    from rlsuite.store import DEFAULT_PATH

    for view in VIEWS.values():
        rows = [[c.name, c.kind, c.meaning] for c in view.columns]
        print_table(f"{view.name}: a row for each {view.row}", ["column", "type", "meaning"], rows)
        typer.echo("")
    typer.echo(
        "json is text for SQLite's functions: settings ->> '$.step_size'. The tables beneath are "
        "meta, run, cell_data, attempt and lease.\n"
    )
    words = ["rlsuite", "sql", EXAMPLE, *([] if path == DEFAULT_PATH else ["--store", str(path)])]
    typer.echo(f"Example:  {shlex.join(words)}")


def _print(columns: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    numbers = {
        index
        for index in range(len(columns))
        if any(isinstance(row[index], int | float) for row in rows)
    }
    lines = [[_text(value) for value in row] for row in rows]
    print_table(counted(len(rows), "row"), columns, lines, right=numbers)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bytes):
        return f"{counted(len(value), 'byte')}"
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
