"""Whether a suite has seeds enough: its records to a decision for each family of tasks.

    suite -> contests (who meets whom, and when is looked) -> records of a look -> decisions

What is compared is what the leaderboard of the family shows: the mean score over the tasks that all
its agents run, the regret or the score of a single task, or the return where there is no score.
Several tasks without scores have no common scale: each is tested by itself, at an equal share of
the family's error rate. Which of these it is follows from the first look and stays.

A run that failed, or whose figure is not finite, counts as the worst run that any agent of the
family had on this task at the first look: leaving it out would reward an agent for failing. That
value is the same for all agents and stays as it is, so the error rate holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from registry.errors import SettingError, SuiteError
from rlsuite.records import RunRecord
from rlsuite.reporting.boards import Quantity
from rlsuite.running.planning import Chooser, with_more_seeds
from rlsuite.statistics import PairDecision, sequential_comparison
from rlsuite.statistics.scores import Floats
from rlsuite.statistics.sequential import MOST_AGENTS
from rlsuite.suite import Cell, Suite

__all__ = [
    "Contest",
    "FamilyDecision",
    "Kind",
    "Records",
    "chosen_kinds",
    "contests_of",
    "decide",
    "grown",
    "kind_of",
    "seeds_of",
]

LOOKS = 5
LEVEL = 0.95
PERMUTATIONS = 5_000
PER_LOOK = 20  # relabellings that a look may reject, at the least

Kind = tuple[str, str]
"""Task and agent: cells of one kind differ in their seed."""

Records = Mapping[tuple[str, str, int], RunRecord]
"""Records by task, agent and seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """The agents of a family, the tasks that all of them run, and after how many seeds to look."""

    family: str
    tasks: tuple[str, ...]
    agents: tuple[str, ...]
    looks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyDecision:
    """What is known of the agents of a family so far.

    Attributes:
        family: of the tasks.
        tasks: on which the agents are compared.
        quantity: what is compared, in words.
        looks: after how many seeds is looked.
        level: 1 - the error rate of all pairs and looks of this decision together.
        seeds: how many runs of each agent on each task were looked at or wait for the next look.
        failed: how many of them failed and count as the worst outcome, for agents that have some.
        pairs: one for each two agents.
        more_seeds: how many more seeds each agent needs for the next look. Empty: stop.
        most_cells: how many more cells there may be until the last look.
        sentence: the decision in words.
    """

    family: str
    tasks: tuple[str, ...]
    quantity: str
    looks: tuple[int, ...]
    level: float
    seeds: Mapping[str, int]
    failed: Mapping[str, int]
    pairs: tuple[PairDecision, ...]
    more_seeds: Mapping[str, int]
    most_cells: int
    sentence: str

    @property
    def clear(self) -> bool:
        """Whether all pairs are told apart."""
        return bool(self.pairs) and all(pair.better is not None for pair in self.pairs)


def kind_of(cell: Cell) -> Kind:
    """The task and the agent of a cell."""
    return cell.task.id, cell.label


def seeds_of(suite: Suite) -> dict[Kind, tuple[int, ...]]:
    """The seeds of every kind of cell, in the order in which they are run."""
    found: dict[Kind, tuple[int, ...]] = {}
    for cell in suite.cells():
        found[kind_of(cell)] = (*found.get(kind_of(cell), ()), cell.seed)
    return found


def chosen_kinds(suite: Suite, choose: Chooser | None = None) -> dict[Kind, list[Cell]]:
    """The cells of a suite that are to be run, by kind: all seeds of a kind or none.

    Raises:
        SuiteError: one name stands for two agents on one task.
        SettingError: a choice of cells that tears the seeds of an agent apart.
    """
    found: dict[Kind, list[Cell]] = {}
    left_out: set[Kind] = set()
    for cell in suite.cells():
        if choose is None or choose(cell, None):
            found.setdefault(kind_of(cell), []).append(cell)
        else:
            left_out.add(kind_of(cell))
    for (task, label), cells in found.items():
        if len({cell.seed for cell in cells}) < len(cells):
            raise SuiteError(
                f"{label!r} stands for two agents on {task}: whoever is compared until it is clear "
                "needs a name of its own."
            )
    torn = sorted(left_out & set(found))
    if torn:
        raise SettingError(
            "until it is clear, agents and tasks are chosen with all their seeds; the choice "
            f"leaves out some seeds of {torn[0][1]} on {torn[0][0]}."
        )
    return found


