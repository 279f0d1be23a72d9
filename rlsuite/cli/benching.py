"""What `rlsuite bench` shows around one call of `benchmark`: progress, leaderboards, the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from registry.errors import StoreError
from rlsuite.benchmarking import benchmark
from rlsuite.cli.bench_progress import bench_progress
from rlsuite.cli.console import console, counted, on_terminal, print_table
from rlsuite.diagnosis import write_failure
from rlsuite.formatting import failure_lines
from rlsuite.leaderboard import leaderboards
from rlsuite.records import RunRecord
from rlsuite.report import write_report
from rlsuite.store import DEFAULT_PATH
from rlsuite.stored import stored
from rlsuite.suite import load_suite
from rlsuite.tables import Table, terminal_tables

__all__ = ["report_again", "run_suite"]

OK, SOME_FAILED, INTERRUPTED = 0, 1, 130
PIPE_WIDTH = 160
"""Characters for a table that goes to a file or a pipe, where nothing tells the width."""


def run_suite(name: str, *, store: Path | None, report: Path | None, seeds: int | None) -> int:
    """Runs a suite, prints its leaderboards and writes its report; returns the exit code."""
    suite = load_suite(name)
    if seeds is not None:
        grids = [replace(grid, seeds=tuple(range(seeds))) for grid in suite.grids]
        suite = replace(suite, grids=tuple(grids))
    path = DEFAULT_PATH if store is None else store
    if report is not None:
        refuse_unwritable(report)
    suite.check()
    typer.echo(f"Suite {suite.name}: results are kept in {path}")
    try:
        with bench_progress((cell.task.id, cell.label) for cell in suite.cells()) as progress:
            result = benchmark(suite, store=path, progress=progress)
    except KeyboardInterrupt:
        typer.echo(
            f"Interrupted. Finished cells are kept in {path}; the same command goes on from there.",
            err=True,
        )
        return INTERRUPTED
    print_leaderboards(result.records)
    if report is not None:
        result.report(report, command_line(name, store, seeds))
    _print_end(result.notes, result.reused, len(result.records), path, report)
    for line in failure_lines(result.failed):
        typer.echo(line)
    return SOME_FAILED if result.failed else OK


def report_again(source: str, *, store: Path | None, report: Path) -> None:
    """Writes the report of what is stored, and prints its leaderboards; runs nothing."""
    refuse_unwritable(report)
    found = stored(source, store)
    suite = found.suite or None
    again = command_line(source, store, None) if suite else f"rlsuite bench report {source}"
    write_report(found.records, report, title=found.title, command=again, suite=suite)
    print_leaderboards(found.records)
    if found.missing:
        typer.echo(f"{counted(found.missing, 'cell')} of the suite not run yet: {again}")
    _print_end((), 0, len(found.records), found.path, report)


def print_leaderboards(records: Iterable[RunRecord]) -> None:
    """One table for each family of tasks, with the notes that it needs."""
    width = console().width if on_terminal() else PIPE_WIDTH
    for board in leaderboards(records):
        for table in terminal_tables(board, width):
            typer.echo("")
            _print_board(table)
    typer.echo("")


def _print_board(table: Table) -> None:
    numeric = {index for index, column in enumerate(table.columns) if column.numeric}
    print_table(table.title, [c.name for c in table.columns], table.rows, right=numeric)
    for note in table.notes:
        typer.echo(f"  {note}")


def _print_end(
    notes: Sequence[str], reused: int, cells: int, store: Path, report: Path | None
) -> None:
    for note in notes:
        typer.echo(note)
    again = f", {reused:,} of them reused" if reused else ""
    typer.echo(f"Store:  {store} ({counted(cells, 'cell')}{again})")
    if report is not None:
        typer.echo(f"Report: {report}")


def command_line(name: str, store: Path | None, seeds: int | None) -> str:
    """What to type to get the same results again."""
    words = ["rlsuite", "bench", "run", name]
    words += [] if store is None else ["--store", str(store)]
    words += [] if seeds is None else ["--seeds", str(seeds)]
    return shlex.join(words)


def refuse_unwritable(report: Path) -> None:
    """Raises `StoreError` before any work is done if the report could not be written at its end."""
    reason = "it is a folder" if report.is_dir() else write_failure(report.parent)
    if reason is not None:
        raise StoreError(
            f"the report {report} cannot be written: {reason}. Give another path with --report; "
            "nothing was run yet."
        )
