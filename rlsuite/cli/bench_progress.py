"""What is shown of a running benchmark: a live display on a terminal, else a line per cell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rlsuite.benchmarking import CellFinished, CellProgress, CellRetried, CellStarted
from rlsuite.cli.console import console, on_terminal
from rlsuite.records import REWARD, RunRecord
from rlsuite.reporting.formatting import number, seconds_text

__all__ = ["BenchState", "bench_progress", "cell_line"]

Event = CellStarted | CellProgress | CellRetried | CellFinished
REFRESHES_PER_SECOND = 4.0


Kind = tuple[str, str]
"""Task and agent: cells of one kind differ in their seed, and take about the same time."""


@dataclass
class BenchState:
    """All that the display of a benchmark knows, gathered from the events."""

    planned: Counter[Kind] = field(default_factory=Counter)
    clock: Callable[[], float] = time.monotonic
    total: int = 0
    done: int = 0
    failed: int = 0
    reused: int = 0
    running: str = ""
    steps: int = 0
    budget: int = 0
    started: float = 0.0
    seconds: dict[Kind, list[float]] = field(default_factory=dict)
    returns: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Takes one event in."""
        self.total = event.total
        if isinstance(event, CellStarted):
            self.running = f"{event.agent} on {event.task}, seed {event.seed}"
            self.steps, self.budget, self.started = 0, 0, self.clock()
        elif isinstance(event, CellProgress):
            self.steps, self.budget = event.steps, event.budget
        elif isinstance(event, CellFinished):
            self._finish(event.record, event.reused)

    def _finish(self, record: RunRecord, reused: bool) -> None:
        kind = (record.task, record.agent)
        self.done += 1
        self.planned[kind] -= 1
        self.running, self.steps, self.budget = "", 0, 0
        if reused:
            self.reused += 1
        else:
            self.seconds.setdefault(kind, []).append(self.clock() - self.started)
        if record.state != "ok":
            self.failed += 1
        elif record.mean_return is not None:
            by_agent = self.returns.setdefault(record.task, {})
            by_agent.setdefault(record.agent, []).append(record.mean_return)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the cells that were run so far; None before the first one."""
        if not self.seconds:
            return None
        remaining = {kind: count for kind, count in self.planned.items() if count > 0}
        return sum(count * self._expected(kind) for kind, count in remaining.items())

    def _expected(self, kind: Kind) -> float:
        """The mean time of cells of this kind, else of this agent, else of all."""
        same_agent = [
            s for (_, agent), found in self.seconds.items() if agent == kind[1] for s in found
        ]
        every = [s for found in self.seconds.values() for s in found]
        return fmean(self.seconds.get(kind) or same_agent or every)

    def best(self) -> list[tuple[str, str, float]]:
        """The best agent of each task so far, by the mean return over its finished seeds."""
        found = []
        for task, by_agent in self.returns.items():
            agent = max(by_agent, key=lambda name: fmean(by_agent[name]))
            found.append((task, agent, fmean(by_agent[agent])))
        return found

    def headline(self) -> str:
        """Counts in words: failed, reused, and the estimate of the time left."""
        parts = [f"{self.failed} failed"]
        if self.reused:
            parts.append(f"{self.reused} reused")
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"about {seconds_text(self.seconds_left)} left")
        return ", ".join(parts)


def cell_line(event: CellFinished) -> str:
    """One finished cell on one line."""
    record = event.record
    where = f"{record.task}  {record.agent}  seed {record.seed}"
    width = len(str(event.total))
    return f"[{event.index + 1:>{width}}/{event.total}] {where}  {_outcome(record, event.reused)}"


def _outcome(record: RunRecord, reused: bool) -> str:
    if record.state != "ok":
        lines = record.error.strip().splitlines() or ["no message"]
        return (
            f"{record.state.upper()}{' (reused)' if reused else ''}: {' '.join(lines[-1].split())}"
        )
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
    """One line per finished cell; no control characters."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, CellFinished):
            typer.echo(cell_line(event))


class _Display:
    """Two bars (the suite, the running cell) over a table of the best agents so far."""

    def __init__(self, planned: Iterable[Kind]) -> None:
        self.state = BenchState(planned=Counter(planned))
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.cells = self.bars.add_task("Suite", total=None, unit="cells", note="")
        self.steps = self.bars.add_task("Cell", total=None, unit="steps", note="")

    def __call__(self, event: Event) -> None:
        """Takes one event in and moves the bars."""
        state = self.state
        state(event)
        if isinstance(event, CellStarted):
            self.bars.reset(self.steps, total=None)
        self.bars.update(self.cells, completed=state.done, total=state.total, note=state.headline())
        self.bars.update(
            self.steps, completed=state.steps, total=state.budget or None, note=state.running
        )

    def render(self) -> RenderableType:
        """What the terminal shows now."""
        best = self.state.best()
        if not best:
            return self.bars
        table = Table(title="Best so far", title_justify="left", box=None)
        for column in ("task", "agent", "mean return"):
            table.add_column(column, justify="right" if column == "mean return" else "left")
        for task, agent, value in best:
            table.add_row(Text(task), Text(agent), number(value))
        return Group(self.bars, table)


@contextmanager
def bench_progress(planned: Iterable[Kind]) -> Iterator[Callable[[Event], None]]:
    """What `benchmark(progress=...)` is handed, drawn as the output allows.

    `planned` names task and agent of every cell, for the estimate of the time left.
    """
    if not on_terminal():
        yield _Lines()
        return
    display = _Display(planned)
    with Live(
        get_renderable=display.render,
        console=console(),
        refresh_per_second=REFRESHES_PER_SECOND,
    ):
        yield display
