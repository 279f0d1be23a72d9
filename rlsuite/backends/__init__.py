"""Ways to run the cells of a benchmark, behind one small protocol.

A backend is registered under the kind `backend` and made by the benchmark. It runs cells and
reports what became of them; what a cell is worth, what is stored and what is tried again is decided
above it, once for all backends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rlsuite.cells import Progress
from rlsuite.records import RunKey, RunRecord
from rlsuite.suite import Cell

__all__ = ["Backend", "Job", "Outcome"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A cell with its key. `run(progress)` does the work in this process.

    `payload` is the identity as JSON, for backends that send cells elsewhere; it is None where the
    agent is a class that was passed in, which exists in this process alone.
    """

    cell: Cell
    key: RunKey
    payload: str | None
    run: Callable[[Progress | None], RunRecord]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a job: a record (which may be of a failed cell), or nothing.

    `lost`: the work vanished with whoever did it and can be done again; `cancelled`: it was never
    begun.
    """

    handle: int
    state: Literal["done", "lost", "cancelled"]
    record: RunRecord | None = None


class Backend(Protocol):
    """Runs jobs. Delivery is at least once: cells are idempotent."""

    def capacity(self) -> int:
        """How many jobs may be under way at once."""
        ...

    def submit(self, job: Job, progress: Progress | None = None) -> int:
        """Takes a job over and returns its handle."""
        ...

    def wait(self, handles: Sequence[int], timeout: float | None = None) -> list[Outcome]:
        """Waits until at least one of the jobs has an outcome, or the time is over."""
        ...

    def cancel(self, handle: int) -> None:
        """Gives a job up if it has not ended yet."""
        ...
