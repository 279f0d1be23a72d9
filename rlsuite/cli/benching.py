"""What `rlsuite bench` shows around one call of `benchmark`: progress, leaderboards, the report."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import typer

from registry.catalogue import registry
from registry.errors import StoreError
from rlsuite.backends import Limits
from rlsuite.benchmarking import PROCESSES, BenchmarkResult, benchmark
from rlsuite.cli.bench_json import done_line, interrupted_line, json_line
from rlsuite.cli.bench_looks import look_lines
from rlsuite.cli.bench_plan import Selection
from rlsuite.cli.bench_progress import bench_progress
from rlsuite.cli.console import console, counted, on_terminal, print_table
from rlsuite.diagnosis import write_failure
from rlsuite.reporting.event_files import CellFiles
from rlsuite.reporting.formatting import failure_lines
from rlsuite.reporting.leaderboard import Leaderboard, leaderboards
from rlsuite.reporting.pictures import task_pictures
from rlsuite.reporting.report import write_report
from rlsuite.reporting.tables import Table, terminal_tables
from rlsuite.running.events import Event
from rlsuite.running.run_loop import Rules, memory_bytes
from rlsuite.store import DEFAULT_PATH
from rlsuite.stored import stored
from rlsuite.suite import Suite
from rlsuite.until_clear import UntilClear

__all__ = ["How", "report_again", "run_suite"]

OK, SOME_FAILED, INTERRUPTED = 0, 1, 130
PIPE_WIDTH = 160
"""Characters for a table that goes to a file or a pipe, where nothing tells the width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class How:
    """How cells are run, as `benchmark` takes it; refused here, before anything is printed."""

    workers: int | None = None
    timeout: float | None = None
    memory: str | None = None
    updates: bool = True

    def __post_init__(self) -> None:
        Rules(limits=Limits(seconds=self.timeout, memory=memory_bytes(self.memory)))
        if self.workers is not None:
            registry.get("backend", PROCESSES).load()(workers=self.workers)


def run_suite(
    name: str,
    *,
    store: Path | None,
    report: Path | None,
    selection: Selection,
    how: How,
    tensorboard: Path | None = None,
    as_json: bool = False,
) -> int:
    """Runs a suite, prints its leaderboards and writes its report; returns the exit code."""
    suite = selection.suite(name)
    choose = selection.choose()
    path = DEFAULT_PATH if store is None else store
    if report is not None:
        refuse_unwritable(report)
    suite.check()
    files = None if tensorboard is None else CellFiles(tensorboard)
    if not as_json:
        typer.echo(f"Suite {suite.name}: results are kept in {path}")
    try:
        with _sigterm_interrupts():
            if selection.until_clear:
                result = _until_clear(suite, path, selection, how, files, as_json)
            else:
                with _progress(as_json, files) as progress:
                    result = benchmark(
                        suite, store=path, progress=progress, choose=choose, **asdict(how)
                    )
    except KeyboardInterrupt:
        if as_json:
            typer.echo(interrupted_line(suite.name, path))
        typer.echo(
            f"Interrupted. Finished cells are kept in {path}; the same command goes on from there.",
            err=True,
        )
        return INTERRUPTED
    if as_json:
        written = _report(result, report, command_line(name, store, selection))
        typer.echo(done_line(result, written))
    elif not result.records:
        typer.echo("No cell was chosen, and none is stored: there is nothing to show.")
    else:
        boards = leaderboards(result.shown)
        print_leaderboards(boards)
        written = _report(result, report, command_line(name, store, selection), boards)
        _print_end(result.notes, result.reused, len(result.records), path, written)
        for line in failure_lines(result.failed):
            typer.echo(line)
    return SOME_FAILED if result.failed else OK


def _until_clear(
    suite: Suite,
    path: Path,
    selection: Selection,
    how: How,
    files: CellFiles | None,
    as_json: bool,
) -> BenchmarkResult:
    """Look after look, and what each of them decides."""
    steps = UntilClear(suite, selection.max_seeds, selection.choose())
    while not steps.done:
        with _progress(as_json, files) as progress:
            result = steps.look(progress=progress, store=path, **asdict(how))
        for line in look_lines(steps.decisions, as_json):
            typer.echo(line)
    return result


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM, which batch systems send some time before they kill, ends a run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(
    result: BenchmarkResult,
    report: Path | None,
    command: str,
    boards: Sequence[Leaderboard] | None = None,
) -> Path | None:
    if report is None or not result.records:
        return None
    return result.report(report, command, boards)


@contextmanager
def _progress(as_json: bool, files: CellFiles | None) -> Iterator[Callable[[Event], None]]:
    with nullcontext(_echo_json) if as_json else bench_progress() as show:

        def tell(event: Event) -> None:
            if files is not None:
                files(event)
            show(event)

        yield tell


def _echo_json(event: Event) -> None:
    typer.echo(json_line(event))


def report_again(source: str, *, store: Path | None, report: Path) -> None:
    """Writes the report of what is stored, and prints its leaderboards; runs nothing."""
    refuse_unwritable(report)
    found = stored(source, store)
    suite = found.suite or None
    again = command_line(source, store, Selection()) if suite else f"rlsuite bench report {source}"
    pictures = task_pictures(found.records, found.path)
    boards = leaderboards(found.shown)
    write_report(
        found.shown,
        report,
        title=found.title,
        command=again,
        suite=suite,
        pictures=pictures,
        boards=boards,
    )
    print_leaderboards(boards)
    if found.missing:
        typer.echo(f"{counted(found.missing, 'cell')} of the suite not run yet: {again}")
    _print_end((), 0, len(found.records), found.path, report)


def print_leaderboards(boards: Iterable[Leaderboard]) -> None:
    """One table for each family of tasks, with the notes that it needs."""
    width = console().width if on_terminal() else PIPE_WIDTH
    for board in boards:
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


def command_line(name: str, store: Path | None, selection: Selection) -> str:
    """What to type to get the same results again."""
    words = ["rlsuite", "bench", "run", name]
    words += [] if store is None else ["--store", str(store)]
    return shlex.join([*words, *selection.words()])


def refuse_unwritable(report: Path) -> None:
    """Raises `StoreError` before any work is done if the report could not be written at its end."""
    reason = "it is a folder" if report.is_dir() else write_failure(report.parent)
    if reason is not None:
        raise StoreError(
            f"the report {report} cannot be written: {reason}. Give another path with --report; "
            "nothing was run yet."
        )
