"""What a running benchmark tells: frozen events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlsuite.records import RunRecord

__all__ = ["CellFinished", "CellProgress", "CellRetried", "CellStarted", "Event", "Listener"]


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
    """A running cell reached an evaluation point: `steps` of `budget` environment steps."""

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
class CellFinished:
    """A cell ended, well or not; `reused`: it was in the store already."""

    index: int
    total: int
    record: RunRecord
    reused: bool


Event = CellStarted | CellProgress | CellRetried | CellFinished
Listener = Callable[[Event], None]
