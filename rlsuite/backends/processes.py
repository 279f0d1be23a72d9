"""Cells in processes of their own: one fresh process for each, with limits, and nothing shared.

The supervisor starts a worker for every cell, gives it the cell as JSON, and takes the bytes of the
record back. It stops what takes too long or too much memory: SIGTERM, a while to save the training,
then SIGKILL to the whole process group. A worker ends with its supervisor. What a cell does to its
process (leaves it, crashes it, fills it, floods its output) is the cell's own outcome.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from registry.errors import SettingError
from rlsuite.backends import Job, Outcome, OutcomeState
from rlsuite.backends.children import Child, Events, Starter, memory_of, start_method, starter_of
from rlsuite.backends.serial import SerialBackend
from rlsuite.backends.worker import STOPPED
from rlsuite.records import RunRecord
from rlsuite.running.cells import Progress
from rlsuite.running.packing import from_bytes
from rlsuite.running.payloads import modules_of, rehearsal_of
from rlsuite.suite import Cell

__all__ = ["GRACE_SECONDS", "ProcessesBackend"]

GRACE_SECONDS = 10.0
TICK_SECONDS = 0.1
CRASHES = frozenset(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
    if hasattr(signal, name)
)
"""Signals that a process earns by its own code; all others come from outside."""


@dataclass
class _Task:
    """A job that has been submitted."""

    job: Job
    progress: Progress | None
    child: Child
    told: int = 0  # messages of progress passed on
    reason: OutcomeState | None = None  # why we stopped it
    signal: int | None = None  # to be sent as soon as there is a process
    kill_at: float | None = None


class ProcessesBackend:
    """One fresh process per cell.

    Args:
        workers: How many cells at once; None is the number of processors this process may use.
        grace: Seconds between SIGTERM and SIGKILL; None is 10.
        method: `"forkserver"` forks workers from a process that has imported everything,
            `"spawn"` starts a fresh interpreter for each; None takes the faster one that works.

    Raises:
        SettingError: a value outside its range.
    """

    elsewhere = True

    def __init__(
        self,
        workers: int | None = None,
        grace: float | None = None,
        method: Literal["forkserver", "spawn"] | None = None,
    ) -> None:
        if workers is None:
            workers = _processors()
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise SettingError(f"workers is a whole number of at least 1, got {workers!r}.")
        grace = GRACE_SECONDS if grace is None else grace
        if not grace >= 0:
            raise SettingError(f"grace is a number of seconds of at least 0, got {grace!r}.")
        if method not in (None, "forkserver", "spawn"):
            raise SettingError(f"method is 'forkserver' or 'spawn', got {method!r}.")
        if method == "forkserver" and start_method() != "forkserver":
            raise SettingError("method='forkserver' works on Linux alone: take 'spawn'.")
        self._workers, self._grace = workers, float(grace)
        self._method = method or start_method()
        self._events: Events = queue.SimpleQueue()
        self._starter: Starter | None = None
        self._modules: dict[str, None] = {"rlsuite.running.payloads": None}
        self._rehearsals: dict[str, None] = {}
        self._next = 0
        self._tasks: dict[int, _Task] = {}
        self._here = SerialBackend()
        self._here_handles: dict[int, int] = {}

    def capacity(self) -> int:
        """The number of workers."""
        return self._workers

    def prepare(self, cells: Sequence[Cell]) -> None:
        """Names the imports of the cells to come, and what they compile: all is done once before.

        Args:
            cells: One of each kind is enough.
        """
        for cell in cells:
            self._modules.update(dict.fromkeys(modules_of(cell)))
            rehearsal = rehearsal_of(replace(cell, seed=0, label=""))
            if rehearsal is not None:
                self._rehearsals[rehearsal] = None

    def submit(self, job: Job, progress: Progress | None = None) -> int:
        """Starts a worker; a job without a payload is queued, to be run in this process."""
        self._next += 1
        if job.payload is None:
            self._here_handles[self._next] = self._here.submit(job, progress)
            return self._next
        if self._starter is None:
            self.prepare([job.cell])
            modules = _importable(self._modules)
            self._starter = starter_of(self._method)(self._events, modules, [*self._rehearsals])
        child = self._starter.start(job.payload, job.output)
        self._tasks[self._next] = _Task(job, progress, child)
        return self._next

    def wait(self, handles: Sequence[int], timeout: float | None = None) -> list[Outcome]:
        """Passes on progress and keeps limits, until a worker ends or the time is over.

        A job of this process is run only while no worker is under way, and to its end.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._tell_progress()
            outcomes = [self._outcome(h) for h in handles if self._over(h)]
            if outcomes:
                return outcomes
            if not any(handle in self._tasks for handle in handles):
                return self._wait_here(handles, timeout)
            left = TICK_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return []
            self._keep_limits()
            try:
                self._events.get(timeout=min(TICK_SECONDS, left))
            except queue.Empty:
                continue

    def cancel(self, handle: int) -> None:
        """Asks the worker to end, as for a limit; its outcome is `cancelled`."""
        if handle in self._here_handles:
            self._here.cancel(self._here_handles[handle])
        elif handle in self._tasks:
            self._stop(self._tasks[handle], "cancelled")

    def close(self) -> None:
        """Ends all workers: SIGTERM, the grace period, SIGKILL."""
        self._here.close()
        for task in self._tasks.values():
            self._stop(task, "cancelled")
        while any(task.child.ended is None for task in self._tasks.values()):
            self._keep_limits()
            try:
                self._events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
        for handle in list(self._tasks):
            self._tasks.pop(handle).child.close()
        if self._starter is not None:
            self._starter.close()
            self._starter = None

    def _wait_here(self, handles: Sequence[int], timeout: float | None) -> list[Outcome]:
        mine = {self._here_handles[h]: h for h in handles if h in self._here_handles}
        outcomes = []
        for outcome in self._here.wait(tuple(mine), timeout):
            handle = mine[outcome.handle]
            del self._here_handles[handle]
            outcomes.append(
                Outcome(
                    handle=handle,
                    state=outcome.state,
                    record=outcome.record,
                    seconds=outcome.seconds,
                )
            )
        return outcomes

    def _over(self, handle: int) -> bool:
        return handle in self._tasks and self._tasks[handle].child.ended is not None

    def _tell_progress(self) -> None:
        for task in list(self._tasks.values()):
            news = task.child.progress[task.told :]
            task.told += len(news)
            if task.progress is not None:
                for steps, budget in news:
                    task.progress(steps, budget)

    def _keep_limits(self) -> None:
        now = time.monotonic()
        for task in self._tasks.values():
            child, limits = task.child, task.job.limits
            if child.started is None or child.pid is None or child.ended is not None:
                continue
            if task.signal is not None:
                self._signal(task, task.signal)
                task.signal = None
            if limits.seconds is not None and now - child.started > limits.seconds:
                self._stop(task, "timeout")
            if limits.memory is not None:
                used = memory_of(child.pid) or child.reported_memory
                if used > limits.memory:
                    self._stop(task, "oom")
            if task.kill_at is not None and now >= task.kill_at:
                self._signal(task, signal.SIGKILL)
                task.kill_at = now + TICK_SECONDS * 10  # again, should it not be heard

    def _stop(self, task: _Task, reason: OutcomeState) -> None:
        """SIGTERM now and SIGKILL after the grace period; at once to what eats memory."""
        if task.reason is not None or task.child.ended is not None:
            return
        task.reason = reason
        grace = 0.0 if reason == "oom" else self._grace
        task.kill_at = time.monotonic() + grace
        task.signal = signal.SIGKILL if reason == "oom" else signal.SIGTERM
        if task.child.pid is not None:
            self._signal(task, task.signal)
            task.signal = None

    def _signal(self, task: _Task, number: int) -> None:
        if self._starter is not None:
            self._starter.signal(task.child, number)

    def _outcome(self, handle: int) -> Outcome:
        task = self._tasks.pop(handle)
        child = task.child
        child.close()
        record = _record(task)
        state, detail = _judged(task)
        seconds = 0.0
        if child.started is not None and child.ended is not None:
            seconds = child.ended - child.started
        if record is not None:
            return Outcome(handle=handle, state="done", record=record, seconds=seconds)
        return Outcome(handle=handle, state=state, detail=detail, seconds=seconds)


