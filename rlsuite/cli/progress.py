"""What is shown of a training: a bar on a terminal, a line at every tenth elsewhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rlsuite.cli.console import console, on_terminal

__all__ = ["training_progress"]

REFRESHES_PER_SECOND = 4.0
LINES = 10
STEPS_BETWEEN = 64
"""A bar is not moved at every step: that would cost as much as a step of a table."""

OnStep = Callable[[int, int], "bool | None"]


@contextmanager
def training_progress(title: str, unit: str = "steps") -> Iterator[OnStep]:
    """A function of (steps done, steps in all): shows them, and answers False after Ctrl-C.

    `unit` is what a budget counts: steps, sweeps, examples.

    So a training ends between two steps, with an agent that can be saved. A second Ctrl-C, or one
    before the first or after the last step, interrupts at once.
    """
    with _shown(title, unit) as show, _interrupt() as pressed:

        def on_step(done: int, total: int) -> bool:
            show(done, total)
            pressed.may_wait = done < total
            return not pressed.once

        yield on_step


class _Pressed:
    """Whether Ctrl-C was pressed, and whether somebody will look here soon."""

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
    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    if not on_terminal():
        yield _lines(title, unit)
        return
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=console(),
        refresh_per_second=REFRESHES_PER_SECOND,
    )
    with bars:
        task = bars.add_task(title, total=None)
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal shown
            if done - shown >= STEPS_BETWEEN or done >= total:
                shown = done
                bars.update(task, completed=done, total=total)

        yield show


def _lines(title: str, unit: str) -> Callable[[int, int], None]:
    """Prints a line at every tenth of the training."""
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = done * LINES // total
        if tenth > shown:
            shown = tenth
            typer.echo(f"{title}: {done:,} of {total:,} {unit}")

    return show
