"""Adds seeds to a suite, look by look, until its agents are told apart or there were enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from registry.specs import TaskSpec
from rlsuite.benchmarking import BenchmarkResult, benchmark, suite_of, written_call
from rlsuite.running.events import CellFinished, Event, Listener, SuiteStarted
from rlsuite.running.looks import (
    FamilyDecision,
    chosen_kinds,
    contests_of,
    decide,
    grown,
    kind_of,
    seeds_of,
)
from rlsuite.running.planning import Chooser
from rlsuite.suite import Cell, Suite

__all__ = ["UntilClear", "benchmark_until_clear"]

NOTE = (
    "Note: seeds were added until the sequential test was decided; the intervals of the "
    "leaderboards do not know of its looks."
)


class UntilClear:
    """A suite under a sequential test: `look` after `look` while there are cells to run.

    Everything follows from the suite, the largest number of seeds and the records: whoever starts
    again with the same store comes to the same decisions.

    Args:
        suite: What to run; its seeds are the first look.
        max_seeds: Of every agent on every task; None is five times those of the suite.
        choose: Which agents and tasks, as for `benchmark`; all seeds of them or none.

    Raises:
        SuiteError, SettingError: see `rlsuite.running.looks.contests_of`.
    """

    def __init__(
        self, suite: Suite, max_seeds: int | None = None, choose: Chooser | None = None
    ) -> None:
        kinds = chosen_kinds(suite, choose)
        self.contests = contests_of(kinds, max_seeds)
        self.suite = suite
        self.decisions: tuple[FamilyDecision, ...] = ()
        self._wanted = {kind: len(cells) for kind, cells in kinds.items()}
        self._told: set[Name] = set()
        self._reused = 0

    @property
    def done(self) -> bool:
        """Whether the last look was had, or all is decided."""
        return not self.cells()

    def cells(self) -> list[Cell]:
        """The cells of the next look that no earlier look had."""
        wanted = self._names()
        return [c for c in self.suite.cells() if _name(c) in wanted and _name(c) not in self._told]

    def look(self, *, progress: Listener | None = None, **how: Any) -> BenchmarkResult:
        """Runs the cells of the next look, and decides.

        Args:
            progress: As for `benchmark`; cells are counted look by look.
            how: Further arguments of `benchmark`.

        Returns:
            All records so far.
        """
        fresh, wanted = {_name(cell) for cell in self.cells()}, self._names()
        result = benchmark(
            self.suite,
            # a cell of an earlier look that failed is not tried again within one command
            choose=lambda cell, _: _name(cell) in fresh,
            progress=self._counted(progress, fresh),
            **how,
        )
        records = {
            name: record
            for record in result.records
            if (name := (record.task, record.agent, record.seed)) in wanted
        }
        order = seeds_of(self.suite)
        self.decisions = tuple(
            decision for contest in self.contests for decision in decide(contest, records, order)
        )
        self._told |= fresh
        self._extend()
        return replace(
            result,
            records=tuple(records.values()),
            reused=self._reused,
            notes=(*result.notes, NOTE),
            decisions=self.decisions,
        )

    def _extend(self) -> None:
        for decision in self.decisions:
            for agent, more in decision.more_seeds.items():
                for task in decision.tasks:
                    self._wanted[task, agent] = decision.seeds[agent] + more
        self.suite = grown(self.suite, self._wanted)

    def _names(self) -> set[Name]:
        """The cells of all looks up to the next one."""
        return {
            (*kind, seed)
            for kind, seeds in seeds_of(self.suite).items()
            for seed in seeds[: self._wanted.get(kind, 0)]
        }

    def _counted(self, progress: Listener | None, fresh: set[Name]) -> Listener:
        """Tells of the cells of this look alone, numbered among themselves."""
        places = [i for i, cell in enumerate(self.suite.cells()) if _name(cell) in fresh]
        numbers = {index: number for number, index in enumerate(places)}
        total = len(numbers)

        def tell(event: Event) -> None:
            if isinstance(event, SuiteStarted):
                told: Event = replace(event, total=total, reused=total - len(event.to_run))
            elif event.index in numbers:
                told = replace(event, index=numbers[event.index], total=total)
            else:
                return
            self._reused += isinstance(told, CellFinished) and told.reused
            if progress is not None:
                progress(told)

        return tell


Name = tuple[str, str, int]
"""Task, agent and seed of a cell."""


def _name(cell: Cell) -> Name:
    return (*kind_of(cell), cell.seed)


def benchmark_until_clear(
    suite: Suite | str | PathLike[str] | None = None,
    *,
    agents: Mapping[str, Any] | Sequence[str] | None = None,
    tasks: Sequence[str | TaskSpec] | None = None,
    seeds: int | Sequence[int] | None = None,
    total_timesteps: int | None = None,
    max_seeds: int | None = None,
    choose: Chooser | None = None,
    looked: Callable[[tuple[FamilyDecision, ...]], None] | None = None,
    progress: Listener | None = None,
    **how: Any,
) -> BenchmarkResult:
    """Runs a suite with more and more seeds until its agents are told apart.

    The sequential test (`rlsuite.statistics.sequential_comparison`) looks after the seeds of the
    suite, after as many again, and so on. Pairs that it tells apart need no more seeds; it ends
    when all pairs of a family are told apart, or at `max_seeds`. All looks and pairs of a family
    together find a difference that is not there with probability 5%. What is compared, and what a
    failed run counts: see `rlsuite.running.looks`.

    The same call again goes on where it stopped. The looks belong to the test: fix `max_seeds`
    beforehand.

    Args:
        suite: As for `benchmark`; so are `agents`, `tasks`, `seeds` and `total_timesteps`. At least
            2 seeds, 5 are usual.
        agents: See `benchmark`.
        tasks: See `benchmark`.
        seeds: Of the first look.
        total_timesteps: See `benchmark`.
        max_seeds: Of every agent on every task; None is five times those of the suite.
        choose: As for `benchmark`, but it must take all seeds of an agent on a task or none.
        looked: Called after every look with the decisions so far.
        progress: As for `benchmark`; cells are counted look by look.
        how: `store`, `backend`, `workers` and the further arguments of `benchmark`.

    Returns:
        All records, and the decisions.

    Raises:
        SuiteError, SettingError: as `benchmark`, and where there is nobody to compare, a single
            seed, or fewer seeds at most than the suite has; nothing was run.
    """
    chosen = suite_of(suite, agents, tasks, seeds, total_timesteps)
    chosen.check()
    steps = UntilClear(chosen, max_seeds, choose)
    while not steps.done:
        result = steps.look(progress=progress, **how)
        if looked is not None:
            looked(steps.decisions)
    call = written_call(
        "benchmark_until_clear",
        suite,
        agents=agents,
        tasks=tasks,
        seeds=seeds,
        total_timesteps=total_timesteps,
        max_seeds=max_seeds,
        store=how.get("store"),
    )
    return replace(result, call=call)
