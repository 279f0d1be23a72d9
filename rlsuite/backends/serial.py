"""One cell after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence

from registry.errors import SettingError
from rlsuite.backends import Job, Outcome
from rlsuite.running.cells import Progress

__all__ = ["SerialBackend"]


class SerialBackend:
    """Runs a job when somebody waits for it. Classes that were passed in are used as they are.

    `wait` returns after one job; `timeout` cannot interrupt it, and 0 or less runs nothing. Limits
    of time and memory cannot be kept here; the benchmark refuses them.
    """

    elsewhere = False

    def __init__(self, workers: int | None = None) -> None:
        if workers not in (None, 1):
            raise SettingError(
                f"the serial backend runs one cell at a time, got workers={workers!r}: take "
                "'rlsuite/processes-v0' for more."
            )
        self._next = 0
        self._jobs: dict[int, tuple[Job, Progress | None]] = {}
        self._cancelled: set[int] = set()

    def capacity(self) -> int:
        """1."""
        return 1

    def submit(self, job: Job, progress: Progress | None = None) -> int:
        """Queues a job."""
        self._next += 1
        self._jobs[self._next] = (job, progress)
        return self._next

    def wait(self, handles: Sequence[int], timeout: float | None = None) -> list[Outcome]:
        """Runs the first of the jobs that is queued, to its end."""
        for handle in handles:
            if handle in self._cancelled:
                self._cancelled.discard(handle)
                return [Outcome(handle=handle, state="cancelled")]
            if handle in self._jobs and (timeout is None or timeout > 0):
                job, progress = self._jobs.pop(handle)
                start = time.monotonic()
                record = job.run(progress)
                seconds = time.monotonic() - start
                return [Outcome(handle=handle, state="done", record=record, seconds=seconds)]
        return []

    def cancel(self, handle: int) -> None:
        """Takes a job out of the queue."""
        if self._jobs.pop(handle, None) is not None:
            self._cancelled.add(handle)

    def close(self) -> None:
        """Empties the queue."""
        self._jobs.clear()