def contests_of(
    kinds: Mapping[Kind, Sequence[Cell]], max_seeds: int | None = None
) -> tuple[Contest, ...]:
    """Who is compared with whom: one contest for each family with two agents on a common task.

    The first look is after the seeds of the suite (the fewest of any agent on a common task), the
    next ones after as many again each time, the last one after `max_seeds`; None is five looks.

    Args:
        kinds: the cells of a suite, see `chosen_kinds`.
        max_seeds: of every agent on every task.

    Raises:
        SuiteError: there is nobody to compare, or there are too many.
        SettingError: a single seed, or fewer seeds at most than the suite has.
    """
    families: dict[str, dict[str, dict[str, int]]] = {}
    for (task, label), cells in kinds.items():
        family = families.setdefault(cells[0].task.family, {})
        family.setdefault(label, {})[task] = len(cells)
    contests = tuple(
        contest
        for family, counts in families.items()
        if (contest := _contest(family, counts, max_seeds)) is not None
    )
    if not contests:
        raise SuiteError(
            "no two agents share a task of one family: there is nothing to become clear."
        )
    return contests


def _contest(
    family: str, counts: Mapping[str, Mapping[str, int]], max_seeds: int | None
) -> Contest | None:
    common = set.intersection(*(set(tasks) for tasks in counts.values()))
    if len(counts) < 2 or not common:
        return None
    if len(counts) > MOST_AGENTS:
        raise SuiteError(
            f"the sequential test compares at most {MOST_AGENTS} agents, and {family} has "
            f"{len(counts)}: leave some out."
        )
    first = min(tasks[task] for tasks in counts.values() for task in common)
    order = [task for task in next(iter(counts.values())) if task in common]
    looks = _looks(first, LOOKS * first if max_seeds is None else max_seeds)
    return Contest(family=family, tasks=tuple(order), agents=tuple(counts), looks=looks)


def _looks(first: int, last: int) -> tuple[int, ...]:
    if first < 2:
        raise SettingError(
            "a single seed says nothing of how much runs differ: the first look takes at least 2, "
            "5 are usual; give the suite more seeds."
        )
    if isinstance(last, bool) or not isinstance(last, int) or last < first:
        raise SettingError(
            f"max_seeds is a whole number, at least the {first} seeds of the suite; got {last!r}."
        )
    return (*range(first, last, first), last)


def grown(suite: Suite, wanted: Mapping[Kind, int]) -> Suite:
    """The suite with so many seeds in every grid as any kind of its cells wants."""
    grids = []
    for grid in suite.grids:
        alone = Suite(suite.name, (grid,))
        most = max((wanted.get(kind, 0) for kind in seeds_of(alone)), default=0)
        more = most - len(grid.seeds)
        grids.append(with_more_seeds(alone, more).grids[0] if more > 0 else grid)
    return replace(suite, grids=tuple(grids))


def decide(
    contest: Contest, records: Records, seeds: Mapping[Kind, Sequence[int]]
) -> tuple[FamilyDecision, ...]:
    """What the records say: one decision, or one for each task where there is no common scale.

    Args:
        contest: who is compared.
        records: the records so far.
        seeds: of every kind of cell, in the order in which they are run; the records of a kind are
            those of its first seeds.
    """
    runs = {
        (task, agent): _leading(records, task, agent, seeds[task, agent])
        for task in contest.tasks
        for agent in contest.agents
    }
    groups = _groups(contest, runs)
    if not groups:
        return (_nothing(contest, runs),)
    share = (1.0 - LEVEL) / len(groups)
    return tuple(_decision(contest, runs, group, share) for group in groups)


def _nothing(contest: Contest, runs: Runs) -> FamilyDecision:
    return FamilyDecision(
        family=contest.family,
        tasks=contest.tasks,
        quantity="no figure",
        looks=contest.looks,
        level=LEVEL,
        seeds={agent: min(len(runs[t, agent]) for t in contest.tasks) for agent in contest.agents},
        failed={},
        pairs=(),
        more_seeds={},
        most_cells=0,
        sentence="no run of the first look has a figure that all agents share: nothing is decided.",
    )


