"""What a suite would run: its cells, what the store knows of them, and what is left.

`--only` takes patterns such as `agent=ppo`, `env=Grid*`, `seed=0`, as the shell matches file names.
Different fields must all match, patterns of one field are alternatives.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from registry.errors import SuiteError, did_you_mean
from rlsuite.identity import key_of
from rlsuite.running.leases import is_alive
from rlsuite.running.reusing import Trainings, same_result
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.suite import Cell, Suite

__all__ = [
    "Chooser",
    "Plan",
    "PlannedCell",
    "chosen_by",
    "make_plan",
    "refuse_unmatched",
    "with_more_seeds",
]

Chooser = Callable[[Cell, "str | None"], bool]
"""Whether a cell is to be run, from the cell and the state it has in the store, or None."""

NAMED = 20
"""Names that a refusal lists."""

FIELDS = ("agent", "env", "task", "seed", "family")
MISSING, RUNNING, EVALUATE = "missing", "running", "evaluate only"


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell, its digest, and its state.

    The state is that of its record, `"running"`, `"missing"`, or `"evaluate only"`: the same
    training is stored with other numbers of episodes, so that nothing has to be trained. Where
    none were played, its figures are this cell's, and it is `"ok"`.
    `chosen`: it would be run now.
    """

    cell: Cell
    digest: str
    state: str
    chosen: bool

    @property
    def steps(self) -> int:
        """Environment steps that would be trained now."""
        return self.cell.total_timesteps if self.chosen and self.state != EVALUATE else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All cells of a suite, in order."""

    suite: Suite
    store_path: Path
    cells: tuple[PlannedCell, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many cells there are in each state."""
        return dict(sorted(Counter(cell.state for cell in self.cells).items()))

    @property
    def to_run(self) -> int:
        """How many cells would be run."""
        return sum(cell.chosen for cell in self.cells)

    def rows(self) -> list[tuple[str, str, Counter[str], int, int]]:
        """Task, agent, states, cells to run and their environment steps, a row for each pair."""
        found: dict[tuple[str, str], list[PlannedCell]] = {}
        for planned in self.cells:
            found.setdefault((planned.cell.task.id, planned.cell.label), []).append(planned)
        return [
            (
                task,
                agent,
                Counter(planned.state for planned in group),
                sum(planned.chosen for planned in group),
                sum(planned.steps for planned in group),
            )
            for (task, agent), group in found.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """As a dictionary that JSON can hold."""
        return {
            "suite": self.suite.name,
            "store": str(self.store_path),
            "states": dict(self.counts),
            "to_run": self.to_run,
            "cells": [
                {
                    "task": planned.cell.task.id,
                    "agent": planned.cell.label,
                    "seed": planned.cell.seed,
                    "total_timesteps": planned.cell.total_timesteps,
                    "digest": planned.digest,
                    "state": planned.state,
                    "to_run": planned.chosen,
                }
                for planned in self.cells
            ],
        }


def make_plan(
    suite: Suite,
    store: str | PathLike[str] | None = None,
    choose: Chooser | None = None,
) -> Plan:
    """Looks the cells of a suite up in a store; runs nothing and writes nothing.

    Raises:
        SuiteError, UnknownIdError, SettingError: the suite cannot be run.
        StoreError: the store cannot be read.
    """
    suite.check()
    path = DEFAULT_PATH if store is None else Path(store)
    states: dict[str, str] = {}
    leased: set[str] = set()
    trained: dict[str, str] = {}
    cells = [(cell, key_of(cell)) for cell in suite.cells()]
    if path.exists():
        with Store(path, read_only=True) as opened:
            states = opened.states()
            leased = {
                d for d, lease in opened.leases().items() if is_alive(lease.owner) is not False
            }
            trainings = Trainings(opened)
            for cell, key in cells:
                if key.digest not in states and (before := trainings.before(cell, key)):
                    trained[key.digest] = "ok" if same_result(cell, before) else EVALUATE
    planned = []
    for cell, key in cells:
        digest = key.digest
        known = states.get(digest)
        state = known or trained.get(digest, MISSING)
        chosen = state != "ok" and (choose is None or choose(cell, known))
        if state != "ok" and digest in leased:
            state = RUNNING
        planned.append(PlannedCell(cell, digest, state, chosen))
    return Plan(suite, path, tuple(planned))


def chosen_by(patterns: Sequence[str] = (), failed_only: bool = False) -> Chooser | None:
    """A choice of cells for `benchmark`: those that match, or failed before; None chooses all.

    Raises:
        SuiteError: a pattern does not read `field=pattern`, or names no field.
    """
    wanted: dict[str, list[str]] = {}
    for text in patterns:
        name, equals, pattern = text.partition("=")
        if not equals or not pattern:
            raise SuiteError(
                f"--only reads field=pattern, like agent=ppo or env=Grid*; got {text!r}."
            )
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS)
            raise SuiteError(f"--only knows {', '.join(FIELDS)}; got {name!r}.{hint}")
        wanted.setdefault(name, []).append(pattern)
    if not wanted and not failed_only:
        return None

    def choose(cell: Cell, state: str | None) -> bool:
        if failed_only and state in (None, "ok"):
            return False
        return all(
            any(_matches(cell, name, pattern) for pattern in alternatives)
            for name, alternatives in wanted.items()
        )

    return choose


def refuse_unmatched(suite: Suite, patterns: Sequence[str]) -> None:
    """Raises `SuiteError` for a pattern that fits no cell of the suite: it is a slip."""
    cells = list(suite.cells())
    for text in patterns:
        choose = chosen_by([text])
        if choose is None or any(choose(cell, None) for cell in cells):
            continue
        name = text.partition("=")[0]
        known = list(dict.fromkeys(_names(cell, name)[0] for cell in cells))
        more = f" and {len(known) - NAMED:,} more" if len(known) > NAMED else ""
        raise SuiteError(
            f"--only {text} fits no cell of the suite {suite.name!r}, which has for {name}: "
            f"{', '.join(known[:NAMED])}{more}."
        )


def _names(cell: Cell, name: str) -> tuple[str, ...]:
    """What a field of a cell is called."""
    return {
        "agent": (cell.label, cell.choice.id),
        "env": (cell.task.env_id,),
        "task": (cell.task.id,),
        "seed": (str(cell.seed),),
        "family": (cell.task.family,),
    }[name]


def _matches(cell: Cell, name: str, pattern: str) -> bool:
    """Whether a field, with or without its namespace and version, fits; case does not matter."""
    forms = {form for full in _names(cell, name) for form in _forms(full)}
    return any(fnmatch.fnmatchcase(form, pattern.casefold()) for form in forms)


def _forms(name: str) -> set[str]:
    folded = name.casefold()
    bare = folded.rpartition("/")[2]
    return {folded, bare, bare.rpartition("-v")[0] or bare}


def with_more_seeds(suite: Suite, count: int) -> Suite:
    """The suite with `count` further seeds in every grid: the smallest ones that it lacks.

    Raises:
        SuiteError: `count` is below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise SuiteError(f"--add-seeds is a whole number of at least 1, got {count!r}.")
    grids = []
    for grid in suite.grids:
        free = (s for s in range(len(grid.seeds) + count) if s not in grid.seeds)
        more = tuple(seed for seed, _ in zip(free, range(count), strict=False))
        grids.append(replace(grid, seeds=grid.seeds + more))
    return replace(suite, grids=tuple(grids))
