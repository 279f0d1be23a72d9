"""One cell after the other, in this process."""

from __future__ import annotations

from collections.abc import Sequence

from rlsuite.backends import Job, Outcome
from rlsuite.cells import Progress

__all__ = ["SerialBackend"]


class SerialBackend:
    """Runs a job when somebody waits for it. Classes that were passed in are used as they are.

    `wait` returns after one job; `timeout` cannot interrupt it, and 0 or less runs nothing.
    """

    def __init__(self) -> None:
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
                return [Outcome(handle=handle, state="done", record=job.run(progress))]
        return []

    def cancel(self, handle: int) -> None:
        """Takes a job out of the queue."""
        if self._jobs.pop(handle, None) is not None:
            self._cancelled.add(handle)
