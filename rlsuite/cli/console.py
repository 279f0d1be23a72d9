"""Tables and text: drawn with rich on a terminal, plain aligned columns in a pipe or a file."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["console", "counted", "on_terminal", "print_table"]


def on_terminal() -> bool:
    """Whether the output goes to a terminal that can redraw lines."""
    return console().is_terminal and not console().is_dumb_terminal


def console() -> Console:
    """The console of the current standard output."""
    return Console(file=sys.stdout, highlight=False)


def counted(number: int, noun: str) -> str:
    """`"1 plugin"`, `"3 plugins"`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[int] = (),
) -> None:
    """Prints rows of text under their columns; `right` are the numbers of columns of numbers."""
    cells = [list(row) for row in rows]
    if on_terminal():
        _print_rich(title, columns, cells, right)
    else:
        _print_plain(title, columns, cells, right)


def _print_rich(
    title: str, columns: Sequence[str], rows: list[list[str]], right: Collection[int]
) -> None:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for index, name in enumerate(columns):
        if index in right:
            table.add_column(Text(name), justify="right", overflow="fold")
        else:
            table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def _print_plain(
    title: str, columns: Sequence[str], rows: list[list[str]], right: Collection[int]
) -> None:
    lines = [list(columns), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    typer.echo(title)
    for line in lines:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())
