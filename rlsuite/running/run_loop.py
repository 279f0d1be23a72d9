"""A suite while it is run: what is stored is taken, the rest is leased, run, tried again, kept.

All of it stands above the backends, once: which cells are run and by whom, what a lost worker
means, how often a cell is tried, and where its checkpoint and its output are.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from registry.errors import SettingError
from rlsuite.backends import NO_LIMITS, Backend, Job, Limits, Outcome
from rlsuite.identity import fingerprint, has_source, key_of, resolved_settings
from rlsuite.records import RunKey, RunRecord, State
from rlsuite.running.cells import Progress, run_cell
from rlsuite.running.events import (
    CellElsewhere,
    CellFinished,
    CellProgress,
    CellRetried,
    CellStarted,
    Listener,
    SuiteStarted,
)
from rlsuite.running.leases import Watch, heartbeat, new_owner
from rlsuite.running.payloads import Unportable, payload_of
from rlsuite.running.policies import POLICIES_BYTES, trim
from rlsuite.running.resuming import CheckpointPlan, remove_cell, sweep
from rlsuite.running.reusing import Trainings, policies_folder, same_result, shelf_of
from rlsuite.store import Attempt, Store
from rlsuite.suite import Cell

__all__ = ["CHECKPOINT_STEPS", "RETRIES", "Rules", "Running", "memory_bytes"]

RETRIES = 2
CHECKPOINT_STEPS = 100_000
POLL_SECONDS = 0.25
OUTSIDE = frozenset({"killed", "oom", "lost"})
"""Outcomes whose cause may lie outside of the cell: these are tried again, and no others, because
trying until it succeeds would change what is measured."""

TAIL_BYTES = 4_000
TAIL_LINES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How cells are run; none of it changes a result.

    Args:
        limits: Time and memory of each try.
        retries: How often a cell is tried again that was killed, lost or out of memory.
        checkpoint_every: Steps after which a training is saved, for agents that promise to go on
            from there exactly; None saves nothing.
        choose: Which cells are run at all, from the cell and the state it has in the store; the
            others are left as they are.
        updates: Whether what agents tell of their updates is kept, and watched for what goes wrong.
    """

    limits: Limits = NO_LIMITS
    retries: int = RETRIES
    checkpoint_every: int | None = CHECKPOINT_STEPS
    choose: Callable[[Cell, str | None], bool] | None = None
    updates: bool = True

    def __post_init__(self) -> None:
        for name, what, value in (
            ("timeout", "seconds", self.limits.seconds),
            ("memory", "bytes", self.limits.memory),
        ):
            if value is not None and not 0 < value < math.inf:
                raise SettingError(f"{name} must be a number of {what} above 0, got {value!r}.")
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise SettingError(f"retries is a whole number of at least 0, got {self.retries!r}.")
        if self.checkpoint_every is not None:  # checked where it is used
            CheckpointPlan(folder="", digest="", every=self.checkpoint_every)


class Cells(Protocol):
    """A suite, or whatever has cells."""

    def cells(self) -> Iterator[Cell]:
        """Every cell once."""
        ...


