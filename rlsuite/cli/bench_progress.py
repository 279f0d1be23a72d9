"""What is shown of a running benchmark: a live display on a terminal, else a line per cell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from rlsuite.cli.bench_state import BenchState, Best
from rlsuite.cli.console import console, counted, on_terminal
from rlsuite.records import REWARD, RunRecord
from rlsuite.reporting.formatting import last_line, number, seconds_text, short_task_names
from rlsuite.running.events import CellFinished, CellRetried, Event, SuiteStarted
from rlsuite.watching.watch import WATCHDOG

__all__ = ["bench_progress", "cell_line"]

REFRESHES_PER_SECOND = 4.0
MOST_BEST = 6
"""Lines of the best agents so far; with more of them the display would be all of the screen."""


def cell_line(record: RunRecord, place: str, *, reused: bool = False) -> str:
    """One finished cell on one line, after its `place` among all."""
    where = f"{record.task}  {record.agent}  seed {record.seed}"
    return f"[{place}] {where}  {_outcome(record, reused)}"


def _outcome(record: RunRecord, reused: bool) -> str:
    if record.state != "ok":
        again = " (reused)" if reused else ""
        return f"{record.state.upper()}{again}: {last_line(record.error)}"
    words = []
    if record.mean_return is not None:
        words.append(f"return {number(record.mean_return)}")
    elif REWARD in record.metrics:
        words.append(f"reward only {number(record.metrics[REWARD])}")
    if record.score is not None:
        words.append(f"score {number(record.score)}")
    if record.regret is not None:
        words.append(f"regret {number(record.regret)}")
    words.append("reused" if reused else seconds_text(record.train_seconds + record.eval_seconds))
    return "  ".join(words)


class _Lines:
    """One line per finished cell, numbered as they end; no control characters."""

    def __init__(self) -> None:
        self.state = BenchState()
        self._shown: set[str] = set()

    def __call__(self, event: Event) -> None:
        state = self.state
        retried = state.running.get(event.index) if isinstance(event, CellRetried) else None
        state(event)
        if isinstance(event, SuiteStarted):
            left_out = event.total - event.reused - len(event.to_run)
            counts = {"to run": len(event.to_run), "stored": event.reused, "left out": left_out}
            said = [f"{count:,} {what}" for what, count in counts.items() if count]
            typer.echo(f"{counted(event.total, 'cell')}: {', '.join(said)}")
        elif isinstance(event, CellRetried) and retried is not None:
            where = f"{retried.task}  {retried.agent}  seed {retried.seed}"
            typer.echo(f"{where}  {event.state.upper()}, tried again: {last_line(event.detail)}")
        elif isinstance(event, CellFinished) and event.record.key.digest not in self._shown:
            self._shown.add(event.record.key.digest)
            place = f"{state.done:>{len(str(state.total))}}/{state.total}"
            typer.echo(cell_line(event.record, place, reused=event.reused))
            for note in event.record.notes:
                if note.startswith(WATCHDOG):
                    typer.echo(f"    {note}")


class _Display:
    """A bar, the counts, the running cells and the best so far; at most the height of the screen.

    Drawn by a thread of rich while events come in from another one.
    """

    def __init__(self) -> None:
        self.state = BenchState()
        self.names: dict[str, str] = {}
        self.began = self.state.clock()
        self._lock = threading.Lock()
        self._drawn: tuple[int, list[int]] = (0, [])  # width of the screen, lengths of the lines

    def __call__(self, event: Event) -> None:
        """Takes one event in."""
        with self._lock:
            self.state(event)
            if isinstance(event, SuiteStarted):
                self.names = short_task_names(tuple({c.task.id: None for c in event.to_run}))

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> RenderResult:
        """What the terminal shows now."""
        with self._lock:
            parts: list[RenderableType] = [
                self._bar(),
                Text(self.state.headline(), overflow="fold"),
            ]
            best = self.state.best()
            free = options.size.height - 7 - min(len(best), MOST_BEST)
            parts += self._running(max(free, 1))
            parts += self._best(best)
        lines: list[list[Segment]] = []
        for part in parts:
            lines += screen.render_lines(part, options.update(height=None), pad=False)
        self._drawn = (options.max_width, [Segment.get_line_length(line) for line in lines])
        for line in lines:
            yield from line
            yield Segment.line()

    def _bar(self) -> Table:
        state = self.state
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(state.total, 1), completed=state.done, width=24)
        cells = f"{state.done:,}/{state.total:,} cells"
        line.add_row(bar, Text(cells), Text(_clock(state.clock() - self.began), style="cyan"))
        return line

    def _running(self, most: int) -> list[RenderableType]:
        cells = list(self.state.running.values())
        if not cells:
            return []
        now = self.state.clock()
        table = Table.grid(padding=(0, 1))
        for column in range(5):
            justify: JustifyMethod = "left" if column < 3 else "right"
            table.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
        for cell in cells[:most]:
            again = f", try {cell.attempt}" if cell.attempt > 1 else ""
            table.add_row(
                Text(f"  {cell.agent}"),
                Text(self.names.get(cell.task, cell.task)),
                Text(f"seed {cell.seed}{again}"),
                Text(f"{cell.steps:,}/{cell.budget:,} steps"),
                Text(_clock(now - cell.started), style="cyan"),
            )
        more = len(cells) - most
        rest = [Text(f"  and {more:,} more")] if more > 0 else []
        return [Text("Running", style="bold"), table, *rest]

    def _best(self, best: list[Best]) -> list[RenderableType]:
        if not best:
            return []
        table = Table.grid(padding=(0, 1))
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for found in best[:MOST_BEST]:
            where = self.names.get(found.where, found.where)
            table.add_row(Text(f"  {where}"), Text(found.agent), Text(found.figure))
        return [Text("Best so far", style="bold"), table]

    def rows_wrapped(self, width: int) -> int:
        """By how many rows the lines that stand on a screen have grown now that it is narrower."""
        before, lengths = self._drawn
        if width >= before:
            return 0
        return sum(max(-(-length // width), 1) - 1 for length in lengths)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


@contextmanager
def bench_progress() -> Iterator[Callable[[Event], None]]:
    """What `benchmark(progress=...)` is handed, drawn as the output allows."""
    if not on_terminal():
        yield _Lines()
        return
    display, screen = _Display(), console()

    def draw() -> _Display:
        # A terminal that was made narrower has wrapped what stands on it, which rich does not know.
        rows = display.rows_wrapped(screen.width)
        up = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * rows
        screen.control(Control(*up))
        return display

    with Live(get_renderable=draw, console=screen, refresh_per_second=REFRESHES_PER_SECOND):
        yield display
