"""What is shown of a training or a study: a live line on a terminal, else a line at each tenth."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rlsuite.cli.console import console, on_terminal
from rlsuite.running.events import CellFinished, Event, SuiteStarted

__all__ = ["Shown", "study_progress", "training_progress", "update_words"]

REFRESHES_PER_SECOND = 4.0
LINES = 10
STEPS_BETWEEN = 64
"""A bar is not moved at every step: that would cost as much as a step of a table."""

FIGURES = (
    ("return", ("episode_return",)),
    ("loss", ("loss", "policy_loss", "q_loss")),
    ("entropy", ("entropy",)),
    ("Q", ("q_mean",)),
)
"""What is shown of an update, and the metrics it is taken from: the first that the agent tells."""


def update_words(numbers: Mapping[str, float]) -> list[str]:
    """The figures of an update that are shown: return, loss, entropy, Q."""
    found = []
    for word, names in FIGURES:
        value = next((numbers[name] for name in names if name in numbers), None)
        if value is not None and value == value:
            found.append(f"{word} {value:.4g}")  # short, however far it has run away
    return found


class Shown:
    """Shows steps and figures, and answers False after Ctrl-C or SIGTERM.

    So a training ends between two steps, with an agent that can be saved. A second signal, or one
    before the first or after the last step, interrupts at once.
    """

    def __init__(self, view: _View, pressed: _Pressed) -> None:
        self._view, self._pressed = view, pressed
        self._numbers: Mapping[str, float] = {}
        self._since: tuple[float, int] | None = None  # when steps were shown last, and how many

    def on_step(self, done: int, total: int) -> bool:
        """After every step: those done, and those in all."""
        if self._since is None:
            self._since = time.perf_counter(), done
        if self._view.due(done, total):
            words = [*self._rate(done), *update_words(self._numbers)]
            self._view.show(done, total, ", ".join(words))
        self._pressed.may_wait = done < total
        return not self._pressed.once

    def on_update(self, numbers: Mapping[str, float]) -> None:
        """After every update of the agent: its numbers."""
        self._numbers = numbers

    def _rate(self, done: int) -> list[str]:
        """Steps per second since this was shown before."""
        now = time.perf_counter()
        before, steps = self._since or (now, done)
        self._since = now, done
        if done == steps or now == before:
            return []
        return [f"{(done - steps) / (now - before):,.0f}/s"]


@contextmanager
def training_progress(title: str, unit: str = "steps", quiet: bool = False) -> Iterator[Shown]:
    """What a training is shown with; `unit` is what a budget counts: steps, sweeps, examples."""
    with _shown(title, unit, quiet) as view, _interrupt() as pressed:
        yield Shown(view, pressed)


@contextmanager
def study_progress(quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """What `study(progress=...)` is handed: it shows the runs that are played, not the stored ones.

    A study with `width` does not know beforehand how many there will be: more come at each look.
    """
    done = total = 0
    with _shown("study", "runs", quiet, between=1) as view:

        def tell(event: Event) -> None:
            nonlocal done, total
            if isinstance(event, SuiteStarted):
                total = done + sum(end - first for first, end in _runs_of(event))
            elif isinstance(event, CellFinished) and not event.reused:
                first, end = event.record.key.identity["study"]["runs"]
                done += end - first
                if view.due(done, total):
                    view.show(done, total, event.record.agent)

        yield tell


def _runs_of(event: SuiteStarted) -> Iterator[tuple[int, int]]:
    """The runs of the blocks that will be played."""
    for cell in event.to_run:
        if cell.runs is not None:
            yield cell.runs


class _Pressed:
    """Whether a signal came, and whether somebody will look here soon."""

    once = False
    may_wait = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.once or not self.may_wait:
            raise KeyboardInterrupt
        self.once = True


@contextmanager
def _interrupt() -> Iterator[_Pressed]:
    pressed = _Pressed()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread hears signals
        return
    before = {number: signal.signal(number, pressed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _View(Protocol):
    """Somewhere to show steps."""

    def due(self, done: int, total: int) -> bool:
        """Whether it is time to show something."""
        ...

    def show(self, done: int, total: int, words: str) -> None:
        """Shows it."""
        ...


@contextmanager
def _shown(title: str, unit: str, quiet: bool, between: int = STEPS_BETWEEN) -> Iterator[_View]:
    if quiet:
        yield _Silent()
        return
    if not on_terminal():
        yield _Lines(title, unit)
        return
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        console=console(),
        refresh_per_second=REFRESHES_PER_SECOND,
    )
    with bars:
        yield _Bar(bars, title, between)


class _Silent:
    def due(self, done: int, total: int) -> bool:
        return False

    def show(self, done: int, total: int, words: str) -> None:
        """Shows nothing."""


class _Bar:
    """A line that is drawn anew."""

    def __init__(self, bars: Progress, title: str, between: int) -> None:
        self._bars, self._task = bars, bars.add_task(title, total=None, words="")
        self._between = between
        self._done, self._until = 0, 0.0

    def due(self, done: int, total: int) -> bool:
        if done - self._done < self._between and done < total:
            return False
        self._done = done
        return time.perf_counter() >= self._until or done >= total

    def show(self, done: int, total: int, words: str) -> None:
        self._until = time.perf_counter() + 1 / REFRESHES_PER_SECOND
        self._bars.update(self._task, completed=done, total=total, words=words)


class _Lines:
    """A line at every tenth of the training."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit, self._tenth = title, unit, 0

    def due(self, done: int, total: int) -> bool:
        return done * LINES // total > self._tenth

    def show(self, done: int, total: int, words: str) -> None:
        self._tenth = done * LINES // total
        after = f"; {words}" if words else ""
        typer.echo(f"{self._title}: {done:,} of {total:,} {self._unit}{after}")
