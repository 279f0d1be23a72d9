"""Runs a suite: plan the cells, skip what is stored, run the rest, keep each as it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.catalogue import registry
from registry.errors import SuiteError
from registry.specs import TaskSpec
from rlsuite.backends import Backend, Limits
from rlsuite.records import RunRecord
from rlsuite.running.events import (
    CellElsewhere,
    CellFinished,
    CellProgress,
    CellRetried,
    CellStarted,
    Event,
    Listener,
    SuiteStarted,
)
from rlsuite.running.looks import FamilyDecision
from rlsuite.running.run_loop import CHECKPOINT_STEPS, RETRIES, Rules, Running, memory_bytes
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.stored import baseline_records
from rlsuite.suite import Cell, Grid, Suite, choices, load_suite

if TYPE_CHECKING:
    from rlsuite.reporting.boards import Leaderboard

__all__ = [
    "BenchmarkResult",
    "CellElsewhere",
    "CellFinished",
    "CellProgress",
    "CellRetried",
    "CellStarted",
    "SuiteStarted",
    "benchmark",
    "suite_of",
    "written_call",
]

DEFAULT_SEEDS = 5
SERIAL = "rlsuite/serial-v0"
PROCESSES = "rlsuite/processes-v0"


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All records of a suite, in the order of its cells. `print` shows the leaderboards.

    `baselines` are results that the suite brings along: they are shown, and were not run here.
    `decisions` are those of the sequential test, where seeds were added until it was decided;
    `call` is what made the results, for their report.
    """

    suite: Suite
    records: tuple[RunRecord, ...]
    store_path: Path
    reused: int = 0
    notes: tuple[str, ...] = ()
    decisions: tuple[FamilyDecision, ...] = ()
    call: str = ""
    baselines: tuple[RunRecord, ...] = ()

    @property
    def shown(self) -> tuple[RunRecord, ...]:
        """What leaderboards and reports show: the records, and the baselines beside them."""
        return (*self.records, *self.baselines)

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The cells without figures, whatever the reason; the next run tries them again."""
        return tuple(record for record in self.records if record.state != "ok")

    def report(
        self,
        path: str | PathLike[str],
        command: str = "",
        boards: Sequence[Leaderboard] | None = None,
    ) -> Path:
        """Writes one self-contained HTML file and returns its path.

        Args:
            path: The file.
            command: What made these results, for the reader to repeat; else the call in Python.
            boards: Their leaderboards, where they are known already.
        """
        from rlsuite.reporting.pictures import task_pictures
        from rlsuite.reporting.report import write_report

        return write_report(
            self.shown,
            Path(path),
            title=self.suite.title or self.suite.name,
            command=command or self.call,
            suite=self.suite,
            pictures=task_pictures(self.records, self.store_path),
            boards=boards,
        )

    def __str__(self) -> str:
        from rlsuite.reporting.formatting import counts_text, failure_lines
        from rlsuite.reporting.leaderboard import leaderboards, to_markdown

        count = len(self.records)
        states = counts_text(Counter(record.state for record in self.records)) or "none run"
        head = f"{self.suite.name}: {count} cells ({states}), {self.reused} reused"
        boards = [to_markdown(board) for board in leaderboards(self.shown)]
        failures = "\n".join(failure_lines(self.failed))
        decided = "\n".join(f"{d.family}, {d.quantity}: {d.sentence}" for d in self.decisions)
        parts = [head, *boards, decided, failures, *self.notes, f"Results: {self.store_path}"]
        return "\n\n".join(part for part in parts if part)


def benchmark(
    suite: Suite | str | PathLike[str] | None = None,
    *,
    agents: Mapping[str, Any] | Sequence[str] | None = None,
    tasks: Sequence[str | TaskSpec] | None = None,
    seeds: int | Sequence[int] | None = None,
    total_timesteps: int | None = None,
    store: str | PathLike[str] | None = None,
    backend: str | None = None,
    workers: int | None = None,
    timeout: float | None = None,
    memory: int | str | None = None,
    retries: int = RETRIES,
    checkpoint_every: int | None = CHECKPOINT_STEPS,
    choose: Callable[[Cell, str | None], bool] | None = None,
    progress: Listener | None = None,
    updates: bool = True,
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
        backend: Id of a registered backend. None runs one cell after the other in this process
            (`rlsuite/serial-v0`), or where `workers`, `timeout` or `memory` is given, each cell in
            a fresh process of its own (`rlsuite/processes-v0`). The records are the same, bit for
            bit.
        workers: How many cells at once.
        timeout: Seconds after which a cell is stopped, with the state `timeout`.
        memory: Bytes, or text like `"2GiB"`, beyond which a cell is stopped, with the state `oom`.
        retries: How often a cell is tried again that was killed, lost or out of memory. A cell
            whose code raised is not.
        checkpoint_every: Environment steps after which a training is saved, so that it goes on
            from there if it is interrupted; None saves none. For agents that promise `resume` and
            `split_learn`.
        choose: Called as `choose(cell, state)` with the state that the store knows, or None; cells
            for which it is False are not run.
        progress: Called with `SuiteStarted`, then `CellStarted`, `CellProgress`, `CellRetried`,
            `CellElsewhere` and `CellFinished` as they happen.
        updates: Whether the metrics of the agents' updates are kept, at most 200 rows of a cell,
            and watched for what goes wrong, which the notes of its record say. No result depends
            on it.

    Returns:
        The records of all cells, failed ones too, except those that were not chosen and are not
        stored. An agent or environment that raises is a failed record with the tail of its log; the
        other cells go on.

    Raises:
        SuiteError: the suite is malformed or empty, or a built agent was given for a class.
        UnknownIdError: an unknown suite, task, environment, agent or backend; nothing was run.
        SettingError: an unknown setting or a value outside its range, or a limit that the backend
            cannot keep; nothing was run.
        StoreError: the store cannot be opened or written; what it held is untouched.
    """
    chosen = suite_of(suite, agents, tasks, seeds, total_timesteps)
    chosen.check()
    rules = Rules(
        limits=Limits(seconds=timeout, memory=memory_bytes(memory)),
        retries=retries,
        checkpoint_every=checkpoint_every,
        choose=choose,
        updates=updates,
    )
    if backend is None:
        apart = any(value is not None for value in (workers, timeout, memory))
        backend = PROCESSES if apart else SERIAL
    runner: Backend = registry.get("backend", backend).load()(workers=workers)
    path = DEFAULT_PATH if store is None else Path(store)
    with Store(path) as opened:
        run = Running(chosen, opened, runner, progress or _silent, rules)
        run.reuse()
        run.finish()
    records = tuple(record for _, record in sorted(run.records.items(), key=lambda i: i[0]))
    return BenchmarkResult(
        suite=chosen,
        records=records,
        baselines=baseline_records(chosen, records),
        store_path=path,
        reused=run.reused,
        notes=run.notes(),
        call=written_call(
            "benchmark",
            suite,
            agents=agents,
            tasks=tasks,
            seeds=seeds,
            total_timesteps=total_timesteps,
            store=store,
        ),
    )


def _silent(event: Event) -> None:
    """Tells nobody."""


def suite_of(
    suite: Suite | str | PathLike[str] | None,
    agents: Any,
    tasks: Any,
    seeds: int | Sequence[int] | None,
    total_timesteps: int | None,
) -> Suite:
    """The suite that `benchmark` runs for these arguments of it."""
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


def written_call(function: str, suite: Any, **given: Any) -> str:
    """A call as one would write it again; what is None was not given, classes stand by their names.

    Only what decides which cells there are, and where they are kept, belongs into it.
    """
    words = [] if suite is None else [_written(suite)]
    words += [f"{name}={_written(value)}" for name, value in given.items() if value is not None]
    return f"rlsuite.{function}({', '.join(words)})"


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        items = ", ".join(map(_written, value))
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    if isinstance(value, Suite):
        return f"Suite({value.name!r}, ...)"
    if isinstance(value, TaskSpec):
        return f"TaskSpec(id={value.id!r}, ...)"
    if isinstance(value, PathLike):
        return repr(str(value))
    return str(getattr(value, "__name__", repr(value)))
