"""What is known of a running benchmark, gathered from its events; nothing is drawn here."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, median

from rlsuite.records import RunRecord
from rlsuite.reporting.formatting import counts_text, number
from rlsuite.running.events import (
    CellElsewhere,
    CellFinished,
    CellProgress,
    CellRetried,
    CellStarted,
    Event,
    SuiteStarted,
)

__all__ = ["BenchState", "Best", "RunningCell", "TimeLeft", "roughly"]

Kind = tuple[str, str]
"""Task and agent: cells of one kind differ in their seed, and take about the same time."""


@dataclass
class RunningCell:
    """A cell under way: `steps` of `budget` at its last evaluation point, on its `attempt`."""

    task: str
    agent: str
    seed: int
    started: float
    attempt: int = 1
    steps: int = 0
    budget: int = 0


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """An estimate in seconds; `untimed` of the `kinds` still to be run have no finished cell."""

    seconds: float
    untimed: int
    kinds: int

    def __str__(self) -> str:
        if not self.untimed:
            return f"about {roughly(self.seconds)} left"
        return (
            f"perhaps {roughly(self.seconds)} left, "
            f"{self.untimed} of {self.kinds} kinds of cells not timed yet"
        )


@dataclass(frozen=True, slots=True)
class Best:
    """The best agent so far of a family of tasks, or of one task: `figure` in words."""

    where: str
    agent: str
    figure: str


@dataclass
class BenchState:
    """All that a display of a benchmark knows."""

    clock: Callable[[], float] = time.monotonic
    total: int = 0
    done: int = 0
    reused: int = 0
    retried: int = 0
    states: Counter[str] = field(default_factory=Counter)
    running: dict[int, RunningCell] = field(default_factory=dict)
    elsewhere: set[int] = field(default_factory=set)
    waiting: Counter[Kind] = field(default_factory=Counter)
    budgets: dict[Kind, int] = field(default_factory=dict)
    seconds: dict[Kind, list[float]] = field(default_factory=dict)
    most_at_once: int = 1
    results: dict[str, dict[str, dict[str, list[RunRecord]]]] = field(default_factory=dict)
    _attempts: Counter[int] = field(default_factory=Counter)

    def __call__(self, event: Event) -> None:
        """Takes one event in."""
        if isinstance(event, SuiteStarted):
            self._begin(event)
        elif isinstance(event, CellStarted):
            self._start(event)
        elif isinstance(event, CellProgress):
            under_way = self.running[event.index]
            under_way.steps, under_way.budget = event.steps, event.budget
        elif isinstance(event, CellRetried):
            self.retried += 1
            lost = self.running.pop(event.index)
            self.waiting[lost.task, lost.agent] += 1
        elif isinstance(event, CellElsewhere):
            self.elsewhere.add(event.index)
        else:
            self._finish(event)

    def _begin(self, event: SuiteStarted) -> None:
        """A suite may begin again with more seeds: what cells took is all that is kept."""
        self.total, self.done, self.reused = event.reused + len(event.to_run), 0, 0
        for gathered in (self.states, self.running, self.elsewhere, self.waiting, self.results):
            gathered.clear()
        for cell in event.to_run:
            kind = (cell.task.id, cell.label)
            self.waiting[kind] += 1
            self.budgets[kind] = cell.total_timesteps
        self._attempts.clear()

    def _start(self, event: CellStarted) -> None:
        self._attempts[event.index] += 1
        kind = (event.task, event.agent)
        self.running[event.index] = RunningCell(
            task=event.task,
            agent=event.agent,
            seed=event.seed,
            started=self.clock(),
            attempt=self._attempts[event.index],
            budget=self.budgets.get(kind, 0),
        )
        self.waiting[kind] -= 1
        self.elsewhere.discard(event.index)
        self.most_at_once = max(self.most_at_once, len(self.running))

    def _finish(self, event: CellFinished) -> None:
        record = event.record
        kind = (record.task, record.agent)
        self.done += 1
        self.states[record.state] += 1
        cell = self.running.pop(event.index, None)
        if cell is not None:
            self.seconds.setdefault(kind, []).append(self.clock() - cell.started)
        elif event.index in self.elsewhere:
            self.elsewhere.discard(event.index)
            self.waiting[kind] -= 1
        self.reused += event.reused
        if record.state == "ok":
            by_task = self.results.setdefault(record.family, {}).setdefault(record.task, {})
            by_task.setdefault(record.agent, []).append(record)

    @property
    def time_left(self) -> TimeLeft | None:
        """An estimate from the cells that were run so far; None before the first one."""
        if not self.seconds:
            return None
        now = self.clock()
        left = {kind: count for kind, count in self.waiting.items() if count > 0}
        rest = [self._rest(cell, now) for cell in self.running.values()]
        work = sum(count * self._expected(kind) for kind, count in left.items()) + sum(rest)
        kinds = {*left, *((cell.task, cell.agent) for cell in self.running.values())}
        untimed = sum(kind not in self.seconds for kind in kinds)
        return TimeLeft(max([work / self.most_at_once, *rest]), untimed, len(kinds))

    def _rest(self, cell: RunningCell, now: float) -> float:
        """Seconds that a running cell still takes: by its own steps if it has told any."""
        gone = now - cell.started
        if cell.steps:
            return max(gone * (cell.budget - cell.steps) / cell.steps, 0.0)
        return max(self._expected((cell.task, cell.agent)) - gone, 0.0)

    def _expected(self, kind: Kind) -> float:
        """The usual time of cells of this kind, else of this agent for so many steps, else of all.

        The median, because the first cells of a run wait until everything is imported.
        """
        if kind in self.seconds:
            return median(self.seconds[kind])
        budget = self.budgets.get(kind, 0)
        same_agent = [
            median(found) * budget / steps
            for (task, agent), found in self.seconds.items()
            if agent == kind[1] and budget and (steps := self.budgets.get((task, agent), 0))
        ]
        return fmean(same_agent or [median(found) for found in self.seconds.values()])

    def best(self) -> list[Best]:
        """The best agents so far, a line for each family of tasks that have scores.

        A family is compared over the tasks that all of its agents have finished at least once.
        Tasks without scores have no common scale: each of them has a line of its own.
        """
        found = []
        for family, tasks in self.results.items():
            agents = sorted({agent for by_agent in tasks.values() for agent in by_agent})
            scored = {t: by for t, by in tasks.items() if _all_scored(by)}
            common = [t for t, by in scored.items() if sorted(by) == agents]
            if common:
                means = {a: fmean(_score(scored[t][a]) for t in common) for a in agents}
                over = "1 task" if len(common) == 1 else f"{len(common)} tasks"
                found.append(_best_of(family, means, "score", f" on {over}"))
                continue
            found += [best for task, by in tasks.items() if (best := _best_return(task, by))]
        return found

    def headline(self) -> str:
        """In words: what happened, what is going on elsewhere, and the time left."""
        parts = [counts_text(self.states)] if self.states else []
        parts += [f"{self.retried:,} tried again"] if self.retried else []
        parts += [f"{self.reused:,} reused"] if self.reused else []
        parts += [f"{len(self.elsewhere):,} run by another process"] if self.elsewhere else []
        if self.done < self.total:
            parts.append(
                "time left not known yet" if self.time_left is None else str(self.time_left)
            )
        return "; ".join(parts)


def roughly(seconds: float) -> str:
    """Rounded up to what an estimate can say: tens of seconds, minutes, then five minutes."""
    if seconds < 60:
        return f"{max(10, math.ceil(seconds / 10) * 10)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    minutes = math.ceil(minutes / 5) * 5
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _all_scored(by_agent: Mapping[str, list[RunRecord]]) -> bool:
    return all(record.score is not None for found in by_agent.values() for record in found)


def _score(records: list[RunRecord]) -> float:
    return fmean(record.score for record in records if record.score is not None)


def _best_return(task: str, by_agent: Mapping[str, list[RunRecord]]) -> Best | None:
    """By the mean return over finished seeds; None where no return is known."""
    means = {
        agent: fmean(known)
        for agent, found in by_agent.items()
        if (known := [r.mean_return for r in found if r.mean_return is not None])
    }
    return _best_of(task, means, "return") if means else None


def _best_of(where: str, means: Mapping[str, float], what: str, over: str = "") -> Best:
    """Equal figures are equally good: all of their agents are named."""
    most = max(means.values())
    names = [agent for agent, value in means.items() if math.isclose(value, most, rel_tol=1e-9)]
    return Best(where, ", ".join(names), f"{what} {number(most)}{over}")
