"""Ways to run the cells of a benchmark, behind one small protocol.

A backend is registered under the kind `backend` and made by the benchmark as
`backend(workers=...)`. It runs cells and reports what became of them; what a cell is worth, what is
stored and what is tried again is decided above it, once for all backends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from rlsuite.records import RunKey, RunRecord
from rlsuite.running.cells import Progress
from rlsuite.suite import Cell

__all__ = ["NO_LIMITS", "Backend", "Job", "Limits", "Outcome", "OutcomeState"]

OutcomeState = Literal["done", "failed", "timeout", "oom", "killed", "lost", "cancelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a job may use: seconds of wall-clock time, bytes of memory; None is no limit."""

    seconds: float | None = None
    memory: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A cell with its key. `run(progress)` does the work in this process.

    `payload` is the cell as JSON, for backends that send cells elsewhere (see `running.payloads`);
    it is None where the cell can run in this process alone. What the job prints elsewhere goes to
    the file `output`.
    """

    cell: Cell
    key: RunKey
    payload: str | None
    run: Callable[[Progress | None], RunRecord]
    limits: Limits = NO_LIMITS
    output: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a job: a record (which may be of a failed cell), or the reason for none.

    `done`: the record is there. `failed`: the code of the cell crashed its process or left it.
    `timeout`, `oom`: stopped at a limit. `killed`: somebody else ended it. `lost`: the work
    vanished with whoever did it. `cancelled`: it was given up. `detail` says more, in words.
    """

    handle: int
    state: OutcomeState
    record: RunRecord | None = None
    detail: str = ""
    seconds: float = 0.0


class Backend(Protocol):
    """Runs jobs. Delivery is at least once: cells are idempotent."""

    elsewhere: bool
    """Whether jobs with a payload run outside of this process; if so, limits are kept too."""

    def capacity(self) -> int:
        """How many jobs may be under way at once."""
        ...

    def submit(self, job: Job, progress: Progress | None = None) -> int:
        """Takes a job over and returns its handle."""
        ...

    def wait(self, handles: Sequence[int], timeout: float | None = None) -> list[Outcome]:
        """Waits until at least one of the jobs has an outcome, or the time is over.

        Every job has one outcome, which is told once. `progress` is called from in here.
        """
        ...

    def cancel(self, handle: int) -> None:
        """Gives a job up if it has not ended yet."""
        ...

    def close(self) -> None:
        """Gives up what is still under way, and returns when nothing of it runs any more."""
        ...