class Running:
    """One run of a suite.

    Args:
        suite: What to run.
        store: Where results are kept.
        backend: Who runs the cells.
        tell: Told what happens.
        rules: How.
    """

    def __init__(
        self, suite: Cells, store: Store, backend: Backend, tell: Listener, rules: Rules
    ) -> None:
        self.store, self.backend, self.tell, self.rules = store, backend, tell, rules
        limited = rules.limits.seconds is not None or rules.limits.memory is not None
        if limited and not backend.elsewhere:
            raise SettingError(
                "limits of time and memory need cells in processes of their own, and "
                f"{type(backend).__name__} runs them in this one: take the backend "
                "'rlsuite/processes-v0'."
            )
        self.cells = list(suite.cells())
        self.keys = [key_of(cell) for cell in self.cells]
        self.fingerprint = fingerprint()
        self.owner = new_owner()
        self.records: dict[int, RunRecord] = {}
        self.reused = 0
        self.strangers = 0
        self.damaged = 0
        self._here: dict[tuple[int, str], str] = {}  # kinds of this process alone, and why
        self._watch = Watch()
        self._running: dict[int, int] = {}  # handle: index
        self._tries: dict[int, int] = {}
        self._numbers: dict[int, int] = {}  # of the try under way, over all runs
        self._started: dict[int, str] = {}
        self._left_out: set[int] = set()
        self._before: dict[int, str] = {}  # cells of which only the episodes are missing: of what
        self._elsewhere: set[int] = set()
        self._shelved = 0  # bytes of policies since the folder was last trimmed

    def reuse(self) -> None:
        """Takes what is stored. A cell that failed is not taken: it is tried again."""
        self.damaged = self.store.damaged()
        states = self.store.states()
        sweep(self._checkpoint_folder, {digest for digest, s in states.items() if s == "ok"})
        choose = self.rules.choose
        trainings = Trainings(self.store)
        stored = []
        for index, (cell, key) in enumerate(zip(self.cells, self.keys, strict=True)):
            state = states.get(key.digest)
            if choose is not None and not choose(cell, state):
                self._left_out.add(index)
            if state is not None and (state == "ok" or index in self._left_out):
                stored.append(index)
            elif index not in self._left_out and (before := trainings.before(cell, key)):
                if same_result(cell, before):
                    self.store.put(replace(before, key=key, agent=cell.label))
                    stored.append(index)
                else:
                    self._before[index] = before.key.digest
        others = self._left_out.union(stored)
        to_run = tuple(cell for index, cell in enumerate(self.cells) if index not in others)
        self.tell(SuiteStarted(len(self.cells), len(stored), to_run))
        for index in stored:
            self._reuse(index)

    def finish(self) -> None:
        """Runs the rest, as many at once as the backend takes."""
        todo = self._order()
        others: list[int] = []  # leased to somebody else
        if not todo:
            return
        with heartbeat(self.store, self.owner):
            try:
                while todo or self._running or others:
                    self._fill(todo, others)
                    if self._running:
                        for outcome in self.backend.wait(tuple(self._running), POLL_SECONDS):
                            self._settle(outcome, todo)
                    elif others:
                        time.sleep(POLL_SECONDS)
                    if not todo:
                        todo.extend(others)
                        others.clear()
            finally:
                for handle in self._running:
                    self.backend.cancel(handle)
                self.backend.close()
                trim(policies_folder(self.store.path), POLICIES_BYTES)

    def notes(self) -> tuple[str, ...]:
        """What the reader of the results should know."""
        found = []
        if self.damaged:
            what = "1 cell" if self.damaged == 1 else f"{self.damaged:,} cells"
            found.append(
                f"Note: {what} of the store {self.store.path} cannot be read any more. Those of "
                "this suite were run again; a report of the whole store may be refused."
            )
        if self.strangers:
            found.append(
                f"Note: {self.strangers} reused cells were run with other library versions or on "
                "another machine; every record says which."
            )
        sourceless = sorted({c.label for c in self.cells if not has_source(c.choice)})
        if sourceless:
            found.append(
                f"Note: the source of {', '.join(sourceless)} cannot be found, so these cells are "
                "run anew every time. Put the class into a file."
            )
        for reason in sorted(set(self._here.values())):
            found.append(
                f"Note: {reason}, so its cells ran one after the other in this process, without "
                "limits. Put it into a module that can be imported."
            )
        if any(record.state != "ok" for record in self.records.values()):
            found.append("Note: failed cells are tried again when this is run again.")
        return tuple(found)

    def _order(self) -> deque[int]:
        """What is left to run; cells that can run in this process alone come last."""
        todo = [
            index
            for index in range(len(self.cells))
            if index not in self.records and index not in self._left_out
        ]
        if not self.backend.elsewhere:
            return deque(todo)
        kinds = {self._kind(index): index for index in todo}
        for kind, index in kinds.items():
            found = self._payload(index)
            if isinstance(found, Unportable):
                self._here[kind] = found.reason
        prepare = getattr(self.backend, "prepare", None)
        if callable(prepare):
            prepare([self.cells[i] for kind, i in kinds.items() if kind not in self._here])
        return deque(sorted(todo, key=lambda index: self._kind(index) in self._here))

    def _kind(self, index: int) -> tuple[int, str]:
        """What decides whether a cell can leave this process: its agent and its environment."""
        cell = self.cells[index]
        return id(cell.choice), cell.task.env_id

    def _fill(self, todo: deque[int], others: list[int]) -> None:
        while todo and len(self._running) < self.backend.capacity():
            index = todo.popleft()
            if not self._claim(index):
                others.append(index)
                self._tell_elsewhere(index)
            elif index not in self.records:
                self._start(index)

    def _tell_elsewhere(self, index: int) -> None:
        """Once for each cell: whoever is waited for is asked again and again."""
        if index not in self._elsewhere:
            self._elsewhere.add(index)
            cell = self.cells[index]
            where = (cell.task.id, cell.label, cell.seed)
            self.tell(CellElsewhere(index, len(self.cells), *where))

    def _claim(self, index: int) -> bool:
        """Whether the cell is ours to run, or has been finished by somebody else meanwhile."""
        digest = self.keys[index].digest
        lease = self.store.claim(digest, self.owner)
        if lease is not None and self._watch.is_dead(digest, lease):
            lease = self.store.claim(digest, self.owner, instead_of=lease)
        if lease is not None:
            return False
        if self.store.state(digest) == "ok":
            self.store.release(self.owner, digest)
            self._reuse(index)
        return True

    def _start(self, index: int) -> None:
        cell, total = self.cells[index], len(self.cells)
        self._tries[index] = self._tries.get(index, 0) + 1
        self._numbers[index] = len(self.store.attempts(self.keys[index].digest)) + 1
        self._started[index] = datetime.now(UTC).isoformat(timespec="seconds")
        self.tell(CellStarted(index, total, cell.task.id, cell.label, cell.seed))
        handle = self.backend.submit(
            self._job(index),
            lambda steps, budget: self.tell(CellProgress(index, total, steps, budget)),
        )
        self._running[handle] = index

    def _job(self, index: int) -> Job:
        cell, key = self.cells[index], self.keys[index]

        def run(progress: Progress | None) -> RunRecord:
            return run_cell(cell, key, progress=progress, **self._given(index))

        payload = self._payload(index) if self._leaves(index) else None
        return Job(
            cell=cell,
            key=key,
            payload=payload if isinstance(payload, str) else None,
            run=run,
            limits=self.rules.limits,
            output=self._output(index),
        )

    def _leaves(self, index: int) -> bool:
        """Whether the cell runs in another process."""
        return self.backend.elsewhere and self._kind(index) not in self._here

    def _payload(self, index: int) -> str | Unportable:
        return payload_of(self.cells[index], self.keys[index], **self._given(index))

    def _given(self, index: int) -> dict[str, Any]:
        """What a cell needs beside itself, here as elsewhere."""
        before = self._before.get(index)
        return {
            "settings": resolved_settings(self.cells[index].choice),
            "fingerprint": self.fingerprint,
            "checkpoints": self._checkpoints(self.keys[index]),
            "shelf": shelf_of(self.store.path, self.keys[index]),
            "before": None if before is None else self.store.get(before),
            "updates": self.rules.updates,
        }

    @property
    def _checkpoint_folder(self) -> Path:
        return self.store.path.with_suffix(".checkpoints").absolute()

    def _checkpoints(self, key: RunKey) -> CheckpointPlan | None:
        every = self.rules.checkpoint_every
        if every is None:
            return None
        return CheckpointPlan(folder=str(self._checkpoint_folder), digest=key.digest, every=every)

    def _output(self, index: int) -> Path | None:
        """Where the output of the try under way is kept: beside the store."""
        if not self._leaves(index):
            return None
        digest = self.keys[index].digest
        folder = self.store.path.with_suffix(".output") / digest[:2]
        return folder / f"{digest}.{self._numbers[index]}.txt"

    def _settle(self, outcome: Outcome, todo: deque[int]) -> None:
        """Keeps what became of a try, or lets the cell be tried again."""
        index = self._running.pop(outcome.handle)
        if outcome.state == "cancelled":
            return
        record, output = outcome.record, self._kept_output(index)
        again = record is None and outcome.state in OUTSIDE
        again = again and self._tries[index] <= self.rules.retries
        self._note_attempt(index, outcome, output)
        if again:
            self.tell(CellRetried(index, len(self.cells), outcome.state, outcome.detail))
            todo.append(index)
            return
        if record is None:
            record = self._without_figures(index, outcome, output)
        shelf = shelf_of(self.store.path, self.keys[index])
        if record.state == "ok" or index in self._before:
            shelf.clear(torn_only=True)
        elif record.state in ("failed", "skipped"):
            shelf.clear()
        self._trim(shelf.size())
        self.store.put(record, self.owner)
        plan = self._checkpoints(self.keys[index])
        if plan is not None and record.state in ("ok", "failed", "skipped"):
            remove_cell(plan)
        self._keep(index, record, reused=False)

    def _trim(self, more: int) -> None:
        """Keeps the folder of policies small while a suite runs; looks at it now and then."""
        self._shelved += more
        if self._shelved > POLICIES_BYTES // 4:
            trim(policies_folder(self.store.path), POLICIES_BYTES)
            self._shelved = 0

    def _kept_output(self, index: int) -> Path | None:
        """The file of what the try printed; an empty one is removed."""
        path = self._output(index)
        if path is None or not path.exists():
            return None
        if path.stat().st_size == 0:
            path.unlink()
            return None
        return path

    def _note_attempt(self, index: int, outcome: Outcome, output: Path | None) -> None:
        name = "" if output is None else str(output.relative_to(self.store.path.parent))
        self.store.add_attempt(
            self.keys[index].digest,
            Attempt(
                number=self._numbers[index],
                state=outcome.record.state if outcome.record is not None else outcome.state,
                started_at=self._started[index],
                seconds=outcome.seconds,
                output=name,
            ),
        )

    def _without_figures(self, index: int, outcome: Outcome, output: Path | None) -> RunRecord:
        cell = self.cells[index]
        state: State = outcome.state  # type: ignore[assignment]
        if outcome.state == "lost":
            state = "killed"
        detail = outcome.detail or "whoever ran this cell vanished"
        tries = f" ({self._tries[index]} times)" if outcome.state in OUTSIDE else ""
        return RunRecord(
            key=self.keys[index],
            task=cell.task.id,
            env_id=cell.task.env_id,
            family=cell.task.family,
            metric=cell.task.metric,
            agent=cell.label,
            agent_id=cell.choice.id,
            settings=resolved_settings(cell.choice),
            seed=cell.seed,
            total_timesteps=cell.total_timesteps,
            state=state,
            error="\n".join([*_tail(output), f"{detail}{tries}"]),
            started_at=self._started[index],
            fingerprint=self.fingerprint,
        )

    def _reuse(self, index: int) -> None:
        record = self.store.get(self.keys[index].digest)
        if record is None:
            return
        self.reused += 1
        self.strangers += dict(record.fingerprint) != self.fingerprint
        self._keep(index, replace(record, agent=self.cells[index].label), reused=True)

    def _keep(self, index: int, record: RunRecord, *, reused: bool) -> None:
        self.records[index] = record
        self.tell(CellFinished(index, len(self.cells), record, reused))


def memory_bytes(memory: int | str | None) -> int | None:
    """Bytes from a number or from words like `"2 GiB"`, `"500MB"`.

    Raises:
        SettingError: it is neither.
    """
    if memory is None or (isinstance(memory, int) and not isinstance(memory, bool)):
        return memory
    text = str(memory).strip().casefold()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    size = UNITS.get(text.removeprefix(number))
    with contextlib.suppress(ValueError, OverflowError):
        if size is not None:
            return int(float(number) * size)
    raise SettingError(
        f"memory is a number of bytes, or a number with a unit like '2GiB' or '500MB', got "
        f"{memory!r}."
    )


UNITS: Mapping[str, int] = {
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40},
    **{"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "b": 1, "": 1},
}


def _tail(output: Path | None) -> list[str]:
    """The last lines of a file of output; bytes that are no text are shown as their codes."""
    if output is None:
        return []
    with output.open("rb") as stream:
        stream.seek(max(0, output.stat().st_size - TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="backslashreplace")
    lines = text.splitlines()[-TAIL_LINES:]
    return [
        "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line) for line in lines
    ]