def _record(task: _Task) -> RunRecord | None:
    """The record that came up the pipe, whole and of this cell; None otherwise."""
    if task.child.result is None:
        return None
    try:
        record = from_bytes(task.child.result)
    except (ValueError, KeyError, TypeError):
        return None
    return record if record.key.digest == task.job.key.digest else None


def _judged(task: _Task) -> tuple[OutcomeState, str]:
    """What became of a worker that sent no record."""
    status, limits = task.child.status, task.job.limits
    if task.reason == "timeout":
        return "timeout", f"stopped after its limit of {limits.seconds:g} s"
    if task.reason == "oom":
        mebibytes = (limits.memory or 0) / 2**20
        return "oom", f"stopped at its limit of {mebibytes:g} MiB of memory"
    if task.reason is not None:
        return task.reason, "given up"
    if status is None:
        return "lost", "the process that had started it was gone"
    if status < 0 and -status in CRASHES:
        return "failed", f"its process crashed: {signal.Signals(-status).name}"
    if status < 0:
        return "killed", f"its process was ended from outside by {_signal_name(-status)}"
    if status == STOPPED:
        return "killed", "its process was asked to end from outside (SIGTERM)"
    return "failed", f"its process ended with exit code {status} before it had a result"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _importable(modules: dict[str, None]) -> list[str]:
    """Those modules that are there; the cells of the others will say what is missing."""
    found = []
    for module in modules:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            continue
        if spec is not None:
            found.append(module)
    return found