def _leading(records: Records, task: str, agent: str, seeds: Sequence[int]) -> list[RunRecord]:
    found = []
    for seed in seeds:
        record = records.get((task, agent, seed))
        if record is None:
            break
        found.append(record)
    return found


Runs = Mapping[Kind, list[RunRecord]]


@dataclass(frozen=True, slots=True)
class _Group:
    """What is compared together: one figure of some tasks."""

    tasks: tuple[str, ...]
    measured: Quantity
    lower_is_better: bool
    words: str


def _groups(contest: Contest, runs: Runs) -> tuple[_Group, ...]:
    from rlsuite.reporting.leaderboard import plan_comparison

    first = {kind: found[: contest.looks[0]] for kind, found in runs.items()}
    by_cell = {(agent, task): found for (task, agent), found in first.items()}
    plan = plan_comparison(contest.tasks, list(contest.agents), by_cell)
    figure = plan.quantity

    def there(task: str) -> bool:
        """Whether all agents that finished a run of the task have the figure of one."""
        done = [[r for r in first[task, a] if r.state == "ok"] for a in contest.agents]
        known = [any(_figure(r, figure) is not None for r in found) for found in done if found]
        return bool(known) and all(known)

    tasks = tuple(task for task in plan.tasks if there(task))
    if plan.name == "average rank":
        return tuple(_Group((task,), figure, False, "return") for task in tasks)
    words = plan.name if len(plan.tasks) == 1 else figure
    words = f"mean {figure} of {len(tasks)} tasks" if len(tasks) > 1 else words
    return (_Group(tasks, figure, plan.ascending, words),) if tasks else ()


_FIGURES: Mapping[Quantity, Callable[[RunRecord], float | None]] = {
    "score": lambda record: record.score,
    "regret": lambda record: record.regret,
    "return": lambda record: record.mean_return,
}


def _figure(record: RunRecord, measured: Quantity) -> float | None:
    """The figure of a run; None where it failed or has none that is finite."""
    value = _FIGURES[measured](record) if record.state == "ok" else None
    return value if value is not None and np.isfinite(value) else None


def _decision(contest: Contest, runs: Runs, group: _Group, alpha: float) -> FamilyDecision:
    tables, failed = {}, {}
    columns = {task: _columns(contest, runs, task, group.measured) for task in group.tasks}
    for agent in contest.agents:
        found = [columns[task][agent] for task in group.tasks]
        count = min(len(values) for values in found)
        tables[agent] = np.stack([values[:count] for values in found], axis=1)
        failed[agent] = int(np.isnan(tables[agent]).sum())
    for index, task in enumerate(group.tasks):
        worst = _worst(columns[task].values(), contest.looks[0], group.lower_is_better)
        for x in tables.values():
            x[np.isnan(x[:, index]), index] = worst
    looks = contest.looks
    tested = sequential_comparison(
        tables,
        looks,
        level=1.0 - alpha,
        permutations=max(PERMUTATIONS, int(np.ceil(PER_LOOK * len(looks) / alpha))),
        higher_is_better=not group.lower_is_better,
    )
    going_on = set(tested.more_runs) and {
        name for pair in tested.pairs if pair.better is None for name in (pair.first, pair.second)
    }
    left = sum(max(0, looks[-1] - len(tables[agent])) for agent in going_on)
    return FamilyDecision(
        family=contest.family,
        tasks=group.tasks,
        quantity=group.words,
        looks=looks,
        level=tested.level,
        seeds={agent: len(x) for agent, x in tables.items()},
        failed={agent: count for agent, count in failed.items() if count},
        pairs=tested.pairs,
        more_seeds=tested.more_runs,
        most_cells=left * len(group.tasks),
        sentence=tested.sentence,
    )


def _columns(contest: Contest, runs: Runs, task: str, measured: Quantity) -> dict[str, Floats]:
    """The figures of each agent on a task, run after run; NaN for a run that failed."""
    return {
        agent: np.array(
            [
                np.nan if (value := _figure(record, measured)) is None else value
                for record in runs[task, agent]
            ],
            dtype=np.float64,
        )
        for agent in contest.agents
    }


def _worst(columns: Iterable[Floats], first: int, lower_is_better: bool) -> float:
    known = np.concatenate([values[:first] for values in columns])
    return float(np.nanmax(known) if lower_is_better else np.nanmin(known))
