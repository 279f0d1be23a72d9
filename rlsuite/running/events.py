"""What a running benchmark tells: frozen events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlsuite.records import RunRecord
from rlsuite.suite import Cell

__all__ = [
    "CellElsewhere",
    "CellFinished",
    "CellProgress",
    "CellRetried",
    "CellStarted",
    "Event",
    "Listener",
    "SuiteStarted",
]


@dataclass(frozen=True, slots=True)
class SuiteStarted:
    """The first event: of `total` cells `reused` are stored already, and `to_run` will be run.

    The others were not chosen, and are not stored.
    """

    total: int
    reused: int
    to_run: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class CellStarted:
    """Cell number `index` of `total` begins."""

    index: int
    total: int
    task: str
    agent: str
    seed: int


@dataclass(frozen=True, slots=True)
class CellProgress:
    """A running cell has taken `steps` of `budget` environment steps.

    Told at its evaluation points, and every second of a cell in a process of its own.
    """

    index: int
    total: int
    steps: int
    budget: int


@dataclass(frozen=True, slots=True)
class CellRetried:
    """A try of a cell ended for a reason outside of it: `state`, in words `detail`."""

    index: int
    total: int
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class CellElsewhere:
    """Another process is running the cell at this moment; it is waited for."""

    index: int
    total: int
    task: str
    agent: str
    seed: int


@dataclass(frozen=True, slots=True)
class CellFinished:
    """A cell ended, well or not; `reused`: it was in the store already."""

    index: int
    total: int
    record: RunRecord
    reused: bool


Event = SuiteStarted | CellStarted | CellProgress | CellRetried | CellElsewhere | CellFinished
Listener = Callable[[Event], None]
