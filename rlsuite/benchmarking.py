"""Runs a suite: plan the cells, skip what is stored, run the rest, keep each as it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

from registry.catalogue import registry
from registry.errors import SuiteError
from registry.specs import TaskSpec
from rlsuite.backends import Backend, Job, Outcome
from rlsuite.cells import Progress, run_cell
from rlsuite.identity import fingerprint, has_source, key_of, resolved_settings
from rlsuite.records import RunKey, RunRecord, canonical_json
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.suite import Cell, Grid, Suite, choices, load_suite

__all__ = [
    "BenchmarkResult",
    "CellFinished",
    "CellProgress",
    "CellStarted",
    "benchmark",
]

TRIES_OF_LOST_WORK = 3
DEFAULT_SEEDS = 5


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
class CellFinished:
    """A cell ended, well or not; `reused`: it was in the store already."""

    index: int
    total: int
    record: RunRecord
    reused: bool


Listener = Callable[[CellStarted | CellProgress | CellFinished], None]


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All records of a suite, in the order of its cells. `print` shows the leaderboards."""

    suite: Suite
    records: tuple[RunRecord, ...]
    store_path: Path
    reused: int = 0
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The cells that failed; the next run of the same suite tries them again."""
        return tuple(record for record in self.records if record.state == "failed")

    def report(self, path: str | PathLike[str], command: str = "") -> Path:
        """Writes one self-contained HTML file and returns its path.

        Args:
            path: The file.
            command: What made these results, for the reader to repeat.
        """
        from rlsuite.report import write_report

        return write_report(
            self.records,
            Path(path),
            title=self.suite.title or self.suite.name,
            command=command or f"rlsuite.benchmark({self.suite.name!r})",
            suite=self.suite,
        )

    def __str__(self) -> str:
        from rlsuite.formatting import failure_lines
        from rlsuite.leaderboard import leaderboards, to_markdown

        count = len(self.records)
        head = f"{self.suite.name}: {count} cells, {len(self.failed)} failed, {self.reused} reused"
        boards = [to_markdown(board) for board in leaderboards(self.records)]
        failures = "\n".join(failure_lines(self.failed))
        parts = [head, *boards, failures, *self.notes, f"Results: {self.store_path}"]
        return "\n\n".join(part for part in parts if part)


def benchmark(
    suite: Suite | str | PathLike[str] | None = None,
    *,
    agents: Mapping[str, Any] | Sequence[str] | None = None,
    tasks: Sequence[str | TaskSpec] | None = None,
    seeds: int | Sequence[int] | None = None,
    total_timesteps: int | None = None,
    store: str | PathLike[str] | None = None,
    backend: str = "rlsuite/serial-v0",
    progress: Listener | None = None,
) -> BenchmarkResult:
    """Trains and scores every agent on every task with every seed.

    Each finished cell is kept in the store at once. The same call again runs only what is missing:
    new seeds, agents or tasks, cells that failed, and cells whose code or settings have changed.

    Args:
        suite: A suite, the name of one (`"quick"`) or the path of a TOML file; or None, and the
            suite is made of `agents` and `tasks`.
        agents: Labels and what they stand for: the id of a registered agent, `(id, settings)`, or
            a class of yours, called as `factory(env, seed=seed)` once per cell. One that has only
            `predict` is evaluated without training. A list of ids is labelled by them.
        tasks: Ids of tasks or environments.
        seeds: How many (5 unless given), or a list of them.
        total_timesteps: Environment steps of each training; None takes each task's own.
        store: The SQLite file; None is `results/rlsuite.sqlite` under the current folder.
        backend: Id of a registered backend.
        progress: Called with `CellStarted`, `CellProgress` and `CellFinished` as they happen.

    Returns:
        The records of all cells, failed ones too. An agent or environment that raises is a failed
        record with the tail of its log; the other cells go on.

    Raises:
        SuiteError: the suite is malformed or empty, or a built agent was given for a class.
        UnknownIdError: an unknown suite, task, environment, agent or backend; nothing was run.
        SettingError: an unknown setting or a value outside its range; nothing was run.
        StoreError: the store cannot be opened or written; what it held is untouched.
    """
    chosen = _suite_of(suite, agents, tasks, seeds, total_timesteps)
    chosen.check()
    runner: Backend = registry.get("backend", backend).load()()
    path = DEFAULT_PATH if store is None else Path(store)
    with Store(path) as opened:
        run = _Run(chosen, opened, runner, progress or _silent)
        run.reuse()
        run.finish()
    return BenchmarkResult(
        suite=chosen,
        records=tuple(run.records[index] for index in range(len(run.cells))),
        store_path=path,
        reused=run.reused,
        notes=run.notes(),
    )


def _silent(event: CellStarted | CellProgress | CellFinished) -> None:
    """Tells nobody."""


def _suite_of(
    suite: Suite | str | PathLike[str] | None,
    agents: Any,
    tasks: Any,
    seeds: int | Sequence[int] | None,
    total_timesteps: int | None,
) -> Suite:
    if suite is None:
        if not agents or not tasks:
            missing = " and ".join(n for n, v in (("agents", agents), ("tasks", tasks)) if not v)
            raise SuiteError(f"benchmark needs a suite, or agents and tasks; {missing} is missing.")
        if isinstance(tasks, str):
            raise SuiteError(
                f"tasks is a list of ids, got the string {tasks!r}: write [{tasks!r}]."
            )
        grid = Grid(
            tasks=tuple(tasks),
            agents=choices(agents),
            seeds=DEFAULT_SEEDS if seeds is None else seeds,  # type: ignore[arg-type]
            total_timesteps=total_timesteps,
        )
        return Suite("benchmark", (grid,))
    if agents or tasks:
        raise SuiteError("give a suite, or agents and tasks, not both: a suite names its own.")
    loaded = suite if isinstance(suite, Suite) else load_suite(str(suite))
    changes: dict[str, Any] = {}
    if seeds is not None:
        changes["seeds"] = seeds
    if total_timesteps is not None:
        changes["total_timesteps"] = total_timesteps
    return replace(loaded, grids=tuple(replace(grid, **changes) for grid in loaded.grids))


class _Run:
    """A suite while it is being run."""

    def __init__(self, suite: Suite, store: Store, backend: Backend, tell: Listener) -> None:
        self.store, self.backend, self.tell = store, backend, tell
        self.cells = list(suite.cells())
        self.keys = [key_of(cell) for cell in self.cells]
        self.fingerprint = fingerprint()
        self.records: dict[int, RunRecord] = {}
        self.reused = 0
        self.strangers = 0

    def reuse(self) -> None:
        """Takes what is stored. A cell that failed is not taken: it is tried again."""
        for index, (cell, key) in enumerate(zip(self.cells, self.keys, strict=True)):
            record = self.store.get(key.digest)
            if record is None or record.state != "ok":
                continue
            self.reused += 1
            self.strangers += dict(record.fingerprint) != self.fingerprint
            self._keep(index, replace(record, agent=cell.label), reused=True)

    def finish(self) -> None:
        """Runs the rest, as many at once as the backend takes."""
        todo = deque(index for index in range(len(self.cells)) if index not in self.records)
        running: dict[int, int] = {}
        tries = dict.fromkeys(todo, 0)
        try:
            while todo or running:
                while todo and len(running) < self.backend.capacity():
                    index = todo.popleft()
                    tries[index] += 1
                    running[self._start(index)] = index
                for outcome in self.backend.wait(tuple(running)):
                    index = running.pop(outcome.handle)
                    if outcome.record is None and tries[index] < TRIES_OF_LOST_WORK:
                        todo.append(index)
                        continue
                    self._ended(index, outcome)
        finally:
            for handle in running:
                self.backend.cancel(handle)

    def notes(self) -> tuple[str, ...]:
        """What the reader of the results should know."""
        found = []
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
        if any(record.state == "failed" for record in self.records.values()):
            found.append("Note: failed cells are tried again when this is run again.")
        return tuple(found)

    def _start(self, index: int) -> int:
        cell, key, total = self.cells[index], self.keys[index], len(self.cells)
        self.tell(CellStarted(index, total, cell.task.id, cell.label, cell.seed))
        return self.backend.submit(
            self._job(cell, key),
            lambda steps, budget: self.tell(CellProgress(index, total, steps, budget)),
        )

    def _job(self, cell: Cell, key: RunKey) -> Job:
        settings = resolved_settings(cell.choice)

        def run(progress: Progress | None) -> RunRecord:
            return run_cell(
                cell, key, settings=settings, fingerprint=self.fingerprint, progress=progress
            )

        registered = isinstance(cell.choice.agent, str)
        payload = canonical_json(key.identity) if registered else None
        return Job(cell=cell, key=key, payload=payload, run=run)

    def _ended(self, index: int, outcome: Outcome) -> None:
        record = outcome.record
        if record is None:
            record = self._lost(index)
        self.store.put(record)
        self._keep(index, record, reused=False)

    def _lost(self, index: int) -> RunRecord:
        cell = self.cells[index]
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
            state="failed",
            error=f"whoever ran this cell vanished, {TRIES_OF_LOST_WORK} times",
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            fingerprint=self.fingerprint,
        )

    def _keep(self, index: int, record: RunRecord, *, reused: bool) -> None:
        self.records[index] = record
        self.tell(CellFinished(index, len(self.cells), record, reused))
